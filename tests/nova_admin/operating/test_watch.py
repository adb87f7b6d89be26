"""That no worker runs is found and told by the web processes, which write nothing while one does."""

import threading
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration import tasks
from migration.core import heartbeat
from migration.core.database_identity import note_facts_after_migrate
from migration.core.notices import NoticeEvent
from migration.models import Notice, NoticeDelivery, ProblemRecord, Worker
from nova_admin import watch
from nova_admin.watch import look_while_no_worker_looks
from tests.factories import nova_uri
from tests.migration.site.notices.conftest import (  # noqa: F401  # fixtures
    logins_stay_here,
    webhook,
    webhook_alone,
)
from tests.test_settings import PRODUCTION, python

pytestmark = pytest.mark.usefixtures("stores")


def kill_workers(**ago: int) -> None:
    """The only worker was last seen so long ago."""
    Worker.objects.update_or_create(
        name="host:1", defaults={"seen_at": timezone.now() - timedelta(**ago)}
    )


def let_pass(**span: int) -> None:
    past = timedelta(**span)
    ProblemRecord.objects.update(
        looked_at=F("looked_at") - past,
        began_at=F("began_at") - past,
        failed_at=F("failed_at") - past,
        claimed_until=F("claimed_until") - past,
    )
    Worker.objects.update(seen_at=F("seen_at") - past)


def told() -> list[bool]:
    """For each notice of gone workers whether it says that it is over."""
    found = Notice.objects.filter(event=NoticeEvent.WORKERS_GONE).order_by("pk")
    return list(found.values_list("is_over", flat=True))


def test_while_a_worker_lives_nothing_is_written():
    Worker.objects.record_heartbeat("host:1")
    with CaptureQueriesContext(connection) as captured:
        assert not look_while_no_worker_looks()

    assert len(captured) == 2
    assert all(query["sql"].startswith("SELECT") for query in captured)
    assert not ProblemRecord.objects.exists()


def test_workers_that_are_gone_are_told_once_and_over_once_they_are_back(webhook_alone, webhook):  # noqa: F811
    kill_workers(minutes=2)
    assert look_while_no_worker_looks()
    assert told() == []  # a restart takes no longer

    for minutes in (4, 2):
        let_pass(minutes=minutes)
        assert look_while_no_worker_looks()
        assert told() == [False]
    assert len([text for text in webhook.taken if "No worker is taking tasks" in text]) == 1
    assert not NoticeDelivery.objects.waiting().exists()

    let_pass(minutes=1)
    Worker.objects.record_heartbeat("host:2")
    assert not look_while_no_worker_looks()
    tasks.send_notices()
    assert told() == [False, True]
    assert "Over: No worker is taking tasks" in webhook.taken[-1]
    tasks.send_notices()
    assert told() == [False, True]


def test_what_a_watch_looked_at_and_that_was_no_gap_is_not_told_by_workers():
    """They were away for six minutes; the web processes looked meanwhile."""
    Worker.objects.record_heartbeat("host:1")
    tasks.send_notices()
    for _ in range(2):
        let_pass(minutes=3)
        look_while_no_worker_looks()
        ProblemRecord.objects.filter(code="no_worker").update(began_at=timezone.now(), told=False)
    Notice.objects.all().delete()

    Worker.objects.record_heartbeat("host:1")
    tasks.send_notices()

    assert told() == []


def test_of_many_processes_one_looks_for_what_workers_look_for_each_minute_and_leaves_the_rest():
    kill_workers(minutes=9)
    done = []

    def look():
        done.append(look_while_no_worker_looks())
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [False] * 2 + [True]
    assert told() == [False]
    looked = set(ProblemRecord.objects.values_list("code", flat=True))
    assert {"no_worker", "aws_gone", "writes_uncounted", "aws_away", "queue_away"} <= looked
    assert looked.isdisjoint({"audit_unsound", "clocks", "pooler", "host_differs"})
    let_pass(minutes=1)
    assert look_while_no_worker_looks()


def test_a_claim_of_a_host_whose_clock_is_ahead_holds():
    kill_workers(minutes=9)
    ProblemRecord.objects.create(
        code="no_worker", claimed_until=timezone.now() + timedelta(seconds=80)
    )

    assert not look_while_no_worker_looks()


def test_workers_that_live_and_do_not_look_are_helped():
    """Their queue may be away, and with it the task that would say so."""
    Worker.objects.record_heartbeat("host:1")
    tasks.send_notices()
    assert not look_while_no_worker_looks()
    ProblemRecord.objects.update(looked_at=F("looked_at") - timedelta(minutes=6))

    assert look_while_no_worker_looks()
    assert not look_while_no_worker_looks()
    tasks.send_notices()

    assert told() == []


def test_a_process_that_differs_or_is_of_another_release_keeps_out_of_it(settings, monkeypatch):
    kill_workers(minutes=9)
    with monkeypatch.context() as patch:
        known = heartbeat.known_migrations()
        patch.setattr(heartbeat, "known_migrations", lambda: known - {max(known)})
        assert not look_while_no_worker_looks()
    note_facts_after_migrate("default")
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"
    assert not look_while_no_worker_looks()

    assert not ProblemRecord.objects.exists()


def test_its_thread_survives_what_goes_wrong_and_holds_no_connection(monkeypatch, caplog):
    kept, errors = [], [RuntimeError("example-words"), RuntimeError(), ValueError(), SystemExit()]

    def fail():
        kept.append(connection.connection)
        connection.ensure_connection()
        raise errors.pop(0)

    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(watch, "look_while_no_worker_looks", fail)
    # For this module alone: what belongs to the process is known by its id.
    monkeypatch.setattr(watch, "os", SimpleNamespace(getpid=lambda: 0))

    def watch_until_exit():
        with suppress(SystemExit):
            watch._watch_for_ever()

    thread = threading.Thread(target=watch_until_exit)
    thread.start()
    thread.join(30)

    assert kept == [None] * 4
    said = [record.getMessage() for record in caplog.records if record.name == watch.__name__]
    assert said == [
        "Did not look for workers: RuntimeError",
        "Did not look for workers: ValueError",
    ]


def test_a_web_process_watches_and_no_other_does():
    names = "print(sorted(each.name for each in threading.enumerate()))"
    code = f"import django, threading; django.setup(); {names}; import nova_admin.wsgi; {names}"
    told = python(code, **PRODUCTION | {"DATABASE_URL": nova_uri()})

    other, server = told.stdout.splitlines()[-2:]
    assert "'watch'" in server, told.stderr
    assert "'watch'" not in other
    assert "'MainThread'" in other
