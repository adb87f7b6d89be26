"""Defects planted in campaigns, one at a time; the machine has to find every one, as it does those of `mutations`."""

from __future__ import annotations

from contextlib import suppress

from migration.models import Campaign, StaleCampaignError, Wave, all_clients
from migration.models.campaigns import CampaignQuerySet
from migration.models.waves import WaveQuerySet
from migration.operations import campaigns, move_batches, move_runs
from migration.operations.gates import Override
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.law.actions import compare, console_writes, nova_writes
from tests.law.campaign_acts import (
    a_campaign_goes_further,
    another_campaign_begins,
    compare_and_a_campaign_goes_further,
    somebody_steers_a_campaign,
)
from tests.law.fault_injection import What
from tests.law.mutations import Fault, fault_of

CAMPAIGN_FAULTS: list[Fault] = []
fault = fault_of(CAMPAIGN_FAULTS)
FURTHER = [a_campaign_goes_further, compare_and_a_campaign_goes_further]


@fault(Phase.DUAL_READ, [*FURTHER, console_writes, nova_writes])
def a_campaign_rolls_back_clients_that_differ(patch):
    patch.setattr(move_runs, "is_equal_in_aws", lambda *_: True)


@fault(Phase.DUAL_READ, [*FURTHER, compare, console_writes, nova_writes], [What.DOWN], within=3)
def a_campaign_rolls_back_clients_of_which_aws_was_not_read(patch):
    is_equal = move_runs.is_equal_in_aws

    def believe(snapshot, found):
        try:
            return is_equal(snapshot, found)
        except SecretsManagerError:
            return True

    patch.setattr(move_runs, "is_equal_in_aws", believe)


@fault(Phase.DUAL_WRITE, [a_campaign_goes_further])
def a_step_of_a_campaign_has_no_gate(patch):
    patch.setattr(move_runs, "pass_gate", lambda *_: True)


@fault(Phase.DUAL_WRITE, [a_campaign_goes_further])
def a_campaign_overrides_missing_evidence(patch):
    patch.setattr(move_batches, "make_override", lambda *_: Override("T", None))


@fault(Phase.POSTGRES, [compare_and_a_campaign_goes_further, somebody_steers_a_campaign])
def a_stopped_campaign_goes_on_by_itself(patch):
    take_further = campaigns.take_further

    def go_on_first(campaign_id):
        with suppress(StaleCampaignError):
            Campaign.objects.get(pk=campaign_id).go_on(by=None)
        return take_further(campaign_id)

    patch.setattr(campaigns, "take_further", go_on_first)
    patch.setattr(CampaignQuerySet, "to_take_further", CampaignQuerySet.not_over)


@fault(Phase.DUAL_WRITE, [*FURTHER, console_writes, somebody_steers_a_campaign])
def the_stop_rule_counts_from_the_begin_whoever_had_it_go_on(patch):
    def watch_anew(self):
        self.update(rollback_is_due=False, finished_at=None)

    patch.setattr(WaveQuerySet, "watch_anew", watch_anew)


@fault(Phase.DUAL_WRITE, [*FURTHER, another_campaign_begins])
def a_campaign_takes_clients_of_another(patch):
    patch.setattr(Wave, "list_takeable", lambda wave: all_clients().in_group(wave.group_id))
