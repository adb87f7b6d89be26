"""/healthz and /readyz: for anybody, by any name of the site, in bounded time, and without a detail."""

import threading
import time
from collections import Counter
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from migration.core.database_identity import note_facts_after_migrate
from migration.core.problems import (
    PROBLEMS,
    Area,
    Finder,
    problem,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.doctor import site
from migration.models import Worker
from nova_admin import operating
from nova_admin.embedded.faults import Fault
from nova_credentials.messages import Message
from tests.nova_admin.embedded.conditions.calls import strike

SAID = Message.from_text_without_key("the password of somebody")
ALL_WELL = dict.fromkeys(
    ("database", "no_worker", "queue_away", "host_differs", "aws_away", "schema_behind"), "ok"
)

DECLARED = {
    "quick": {"found_by": Finder.PAGE, "unready": True},
    "aws": {"found_by": Finder.DOCTOR, "unready": True},
    "queue": {"found_by": Finder.DOCTOR, "unready": True},
    "own": {"found_by": Finder.PAGE, "unready": True, "of_process": True},
    "harmless": {"found_by": Finder.PAGE},
}
WELL = dict.fromkeys(("database", "quick", "aws", "queue", "own"), "ok")


class Examples:
    """The only problems that the site knows; `say` replaces what the look for one of them does."""

    def __init__(self) -> None:
        self.looks: Counter[str] = Counter()
        self.say = {code: lambda: report_ok(SAID) for code in DECLARED}
        for code, how in DECLARED.items():
            problem(code, code, Area.AWS, **how)(self._make_finder(code))

    def _make_finder(self, code):
        def find(_look):
            self.looks[code] += 1
            yield self.say[code]()

        return find


@pytest.fixture
def examples(monkeypatch, readiness):
    """A site of these problems, which needs no database."""
    declared = dict(PROBLEMS)
    PROBLEMS.clear()
    monkeypatch.setattr(operating, "check_database", lambda: True)
    monkeypatch.setattr(operating, "learn_facts", lambda **_: False)
    facts = SimpleNamespace(facts={})
    monkeypatch.setattr(operating, "get_aws_write_state", lambda: facts)
    monkeypatch.setattr(operating, "find_differences", lambda _facts: {})
    examples = Examples()
    yield examples
    for thread in readiness._looking.values():
        thread.join(10)
    # In the order in which they were declared, which is that of every list.
    PROBLEMS.clear()
    PROBLEMS.update(declared)


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_they_answer_by_any_name_without_https_session_or_language(
    client, examples, settings, address
):
    settings.SECURE_SSL_REDIRECT = True

    answer = client.get(address, headers={"host": "10.0.0.7:8000"})

    assert answer.status_code == 200
    assert answer.cookies == {}
    assert answer["Cache-Control"] == "no-store, private"
    assert client.post(address).status_code == 405


def test_a_process_that_lives_asks_no_database(client, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        assert client.get("/healthz").content == b"ok\n"


def test_each_problem_that_makes_a_process_useless_is_a_part_and_no_other(client, examples):
    examples.say["harmless"] = lambda: report_failure(SAID)
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, WELL)
    assert examples.looks["harmless"] == 0


@pytest.mark.parametrize(
    ("report", "told"), [(report_failure, "failed"), (report_unlooked, "not_looked_at")]
)
@pytest.mark.parametrize("code", ["quick", "aws", "queue", "own"])
def test_one_that_is_there_or_could_not_be_looked_for_is_not_ready_and_hides_no_other(
    client, examples, caplog, code, report, told
):
    examples.say[code] = lambda: report(SAID)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, WELL | {code: told})
    assert f"Not ready: {code}" in caplog.text
    assert "somebody" not in caplog.text


def test_the_log_has_each_failure_once_and_that_it_is_over(client, examples, readiness, caplog):
    caplog.set_level("INFO", operating.__name__)

    def ask_anew() -> list[str]:
        caplog.clear()
        readiness._known.clear()
        client.get("/readyz")
        return [
            record.getMessage() for record in caplog.records if record.name == operating.__name__
        ]

    assert ask_anew() == []
    examples.say["aws"] = lambda: report_failure(SAID)
    assert ask_anew() == ["Not ready: aws (failed)"]
    assert ask_anew() == []
    examples.say["queue"] = lambda: report_unlooked(SAID)
    assert ask_anew() == ["Not ready: queue (not_looked_at)"]
    examples.say["aws"] = lambda: report_ok(SAID)
    assert ask_anew() == ["Ready again: aws"]
    assert ask_anew() == []


def test_what_others_are_asked_for_is_kept_longer(client, examples, monkeypatch):
    monkeypatch.setattr(operating, "KEPT_SECONDS", 0.0)

    for _ in range(5):
        client.get("/readyz")

    assert examples.looks["quick"] == 5
    assert (examples.looks["aws"], examples.looks["queue"]) == (1, 1)


def test_what_hangs_is_not_waited_for_and_the_others_are_still_told(client, examples, monkeypatch):
    """However many ask meanwhile, one thread hangs, not one for each."""
    end = threading.Event()
    monkeypatch.setattr(operating, "check_database", lambda: end.wait(30))
    monkeypatch.setattr(operating, "WAIT_SECONDS", 0.2)
    threads = threading.active_count()
    began = time.monotonic()

    answers = [client.get("/readyz").json() for _ in range(3)]

    assert time.monotonic() - began < 3
    assert answers == [WELL | {"database": "failed", "quick": "failed"}] * 3
    assert threading.active_count() <= threads + 1
    end.set()


def test_an_answer_that_is_old_is_no_answer(client, examples, monkeypatch):
    """The database was well and hangs now: nobody is told that it is well still."""
    well, end = [True], threading.Event()
    monkeypatch.setattr(operating, "check_database", lambda: well.pop() if well else end.wait(30))
    monkeypatch.setattr(operating, "KEPT_SECONDS", 0.05)
    monkeypatch.setattr(operating, "WAIT_SECONDS", 0.2)
    assert client.get("/readyz").json() == WELL
    time.sleep(0.1)

    assert client.get("/readyz").json()["database"] == "failed"
    end.set()


@pytest.mark.parametrize("error", [OperationalError, RuntimeError, KeyError])
def test_an_error_leaves_a_part_unready_and_is_not_asked_for_again_at_once(
    client, examples, monkeypatch, caplog, error
):
    asked = []

    def fail() -> bool:
        asked.append(1)
        raise error("the password of somebody")

    monkeypatch.setattr(operating, "check_database", fail)
    examples.say["aws"] = fail

    for _ in range(3):
        found = client.get("/readyz").json()
        assert found == WELL | {"database": "failed", "aws": "not_looked_at"}
    assert len(asked) == 2
    assert f"Not ready: database ({error.__name__})" in caplog.text
    assert "Not ready: aws" in caplog.text
    assert "somebody" not in caplog.text


def test_a_probe_that_is_told_no_is_no_error_of_the_site(client, examples, caplog):
    """It comes every few seconds, and somebody would be mailed each time."""
    examples.say["quick"] = lambda: report_failure(SAID)

    assert client.get("/readyz").status_code == 503
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_site_is_ready_once_it_has_workers(stores, client, readiness):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, ALL_WELL | {"no_worker": "failed"})

    Worker.objects.record_heartbeat("host:1")
    del readiness._known["no_worker"]

    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, ALL_WELL)


def test_whether_workers_live_is_asked_of_their_table_alone_by_the_clock_of_postgres(
    stores, client, readiness, monkeypatch
):
    """Numbers of many clients take long, and anybody may ask; two hosts' clocks may differ by more than a heartbeat."""
    Worker.objects.record_heartbeat("host:1")
    monkeypatch.setattr(site, "read_background_facts", lambda: 1 / 0)
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=2))

    assert client.get("/readyz").json() == ALL_WELL


def test_a_schema_migration_that_has_not_run_shows(stores, client, readiness):
    Worker.objects.record_heartbeat("host:1")
    newest = "SELECT max(name) FROM nova_admin.django_migrations WHERE app = 'migration'"
    forget = (
        f"DELETE FROM nova_admin.django_migrations WHERE app = 'migration' AND name = ({newest})"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"{forget} RETURNING *")
        row = cursor.fetchone()
    try:
        assert client.get("/readyz").json() == ALL_WELL | {"schema_behind": "failed"}
    finally:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO nova_admin.django_migrations VALUES (%s, %s, %s, %s)", row)


@pytest.mark.parametrize("fault", ["away", "refuses"])
def test_aws_that_is_away_or_refuses_shows_and_nothing_more(
    stores, client, readiness, settings, fault
):
    Worker.objects.record_heartbeat("host:1")
    if fault == "away":
        settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    else:
        strike(stores, Fault.DENIED)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (503, ALL_WELL | {"aws_away": "failed"})
    assert b"127.0.0.1" not in answer.content


def test_a_queue_in_redis_that_is_away_shows(stores, client, readiness, settings):
    Worker.objects.record_heartbeat("host:1")
    settings.NOVA_REDIS_URL = "redis://127.0.0.1:1"

    answer = client.get("/readyz")

    assert answer.json() == ALL_WELL | {"queue_away": "failed"}
    assert b"127.0.0.1" not in answer.content


def test_a_host_that_differs_from_the_others_names_in_what(stores, client, readiness, settings):
    note_facts_after_migrate("default")
    Worker.objects.record_heartbeat("host:1")
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == ALL_WELL | {"host_differs": "failed: NOVA_SECRET_PREFIX"}


def test_whether_a_host_differs_is_not_known_while_the_database_is_away(
    stores, client, readiness, monkeypatch
):
    def fail(**_options) -> None:
        raise OperationalError

    Worker.objects.record_heartbeat("host:1")
    monkeypatch.setattr(operating, "learn_facts", fail)

    assert client.get("/readyz").json() == ALL_WELL | {"host_differs": "not_looked_at"}


def test_aws_is_asked_once_however_many_ask_the_site(stores, client, readiness, monkeypatch):
    asked = []
    look_for = operating.look_for

    def count(each, look):
        asked.append(each.code)
        return look_for(each, look)

    monkeypatch.setattr(operating, "look_for", count)
    for _ in range(20):
        client.get("/readyz")

    assert asked.count("aws_away") == 1
