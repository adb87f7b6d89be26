"""Changes of the layout of the machine's client, and what comes of the secrets that they leave."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import OperationalError

from migration.core.secrets import find_other_layout
from migration.runs import engine
from migration.runs.engine import UNEXPECTED_ERROR
from migration.runs.models import Run
from migration.secrets import layouts
from migration.secrets.layouts import LayoutRefusedError
from tests.law.actions import Act, Change, _this, require_lock_timeout

if TYPE_CHECKING:
    from tests.law.environment import World


def change_the_layout(world: World, _: Change) -> None:
    """Whichever the client has, somebody gives it the other one."""
    new = find_other_layout(world.list_named()[0][1])
    try:
        with suppress(LayoutRefusedError):
            layouts.change_layout(client_id=world.pk, layout=new)
    except OperationalError as error:
        require_lock_timeout(error)


def change_the_layout_in_a_run(world: World, _: Change) -> None:
    new = find_other_layout(world.list_named()[0][1])
    run = Run.start(kind=Run.Kind.LAYOUT, chosen=_this(world), layout=new)
    try:
        engine.process_batch_if_running(run.pk, 0)
    except OperationalError as error:
        require_lock_timeout(error)
    run.finish_if_done()
    # An error that no code expects is an outcome of its own: nothing else would show it.
    said = run.items.exclude(message=None).values_list("message", flat=True)
    assert UNEXPECTED_ERROR.key not in [message.key for message in said]


def the_old_secrets_go(world: World, _: Change) -> None:
    """Hours pass in which no reader of an earlier release was seen, and the schedule takes them away."""
    world.nova.execute(
        "UPDATE nova_admin.migration_clientmigration SET other_secrets_since = other_secrets_since - interval '2 hours'"
    )
    if len(world.list_named()) > 1:
        world.old_secrets_went = True
    try:
        layouts.remove_other_secrets()
    except OperationalError as error:
        require_lock_timeout(error)


LAYOUT_STEPS: dict[Act, int] = {
    change_the_layout: 40,
    change_the_layout_in_a_run: 48,
    the_old_secrets_go: 24,
}
