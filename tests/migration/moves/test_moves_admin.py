"""The buttons that move a client and resolve a mismatch: who may, what is confirmed, what is said and recorded."""

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.utils import timezone

from migration.core import aws_store, snapshots
from migration.models import ClientMigration, Comparison, PhaseChange, Resolution
from migration.moves import bulk_pages
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import VIEW, make_database, make_email, make_full_client, make_user, nova_uri
from tests.migration.moves.clients import (
    LINE,
    advance,
    change_in_aws,
    document,
    enter_phase,
    password,
    phase_of,
    write_password,
)

NASTY = "  'quotes' \"and\" \\ blanks \n" + "ñ😀'\" \\ " * 500 + "  "

pytestmark = pytest.mark.usefixtures("stores")

MOVE, PURGE, RESOLVE = (
    "migration.move_client",
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


def move(press, pk: int, new: Phase, **data: str) -> str:
    seen = data.pop("seen", phase_of(pk))
    status, said = press(pk, "move", new=new, seen=seen, **data)
    assert status == 302
    return said


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


def test_by_clicks_alone_a_client_goes_to_the_end_and_back(idom, log_in, press):
    user = log_in(MOVE, PURGE, RESOLVE)
    make_database(idom, label="archive", is_primary=False, db_password_encrypted=NASTY)
    make_email(idom, label="archive", is_primary=None, email_provider=None, sender_whitelist=None)
    before, read = document(idom), what_is_read()

    for new in [*LINE[1:], *reversed(LINE[:-1])]:
        press(idom, "resolve", kind="check")
        said = move(press, idom, new, slug="idom", reason="INC-42")
        assert phase_of(idom) == new, said
        assert what_is_read() == read

    assert document(idom) == before
    changes = PhaseChange.objects.all()
    assert {(change.by, change.reason) for change in changes} == {(user, "INC-42")}


def test_a_shut_gate_is_told_in_full(idom, log_in, press):
    log_in(MOVE)
    advance(idom, Phase.DUAL_READ)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)

    said = move(press, idom, Phase.AWS, slug="idom", reason="INC-42")

    assert "A push is pending" in said
    assert "needed: 1" in said
    assert phase_of(idom) == Phase.DUAL_READ


@pytest.mark.parametrize(("old", "new"), [(Phase.DUAL_READ, Phase.AWS), (Phase.AWS, Phase.PURGED)])
def test_a_cutover_and_a_purge_want_the_slug_typed_and_a_reason(idom, log_in, press, old, new):
    log_in(MOVE, PURGE)
    advance(idom, old)
    compare(client_ids=[idom])

    assert "type the slug" in move(press, idom, new, slug="ido", reason="INC-42")
    assert "give a reason" in move(press, idom, new, slug="idom", reason=" ")
    assert phase_of(idom) == old
    move(press, idom, new, slug="idom", reason="INC-42")
    assert phase_of(idom) == new


def test_who_pressed_a_button_of_another_phase_is_told(idom, log_in, press):
    log_in(MOVE)
    advance(idom, Phase.DUAL_WRITE)

    said = move(press, idom, Phase.DUAL_WRITE, seen=Phase.POSTGRES)
    assert said.startswith("A command moved idom to Dual write ")


def test_of_two_tabs_the_second_is_told_once_in_words_who_was_first(idom, log_in, press, client):
    log_in(MOVE, PURGE)
    enter_phase(idom, Phase.AWS)
    move(press, idom, Phase.DUAL_READ)
    client.get("/admin/")  # shows what the first tab was told

    purge = {"new": "purged", "seen": "aws", "slug": "idom", "reason": "INC-42"}
    page = client.post(f"/admin/credentials/client/{idom}/move/", purge, follow=True)

    (said,) = [str(message) for message in page.context["messages"]]
    assert said.startswith("operator moved idom to Dual read ")
    assert said.endswith(". Nothing was done.")
    assert page.redirect_chain[-1][0] == f"/admin/credentials/client/{idom}/change/"


@pytest.mark.parametrize(
    ("permissions", "new", "seen"),
    [
        ((), Phase.DUAL_READ, Phase.DUAL_WRITE),
        ((PURGE, RESOLVE), Phase.DUAL_READ, Phase.DUAL_WRITE),
        ((MOVE,), Phase.PURGED, Phase.AWS),
        ((MOVE,), Phase.AWS, Phase.PURGED),
        ((), Phase.POSTGRES, Phase.PURGED),
    ],
)
def test_who_may_not_is_refused_whatever_they_send(idom, log_in, press, permissions, new, seen):
    log_in(*permissions)
    advance(idom, Phase.DUAL_WRITE)

    assert press(idom, "move", new=new, seen=seen, slug="idom")[0] == 403
    assert phase_of(idom) == Phase.DUAL_WRITE


def test_a_viewer_sees_no_button_and_is_refused(idom, client, log_in, press):
    log_in()
    advance(idom, Phase.DUAL_WRITE)

    page = client.get(f"/admin/credentials/client/{idom}/change/").content.decode()

    assert "/move/" not in page
    assert "/resolve/" not in page
    for kind in ("check", "to_aws", "to_postgres", "acknowledge"):
        assert press(idom, "resolve", kind=kind, reason="x", until="2999-01-01")[0] == 403
    assert client.get("/admin/credentials/client/").content.decode().count("move_to_") == 0
    assert not Resolution.objects.exists()


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("move", {"new": "aws", "seen": "nowhere"}),
        ("move", {"new": "", "seen": "postgres"}),
        ("resolve", {"kind": "other"}),
        ("resolve", {}),
    ],
)
def test_what_no_page_sends_is_not_found(idom, log_in, press, what, data):
    log_in(MOVE, RESOLVE)

    assert press(idom, what, **data)[0] == 404
    assert press(999_999, "move", new="dual_write", seen="postgres")[0] == 404
    # Also where what was typed would be refused.
    assert press(999_999, "resolve", kind="acknowledge", reason="")[0] == 404


def test_a_get_moves_nobody(idom, client, log_in):
    log_in(MOVE)

    assert client.get(f"/admin/credentials/client/{idom}/move/").status_code == 405


CLIENTS = "/admin/credentials/client/"


def bulk(client, action: str, *ids: int):
    return client.post(CLIENTS, {"action": action, "_selected_action": ids})


def said_on(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def test_a_bulk_move_takes_those_that_may_and_names_the_others(client, log_in):
    log_in(MOVE)
    ready, behind = make_full_client("ready"), make_full_client("behind")
    advance(ready, Phase.DUAL_WRITE)

    said = said_on(bulk(client, "move_to_dual_read", ready, behind))

    assert (phase_of(ready), phase_of(behind)) == (Phase.DUAL_READ, Phase.POSTGRES)
    assert "behind is in PostgreSQL:" in said
    assert "1 client is in Dual read now." in said


def test_a_bulk_restore_needs_the_right_to_purge(idom, client, log_in):
    log_in(MOVE)
    advance(idom, Phase.PURGED)

    bulk(client, "restore", idom)
    assert phase_of(idom) == Phase.PURGED

    client.force_login(make_user("purger", *VIEW, MOVE, PURGE))
    bulk(client, "restore", idom)
    assert phase_of(idom) == Phase.AWS


@pytest.fixture
def three(idom) -> tuple[int, int, int]:
    """Two in dual read, one of them short of its streak, and one that was never touched."""
    behind, untouched = make_full_client("behind"), make_full_client("untouched")
    advance(idom, Phase.DUAL_READ), advance(behind, Phase.DUAL_READ)
    compare(client_ids=[idom, behind])
    ClientMigration.objects.filter(pk=behind).update(clean_streak=0, streak_counted_at=None)
    return idom, behind, untouched


def confirm_cutover(client, *ids: int, **data: str):
    return client.post(f"{CLIENTS}cutover/", {"_selected_action": ids, **data})


def test_a_bulk_cutover_shows_the_checklist_of_each_and_moves_nobody_yet(client, log_in, three):
    idom, _behind, _untouched = three
    log_in(MOVE)

    response = bulk(client, "cut_over", *three)

    page = response.content.decode()
    assert [shown["id"] for shown in response.context["open"]] == [idom]
    assert "needed: 1" in page
    assert "untouched is in PostgreSQL:" in page
    assert [phase_of(pk) for pk in three] == [Phase.DUAL_READ, Phase.DUAL_READ, Phase.POSTGRES]


def test_a_bulk_cutover_wants_the_number_and_a_reason(client, log_in, three):
    log_in(MOVE)

    for data in (
        {"number": "2", "reason": "INC-42"},
        {"number": "1", "reason": ""},
        {"number": "1", "reason": "x" * 501},
    ):
        assert "Nothing was done" in said_on(confirm_cutover(client, three[0], **data))

    assert phase_of(three[0]) == Phase.DUAL_READ


def test_a_bulk_cutover_takes_only_those_whose_gate_is_open_when_it_is_pressed(
    client, log_in, three
):
    user = log_in(MOVE)

    said = said_on(confirm_cutover(client, *three, number="3", reason="INC-42"))

    assert [phase_of(pk) for pk in three] == [Phase.AWS, Phase.DUAL_READ, Phase.POSTGRES]
    assert "behind can't move to aws yet" in said
    assert "untouched" in said
    assert PhaseChange.objects.filter(by=user, reason="INC-42").count() == 1


def test_a_bulk_cutover_is_refused_to_who_may_not_move(client, log_in, three):
    log_in()

    assert confirm_cutover(client, three[0], number="1", reason="INC-42").status_code == 403
    assert phase_of(three[0]) == Phase.DUAL_READ


def test_copying_to_aws_ends_the_mismatch(idom, sm, log_in, press):
    user = log_in(RESOLVE)
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])

    press(idom, "resolve", kind="to_aws", reason="PostgreSQL is right")

    assert json.loads(sm.get_value("nova/clients/idom").text) == document(idom)
    assert Comparison.objects.newest().get().status == Comparison.Status.MATCH
    resolution = Resolution.objects.get()
    assert (resolution.kind, resolution.by, resolution.reason) == (
        "to_aws",
        user,
        "PostgreSQL is right",
    )


def test_copying_to_postgres_ends_the_mismatch(idom, sm, log_in, press):
    log_in(RESOLVE)
    advance(idom, Phase.DUAL_READ)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])

    press(idom, "resolve", kind="to_postgres")

    assert password(idom) == "example-theirs"
    assert Comparison.objects.newest().get().status == Comparison.Status.MATCH
    assert not snapshots.read_snapshots([idom])[idom].push_pending


def test_copying_to_postgres_loses_no_confirmed_write(idom, log_in, press):
    log_in(RESOLVE)
    advance(idom, Phase.DUAL_READ)
    write_password(idom, "example-novas")

    _, said = press(idom, "resolve", kind="to_postgres")

    assert "newer value" in said
    assert password(idom) == "example-novas"
    assert not Resolution.objects.exists()


def test_an_acknowledged_mismatch_is_off_the_dashboard_until_it_changes_or_the_day_comes(
    idom, sm, client, log_in, press
):
    log_in(RESOLVE)
    advance(idom, Phase.DUAL_WRITE)
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    today = timezone.localdate()
    assert attention(client) == 1

    press(idom, "resolve", kind="acknowledge", reason="", until=today.isoformat())
    press(idom, "resolve", kind="acknowledge", reason="x", until="tomorrow")
    press(idom, "resolve", kind="acknowledge", reason="x", until=str(today - timedelta(days=1)))
    assert not Resolution.objects.exists()

    press(idom, "resolve", kind="acknowledge", reason="INC-7", until=today.isoformat())
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


@pytest.mark.parametrize("reason", ["INC\0-42", "x" * 501])
def test_a_reason_that_cannot_be_kept_is_refused_and_nothing_is_done(idom, log_in, press, reason):
    log_in(MOVE, RESOLVE)

    said = move(press, idom, Phase.DUAL_WRITE, reason=reason)
    assert said.startswith("Nothing was done: ")
    for kind in ("to_aws", "to_postgres", "acknowledge"):
        said = press(idom, "resolve", kind=kind, reason=reason, until="2999-01-01")[1]
        assert said.startswith("Nothing was done: "), kind

    assert phase_of(idom) == Phase.POSTGRES
    assert not PhaseChange.objects.exists()
    assert not Resolution.objects.exists()
    assert not Comparison.objects.exists()


def test_a_reason_of_500_characters_is_kept_whole(idom, log_in, press):
    log_in(MOVE)

    move(press, idom, Phase.DUAL_WRITE, reason="ñ" * 500)

    assert PhaseChange.objects.get().reason == "ñ" * 500


def test_what_somebody_has_not_seen_is_not_acknowledged(idom, sm, client, log_in, press):
    log_in(RESOLVE)
    advance(idom, Phase.DUAL_WRITE)
    change_in_aws(sm, password="example-theirs")
    shown = compare(client_ids=[idom])[idom].pk
    page = client.get(f"/admin/credentials/client/{idom}/change/?tab=comparison").content.decode()
    assert f'name="shown" value="{shown}"' in page
    how = {"kind": "acknowledge", "reason": "x", "until": "2999-01-01", "shown": str(shown)}

    change_in_aws(sm, password="example-another")
    compare(client_ids=[idom])
    assert "found other differences" in press(idom, "resolve", **how)[1]
    assert not Resolution.objects.exists()

    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    press(idom, "resolve", **how)
    assert Resolution.objects.exists()


def test_who_takes_note_that_it_could_not_be_checked_hears_that_the_secret_is_gone(
    idom, sm, settings, client, log_in, press
):
    log_in(RESOLVE)
    advance(idom, Phase.DUAL_WRITE)
    reachable, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    compare(client_ids=[idom])
    press(idom, "resolve", kind="acknowledge", reason="x", until="2999-01-01")
    assert Resolution.objects.acknowledging_newest_comparison().exists()

    settings.AWS_ENDPOINT_URL = reachable
    sm.schedule_deletion("nova/clients/idom")
    compare(client_ids=[idom])

    assert Comparison.objects.newest().get().status == "missing_in_aws"
    assert not Resolution.objects.acknowledging_newest_comparison().exists()


def test_a_bulk_move_that_takes_too_long_says_how_many_were_not_tried(client, log_in, monkeypatch):
    log_in(MOVE)
    chosen = [make_full_client("one"), make_full_client("two")]
    clock = iter([0.0, 0.0, 1000.0])
    monkeypatch.setattr(bulk_pages, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    response = client.post(
        "/admin/credentials/client/", {"action": "move_to_dual_write", "_selected_action": chosen}
    )

    said = " ".join(str(message) for message in get_messages(response.wsgi_request))
    assert [phase_of(pk) for pk in chosen] == [Phase.DUAL_WRITE, Phase.POSTGRES]
    assert "Clients not tried: 1" in said
    assert "1 client is in Dual write now." in said


def test_the_page_of_a_bulk_cutover_gives_up_while_somebody_waits(
    client, log_in, three, monkeypatch
):
    """Where AWS is silent each client waits seconds for it."""
    log_in(MOVE)
    monkeypatch.setattr("migration.moves.bulk_pages.GIVE_UP_AFTER_SECONDS", -1.0)

    response = confirm_cutover(client, *three)

    assert "Clients not tried: 3" in said_on(response)
    assert response.context["clients"] == []
