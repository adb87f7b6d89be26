"""Takes and releases leases: rows of the site's, held by one session at a time, however that session ends.

Any role that may connect can take any of PostgreSQL's advisory locks, and keep it. So no lock of a known number decides
who works. Each session of the site takes one advisory lock of a random number and writes that number into the leases it
takes: a lease is free once its session's lock is gone. PostgreSQL releases that lock when the session ends (the process
was killed, the connection broke), and a pooler in session mode when it gives the session to somebody else.

Who reads the number in `pg_locks` can't take the lock while it is held. Who waits for it gets it under another process
id than the one in the lease.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import psycopg

    from migration.models import LeaseKind

# A lease that is younger than this statement is never taken for dead: its session's lock may be younger than the list.
HELD = """
(l.pid IS NOT NULL AND (l.taken_at >= statement_timestamp() OR EXISTS (
    SELECT FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND datname = current_database()
        AND pg_locks.pid = l.pid AND classid::bigint << 32 | objid::bigint = l.session_key
)))
"""
# For a query that has candidates of a column `batch`; its parameters are the kind and the key of batch 0.
NOBODY_HOLDS_BATCH = f"""
NOT EXISTS (SELECT FROM migration_lease AS l WHERE l.kind = %s AND l.key = %s::bigint | batch AND {HELD})
"""  # constants
# SKIP LOCKED: a row that another session is just taking, or that a save holds until its commit, is not waited for.
TAKE = f"""
WITH taken AS (
    UPDATE migration_lease AS taken
    SET pid = pg_backend_pid(), session_key = %(session)s, taken_at = clock_timestamp()
    FROM (
        SELECT l.id FROM migration_lease AS l
        WHERE l.kind = %(kind)s AND l.key = ANY(%(keys)s) AND (NOT {HELD} OR l.session_key = %(session)s)
        ORDER BY l.key FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE taken.id = free.id RETURNING taken.key
), made AS (
    INSERT INTO migration_lease (kind, key, pid, session_key, taken_at)
    SELECT %(kind)s, wanted.key, pg_backend_pid(), %(session)s, clock_timestamp()
    FROM unnest(%(keys)s::bigint[]) AS wanted (key)
    WHERE NOT EXISTS (SELECT FROM migration_lease AS l WHERE l.kind = %(kind)s AND l.key = wanted.key)
    ORDER BY wanted.key
    ON CONFLICT (kind, key) DO NOTHING RETURNING key
)
SELECT key FROM taken UNION ALL SELECT key FROM made
"""  # noqa: S608  # constants
RELEASE = """
UPDATE migration_lease SET pid = NULL, session_key = NULL, taken_at = NULL
WHERE kind = %(kind)s AND key = ANY(%(keys)s) AND pid = pg_backend_pid() AND session_key = %(session)s
"""
# No row is left of what comes once.
DROP = """
DELETE FROM migration_lease
WHERE kind = %(kind)s AND key = ANY(%(keys)s) AND pid = pg_backend_pid() AND session_key = %(session)s
"""
LOCK_ROW = f"""
SELECT FROM migration_lease AS l WHERE l.kind = %(kind)s AND l.key = %(key)s AND NOT {HELD} FOR UPDATE SKIP LOCKED
"""  # constants
MAKE_ROW = """
INSERT INTO migration_lease (kind, key) VALUES (%(kind)s, %(key)s) ON CONFLICT (kind, key) DO NOTHING RETURNING key
"""


@dataclass
class LeaseSession:
    """One session of this process, by the number of the lock that proves that it lives, and what it holds how often."""

    connected: psycopg.Connection[tuple[object, ...]]
    key: int
    holds: Counter[tuple[int, int]] = field(default_factory=Counter)


# Django has a connection for each thread.
_of_thread = threading.local()


def _own_session() -> LeaseSession:
    """Return the session of this thread's connection: a new one after it has connected anew."""
    connection.ensure_connection()
    session: LeaseSession | None = getattr(_of_thread, "session", None)
    if session is None or session.connected is not connection.connection:
        session = LeaseSession(connection.connection, secrets.randbits(63))
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [session.key])
            if cursor.fetchone() != (True,):
                raise DatabaseError("the session's own lock is taken")
        _of_thread.session = session
    return session


def take_leases(kind: LeaseKind, keys: Collection[int]) -> set[int]:
    """Take the leases that are free, and give their keys. Those that this session holds are taken once more."""
    session = _own_session()
    taken = {key for key in keys if session.holds[kind, key]}
    if free := sorted(set(keys) - taken):
        with connection.cursor() as cursor:
            cursor.execute(TAKE, {"kind": kind, "keys": free, "session": session.key})
            taken.update(key for (key,) in cursor.fetchall())
    session.holds.update((kind, key) for key in taken)
    return taken


def release_leases(kind: LeaseKind, keys: Collection[int], *, for_good: bool = False) -> None:
    """Release leases that were taken as often as they were taken. `for_good`: their rows aren't needed again.

    A connection that is closed has released them.
    """
    session: LeaseSession | None = getattr(_of_thread, "session", None)
    connected = connection.connection
    if (
        session is None
        or connected is None
        or connected.closed
        or session.connected is not connected
    ):
        return
    session.holds.subtract((kind, key) for key in keys)
    if free := [key for key in keys if not session.holds[kind, key]]:
        with connection.cursor() as cursor:
            cursor.execute(
                DROP if for_good else RELEASE, {"kind": kind, "keys": free, "session": session.key}
            )
    session.holds = +session.holds


@contextmanager
def try_lease(kind: LeaseKind, key: int, *, for_good: bool = False) -> Iterator[bool]:
    """Hold the lease until the block ends; gives False where another session holds it."""
    taken = take_leases(kind, [key])
    try:
        yield bool(taken)
    finally:
        if taken:
            release_leases(kind, taken, for_good=for_good)


def hold_until_commit(kind: LeaseKind, key: int) -> bool:
    """Hold the lease until the transaction ends; False where somebody has it. Never waits for who holds it."""
    named = {"kind": kind, "key": key}
    with connection.cursor() as cursor:
        cursor.execute(LOCK_ROW, named)
        if cursor.fetchone() is not None:
            return True
        # Nobody has held it yet. Until the commit others wait here, and then find it free.
        cursor.execute(MAKE_ROW, named)
        return cursor.fetchone() is not None


def list_held(kind: LeaseKind, first: int, last: int) -> set[int]:
    """Return the keys of the leases from `first` to `last` that are held now, on whichever host."""
    query = f"""
        SELECT l.key FROM migration_lease AS l
        WHERE l.kind = %s AND l.key BETWEEN %s AND %s AND {HELD}
    """  # noqa: S608  # constants
    with connection.cursor() as cursor:
        cursor.execute(query, [kind, first, last])
        return {key for (key,) in cursor.fetchall()}
