"""What people and the schedule do with campaigns over the machine's client."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

from django.db import OperationalError
from django.utils import timezone

from migration.campaigns import steps as campaign_steps
from migration.campaigns.models import StaleCampaignError
from migration.campaigns.steps import CampaignStartRefusedError, start_campaign
from migration.core.clients import all_clients
from migration.models import Campaign, ClientGroup, Wave
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from tests.law.actions import Act, Change, compare, require_lock_timeout
from tests.law.environment import FIELDS

if TYPE_CHECKING:
    from tests.law.environment import World


def a_campaign_goes_further(world: World, _: Change) -> None:
    """The schedule's, and the workers' of what it starts. Where there is no campaign, somebody starts one first."""
    if not Campaign.objects.not_over().exists():
        _start(world, "first")
    try:
        for campaign in Campaign.objects.running_or_rolling_back():
            quiet = world.stage.interruption is None
            run = campaign_steps.advance_campaign(campaign.pk)
            if run and quiet:  # whoever comes in between may change what it began with
                world.campaigns.judge_begin(world, run.pk)
        _work()
    except OperationalError as error:
        require_lock_timeout(error)


def compare_and_a_campaign_goes_further(world: World, change: Change) -> None:
    compare(world, change)
    a_campaign_goes_further(world, change)


def a_campaign_goes_further_when_it_has_waited(world: World, change: Change) -> None:
    """The schedule's two hours later: a step that waits for clients begins, and counts who is refused."""
    a_campaign_goes_further(world, change)
    later = SimpleNamespace(now=lambda: timezone.now() + timedelta(hours=2))
    waits = Wave.objects.filter(
        campaign__state=Campaign.State.RUNNING, began_at__isnull=False, finished_at=None
    )
    try:
        for wave in waits.select_related("campaign"):
            if wave.find_unfinished_run():
                continue
            with mock.patch.object(campaign_steps, "timezone", later):
                run = campaign_steps.advance_campaign(wave.campaign_id)
            # Somebody who comes in between may hold the campaign.
            if run is None and world.stage.interruption is None:
                world.campaigns.judge_wait(wave)
        _work()
    except OperationalError as error:
        require_lock_timeout(error)


def another_campaign_begins(world: World, _: Change) -> None:
    _start(world, "second")


def somebody_steers_a_campaign(world: World, change: Change) -> None:
    """Cancels it, has it go on, or stops it."""
    campaign = Campaign.objects.not_over().order_by("pk").first()
    if campaign is None:
        return
    with suppress(StaleCampaignError):
        if change.fields == tuple(FIELDS) and change.again:
            campaign.cancel(by=None)
        elif campaign.state == Campaign.State.STOPPED:
            world.campaigns.let_go_on.add(campaign.pk)
            campaign.go_on(by=None)
            world.campaigns.since[campaign.pk] = campaign.changed_at
        elif change.again:
            campaign.stop(by=None)


def _start(world: World, name: str) -> None:
    try:
        group = ClientGroup.objects.get_or_add(name)
        group.put_clients(all_clients().filter(pk=world.pk))
        with suppress(CampaignStartRefusedError):  # that group is taken
            world.campaigns.begin(start_campaign(groups=[group], rolls_back=True, most_refused=2))
    except OperationalError as error:  # a campaign that is begun at the same moment holds the group
        require_lock_timeout(error)


def _work() -> None:
    steps = Run.objects.filter(wave__isnull=False, finished_at=None, state=Run.State.RUNNING)
    for run in steps.order_by("pk"):
        engine.process_batch_if_running(run.pk, 0)
        run.finish_if_done()
        assert not run.items.filter(outcome=Outcome.FAILED).exists()


CAMPAIGN_STEPS: dict[Act, int] = {
    a_campaign_goes_further: 60,
    compare_and_a_campaign_goes_further: 72,
    a_campaign_goes_further_when_it_has_waited: 72,
}
CAMPAIGN_ACTS: tuple[Act, ...] = (
    *CAMPAIGN_STEPS,
    another_campaign_begins,
    somebody_steers_a_campaign,
)
