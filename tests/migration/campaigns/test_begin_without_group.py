"""A campaign that begins with all clients that can go, or with those selected in their list: it makes their group."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import F
from django.utils.html import escape

from migration.campaigns import starts
from migration.campaigns.models import WAVE_OF_THAT_NAME
from migration.core.clients import all_clients, digest_clients
from migration.models import Campaign, ClientGroup, ClientMigration, RunItem
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    make_client,
    make_comparison,
    make_full_client,
    make_many,
    make_user,
    sent_form,
)
from tests.migration.acts import by_verdict, client_of
from tests.migration.campaigns.shown import do_next, make_campaign, make_group
from tests.migration.moves.clients import enter_phase_together
from tests.migration.pages import CLIENTS, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")

START = "/admin/migration/campaign/start/"
# Why clients of `clients` stay out.
REFUSED = {
    "bad name": "PostgreSQL: No secret can be made of its rows",
    "differs": "Dual write: Stores differ",
    "inactive": "PostgreSQL: Inactive",
    "italy-0": "PostgreSQL: In a campaign that is not over",
    "no-login": "PostgreSQL: No login to push",
}


@pytest.fixture
def maria(client) -> User:
    user = make_user("maria")
    user.groups.add(Group.objects.get(name="Operator"))
    client.force_login(user)
    return user


@pytest.fixture
def clients(maria) -> dict[str, int]:
    """Two that can go, and one for each reason why not."""
    found = {slug: make_full_client(slug) for slug in ("new", "further", "cut-over", "differs")}
    found["inactive"] = make_full_client("inactive", is_active=False)
    found["no-login"] = make_client("no-login")
    found["bad name"] = make_full_client("bad name")
    written = [found[slug] for slug in ("differs", "further", "cut-over")]
    enter_phase_together(written, Phase.DUAL_WRITE)
    enter = ClientMigration.objects.change_phase
    (
        enter(written[1:], Phase.DUAL_WRITE, Phase.DUAL_READ),
        enter(written[2:], Phase.DUAL_READ, Phase.AWS),
    )
    make_comparison(found["differs"], "mismatch", slug="differs")
    make_campaign(make_group("Italy"))
    return found


def typed(source: str, **more: str) -> dict[str, str]:
    limits = dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "1")
    return {"source": source, "goal": "aws", "soak_time": "24 h"} | limits | more


def digest_ready() -> str:
    """What the page with the numbers sends along, where all clients are ready."""
    return digest_clients(all_clients().values_list("pk", flat=True))


def members(group: ClientGroup) -> list[str]:
    return sorted(all_clients().in_group(group.pk).values_list("slug", flat=True))


def act(client, *slugs: str, **more: str):
    """Chooses the action of the client list for these clients."""
    pks = all_clients().filter(slug__in=slugs).values_list("pk", flat=True)
    return client.post(CLIENTS, {"action": "start_campaign", "_selected_action": list(pks)} | more)


def test_a_newcomer_begins_with_all_clients_that_can_go_and_were_shown(client, clients):
    words = text(client.get(START))
    assert "All clients that can move (2)" in words
    assert "No groups yet" not in words

    look = client.post(START, typed("all", step="look"))
    shown = text(look)

    assert by_verdict(look) == {
        "will": ["further", "new"],
        "refused": ["bad name", "differs", "inactive", "italy-0", "no-login"],
        "nothing": ["cut-over"],
    }
    assert {slug: client_of(look, slug)["kind"] for slug in REFUSED} == REFUSED
    assert "Included clients are put into a new group" in shown
    assert ClientGroup.objects.count() == Campaign.objects.count() == 1

    sent = dict(look.context_data["sent"])
    make_full_client("later")
    again = client.post(START, sent | {"step": "start"})
    assert "Nothing was started: other clients can go now." in text(again)
    assert by_verdict(again)["will"] == ["further", "later", "new"]
    assert Campaign.objects.count() == 1

    response = client.post(START, dict(again.context_data["sent"]) | {"step": "start"})

    campaign = Campaign.objects.latest("pk")
    assert response.url == f"/admin/migration/campaign/{campaign.pk}/change/"
    (wave,) = campaign.waves.all()
    assert members(wave.group) == ["further", "later", "new"]
    assert re.fullmatch(r"Clients of \d{1,2} \w{3} \d{4}, \d\d:\d\d", wave.group.name)


def test_a_small_first_wave_is_a_group_of_its_own_which_goes_first_unless_it_takes_all(
    client, clients
):
    sent = typed("all", group_name="Spring", first_wave="1")
    whole = client.post(START, sent | {"group_name": "All", "first_wave": "9", "step": "look"})
    client.post(START, dict(whole.context_data["sent"]) | {"step": "start"})
    (wave,) = Campaign.objects.latest("pk").waves.all()
    assert members(wave.group) == ["further", "new"]
    wave.campaign.cancel(by=None)

    look = client.post(START, sent | {"step": "look"})
    plan = look.context["plan"]

    assert [(row.name, row.taken) for row in plan.rows] == [
        ("Spring: first wave", 1),
        ("Spring", 1),
    ]
    client.post(START, dict(look.context_data["sent"]) | {"step": "start"})
    waves = Campaign.objects.latest("pk").waves.order_by("position")
    assert [(wave.group_name, members(wave.group)) for wave in waves] == [
        ("Spring: first wave", ["further"]),
        ("Spring", ["new"]),
    ]
    # The number alone says which wave it is.
    assert [wave.name_message.key for wave in waves] == [WAVE_OF_THAT_NAME.key] * 2


def test_whom_the_preview_of_a_group_refuses_its_campaign_refuses_too(client, clients):
    Campaign.objects.get().cancel(by=None)
    make_full_client("never-set", is_active=None)
    group = ClientGroup.objects.get_or_add("All")
    group.put_clients(all_clients())
    sent = typed("groups", goal="dual_read", most_refused="9", **{f"place_{group.pk}": "1"})

    look = client.post(START, sent | {"step": "look"})
    refused = by_verdict(look)["refused"]
    # Of all clients each number that stays out leads to its list.
    with pages_left_out():
        of_all = client.post(START, typed("all", step="look")).context_data["groups"]
        (kept,) = (each for each in of_all if each["verdict"] == "refused")
        for query, slugs in (
            ("phase=postgres&next=inactive", ["inactive", "never-set"]),
            ("phase=dual_write&next=differs", ["differs"]),
        ):
            (number,) = (number for label, number in kept["kinds"] if f"?{escape(query)}" in label)
            rows = client.get(f"{CLIENTS}?{query}").context_data["cl"].result_list
            assert (sorted(row.slug for row in rows), number) == (slugs, len(slugs))
    client.post(START, dict(look.context_data["sent"]) | {"step": "start"})
    campaign = Campaign.objects.latest("pk")
    for _step in range(2):
        do_next(campaign)
        Run.objects.update(finished_at=F("finished_at") - timedelta(days=2))

    items = RunItem.objects.filter(run__wave__campaign=campaign, outcome=Outcome.REFUSED)
    assert refused == ["bad name", "differs", "inactive", "never-set", "no-login"]
    assert sorted(items.values_list("slug", flat=True)) == refused
    stays = all_clients().in_phases(Phase.POSTGRES).filter(slug__in=refused)
    assert sorted(stays.values_list("slug", flat=True)) == [
        each for each in refused if each != "differs"
    ]


def test_the_selected_clients_are_taken_and_nobody_else(client, clients):
    shown = f"{CLIENTS}?phase=postgres"
    sent = {"action": "start_campaign", "_selected_action": [clients["new"]], "select_across": "1"}
    with pages_left_out():
        number = client.get(shown).context_data["cl"].result_count
    assert f"The selected clients ({number})" in text(client.post(shown, sent))
    form = act(client, "new", "differs")
    assert "The selected clients (2)" in text(form)
    kept = sent_form(form.content.decode(), "campaign_form")
    assert kept["source"] == "selected"

    look = client.post(START, kept | {"step": "look", "group_name": "Pilot"})
    shown = text(look)
    sent = dict(look.context_data["sent"])

    assert by_verdict(look) == {"will": ["new"], "refused": ["differs"]}
    assert "are put into a new group, “Pilot”." in shown
    again = client.post(START, sent | {"step": "change"})
    assert sent_form(again.content.decode(), "campaign_form")["clients"] == sent["clients"]
    client.post(START, sent | {"step": "start"})
    assert members(ClientGroup.objects.find_by_name("pilot")) == ["new"]
    assert Campaign.objects.latest("pk").waves.get().group_name == "Pilot"


def test_the_form_suggests_the_same_whether_or_not_there_are_groups(client, clients, monkeypatch):
    monkeypatch.setattr(starts, "MANY_CLIENTS", 1)

    def suggested() -> dict[str, str]:
        kept = sent_form(client.get(START).content.decode(), "campaign_form")
        fixed = {name for name in kept if name.startswith(("place_", "csrf"))}
        return {name: text for name, text in kept.items() if name not in fixed}

    before = suggested()
    group = make_group("Spain", 0)
    assert suggested() == before
    assert (before["source"], before["wave_size"]) == ("all", "1")

    # Of the other way nothing counts.
    seen = client.post(START, typed("all", step="look") | {f"place_{group.pk}": "1"})

    assert not seen.context_data["takes_groups"]


def test_nobody_who_can_go_is_said_and_not_started(client, maria):
    make_full_client("off", is_active=False)

    words = text(client.post(START, typed("all", step="look")))

    assert "None of these clients can move now." in words
    assert "Start the campaign" not in words
    client.post(START, typed("all", step="start"))
    assert not Campaign.objects.exists()


def test_what_is_no_campaign_is_refused_and_leaves_no_group(client, maria, settings):
    settings.NOVA_DUAL_READ_HOURS = 24.0
    make_full_client("new"), ClientGroup.objects.get_or_add("Italy")
    # What the form can't tell by itself is refused at the start.
    with pages_left_out():
        shown = client.post(START, typed("all", step="start", group_name="ITALY"))
    assert "there is a group Italy already" in str(shown.context_data["form"].errors)
    expected = [
        ({"group_name": "x" * 101}, "at most 100 characters"),
        ({"group_name": "a\u200bb"}, "can't be seen"),
        ({"soak_time": "1 h"}, "Every client would be refused"),
        ({"source": "everybody"}, "not one of the available choices"),
        ({"source": "selected"}, "select some in their list"),
        ({"source": "selected", "clients": "x 9999999999999999999"}, "select some in their list"),
    ]

    def refuse(more: dict[str, str]) -> str:
        form = starts.CampaignForm(typed("all") | more)
        assert not form.is_valid()
        return " ".join(str(error) for errors in form.errors.values() for error in errors)

    refusals = [(more, why, refuse(more)) for more, why in expected]

    assert [each for each in refusals if each[1] not in each[2]] == []
    assert (ClientGroup.objects.count(), Campaign.objects.count()) == (1, 0)


def test_a_start_that_is_refused_leaves_no_group(client, maria, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    make_full_client("new")

    client.post(START, typed("all", shown=digest_ready(), step="start"))

    assert not ClientGroup.objects.exists()
    assert not Campaign.objects.exists()


def test_many_clients_are_suggested_in_four_waves_and_how_long_they_take_is_said(client, maria):
    make_many(51, phase="postgres")
    form = client.get(START)
    kept = sent_form(form.content.decode(), "campaign_form")
    assert kept["wave_size"] == "13"

    words = text(client.post(START, typed("all", wave_size="13", step="look")))

    assert "Watch time: up to 12 days in all, 24 hours after each of 12 steps." in words.replace(
        "\xa0", " "
    )


def test_who_may_not_make_groups_starts_with_groups_alone(client):
    names = ("view_campaign", "add_campaign", "move_client")
    client.force_login(make_user("clerk", *(f"migration.{name}" for name in names)))
    make_full_client("new")

    words = text(client.get(START))

    assert "All clients that can go" not in words
    assert "put them into one" in words
    assert client.post(START, typed("all", step="start")).status_code == 403
    assert not Campaign.objects.exists()


def test_a_viewer_has_no_such_action(client, db):
    make_full_client("new")
    client.force_login(make_user("vera", "credentials.view_client"))

    act(client, "new")

    assert "start_campaign" not in client.get(CLIENTS).content.decode()
    assert not Campaign.objects.exists()
