"""What the pages show of evidence before anything is pressed, and who may override it there."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.utils import timezone

from migration.core.clients import OVERRIDE_EVENT
from migration.models import ClientMigration, MoveRequest, PhaseChange
from migration.moves.approvals import request_move
from migration.moves.gates import Override
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import VIEW, count_reads, give_evidence, make_full_client, make_user
from tests.migration.moves.clients import advance, phase_of, write_password

MOVE, PURGE, OVERRIDE, APPROVE, SEE = (
    "migration.move_client",
    "migration.purge_client",
    "migration.override_gate",
    "migration.approve_move",
    "migration.view_moverequest",
)
NO_READ = "NOVA's reader: 0 of 20 reads since dual read began. (Can be overridden.)"
OTHERS_MAY = (
    "Only somebody who may override missing evidence (an Administrator) can override the lines"
)
MISSING = ["clean_streak", "time_in_phase", "too_few_reads", "no_reader_process"]
WHY = (
    "The gate is shut because nothing proves yet that NOVA can work from AWS alone; missing:"
    " matching comparisons, time in the phase, reads by NOVA, NOVA processes seen."
)


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str):
        user = make_user("operator", *VIEW, *permissions)
        client.force_login(user)
        return user

    return log_in


def page_of(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/change/"


def dialog(pk: int, new: str = "aws") -> str:
    return f"/admin/credentials/client/{pk}/move/{new}/"


def text(response) -> str:
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def press(client, pk: int, new: str, seen: str, **data: object) -> str:
    sent = {"new": new, "seen": seen, "slug": "idom", "reason": "INC-42"} | data
    response = client.post(f"/admin/credentials/client/{pk}/move/", sent)
    return " ".join(map(str, get_messages(response.wsgi_request)))


def fields(html: str, name: str) -> list[str]:
    """The values of the form's fields of that name."""
    return re.findall(rf'name="{name}" value="([^"]*)"', html)


def test_everything_is_seen_on_the_clients_page_by_who_may_only_look(idom, client, log_in):
    log_in()

    said = text(client.get(page_of(idom)))

    assert NO_READ in said
    assert WHY in said
    assert re.search(r"In the phase Dual read for \d+ seconds?; needed: 24 hours\.", said)


def test_what_is_switched_off_is_amber(idom, client, log_in, settings):
    log_in()
    settings.NOVA_MIN_READS = 0

    said = text(client.get(page_of(idom)))

    assert "Switched off Switched off (NOVA_MIN_READS=0): reads by NOVA." in said


def test_who_may_not_override_sees_why_and_no_form(idom, client, log_in):
    log_in(MOVE)

    response = client.get(dialog(idom))

    assert WHY in text(response)
    assert NO_READ in text(response)
    assert OTHERS_MAY in text(response)
    assert 'name="slug"' not in response.content.decode()
    said = press(client, idom, "aws", "dual_read", override="1", missing=MISSING)
    assert "operator has no permission to override missing evidence." in said
    assert phase_of(idom) == Phase.DUAL_READ


def test_who_may_override_gives_one_reason_for_the_lines_that_the_page_shows(idom, client, log_in):
    log_in(MOVE, OVERRIDE)

    response = client.get(dialog(idom))

    html = response.content.decode()
    assert fields(html, "missing") == MISSING
    assert len(re.findall(r'name="reason" required', html)) == 1
    assert "You can override the lines marked so, with a reason." in text(response)
    assert "also for overriding the missing evidence (required)" in text(response)
    assert "Cut over to AWS without the missing evidence" in text(response)
    said = press(client, idom, "aws", "dual_read", override="1", missing=MISSING)
    assert "Missing evidence was overridden: " in said
    assert phase_of(idom) == Phase.AWS
    history = client.get(page_of(idom), {"tab": "history"}).context["history"]
    (line,) = [line for line in history.lines if line.kind == OVERRIDE_EVENT.label]
    assert line.reason == "INC-42"
    assert "NOVA's reader: 0 of 20 reads since dual read began." in str(line.message)


def test_without_a_reason_nothing_is_overridden(idom, client, log_in):
    log_in(MOVE, OVERRIDE)

    press(client, idom, "aws", "dual_read", override="1", missing=MISSING, reason=" ")

    assert phase_of(idom) == Phase.DUAL_READ


def test_a_line_that_the_page_did_not_show_is_not_overridden(idom, client, log_in):
    log_in(MOVE, OVERRIDE)
    give_evidence(idom)
    ClientMigration.objects.update(clean_streak=2)
    shown = fields(client.get(dialog(idom)).content.decode(), "missing")
    assert shown == ["clean_streak"]
    count_reads(idom, matches=-1)  # one too few, since the page was shown

    said = press(client, idom, "aws", "dual_read", override="1", missing=shown)

    assert "NOVA's reader: 19 of 20 reads since dual read began." in said
    assert "comparisons in a row" not in said
    assert phase_of(idom) == Phase.DUAL_READ
    assert fields(client.get(dialog(idom)).content.decode(), "missing") == [
        "clean_streak",
        "too_few_reads",
    ]


def test_a_fact_that_fails_leaves_no_override_to_offer(idom, client, log_in):
    log_in(MOVE, OVERRIDE)
    write_password(idom, "example-new")

    response = client.get(dialog(idom))

    assert 'name="override"' not in response.content.decode()
    assert "The gate is shut, and nobody can override this: A push is pending" in text(response)
    assert "with a reason, once all others pass: those can't be overridden." in text(response)


def test_an_open_gate_offers_no_override(proven, client, log_in):
    log_in(MOVE, OVERRIDE)

    html = client.get(dialog(proven)).content.decode()

    assert 'name="slug"' in html
    assert 'name="override"' not in html


# After the cutover


@pytest.fixture
def cut_over(proven) -> int:
    move(client_id=proven, new=Phase.AWS)
    return proven


@pytest.mark.parametrize("permissions", [(MOVE, PURGE), (MOVE, PURGE, OVERRIDE)])
def test_no_page_offers_a_purge_before_its_time(cut_over, client, log_in, permissions):
    log_in(*permissions)

    response = client.get(page_of(cut_over))

    assert dialog(cut_over, "purged") not in response.content.decode()
    assert "Next step: wait until " in text(response)
    assert "needed: 7 days." in text(response)
    assert "overridden" not in text(response)
    assert ">Purge" not in response.content.decode()


@pytest.mark.parametrize("approval", [False, True])
def test_who_guesses_the_address_of_a_purge_is_offered_none_before_its_time(
    cut_over, client, log_in, settings, approval
):
    settings.NOVA_REQUIRE_APPROVAL = approval
    log_in(MOVE, PURGE, OVERRIDE)
    compare(client_ids=[cut_over])

    html = client.get(dialog(cut_over, "purged")).content.decode()

    assert "needed: 7 days." in unescape(html)
    assert "No page offers this purge before " in html
    assert "can be overridden." not in html.lower()
    assert 'name="slug"' not in html
    assert 'name="override"' not in html


EARLY = ["clean_streak", "time_in_phase", "not_answered_by_aws", "copies_not_searched"]


@pytest.mark.parametrize("approval", [False, True])
def test_a_form_that_no_page_showed_overrides_no_purge_before_its_time(
    cut_over, client, log_in, settings, approval
):
    settings.NOVA_REQUIRE_APPROVAL = approval
    log_in(MOVE, PURGE, OVERRIDE)
    compare(client_ids=[cut_over])

    said = press(client, cut_over, "purged", "aws", override="1", missing=EARLY)

    assert "needed: 7 days." in said
    assert phase_of(cut_over) == Phase.AWS
    assert [asked.overridden for asked in MoveRequest.objects.all()] == [[]] * approval


@pytest.mark.parametrize("missing", [[], ["nonsense", "", "\0"], ["push_pending"]])
def test_codes_that_are_no_missing_evidence_override_nothing(idom, client, log_in, missing):
    log_in(MOVE, OVERRIDE)
    write_password(idom, "example-new")

    said = press(client, idom, "aws", "dual_read", override="1", missing=missing)

    assert "A push is pending" in said
    assert "NOVA's reader: 0 of 20 reads" in said
    assert phase_of(idom) == Phase.DUAL_READ


def test_once_it_is_time_the_rollback_is_the_bigger_button_and_comes_first(
    cut_over, client, log_in
):
    log_in(MOVE, PURGE)
    compare(client_ids=[cut_over])
    give_evidence(cut_over)
    PhaseChange.objects.update(changed_at=timezone.now() - timedelta(days=30))

    html = client.get(page_of(cut_over)).content.decode()

    purge = html.index(dialog(cut_over, "purged"))
    back = html.index('value="dual_read"')
    assert back < purge
    assert "px-5.5 py-3" in html[back:purge]
    assert "px-2.5 py-1.5" in html[purge : purge + 1000]


# With approval, and several clients


def test_the_approver_sees_the_override_its_reason_and_its_lines(idom, client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", *VIEW, MOVE, OVERRIDE)
    asked = request_move(
        client_id=idom,
        new=Phase.AWS,
        by=maria,
        reason="INC-42",
        override=Override("Test client", maria),
    )
    log_in(APPROVE, SEE)

    response = client.get(f"/admin/migration/moverequest/{asked.pk}/change/")

    said = text(response)
    assert "The request overrides missing evidence: Test client" in said
    assert "Overridden NOVA's reader: 0 of 20 reads since dual read began." in said
    assert "The gate is shut" not in said
    shown = {"shown": str(response.context_data["content"])}
    client.post(f"/admin/migration/moverequest/{asked.pk}/approve/", shown)
    assert phase_of(idom) == Phase.AWS


def test_a_request_may_override_and_need_not(idom, client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    log_in(MOVE, OVERRIDE, SEE)

    html = client.get(dialog(idom)).content.decode()

    assert re.search(r'type="checkbox" name="override"', html)
    press(client, idom, "aws", "dual_read", missing=MISSING)
    asked = MoveRequest.objects.get()
    assert (asked.state, asked.overridden) == (MoveRequest.State.WAITING, [])


def test_a_request_that_overrides_still_waits_for_the_facts(idom, client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    log_in(MOVE, OVERRIDE)
    write_password(idom, "example-new")

    response = client.get(dialog(idom))

    assert re.search(r'type="checkbox" name="override"', response.content.decode())
    assert "The request waits for the others: those can't be overridden." in text(response)
    assert "once all others pass" not in text(response)


def test_a_request_overrides_what_the_page_showed_for_the_reason_of_the_move(
    idom, client, log_in, settings
):
    settings.NOVA_REQUIRE_APPROVAL = True
    log_in(MOVE, OVERRIDE, SEE)

    press(client, idom, "aws", "dual_read", override="1", missing=MISSING[1:])

    asked = MoveRequest.objects.get()
    assert [line.key for line in asked.overridden] == MISSING[1:]
    assert [line.key for line in asked.reasons] == MISSING[:1]
    assert asked.override_reason == "INC-42"
    shown = text(client.get(f"/admin/migration/moverequest/{asked.pk}/change/"))
    assert "The request overrides missing evidence, for the same reason:" in shown


@pytest.fixture
def three(proven) -> list[int]:
    """One that is proven, and two that were never read."""
    pks = [proven]
    for slug in ("a", "b"):
        pk = make_full_client(slug)
        advance(pk, Phase.DUAL_READ)
        compare(client_ids=[pk])
        give_evidence(pk, matches=-20)
        pks.append(pk)
    return pks


def bulk(client, *ids: int, **data: str):
    return client.post(
        "/admin/credentials/client/cutover/", {"_selected_action": ids, **data}, follow=True
    )


def test_for_several_clients_it_is_told_how_many_lack_what(three, client, log_in):
    log_in(MOVE, OVERRIDE)

    response = bulk(client, *three)

    said = text(response)
    assert "2 clients lack nothing but evidence: reads by NOVA: 2 clients" in said
    assert "Cut over 2 clients without the missing evidence" in said
    shown = {
        f"missing_{pk}": fields(response.content.decode(), f"missing_{pk}") for pk in three[1:]
    }
    assert list(shown.values()) == [["too_few_reads"]] * 2
    bulk(client, *three[1:], number="2", reason="INC-42", override="1", **shown)
    assert [phase_of(pk) for pk in three] == [Phase.DUAL_READ, Phase.AWS, Phase.AWS]
    assert PhaseChange.objects.filter(override_reason="INC-42").count() == 2


def test_of_several_clients_one_that_lacks_more_than_was_shown_stays(three, client, log_in):
    log_in(MOVE, OVERRIDE)
    shown = {f"missing_{pk}": "too_few_reads" for pk in three[1:]}
    ClientMigration.objects.filter(pk=three[1]).update(clean_streak=2)

    bulk(client, *three[1:], number="2", reason="INC-42", override="1", **shown)

    assert [phase_of(pk) for pk in three[1:]] == [Phase.DUAL_READ, Phase.AWS]


def test_who_may_not_override_several_is_offered_none(three, client, log_in):
    log_in(MOVE)

    response = bulk(client, *three)

    assert 'name="override"' not in response.content.decode()
    shown = {f"missing_{pk}": "too_few_reads" for pk in three[1:]}
    bulk(client, *three[1:], number="2", reason="INC-42", override="1", **shown)
    assert phase_of(three[1]) == Phase.DUAL_READ


def test_a_demo_says_that_its_times_are_short(idom, client, log_in, settings):
    log_in()
    assert "The times of this gate are short here" not in text(client.get(page_of(idom)))
    settings.NOVA_DEMO = True

    assert "The times of this gate are short here" in text(client.get(page_of(idom)))


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
