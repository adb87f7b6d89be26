"""The pages on which moves are thought over, what helps where a gate is shut, and the watch after a cutover."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.utils import timezone

from migration.core import aws_store
from migration.models import (
    ClientMigration,
    Comparison,
    PhaseChange,
    ReadCount,
    Resolution,
    RunItem,
)
from migration.moves.pages import (
    WATCHED_FOR,
    describe_move_effects,
    label_button,
    make_confirmation_title,
    make_move_warning,
    measure_cutover,
)
from migration.pushes.comparisons import compare
from migration.runs.models import Run
from nova_credentials.phases import MOVES, Move, Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.moves.clients import (
    advance,
    change_in_aws,
    enter_phase,
    is_pending,
    phase_of,
    write_password,
)

pytestmark = pytest.mark.usefixtures("stores")

MOVE, PURGE, RESOLVE, RUN = (
    "migration.move_client",
    "migration.purge_client",
    "migration.resolve_mismatch",
    "migration.add_run",
)


@pytest.fixture
def idom() -> int:
    """In dual read, its gate to AWS open."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    compare(client_ids=[pk])
    return pk


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str) -> User:
        user = make_user("operator", *VIEW, *permissions)
        client.force_login(user)
        return user

    return log_in


def dialog(pk: int, new: str = "aws") -> str:
    return f"/admin/credentials/client/{pk}/move/{new}/"


def page_of(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/change/"


def text(response) -> str:
    """What a person reads on the page."""
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def lines(response) -> dict[str, dict | None]:
    """What is shut, and what is offered against it."""
    return {
        line["text"]: line["remedy"] for line in response.context["lines"] if not line["passed"]
    }


def test_an_open_gate_shows_its_checklist_the_consequence_and_the_form(idom, client, log_in):
    log_in(MOVE)

    response = client.get(dialog(idom))

    said = text(response)
    assert (
        "After the cutover NOVA reads IDOM from AWS. PostgreSQL keeps receiving every write."
        in said
    )
    assert lines(response) == {}
    assert "No push is pending." in said
    assert 'name="slug"' in response.content.decode()
    assert phase_of(idom) == Phase.DUAL_READ


def test_a_shut_gate_has_no_form_but_what_helps(idom, client, log_in):
    log_in(MOVE, RUN, RESOLVE)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)

    response = client.get(dialog(idom))

    assert 'name="slug"' not in response.content.decode()
    remedies = [remedy["label"] for remedy in lines(response).values()]
    assert remedies == ["Push this client now", "Compare both stores now"]
    assert "Reload the checks" in text(response)


def test_by_the_buttons_beside_it_a_shut_gate_opens(idom, client, log_in):
    log_in(MOVE, RUN, RESOLVE)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)

    for _ in range(6):
        remedies = list(lines(client.get(dialog(idom))).values())
        if not remedies:
            break
        sent = {name: remedies[0][name] for name in ("kind", "back") if name in remedies[0]}
        response = client.post(remedies[0]["url"], sent)
        assert response.url == dialog(idom)

    assert lines(client.get(dialog(idom))) == {}
    assert not is_pending(idom)
    client.post(
        f"/admin/credentials/client/{idom}/move/",
        {"new": "aws", "seen": "dual_read", "slug": "idom", "reason": "INC-42"},
    )
    assert phase_of(idom) == Phase.AWS


def test_a_mismatch_a_run_and_the_reader_lead_to_where_they_are_seen(idom, client, log_in):
    log_in(MOVE)
    change_in_aws(aws_store.secrets_manager(), password="example-theirs")
    compare(client_ids=[idom])
    run = Run.objects.create(kind=Run.Kind.PUSH)
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0)
    ReadCount.objects.create(client_id=idom, last_mismatch_at=timezone.now())

    found = lines(client.get(dialog(idom)))

    urls = [remedy["url"] for remedy in found.values() if remedy]
    comparison = Comparison.objects.newest().get()
    assert urls == [
        f"/admin/migration/comparison/{comparison.pk}/change/",
        f"/admin/migration/run/{run.pk}/change/",
        f"{page_of(idom)}?tab=comparison#reads",
    ]
    assert all(client.get(url).status_code == 200 for url in urls)


def test_where_aws_is_away_the_checklist_says_so(idom, client, log_in, settings):
    log_in(MOVE)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    (remedy,) = lines(client.get(dialog(idom))).values()

    assert remedy == {"label": "Reload the checks", "url": dialog(idom)}


def test_what_the_user_may_not_do_is_not_offered_beside_a_red_line(idom, client, log_in):
    log_in(MOVE)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)

    assert list(lines(client.get(dialog(idom))).values()) == [None, None]


def test_the_checklist_is_computed_again_when_it_is_pressed(idom, client, log_in):
    log_in(MOVE)
    assert lines(client.get(dialog(idom))) == {}
    write_password(idom, "example-new")

    response = client.post(
        f"/admin/credentials/client/{idom}/move/",
        {"new": "aws", "seen": "dual_read", "slug": "idom", "reason": "INC-42"},
    )

    assert response.url == dialog(idom)
    assert "A push is pending" in text(client.get(dialog(idom)))
    assert phase_of(idom) == Phase.DUAL_READ


@pytest.mark.parametrize(
    ("new", "status"),
    [("aws", 200), ("dual_write", 200), ("purged", 302), ("postgres", 302), ("x", 404)],
)
def test_only_moves_from_where_it_stands_have_a_dialog(idom, client, log_in, new, status):
    log_in(MOVE, PURGE)

    response = client.get(dialog(idom, new))

    assert response.status_code == status
    if status == 302:
        (message,) = get_messages(response.wsgi_request)
        assert "idom is in Dual read" in str(message)
    assert client.get(dialog(999_999)).status_code == 404
    assert client.post(dialog(idom, new)).status_code == 405


def test_a_dialog_is_refused_to_who_may_not_move(idom, client, log_in):
    log_in(PURGE, RESOLVE, RUN)

    assert client.get(dialog(idom)).status_code == 403


def test_a_purge_is_thought_over_in_a_dialog(idom, client, log_in):
    log_in(MOVE, PURGE)
    ClientMigration.objects.update(phase=Phase.AWS)

    said = text(client.get(dialog(idom, "purged")))

    assert "The secret values of IDOM in PostgreSQL are replaced with pointers" in said
    assert "Type the slug, idom , to confirm" in said


def test_the_way_back_has_no_checklist_and_nothing_to_type(idom, client, log_in):
    log_in(MOVE)
    advance(idom, Phase.AWS)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)

    response = client.get(dialog(idom, "dual_read"))

    assert "After the rollback NOVA reads both stores of IDOM again." in text(response)
    assert response.context["lines"] == []
    assert 'name="slug"' not in response.content.decode()
    assert (
        "required" not in re.search(r"(?s)<form[^>]*/move/.*?</form>", response.content.decode())[0]
    )


def test_every_move_has_its_words():
    for (_old, new), kind in MOVES.items():
        assert label_button(kind, new)
        assert describe_move_effects(kind, new)
        assert "IDOM" in make_confirmation_title(kind, "IDOM")
    assert all("IDOM" in make_move_warning(kind, "IDOM") for kind in (Move.CUTOVER, Move.PURGE))


# After the cutover.


def cut_over(pk: int) -> None:
    ReadCount.objects.create(client_id=pk, reads=1000, aws_failures=3, last_read_at=timezone.now())
    ReadCount.objects.update(last_failure_at=None)  # long ago
    advance(pk, Phase.AWS)


def test_the_watch_counts_from_the_cutover_on(idom):
    cut_over(idom)
    assert (measure_cutover(idom).reads, measure_cutover(idom).aws_failures) == (0, 0)
    compare(client_ids=[idom])

    ReadCount.objects.update(reads=1007, aws_failures=5)
    change_in_aws(aws_store.secrets_manager(), password="example-theirs")
    compare(client_ids=[idom])

    watch = measure_cutover(idom)
    assert (watch.reads, watch.aws_failures) == (7, 2)
    assert (watch.comparisons, watch.mismatches) == (2, 1)


def test_the_watch_of_a_client_that_was_never_read_before_counts_from_nothing(idom):
    advance(idom, Phase.AWS)
    ReadCount.objects.create(client_id=idom, reads=2)

    assert measure_cutover(idom).reads == 2


def test_the_watch_ends_after_ten_minutes_and_with_the_rollback(idom, client, log_in):
    log_in(MOVE)
    cut_over(idom)
    watch = f"/admin/credentials/client/{idom}/watch/"
    assert "Just cut over" in text(client.get(page_of(idom)))
    assert "Reads since the cutover 0" in text(client.get(watch))

    PhaseChange.objects.update(changed_at=timezone.now() - WATCHED_FOR - timedelta(seconds=1))
    assert "Just cut over" not in text(client.get(page_of(idom)))
    assert "The ten minutes are over" in text(client.get(watch))

    PhaseChange.objects.update(changed_at=timezone.now())
    client.post(f"/admin/credentials/client/{idom}/move/", {"new": "dual_read", "seen": "aws"})
    assert "Just cut over" not in text(client.get(page_of(idom)))
    assert "The ten minutes are over" in text(client.get(watch))


def test_a_restore_is_no_cutover_to_watch(idom):
    cut_over(idom)
    advance(idom, Phase.PURGED)
    from migration.moves.moves import move

    move(client_id=idom, new=Phase.AWS)

    assert measure_cutover(idom) is None


def forms(html: str) -> list[str]:
    return re.findall(r"(?s)<form\b.*?</form>", html)


@pytest.mark.parametrize("minutes", [0, 11])
def test_the_rollback_is_one_click_on_the_clients_page_with_nothing_to_type(
    idom, client, log_in, minutes
):
    log_in(MOVE)
    cut_over(idom)
    PhaseChange.objects.update(changed_at=timezone.now() - timedelta(minutes=minutes))

    html = client.get(page_of(idom)).content.decode()

    (form,) = [form for form in forms(html) if 'value="dual_read"' in form]
    assert "required" not in form
    sent = dict(re.findall(r'type="hidden" name="(new|seen)" value="(\w+)"', form))
    client.post(f"/admin/credentials/client/{idom}/move/", sent)
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_not_move_watches_without_a_button(idom, client, log_in):
    log_in()
    cut_over(idom)

    for address in (page_of(idom), f"/admin/credentials/client/{idom}/watch/"):
        response = client.get(address)
        assert "Reads since the cutover" in text(response)
        assert "/move/" not in response.content.decode()


def test_a_push_by_its_button_tells_what_became_of_it(idom, client, log_in, settings):
    log_in(RUN)
    push = f"/admin/credentials/client/{idom}/push/"
    write_password(idom, "example-new")

    def said() -> str:
        return " ".join(map(str, get_messages(client.post(push).wsgi_request)))

    reachable, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    assert "Failed." in said()
    assert is_pending(idom)
    settings.AWS_ENDPOINT_URL = reachable
    assert "Updated." in said()
    assert not is_pending(idom)
    assert client.post("/admin/credentials/client/999999/push/").status_code == 404
    assert not Resolution.objects.exists()
