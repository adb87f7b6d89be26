"""What docs/nova.md tells NOVA to do, done literally."""

import json
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from nova_credentials import VERSION
from nova_credentials import reader as drop_in
from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.factories import make_email, update
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import TIMEOUT_SECONDS
from tests.nova_credentials.reader.questions import execute
from tests.settings import SCRATCH

PAGE = (ROOT / "docs/nova.md").read_text()
BLOCKS = {
    language: [
        textwrap.dedent(text)
        for text in re.findall(rf"^ *```{language}\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
    ]
    for language in ("diff", "json", "python")
}


def added_lines(diff: str) -> list[str]:
    return [line.removeprefix("+") for line in diff.splitlines() if line.startswith("+")]


def test_novas_file_becomes_the_one_line_of_its_diff():
    requirements, module = BLOCKS["diff"]
    novas: dict[str, object] = {}
    exec("\n".join(added_lines(module)), novas)
    assert novas.keys() >= set(drop_in.__all__)

    (line,) = added_lines(requirements)
    assert line == f"nova-credentials[binary]=={VERSION}"


def test_the_policy_is_json_that_allows_reading_the_secrets_alone():
    (policy,) = BLOCKS["json"]
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert statement["Resource"].endswith(":secret:nova/clients/*")


def test_the_filter_leaves_no_secret_in_what_nova_stores():
    namespace: dict[str, object] = {}
    exec(next(block for block in BLOCKS["python"] if "def without_secrets" in block), namespace)
    stored = {
        "slug": "idom",
        "database": {"db_host": "h", "db_password": "example-1"},
        "mails": [{"email_password": "example-2"}, ({"app_password": "example-3"},)],
    }

    filtered = namespace["without_secrets"](stored)

    assert "example" not in json.dumps(filtered)
    assert (filtered["slug"], filtered["database"]["db_host"]) == ("idom", "h")


@pytest.fixture
def make_environment(make_reader, monkeypatch) -> Callable[..., dict[str, str]]:
    """The page's own function, in a worker that reads this test's database."""
    reader = make_reader(timeout=30, cache_seconds=3600)
    monkeypatch.setattr(drop_in, "_shared_reader", lambda: reader)
    worker: dict[str, object] = {}
    exec("from nova_credentials.reader import *", worker)
    exec(next(block for block in BLOCKS["python"] if "def make_environment" in block), worker)
    return worker["make_environment"]


@pytest.fixture
def login_log(login_server) -> Callable[[], str]:
    """What the server of the client's database has logged since the test began."""
    log = SCRATCH / "login" / "log"
    begins_at = len(log.read_text())
    return lambda: log.read_text()[begins_at:]


def run_workflow(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The page's own workflow in a process that has these variables alone, and neither NOVA's code nor the package."""
    workflow = next(block for block in BLOCKS["python"] if 'psycopg2.connect("")' in block)
    alone = "import importlib.util\nassert not importlib.util.find_spec('nova_credentials')\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", alone + workflow],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def test_a_workflow_with_nothing_but_its_variables_logs_in_and_no_log_holds_a_value(
    make_environment, login, login_log, caplog
):
    ((pk, user),) = execute("SELECT client_id, db_user FROM public.client_database_credentials")
    make_email(pk, imap_host=None)
    caplog.set_level(logging.DEBUG)

    environments = []
    for phase in Phase:
        bring(pk, phase)
        environments.append(make_environment("idom", refresh=True))
    environment = environments[0]
    done = run_workflow(environment)

    assert environments == [environment] * len(Phase)
    assert done.stdout == f"connected as {user}\n", done.stderr
    assert environment["PGPASSWORD"] == "example-a"
    assert environment["EMAIL_PASSWORD"] == "example-app-password-2"
    assert "IMAP_HOST" not in environment  # NULL is no text
    assert "example-" not in caplog.text + done.stdout + done.stderr + login_log()


def test_a_rotation_during_a_run_is_seen_by_the_run_that_begins_anew(
    make_environment, login, login_log, caplog
):
    row, change = login
    caplog.set_level(logging.DEBUG, "nova_credentials")
    environment = make_environment("idom")
    change("example-b")
    update("client_database_credentials", row, db_password_encrypted="example-b")

    refused = run_workflow(environment)
    anew = run_workflow(make_environment("idom", refresh=True))

    assert "password authentication failed" in refused.stderr
    assert "password authentication failed" in login_log()
    assert anew.stdout.startswith("connected as "), anew.stderr
    logged = caplog.text + refused.stderr + anew.stdout + anew.stderr + login_log()
    assert "example-" not in logged


def test_a_client_without_a_mailbox_has_the_variables_of_its_database_alone(
    make_environment, login
):
    assert {name[:2] for name in make_environment("idom")} == {"PG"}


def test_every_name_of_the_drop_in_that_the_helper_lacks_is_told_of():
    for name in ("get_aws_credentials", "get_available_credentials", "NOVA_CONNECTION_DRIVER"):
        assert f"`{name}`" in PAGE
