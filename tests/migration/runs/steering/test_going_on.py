"""A stopped or interrupted run goes on with the rest: on its page, and by `run resume`."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django_q.models import OrmQ

from migration.core.aws_writes import stop_aws_writes
from migration.models import AuditEvent
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run, StaleRunError
from migration.runs.progress import measure_progress, select_runs_for_progress
from tests.factories import VIEW, make_client, make_user
from tests.migration.runs.steering.runs import left, start

pytestmark = pytest.mark.usefixtures("stores")


def start_stopped(number: int = 4) -> Run:
    """A run of which one client failed and one has no credentials, and the others were left out by a stop."""
    make_client("empty")
    run = start(number - 1)
    run.items.filter(slug="empty").update(batch=0)
    engine.process_batch_if_running(run.pk, 0)
    run.items.filter(slug="client-0").update(outcome=Outcome.FAILED, error_class="permission")
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)
    run.refresh_from_db()
    OrmQ.objects.all().delete()
    return run


def resume(*arguments: object) -> tuple[int, dict, str]:
    """The exit code, the object on standard output, and standard error."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(
            "run", "resume", *map(str, arguments), "--format", "json", stdout=out, stderr=err
        )
    except SystemExit as end:
        code = end.code
    return code, json.loads(out.getvalue()), err.getvalue()


def test_a_stopped_run_counts_what_it_left_out_apart():
    run = start_stopped(6)

    now = measure_progress(select_runs_for_progress().get(pk=run.pk))

    assert (now.total, now.done, now.items_never_begun, now.failed) == (6, 2, 4, 1)
    assert round(now.percent) == 33
    assert Run.objects.with_counts().get().done == 2


def test_it_goes_on_with_what_was_left_out_alone(somebody):
    run = start_stopped()

    run.reopen_never_begun(by=somebody)

    assert (run.state, run.finished_at, run.steered_by) == (Run.State.RUNNING, None, somebody)
    assert left(run) == 2
    assert AuditEvent.objects.filter(who="somebody").count() == 1
    engine.work_on_run(run_id=run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.FINISHED
    counts = run.count_outcomes_and_matches()
    assert (counts["created"], counts["skipped"], counts["failed"]) == (2, 1, 1)


def test_only_one_of_two_goes_on_with_it_and_then_there_is_no_rest():
    run = start_stopped()
    first, second = Run.objects.get(pk=run.pk), Run.objects.get(pk=run.pk)
    first.reopen_never_begun(by=None)
    with pytest.raises(StaleRunError):
        second.reopen_never_begun(by=None)
    engine.work_on_run(run_id=run.pk)
    first.refresh_from_db()

    with pytest.raises(StaleRunError):
        first.reopen_never_begun(by=None)

    first.refresh_from_db()
    assert first.state == Run.State.FINISHED


def test_a_run_that_is_stopping_does_not_go_on_yet():
    run = start(2)
    run.stop(by=None)
    with pytest.raises(StaleRunError):
        run.reopen_never_begun(by=None)


def test_its_page_offers_to_go_on_until_nothing_is_left(client):
    client.force_login(make_user("operator", *VIEW, "migration.add_run"))
    run = start_stopped()
    page = reverse("admin:migration_run_change", args=[run.pk])
    steer = reverse("admin:migration_run_steer", args=[run.pk])
    shown = client.get(page).content.decode()
    assert "Continue with the rest" in shown
    assert "2 of 4 clients" in shown
    assert "2 not started" in shown
    left_out = "The latest migration stopped before it reached"
    assert left_out in client.get(reverse("admin:index")).content.decode()

    client.post(steer, {"order": "go_on"})

    assert OrmQ.objects.count() == 1
    engine.work_on_run(run_id=run.pk)
    assert "Continue with the rest" not in client.get(page).content.decode()
    assert left_out not in client.get(reverse("admin:index")).content.decode()


def test_resume_run_does_the_rest_in_this_process(somebody):
    run = start_stopped()

    code, printed, _err = resume(run.pk, "--inline")

    assert (code, printed["run"], printed["created"], printed["failed"]) == (1, run.pk, 2, 1)
    code, printed, _err = resume(run.pk, "--inline", "--failed")
    assert (code, printed["failed"], printed["clients"]) == (0, 0, 4)


def test_resume_run_hands_the_rest_to_the_workers_and_waits(monkeypatch):
    run = start_stopped()
    handed = []

    def work(run, _output):
        handed.append(OrmQ.objects.count())
        engine.finish_inline(run)

    monkeypatch.setattr("migration.management.base.wait_for_workers", work)

    code, printed, _err = resume(run.pk, "--failed")

    assert (handed, code, printed["created"], printed["unchanged"]) == ([2], 0, 2, 1)


def test_resume_run_goes_on_with_a_paused_run_in_somebodys_name(somebody):
    run = start(2)
    run.pause(by=None)
    call_command(
        "run",
        "resume",
        str(run.pk),
        "--inline",
        "--by",
        make_user("ada", "migration.add_run").username,
    )

    run.refresh_from_db()
    assert (run.state, run.steered_by_name) == (Run.State.FINISHED, "ada")


def test_resume_run_works_on_a_run_whose_process_was_killed():
    run = start(2)

    assert resume(run.pk, "--inline")[1]["created"] == 2


def test_resume_run_ends_a_stop_whose_process_was_killed_and_goes_on():
    run = start(2)
    run.stop(by=None)

    assert resume(run.pk, "--inline")[1]["created"] == 2


def test_of_a_finished_run_it_prints_what_was_done_and_says_that_nothing_is_left():
    run = start(1)
    engine.finish_inline(run)

    code, printed, err = resume(run.pk)

    assert (code, printed["created"]) == (0, 1)
    assert err == f"{run} is finished. Nothing is left to do.\n"
    run.items.update(outcome="failed")
    assert "but one client failed. Retry it with --failed." in resume(run.pk)[2]


@pytest.mark.parametrize(
    "arguments", [["0"], ["-1"], ["9"], ["9" * 30], ["x"], [], ["1", "--by", "nobody"]]
)
def test_wrong_use_exits_with_2(arguments):
    with pytest.raises(CommandError) as refused:
        call_command("run", "resume", *arguments)
    assert refused.value.returncode == 2


def test_who_may_start_no_run_resumes_none(somebody):
    run = start_stopped()
    with pytest.raises(CommandError, match="lacks the permission migration"):
        call_command("run", "resume", str(run.pk), "--by", "somebody")
    assert left(run) == 0


def test_nothing_goes_on_here_while_aws_writes_are_stopped():
    run = start_stopped()
    stop_aws_writes(reason="INC-42")
    with pytest.raises(CommandError, match="Nothing was pushed") as refused:
        call_command("run", "resume", str(run.pk), "--inline")
    assert refused.value.returncode == 1
    run.refresh_from_db()
    assert run.state == Run.State.STOPPED
