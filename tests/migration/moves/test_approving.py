"""Cutovers and purges that need a second person: who may, what counts when it is approved, two at once."""

import io
import json
import re
import threading

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from credentials.models import Client
from migration.clients.offboarding import find_unfinished_write_run
from migration.core.audit import APPROVAL_EVENT, CANCELLATION_EVENT, REQUEST_EVENT
from migration.core.sentences import ASK_BY_COMMAND
from migration.management.commands.move_clients import ASKED_FOR
from migration.models import AuditEvent, ClientMigration, PhaseChange, Run, RunItem
from migration.moves import approvals
from migration.moves.approvals import (
    CLIENT_GONE,
    MOVES_CANCELLED,
    RUN_NOT_REQUESTED,
    ApprovalStepRefused,
    approve_run,
    cancel_run_request,
    request_move,
)
from migration.moves.gates import ShutGate
from migration.moves.moves import MOVE_UNDER_WAY, MOVED_MEANWHILE, NEEDS_APPROVAL, move
from migration.moves.rules import PUSH_PENDING, Ask
from migration.moves.runs import ASKED_FOR_BY
from migration.pushes.comparisons import compare
from migration.pushes.pushes import MOVED_BY_RUN, push
from migration.runs.acts import see_clients
from migration.runs.items import Outcome
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.acts import act_page
from tests.migration.moves.clients import codes, document, enter_phase, phase_of, write_password

State = Run.State
MOVE, PURGE, APPROVE = (
    "migration.move_client",
    "migration.purge_client",
    "migration.approve_move",
)
SEE = "migration.view_run"


@pytest.fixture(autouse=True)
def approval_is_required(stores, settings):
    settings.NOVA_REQUIRE_APPROVAL = True


@pytest.fixture
def maria() -> User:
    return make_user("maria", *VIEW, SEE, MOVE, PURGE, APPROVE)


@pytest.fixture
def ana() -> User:
    return make_user("ana", *VIEW, SEE, APPROVE)


def ready_for(new: Phase, slug: str = "idom") -> int:
    """A client whose gate to `new` is open."""
    pk = make_full_client(slug)
    enter_phase(pk, {Phase.AWS: Phase.DUAL_READ, Phase.PURGED: Phase.AWS}[new])
    compare(client_ids=[pk])
    return pk


@pytest.fixture
def idom() -> int:
    return ready_for(Phase.AWS)


def ask(pk: int, new: Phase, by: User, reason: str = "INC-42") -> Run:
    return request_move(client_id=pk, new=new, by=by, reason=reason).run


def state_of(run: Run) -> tuple[str, str, list[str]]:
    """The run's state, its client's outcome, and the message of that."""
    run.refresh_from_db()
    item = run.items.get()
    assert (run.finished_at is not None) == (item.outcome != "")
    return run.state, item.outcome, item.message.codes if item.message else []


OPEN = (State.REQUESTED, "", [])


def list_open() -> list[Run]:
    return list(Run.objects.filter(state=State.REQUESTED))


@pytest.mark.parametrize("new", [Phase.AWS, Phase.PURGED])
def test_nobody_cuts_over_or_purges_alone_and_both_who_do_are_recorded(maria, ana, new):
    pk = ready_for(new)
    before = phase_of(pk)

    assert codes(pk, new) == [NEEDS_APPROVAL.key]
    asked = ask(pk, new, maria)
    with pytest.raises(ApprovalStepRefused, match="Someone else"):
        approve_run(run_id=asked.pk, by=maria)
    assert (phase_of(pk), state_of(asked)) == (before, OPEN)

    approve_run(run_id=asked.pk, by=ana)

    assert phase_of(pk) == new
    assert state_of(asked)[:2] == (State.FINISHED, Outcome.MOVED)
    assert (asked.by, asked.approved_by) == (maria, ana)
    change = PhaseChange.objects.first()
    assert (change.by, change.reason, change.run) == (ana, "INC-42", asked)
    assert change.note.codes == [ASKED_FOR_BY.key, MOVED_BY_RUN.key]
    approved = AuditEvent.objects.get(code=APPROVAL_EVENT)
    assert (approved.who, approved.client_id, approved.reason) == ("ana", pk, "INC-42")


def test_no_superuser_approves_a_request_of_his_own_and_nobody_one_of_who_is_gone(idom, ana):
    root = User.objects.create_superuser("root")
    asked = ask(idom, Phase.AWS, root)

    with pytest.raises(ApprovalStepRefused):
        approve_run(run_id=asked.pk, by=root)
    # The database itself keeps it from being done.
    done = {"state": State.FINISHED, "approved_by": root, "approved_by_name": "root"}
    with pytest.raises(IntegrityError) as refused:
        Run.objects.filter(pk=asked.pk).update(**done)
    assert refused.value.__cause__.diag.constraint_name == "run_approved_by_another"

    Run.objects.update(by=None)
    with pytest.raises(ApprovalStepRefused):
        approve_run(run_id=asked.pk, by=ana)
    assert phase_of(idom) == Phase.DUAL_READ


def test_a_request_behind_a_shut_gate_waits_and_the_gate_counts_when_it_is_approved(
    idom, maria, ana
):
    write_password(idom, "example-new")
    requested = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    asked = requested.run
    assert PUSH_PENDING() in requested.waits_for
    entry = AuditEvent.objects.get(code=REQUEST_EVENT)
    assert (entry.who, entry.client_id, entry.slug) == ("maria", idom, "idom")
    assert entry.message.values["reasons"] == tuple(requested.waits_for)
    assert list_open() == [asked]

    with pytest.raises(ShutGate, match="A push is pending"):
        approve_run(run_id=asked.pk, by=ana)

    assert phase_of(idom) == Phase.DUAL_READ
    assert state_of(asked) == OPEN
    push(client_ids=[idom])
    compare(client_ids=[idom])
    approve_run(run_id=asked.pk, by=ana)
    assert (phase_of(idom), state_of(asked)[:2]) == (Phase.AWS, (State.FINISHED, Outcome.MOVED))
    assert not list_open()


def test_a_client_that_moved_meanwhile_ends_its_request_in_words(idom, maria, ana):
    asked = ask(idom, Phase.AWS, maria)
    move(client_id=idom, new=Phase.DUAL_WRITE)

    assert state_of(asked) == (State.STOPPED, Outcome.SKIPPED, [MOVED_MEANWHILE.key])
    move(client_id=idom, new=Phase.DUAL_READ)
    with pytest.raises(ApprovalStepRefused, match="is not waiting for approval"):
        approve_run(run_id=asked.pk, by=ana)
    assert phase_of(idom) == Phase.DUAL_READ

    behind_our_back = ask(idom, Phase.AWS, maria)
    ClientMigration.objects.filter(pk=idom).update(phase=Phase.DUAL_WRITE)
    with pytest.raises(ApprovalStepRefused, match="no longer in Dual read"):
        approve_run(run_id=behind_our_back.pk, by=ana)
    assert state_of(behind_our_back)[:2] == (State.STOPPED, Outcome.SKIPPED)


def test_a_client_that_is_gone_fails_its_request(idom, maria, ana):
    asked = ask(idom, Phase.AWS, maria)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.clients CASCADE")

    with pytest.raises(ApprovalStepRefused, match="no longer exists"):
        approve_run(run_id=asked.pk, by=ana)

    assert state_of(asked) == (State.STOPPED, Outcome.SKIPPED, [CLIENT_GONE.key])


def test_what_was_cancelled_is_not_approved_any_more(idom, maria, ana):
    asked = ask(idom, Phase.AWS, maria)

    cancel_run_request(run_id=asked.pk, by=maria)

    (event,) = AuditEvent.objects.filter(code=CANCELLATION_EVENT)
    assert (event.who, event.message.key) == ("maria", MOVES_CANCELLED.key)
    with pytest.raises(ApprovalStepRefused, match="is not waiting for approval"):
        approve_run(run_id=asked.pk, by=ana)
    with pytest.raises(ApprovalStepRefused, match="is not waiting for approval"):
        cancel_run_request(run_id=asked.pk, by=ana)
    assert (phase_of(idom), state_of(asked)[0]) == (Phase.DUAL_READ, State.STOPPED)


def test_a_cancel_while_it_is_being_approved_stops_it(idom, maria, ana, monkeypatch):
    asked = ask(idom, Phase.AWS, maria)

    def cancelled_first(**arguments):
        cancel_run_request(run_id=asked.pk, by=maria)
        return move(**arguments)

    monkeypatch.setattr(approvals, "move", cancelled_first)
    with pytest.raises(ShutGate, match="no longer open"):
        approve_run(run_id=asked.pk, by=ana)

    assert (phase_of(idom), state_of(asked)[0]) == (Phase.DUAL_READ, State.STOPPED)


def test_of_two_approvers_at_once_one_wins(idom, maria, ana):
    asked = ask(idom, Phase.AWS, maria)
    other = make_user("eva", APPROVE)
    told: list[object] = []
    at_once = threading.Barrier(2)

    def press(user: User) -> None:
        try:
            at_once.wait(10)
            told.append(approve_run(run_id=asked.pk, by=user))
        except (ApprovalStepRefused, ShutGate) as refusal:
            told.append(refusal.codes if isinstance(refusal, ShutGate) else [refusal.message.key])
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=[user]) for user in (ana, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    lost = [found for found in told if isinstance(found, list)]
    assert (len(told), len(lost)) == (2, 1)
    assert lost[0] in ([RUN_NOT_REQUESTED.key], [MOVE_UNDER_WAY.key])
    assert state_of(asked)[:2] == (State.FINISHED, Outcome.MOVED)
    assert PhaseChange.objects.filter(new=Phase.AWS).count() == 1


def test_nothing_is_asked_for_that_is_no_move_or_needs_nobody_or_is_asked_for(idom, maria, ana):
    with pytest.raises(IllegalMove):
        request_move(client_id=idom, new=Phase.PURGED, by=maria, reason="x")
    with pytest.raises(ApprovalStepRefused, match="needs no approval"):
        request_move(client_id=idom, new=Phase.DUAL_WRITE, by=maria, reason="x")
    with pytest.raises(StalePhase):
        request_move(client_id=idom, new=Phase.AWS, by=maria, reason="x", seen=Phase.DUAL_WRITE)
    with pytest.raises(Client.DoesNotExist):
        request_move(client_id=999_999, new=Phase.AWS, by=maria, reason="x")
    assert not Run.objects.exists()

    # A request is nothing that others see or wait for.
    before = see_clients([idom])
    ask(idom, Phase.AWS, maria)
    assert see_clients([idom]) == before
    assert not Ask([idom]).open_write_items
    assert find_unfinished_write_run(idom) is None
    with pytest.raises(ApprovalStepRefused, match="idom already has an open request"):
        request_move(client_id=idom, new=Phase.AWS, by=ana, reason="INC-43")


def test_the_way_back_waits_for_no_approval(settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    settings.NOVA_REQUIRE_APPROVAL = True
    before = document(pk)

    for new in (Phase.AWS, Phase.DUAL_READ, Phase.DUAL_WRITE, Phase.POSTGRES):
        move(client_id=pk, new=new)

    assert phase_of(pk) == Phase.POSTGRES
    assert document(pk) != before  # its values are back in place of the pointers


# On the pages.


@pytest.fixture
def press(client):
    """Posts as somebody; answers with the status and what is then said."""

    def press(user: User, address: str, **data: str) -> tuple[int, str]:
        client.force_login(user)
        if asked := re.search(r"run/(\d+)/approve/", address):
            # As the page that is opened now would send it.
            for each in Run.objects.filter(pk=asked[1]):
                data["shown"] = str(each.read_request())
        response = client.post(address, data)
        said = " ".join(str(message) for message in get_messages(response.wsgi_request))
        return response.status_code, said

    return press


def client_page(pk: int, *more: str) -> str:
    return "/".join(["/admin/credentials/client", str(pk), *more, ""])


def request_page(asked: Run, *more: str) -> str:
    return "/".join(["/admin/migration/run", str(asked.pk), *more, ""])


def read_list(client, user: User) -> list[Run]:
    """The runs that wait for a second person, as their list shows them."""
    client.force_login(user)
    response = client.get("/admin/migration/run/?state=requested")
    return list(response.context["cl"].result_list)


def page(client, user: User, address: str) -> str:
    client.force_login(user)
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_of_requests_says_what_who_is_to_approve_needs(idom, ana, ask_by_form, client):
    ask_by_form(idom, reason="INC-4711")
    (asked,) = read_list(client, ana)
    shown = client.get("/admin/migration/run/?state=requested")
    assert {"number_of_clients", "reason_shown"} <= {*shown.context["cl"].list_display}
    assert str(shown.context["title"]) == "Requests"
    assert "INC-4711" in shown.content.decode()
    others = client.get("/admin/migration/run/").context["cl"].list_display
    assert "reason_shown" not in others

    asked.delete()
    assert shown.context["cl"].nothing_found in page(
        client, ana, "/admin/migration/run/?state=requested"
    )


@pytest.fixture
def ask_by_form(client, maria, press):
    """Has maria open the page of the cutover, and send its form."""

    def ask_by_form(pk: int, **typed: str) -> tuple[int, str]:
        address = act_page("cutover", pk)
        client.force_login(maria)
        shown = client.get(address).context["shown"]
        sent = {"confirmed": "1", "clients": shown, "typed": "idom", "reason": "INC-42"}
        return press(maria, address, **sent | typed)

    return ask_by_form


def test_one_asks_and_another_approves_by_clicks(idom, maria, ana, press, ask_by_form, client):
    assert act_page("cutover", idom) in page(client, maria, client_page(idom, "change"))
    assert "Someone else has to approve it" in page(client, maria, act_page("cutover", idom))

    for cannot_be_kept in ("x" * 501, "INC\0-42"):
        assert ask_by_form(idom, reason=cannot_be_kept) == (200, "")
        assert not Run.objects.exists()

    status, said = ask_by_form(idom)

    assert (status, phase_of(idom)) == (302, Phase.DUAL_READ)
    assert "Someone else has to approve it" in said
    asked = Run.objects.get()
    client.force_login(maria)
    assert client.get(request_page(asked, "change")).context["approvers"] == ("ana",)
    assert "requested by maria" in page(client, ana, client_page(idom, "change"))
    assert act_page("cutover", idom) not in page(client, maria, client_page(idom, "change"))
    assert "/approve/" not in page(client, maria, request_page(asked, "change"))
    assert press(maria, request_page(asked, "approve"))[1].startswith("You requested it")
    assert phase_of(idom) == Phase.DUAL_READ

    assert "/approve/" in page(client, ana, request_page(asked, "change"))
    status, said = press(ana, request_page(asked, "approve"))

    assert (status, phase_of(idom)) == (302, Phase.AWS)
    assert "idom is in AWS (cut over)." in said
    assert "/approve/" not in page(client, ana, request_page(asked, "change"))


def test_what_a_request_waits_for_is_told_as_of_now(idom, ana, ask_by_form, client):
    write_password(idom, "example-new")

    _, said = ask_by_form(idom)

    assert "A push is pending" in said
    asked = Run.objects.get()
    (listed,) = read_list(client, ana)
    assert listed.pk == asked.pk
    assert "idom: A push is pending" in str(listed.notes)
    shown = client.get(request_page(asked, "change")).context
    shut = [line["text"] for line in shown["lines"] if not line["passed"]]
    assert any("A push is pending" in text for text in shut)
    assert shown["may_approve"]
    push(client_ids=[idom])
    compare(client_ids=[idom])
    assert [run.notes for run in read_list(client, ana)] == [["idom"]]
    assert all(
        each["passed"] for each in client.get(request_page(asked, "change")).context["lines"]
    )


def test_who_asked_or_who_approves_may_cancel_and_nobody_else(idom, maria, ana, press):
    other = make_user("eva", *VIEW, SEE, MOVE)
    asked = ask(idom, Phase.AWS, maria)

    assert press(ana, "/admin/migration/run/999999/approve/")[0] == 404
    assert press(ana, "/admin/migration/run/999999/cancel/")[0] == 403
    assert press(other, request_page(asked, "cancel"))[0] == 403
    assert "The request is cancelled." in press(ana, request_page(asked, "cancel"))[1]
    again = ask(idom, Phase.AWS, other, "INC-43")
    press(other, request_page(again, "cancel"))
    assert state_of(again)[0] == State.STOPPED
    assert "is not waiting for approval" in press(ana, request_page(again, "approve"))[1]
    assert phase_of(idom) == Phase.DUAL_READ


@pytest.mark.parametrize("former", ["", "5/change/", "?state__exact=waiting"])
def test_former_addresses_of_requests_lead_to_their_list(idom, maria, client, former):
    asked = ask(idom, Phase.AWS, maria)
    client.force_login(maria)

    response = client.get(f"/admin/migration/moverequest/{former}", follow=True)

    assert [run.pk for run in response.context["cl"].result_list] == [asked.pk]


def test_the_list_of_requests_takes_as_many_queries_for_fifty_as_for_one(idom, maria, client):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/admin/migration/run/?state=requested").status_code == 200
        return len(captured)

    client.force_login(maria)
    ask(idom, Phase.AWS, maria)
    with_one = queries()
    runs = Run.objects.bulk_create(
        Run(kind="move", state="requested", move_from="dual_read", move_to="aws", by=maria)
        for n in range(49)
    )
    RunItem.objects.bulk_create(
        RunItem(run=run, client_id=1000 + run.pk, slug=f"c{run.pk}", batch=0) for run in runs
    )

    assert queries() == with_one


# By command.


def run_command(*arguments: str) -> tuple[int, list[dict]]:
    out, code = io.StringIO(), 0
    try:
        call_command("move_clients", *arguments, "--format", "json", stdout=out)
    except SystemExit as ended:
        code = int(ended.code)
    return code, json.loads(out.getvalue())


def test_the_command_asks_in_a_users_name_and_moves_nobody(idom, maria, ana):
    for more in ((), ("--by", "maria"), ("--reason", "INC-42")):
        code, (told,) = run_command("aws", "idom", *more)
        assert code == 1
        assert "--by USER --reason TEXT" in told["reasons"][0]
        assert told["codes"] == [ASK_BY_COMMAND.key]
    code, (told,) = run_command("aws", "idom", "--by", "ana", "--reason", "INC-42")
    assert (code, told["reasons"]) == (1, ["ana may not request it."])
    with pytest.raises(CommandError, match="unknown user: none"):
        run_command("aws", "idom", "--by", "none")
    assert not Run.objects.exists()

    code, (told,) = run_command("aws", "idom", "--by", "maria", "--reason", "INC-42")

    assert (code, told["moved"], told["phase"]) == (1, False, "dual_read")
    asked = Run.objects.get()
    assert told["reasons"][0].startswith(f"Requested (Move {asked.pk})")
    assert told["codes"] == [ASKED_FOR.key]
    assert (asked.by, asked.reason) == (maria, "INC-42")


def test_the_command_approves_what_was_requested_once_every_check_passes(idom, maria, ana):
    asked = ask(idom, Phase.AWS, maria)
    approve = ("run", "approve", str(asked.pk), "--by")
    with pytest.raises(CommandError, match="Someone else has to"):
        call_command(*approve, "maria")
    write_password(idom, "example-new")
    with pytest.raises(CommandError, match="A push is pending") as shut:
        call_command(*approve, "ana")
    assert (shut.value.returncode, state_of(asked)) == (1, OPEN)
    push(client_ids=[idom])
    compare(client_ids=[idom])

    call_command(*approve, "ana")

    assert (phase_of(idom), state_of(asked)[0]) == (Phase.AWS, State.FINISHED)


def test_the_command_goes_back_without_approval_in_the_users_name(idom, maria):
    ClientMigration.objects.filter(pk=idom).update(phase=Phase.AWS)

    code, (told,) = run_command("dual_read", "idom", "--by", "maria", "--reason", "INC-42")

    assert (code, told["moved"]) == (0, True)
    assert PhaseChange.objects.first().by == maria
