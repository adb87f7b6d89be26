"""Tries logins: of a database, a mailbox, an AWS key; each ends with an outcome that holds no value.

Knows no row and no client. Servers are reached at judged addresses, within a deadline, and say so many bytes at most.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import imaplib
import logging
import os
import re
import select
import selectors
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn

from migration.core.outgoing import (
    ByteLimitedSocket,
    Deadline,
    LoginFailedError,
    LoginOutcome,
    LoginResult,
    ca_file,
    connect,
    connect_to_first,
    resolve_host,
    start_tls,
    verifying_tls_context,
)
from nova_credentials.aws.identity_request import sign_identity_request
from nova_credentials.credential_types import CredentialType

logger = logging.getLogger(__name__)
Values = Mapping[str, str | int | None]  # by the keys of the document
LOGIN_SECONDS = 15.0
# What is certain of a mailbox hides what another service could not tell: refused by one service is refused, whatever
# the other says; then comes what the row's own values are to blame for.
_BY_CERTAINTY = (
    *(LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE),
    *(LoginOutcome.NOT_TESTABLE, LoginOutcome.NO_SUCH_HOST, LoginOutcome.NOT_ALLOWED),
    *(LoginOutcome.UNSAFE, LoginOutcome.TLS_PROBLEM, LoginOutcome.UNEXPECTED),
    *(LoginOutcome.POOLER, LoginOutcome.UNREACHABLE, LoginOutcome.TIMED_OUT, LoginOutcome.WORKS),
)
PORTS = ("port", "imap_port", "smtp_port")
TEXTS = (
    *("host", "name", "user", "password", "imap_host", "smtp_host", "app_password"),
    *("access_key_id", "secret_access_key", "region"),
)


def try_login(
    credential_type: CredentialType, values: Values, *, deadline_seconds: float = LOGIN_SECONDS
) -> LoginResult:
    """Log in with these values, named as in the document, and return the outcome. Never raises.

    A mailbox is tried by IMAP, then by SMTP, wherever it has a host; both must let it in. Each has an equal share of
    the time left. What one refused is not sent to the other, as servers lock out who is refused too often.
    """
    if not _can_be_sent(values):
        return LoginResult(LoginOutcome.NOT_TESTABLE)
    ends_at = time.monotonic() + deadline_seconds
    services = [""]
    if credential_type == CredentialType.EMAIL:
        services = [name for name in ("imap", "smtp") if values.get(f"{name}_host")]
    results: list[LoginResult] = []
    for left, service in zip(range(len(services), 0, -1), services, strict=True):
        share = max(0.0, ends_at - time.monotonic()) / left
        with Deadline(share) as deadline:
            outcome = _try(credential_type, service, values, deadline)
        results.append(LoginResult(outcome, service))
        if results[-1].outcome == LoginOutcome.REFUSED:
            break
    if results and all(result.works for result in results):
        return LoginResult(LoginOutcome.WORKS)
    return min(
        results,
        key=lambda result: _BY_CERTAINTY.index(result.outcome),
        default=LoginResult(LoginOutcome.NOT_TESTABLE),
    )


def _try(
    credential_type: CredentialType, service: str, values: Values, deadline: Deadline
) -> LoginOutcome:
    try:
        match credential_type:
            case CredentialType.DATABASE:
                log_in_to_database(make_database_login(values), deadline=deadline)
            case CredentialType.EMAIL:
                _log_in_to_mail(service, values, deadline)
            case _:
                _ask_for_identity(values, deadline)
    except LoginFailedError as error:
        outcome = error.outcome
    except OSError:
        outcome = LoginOutcome.UNREACHABLE
    except Exception as error:  # noqa: BLE001 (whatever a server's answers make of the libraries that read them)
        logger.warning("A login test ended with %s", type(error).__name__)
        outcome = LoginOutcome.UNEXPECTED
    else:
        return LoginOutcome.WORKS
    return LoginOutcome.TIMED_OUT if deadline.is_over else outcome


def _can_be_sent(values: Values) -> bool:
    """Say whether these are a login's values: in AWS anything may stand, and a NUL would hide what follows it."""
    texts = (values.get(key) for key in TEXTS)
    ports = (values.get(key) for key in PORTS)
    return all(v is None or (isinstance(v, str) and "\0" not in v) for v in texts) and all(
        v is None or isinstance(v, int) for v in ports
    )


def _text(values: Values, key: str) -> str:
    return str(values.get(key) or "")


def _number(values: Values, key: str) -> int:
    return int(values.get(key) or 0)


# A database, with psycopg. libpq is driven step by step: a whole `connect` has no deadline below two seconds, and its
# errors carry no SQLSTATE. It connects to a relay of this process, which bounds what the server may send.

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


def make_database_login(values: Values) -> DatabaseLogin:
    """Return the database login in these values."""
    return DatabaseLogin(
        host=_text(values, "host"),
        port=_number(values, "port"),
        name=_text(values, "name"),
        user=_text(values, "user"),
        password=_text(values, "password"),
    )


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
    # Without TLS there may be two errors: libpq tries with it first. The last one counts.
    found = _SQLSTATE.findall(answers)
    code = found[-1].decode() if found else ""
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


def _judge_failure(reached: pq.ConnStatus, code: str, own_words: bytes) -> LoginOutcome:
    """Return the outcome by the step that failed and the server's SQLSTATE, "" where it gave none."""
    if code.startswith(_POSTGRES_REFUSALS):
        return LoginOutcome.REFUSED
    if code == _NO_SUCH_DATABASE:
        return LoginOutcome.NO_DATABASE
    if code:
        passing = code.startswith(_PASSING)
        return LoginOutcome.UNREACHABLE if passing else LoginOutcome.UNEXPECTED
    if reached == pq.ConnStatus.SSL_STARTUP:
        return LoginOutcome.TLS_PROBLEM
    if _NOT_AS_REQUIRED in own_words:
        return LoginOutcome.UNSAFE
    if reached == pq.ConnStatus.STARTED:
        return LoginOutcome.UNREACHABLE
    return LoginOutcome.UNEXPECTED


RELAY_HOST = "127.0.0.1"
_PIECE = 16 * 1024
# A relay's thread ends as soon as its sockets are shut; who closes it waits no longer than this.
_END_SECONDS = 1.0


class Relay:
    """A port of this machine that leads to one server; a context manager. Sockets of `connect` are bounded.

    libpq reads into a buffer that grows as long as the server sends, and holds the interpreter's lock while it does: it
    is given this port instead, behind which a thread passes on so many bytes and no more, whatever they say.
    The first connection is made before anybody connects to the port, as its failure is the login's outcome.
    """

    def __init__(self, connect: Callable[[], ByteLimitedSocket]) -> None:
        self.is_overrun = False
        self._connect = connect
        self._server = connect()
        self._is_used = False
        self._listener = socket.create_server((RELAY_HOST, 0), backlog=1)
        self._thread = threading.Thread(target=self._serve, name="login-relay", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that leads to the server."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in (self._listener, self._server):
            with contextlib.suppress(OSError):  # not connected any more
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join(_END_SECONDS)
        self._listener.close()
        self._server.close()

    def _serve(self) -> None:
        """Take one connection after the other: libpq may try a server a second time, without TLS."""
        with contextlib.suppress(OSError, LoginFailedError):
            while True:
                client, _address = self._listener.accept()
                with client:
                    if self._is_used:
                        self._server = self._connect()
                    self._is_used = True
                    with contextlib.closing(self._server):
                        self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        piece = memoryview(bytearray(_PIECE))
        ways: tuple[tuple[socket.socket, socket.socket], ...] = (
            (client, self._server),
            (self._server, client),
        )
        with selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            for source, target in ways:
                ready.register(source, selectors.EVENT_READ, data=(source, target))
            while True:
                for key, _events in ready.select():
                    source, target = key.data
                    try:
                        size = source.recv_into(piece)
                    except LoginFailedError:
                        self.is_overrun = True
                        return
                    if not size:
                        return
                    target.sendall(piece[:size])


# A mailbox, by IMAP and SMTP, over TLS alone. User and password travel in base64, so that no character of theirs can
# end a line and begin a command.

SocketMaker = Callable[[], socket.socket]
IMAP_PORT, SMTP_PORT = 993, 587


class _Start(StrEnum):
    """The moment at which a connection turns to TLS."""

    AT_ONCE = "at_once"
    BY_COMMAND = "by_command"


# On another port the server is tried in both ways.
_STARTS = {
    993: (_Start.AT_ONCE,),
    465: (_Start.AT_ONCE,),
    143: (_Start.BY_COMMAND,),
    587: (_Start.BY_COMMAND,),
    25: (_Start.BY_COMMAND,),
}
# The code at the head of an IMAP server's NO. Of RFC 5530 and of large providers: about user and password, and those
# of a server that can't say now whether they are right.
_IMAP_CODE = re.compile(r"(?:B['\"])?\[([A-Z0-9-]+)")
_REFUSING_CODES = {
    *("", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "ALERT", "WEBALERT"),
}
_PASSING_CODES = {
    *("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN", "THROTTLED", "OVERQUOTA"),
}
_READY, _AUTH_CONTINUES, _AUTH_DONE = 220, 334, 235
# 534: another mechanism, or a password for this application, as Gmail wants it.
_SMTP_REFUSALS = (534, 535)


def _log_in_to_mail(service: str, values: Values, deadline: Deadline) -> None:
    """Log in to the IMAP or SMTP server and out again, without a mail; raises `LoginFailedError`."""
    try_server, usual_port = (_try_imap, IMAP_PORT) if service == "imap" else (_try_smtp, SMTP_PORT)
    host, port = _text(values, f"{service}_host"), _number(values, f"{service}_port") or usual_port
    user, password = _text(values, "user"), _text(values, "app_password")
    if not user or not password or "\0" in user + password:
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    addresses = resolve_host(host, port, deadline=deadline)
    make_socket = partial(connect_to_first, addresses, deadline=deadline)
    starts = _STARTS.get(port, tuple(_Start))
    for start in starts:
        try:
            try_server(make_socket, host, start, user, password)
        except LoginFailedError as error:
            # A wrong certificate is a TLS server's; anything else may be a server that begins without TLS.
            can_go_on = error.outcome == LoginOutcome.TLS_PROBLEM and start != starts[-1]
            if not can_go_on or isinstance(error.__context__, ssl.SSLCertVerificationError):
                raise
        else:
            return


class _Imap(imaplib.IMAP4):
    """An IMAP connection over a socket that connects to a judged address only."""

    def __init__(self, make_socket: SocketMaker, host: str, start: _Start) -> None:
        self._make_socket, self._start = make_socket, start
        super().__init__(host)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        plain = self._make_socket()
        return start_tls(plain, self.host) if self._start == _Start.AT_ONCE else plain


def _try_imap(make_socket: SocketMaker, host: str, start: _Start, user: str, password: str) -> None:
    try:
        imap = _Imap(make_socket, host, start)
    except imaplib.IMAP4.error as error:
        has_no_time = "* BYE" in str(error)
        outcome = LoginOutcome.UNREACHABLE if has_no_time else LoginOutcome.UNEXPECTED
        raise LoginFailedError(outcome) from None
    try:
        if start == _Start.BY_COMMAND:
            _start_imap_tls(imap)
        _authenticate(imap, user, password)
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError, LoginFailedError):
            imap.logout()
        with contextlib.suppress(OSError):
            imap.shutdown()


def _start_imap_tls(imap: _Imap) -> None:
    try:
        imap.starttls(verifying_tls_context())
    except (imaplib.IMAP4.error, ssl.SSLError):  # not offered, or refused
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None


def _authenticate(imap: _Imap, user: str, password: str) -> None:
    if imap.state != "NONAUTH":  # it let us in before it was told who we are
        raise LoginFailedError(LoginOutcome.UNSAFE)
    try:
        if "AUTH=PLAIN" in imap.capabilities:
            imap.authenticate("PLAIN", lambda _challenge: f"\0{user}\0{password}".encode())
        elif "AUTH=LOGIN" in imap.capabilities:
            words = iter((user, password))
            imap.authenticate("LOGIN", lambda _challenge: next(words, "").encode())
        elif "LOGINDISABLED" not in imap.capabilities and _is_plain(user + password):
            imap.login(_quote(user), password)  # it quotes the password itself
        else:
            raise LoginFailedError(LoginOutcome.UNEXPECTED)
    except imaplib.IMAP4.abort:  # the connection ended
        raise LoginFailedError(LoginOutcome.UNREACHABLE) from None
    except imaplib.IMAP4.error as error:
        raise LoginFailedError(_judge_imap_answer(str(error).upper())) from None


def _is_plain(text: str) -> bool:
    """Say whether the text fits into a quoted string of IMAP."""
    return text.isascii() and text.isprintable()


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _judge_imap_answer(answer: str) -> LoginOutcome:
    if "COMMAND ERROR: BAD" in answer:
        return LoginOutcome.UNEXPECTED
    found = _IMAP_CODE.match(answer)
    code = found[1] if found else ""
    if code in _REFUSING_CODES:
        return LoginOutcome.REFUSED
    return LoginOutcome.UNREACHABLE if code in _PASSING_CODES else LoginOutcome.UNEXPECTED


class _Smtp(smtplib.SMTP):
    """An SMTP connection over a socket that connects to a judged address only."""

    def __init__(self, make_socket: SocketMaker, host: str, start: _Start) -> None:
        self._make_socket, self._start = make_socket, start
        # With a name of our own: smtplib would look this machine's up. It connects where a host is given.
        super().__init__(local_hostname="[127.0.0.1]")
        self._host = host

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._make_socket()
        return start_tls(plain, host) if self._start == _Start.AT_ONCE else plain


def _try_smtp(make_socket: SocketMaker, host: str, start: _Start, user: str, password: str) -> None:
    smtp = _Smtp(make_socket, host, start)
    try:
        code, _greeting = smtp.connect(host, smtplib.SMTP_PORT)
        if code != _READY:
            raise LoginFailedError(_judge_smtp_answer(code))
        if start == _Start.BY_COMMAND:
            _start_smtp_tls(smtp)
        smtp.ehlo_or_helo_if_needed()
        if (code := _send_smtp_login(smtp, user, password)) != _AUTH_DONE:
            raise LoginFailedError(_judge_smtp_answer(code))
        with contextlib.suppress(smtplib.SMTPException, OSError, LoginFailedError):
            smtp.quit()
    except smtplib.SMTPServerDisconnected:
        raise LoginFailedError(LoginOutcome.UNREACHABLE) from None
    except smtplib.SMTPResponseException as error:  # to EHLO
        raise LoginFailedError(_judge_smtp_answer(error.smtp_code)) from None
    except smtplib.SMTPException:
        raise LoginFailedError(LoginOutcome.UNEXPECTED) from None
    finally:
        smtp.close()


def _start_smtp_tls(smtp: _Smtp) -> None:
    try:
        smtp.starttls(context=verifying_tls_context())
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPResponseException as error:
        if _is_passing(error.smtp_code):
            raise
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None
    except (smtplib.SMTPException, ssl.SSLError):  # not offered
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None


def _send_smtp_login(smtp: _Smtp, user: str, password: str) -> int:
    """Send the login and return the code of the last answer."""
    mechanisms = smtp.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in mechanisms:
        words = [f"\0{user}\0{password}"]
    elif "LOGIN" in mechanisms:
        words = [user, password]
    else:
        raise LoginFailedError(LoginOutcome.UNEXPECTED)
    code, _answer = smtp.docmd("AUTH", "PLAIN" if len(words) == 1 else "LOGIN")
    for word in words:
        if code != _AUTH_CONTINUES:
            break
        code, _answer = smtp.docmd(base64.b64encode(word.encode()).decode())
    return code


def _judge_smtp_answer(code: int) -> LoginOutcome:
    if code in _SMTP_REFUSALS:
        return LoginOutcome.REFUSED
    return LoginOutcome.UNREACHABLE if _is_passing(code) else LoginOutcome.UNEXPECTED


def _is_passing(code: int) -> bool:
    return 400 <= code < 500


# An AWS key: AWS is asked whose it is.

MOST_CHARACTERS = 64 * 1024
# AWS refuses what was signed more than five minutes ago; then it is this machine's clock that is wrong.
CLOCK_SECONDS = 240
_CODE = re.compile(r"<Code>(\w+)</Code>")
_AWS_REFUSALS = {
    *("InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
    *("AccessDenied", "ExpiredToken", "OptInRequired"),
}
_DEFAULT_PORTS = {"https": 443, "http": 80}


def _ask_for_identity(values: Values, deadline: Deadline) -> None:
    """Call sts:GetCallerIdentity in the key's region; raises `LoginFailedError`.

    Neither the environment nor this machine's role can stand in for the key: the request is signed with it alone.
    """
    request = sign_identity_request(
        access_key_id=_text(values, "access_key_id"),
        secret_access_key=_text(values, "secret_access_key"),
        region=_text(values, "region") or settings.AWS_REGION,
        endpoint=settings.AWS_IDENTITY_ENDPOINT,
    )
    if request is None:
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    url = urlsplit(request.url)
    host, port = url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme]
    # AWS's own name, not one from a row. A private address is a VPC endpoint.
    addresses = resolve_host(host, port, deadline=deadline, private_allowed=True)
    connection = http.client.HTTPConnection(host, port)
    plain: socket.socket = connect_to_first(addresses, deadline=deadline)
    try:
        connection.sock = start_tls(plain, host) if url.scheme == "https" else plain
        connection.request("POST", url.path or "/", request.body, request.headers)
        answer = connection.getresponse()
        text = answer.read(MOST_CHARACTERS).decode(errors="replace")
    except http.client.HTTPException:
        raise LoginFailedError(LoginOutcome.UNEXPECTED) from None
    finally:
        connection.close()
        plain.close()
    if answer.status != http.HTTPStatus.OK:
        raise LoginFailedError(_judge_refusal(answer, text))
    if "GetCallerIdentityResult" not in text:
        raise LoginFailedError(LoginOutcome.UNEXPECTED)


def _judge_refusal(answer: http.client.HTTPResponse, text: str) -> LoginOutcome:
    found = _CODE.search(text)
    if found and found[1] in _AWS_REFUSALS:
        return LoginOutcome.UNEXPECTED if _clocks_differ(answer) else LoginOutcome.REFUSED
    passing = answer.status >= 500 or (found and "Throttl" in found[1])
    return LoginOutcome.UNREACHABLE if passing else LoginOutcome.UNEXPECTED


def _clocks_differ(answer: http.client.HTTPResponse) -> bool:
    try:
        told = parsedate_to_datetime(answer.headers["Date"])
    except (TypeError, ValueError):
        return False
    return abs((told - datetime.now(UTC)).total_seconds()) > CLOCK_SECONDS
