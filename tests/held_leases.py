"""Leases as another process holds them, up to its sudden end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from migration.models import LeaseKind
from migration.operations.leases import take_leases


@contextmanager
def held_elsewhere(kind: LeaseKind, *keys: int) -> Iterator[None]:
    """Another session holds the leases until the block ends; then its connection breaks, and it releases nothing."""
    taken: list[set[int]] = []
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            taken.append(take_leases(kind, keys))
        finally:
            held.set()
            done.wait(60)
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        assert taken == [set(keys)]
        yield
    finally:
        done.set()
        thread.join()
