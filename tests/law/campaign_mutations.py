"""Defects planted in campaigns, one at a time, each with a life that shows it and keeps the law without it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from migration.campaigns import steps
from migration.campaigns.models import CampaignQuerySet, StaleCampaignError, WaveQuerySet
from migration.core.clients import all_clients
from migration.models import Campaign, Wave
from migration.moves import moves, runs
from migration.moves.gates import Override
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.law.actions import Change, compare, console_writes, nova_writes
from tests.law.campaign_acts import (
    a_campaign_goes_further,
    a_campaign_goes_further_when_it_has_waited,
    another_campaign_begins,
    compare_and_a_campaign_goes_further,
    somebody_steers_a_campaign,
)
from tests.law.fault_injection import Interruption, What
from tests.law.state_machine import Play

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

MAIL, PASSWORD = Change(("mail",)), Change(("password",))
FURTHER = Play(a_campaign_goes_further, MAIL, None)
HAS_WAITED = Play(a_campaign_goes_further_when_it_has_waited, MAIL, None)
COMPARE_AND_FURTHER = Play(compare_and_a_campaign_goes_further, MAIL, None)
CHANGED_IN_AWS = Play(console_writes, MAIL, None)
NOVA_WRITES = Play(nova_writes, PASSWORD, None)
STOP = Play(somebody_steers_a_campaign, Change(("mail",), again=True), None)
GO_ON = Play(somebody_steers_a_campaign, MAIL, None)


@dataclass(frozen=True)
class CampaignFault:
    """How it is planted, and the life that shows it."""

    plant: Callable[[pytest.MonkeyPatch], None]
    start: Phase
    life: list[Play]


CAMPAIGN_FAULTS: list[CampaignFault] = []


def fault(start: Phase, *life: Play):
    def keep(plant):
        CAMPAIGN_FAULTS.append(CampaignFault(plant, start, list(life)))
        return plant

    return keep


@fault(Phase.DUAL_READ, COMPARE_AND_FURTHER, CHANGED_IN_AWS, COMPARE_AND_FURTHER, NOVA_WRITES)
def a_campaign_rolls_back_clients_that_differ(patch):
    patch.setattr(moves, "find_difference", lambda *_: None)


@fault(
    Phase.DUAL_READ,
    COMPARE_AND_FURTHER,
    CHANGED_IN_AWS,
    Play(compare, MAIL, None),
    Play(a_campaign_goes_further, MAIL, Interruption(What.DOWN, 0)),
    NOVA_WRITES,
)
def a_campaign_rolls_back_clients_of_which_aws_was_not_read(patch):
    find_difference = moves.find_difference

    def believe(snapshot, answers):
        found = find_difference(snapshot, answers)
        return None if isinstance(found, SecretsManagerError) else found

    patch.setattr(moves, "find_difference", believe)


@fault(Phase.DUAL_READ, FURTHER)
def a_step_of_a_campaign_waits_for_nobody(patch):
    patch.setattr(Wave, "count_awaited_by_blocker", lambda *_: {})


@fault(Phase.DUAL_READ, FURTHER, HAS_WAITED)
def a_step_of_a_campaign_waits_for_ever(patch):
    patch.setattr(Wave, "waits_at_most_until", lambda _: timezone.now() + timedelta(days=1))


@fault(Phase.DUAL_WRITE, FURTHER, HAS_WAITED)
def a_step_of_a_campaign_has_no_gate(patch):
    patch.setattr(moves, "refuse_where_gate_is_shut", lambda *_: None)


@fault(Phase.DUAL_WRITE, FURTHER, HAS_WAITED)
def a_campaign_overrides_missing_evidence(patch):
    patch.setattr(runs, "make_override", lambda *_: Override("T", None))


@fault(Phase.POSTGRES, FURTHER, STOP, FURTHER)
def a_stopped_campaign_goes_on_by_itself(patch):
    advance_campaign = steps.advance_campaign

    def go_on_first(campaign_id):
        with suppress(StaleCampaignError):
            Campaign.objects.get(pk=campaign_id).go_on(by=None)
        return advance_campaign(campaign_id)

    patch.setattr(steps, "advance_campaign", go_on_first)
    patch.setattr(CampaignQuerySet, "running_or_rolling_back", CampaignQuerySet.not_over)


@fault(Phase.POSTGRES, FURTHER, CHANGED_IN_AWS, COMPARE_AND_FURTHER, GO_ON, FURTHER)
def the_stop_rule_counts_from_the_begin_whoever_had_it_go_on(patch):
    def restart_stop_rule_counts(self, _campaign):
        self.update(rollback_is_due=False, finished_at=None)

    patch.setattr(WaveQuerySet, "restart_stop_rule_counts", restart_stop_rule_counts)


@fault(Phase.POSTGRES, FURTHER, Play(another_campaign_begins, MAIL, None), FURTHER)
def a_campaign_takes_clients_of_another(patch):
    patch.setattr(Wave, "list_joinable_clients", lambda wave: all_clients().in_group(wave.group_id))
