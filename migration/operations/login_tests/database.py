"""Logs in to a client's database with psycopg, at a judged address. Knows no row and no client.

libpq is driven step by step: a whole `connect` has no deadline below two seconds, and its errors carry no SQLSTATE.
It connects to a relay of this process, which bounds what the server may send.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.conf import settings
from psycopg import pq
from psycopg.conninfo import make_conninfo

from migration.core.outgoing import LoginFailedError, LoginOutcome, ca_file, connect, resolve_host
from migration.operations.login_tests.relays import RELAY_HOST, Relay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn

    from migration.core.outgoing import Deadline

    DatabaseConnection = psycopg.Connection[tuple[Any, ...]]

_HAS_REQUIRE_AUTH = pq.version() >= 160_000
NO_FILE = f"{os.devnull}/none"
# All that libpq would else take from the environment or from files of this machine's user, as it is without them.
_NOTHING_FROM_ELSEWHERE = {
    "passfile": os.devnull,
    "sslcert": NO_FILE,
    "sslkey": "",
    "sslcertmode": "disable",
    "sslcrl": NO_FILE,
    "sslcrldir": "",
    "sslsni": "1",
    "sslcompression": "0",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "sslnegotiation": "postgres",
    "channel_binding": "prefer",
    "requirepeer": "",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "gssencmode": "disable",
    "krbsrvname": "postgres",
    "gsslib": "gssapi",
    "gssdelegation": "0",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "connect_timeout": "0",
    "options": "",
    "application_name": "nova-admin",
    "client_encoding": "UTF8",
}
_KNOWN = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
_PINNED = {key: value for key, value in _NOTHING_FROM_ELSEWHERE.items() if key in _KNOWN}
# What no parameter overrides. `PGSERVICE` names a set of parameters (the settings refuse it at the start); libpq asks
# the server for the others in every connection, and some servers and poolers refuse them.
UNPINNED_VARIABLES = ("PGSERVICE", "PGDATESTYLE", "PGTZ", "PGGEQO")
# The server's own error in libpq's trace: the SQLSTATE comes before the text.
_SQLSTATE = re.compile(rb'ErrorResponse\t.*? C "([0-9A-Z]{5})"')
# PgBouncer's words where it refuses who logs in. It says 08P01 of nearly everything, also of a server that is gone.
_POOLER_REFUSES = re.compile(
    rb'ErrorResponse\t.*? C "08P01" M "(?:password|SASL|PAM) authentication failed"'
)
# libpq's own words, which no server's error can hold that has a SQLSTATE.
_NOT_AS_REQUIRED = b"authentication method requirement"
# By the SQLSTATE or its class. 28: user, password or pg_hba.conf; 42501: no right to connect.
_POSTGRES_REFUSALS = ("28", "42501")
_NO_SUCH_DATABASE = "3D000"
# Connection, resources, a prerequisite (a database that takes no connections), operators, the system.
_PASSING = ("08", "53", "55", "57", "58")
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
def open_database(login: DatabaseLogin, *, deadline: Deadline) -> Iterator[DatabaseConnection]:
    """Open a read-only connection at a judged address until the block ends; raises `LoginFailedError`.

    Certificate and name are verified, unless NOVA_LOGIN_UNVERIFIED_DATABASES is set. The password never travels in
    clear text, and a server that doesn't ask for it proves nothing. Errors of statements are psycopg's.
    """
    if not (login.user and login.name and login.password):
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    with contextlib.ExitStack() as ways:
        connection = _connect_to_first(login, deadline, ways)
        try:
            connection.read_only = True
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


def _connect_to_first(
    login: DatabaseLogin, deadline: Deadline, ways: contextlib.ExitStack
) -> DatabaseConnection:
    """Log in at the first address that takes logins now; `ways` ends what leads there."""
    addresses = resolve_host(login.host, login.port, deadline=deadline)
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        with contextlib.ExitStack() as way:
            try:
                relay = Relay(partial(connect, address, deadline=deadline, share=1 / left))
                connected = _connect(login, way.enter_context(relay), deadline)
            except LoginFailedError as error:
                deadline.require_seconds_left()
                if error.outcome != LoginOutcome.UNREACHABLE or left == 1:
                    raise
            else:
                ways.enter_context(way.pop_all())
                return connected
    raise LoginFailedError(LoginOutcome.UNREACHABLE)


def _connect(login: DatabaseLogin, relay: Relay, deadline: Deadline) -> DatabaseConnection:
    for name in UNPINNED_VARIABLES:
        os.environ.pop(name, None)
    pgconn = pq.PGconn.connect_start(_make_conninfo(login, relay.port).encode())
    try:
        _log_in(pgconn, relay, deadline)
        pgconn.nonblocking = 1
        return psycopg.Connection(pgconn)
    except BaseException:
        pgconn.finish()
        raise


def _log_in(pgconn: PGconn, relay: Relay, deadline: Deadline) -> None:
    """Take all the steps of the login; raises `LoginFailedError` by the step that failed and the server's SQLSTATE."""
    with _trace_answers(pgconn) as trace:
        reached = _poll_until_done(pgconn, deadline)
        if pgconn.status == pq.ConnStatus.OK:
            return
        pgconn.untrace()  # flushes
        answers = os.pread(trace, os.fstat(trace).st_size, 0)
    if relay.is_overrun:
        raise LoginFailedError(LoginOutcome.UNEXPECTED)
    code = _find_code(answers)
    if _POOLER_REFUSES.search(answers):
        raise LoginFailedError(LoginOutcome.POOLER, code=code)
    raise LoginFailedError(_judge_failure(reached, code, pgconn.error_message), code=code)


def _make_conninfo(login: DatabaseLogin, port: int) -> str:
    unverified = settings.NOVA_LOGIN_UNVERIFIED_DATABASES and _HAS_REQUIRE_AUTH
    security = {
        "sslmode": "prefer" if unverified else "verify-full",
        "sslrootcert": NO_FILE if unverified else ca_file(),
    }
    if _HAS_REQUIRE_AUTH:
        # An md5 answer is for verified servers alone: who has it can guess the password fast.
        security["require_auth"] = "scram-sha-256" if unverified else "scram-sha-256,md5"
    return make_conninfo(
        **_PINNED,
        **security,
        host=login.host,  # the name that its certificate has to be of
        hostaddr=RELAY_HOST,
        port=port,
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


def _poll_until_done(pgconn: PGconn, deadline: Deadline) -> pq.ConnStatus:
    """Take the steps of a login until it worked or failed; return the last one that it waited in."""
    reached = pq.ConnStatus.STARTED
    while (status := pq.PollingStatus(pgconn.connect_poll())) in _EVENTS:
        reached = pq.ConnStatus(pgconn.status)
        poll = select.poll()
        poll.register(pgconn.socket, _EVENTS[status])
        poll.poll(deadline.require_seconds_left() * 1000)
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
        return _judge_code(code)
    if reached == pq.ConnStatus.SSL_STARTUP:
        return LoginOutcome.TLS_PROBLEM
    if _NOT_AS_REQUIRED in own_words:
        return LoginOutcome.UNSAFE
    if reached == pq.ConnStatus.STARTED:
        return LoginOutcome.UNREACHABLE
    return LoginOutcome.UNEXPECTED


def _judge_code(code: str) -> LoginOutcome:
    if code.startswith(_POSTGRES_REFUSALS):
        return LoginOutcome.REFUSED
    if code == _NO_SUCH_DATABASE:
        return LoginOutcome.NO_DATABASE
    return LoginOutcome.UNREACHABLE if code.startswith(_PASSING) else LoginOutcome.UNEXPECTED
