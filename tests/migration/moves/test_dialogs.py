"""The page of a move of one client, what helps where its gate is shut, and the watch after a cutover."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from migration.core import aws_store
from migration.models import (
    ClientMigration,
    Comparison,
    PhaseChange,
    ReadCount,
    RunItem,
)
from migration.moves.acts import MOVE_ACTS
from migration.moves.pages import WATCHED_FOR, measure_cutover
from migration.pushes.comparisons import compare
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.phases import MOVES, Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.acts import (
    act_page,
    by_verdict,
    client_of,
    move_page,
    press,
    reasons_of,
    remedies_of,
    send,
)
from tests.migration.moves.clients import (
    advance,
    change_in_aws,
    enter_phase,
    is_pending,
    phase_of,
    write_password,
)
from tests.migration.pages import press_act

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


def page_of(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/change/"


def text(response) -> str:
    """What a person reads on the page."""
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def cutover(pk: int) -> str:
    return move_page(Phase.DUAL_READ, Phase.AWS, pk)


def confirm(client, pk: int, **typed: str):
    return press(client, cutover(pk), **{"typed": "idom", "reason": "INC-42"} | typed)


def shut_the_gate(pk: int) -> None:
    write_password(pk, "example-new")
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)


def test_an_open_gate_shows_its_checks_the_effect_and_the_form(idom, client, log_in):
    log_in(MOVE)

    page = client.get(cutover(idom))

    assert "NOVA reads AWS only. PostgreSQL keeps receiving every write." in text(page)
    assert by_verdict(page) == {"will": ["idom"]}
    assert reasons_of(page) == {}
    passed = {line["code"] for line in client_of(page)["passed"]}
    assert {"push_pending", "newest_comparison"} <= passed
    assert set(page.context["form"].fields) == {"typed", "reason"}
    assert phase_of(idom) == Phase.DUAL_READ


def test_a_shut_gate_has_no_form_but_what_helps(idom, client, log_in):
    log_in(MOVE, RUN, RESOLVE)
    shut_the_gate(idom)

    page = client.get(cutover(idom))

    assert by_verdict(page) == {"refused": ["idom"]}
    assert 'name="typed"' not in page.content.decode()
    labels = [remedy["label"] for remedy in remedies_of(page)]
    assert labels == ["Push this client now", "Compare now"]


def test_by_the_buttons_beside_it_a_shut_gate_opens(idom, client, log_in):
    log_in(MOVE, RUN, RESOLVE)
    shut_the_gate(idom)

    for _ in range(6):
        remedies = remedies_of(client.get(cutover(idom)))
        if not remedies:
            break
        if remedies[0].get("posts"):
            response = client.post(remedies[0]["url"], {"back": remedies[0]["back"]})
        else:
            response = press_act(client, remedies[0]["url"])
        assert response.url == cutover(idom)

    assert not is_pending(idom)
    confirm(client, idom)
    assert phase_of(idom) == Phase.AWS


def test_a_mismatch_a_run_and_the_reader_lead_to_where_they_are_seen(idom, client, log_in):
    log_in(MOVE)
    change_in_aws(aws_store.secrets_manager(), password="example-theirs")
    compare(client_ids=[idom])
    run = Run.objects.create(kind=Run.Kind.PUSH)
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0)
    ReadCount.objects.create(client_id=idom, last_mismatch_at=timezone.now())

    found = remedies_of(client.get(cutover(idom)))

    urls = [remedy["url"] for remedy in found if remedy]
    comparison = Comparison.objects.newest().get()
    assert urls == [
        f"/admin/migration/comparison/{comparison.pk}/change/",
        f"/admin/migration/run/{run.pk}/change/",
        f"{page_of(idom)}?tab=comparison#reads",
    ]
    assert all(client.get(url).status_code == 200 for url in urls)


def test_where_aws_is_away_the_page_says_so(idom, client, log_in, settings):
    log_in(MOVE)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    page = client.get(cutover(idom))

    assert set(reasons_of(page)) == {"account_not_ready"}
    assert remedies_of(page) == [{"label": "Reload the checks", "url": cutover(idom)}]


def test_what_the_user_may_not_do_is_not_offered_beside_a_red_line(idom, client, log_in):
    log_in(MOVE)
    shut_the_gate(idom)

    assert remedies_of(client.get(cutover(idom))) == [None, None]


def test_the_gate_is_asked_again_when_the_button_is_pressed(idom, client, log_in):
    log_in(MOVE)
    page = client.get(cutover(idom))
    write_password(idom, "example-new")

    answer = send(client, cutover(idom), page, typed="idom", reason="INC-42")

    assert "A push is pending" in text(answer)
    assert by_verdict(answer) == {"refused": ["idom"]}
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_is_elsewhere_is_told_where(idom, client, log_in):
    log_in(MOVE, PURGE)

    for old, new in MOVES:
        if (old, new) in MOVE_ACTS and old != Phase.POSTGRES:  # whose page is the push's
            page = client.get(move_page(old, new, idom))
            verdict = {Phase.DUAL_READ: "will"}.get(old)
            is_there = new == Phase.DUAL_READ
            verdict = verdict or ("nothing" if is_there else "refused")
            assert by_verdict(page) == {verdict: ["idom"]}, (old, new)
            assert (
                verdict == "will"
                or client_of(page)["message"].values["phase"].key == "phase_dual_read"
            )


def test_a_purge_is_thought_over_too(idom, client, log_in):
    log_in(MOVE, PURGE)
    ClientMigration.objects.update(phase=Phase.AWS)

    page = client.get(move_page(Phase.AWS, Phase.PURGED, idom))

    assert page.context["is_dangerous"]
    assert set(page.context["form"].fields) == {"typed", "reason"}
    assert "pointers" in str(page.context["act"].effect)


def test_the_way_back_has_no_checks_and_nothing_to_type(idom, client, log_in):
    log_in(MOVE)
    advance(idom, Phase.AWS)
    shut_the_gate(idom)

    page = client.get(move_page(Phase.AWS, Phase.DUAL_READ, idom))

    assert by_verdict(page) == {"will": ["idom"]}
    assert (client_of(page)["lines"], client_of(page)["passed"]) == ([], [])
    assert [name for name, each in page.context["form"].fields.items() if each.required] == []


def test_every_move_has_its_words():
    assert set(MOVES) == set(MOVE_ACTS)
    for act in (ACTS["push"], *(act for act in MOVE_ACTS.values() if act.code in ACTS)):
        assert "IDOM" in act.ask(1, "IDOM")
        for number in (1, 1200):
            assert f"{number:,}" in act.ask(number, "")
        assert act.name_button(1) != act.name_button(1200)
        assert "1,200" in act.name_button(1200)
        assert act.effect
        assert str(act.way_back)


# Addresses of former releases


FORMER = {"aws": "cutover", "dual_write": "back_to_dual_write", "purged": "purge", "x": None}


def test_the_former_address_of_a_move_leads_to_its_page(idom, client, log_in):
    log_in(MOVE, PURGE)
    for new, code in FORMER.items():
        former = f"/admin/credentials/client/{idom}/move/{new}/"

        answer = client.get(former)

        assert (answer.status_code, getattr(answer, "url", None)) == (
            (302, act_page(code, idom)) if code else (404, None)
        )
        assert client.post(former).status_code == 405
    assert client.get("/admin/credentials/client/999999/move/aws/").status_code == 404


def test_what_the_former_address_means_goes_by_the_client_s_phase(idom, client, log_in):
    log_in(MOVE)
    ClientMigration.objects.update(phase=Phase.AWS)
    former = f"/admin/credentials/client/{idom}/move/dual_read/"
    assert client.get(former).url == act_page("rollback", idom)
    ClientMigration.objects.update(phase=Phase.DUAL_WRITE)
    assert client.get(former).url == act_page("dual_read", idom)
    client.post(
        f"/admin/credentials/client/{idom}/move/", {"new": "dual_read", "seen": "dual_write"}
    )
    assert phase_of(idom) == Phase.DUAL_WRITE
    assert client.get("/admin/credentials/client/cutover/").url.startswith(
        act_page("cutover").partition("?")[0]
    )
    assert client.post("/admin/credentials/client/cutover/").status_code == 405


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
    press(client, move_page(Phase.AWS, Phase.DUAL_READ, idom))
    assert "Just cut over" not in text(client.get(page_of(idom)))
    assert "The ten minutes are over" in text(client.get(watch))


def test_a_restore_is_no_cutover_to_watch(idom):
    cut_over(idom)
    advance(idom, Phase.PURGED)
    from migration.moves.moves import move

    move(client_id=idom, new=Phase.AWS)

    assert measure_cutover(idom) is None


@pytest.mark.parametrize("minutes", [0, 11])
def test_the_rollback_is_one_click_on_the_clients_page_with_nothing_to_type(
    idom, client, log_in, minutes
):
    log_in(MOVE)
    cut_over(idom)
    PhaseChange.objects.update(changed_at=timezone.now() - timedelta(minutes=minutes))
    html = client.get(page_of(idom)).content.decode()
    # Whatever is found meanwhile
    change_in_aws(aws_store.secrets_manager(), password="example-theirs")
    compare(client_ids=[idom])

    rollback = move_page(Phase.AWS, Phase.DUAL_READ, idom)
    (form,) = re.findall(rf'(?s)<form[^>]*action="{re.escape(rollback)}".*?</form>', html)
    assert "required" not in form
    sent = dict(re.findall(r'type="hidden" name="(confirmed|clients)" value="([^"]+)"', form))
    answer = client.post(rollback, sent)

    assert answer.url == page_of(idom)
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_not_move_watches_without_a_button(idom, client, log_in):
    log_in()
    cut_over(idom)

    for address in (page_of(idom), f"/admin/credentials/client/{idom}/watch/"):
        response = client.get(address)
        assert "Reads since the cutover" in text(response)
        assert "/act/" not in response.content.decode()
