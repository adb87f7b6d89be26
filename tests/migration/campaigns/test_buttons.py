"""The buttons on the page of a campaign: who is offered which, what each does, and who is refused."""

import re
from html import unescape

import pytest
from django.contrib.messages import get_messages

from migration.campaigns import pages as campaign_views
from migration.campaigns.steps import advance_campaign
from migration.core.audit import CANCELLATION_EVENT
from migration.core.notices import Notice, NoticeEvent
from migration.models import AuditEvent, Campaign
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.campaigns.shown import CAMPAIGNS, make_campaign, make_group, page, press
from tests.migration.pages import text

pytestmark = pytest.mark.usefixtures("stores")


def said(response) -> str:
    return " ".join(map(str, get_messages(response.wsgi_request)))


def buttons(response) -> list[str]:
    found = re.findall(
        r"(?s)<(?:button type=\"submit\"|a href=\"\?cancel)[^>]*>(.*?)</(?:button|a)>",
        response.content.decode(),
    )
    texts = (re.sub(r"(?s)<span.*?</span>|\s+", " ", each).strip() for each in found)
    return [each for each in texts if "campaign" in each]


def test_an_operator_stops_it_has_it_go_on_and_cancels_it(client, log_in):
    maria = log_in("Operator", "maria")
    campaign = make_campaign()
    assert buttons(client.get(page(campaign))) == ["Stop the campaign", "Cancel the campaign…"]

    press(client, campaign, "steer", order="stop")
    assert campaign.state == Campaign.State.STOPPED
    assert "maria stopped it." in text(client.get(page(campaign)))
    assert buttons(client.get(page(campaign))) == [
        "Continue the campaign",
        "Cancel the campaign…",
    ]
    press(client, campaign, "steer", order="go_on")
    assert campaign.state == Campaign.State.RUNNING
    asked = client.get(f"{page(campaign)}?cancel=1")
    assert "Cancel the campaign for good? This can't be undone." in text(asked)
    assert "ends after its current batches" not in text(asked)
    # The page renews itself, and keeps the question.
    assert "&amp;cancel=1" in asked.content.decode()
    assert campaign.state == Campaign.State.RUNNING
    press(client, campaign, "cancel")

    assert campaign.state == Campaign.State.CANCELLED
    shown = client.get(page(campaign))
    assert buttons(shown) == []
    # Nobody knows how many waves there would have been.
    assert re.search(r"Cancelled 0 waves done ended", text(shown))
    recorded = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}", who=maria.username)
    assert [str(event.message) for event in recorded.order_by("pk")] == [
        f"Stopped Campaign {campaign.pk}.",
        f"Continued Campaign {campaign.pk}.",
        f"Cancelled Campaign {campaign.pk}.",
    ]


def test_who_is_about_to_cancel_one_at_work_reads_what_still_moves_and_comes_back_to_the_page(
    client, log_in, monkeypatch
):
    log_in("Operator")
    monkeypatch.setattr(campaign_views, "WAVES_A_PAGE", 1)
    campaign = make_campaign(make_group("Spain"), make_group("Italy"))
    assert advance_campaign(campaign.pk)

    shown = client.get(f"{page(campaign)}?page=2&history=all")
    (link,) = re.findall(r'href="(\?[^"]*cancel=1[^"]*)"', shown.content.decode())
    asked = client.get(page(campaign) + unescape(link))

    assert link == "?cancel=1&amp;page=2&amp;history=all#cancel"
    assert "The current run ends after its current batches." in text(asked)
    assert 'href="?page=2&amp;history=all">Keep it' in asked.content.decode()

    campaign.waves.update(rollback_is_due=True)
    Run.objects.update(only_where_equal=True, move_from="aws", move_to="dual_read")
    asked = text(client.get(page(campaign) + unescape(link)))
    assert "finishes first. The pending rollback is not made." in asked


def test_a_button_that_comes_late_changes_nothing_and_says_so(client, log_in):
    log_in("Operator")
    campaign = make_campaign()
    campaign.cancel(by=None)

    for button, data in (
        ("steer", {"order": "stop"}),
        ("steer", {"order": "go_on"}),
        ("cancel", {}),
    ):
        assert "is cancelled." in said(press(client, campaign, button, **data))
    assert press(client, campaign, "steer", order="purge").status_code == 400
    assert client.post(f"{CAMPAIGNS}999/steer/", {"order": "stop"}).status_code == 404


def test_somebody_else_approves_it_and_the_requester_does_not(client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = log_in("Administrator", "maria")
    campaign = make_campaign(goal=Phase.AWS, by=maria, reason="CHG-1", soak_minutes=1440)
    shown = client.get(page(campaign))
    assert buttons(shown) == ["Cancel the campaign…"]
    assert "Someone else" in text(shown)
    press(client, campaign, "approve")
    assert campaign.state == Campaign.State.REQUESTED

    log_in("Approver", "ana")
    assert buttons(client.get(page(campaign))) == [
        "Approve the campaign for 1 client",
        "Cancel the campaign…",
    ]
    press(client, campaign, "approve")

    assert (campaign.state, campaign.approved_by_name) == (Campaign.State.RUNNING, "ana")
    assert "Approved by ana." in text(client.get(page(campaign)))
    assert "is running" in said(press(client, campaign, "approve"))
    assert client.post(f"{CAMPAIGNS}999/approve/").status_code == 404


def test_an_approver_refuses_a_request_and_cancels_nothing_else(client, log_in, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", "migration.move_client")
    asked = make_campaign(goal=Phase.AWS, by=maria, reason="CHG-1", soak_minutes=1440)
    running = make_campaign(make_group("Italy"))
    log_in("Approver")

    assert press(client, running, "cancel").status_code == 403
    assert press(client, asked, "cancel").status_code == 302
    assert (asked.state, running.state) == (Campaign.State.CANCELLED, Campaign.State.RUNNING)


def test_who_requested_one_takes_it_back_until_it_is_approved(client, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    maria = make_user("maria", "migration.move_client", "migration.view_campaign")
    options = {"goal": Phase.AWS, "by": maria, "reason": "CHG-1", "soak_minutes": 1440}
    asked, approved = make_campaign(**options), make_campaign(make_group("Italy"), **options)
    approved.approve(by=make_user("ana"))
    client.force_login(maria)

    assert buttons(client.get(page(asked))) == ["Cancel the campaign…"]
    assert press(client, asked, "cancel").status_code == 302
    assert press(client, approved, "cancel").status_code == 403

    assert (asked.state, approved.state) == (Campaign.State.CANCELLED, Campaign.State.RUNNING)
    event = AuditEvent.objects.get(facts__contains="campaign_cancelled")
    assert (event.code, event.who, event.reason) == (CANCELLATION_EVENT, "maria", "CHG-1")


def test_whoever_cancels_a_request_its_requester_is_told(settings, maria):
    settings.NOVA_REQUIRE_APPROVAL = True
    campaign = make_campaign(goal=Phase.AWS, by=maria, reason="CHG-1", soak_minutes=1440)

    campaign.cancel(by=make_user("root", is_superuser=True))

    (told,) = Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED)
    assert told.recipient == maria


def test_who_may_not_move_clients_has_none_go_on(client):
    client.force_login(make_user("clerk", "migration.view_campaign", "migration.change_campaign"))
    campaign = make_campaign()
    campaign.stop(by=None)

    assert buttons(client.get(page(campaign))) == ["Cancel the campaign…"]
    assert press(client, campaign, "steer", order="go_on").status_code == 403
    assert campaign.state == Campaign.State.STOPPED


def test_a_viewer_who_guesses_addresses_is_refused_and_recorded(client, log_in):
    log_in("Viewer")
    campaign = make_campaign()

    assert buttons(client.get(page(campaign))) == []
    for button, data in (("steer", {"order": "stop"}), ("cancel", {}), ("approve", {})):
        assert press(client, campaign, button, **data).status_code == 403
    assert client.get(f"{CAMPAIGNS}start/").status_code == 403
    assert client.post(f"{CAMPAIGNS}start/", {"goal": "dual_write"}).status_code == 403

    assert campaign.state == Campaign.State.RUNNING
    refused = AuditEvent.objects.filter(code="refusal", who="viewer")
    assert {event.message.values["page"] for event in refused} == {
        f"admin:migration_campaign_{name}" for name in ("steer", "cancel", "approve", "start")
    }
