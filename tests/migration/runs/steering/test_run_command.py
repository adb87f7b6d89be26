"""`run list`, `show`, `pause`, `stop` and `approve`; `resume` has a module of its own (`test_going_on.py`)."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from migration.core.clients import all_clients
from migration.models import AuditEvent
from migration.moves.approvals import start_move_run
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.moves.clients import enter_phase


def run_json(*arguments: str):
    out = io.StringIO()
    call_command("run", *arguments, "--format", "json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


@pytest.fixture
def run_of_pushes(db) -> Run:
    make_full_client("idom")
    return Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), by=make_user("maria"))


def test_runs_are_listed_newest_first_with_their_numbers(run_of_pushes):
    newer = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), by=run_of_pushes.by)
    newer.pause(by=None)

    assert [each["run"] for each in run_json("list")] == [newer.pk, run_of_pushes.pk]
    (listed,) = run_json("list", "--state", "paused")
    assert (listed["run"], listed["state"], listed["clients"], listed["done"]) == (
        newer.pk,
        "paused",
        1,
        0,
    )
    assert listed["by"] == "maria"
    assert len(run_json("list", "--most", "1")) == 1


def test_a_run_is_shown_with_its_items_and_what_it_waits_for(run_of_pushes):
    run_of_pushes.pause(by=None)

    shown = run_json("show", str(run_of_pushes.pk))

    assert (shown["run"], shown["state"], shown["clients"]) == (run_of_pushes.pk, "paused", 1)
    assert shown["waits_for"]
    assert [item["slug"] for item in shown["items"]] == ["idom"]


def test_a_run_is_paused_and_stopped_in_a_users_name(run_of_pushes):
    make_user("eva", "migration.add_run")

    assert run_json("pause", str(run_of_pushes.pk), "--by", "eva")["state"] == "paused"
    stopped = run_json("stop", str(run_of_pushes.pk), "--by", "eva")

    assert stopped["state"] == "stopped"
    run_of_pushes.refresh_from_db()
    assert run_of_pushes.steered_by_name == "eva"
    assert run_of_pushes.items.never_begun().count() == 1
    with pytest.raises(CommandError) as refused:
        run_json("pause", str(run_of_pushes.pk))
    assert refused.value.returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [["show", "99"], ["pause", "99"], ["stop", "99"], ["approve", "99", "--by", "root"]],
    ids=" ".join,
)
def test_an_unknown_run_is_wrong_use(db, arguments):
    make_user("root", "migration.approve_move")

    with pytest.raises(CommandError, match="unknown run: 99") as refused:
        run_json(*arguments)

    assert refused.value.returncode == 2


def test_who_may_not_steer_runs_is_not_named(run_of_pushes):
    make_user("eva", "migration.view_run")

    with pytest.raises(CommandError, match=r"lacks the permission .*add_run"):
        run_json("pause", str(run_of_pushes.pk), "--by", "eva")

    assert Run.objects.get().state == Run.State.RUNNING


@pytest.fixture
def requested(stores, settings) -> Run:
    settings.NOVA_REQUIRE_APPROVAL = True
    for slug in ("idom", "other"):
        enter_phase(make_full_client(slug), Phase.DUAL_READ)
    maria = make_user("maria", "migration.move_client", "migration.approve_move")
    return start_move_run(
        chosen=all_clients(), old=Phase.DUAL_READ, new=Phase.AWS, by=maria, reason="INC-1"
    )


def test_a_requested_run_begins_once_somebody_else_approves_it(requested):
    make_user("peter", "migration.approve_move")
    make_user("eva", "migration.add_run")
    number = str(requested.pk)

    with pytest.raises(CommandError) as unnamed:
        run_json("approve", number)
    with pytest.raises(CommandError) as own:
        run_json("approve", number, "--by", "maria")
    with pytest.raises(CommandError, match=r"lacks the permission .*approve_move"):
        run_json("approve", number, "--by", "eva")
    assert Run.objects.get().state == Run.State.REQUESTED

    assert run_json("approve", number, "--by", "peter")["state"] == "running"
    assert (unnamed.value.returncode, own.value.returncode) == (2, 1)
    assert Run.objects.get().approved_by_name == "peter"
    assert AuditEvent.objects.filter(code="approval", who="peter").exists()


def test_a_request_is_withdrawn_by_who_made_it_or_an_approver(requested):
    make_user("eva", "migration.add_run")
    number = str(requested.pk)
    with pytest.raises(CommandError, match=r"lacks the permission .*approve_move"):
        run_json("stop", number, "--by", "eva")

    assert run_json("stop", number)["state"] == "stopped"

    with pytest.raises(CommandError) as refused:
        call_command("run", "resume", number, stdout=io.StringIO())
    assert refused.value.returncode == 1
