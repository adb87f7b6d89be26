"""What holds for a time is told once when it begins, and once when it is over."""

from datetime import date, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from migration import tasks
from migration.core.audit import AuditCode
from migration.core.aws_writes import DATABASE_IS_COPY, NOTHING, WRITES_STOPPED
from migration.core.notices import NoticeEvent
from migration.models import (
    AuditEvent,
    ClientMigration,
    Condition,
    Notice,
    ReaderProcess,
    RotationSchedule,
    Worker,
)
from migration.site import notices
from migration.site.notices import look_at_clients, look_at_site
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_reader_process, make_user
from tests.migration.site.notices.test_events import told

pytestmark = pytest.mark.django_db


def look(times=1, *, by_worker=True):
    for _ in range(times):
        look_at_site(by_worker=by_worker)


def let_time_pass(**span):
    """What was seen was seen so long ago."""
    for row in Condition.objects.all():
        Condition.objects.filter(pk=row.pk).update(seen_at=row.seen_at - timedelta(**span))


@pytest.mark.parametrize("error", ["unavailable", "permission", "throttled"])
def test_aws_that_does_not_answer_is_told_once_and_that_it_is_over_once(error):
    pk = make_client("idom")
    make_comparison(pk, "unchecked", error_class=error)
    look(3)
    (text,) = told(NoticeEvent.AWS_GONE)
    assert f"({error})" in text

    make_comparison(pk, "match")
    look(2)
    assert len(told(NoticeEvent.AWS_GONE)) == 1  # it may come back
    let_time_pass(minutes=11)
    look(2)

    assert told(NoticeEvent.AWS_GONE)[1].startswith(
        "This is over; it began less than a minute ago: AWS"
    )
    make_comparison(pk, "unchecked", error_class=error)
    ClientMigration.objects.update(comparison=None)
    look()
    assert len(told(NoticeEvent.AWS_GONE)) == 2  # one of the newest comparisons was answered


def test_what_comes_and_goes_is_one_condition():
    pk = make_client("idom")
    for _ in range(3):
        failed = make_comparison(pk, "unchecked", error_class="unavailable")
        look()
        ClientMigration.objects.update(comparison=None)
        failed.delete()
        let_time_pass(minutes=4)
        look()

    assert len(told(NoticeEvent.AWS_GONE)) == 1


@pytest.mark.parametrize(
    "comparison",
    [
        {"status": "unchecked", "error_class": "data"},  # of one client's secret
        {
            "status": "unchecked",
            "error_class": "unavailable",
            "compared_at": timezone.now() - timedelta(hours=2),
        },
        {"status": "mismatch"},
    ],
    ids=["one client's", "long ago", "differs"],
)
def test_other_comparisons_do_not_say_that_aws_is_gone(comparison):
    make_comparison(make_client("idom"), **comparison)
    look()
    assert told(NoticeEvent.AWS_GONE) == []


def test_readers_that_fail_or_are_gone_are_told():
    ClientMigration.objects.create(client_id=make_client("idom"), phase=Phase.AWS)
    look()
    assert told(NoticeEvent.READERS_GONE) == []  # there never was one: no news

    make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    look(2)
    ReaderProcess.objects.update(last_read_at=timezone.now() - timedelta(hours=2))
    look(2)

    failing, gone = told(NoticeEvent.READERS_GONE)
    assert failing == "AWS failed for 1 process of NOVA in the last 30 minutes."
    assert gone.startswith("No process of NOVA read through the package in the last hour")


def test_without_clients_that_are_read_from_aws_nobody_misses_a_reader():
    ClientMigration.objects.create(client_id=make_client("idom"), phase=Phase.DUAL_WRITE)
    make_reader_process(last_read_at=timezone.now() - timedelta(hours=2))
    look()
    assert told(NoticeEvent.READERS_GONE) == []


def test_a_duplicate_of_the_database_is_told(monkeypatch):

    why = DATABASE_IS_COPY(this="here/x", noted="there/x")
    monkeypatch.setattr(notices, "find_write_refusal", lambda: why)
    look(2)
    assert told(NoticeEvent.DUPLICATE) == [str(why)]


def test_stopped_writes_are_no_duplicate(monkeypatch):

    why = WRITES_STOPPED(who="ana", ago=timezone.now())
    monkeypatch.setattr(notices, "find_write_refusal", lambda: why)
    look()
    assert told(NoticeEvent.DUPLICATE) == []


def test_workers_that_were_gone_tell_it_when_they_are_back():
    look(2)
    let_time_pass(minutes=4)
    look()
    assert told(NoticeEvent.WORKERS_GONE) == []

    let_time_pass(minutes=42)
    look(3)

    assert told(NoticeEvent.WORKERS_GONE) == [
        "No worker was running for 42 minutes: nothing was pushed or compared. Workers run again."
    ]


def test_the_command_tells_of_gone_workers_at_once_and_they_that_it_is_over(told_nobody, capsys):
    look()
    Worker.objects.create(name="host:1", seen_at=timezone.now() - timedelta(minutes=7))
    for _ in range(2):
        call_command("send_notices")
    assert "Notices are set to reach nobody." in capsys.readouterr().out
    let_time_pass(minutes=7)
    Worker.objects.update(seen_at=timezone.now())
    look(2)

    gone, over = told(NoticeEvent.WORKERS_GONE)
    assert gone.startswith("No worker is alive; the last one was seen 7 minutes ago.")
    assert over.startswith("This is over")


@pytest.fixture
def told_nobody(settings):
    from nova_admin.environment import NotifySettings

    settings.NOVA_NOTIFY = NotifySettings()


def test_the_command_says_what_does_not_get_there(transactional_db, webhook_alone, webhook, capsys):
    make_comparison(make_client("idom"), "unchecked", error_class="unavailable")
    call_command("send_notices", "--format", "json")
    assert '"problem": ""' in capsys.readouterr().out

    webhook.answer = 500, {}
    Condition.objects.all().delete()
    with pytest.raises(CommandError) as error:
        call_command("send_notices")

    assert error.value.returncode == 1
    out = capsys.readouterr().out
    assert "Webhook 127.0.0.1: refused (status 500), 1 waiting" in out
    assert "secret-path" not in out


def test_overdue_rotations_are_told_together_and_each_day_once():
    ana = make_user("ana")
    for slug in ("one", "two"):
        pk = make_client(slug)
        RotationSchedule.objects.create(client_id=pk, days=30, since=date(2020, 1, 1), by=ana)
    RotationSchedule.objects.create(client_id=make_client("new"), days=30, by=ana)

    for _ in range(2):
        tasks.look_at_clients()

    assert told(NoticeEvent.ROTATION_OVERDUE) == [
        "The database passwords of 2 more clients are overdue for their rotation: one, two"
    ]
    pk = make_client("three")
    RotationSchedule.objects.create(client_id=pk, days=30, since=date(2020, 1, 1), by=ana)
    tasks.look_at_clients()
    assert told(NoticeEvent.ROTATION_OVERDUE)[1:] == [
        "The database password of one more client is overdue for its rotation: three"
    ]
    RotationSchedule.objects.filter(client_id=pk).delete()
    tasks.look_at_clients()
    assert told(NoticeEvent.ROTATION_OVERDUE)[2:] == ["This is over for one client: three"]


def test_an_audit_that_does_not_hold_is_told_once_until_it_holds_again(
    transactional_db, monkeypatch
):
    verification = notices.verify_audit()
    verification.faults.clear()  # these tests may empty the audit's tables
    monkeypatch.setattr(notices, "verify_audit", lambda: verification)
    tasks.look_at_audit()
    assert told(NoticeEvent.AUDIT_BROKEN) == []

    verification.add("removed", 7)
    for _ in range(2):
        tasks.look_at_audit()

    text = "The audit is not as this site wrote it: one fault. Run verify_audit and keep what it prints."
    assert told(NoticeEvent.AUDIT_BROKEN) == [text]
    verification.faults.clear()
    tasks.look_at_audit()
    assert len(told(NoticeEvent.AUDIT_BROKEN)) == 2


def test_an_entry_that_was_changed_is_a_fault_that_is_told(transactional_db):
    AuditEvent.objects.record(AuditCode.EXPORT, NOTHING())
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE migration_auditevent SET who = 'nobody'")
        cursor.execute("SET session_replication_role = origin")

    tasks.look_at_audit()

    assert len(told(NoticeEvent.AUDIT_BROKEN)) == 1


def test_old_notices_are_forgotten_by_the_sweep(stores):
    look_at_site(by_worker=True)
    look_at_clients()
    make_comparison(make_client("idom"), "mismatch")
    Notice.objects.update(created_at=timezone.now() - timedelta(days=31))
    make_comparison(make_client("acme"), "missing_in_aws")
    look_at_clients()

    tasks.sweep()

    assert all(
        timezone.now() - each.created_at < timedelta(days=1) for each in Notice.objects.all()
    )
