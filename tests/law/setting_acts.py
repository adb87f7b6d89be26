"""Another key and other regions, which a run gives to the secrets of the machine's client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import OperationalError

from migration.runs import engine
from migration.runs.engine import UNEXPECTED_ERROR
from migration.runs.models import Run
from migration.secrets.settings import describe_settings
from tests.law.actions import Change, _this, require_lock_timeout

if TYPE_CHECKING:
    from tests.law.environment import World

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = KEY.replace("a", "b")


def the_key_and_the_regions_change(world: World, _: Change) -> None:
    """The test that uses it has its own settings, which are gone after it."""
    if settings.NOVA_KMS_KEY_ID == KEY:
        settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = OTHER, {"eu-west-2": KEY}
    else:
        settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = KEY, {"eu-west-1": ""}
    run = Run.start(
        kind=Run.Kind.SECRET_SETTINGS, chosen=_this(world), secret_settings=describe_settings()
    )
    try:
        engine.process_batch_if_running(run.pk, 0)
    except OperationalError as error:
        require_lock_timeout(error)
    run.finish_if_done()
    # An error that no code expects is an outcome of its own: nothing else would show it.
    said = run.items.exclude(message=None).values_list("message", flat=True)
    assert UNEXPECTED_ERROR.key not in [message.key for message in said]
