"""Leases as another process holds them, up to its sudden end."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from migration.core.leases import LeaseKind, take_leases


@contextmanager
def held_elsewhere(kind: LeaseKind, *keys: int) -> Iterator[None]:
    """Another session holds the leases until the block ends; then its connection breaks, and it releases nothing."""
    taken: list[set[int]] = []
    backends: list[int] = []
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            taken.append(take_leases(kind, keys))
            backends.append(connection.connection.info.backend_pid)
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
        wait_for_end(backends)


def wait_for_end(backends: list[int]) -> None:
    """Wait until PostgreSQL has noticed that the connection is gone, some milliseconds after it."""
    deadline = time.monotonic() + 10
    with connection.cursor() as cursor:
        is_there = True
        while is_there and time.monotonic() < deadline:
            cursor.execute("SELECT FROM pg_stat_activity WHERE pid = ANY(%s)", [backends])
            is_there = cursor.rowcount > 0
