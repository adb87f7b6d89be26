"""Logs in to a client's database with psycopg, at a judged address. Knows no row and no client.

libpq is driven step by step: a whole `connect` has no deadline below two seconds, and its errors carry no _SQLSTATE.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from django.conf import settings
from psycopg import pq
from psycopg.conninfo import make_conninfo

from migration.operations.login_tests.addresses import resolve_host
from migration.operations.login_tests.bounded_sockets import ca_file
from migration.operations.login_tests.outcomes import LoginFailedError, LoginOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn

    from migration.operations.login_tests.addresses import Address
    from migration.operations.login_tests.deadlines import Deadline

    DatabaseConnection = psycopg.Connection[tuple[Any, ...]]

_HAS_REQUIRE_AUTH = pq.version() >= 160_000
NO_FILE = f"{os.devnull}/none"
# What libpq would else take from the environment or from files of this machine's user.
_NOTHING_FROM_ELSEWHERE = {
    "passfile": os.devnull,
    "sslcert": NO_FILE,
    "options": "",
    "gssencmode": "disable",
    "target_session_attrs": "any",
    "application_name": "nova-admin",
    "client_encoding": "UTF8",
}
# The server's own error in libpq's trace: the _SQLSTATE comes before the text.
_SQLSTATE = re.compile(rb'ErrorResponse\t.*? C "([0-9A-Z]{5})"')
_TRACE_BYTES = 64 * 1024
# libpq's own words, which no server's error can hold that has a _SQLSTATE.
_NOT_AS_REQUIRED = b"authentication method requirement"
# 28: password or pg_hba.conf; 3D: no such database; 42: no right to connect.
_REFUSALS = ("28", "3D", "42")
_EVENTS = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


@dataclass(frozen=True)
class DatabaseLogin:
    """The values of one database login, as the document has them."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)


@contextlib.contextmanager
def open_database(
    login: DatabaseLogin, *, deadline: Deadline, read_only: bool = True
) -> Iterator[DatabaseConnection]:
    """Open a connection at a judged address until the block ends; raises `LoginFailedError`.

    Certificate and name are verified, unless NOVA_LOGIN_UNVERIFIED_DATABASES is set. The password never travels in
    clear text, and a server that doesn't ask for it proves nothing. Errors of statements are psycopg's.
    """
    if not (login.user and login.name and login.password):
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    connection = _connect_to_first(login, deadline)
    try:
        connection.read_only = read_only
        yield connection
    finally:
        connection.close()


def log_in_to_database(login: DatabaseLogin, *, deadline: Deadline) -> None:
    """Log in and select 1, read-only; raises `LoginFailedError`."""
    with open_database(login, deadline=deadline) as connection:
        try:
            connection.execute("SELECT 1")
        except psycopg.Error:
            raise LoginFailedError(LoginOutcome.UNEXPECTED) from None


def _connect_to_first(login: DatabaseLogin, deadline: Deadline) -> DatabaseConnection:
    addresses = resolve_host(login.host, login.port, deadline=deadline)
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            return _connect(login, address, deadline, deadline.seconds_left() / left)
        except LoginFailedError as error:
            if error.outcome != LoginOutcome.UNREACHABLE or left == 1:
                raise
    raise LoginFailedError(LoginOutcome.UNREACHABLE)


def _connect(
    login: DatabaseLogin, address: Address, deadline: Deadline, seconds: float
) -> DatabaseConnection:
    pgconn = pq.PGconn.connect_start(_make_conninfo(login, address).encode())
    try:
        _log_in(pgconn, deadline, seconds)
        pgconn.nonblocking = 1
        deadline.watch_socket(pgconn.socket)
        return psycopg.Connection(pgconn)
    except BaseException:
        pgconn.finish()
        raise


def _log_in(pgconn: PGconn, deadline: Deadline, connect_seconds: float) -> None:
    """Take all the steps of the login; raises `LoginFailedError` by the step that failed and the server's SQLSTATE."""
    with _trace_answers(pgconn) as trace:
        reached = _poll_until_done(pgconn, deadline, connect_seconds)
        if pgconn.status != pq.ConnStatus.OK:
            pgconn.untrace()  # flushes
            answers = os.pread(trace, _TRACE_BYTES, 0)
            code = _find_code(answers)
            outcome = _judge_failure(reached, code, pgconn.error_message)
            raise LoginFailedError(outcome, code=code)


def _make_conninfo(login: DatabaseLogin, address: Address) -> str:
    unverified = settings.NOVA_LOGIN_UNVERIFIED_DATABASES and _HAS_REQUIRE_AUTH
    security = {
        "sslmode": "prefer" if unverified else "verify-full",
        "sslrootcert": NO_FILE if unverified else ca_file(),
    }
    if _HAS_REQUIRE_AUTH:
        # An md5 answer is for verified servers alone: who has it can guess the password fast.
        security["require_auth"] = "scram-sha-256" if unverified else "scram-sha-256,md5"
    return make_conninfo(
        **_NOTHING_FROM_ELSEWHERE,
        **security,
        host=login.host,
        hostaddr=address.text,
        port=address.port,
        dbname=login.name,
        user=login.user,
        password=login.password,
    )


@contextlib.contextmanager
def _trace_answers(pgconn: PGconn) -> Iterator[int]:
    """Have libpq write what the server answers into memory, and yield its descriptor.

    It shows no password, as none is sent in clear text. psycopg keeps the stream that it makes of it, half a kB.
    """
    trace = os.memfd_create("answers")
    pgconn.trace(trace)
    try:
        yield trace
    finally:
        pgconn.untrace()
        os.close(trace)


def _poll_until_done(pgconn: PGconn, deadline: Deadline, connect_seconds: float) -> pq.ConnStatus:
    """Take the steps of a login until it worked or failed; return the last one that it waited in."""
    connect_until = time.monotonic() + connect_seconds
    reached = pq.ConnStatus.STARTED
    while (status := pq.PollingStatus(pgconn.connect_poll())) in _EVENTS:
        reached = pq.ConnStatus(pgconn.status)
        seconds = deadline.seconds_left()
        if reached == pq.ConnStatus.STARTED:
            seconds = min(seconds, connect_until - time.monotonic())
        poll = select.poll()
        poll.register(pgconn.socket, _EVENTS[status])
        if not poll.poll(max(0, seconds) * 1000):
            deadline.seconds_left()
            raise LoginFailedError(LoginOutcome.UNREACHABLE)
    return reached


def _find_code(answers: bytes) -> str:
    """Return the SQLSTATE of the last error in libpq's trace, "" where the server gave none.

    Without TLS there may be two: libpq tries with it first.
    """
    found = _SQLSTATE.findall(answers)
    return found[-1].decode() if found else ""


def _judge_failure(reached: pq.ConnStatus, code: str, own_words: bytes) -> LoginOutcome:
    """Return the outcome by the step that failed and the server's SQLSTATE."""
    if code:
        return LoginOutcome.REFUSED if code[:2] in _REFUSALS else LoginOutcome.UNREACHABLE
    if reached == pq.ConnStatus.SSL_STARTUP:
        return LoginOutcome.TLS_PROBLEM
    if _NOT_AS_REQUIRED in own_words:
        return LoginOutcome.UNSAFE
    if reached == pq.ConnStatus.STARTED:
        return LoginOutcome.UNREACHABLE
    return LoginOutcome.UNEXPECTED
