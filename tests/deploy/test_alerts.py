"""The alerts ask for numbers that the site gives. Each leads to its entry among the runbooks; so does each problem."""

import re
import subprocess

import pytest
import yaml

from migration.core.problems import PROBLEMS, Severity, sort_problems
from migration.models import Comparison, Worker
from nova_admin.documents import render_document
from nova_admin.operating import DATABASE
from nova_credentials.aws.answers import ErrorClass
from tests.checkout import ROOT
from tests.deploy.conftest import TOKEN

ALERTS = ROOT / "deploy" / "alerts.yaml"
DOCUMENT = (ROOT / "docs" / "run.md").read_text()
RUNBOOKS = ROOT / "docs" / "runbooks.md"
ADDRESS = "{{ $externalLabels.nova_admin }}/admin/docs/runbooks.md"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
NAME = re.compile(r"\bnova_[a-z_]+\b")
# The values that a label of an alert may name.
VALUES = {
    "result": {*Comparison.Status, "match", "mismatch", "aws_failure", "not_compared"},
    "outcome": {"ok", *ErrorClass},
    "status": {"2xx", "3xx", "4xx", "5xx"},
    "code": {*PROBLEMS},
    "job": {"nova-admin"},
}
# Those that say when a problem has lasted for long enough to wake somebody, by its code.
OF_PROBLEMS = {
    found[1]: rule
    for rule in RULES
    if (found := re.match(r'nova_problems\{code="(\w+)"\}', rule["expr"]))
}
ENTRIES = re.findall(r"^### [^`]+ `(\w+)`$", RUNBOOKS.read_text(), re.MULTILINE)


@pytest.fixture
def metrics(stores, client, settings) -> str:
    """Of a site in which everything has happened once that has a number."""
    settings.NOVA_METRICS_TOKEN = TOKEN
    Worker.objects.record_heartbeat("host:1")
    return client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).content.decode()


def test_every_number_that_an_alert_asks_for_is_given(metrics):
    given = {name.removesuffix("_total") for name in NAME.findall(metrics)}
    asked = {name.removesuffix("_total") for r in RULES for name in NAME.findall(r["expr"])}

    assert len(asked) >= 8
    assert asked <= given


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_values_that_there_are_and_leads_to_what_to_do(rule):
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', rule["expr"]):
        assert set(values.split("|")) <= VALUES[label]
    assert rule["annotations"].keys() == {"summary", "runbook_url"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    address, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert address == ADDRESS
    assert f'id="{anchor}"' in render_document(RUNBOOKS, 0)


def test_an_alert_of_a_problem_is_as_bad_as_the_problem_and_leads_to_it():
    for code, rule in OF_PROBLEMS.items():
        assert rule["labels"]["severity"] == PROBLEMS[code].severity
        assert rule["annotations"]["runbook_url"].endswith(f"#{code}")


def test_every_critical_problem_has_an_alert():
    critical = {code for code, each in PROBLEMS.items() if each.severity == Severity.CRITICAL}

    assert critical <= OF_PROBLEMS.keys()


def test_the_runbooks_are_the_problems_as_pages_list_them_then_the_database_then_other_alerts():
    codes = [each.code for each in sort_problems(PROBLEMS.values())]
    alerts = {rule["alert"] for rule in RULES}

    assert ENTRIES[: len(codes)] == codes
    assert ENTRIES[len(codes)] == DATABASE  # of /readyz and the log
    assert set(ENTRIES[len(codes) + 1 :]) <= alerts - {
        rule["alert"] for rule in OF_PROBLEMS.values()
    }


def test_the_document_names_every_number_and_no_other(metrics):
    given = set(re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE))
    named = set(re.findall(r"^\| `(nova_\w+)", DOCUMENT, re.MULTILINE))

    assert named == given


def test_prometheus_itself_takes_the_rules(promtool):
    done = subprocess.run(
        [promtool, "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout
