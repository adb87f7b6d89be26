"""What the pages show of evidence before anything is pressed, and who may override it there."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from migration import tasks
from migration.core.audit import REQUEST_EVENT
from migration.core.clients import OVERRIDE_EVENT, SEARCH_PERMISSION
from migration.models import (
    AuditEvent,
    ClientMigration,
    CopySearch,
    PhaseChange,
    Run,
)
from migration.moves.acts import MOVE_ACTS
from migration.moves.approvals import request_move
from migration.moves.gates import Override
from migration.moves.moves import move
from migration.moves.rules import EVIDENCE
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    count_reads,
    give_evidence,
    make_copy_search,
    make_user,
)
from tests.migration.acts import (
    by_verdict,
    client_of,
    move_page,
    press,
    reasons_of,
    said_on,
    send,
)
from tests.migration.moves.clients import phase_of, write_password

MOVE, PURGE, OVERRIDE, APPROVE, SEE = (
    "migration.move_client",
    "migration.purge_client",
    "migration.override_gate",
    "migration.approve_move",
    "migration.view_run",
)
NO_READ = "NOVA's reader: 0 of 20 reads since dual read began."
MISSING = ["clean_streak", "time_in_phase", "too_few_reads", "no_reader_process"]
WHY = "Not enough evidence yet: matching comparisons, time in the phase, reads by NOVA, NOVA processes seen."


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str):
        user = make_user("operator", *VIEW, *permissions)
        client.force_login(user)
        return user

    return log_in


def page_of(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/change/"


def cutover(pk: int, *kinds: str) -> str:
    return move_page(Phase.DUAL_READ, Phase.AWS, pk) + "".join(f"&override={k}" for k in kinds)


def purge(pk: int, *kinds: str) -> str:
    return move_page(Phase.AWS, Phase.PURGED, pk) + "".join(f"&override={k}" for k in kinds)


def text(response) -> str:
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def confirm(client, address: str, **typed: str):
    return press(client, address, **{"typed": "idom", "reason": "INC-42"} | typed)


def force(client, address: str, **typed: str):
    """Send what a page sends that offers the move, though this one does not."""
    old = Phase.AWS if "/purge/" in address else Phase.DUAL_READ
    new = Phase.PURGED if "/purge/" in address else Phase.AWS
    (pair,) = MOVE_ACTS[old, new].see([ClientMigration.objects.get().pk]).items()
    sent = {"confirmed": "1", "clients": "{}:{}".format(*pair), "typed": "idom", "reason": "INC-42"}
    return client.post(address, sent | typed)


def test_everything_is_seen_on_the_clients_page_by_who_may_only_look(
    idom, client, log_in, settings
):
    log_in()
    others_can = "Your role can't do this step. Roles that can: Operator, Administrator."

    said = text(client.get(page_of(idom)))

    assert NO_READ in said
    assert "Matching comparisons in a row in this phase: 0 of 3" in said
    assert "No NOVA process" in said
    assert re.search(r"In Dual read for \d+ seconds?; needed: 24 hours \(.+ to go\)\.", said)
    assert others_can in said
    assert "Waits are shorter here" not in said

    settings.NOVA_MIN_READS, settings.NOVA_DEMO = 0, True
    said = text(client.get(page_of(idom)))
    assert "Switched off (NOVA_MIN_READS=0): reads by NOVA. warning Switched off" in said
    assert "Waits are shorter here" in said


def test_the_offer_of_an_override_leads_to_where_that_is_done(idom, client, log_in):
    log_in(MOVE)
    said = text(client.get(page_of(idom)))
    assert "Override checks" not in said
    assert "Roles that can" not in said

    client.force_login(make_user("administrator", *VIEW, MOVE, OVERRIDE))
    page = client.get(page_of(idom))
    assert "You can override these checks with a reason. Override checks…" in text(page)
    assert f'href="{cutover(idom)}">Override checks…' in page.content.decode()


def test_who_may_not_override_sees_what_is_missing_and_no_form(idom, client, log_in):
    log_in(MOVE)

    page = client.get(cutover(idom, *EVIDENCE))

    assert set(reasons_of(page)) == set(MISSING)
    assert page.context["overrides"] == []
    assert not page.context["is_dangerous"]
    assert 'name="typed"' not in page.content.decode()
    refused = force(client, cutover(idom, *EVIDENCE))
    assert "NOVA's reader: 0 of 20 reads" in said_on(refused)
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_override_chooses_the_kinds_and_gives_one_reason(idom, client, log_in):
    log_in(MOVE, OVERRIDE)
    page = client.get(cutover(idom))
    assert by_verdict(page) == {"refused": ["idom"]}
    kinds = [each["kinds"] for each in page.context["overrides"]]
    assert kinds == [["processes"], ["reads"], ["streak"], ["time"]]
    every = page.context["override_all"]
    assert every["kinds"] == ["processes", "reads", "streak", "time"]
    at_once = client.get(every["url"])

    for number in range(4):
        url = page.context["overrides"][number]["url"]
        page = client.get(url)
    for shown in (page, at_once):
        assert by_verdict(shown) == {"will": ["idom"]}
        assert {each["is_on"] for each in shown.context["overrides"]} == {True}
        assert shown.context["override_all"] is None
        # Nothing is lost by it: its button is the page's main one.
        assert not shown.context["is_dangerous"]
        assert all(reason["overridden"] for reason in reasons_of(shown).values())
    confirm(client, every["url"], reason=" ")
    assert phase_of(idom) == Phase.DUAL_READ
    answer = confirm(client, every["url"])

    assert "Missing evidence was overridden: " in said_on(answer)
    assert phase_of(idom) == Phase.AWS
    history = client.get(page_of(idom), {"tab": "history"}).context["history"]
    (line,) = [line for line in history.lines if line.kind == OVERRIDE_EVENT.label]
    assert line.reason == "INC-42"
    assert "NOVA's reader: 0 of 20 reads since dual read began." in str(line.message)


def test_a_line_of_a_kind_that_was_not_chosen_is_not_overridden(idom, client, log_in):
    log_in(MOVE, OVERRIDE)
    give_evidence(idom)
    page = client.get(cutover(idom))
    assert (by_verdict(page), page.context["overrides"]) == ({"will": ["idom"]}, [])
    ClientMigration.objects.update(clean_streak=2)
    address = cutover(idom, "streak")
    page = client.get(address)
    assert set(reasons_of(page)) == {"clean_streak"}
    count_reads(idom, matches=-1)  # one too few, since the page was shown

    said = said_on(send(client, address, page, typed="idom", reason="INC-42"))

    assert "NOVA's reader: 19 of 20 reads since dual read began." in said
    assert "comparisons in a row" not in said
    assert phase_of(idom) == Phase.DUAL_READ
    assert set(reasons_of(client.get(address))) == {"clean_streak", "too_few_reads"}


def test_a_fact_that_fails_keeps_the_form_away_whatever_is_overridden(idom, client, log_in):
    log_in(MOVE, OVERRIDE)
    write_password(idom, "example-new")

    page = client.get(cutover(idom, *EVIDENCE))

    assert by_verdict(page) == {"refused": ["idom"]}
    assert [r["code"] for r in reasons_of(page).values() if not r["overridden"]] == ["push_pending"]
    assert 'name="typed"' not in page.content.decode()
    for kinds in ([], ["nonsense", "", "x%20y"], ["push_pending"]):
        said = said_on(force(client, cutover(idom, *kinds)))
        assert "A push is pending" in said
        assert "NOVA's reader: 0 of 20 reads" in said
        assert phase_of(idom) == Phase.DUAL_READ


# After the cutover


@pytest.fixture
def cut_over(proven) -> int:
    move(client_id=proven, new=Phase.AWS)
    return proven


def test_no_page_offers_a_purge_before_its_time(cut_over, client, log_in, settings):
    log_in(MOVE, PURGE)
    for user in (None, make_user("administrator", *VIEW, MOVE, PURGE, OVERRIDE)):
        if user:
            client.force_login(user)
        response = client.get(page_of(cut_over))
        assert purge(cut_over) not in response.content.decode()
        assert "Purge: from " in text(response)
        assert "needed: 7 days (7 days to go)." in text(response)
        assert "overridden" not in text(response)
        assert ">Purge" not in response.content.decode()

    # Who guesses its address, and who sends a form that no page showed.
    compare(client_ids=[cut_over])
    for approval in (False, True):
        settings.NOVA_REQUIRE_APPROVAL = approval
        for address in (purge(cut_over), purge(cut_over, *EVIDENCE)):
            page = client.get(address)
            assert by_verdict(page) == {"refused": ["idom"]}
            assert client_of(page)["message"].key == "purge_too_early"
            assert "time_in_phase" in reasons_of(page)
            assert not any(reason["overridden"] for reason in reasons_of(page).values())
            assert 'name="typed"' not in page.content.decode()
        said = said_on(force(client, purge(cut_over, *EVIDENCE)))
        assert "No page offers this purge for another" in said
        assert phase_of(cut_over) == Phase.AWS
        assert not Run.objects.exists()


def test_once_it_is_time_the_purge_comes_first_and_the_rollback_is_the_bigger_button(
    cut_over, client, log_in
):
    log_in(MOVE, PURGE)
    compare(client_ids=[cut_over])
    give_evidence(cut_over)
    PhaseChange.objects.update(changed_at=timezone.now() - timedelta(days=30))

    html = client.get(page_of(cut_over)).content.decode()

    there = html.index(purge(cut_over))
    back = html.index(move_page(Phase.AWS, Phase.DUAL_READ, cut_over))
    assert there < back
    assert "px-5.5 py-3" in html[back:]
    assert "px-2.5 py-1.5" in html[there : there + 1000]


@pytest.fixture
def unsearched(cut_over) -> int:
    """All evidence for its purge, but a search for copies."""
    compare(client_ids=[cut_over])
    give_evidence(cut_over)
    CopySearch.objects.all().delete()
    return cut_over


def test_the_page_of_a_purge_starts_its_search_for_copies_and_comes_back(
    unsearched, client, log_in, stores
):
    log_in(MOVE, PURGE, "migration.view_copysearch")
    page = purge(unsearched)
    assert reasons_of(client.get(page))["copies_not_searched"]["remedy"] == {
        "label": "See the copies",
        "url": reverse("admin:migration_copysearch_report"),
    }

    may = (MOVE, PURGE, SEARCH_PERMISSION, "migration.view_copysearch")
    client.force_login(make_user("searcher", *VIEW, *may))
    remedy = reasons_of(client.get(page))["copies_not_searched"]["remedy"]
    answer = client.post(remedy["url"], {key: remedy[key] for key in ("back", "client")})
    shown = client.get(page).content.decode()
    search = CopySearch.objects.get()
    tasks.search_copies(search.pk)

    assert (remedy["posts"], answer.url, search.chosen) == (True, page, [unsearched])
    assert f'hx-get="{remedy["live"]}"' in shown
    assert reasons_of(client.get(page)).keys() <= {"copies_found"}


def test_an_override_of_no_search_covers_no_copies_that_were_found_since(
    unsearched, client, log_in, settings
):
    log_in(MOVE, PURGE, OVERRIDE)
    address = purge(unsearched, "copies")
    for approval in (True, False):
        settings.NOVA_REQUIRE_APPROVAL = approval
        CopySearch.objects.all().delete()
        page = client.get(address)
        assert set(reasons_of(page)) == {"copies_not_searched"}
        assert by_verdict(page) == {"will": ["idom"]}
        make_copy_search(unsearched, rows_found=3)

        said = said_on(send(client, address, page, typed="idom", reason="INC-42"))

        assert "rows with a copy of its secret values: 3" in said
        assert phase_of(unsearched) == Phase.AWS
        # With approval it is requested, and waits.
        assert [run.override_lines for run in Run.objects.all()] == [[]] * approval
        Run.objects.all().delete()

    # Who saw them overrides them.
    page = client.get(address)
    assert by_verdict(page) == {"refused": ["idom"]}
    offered = {each["label"]: each["is_on"] for each in page.context["overrides"]}
    assert offered == {"search for copies": True, "search that finds no copies": False}
    confirm(client, purge(unsearched, "copies_found"))
    assert phase_of(unsearched) == Phase.PURGED
    assert [line.key for line in PhaseChange.objects.first().overridden] == ["copies_found"]


# With approval


def test_the_approver_sees_the_override_its_reason_and_its_lines(idom, client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", *VIEW, MOVE, OVERRIDE)
    asked = request_move(
        client_id=idom,
        new=Phase.AWS,
        by=maria,
        reason="INC-42",
        override=Override("Test client", maria),
    ).run
    log_in(APPROVE, SEE)

    response = client.get(f"/admin/migration/run/{asked.pk}/change/")

    said = text(response)
    assert "Missing evidence is overridden: Test client" in said
    assert "NOVA's reader: 0 of 20 reads since dual read began. warning Overridden" in said
    assert "Not enough evidence" not in said
    shown = {"shown": str(response.context_data["content"])}
    client.post(f"/admin/migration/run/{asked.pk}/approve/", shown)
    assert phase_of(idom) == Phase.AWS


def test_a_request_overrides_the_kinds_that_were_chosen_and_none_unasked(
    idom, client, log_in, settings
):
    settings.NOVA_REQUIRE_APPROVAL = True
    log_in(MOVE, OVERRIDE, SEE)
    page = client.get(cutover(idom))
    assert by_verdict(page) == {"will": ["idom"]}
    assert [each["is_on"] for each in page.context["overrides"]] == [False] * 4
    confirm(client, cutover(idom))
    asked = Run.objects.get()
    assert (asked.state, asked.override_lines) == (Run.State.REQUESTED, [])
    asked.delete()

    kinds = ("time", "reads", "processes")
    confirm(client, cutover(idom, *kinds))
    asked = Run.objects.get()
    assert set(asked.override_lines) == set(kinds)
    assert asked.override_reason == "INC-42"
    lines = client.get(f"/admin/migration/run/{asked.pk}/change/").context["lines"]
    assert sum(line["overridden"] for line in lines) == 3
    assert [line["text"] for line in lines if not line["passed"] and not line["overridden"]]
    asked.delete()

    # For the facts it waits all the same.
    write_password(idom, "example-new")
    page = client.get(cutover(idom, *EVIDENCE))
    assert by_verdict(page) == {"will": ["idom"]}
    assert client_of(page)["message"].key == "request_waits"
    confirm(client, cutover(idom, *EVIDENCE))
    asked = Run.objects.get()
    assert {"streak", "time", "reads", "processes"} <= set(asked.override_lines)
    entry = AuditEvent.objects.filter(code=REQUEST_EVENT).latest("pk")
    assert [line.key for line in entry.message.values["reasons"]] == ["push_pending"]


def test_a_purge_too_can_be_overridden_with_a_reason(cut_over, client, log_in):
    user = log_in(MOVE, PURGE, OVERRIDE)
    compare(client_ids=[cut_over])

    move(client_id=cut_over, new=Phase.PURGED, by=user, override=Override("Test client", user))

    change = PhaseChange.objects.first()
    assert [line.key for line in change.overridden] == [
        "clean_streak",
        "time_in_phase",
        "not_answered_by_aws",
        "copies_not_searched",
    ]
    assert ClientMigration.objects.get().phase == Phase.PURGED
