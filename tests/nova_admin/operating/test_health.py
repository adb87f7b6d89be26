"""/healthz and /readyz: for anybody, by any name of the site, in bounded time, and without a detail."""

import threading
import time

import pytest
from django.db import OperationalError, connection

from migration.core.database_identity import note_facts_after_migrate
from migration.models import Worker
from nova_admin import operating
from nova_admin.embedded.faults import Fault
from nova_admin.operating import Part
from tests.nova_admin.embedded.conditions.calls import strike

ALL_WELL = dict.fromkeys(("database", "schema", "workers", "queue", "aws", "shared"), "ok")


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_they_answer_by_any_name_without_https_session_or_language(
    client, readiness, settings, monkeypatch, address
):
    settings.SECURE_SSL_REDIRECT = True
    monkeypatch.setattr(operating, "CHECKS", {part: (lambda: True, 5.0) for part in Part})

    answer = client.get(address, headers={"host": "10.0.0.7:8000"})

    assert answer.status_code == 200
    assert answer.cookies == {}
    assert answer["Cache-Control"] == "no-store, private"
    assert client.post(address).status_code == 405


def test_a_process_that_lives_asks_no_database(client, django_assert_num_queries, db):
    with django_assert_num_queries(0):
        assert client.get("/healthz").content == b"ok\n"


def test_a_site_is_ready_once_it_has_workers(stores, client, readiness, monkeypatch):
    monkeypatch.setattr(operating, "KEPT_SECONDS", 0.0)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, ALL_WELL | {"workers": "failed"})

    Worker.objects.record_heartbeat("host:1")
    readiness._known[Part.WORKERS] = (operating.FAILED, 0)

    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, ALL_WELL)


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
        assert client.get("/readyz").json() == ALL_WELL | {"schema": "failed"}
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

    assert (answer.status_code, answer.json()) == (503, ALL_WELL | {"aws": "failed"})
    assert b"127.0.0.1" not in answer.content


@pytest.mark.parametrize(("waiting", "told"), [(None, "failed"), (0, "ok"), (7, "ok")])
def test_a_queue_in_redis_that_is_away_shows(
    stores, client, readiness, settings, monkeypatch, waiting, told
):
    Worker.objects.record_heartbeat("host:1")
    settings.NOVA_REDIS_URL = "redis://redis.example"
    monkeypatch.setattr(operating, "count_queued_tasks", lambda: waiting)

    assert client.get("/readyz").json() == ALL_WELL | {"queue": told}


def test_a_host_that_differs_from_the_others_names_in_what(stores, client, readiness, settings):
    note_facts_after_migrate("default")
    Worker.objects.record_heartbeat("host:1")
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == ALL_WELL | {"shared": "failed: NOVA_SECRET_PREFIX"}


def test_aws_is_asked_once_however_many_ask_the_site(stores, client, readiness):
    asked = []
    check, seconds = operating.CHECKS[Part.AWS]

    def count() -> bool:
        asked.append(1)
        return check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(operating.CHECKS, Part.AWS, (count, seconds))
        for _ in range(20):
            client.get("/readyz")

    assert len(asked) == 1


def test_what_hangs_is_not_waited_for_and_the_others_are_still_told(client, readiness, monkeypatch):
    """However many ask meanwhile, one thread hangs, not one for each."""
    end = threading.Event()
    checks = {part: (lambda: True, 5.0) for part in Part}
    checks[Part.DATABASE] = (lambda: end.wait(30), 5.0)
    monkeypatch.setattr(operating, "CHECKS", checks)
    monkeypatch.setattr(operating, "WAIT_SECONDS", 0.2)
    threads = threading.active_count()
    began = time.monotonic()

    answers = [client.get("/readyz").json() for _ in range(3)]

    assert time.monotonic() - began < 3
    assert (
        answers
        == [dict.fromkeys(ALL_WELL, "failed") | {"aws": "ok", "queue": "ok", "shared": "ok"}] * 3
    )
    assert threading.active_count() <= threads + 1
    end.set()


def test_an_answer_that_is_old_is_no_answer(client, readiness, monkeypatch):
    """The database was well and hangs now: nobody is told that it is well still."""
    well, end = [True], threading.Event()
    checks = {part: (lambda: True, 5.0) for part in Part}
    checks[Part.DATABASE] = (lambda: well.pop() if well else end.wait(30), 0.05)
    monkeypatch.setattr(operating, "CHECKS", checks)
    monkeypatch.setattr(operating, "WAIT_SECONDS", 0.2)
    assert client.get("/readyz").json() == ALL_WELL
    time.sleep(0.1)

    assert client.get("/readyz").json()["database"] == "failed"
    end.set()


@pytest.mark.parametrize("error", [OperationalError, RuntimeError, KeyError])
def test_an_error_is_a_part_that_failed_and_is_not_asked_for_again_at_once(
    client, readiness, monkeypatch, caplog, error
):
    asked = []

    def fail() -> bool:
        asked.append(1)
        raise error("the password of somebody")

    checks = {part: (lambda: True, 5.0) for part in Part} | {Part.DATABASE: (fail, 5.0)}
    monkeypatch.setattr(operating, "CHECKS", checks)

    for _ in range(3):
        assert client.get("/readyz").json() == ALL_WELL | {"database": "failed"}
    assert asked == [1]
    assert f"Not ready: database ({error.__name__})" in caplog.text
    assert "somebody" not in caplog.text


def test_a_probe_that_is_told_no_is_no_error_of_the_site(client, readiness, monkeypatch, caplog):
    """It comes every few seconds, and somebody would be mailed each time."""
    checks = {part: (lambda: False, 5.0) for part in Part}
    monkeypatch.setattr(operating, "CHECKS", checks)

    assert client.get("/readyz").status_code == 503
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
