"""The machine's client leaves and comes back; killed meanwhile, it stays away until somebody brings it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import OperationalError

from migration.clients.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
    set_activity,
)
from migration.models import Offboarding
from tests.law.actions import Act, Change, require_lock_timeout

if TYPE_CHECKING:
    from tests.law.environment import World


def the_client_leaves_and_comes_back(world: World, _: Change) -> None:
    """Somebody deactivates and offboards it, NOVA reads, and it comes back and is active again."""
    try:
        if not Offboarding.objects.exists():
            set_activity(client_id=world.pk, active=False)
            offboard_client(client_id=world.pk, reason="CHG-7", acknowledged=True)
            world.check()
    except OffboardingError:
        pass
    except OperationalError as error:
        require_lock_timeout(error)
    the_client_comes_back(world, _)


def the_client_comes_back(world: World, _: Change) -> None:
    try:
        if Offboarding.objects.exists():
            bring_back_as_inactive(client_id=world.pk, reason="CHG-8")
        set_activity(client_id=world.pk, active=True)
    except OffboardingError:
        pass
    except OperationalError as error:
        require_lock_timeout(error)


LEAVING_STEPS: dict[Act, int] = {
    the_client_leaves_and_comes_back: 120,
    the_client_comes_back: 60,
}
