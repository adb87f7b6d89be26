"""Finds a pooler that gives each transaction another backend: the site's locks, which last a session, don't hold there.

Opens connections of its own, past Django: a pooler that has no room must not make anybody wait.
"""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

import psycopg
from django.core.management.base import CommandError
from django.db import connection

from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeAlias

    from migration.operations.doctor.findings import DoctorOptions, Finding
    from nova_credentials.messages import Message

    Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECTIONS, STATEMENTS = 4, 20
GIVE_UP_SECONDS = 5.0
# Named with their schema: these connections have the role's own search_path.
BACKEND = "SELECT pg_catalog.pg_backend_pid()"
LOCK = "SELECT pg_catalog.pg_try_advisory_lock(%s::pg_catalog.int4, %s::pg_catalog.int4)"
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock(%s::pg_catalog.int4, %s::pg_catalog.int4)"
# The first half of the key; the second is another one each time.
PROBE_LOCK = 0x4E4F5650


class BackendSharing(StrEnum):
    """Says whether each connection of the site has a backend of its own, or a pooler shares backends out."""

    OWN_BACKENDS = "own backends"
    SHARED_BACKENDS = "shared backends"
    UNKNOWN = "unknown"  # the connections could not be opened in time


def examine_pooler(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that each connection has a backend of its own for as long as it lasts."""
    match find_backend_sharing(connection.get_connection_params()):
        case BackendSharing.OWN_BACKENDS:
            yield report_ok(
                CheckName.POOLER, sentences.BACKENDS_ARE_OWN(n=CONNECTIONS, statements=STATEMENTS)
            )
        case BackendSharing.SHARED_BACKENDS:
            yield report_failure(
                CheckName.POOLER, sentences.BACKENDS_ARE_SHARED(), sentences.CONNECT_DIRECTLY()
            )
        case BackendSharing.UNKNOWN:
            yield report_unlooked(
                CheckName.POOLER,
                sentences.NO_FURTHER_CONNECTIONS(n=CONNECTIONS),
                sentences.MAKE_ROOM(),
            )


def find_backend_sharing(connection_parameters: Mapping[str, Any]) -> BackendSharing:
    """Try on CONNECTIONS connections whether a pooler shares backends; takes twice GIVE_UP_SECONDS at most."""
    parameters = {
        name: value
        for name, value in connection_parameters.items()
        if name not in ("context", "cursor_factory")  # of connections that aren't asynchronous
    }
    # In a thread of its own, as this one may have a loop that runs.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, _try_in_time(parameters)).result()


@cache
def require_own_backends() -> None:
    """Raise CommandError (exit 2) where connections share backends; go on where that could not be tried.

    Tries it once a process: a pooler is not put in between while a process runs.
    """
    if refusal := find_pooler_refusal():
        raise CommandError(str(refusal), returncode=2)


def find_pooler_refusal() -> Message | None:
    """Say why no process of the site may work over this database's connections, and what to do; None if it may."""
    if find_backend_sharing(connection.get_connection_params()) != BackendSharing.SHARED_BACKENDS:
        return None
    return in_a_row(sentences.BACKENDS_ARE_SHARED(), sentences.CONNECT_DIRECTLY())


async def _try_in_time(parameters: Mapping[str, Any]) -> BackendSharing:
    async with AsyncExitStack() as opened:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                return await _try_sessions(
                    [await _open_session(parameters, opened) for _number in range(CONNECTIONS)]
                )
        except (psycopg.Error, TimeoutError):
            return BackendSharing.UNKNOWN


async def _open_session(parameters: Mapping[str, Any], opened: AsyncExitStack) -> Session:
    session: Session = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
    opened.push_async_callback(session.close)
    return session


async def _try_sessions(sessions: list[Session]) -> BackendSharing:
    """Ask the connections by turns: first who serves them, then whether the first one's lock is the first one's."""
    # Before a lock is taken, as a shared backend would keep it.
    backends = [await _fetch_value(session, BACKEND) for session in sessions]
    for number in range(STATEMENTS):
        turn = number % CONNECTIONS
        if await _fetch_value(sessions[turn], BACKEND) != backends[turn]:
            return BackendSharing.SHARED_BACKENDS
    if len(set(backends)) < CONNECTIONS:
        return BackendSharing.SHARED_BACKENDS
    return await _try_lock(sessions)


async def _try_lock(sessions: list[Session]) -> BackendSharing:
    holder, *others = sessions
    key = secrets.randbits(31)
    if not await _fetch_value(holder, LOCK, PROBE_LOCK, key):
        return BackendSharing.SHARED_BACKENDS
    for number in range(STATEMENTS):
        other = others[number % len(others)]
        if await _fetch_value(other, LOCK, PROBE_LOCK, key):
            await _fetch_value(other, UNLOCK, PROBE_LOCK, key)
            return BackendSharing.SHARED_BACKENDS
    held = await _fetch_value(holder, UNLOCK, PROBE_LOCK, key)
    return BackendSharing.OWN_BACKENDS if held else BackendSharing.SHARED_BACKENDS


async def _fetch_value(session: Session, query: str, *values: int) -> object:
    cursor = await session.execute(query.encode(), values or None)
    row = await cursor.fetchone()
    return row[0] if row else None
