"""Owns the lease of a client: no two pushes, moves or saves work on one client at once."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from migration.models.leases import LeaseKind
from migration.operations.leases import refuse_lost_leases, releasing, take_leases

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

LOCK_POLL_SECONDS = 0.1


@contextmanager
def hold_client_locks(client_ids: Collection[int], *, wait_seconds: float) -> Iterator[set[int]]:
    """Hold the lease of each client that comes free within `wait_seconds`, until the block ends; gives their ids.

    The session holds it, so that it spans several transactions and ends with the process. Never waits inside
    PostgreSQL, so two batches with clients in common cannot block each other for ever. Raises `LeaseLostError` at the
    end where the session was lost meanwhile.
    """
    wanted, held = set(client_ids), set[int]()
    deadline = time.monotonic() + wait_seconds
    with releasing(LeaseKind.CLIENT, held):
        while True:
            held |= take_leases(LeaseKind.CLIENT, wanted - held)
            if held == wanted or time.monotonic() >= deadline:
                break
            time.sleep(LOCK_POLL_SECONDS)
        yield held


def refuse_lost_client_locks() -> None:
    """Raise `LeaseLostError` where this session lost the leases it holds. Asks in the caller's transaction.

    No session can be reset in a transaction: what is true now is true at its commit.
    """
    refuse_lost_leases(now=True)
