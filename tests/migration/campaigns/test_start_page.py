"""The form that starts a campaign: what it shows before, what it refuses, and what it keeps of what was typed."""

import re
from datetime import datetime, time, timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from migration.campaigns import starts
from migration.campaigns.steps import digest_groups
from migration.core.clients import all_clients
from migration.models import AuditEvent, Campaign, ClientGroup, ClientMigration
from nova_credentials.phases import Phase
from tests.factories import (
    count_reads,
    make_comparison,
    make_full_client,
    make_many,
    make_user,
    sent_form,
)
from tests.migration.acts import by_verdict
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.campaigns.taken import once
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import CLIENTS, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")

START = "/admin/migration/campaign/start/"


@pytest.fixture
def maria(client) -> User:
    """An operator, logged in."""
    user = make_user("maria")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    return user


def places(*groups: ClientGroup) -> dict[str, str]:
    return {f"place_{group.pk}": str(place) for place, group in enumerate(groups, start=1)}


def typed(*groups: ClientGroup, **more: str) -> dict[str, str]:
    limits = dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "1")
    # As the page with the numbers sends it, for a start.
    shown = {"shown": digest_groups(groups)} if groups else {}
    return {"goal": "dual_read", "soak_time": "1 h"} | limits | places(*groups) | shown | more


def errors_of(response) -> str:
    """What the form says, where it is shown again; nothing may have been started."""
    assert response.status_code == 200
    assert not Campaign.objects.exists()
    found = response.context_data["form"].errors.values()
    return " ".join(str(error) for errors in found for error in errors)


def refusal_of(data: dict[str, str]) -> str:
    """What the form says, which has to refuse."""
    form = starts.CampaignForm(data)
    assert not form.is_valid()
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def test_the_form_shows_the_clients_of_each_group_by_phase_and_which_another_campaign_takes(
    client, maria
):
    spain, italy = make_group("Spain", 2, Phase.DUAL_WRITE), make_group("Italy")
    campaign = make_campaign(italy)

    with CaptureQueriesContext(connection) as asked:
        response = client.get(START)
    html, words = response.content.decode(), text(response)

    # Who can move is asked once for the form.
    assert sum('AS "blocker"' in each["sql"] for each in asked) == 1
    assert "PostgreSQL Dual write Dual read AWS (cut over) Purged" in words
    assert "Spain 2 0 2 0 0 0" in words
    assert f'name="place_{spain.pk}"' in html
    assert f'name="place_{italy.pk}"' not in html
    assert f"already in Campaign {campaign.pk}" in html
    # One that took it meanwhile is named.
    with pages_left_out():
        form = client.post(START, typed(italy, step="start")).context_data["form"]
        assert form.non_field_errors() == [
            f"Nothing was started: Campaign {campaign.pk}, which is not over, takes Italy. Cancel that one first."
        ]
        assert Campaign.objects.count() == 1
        campaign.cancel(by=None)
    assert f'name="place_{italy.pk}"' in client.get(START).content.decode()


def test_the_soak_time_that_the_gate_wants_is_suggested(settings):
    for hours, suggested in (
        (36.5, "36.5 h"), (0, "24 h"), (120.0, "120 h"), (0.5, "30 min"), (0.02, "2 min"),
    ):  # fmt: skip
        settings.NOVA_DUAL_READ_HOURS = hours
        assert starts.CampaignForm()["soak_time"].value() == suggested


def test_before_one_to_aws_it_says_how_many_reads_each_client_needs(client, maria, settings):
    settings.NOVA_MIN_READS = 20
    group = make_group("Spain", 1)

    words = text(client.post(START, typed(group, goal="aws", step="look")))

    assert "Each client needs 20 reads by NOVA in dual read before its cutover." in words
    assert "There is no estimate yet" in words

    pk = make_group("Italy", 1, Phase.DUAL_READ).members.get().client_id
    count_reads(pk, reads=10, matches=10)
    ClientMigration.objects.update(phase_changed_at=timezone.now() - timedelta(minutes=10))
    preview = client.post(START, typed(group, goal="aws", step="look"))

    assert preview.context_data["reads_take"] == "20 minutes"


def test_before_it_starts_the_numbers_are_shown_and_nothing_is_stored(client, maria):
    spain, italy = make_group("Spain", 3), make_group("Italy", 2, Phase.DUAL_READ)

    response = client.post(START, typed(italy, spain, wave_size="2", step="look"))
    words = text(response)

    assert by_verdict(response) == {
        "will": ["spain-0", "spain-1", "spain-2"],
        "nothing": ["italy-0", "italy-1"],
    }
    assert "1 Italy 2 0 2 0 1 2 Spain 3 3 0 3 2" in words
    assert "Start the campaign for 3 clients" in words
    assert "reads by NOVA" not in words
    assert not Campaign.objects.exists()


def test_who_could_not_go_is_refused_in_the_plan_and_stays_in_the_wave(client, maria):
    spain, italy = make_group("Spain", 2), make_group("Italy", 1)
    pks = dict(all_clients().values_list("slug", "pk"))
    enter_phase(pks["spain-0"], Phase.DUAL_WRITE)
    make_comparison(pks["spain-0"], "mismatch", slug="spain-0")
    italy.put_clients(all_clients().filter(slug="spain-1"))

    response = client.post(START, typed(italy, spain, step="look"))

    assert by_verdict(response) == {"will": ["italy-0", "spain-1"], "refused": ["spain-0"]}
    italian, spanish = response.context_data["plan"].rows
    assert (italian.taken, spanish.taken) == (2, 1)
    (refused,) = (each for each in response.context["groups"] if each["verdict"] == "refused")
    ((label, number),) = refused["kinds"]
    query = f"group={spain.pk}&phase=dual_write&next=differs"
    assert (f"?{escape(query)}" in label, number) == (True, 1)
    assert [row.slug for row in client.get(f"{CLIENTS}?{query}").context["cl"].result_list] == [
        "spain-0"
    ]


def test_a_group_that_changed_since_it_was_shown_is_named_and_nothing_is_started(client, maria):
    spain, italy = make_group("Spain"), make_group("Italy")
    sent = typed(spain, italy, step="start")
    italy.put_clients(all_clients().filter(slug="spain-0"))

    with pages_left_out():
        response = client.post(START, sent)

    (message,) = get_messages(response.wsgi_request)
    assert "other clients than were shown: Italy." in str(message)
    assert not Campaign.objects.exists()
    client.post(START, dict(response.context_data["sent"]) | {"step": "start"})
    assert Campaign.objects.exists()


def test_what_was_shown_is_started_in_the_order_of_the_places(client, maria, monkeypatch):
    spain, italy = make_group("Spain", 2), make_group("Italy")
    sent = typed(
        italy, spain,
        wave_size="7", soak_time="1.5 h", most_mismatches="2", most_failed_reads="3", most_refused="4",
        begins_at="22:00", ends_at="06:30", rolls_back="on", reason="CHG-7",
    )  # fmt: skip
    check = client.post(START, sent)
    hidden = dict(check.context_data["sent"])
    assert hidden == sent

    for hour, told in (
        (12, "The first wave begins at about"), (23, "The first wave begins within a minute"),
    ):  # fmt: skip
        Campaign.objects.all().delete()
        now = datetime(2026, 3, 2, hour, tzinfo=timezone.get_default_timezone())
        monkeypatch.setattr(timezone, "now", lambda now=now: now)
        response = client.post(START, hidden | {"step": "start"})
        *_, message = get_messages(response.wsgi_request)
        assert told in str(message)

    campaign = Campaign.objects.get()
    assert response.url == f"/admin/migration/campaign/{campaign.pk}/change/"
    assert [wave.group for wave in campaign.waves.all()] == [italy, spain]
    assert (campaign.by, campaign.goal, campaign.state) == (maria, "dual_read", "running")
    assert (campaign.wave_size, campaign.soak_minutes, campaign.rolls_back) == (7, 90, True)
    assert (campaign.most_mismatches, campaign.most_failed_reads, campaign.most_refused) == (
        2,
        3,
        4,
    )
    assert (campaign.begins_at, campaign.ends_at) == (time(22), time(6, 30))
    assert campaign.reason == "CHG-7"
    assert AuditEvent.objects.filter(code="campaign", who="maria").exists()


def test_who_comes_into_a_group_while_its_plan_is_made_is_taken_only_once_shown(
    client, maria, monkeypatch
):
    spain = make_group("Spain")
    late = all_clients().with_ids([make_full_client("late")])
    plans = once(lambda: spain.put_clients(late), starts.with_blocker)
    monkeypatch.setattr(starts, "with_blocker", plans)

    look = client.post(START, typed(spain, step="look"))

    assert by_verdict(look) == {"will": ["spain-0"]}
    again = client.post(START, dict(look.context_data["sent"]) | {"step": "start"})
    assert by_verdict(again) == {"will": ["late", "spain-0"]}
    assert not Campaign.objects.exists()


def test_who_is_in_another_campaign_stays_out_once_that_one_has_begun_its_wave(client, maria):
    spain = make_group("Spain")
    both = ClientGroup.objects.get_or_add("Both")
    both.put_clients(all_clients())
    other = make_campaign(both, goal=Phase.DUAL_READ)

    assert by_verdict(client.post(START, typed(spain, step="look"))) == {"will": ["spain-0"]}

    begin_wave(other, [])
    assert by_verdict(client.post(START, typed(spain, step="look"))) == {"refused": ["spain-0"]}


def test_what_was_typed_can_be_changed_after_the_numbers_were_shown(client, maria):
    spain = make_group("Spain")
    sent = typed(spain, reason="CHG-7", rolls_back="on", begins_at="22:00", ends_at="06:30")

    html = client.post(START, sent | {"step": "change"}).content.decode()

    kept = sent_form(html, "campaign_form") | {"rolls_back": "on"}
    assert {name: kept[name] for name in sent if name != "shown"} | {"shown": sent["shown"]} == sent
    assert re.search(r'name="rolls_back"[^>]* checked', html)
    assert not Campaign.objects.exists()


def test_what_is_no_campaign_is_refused_at_the_form(settings):
    settings.NOVA_DUAL_READ_HOURS = 24.0
    sent = typed(make_group("Spain"))
    expected = [
        ({"soak_time": ""}, "required"),
        ({"soak_time": "-1 h"}, "a number and a unit"),
        ({"soak_time": "24"}, "a number and a unit"),
        ({"soak_time": "1e400 h"}, "a number and a unit"),
        ({"soak_time": "٣ h"}, "a number and a unit"),
        ({"soak_time": "9" * 41}, "at most 40 characters"),
        ({"soak_time": "999999999 h"}, "more than can be stored"),
        ({"soak_time": "24 h\0"}, "Null characters"),
        ({"wave_size": "0"}, "greater than or equal to 1"),
        ({"wave_size": "99999999999"}, "more than can be stored"),
        ({"wave_size": "9" * 5000}, "whole number"),
        ({"most_refused": "0"}, "greater than or equal to 1"),
        ({"most_refused": "x"}, "whole number"),
        ({"begins_at": "22:00"}, "both ends"),
        ({"begins_at": "25:00", "ends_at": "06:00"}, "valid time"),
        ({"goal": "purged"}, "not one of the available choices"),
        ({"goal": "aws", "soak_time": "1 h"}, "Every client would be refused"),
        ({"reason": "x" * 501}, "500"),
        ({"reason": "a\0b"}, "Null characters"),
    ]

    refusals = [(more, why, refusal_of(sent | more)) for more, why in expected]

    assert [each for each in refusals if each[1] not in each[2]] == []


def test_a_refusal_keeps_what_was_typed_and_is_shown(client, maria, settings):
    settings.NOVA_DUAL_READ_HOURS = 24.0
    spain = make_group("Spain")
    sent = typed(spain, goal="aws", soak_time="2.25 h", reason="CHG-7")

    html = client.post(START, sent | {"step": "start"}).content.decode()
    # The page that comes before says it already.
    assert html.count("Nothing was started") == 1
    with pages_left_out():
        looked = client.post(START, sent | {"step": "look"})
        assert errors_of(looked).startswith("Nothing was started: the gate")
        form = looked.context_data["form"]
        assert not client.post(
            START, sent | {"soak_time": "24 h", "step": "look"}
        ).context_data.get("form")
    # It is said at its field, which is brought into view.
    assert set(form.errors) == {"soak_time"}
    assert form.fields["soak_time"].widget.attrs["autofocus"]

    assert (
        "the gate to AWS wants 24 hours in dual read, and the campaign would try it after 2 hours 15 minutes"
        in html
    )
    kept = sent_form(html, "campaign_form")
    assert {name: kept[name] for name in sent if name != "shown"} | {"shown": sent["shown"]} == sent


def test_places_that_are_no_order_are_refused():
    groups = make_group("Spain"), make_group("Italy")
    expected = [
        (("", ""), "choose at least one group"),
        (("1", "1"), "Two groups have the place 1."),
        (("0", "1"), "“0” is no place"),
        (("x", "1"), "“x” is no place"),
        (("-1", "1"), "“-1” is no place"),
        (("9" * 30, "1"), "is no place"),
    ]

    def refuse(order: tuple[str, str]) -> str:
        placed = {f"place_{group.pk}": at for group, at in zip(groups, order, strict=True)}
        return refusal_of(typed() | placed)

    refusals = [(order, why, refuse(order)) for order, why in expected]

    assert [each for each in refusals if each[1] not in each[2]] == []


def test_a_group_that_is_gone_and_fields_that_are_none(client, maria):
    spain = make_group("Spain")

    assert "deleted while" in refusal_of(typed(spain) | {"place_999": "2"})
    assert "deleted while" in refusal_of(typed(spain) | {f"place_{'9' * 18}": "2"})
    sent = typed(spain, goal="dual_write", soak_time="0", place_x="3", step="start")
    client.post(START, sent)  # a soak time of none needs no unit
    campaign = Campaign.objects.get()
    assert (campaign.waves.count(), campaign.soak_minutes) == (1, 0)


def test_a_reason_is_marked_as_optional_where_no_move_needs_an_approval(settings):
    for required, label in ((False, "Reason or ticket (optional)"), (True, "Reason or ticket")):
        settings.NOVA_REQUIRE_APPROVAL = required
        assert starts.CampaignForm()["reason"].label == label


def test_one_to_aws_that_needs_an_approval_wants_a_reason_and_is_requested(client, maria, settings):
    settings.NOVA_REQUIRE_APPROVAL, settings.NOVA_DUAL_READ_HOURS = True, 24.0
    spain = make_group("Spain")
    sent = typed(spain, goal="aws", soak_time="24 h")
    with pages_left_out():
        assert "give a reason" in errors_of(client.post(START, sent | {"step": "start"}))

    sent |= {"reason": "CHG-7"}
    words = text(client.post(START, sent | {"step": "look"}))
    assert "Someone else has to approve the campaign" in words
    assert "Request the campaign" in words
    client.post(START, sent | {"step": "start"})

    assert Campaign.objects.get().state == Campaign.State.REQUESTED


def test_one_of_the_two_permissions_is_not_enough(client):
    sent = typed(make_group("Spain"), step="start")

    for permission in ("migration.add_campaign", "migration.move_client"):
        clerk = make_user(permission, "migration.view_campaign", permission)
        client.force_login(clerk)
        assert client.get(START).status_code == 403, permission
        assert client.post(START, sent).status_code == 403, permission
    assert not Campaign.objects.exists()


def test_of_more_groups_than_a_form_takes_the_first_are_shown(client, maria, monkeypatch):
    monkeypatch.setattr(starts, "GROUPS_SHOWN", 2)
    for number in (2, 0, 1):
        ClientGroup.objects.get_or_add(f"Wave {number}")

    words = text(client.get(START))

    assert "The first 2 groups are shown." in words
    assert "Wave 1" in words
    assert "Wave 2" not in words


def test_an_error_leaves_the_number_of_those_that_can_move_beside_them(client, maria):
    make_full_client("one"), make_full_client("two")

    assert "All clients that can move (2)" in text(
        client.post(START, typed(source="all", soak_time="x"))
    )


def test_no_more_queries_for_more_groups_and_clients(client, maria):
    def count_queries() -> list[int]:
        groups = ClientGroup.objects.all()
        sent = typed(*groups, step="look")
        numbers = []
        for ask in (lambda: client.get(START), lambda: client.post(START, sent)):
            with CaptureQueriesContext(connection) as asked:
                ask()
            numbers.append(len(asked))
        return numbers

    make_group("first")
    count_queries()
    few = count_queries()
    make_many(20)
    for number in range(4):
        ClientGroup.objects.get_or_add(f"Wave {number}").put_clients(all_clients())

    assert count_queries() == few
