"""Defects planted in the end of a client, each with a life that shows it and keeps the law without it."""

from __future__ import annotations

from migration.clients import offboarding
from nova_credentials.phases import Phase
from tests.law.actions import Change
from tests.law.campaign_mutations import CampaignFault as LeavingFault
from tests.law.fault_injection import Interruption, What
from tests.law.leaving_acts import the_client_leaves_and_comes_back
from tests.law.state_machine import Play

MAIL = Change(("mail",))
LEAVING_FAULTS: list[LeavingFault] = []


def fault(start: Phase, *life: Play):
    def keep(plant):
        LEAVING_FAULTS.append(LeavingFault(plant, start, list(life)))
        return plant

    return keep


@fault(
    Phase.DUAL_READ,
    *(
        Play(the_client_leaves_and_comes_back, MAIL, Interruption(What.NOVA_WRITES, at))
        for at in range(30, 80, 2)
    ),
)
def what_nova_writes_before_the_purge_is_not_looked_for(patch):
    patch.setattr(offboarding, "_require_still", lambda *_: None)


@fault(Phase.AWS, Play(the_client_leaves_and_comes_back, MAIL, None))
def the_secrets_stay_scheduled_for_deletion(patch):
    patch.setattr(offboarding, "_take_secrets_back", lambda *_, **__: None)
    patch.setattr(offboarding, "_return_to_phase", lambda *_, **__: None)
