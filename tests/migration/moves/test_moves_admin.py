"""Pages that move a client, and buttons that resolve a mismatch: who may, what is confirmed, said and recorded."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.utils import timezone

from migration.core import aws_store, snapshots
from migration.models import Comparison, PhaseChange, Resolution
from migration.moves.acts import MOVE_ACTS
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import VIEW, make_database, make_email, make_full_client, make_user, nova_uri
from tests.migration import acts
from tests.migration.acts import move_page, said_on, send
from tests.migration.moves.clients import (
    LINE,
    change_in_aws,
    document,
    enter_phase,
    password,
    phase_of,
    write_password,
)
from tests.migration.pages import act_page, press_act

NASTY = "  'quotes' \"and\" \\ blanks \n" + "ñ😀'\" \\ " * 500 + "  "

pytestmark = pytest.mark.usefixtures("stores")

MOVE, PUSH, PURGE, RESOLVE = (
    "migration.move_client",
    "migration.add_run",
    "migration.purge_client",
    "migration.resolve_mismatch",
)


@pytest.fixture
def sm():
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str) -> User:
        user = make_user("operator", *VIEW, *permissions)
        client.force_login(user)
        return user

    return log_in


@pytest.fixture
def press(client):
    """Posts to one of a client's addresses; answers with the status and what the page then says."""

    def press(pk: int, what: str, **data: str) -> tuple[int, str]:
        response = client.post(f"/admin/credentials/client/{pk}/{what}/", data)
        said = " ".join(str(message) for message in get_messages(response.wsgi_request))
        return response.status_code, said

    return press


@pytest.fixture
def move(client):
    """Opens the page of the act that moves the client to the phase, and sends its form; answers what is said then."""

    def move(pk: int, new: Phase, **typed: str) -> str:
        address = move_page(phase_of(pk), new, pk)
        page = client.get(address)
        if page.context["act"].needs_typing:
            typed = {"typed": "idom", "reason": "INC-42"} | typed
        answer = send(client, address, page, **typed)
        if form := answer.context and answer.context.get("form"):
            return f"{said_on(answer)} {form.errors.as_text()}"
        return said_on(answer)

    return move


def what_is_read() -> list[object]:
    """By a reader that begins here, with nothing in its cache."""
    reader = Reader(nova_uri())
    try:
        rows = [reader.get_credential("idom", kind) for kind in ("database", "email", "aws")]
        labelled = [
            reader.get_credential("idom", kind, "archive") for kind in ("database", "email")
        ]
        return [*rows, *labelled, reader.get_primary_credentials("idom"), reader.client_id("idom")]
    finally:
        reader.close()


def test_by_clicks_alone_a_client_goes_to_the_end_and_back(idom, log_in, press, move):
    user = log_in(MOVE, PUSH, PURGE, RESOLVE)
    make_database(idom, label="archive", is_primary=False, db_password_encrypted=NASTY)
    make_email(idom, label="archive", is_primary=None, email_provider=None, sender_whitelist=None)
    before, read = document(idom), what_is_read()

    for new in [*LINE[1:], *reversed(LINE[:-1])]:
        press(idom, "compare")
        said = move(idom, new, reason="INC-42")
        assert phase_of(idom) == new, said
        assert what_is_read() == read

    assert document(idom) == before
    changes = PhaseChange.objects.all()
    assert {(change.by, change.reason) for change in changes} == {(user, "INC-42")}


@pytest.mark.parametrize(("old", "new"), [(Phase.DUAL_READ, Phase.AWS), (Phase.AWS, Phase.PURGED)])
def test_a_cutover_and_a_purge_want_the_slug_typed_and_a_reason(idom, log_in, move, old, new):
    log_in(MOVE, PURGE)
    enter_phase(idom, old)
    compare(client_ids=[idom])

    assert "typed" in move(idom, new, typed="ido")
    assert "reason" in move(idom, new, reason=" ")
    assert phase_of(idom) == old
    move(idom, new, reason="ñ" * 500)
    assert phase_of(idom) == new
    assert PhaseChange.objects.first().reason == "ñ" * 500


def test_who_pressed_a_button_of_another_phase_is_told_once_who_was_first(
    idom, log_in, move, client
):
    log_in(MOVE, PURGE)
    enter_phase(idom, Phase.AWS)
    compare(client_ids=[idom])
    purge = move_page(Phase.AWS, Phase.PURGED, idom)
    opened = client.get(purge)
    move(idom, Phase.DUAL_READ)
    client.get("/admin/")  # shows what the first tab was told

    answer = send(client, purge, opened, typed="idom", reason="INC-42")
    page = client.get(answer.url)

    (said,) = [str(message) for message in page.context["messages"]]
    assert said.startswith("Nothing was done: operator moved idom to Dual read ")
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_not_is_refused_whatever_they_send(idom, client):
    enter_phase(idom, Phase.DUAL_WRITE)

    for number, (permissions, old, new) in enumerate(
        (
            ((), Phase.DUAL_WRITE, Phase.DUAL_READ),
            ((PURGE, RESOLVE), Phase.DUAL_WRITE, Phase.DUAL_READ),
            ((), Phase.DUAL_WRITE, Phase.POSTGRES),
            ((MOVE,), Phase.AWS, Phase.PURGED),
            ((MOVE,), Phase.PURGED, Phase.AWS),
        )
    ):
        client.force_login(make_user(f"user-{number}", *VIEW, *permissions))
        address = move_page(old, new, idom)
        (seen,) = MOVE_ACTS[old, new].see([idom]).values()
        assert client.get(address).status_code == 403
        sent = {"confirmed": "1", "clients": f"{idom}:{seen}", "typed": "idom", "reason": "x"}
        assert client.post(address, sent).status_code == 403
        assert phase_of(idom) == Phase.DUAL_WRITE


def test_a_client_that_is_gone_is_not_found(log_in, press):
    log_in(MOVE, RESOLVE)

    assert press(999_999, "compare")[0] == 404


def test_a_viewer_sees_no_button_and_is_refused(idom, client, log_in, press):
    log_in()
    enter_phase(idom, Phase.DUAL_WRITE)

    page = client.get(f"/admin/credentials/client/{idom}/change/").content.decode()

    assert "/act/" not in page
    assert "/compare/" not in page
    assert press(idom, "compare")[0] == 403
    for act in ("copy_to_aws", "copy_to_postgres", "acknowledge", "push"):
        assert client.get(act_page(act, idom)).status_code == 403
    listed = client.get("/admin/credentials/client/").content.decode()
    assert not [act.code for act in MOVE_ACTS.values() if f'value="{act.code}"' in listed]
    assert not Resolution.objects.exists()


def test_copying_to_aws_ends_the_mismatch(idom, sm, client, log_in):
    user = log_in(RESOLVE)
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])

    press_act(client, act_page("copy_to_aws", idom), reason="PostgreSQL is right")

    assert json.loads(sm.get_value("nova/clients/idom").text) == document(idom)
    assert Comparison.objects.newest().get().status == Comparison.Status.MATCH
    resolution = Resolution.objects.get()
    assert (resolution.kind, resolution.by, resolution.reason) == (
        "to_aws",
        user,
        "PostgreSQL is right",
    )


def test_copying_to_postgres_ends_the_mismatch(idom, sm, client, log_in):
    log_in(RESOLVE)
    enter_phase(idom, Phase.DUAL_READ)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])

    press_act(client, act_page("copy_to_postgres", idom), reason="INC-42")

    assert password(idom) == "example-theirs"
    assert Comparison.objects.newest().get().status == Comparison.Status.MATCH
    assert not snapshots.read_snapshots([idom])[idom].push_pending


def test_copying_to_postgres_loses_no_confirmed_write(idom, sm, client, log_in):
    log_in(RESOLVE)
    enter_phase(idom, Phase.DUAL_READ)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    page = act_page("copy_to_postgres", idom)
    shown = client.get(page)
    write_password(idom, "example-novas")

    answer = press_act(client, page, shown, reason="INC-42")

    assert [message.level_tag for message in answer.context["messages"]] == ["error"]
    assert password(idom) == "example-novas"
    assert not Resolution.objects.exists()


def test_an_acknowledged_mismatch_is_off_the_dashboard_until_it_changes_or_the_day_comes(
    idom, sm, client, log_in
):
    log_in(RESOLVE)
    enter_phase(idom, Phase.DUAL_WRITE)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    page = act_page("acknowledge", idom)
    today = timezone.localdate()
    assert attention(client) == 1

    press_act(client, page, reason="", until=today.isoformat())
    press_act(client, page, reason="x", until="tomorrow")
    press_act(client, page, reason="x", until=str(today - timedelta(days=1)))
    assert not Resolution.objects.exists()

    press_act(client, page, reason="INC-7", until=today.isoformat())
    compare(client_ids=[idom])
    assert attention(client) == 0
    Resolution.objects.update(until=today - timedelta(days=1))
    assert attention(client) == 1
    Resolution.objects.update(until=today)
    change_in_aws(sm, password="example-another")
    compare(client_ids=[idom])
    assert attention(client) == 1


def attention(client) -> int:
    items = client.get("/admin/").context["attention"]
    return sum(item.count for item in items if item.code == "mismatches")


def test_a_reason_that_cannot_be_kept_is_refused_and_nothing_is_done(idom, log_in, client):
    log_in(MOVE, RESOLVE)
    enter_phase(idom, Phase.DUAL_WRITE)
    Comparison.objects.all().delete()

    back = move_page(Phase.DUAL_WRITE, Phase.POSTGRES, idom)
    for reason in ("INC\0-42", "x" * 501):
        refused = acts.press(client, back, reason=reason)
        assert set(refused.context["form"].errors) == {"reason"}
        sent = {"clients": f"{idom}:x", "reason": reason, "until": "2999-01-01", "confirmed": "1"}
        for act in ("copy_to_aws", "copy_to_postgres", "acknowledge"):
            answer = client.post(act_page(act, idom), sent)
            assert "reason" in answer.context["form"].errors, act

    assert phase_of(idom) == Phase.DUAL_WRITE
    assert PhaseChange.objects.count() == 1
    assert not Resolution.objects.exists()
    assert not Comparison.objects.exists()


def test_what_somebody_has_not_seen_is_not_acknowledged(idom, sm, client, log_in):
    log_in(RESOLVE)
    enter_phase(idom, Phase.DUAL_WRITE)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    page = act_page("acknowledge", idom)
    shown, how = client.get(page), {"reason": "x", "until": "2999-01-01"}

    change_in_aws(sm, password="example-another")
    compare(client_ids=[idom])
    assert "idom" in said_on(press_act(client, page, shown, **how))
    assert not Resolution.objects.exists()

    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    press_act(client, page, shown, **how)
    assert Resolution.objects.exists()


def test_who_takes_note_that_it_could_not_be_checked_hears_that_the_secret_is_gone(
    idom, sm, settings, client, log_in
):
    log_in(RESOLVE)
    enter_phase(idom, Phase.DUAL_WRITE)
    reachable, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    compare(client_ids=[idom])
    press_act(client, act_page("acknowledge", idom), reason="x", until="2999-01-01")
    assert Resolution.objects.acknowledging_newest_comparison().exists()

    settings.AWS_ENDPOINT_URL = reachable
    sm.schedule_deletion("nova/clients/idom")
    compare(client_ids=[idom])

    assert Comparison.objects.newest().get().status == "missing_in_aws"
    assert not Resolution.objects.acknowledging_newest_comparison().exists()
