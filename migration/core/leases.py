"""Owns leases: which session works on a client, a batch, a search or the audit's chain. Knows no operation.

A lease is a row of the site's, held by one session at a time, however that session ends.

Any role that may connect can take any of PostgreSQL's advisory locks, and keep it. So no lock of a known number decides
who works. Each session of the site takes one advisory lock of a random number and writes that number into the leases it
takes: a lease is free once its session's lock is gone. PostgreSQL releases that lock when the session ends (the process
was killed, the connection broke), and a pooler in session mode when it gives the session to somebody else.

Who reads the number in `pg_locks` can't take the lock while it is held. Who waits for it gets it under another process
id than the one in the lease.

A session can be lost while its holder works: the connection broke and Django opened another, or somebody's DISCARD ALL
took its lock. The holder learns it before each write to AWS, before a phase is changed, and at the lease's end.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import ClassVar
from weakref import WeakSet

import psycopg
from django.db import DatabaseError, OperationalError, connection, models
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

# Whether PostgreSQL has the advisory lock `session`, held by the process `pid`.
LOCK = """
EXISTS (
    SELECT FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND datname = current_database()
        AND pg_locks.pid = {pid} AND classid::bigint << 32 | objid::bigint = {session}
)
"""
# The places, from 1, of the sessions whose lock PostgreSQL has. An array, so that it fits into another statement.
PROVEN = f"""
array(
    SELECT asked.n FROM unnest(%(pids)s::int[], %(keys)s::bigint[]) WITH ORDINALITY AS asked (pid, key, n)
    WHERE {LOCK.format(pid="asked.pid", session="asked.key")}
)
"""  # noqa: S608  # constants


def make_proof_params(sessions: Collection[LeaseSession]) -> dict[str, list[int]]:
    """Return the parameters with which `PROVEN` asks about the sessions."""
    return {
        "pids": [session.pid for session in sessions],
        "keys": [session.key for session in sessions],
    }


class LeaseKind(models.IntegerChoices):
    """Names what a lease is for; the lease's key is its id."""

    CLIENT = 1
    BATCH = 2
    SEARCH = 3
    AUDIT = 4  # of its one chain


class Lease(models.Model):
    """A row that one session at a time holds. No role but the site's can hold, lock or read it.

    The table is UNLOGGED: a lease ends with its session, so none outlives a crash of PostgreSQL.
    """

    kind = models.SmallIntegerField(choices=LeaseKind)
    key = models.BigIntegerField()
    # The holder; all NULL while nobody holds it.
    pid = models.IntegerField(null=True)
    session_key = models.BigIntegerField(null=True)
    taken_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "key"], name="one_lease"),
        ]

    def __str__(self) -> str:
        return f"lease {self.get_kind_display()} {self.key}"


# What PostgreSQL said of the session's lock longer ago is asked anew before a write to AWS.
PROVEN_FOR_SECONDS = 0.7

# A lease that is younger than this statement is never taken for dead: its session's lock may be younger than the list.
HELD = f"""
(l.pid IS NOT NULL AND (
    l.taken_at >= statement_timestamp() OR {LOCK.format(pid="l.pid", session="l.session_key")}
))
"""
PROOF = LOCK.format(pid="pg_backend_pid()", session="%(session)s::bigint")
# For a query that has candidates of a column `batch`; `first` is the key of batch 0.
NOBODY_HOLDS_BATCH = f"""
NOT EXISTS (SELECT FROM migration_lease AS l WHERE l.kind = %(kind)s AND l.key = %(first)s::bigint | batch AND {HELD})
"""  # constants
# The keys of the held leases of a kind; its parameters are the kind, the first key and the last.
HELD_LEASES = f"""
SELECT l.key FROM migration_lease AS l WHERE l.kind = %s AND l.key BETWEEN %s AND %s AND {HELD}
"""  # noqa: S608  # constants
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
SELECT key, {PROOF}
FROM (SELECT NULL::bigint AS key UNION ALL SELECT key FROM taken UNION ALL SELECT key FROM made) AS leases
"""  # noqa: S608  # constants
MINE = "kind = %(kind)s AND key = ANY(%(keys)s) AND pid = pg_backend_pid() AND session_key = %(session)s"
RELEASE = f"""
WITH released AS (
    UPDATE migration_lease SET pid = NULL, session_key = NULL, taken_at = NULL WHERE {MINE} RETURNING key
)
SELECT count(*), {PROOF} FROM released
"""  # noqa: S608  # constants
# No row is left of what comes once.
DROP = f"""
WITH released AS (DELETE FROM migration_lease WHERE {MINE} RETURNING key) SELECT count(*), {PROOF} FROM released
"""  # noqa: S608  # constants
LOCK_ROW = f"""
SELECT FROM migration_lease AS l WHERE l.kind = %(kind)s AND l.key = %(key)s AND NOT {HELD} FOR UPDATE SKIP LOCKED
"""  # constants
EXISTS_ROW = "SELECT FROM migration_lease WHERE kind = %(kind)s AND key = %(key)s"
MAKE_ROW = "INSERT INTO migration_lease (kind, key) VALUES (%(kind)s, %(key)s) ON CONFLICT (kind, key) DO NOTHING"


class LeaseLostError(OperationalError):
    """The session that held a lease has ended or was reset: somebody else may have worked on the same since then."""

    def __init__(self) -> None:
        super().__init__("the session that held the lease has ended or was reset")


@dataclass(eq=False)
class LeaseSession:
    """One session of this process, by the number of the lock that proves that it lives, and what it holds how often."""

    connected: psycopg.Connection[tuple[object, ...]]
    key: int
    # As PostgreSQL knows it; a pooler tells the connection another one.
    pid: int
    holds: Counter[tuple[int, int]] = field(default_factory=Counter)
    # On the monotonic clock: when PostgreSQL was last asked, and had the lock. Each reservation of turns asks too.
    proven_at: float = -math.inf

    def require_lock(self) -> None:
        """Raise `LeaseLostError` unless the lock was there in the last PROVEN_FOR_SECONDS. Asks from any thread."""
        from migration.core.rate_limiter import rate_limiter  # noqa: PLC0415  # it asks this module

        with _asking:
            asked_at = time.monotonic()
            if self.connected.closed:
                raise LeaseLostError
            if asked_at - self.proven_at <= PROVEN_FOR_SECONDS:
                return
            asked = list_sessions_of_process()
            proven = rate_limiter().run_statement(partial(_read_proofs, sessions=asked))
            keep_proofs(asked, proven, asked_at=asked_at)
            if self not in (asked[place - 1] for place in proven):
                raise LeaseLostError


# Those of this process: whoever has to ask for one asks for all.
_sessions: WeakSet[LeaseSession] = WeakSet()
_sessions_lock = threading.Lock()
# One thread asks, and the others wait for the answer.
_asking = threading.Lock()


def list_sessions_of_process() -> list[LeaseSession]:
    """Return the sessions of this process."""
    with _sessions_lock:
        return [*_sessions]


def keep_proofs(asked: Sequence[LeaseSession], proven: Collection[int], *, asked_at: float) -> None:
    """Keep that PostgreSQL, asked at that time of the monotonic clock, had the locks of those at these places."""
    for place in proven:
        session = asked[place - 1]
        session.proven_at = max(session.proven_at, asked_at)


# Django has a connection for each thread.
_of_thread = threading.local()


def find_thread_session() -> LeaseSession | None:
    """Return the session under whose leases this thread works, if there is one."""
    session: LeaseSession | None = getattr(_of_thread, "session", None)
    return session


def work_in_thread_under_session(session: LeaseSession | None) -> None:
    """Set whose leases this thread works under from now on: the session of a thread that waits for it."""
    _of_thread.session = session


def _own_session() -> LeaseSession:
    """Return the session of this thread's connection: a new one after it has connected anew.

    Raises `LeaseLostError`, once, where the earlier one held leases.
    """
    connection.ensure_connection()
    session = find_thread_session()
    if session is not None and session.connected is not connection.connection:
        _forget_session(session)
        session = None
    if session is None:
        key = secrets.randbits(63)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s), pg_backend_pid()", [key])
            taken, pid = cursor.fetchone()
        if not taken:
            raise DatabaseError("the session's own lock is taken")
        session = _of_thread.session = LeaseSession(connection.connection, key, pid)
        with _sessions_lock:
            _sessions.add(session)
    return session


def _forget_session(session: LeaseSession) -> None:
    """Have the next lease taken under another number; raise `LeaseLostError` where leases were held under this one."""
    _of_thread.session = None
    if session.holds:
        raise LeaseLostError


def _read_proofs(own: BaseDatabaseWrapper, *, sessions: Collection[LeaseSession]) -> list[int]:
    """Return the places, from 1, of the sessions whose lock PostgreSQL has."""
    with own.cursor() as cursor:
        cursor.execute(f"SELECT {PROVEN}", make_proof_params(sessions))
        places: list[int] = cursor.fetchone()[0]
        return places


def refuse_lost_leases() -> None:
    """Raise `LeaseLostError` where the leases under which this thread works are lost; without leases there is nothing.

    What PostgreSQL said in the last PROVEN_FOR_SECONDS counts.
    """
    session = find_thread_session()
    if session and session.holds:
        session.require_lock()


def refuse_lost_client_locks() -> None:
    """Raise `LeaseLostError` as `refuse_lost_leases` does, but ask in the caller's transaction.

    No session can be reset in a transaction: what is true now is true at its commit.
    """
    session = find_thread_session()
    if session is None or not session.holds:
        return
    if session.connected is not connection.connection:
        raise LeaseLostError
    asked = LOCK.format(pid="%s", session="%s::bigint")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {asked}", [session.pid, session.key])
        if not cursor.fetchone()[0]:
            raise LeaseLostError


def take_leases(kind: LeaseKind, keys: Collection[int]) -> set[int]:
    """Take the leases that are free, and give their keys. Those that this session holds are taken once more.

    Raises `LeaseLostError` where it held some and was reset.
    """
    session = _own_session()
    taken = {key for key in keys if session.holds[kind, key]}
    if free := sorted(set(keys) - taken):
        got = _take_free(session, kind, free)
        if got is None:  # it was reset while it held nothing
            _forget_session(session)
            session = _own_session()
            got = _take_free(session, kind, free)
        if got is None:
            raise LeaseLostError
        taken |= got
    session.holds.update((kind, key) for key in taken)
    return taken


def _take_free(session: LeaseSession, kind: LeaseKind, free: list[int]) -> set[int] | None:
    """Take those that are free; None where they were taken under a lock that the session no longer has."""
    asked_at = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"kind": kind, "keys": free, "session": session.key})
        rows = cursor.fetchall()
    is_proven = rows[0][1]  # the first row is there without a lease
    session.proven_at = asked_at if is_proven else -math.inf
    return {key for key, _ in rows if key is not None} if is_proven else None


def release_leases(kind: LeaseKind, keys: Collection[int], *, delete_row: bool = False) -> None:
    """Release leases as often as they were taken; raise `LeaseLostError` where they were not held up to now.

    `delete_row`: their rows aren't needed again.
    """
    session = find_thread_session()
    if not keys:
        return
    if session is None or not all(session.holds[kind, key] for key in keys):
        raise LeaseLostError
    if session.connected.closed or session.connected is not connection.connection:
        _forget_session(session)
    session.holds.subtract((kind, key) for key in keys)
    free = [key for key in keys if not session.holds[kind, key]]
    session.holds = +session.holds
    if not free:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            DROP if delete_row else RELEASE, {"kind": kind, "keys": free, "session": session.key}
        )
        number, is_proven = cursor.fetchone()
    if number < len(free) or not is_proven:
        raise LeaseLostError


@contextmanager
def releasing(
    kind: LeaseKind, keys: Collection[int], *, delete_row: bool = False
) -> Iterator[None]:
    """Release the leases at the block's end. `LeaseLostError` stands in for no other error."""
    try:
        yield
    except BaseException:
        with suppress(LeaseLostError):
            release_leases(kind, keys, delete_row=delete_row)
        raise
    release_leases(kind, keys, delete_row=delete_row)


@contextmanager
def try_lease(kind: LeaseKind, key: int, *, delete_row: bool = False) -> Iterator[bool]:
    """Hold the lease until the block ends; gives False where another session holds it.

    Raises `LeaseLostError` at the end where it was not held up to there.
    """
    taken = take_leases(kind, [key])
    with releasing(kind, taken, delete_row=delete_row):
        yield bool(taken)


def hold_until_commit(kind: LeaseKind, key: int) -> bool:
    """Hold the lease until the transaction ends; False where somebody has it. Never waits for who holds it."""
    named = {"kind": kind, "key": key}
    with connection.cursor() as cursor:
        cursor.execute(LOCK_ROW, named)
        if cursor.rowcount:
            return True
        cursor.execute(EXISTS_ROW, named)
        if cursor.rowcount:
            return False
        # Nobody has held it yet. Whoever met a row that this transaction made would wait for its end.
        _make_row(named)
        cursor.execute(LOCK_ROW, named)
        return bool(cursor.rowcount)


def _make_row(named: dict[str, int]) -> None:
    """Make the lease's row and commit it, outside the caller's transaction."""
    from migration.core.rate_limiter import rate_limiter  # noqa: PLC0415  # it asks this module

    def insert(own: BaseDatabaseWrapper) -> None:
        with own.cursor() as cursor:
            cursor.execute(MAKE_ROW, named)

    rate_limiter().run_statement(insert)


def list_held(kind: LeaseKind, first: int, last: int) -> set[int]:
    """Return the keys of the leases from `first` to `last` that are held now, on whichever host."""
    with connection.cursor() as cursor:
        cursor.execute(HELD_LEASES, [kind, first, last])
        return {key for (key,) in cursor.fetchall()}


LOCK_POLL_SECONDS = 0.1


@contextmanager
def hold_client_locks(client_ids: Collection[int], *, wait_seconds: float) -> Iterator[set[int]]:
    """Hold the lease of each client that comes free within `wait_seconds`, until the block ends; gives their ids.

    So no two pushes, moves or saves work on one client at once. The session holds it, so that it spans several
    transactions and ends with the process. Never waits inside PostgreSQL, so two batches with clients in common cannot
    block each other for ever. Raises `LeaseLostError` at the end where the session was lost meanwhile.
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


# django-q ends a task after five minutes, and a batch asks PostgreSQL every minute. AWS refuses what was signed more
# than five minutes ago: a process that goes on later writes nothing that it had ready.
HUNG_AFTER = timedelta(minutes=10)
# A search for copies reads by another connection than that of its lease, for hours.
END_HUNG = f"""
SELECT count(*) FILTER (WHERE pg_terminate_backend(hung.pid)) FROM (
    SELECT DISTINCT l.pid FROM migration_lease AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.kind = ANY(%s) AND {HELD}
        AND a.state = 'idle' AND a.state_change < statement_timestamp() - %s * interval '1 second'
) AS hung
"""  # noqa: S608  # constants


def end_hung_sessions() -> int:
    """End the sessions of workers that hang with leases; return how many. Their next write raises `LeaseLostError`.

    A frozen host, or a process that was stopped, holds its connection open: no lease of it comes free by itself.
    """
    with connection.cursor() as cursor:
        cursor.execute(END_HUNG, [[LeaseKind.CLIENT, LeaseKind.BATCH], HUNG_AFTER.total_seconds()])
        number: int = cursor.fetchone()[0]
    if number:
        logger.warning("Ended %s sessions of workers that hang with leases", number)
    return number
