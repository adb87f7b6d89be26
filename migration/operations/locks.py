"""Owns the lock of a client: no two pushes, moves or saves work on one client at once."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# The first half of the two-part key of PostgreSQL's advisory locks; the second is the client's id.
CLIENT_LOCK = 0x4E4F5641
LOCK_POLL_SECONDS = 0.1


@contextmanager
def hold_client_locks(client_ids: Collection[int], *, wait_seconds: float) -> Iterator[set[int]]:
    """Hold the lock of each client that comes free within `wait_seconds`, until the block ends; gives their ids.

    Session-level, so that it spans several transactions and ends with the process that held it. Never waits inside
    PostgreSQL, so two batches with clients in common cannot block each other for ever.
    """
    wanted, held = set(client_ids), set[int]()
    deadline = time.monotonic() + wait_seconds
    try:
        while True:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM unnest(%s::int[]) AS id WHERE pg_try_advisory_lock(%s, id)",
                    [list(wanted - held), CLIENT_LOCK],
                )
                held.update(pk for (pk,) in cursor.fetchall())
            if held == wanted or time.monotonic() >= deadline:
                break
            time.sleep(LOCK_POLL_SECONDS)
        yield held
    finally:
        # A closed connection has released the locks already.
        if held and connection.connection and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_advisory_unlock(%s, id)) FROM unnest(%s::int[]) AS id",
                    [CLIENT_LOCK, list(held)],
                )
