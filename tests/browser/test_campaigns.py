"""A campaign by keyboard: requested, approved by somebody else, stopped (also by a mismatch), gone on with."""

import pytest
from playwright.sync_api import expect

from credentials.models import Client
from migration.campaigns.steps import advance_campaign
from migration.models import Campaign
from migration.pushes.comparisons import compare
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, fits, press
from tests.factories import make_in_role
from tests.migration.campaigns.shown import do_next, make_group
from tests.migration.campaigns.taken import begin_cutover, sweep, take
from tests.migration.moves.clients import change_in_aws, phase_of

pytestmark = pytest.mark.browser


def test_a_campaign_is_requested_approved_stopped_and_gone_on_with(visit, stores, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    for name in ("Italy", "Spain"):
        make_group(name, phase=Phase.DUAL_READ)
    pks = list(Client.objects.order_by("slug").values_list("pk", flat=True))
    compare(client_ids=pks)
    page = visit("/admin/migration/campaign/", user=make_in_role("maria", "Operator"))
    press(page.get_by_role("link", name="Start a campaign"))
    page.get_by_label("Client groups, in their order", exact=True).check()
    page.get_by_label("Order of Spain").fill("1")
    page.get_by_label("Order of Italy").fill("2")
    page.get_by_label("Watch time").fill("0 min")
    page.get_by_label("Reason or ticket").fill("INC-42")
    assert fits(page)
    press(page.get_by_role("button", name="Preview campaign"))
    expect(page.get_by_role("button", name="Request the campaign for 2 clients")).to_be_visible()
    assert fits(page)
    press(page.get_by_role("button", name="Request the campaign"))
    expect(page.get_by_text("Someone else has to approve it").first).to_be_visible()
    expect(page.get_by_role("button", name="Approve the campaign")).to_have_count(0)
    campaign = Campaign.objects.get()
    assert do_next(campaign) is None

    address = page.url.partition("/admin/")[2]
    page = visit(f"/admin/{address}", user=make_in_role("ana", "Approver"))
    press(page.get_by_role("button", name="Approve the campaign"))
    expect(page.get_by_text("Approved: the campaign begins.")).to_be_visible()
    do_next(campaign)
    assert [phase_of(pk) for pk in pks] == [Phase.DUAL_READ, Phase.AWS]
    assert advance_campaign(campaign.pk)

    page = visit(f"/admin/{address}", user=make_in_role("olga", "Operator"))
    first, second = waves = page.locator(".waves > li").all()
    expect(first.get_by_text("1 of 1 client at the goal")).to_be_visible()
    expect(page.get_by_text("1 of 2 waves done")).to_be_visible()
    assert len({wave.bounding_box()["y"] for wave in waves}) == 1
    page.set_viewport_size(TELEPHONE)
    assert fits(page)
    above, below = (wave.bounding_box() for wave in (first, second))
    assert (above["x"], above["y"] + above["height"] <= below["y"]) == (below["x"], True)
    press(page.get_by_role("button", name="Stop the campaign"))
    expect(page.get_by_text("Stopped. A run in progress ends")).to_be_visible()
    assert do_next(campaign) is None
    press(page.get_by_role("button", name="Continue the campaign"))
    expect(page.get_by_text("The campaign continues")).to_be_visible()
    # Where a cutover wants an approval, so does each time that it goes on.
    assert do_next(campaign) is None
    assert campaign.state == Campaign.State.REQUESTED
    assert [phase_of(pk) for pk in pks] == [Phase.DUAL_READ, Phase.AWS]
    press(page.get_by_role("link", name="Cancel the campaign…"))
    expect(page.get_by_text("Cancel the campaign for good?")).to_be_visible()
    assert fits(page)
    assert violations(page) == []
    press(page.get_by_role("button", name="Cancel the campaign"))
    expect(page.get_by_text("Cancelled. Runs in progress end first")).to_be_visible()
    campaign.refresh_from_db()
    assert campaign.state == Campaign.State.CANCELLED


def test_one_that_a_mismatch_stopped_goes_on_without_that_client(visit, stores):
    campaign, _group = begin_cutover(most_mismatches=1)
    change_in_aws(SecretsManager(), "nova/clients/north-1", password="example-other")
    sweep(), take(campaign)
    page = visit("/admin/", user=make_in_role("olga", "Operator"), viewport=TELEPHONE)
    press(page.get_by_role("link", name=f"Campaign {campaign.pk}").first)
    stuck = page.locator("#campaign").get_by_role("link", name="north-1").first
    expect(stuck).to_be_visible()
    assert fits(page)

    press(page.get_by_role("link", name="Continue without this client…"))
    expect(page.get_by_text("Stores differ: 1 client")).to_be_visible()
    assert fits(page)
    assert violations(page) == []
    page.get_by_label("Reason or ticket").fill("INC-42")
    press(page.get_by_role("button", name="Continue without this client"))
    expect(page.get_by_text("The campaign continues. 1 client was left out.")).to_be_visible()
    expect(page.get_by_text("1 left out")).to_be_visible()
    campaign.refresh_from_db()
    assert campaign.state == Campaign.State.RUNNING
