"""What holds for a time is told once when it begins, and once when it is over."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from migration import tasks
from migration.core.aws_writes import start_aws_writes, stop_aws_writes, write_guard
from migration.core.database_identity import note_facts_after_migrate
from migration.core.notices import TASKS_DROPPED, NoticeEvent
from migration.core.problems import Look, ProblemRecord, list_results
from migration.models import (
    ClientMigration,
    Comparison,
    Condition,
    DatabaseClaim,
    Notice,
    ReaderProcess,
    RotationSchedule,
    Worker,
)
from migration.site import audit
from migration.site.notices import is_quick, look_and_send, look_at_clients
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_reader_process, make_user
from tests.migration.site.notices.conftest import send_now
from tests.migration.site.notices.test_events import told
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db


def look(event=None, times=1):
    """Look as the workers do each minute: for what is told as this event, or for all."""
    for _ in range(times):
        ProblemRecord.objects.update(looked_at=F("looked_at") - timedelta(minutes=1))
        Worker.objects.record_heartbeat("host:1")
        look_and_send(by_worker=True, seconds=0, **only(event))


def only(event):
    """A look for all takes a fifth of a second, and most tests are about one problem."""
    return {"only": lambda each: is_quick(each) and each.told_as == event} if event else {}


def let_time_pass(**span):
    """What was seen was seen so long ago."""
    past = timedelta(**span)
    ProblemRecord.objects.update(looked_at=F("looked_at") - past, failed_at=F("failed_at") - past)


def test_aws_that_does_not_answer_is_told_once_and_that_it_is_over_once():
    pk = make_client("idom")
    make_comparison(pk, "unchecked", error_class="unavailable")
    look(NoticeEvent.AWS_GONE, 2)
    (text,) = told(NoticeEvent.AWS_GONE)
    assert "(unavailable)" in text

    make_comparison(pk, "match")
    look(NoticeEvent.AWS_GONE)
    assert len(told(NoticeEvent.AWS_GONE)) == 1  # it may come back
    let_time_pass(minutes=11)
    look(NoticeEvent.AWS_GONE, 2)

    over = told(NoticeEvent.AWS_GONE)[1]
    assert re.match(r"This is over; it began \d+ seconds? ago: AWS", over)
    make_comparison(pk, "unchecked", error_class="unavailable")
    ClientMigration.objects.update(comparison=None)
    look(NoticeEvent.AWS_GONE)
    assert len(told(NoticeEvent.AWS_GONE)) == 2  # one of the newest comparisons was answered


def test_what_comes_and_goes_is_one_condition():
    pk = make_client("idom")
    for _ in range(2):
        failed = make_comparison(pk, "unchecked", error_class="unavailable")
        look(NoticeEvent.AWS_GONE)
        ClientMigration.objects.update(comparison=None)
        failed.delete()
        let_time_pass(minutes=4)
        look(NoticeEvent.AWS_GONE)

    assert len(told(NoticeEvent.AWS_GONE)) == 1


def test_other_failures_of_aws_say_so_too_and_other_comparisons_do_not():
    pk = make_client("idom")
    compared = {
        "permission": {},
        "throttled": {},
        "data": {},  # of one client's secret
        "unavailable": {"compared_at": timezone.now() - timedelta(hours=2)},
    }
    cases = [("unchecked", {"error_class": error} | more) for error, more in compared.items()]
    for status, more in (*cases, ("mismatch", {})):
        ClientMigration.objects.update(comparison=None)
        Comparison.objects.all().delete()
        ProblemRecord.objects.all().delete()
        make_comparison(pk, status, **more)
        look(NoticeEvent.AWS_GONE)

    first, second = told(NoticeEvent.AWS_GONE)
    assert ("(permission)" in first, "(throttled)" in second) == (True, True)


def test_readers_that_fail_or_are_gone_are_told():
    ClientMigration.objects.create(client_id=make_client("idom"), phase=Phase.AWS)
    make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    look(NoticeEvent.READERS_GONE, 2)
    ReaderProcess.objects.update(last_read_at=timezone.now() - timedelta(hours=2))
    look(NoticeEvent.READERS_GONE, 2)

    failing, gone = told(NoticeEvent.READERS_GONE)
    assert failing == "AWS failed for 1 NOVA process in the last 30 minutes."
    assert gone.startswith("No NOVA process has used the reader in the last hour")


def test_where_no_client_is_read_from_aws_nobody_misses_a_reader():
    phase = ClientMigration.objects.create(client_id=make_client("idom"), phase=Phase.DUAL_WRITE)
    make_reader_process(last_read_at=timezone.now() - timedelta(hours=2))
    look(NoticeEvent.READERS_GONE)
    assert told(NoticeEvent.READERS_GONE) == []
    ClientMigration.objects.update(phase=Phase.AWS)
    look(NoticeEvent.READERS_GONE)
    for _ in range(2):
        ClientMigration.objects.update(phase=Phase.DUAL_WRITE)
        let_time_pass(minutes=11)
        look(NoticeEvent.READERS_GONE)
        ClientMigration.objects.filter(pk=phase.pk).update(phase=Phase.AWS)
        look(NoticeEvent.READERS_GONE)

    begun, over, *again = told(NoticeEvent.READERS_GONE)
    assert (begun[:22], over[:12]) == ("No NOVA process has us", "This is over")
    assert len(again) == 3


def test_a_duplicate_of_the_database_is_told_and_stopped_writes_are_none(stores):
    stop_aws_writes(reason="x")
    look(NoticeEvent.DUPLICATE)
    assert told(NoticeEvent.DUPLICATE) == []
    start_aws_writes()
    noted = DatabaseClaim.objects.newest()
    claim = DatabaseClaim.objects.create(
        system_identifier=noted.system_identifier,
        database_oid=noted.database_oid,
        place="there/x",
    )
    write_guard().forget_state()
    connection.close()  # a new one is asked which database it reaches
    look(NoticeEvent.DUPLICATE, 2)
    (text,) = told(NoticeEvent.DUPLICATE)
    assert "noted itself as there/x" in text

    claim.delete()
    write_guard().forget_state()
    look(NoticeEvent.DUPLICATE)
    let_time_pass(minutes=11)
    look(NoticeEvent.DUPLICATE)

    assert len(told(NoticeEvent.DUPLICATE)) == 2


def test_another_problem_of_the_site_is_told_by_its_sentence_with_the_page_that_lists_it(
    webhook_alone, transactional_db, webhook, settings
):
    settings.ALLOWED_HOSTS = ["nova.example.com"]
    Condition.objects.note(TASKS_DROPPED, TASKS_DROPPED)
    look(NoticeEvent.PROBLEM)

    send_now()
    (text,) = (text for text in webhook.taken if "Unreadable tasks" in text)
    assert text.startswith("*[Production] Dropped tasks (tasks_dropped)*")
    assert text.endswith("https://nova.example.com/admin/migration/run/health/")


def test_what_only_this_process_has_is_neither_stored_nor_told(stores, settings):
    note_facts_after_migrate("default")
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"

    look()

    (result,) = list_results(Look(), only=("host_differs",))
    assert result.is_open
    assert not ProblemRecord.objects.filter(code="host_differs").exists()
    assert "NOVA_SECRET_PREFIX" not in "".join(str(each.facts) for each in Notice.objects.all())


def test_two_workers_at_once_tell_a_problem_once(transactional_db):
    make_comparison(make_client("idom"), "unchecked", error_class="unavailable")
    Worker.objects.record_heartbeat("host:1")

    def work(_number):
        look_and_send(by_worker=True, seconds=0, **only(NoticeEvent.AWS_GONE))
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert len(told(NoticeEvent.AWS_GONE)) == 1


def test_workers_that_were_gone_tell_it_when_they_are_back():
    look(NoticeEvent.WORKERS_GONE)
    let_time_pass(minutes=3)
    look(NoticeEvent.WORKERS_GONE)
    assert told(NoticeEvent.WORKERS_GONE) == []

    let_time_pass(minutes=41)
    look(NoticeEvent.WORKERS_GONE, 2)

    assert told(NoticeEvent.WORKERS_GONE) == [
        "No worker took tasks for 42 minutes: nothing was pushed or compared. Workers take them again."
    ]


def test_the_command_tells_of_gone_workers_at_once_and_they_that_it_is_over(told_nobody, capsys):
    look(NoticeEvent.WORKERS_GONE)
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=7))
    for _ in range(2):
        ProblemRecord.objects.update(looked_at=None)
        call_command("send_notices")
    assert "Notices have no recipients." in capsys.readouterr().out
    let_time_pass(minutes=7)
    look(NoticeEvent.WORKERS_GONE, 2)

    gone, over = told(NoticeEvent.WORKERS_GONE)
    assert gone.startswith("No worker is running. The last one was seen 7 minutes ago.")
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
    ProblemRecord.objects.all().delete()
    with pytest.raises(CommandError) as error:
        call_command("send_notices")

    assert error.value.returncode == 1
    out = capsys.readouterr().out
    assert "Webhook 127.0.0.1: refused (status 500), " in out
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


def look_slowly():
    ProblemRecord.objects.update(looked_at=F("looked_at") - timedelta(days=1))
    tasks.look_for_slow_problems()


def test_an_audit_that_does_not_hold_is_told_once_until_it_holds_again(stores, monkeypatch):
    verification = audit.verify_audit()
    verification.faults.clear()  # these tests may empty the audit's tables
    monkeypatch.setattr(audit, "verify_audit", lambda: verification)
    look_slowly()
    assert told(NoticeEvent.AUDIT_BROKEN) == []

    verification.add("removed", 7)
    for _ in range(2):
        look_slowly()

    text = "The audit is not as this site wrote it: one fault. Run manage.py audit verify and keep what it prints."
    assert told(NoticeEvent.AUDIT_BROKEN) == [text]
    verification.faults.clear()
    look_slowly()
    assert len(told(NoticeEvent.AUDIT_BROKEN)) == 2


def test_what_takes_long_is_looked_for_as_often_as_it_says_by_one_worker_and_apart(
    stores, monkeypatch, admin_client
):
    verified = []
    verification = audit.verify_audit()
    monkeypatch.setattr(audit, "verify_audit", lambda: verified.append(1) or verification)

    look()
    with pages_left_out():
        page = admin_client.get(reverse("admin:migration_run_health"))
    (copies,) = [
        each for each in page.context_data["results"] if each.problem.code == "copies_found"
    ]
    assert (verified, copies.looked_at) == ([], None)
    for _ in range(2):
        tasks.look_for_slow_problems()
    assert verified == [1]
    assert ProblemRecord.objects.get(code="copies_found").looked_at

    ProblemRecord.objects.filter(code="audit_unsound").update(looked_at=None)
    assert ProblemRecord.objects.claim("audit_unsound")  # another worker is at it
    tasks.look_for_slow_problems()
    assert verified == [1]


def test_old_notices_are_forgotten_by_the_sweep(stores):
    look()
    look_at_clients()
    make_comparison(make_client("idom"), "mismatch")
    Notice.objects.update(created_at=timezone.now() - timedelta(days=31))
    make_comparison(make_client("acme"), "missing_in_aws")
    look_at_clients()

    tasks.sweep()

    assert all(
        timezone.now() - each.created_at < timedelta(days=1) for each in Notice.objects.all()
    )
