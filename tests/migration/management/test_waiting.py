"""Commands that wait for the workers: what they say where no worker begins, and when."""

import io
import re
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from migration.management import progress
from migration.management.base import name_own_command
from migration.management.progress import ITEM_NOT_BEGUN, NOT_BEGUN_NO_WORKER
from migration.models import RunItem, Worker
from migration.runs import engine
from migration.runs.models import Run
from migration.runs.progress import RUN_PAUSED
from nova_credentials.aws.answers import ErrorClass
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase

COMMANDS = {
    "compare_clients": ["--all"],
    "migrate_clients": ["--all"],
    "push_pending": [],
}
ADVICE = "manage.py qcluster"


class Clock:
    """Time that passes only while a command sleeps; `at` has what happens when it has slept so long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, object] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    with_a_push_pending(pk)
    return pk


def with_a_push_pending(pk: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.clients SET name = name WHERE id = %s", [pk])


def finish() -> None:
    """What a worker does."""
    engine.finish_inline(Run.objects.get(finished_at=None))


def said(command: str) -> str:
    errors = io.StringIO()
    with suppress(SystemExit):
        call_command(command, *COMMANDS[command], stderr=errors, stdout=io.StringIO())
    return errors.getvalue()


def test_after_five_seconds_without_a_worker_it_says_so_once_and_what_to_do(idom, clock):
    shown = []
    for command, more in COMMANDS.items():
        with_a_push_pending(idom)
        errors = io.StringIO()
        clock.now = 0
        clock.at = {
            4.5: lambda errors=errors: shown.append(errors.getvalue()),
            5.5: lambda errors=errors: shown.append(errors.getvalue()),
            9: finish,
        }

        call_command(command, *more, stderr=errors, stdout=io.StringIO())

        before, after = shown[-2:]
        (first,) = before.splitlines()
        assert first.endswith(": 0 of 1 clients (0 %)"), command
        assert after == f"{first}\n{first}. Waiting: {NOT_BEGUN_NO_WORKER()}\n"
        assert errors.getvalue() == after
        assert ADVICE in after
        assert "--inline" in after


def test_it_waits_for_nothing_where_a_worker_begins_in_time(idom, clock):
    clock.at = {2: finish}
    assert "Waiting" not in said("compare_clients")


def test_it_says_nothing_while_a_worker_holds_its_batch(idom, clock):
    locks = []

    def begin() -> None:
        run = Run.objects.get(finished_at=None)
        locks.append(engine.try_lock_batch(run.pk, 0))
        assert locks[0].__enter__()

    def end() -> None:
        locks[0].__exit__(None, None, None)
        finish()

    clock.at = {2: begin, 9: end}
    assert ADVICE not in said("compare_clients")


def test_it_says_nothing_of_workers_where_a_client_waits_for_a_retry(idom, clock):
    def fail_once() -> None:
        again = {"attempts": 1, "next_try_at": timezone.now() + timedelta(hours=1)}
        RunItem.objects.filter(run__finished_at=None).update(**again)

    def try_again() -> None:
        RunItem.objects.filter(run__finished_at=None).update(next_try_at=timezone.now())
        finish()

    clock.at = {2: fail_once, 9: try_again}
    assert ADVICE not in said("compare_clients")


def test_where_a_worker_was_alive_lately_it_does_not_say_that_none_is(idom, clock):
    Worker.objects.create(name="host:1")
    clock.at = {9: finish}
    assert said("compare_clients").endswith(f". Waiting: {ITEM_NOT_BEGUN()}\n")


def test_a_run_that_waits_can_be_left_and_goes_on(idom, clock):
    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.at = {8: interrupt}
    with pytest.raises(CommandError) as left:
        said("compare_clients")
    assert left.value.returncode == 130
    run = Run.objects.get(finished_at=None)
    assert str(left.value).startswith(
        f"{run} continues on the workers: 0 of 1 clients are done (0 failed), 1 are not."
        f" To wait for it again: manage.py run resume {run.pk} "
    )
    assert (run.kind, run.state) == (Run.Kind.COMPARE, Run.State.RUNNING)


def test_a_line_a_second_has_counts_rate_failures_and_the_reason(idom, clock):
    def fail() -> None:
        RunItem.objects.filter(run__finished_at=None, batch=0).update(
            outcome="failed", error_class="permission", finished_at=timezone.now()
        )

    def pause() -> None:
        run = Run.objects.get(finished_at=None)
        run.add_items([(1_000_000 + n, f"n{n}") for n in range(3)])
        run.items.filter(slug__startswith="n").update(batch=1)
        Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(seconds=5))
        fail()
        run.pause(by=None)

    def end() -> None:
        Run.objects.get(finished_at=None).resume(by=None)
        finish()

    clock.at = {1: pause, 9.5: end}
    lines = said("compare_clients").splitlines()

    run = Run.objects.get(kind=Run.Kind.COMPARE)
    assert lines
    for line in lines:
        assert re.fullmatch(
            rf"{run}: 1 of 4 clients \(25 %\), 0\.[12]/s, about \d+ seconds left, 1 failed \(1 permission\)\."
            rf" Waiting: {re.escape(str(RUN_PAUSED()))}",
            line,
        ), line


def test_its_seconds_are_those_of_a_real_clock(idom, monkeypatch):
    assert progress.BEGUN_AFTER_SECONDS == 5
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(progress, "BEGUN_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(progress, "NO_PROGRESS_SECONDS", 0.5)
    errors = io.StringIO()

    began = time.monotonic()
    with pytest.raises(CommandError, match=ADVICE):
        call_command("compare_clients", "idom", stderr=errors)

    assert 0.5 <= time.monotonic() - began < 3
    assert ADVICE in errors.getvalue()


@pytest.mark.parametrize("is_worker_alive", [True, False])
def test_without_progress_it_ends_with_the_reason_for_which_workers_try_on(
    idom, clock, monkeypatch, is_worker_alive
):
    """AWS gives no answer that counts, as behind a certificate that this host doesn't trust."""
    error = SecretsManagerError(
        ErrorClass.UNAVAILABLE, "SSLError", "BatchGetSecretValue", "nova/clients/idom"
    )

    def fail_once() -> None:
        open_items = RunItem.objects.filter(run__finished_at=None)
        open_items.update(
            attempts=1, next_try_at=timezone.now() + timedelta(hours=1), message=error.message
        )
        if is_worker_alive:
            Worker.objects.create(name="host:1")

    # The worker is alive by a clock that goes on.
    monkeypatch.setattr(progress, "NO_PROGRESS_SECONDS", 8)
    clock.at = {2: fail_once}
    with pytest.raises(CommandError) as given_up:
        call_command("compare_clients", "idom", stderr=io.StringIO(), stdout=io.StringIO())

    run = Run.objects.get(finished_at=None)
    told = f"{run} has made no progress for {progress.NO_PROGRESS_SECONDS} s. It stays queued"
    assert str(given_up.value).startswith(told)
    assert ("AWS_CA_BUNDLE" in str(given_up.value)) is is_worker_alive
    assert (ADVICE in str(given_up.value)) is not is_worker_alive


def test_commands_are_named_as_they_are_typed_here(monkeypatch):
    text = (
        "Run: python manage.py migrate, then start one: manage.py qcluster. See /x/manage.py check."
    )
    assert name_own_command(text) == text

    monkeypatch.setenv("NOVA_COMMAND", "/opt/site/nova-admin")
    assert name_own_command(text) == (
        "Run: /opt/site/nova-admin migrate, then start one: /opt/site/nova-admin qcluster. See /x/manage.py check."
    )

    monkeypatch.setenv("NOVA_COMMAND", "/srv/nova-admin/nova-admin")
    assert "start one: systemctl start nova-admin-worker. See" in name_own_command(text)
