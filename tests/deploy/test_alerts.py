"""The alerts ask for numbers that the site gives, and each of them has a line in the document."""

import re
import subprocess

import pytest
import yaml

from migration.models import Campaign, Comparison, Worker
from nova_credentials.aws.answers import ErrorClass
from tests.checkout import ROOT
from tests.deploy.conftest import TOKEN

ALERTS = ROOT / "deploy" / "alerts.yaml"
DOCUMENT = (ROOT / "docs" / "operating.md").read_text()
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
NAME = re.compile(r"\bnova_[a-z_]+\b")
# The values that a label of an alert may name.
VALUES = {
    "result": {*Comparison.Status, "match", "mismatch", "aws_failure", "not_compared"},
    "outcome": {"ok", *ErrorClass},
    "state": {*Campaign.State, "stopped", "unfinished", "overdue"},
    "job": {"nova-admin"},
}


@pytest.fixture
def metrics(stores, client, settings) -> str:
    """Of a site in which everything has happened once that has a number."""
    settings.NOVA_METRICS_TOKEN = TOKEN
    Worker.objects.record_heartbeat("host:1")
    return client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).content.decode()


def test_every_number_that_an_alert_asks_for_is_given(metrics):
    given = {name.removesuffix("_total") for name in NAME.findall(metrics)}
    asked = {name.removesuffix("_total") for r in RULES for name in NAME.findall(r["expr"])}

    assert len(asked) >= 12
    assert asked <= given


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_values_that_there_are_and_is_explained(rule):
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', rule["expr"]):
        assert set(values.split("|")) <= VALUES[label]
    assert {"summary", "description"} <= rule["annotations"].keys()
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert f"`{rule['alert']}`" in DOCUMENT


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
