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
from migration.core.audit import APPROVAL_EVENT, REQUEST_EVENT
from migration.core.sentences import ASK_BY_COMMAND
from migration.management.commands.move_clients import ASKED_FOR
from migration.models import AuditEvent, ClientMigration, MoveRequest, PhaseChange
from migration.moves import approvals
from migration.moves.approvals import (
    CLIENT_GONE,
    REQUEST_OVER,
    ApprovalStepRefused,
    approve_request,
    cancel_request,
    request_move,
)
from migration.moves.gates import PUSH_PENDING, ShutGate
from migration.moves.moves import MOVE_UNDER_WAY, MOVED_MEANWHILE, NEEDS_APPROVAL, move
from migration.moves.runs import ASKED_FOR_BY
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.messages import Message
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.acts import act_page
from tests.migration.moves.clients import (
    advance,
    codes,
    document,
    enter_phase,
    phase_of,
    write_password,
)

State = MoveRequest.State
MOVE, PURGE, APPROVE = (
    "migration.move_client",
    "migration.purge_client",
    "migration.approve_move",
)
SEE = "migration.view_moverequest"


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


def state_of(asked: MoveRequest) -> tuple[str, list[Message]]:
    asked.refresh_from_db()
    return asked.state, asked.reasons


@pytest.mark.parametrize("new", [Phase.AWS, Phase.PURGED])
def test_nobody_cuts_over_or_purges_alone(maria, new):
    pk = ready_for(new)
    before = phase_of(pk)

    assert codes(pk, new) == [NEEDS_APPROVAL.key]

    asked = request_move(client_id=pk, new=new, by=maria, reason="INC-42")
    with pytest.raises(ApprovalStepRefused, match="somebody else"):
        approve_request(request_id=asked.pk, by=maria)
    assert (phase_of(pk), state_of(asked)) == (before, (State.REQUESTED, []))


def test_a_superuser_approves_no_request_of_his_own(idom):
    root = User.objects.create_superuser("root")
    asked = request_move(client_id=idom, new=Phase.AWS, by=root, reason="INC-42")

    with pytest.raises(ApprovalStepRefused):
        approve_request(request_id=asked.pk, by=root)

    assert phase_of(idom) == Phase.DUAL_READ


@pytest.mark.parametrize("new", [Phase.AWS, Phase.PURGED])
def test_another_approves_and_both_are_recorded(maria, ana, new):
    pk = ready_for(new)
    asked = request_move(client_id=pk, new=new, by=maria, reason="INC-42")

    approve_request(request_id=asked.pk, by=ana)

    assert phase_of(pk) == new
    assert state_of(asked) == (State.DONE, [])
    assert (asked.requested_by, asked.decided_by) == (maria, ana)
    change = PhaseChange.objects.first()
    assert (change.by, change.reason) == (ana, "INC-42")
    assert change.note == ASKED_FOR_BY(who="maria")
    approved = AuditEvent.objects.get(code=APPROVAL_EVENT)
    assert (approved.who, approved.client_id, approved.reason) == ("ana", pk, "INC-42")


def test_the_database_itself_keeps_a_request_from_being_done_by_who_asked(idom, maria):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    with pytest.raises(IntegrityError) as refused:
        MoveRequest.objects.filter(pk=asked.pk).update(state=State.DONE, decided_by=maria)

    assert refused.value.__cause__.diag.constraint_name == "approved_by_another"


def test_a_request_behind_a_shut_gate_waits_and_says_why(idom, maria):
    write_password(idom, "example-new")

    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    assert asked.state == State.WAITING
    assert PUSH_PENDING() in asked.reasons
    entry = AuditEvent.objects.get(code=REQUEST_EVENT)
    assert (entry.who, entry.message.values["reasons"]) == ("maria", tuple(asked.reasons))
    assert list(MoveRequest.objects.open()) == [asked]


def test_the_gate_counts_when_it_is_approved(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    write_password(idom, "example-new")

    with pytest.raises(ShutGate, match="A push is pending"):
        approve_request(request_id=asked.pk, by=ana)

    assert phase_of(idom) == Phase.DUAL_READ
    assert state_of(asked)[0] == State.WAITING
    push(client_ids=[idom])
    compare(client_ids=[idom])
    approve_request(request_id=asked.pk, by=ana)
    assert (phase_of(idom), state_of(asked)) == (Phase.AWS, (State.DONE, []))
    assert not MoveRequest.objects.open().exists()


def test_a_client_that_moved_meanwhile_ends_its_request_in_words(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    move(client_id=idom, new=Phase.DUAL_WRITE)

    assert state_of(asked) == (
        State.FAILED,
        [MOVED_MEANWHILE(phase=Phase.DUAL_WRITE.label)],
    )
    move(client_id=idom, new=Phase.DUAL_READ)
    with pytest.raises(ApprovalStepRefused, match="This request is closed already: Failed"):
        approve_request(request_id=asked.pk, by=ana)
    assert phase_of(idom) == Phase.DUAL_READ


def test_a_client_that_moved_behind_our_back_fails_its_request(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    ClientMigration.objects.filter(pk=idom).update(phase=Phase.DUAL_WRITE)

    with pytest.raises(ApprovalStepRefused, match="no longer in Dual read"):
        approve_request(request_id=asked.pk, by=ana)

    assert state_of(asked)[0] == State.FAILED


def test_a_client_that_is_gone_fails_its_request(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.clients CASCADE")

    with pytest.raises(ApprovalStepRefused, match="no longer exists"):
        approve_request(request_id=asked.pk, by=ana)

    assert state_of(asked) == (State.FAILED, [CLIENT_GONE()])


def test_what_was_cancelled_is_not_approved_any_more(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    cancel_request(request_id=asked.pk, by=maria)

    with pytest.raises(
        ApprovalStepRefused, match="This request is closed already: Cancelled, by maria"
    ):
        approve_request(request_id=asked.pk, by=ana)
    with pytest.raises(ApprovalStepRefused, match="This request is closed already"):
        cancel_request(request_id=asked.pk, by=ana)
    assert (phase_of(idom), state_of(asked)[0]) == (Phase.DUAL_READ, State.CANCELLED)


def test_a_cancel_while_it_is_being_approved_stops_it(idom, maria, ana, monkeypatch):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    def cancelled_first(**arguments):
        cancel_request(request_id=asked.pk, by=maria)
        return move(**arguments)

    monkeypatch.setattr(approvals, "move", cancelled_first)
    with pytest.raises(ShutGate, match="no longer open"):
        approve_request(request_id=asked.pk, by=ana)

    assert (phase_of(idom), state_of(asked)[0]) == (Phase.DUAL_READ, State.CANCELLED)


def test_of_two_approvers_at_once_one_wins(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    other = make_user("eva", APPROVE)
    told: list[object] = []
    at_once = threading.Barrier(2)

    def press(user: User) -> None:
        try:
            at_once.wait(10)
            told.append(approve_request(request_id=asked.pk, by=user))
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
    assert lost[0] in ([REQUEST_OVER.key], [MOVE_UNDER_WAY.key])
    assert state_of(asked)[0] == State.DONE
    assert PhaseChange.objects.filter(new=Phase.AWS).count() == 1


def test_of_two_who_ask_the_second_is_told(idom, maria, ana):
    request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    with pytest.raises(ApprovalStepRefused, match="idom has an open request already"):
        request_move(client_id=idom, new=Phase.AWS, by=ana, reason="INC-43")


def test_nothing_is_asked_for_that_is_no_move_or_needs_nobody(idom, maria):
    with pytest.raises(IllegalMove):
        request_move(client_id=idom, new=Phase.PURGED, by=maria, reason="x")
    with pytest.raises(ApprovalStepRefused, match="needs no approval"):
        request_move(client_id=idom, new=Phase.DUAL_WRITE, by=maria, reason="x")
    with pytest.raises(StalePhase):
        request_move(client_id=idom, new=Phase.AWS, by=maria, reason="x", seen=Phase.DUAL_WRITE)
    with pytest.raises(Client.DoesNotExist):
        request_move(client_id=999_999, new=Phase.AWS, by=maria, reason="x")
    assert not MoveRequest.objects.exists()


def test_a_request_of_a_user_who_is_gone_is_approved_by_nobody(idom, maria, ana):
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    MoveRequest.objects.update(requested_by=None)

    with pytest.raises(ApprovalStepRefused):
        approve_request(request_id=asked.pk, by=ana)


def test_the_way_back_waits_for_no_approval(settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    pk = make_full_client("idom")
    advance(pk, Phase.PURGED)
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
        if asked := re.search(r"moverequest/(\d+)/approve/", address):
            # As the page that is opened now would send it.
            for each in MoveRequest.objects.filter(pk=asked[1]):
                data["shown"] = str(each.read_content())
        response = client.post(address, data)
        said = " ".join(str(message) for message in get_messages(response.wsgi_request))
        return response.status_code, said

    return press


def client_page(pk: int, *more: str) -> str:
    return "/".join(["/admin/credentials/client", str(pk), *more, ""])


def request_page(asked: MoveRequest, *more: str) -> str:
    return "/".join(["/admin/migration/moverequest", str(asked.pk), *more, ""])


def page(client, user: User, address: str) -> str:
    client.force_login(user)
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def ask(client, maria, press):
    """Has maria open the page of the cutover, and send its form."""

    def ask(pk: int, **typed: str) -> tuple[int, str]:
        address = act_page("cutover", pk)
        client.force_login(maria)
        shown = client.get(address).context["shown"]
        sent = {"confirmed": "1", "clients": shown, "typed": "idom", "reason": "INC-42"}
        return press(maria, address, **sent | typed)

    return ask


@pytest.mark.parametrize("reason", ["x" * 501, "INC\0-42"])
def test_nothing_is_asked_for_with_a_reason_that_cannot_be_kept(idom, ask, reason):
    assert ask(idom, reason=reason) == (200, "")
    assert not MoveRequest.objects.exists()


def test_one_asks_and_another_approves_by_clicks(idom, maria, ana, press, ask, client):
    assert act_page("cutover", idom) in page(client, maria, client_page(idom, "change"))
    assert "Somebody else has to approve it" in page(client, maria, act_page("cutover", idom))

    status, said = ask(idom)

    assert (status, phase_of(idom)) == (302, Phase.DUAL_READ)
    assert "somebody else has to approve it" in said
    asked = MoveRequest.objects.get()
    assert "requested by maria" in page(client, ana, client_page(idom, "change"))
    assert act_page("cutover", idom) not in page(client, maria, client_page(idom, "change"))
    assert "/approve/" not in page(client, maria, request_page(asked, "change"))
    assert press(maria, request_page(asked, "approve"))[1].startswith("The person who requested it")
    assert phase_of(idom) == Phase.DUAL_READ

    assert "/approve/" in page(client, ana, request_page(asked, "change"))
    status, said = press(ana, request_page(asked, "approve"))

    assert (status, phase_of(idom)) == (302, Phase.AWS)
    assert "idom is in AWS (cut over) now." in said
    assert "/approve/" not in page(client, ana, request_page(asked, "change"))


def test_a_request_that_waits_is_told_on_the_page_of_requests(idom, ana, ask, client):
    write_password(idom, "example-new")

    _, said = ask(idom)

    assert "A push is pending" in said
    listed = page(client, ana, "/admin/migration/moverequest/?state__exact=waiting")
    assert "Cutover: idom" in listed
    assert "A push is pending" in listed


def test_who_asked_or_who_approves_may_cancel_and_nobody_else(idom, maria, ana, press):
    other = make_user("eva", *VIEW, SEE, MOVE)
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")

    assert press(other, request_page(asked, "cancel"))[0] == 403
    assert "The request is cancelled." in press(ana, request_page(asked, "cancel"))[1]
    again = request_move(client_id=idom, new=Phase.AWS, by=other, reason="INC-43")
    press(other, request_page(again, "cancel"))
    assert state_of(again)[0] == State.CANCELLED
    assert (
        "This request is closed already: Cancelled" in press(ana, request_page(again, "approve"))[1]
    )
    assert phase_of(idom) == Phase.DUAL_READ


def test_requests_that_are_not_there_are_not_found(idom, ana, press):
    assert press(ana, "/admin/migration/moverequest/999999/approve/")[0] == 404
    assert press(ana, "/admin/migration/moverequest/999999/cancel/")[0] == 403


def test_the_list_of_requests_takes_as_many_queries_for_fifty_as_for_one(idom, maria, client):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/admin/migration/moverequest/").status_code == 200
        return len(captured)

    client.force_login(maria)
    request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    with_one = queries()
    MoveRequest.objects.bulk_create(
        MoveRequest(
            client_id=1000 + n, slug=f"c{n}", old=Phase.DUAL_READ, new=Phase.AWS, requested_by=maria
        )
        for n in range(49)
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


def test_the_command_asks_in_a_users_name_and_moves_nobody(idom, maria):
    code, (told,) = run_command("aws", "idom", "--by", "maria", "--reason", "INC-42")

    assert (code, told["moved"], told["phase"]) == (1, False, "dual_read")
    asked = MoveRequest.objects.get()
    assert told["reasons"][0].startswith(f"Requested (request {asked.pk})")
    assert told["codes"] == [ASKED_FOR.key]
    assert (asked.requested_by, asked.reason) == (maria, "INC-42")


@pytest.mark.parametrize("more", [(), ("--by", "maria"), ("--reason", "INC-42")])
def test_the_command_says_how_to_ask(idom, maria, more):
    code, (told,) = run_command("aws", "idom", *more)

    assert code == 1
    assert "--by USER --reason TEXT" in told["reasons"][0]
    assert told["codes"] == [ASK_BY_COMMAND.key]
    assert not MoveRequest.objects.exists()


def test_the_command_asks_for_nobody_who_may_not(idom, ana):
    code, (told,) = run_command("aws", "idom", "--by", "ana", "--reason", "INC-42")

    assert (code, told["reasons"]) == (1, ["ana has no permission to request it."])
    assert not MoveRequest.objects.exists()
    with pytest.raises(CommandError, match="unknown user: none"):
        run_command("aws", "idom", "--by", "none")


def test_the_command_goes_back_without_approval_in_the_users_name(idom, maria):
    ClientMigration.objects.filter(pk=idom).update(phase=Phase.AWS)

    code, (told,) = run_command("dual_read", "idom", "--by", "maria", "--reason", "INC-42")

    assert (code, told["moved"]) == (0, True)
    assert PhaseChange.objects.first().by == maria
