"""A process that pushes when it is told to, and waits before it reads and before it writes until it is let go on."""

from __future__ import annotations

import os
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Longer than any other process takes; whoever waits in vain ends with an error.
PATIENCE_SECONDS = 300
GO_ON = "go on"


def serve(orders: Connection, environment: dict[str, str]) -> None:
    """Pushes a client for each order (its id, and whether under its lock) until it is told None, or nobody is left."""
    os.environ |= environment
    import django

    django.setup()
    from django.db import connection

    from migration.core import leases
    from migration.pushes import pushes
    from nova_credentials.aws.secrets_manager import SecretsManager

    def pausing(step: str, function: Any) -> Any:
        def paused(*args: Any, **kwargs: Any) -> Any:
            orders.send(step)
            hear(orders)
            return function(*args, **kwargs)

        return paused

    @contextmanager
    def unlocked(client_ids: list[int], **_: Any) -> Any:
        yield set(client_ids)

    pushes.read_snapshots = pausing("reads", pushes.read_snapshots)
    SecretsManager.put_value = pausing("writes", SecretsManager.put_value)
    # Where the lock is another's it polls.
    clock = leases.time
    leases.time = SimpleNamespace(
        monotonic=clock.monotonic,
        sleep=lambda seconds: (orders.send("waits"), clock.sleep(seconds)),
    )
    locked = pushes.hold_client_locks
    while order := orders.recv():
        if order == GO_ON:  # let on in advance, for a step that was not needed
            continue
        client_id, with_lock = order
        pushes.hold_client_locks = locked if with_lock else unlocked
        (result,) = pushes.push(client_ids=[client_id])
        connection.close()
        orders.send(("done", str(result.outcome)))


def hear(connection: Connection) -> Any:
    if not connection.poll(PATIENCE_SECONDS):
        raise TimeoutError("the other process says nothing")
    return connection.recv()
