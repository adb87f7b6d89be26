"""Runs the demo's mail server (IMAP and SMTP) and TLS before its PostgreSQL, for the logins of some of its clients.

All listen on the loopback address, on ports that were free. Knows no client and no Django.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from psycopg.conninfo import conninfo_to_dict

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MayLogIn = Callable[[str, str], bool]

LOOPBACK = "127.0.0.1"
# What clients' rows name. No resolver is asked for them: the site has the ports, and whose host they are (`Places`).
MAIL_HOST, DATABASE_HOST = "mail.localhost", "postgres.localhost"
IMAP_PORT, SMTP_PORT, DATABASE_PORT = 993, 465, 5432
_START_SECONDS = 10.0
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")

# Host and port of a login -> the port of this machine behind them.
Places = dict[tuple[str, int], int]


@dataclass(frozen=True)
class ClientServers:
    """The servers that run: where they are, and the file of the authorities that their certificates need."""

    places: Places
    authorities: Path


@contextmanager
def run_client_servers(
    folder: Path, *, database: str, may_log_in: MayLogIn, trusted: Path
) -> Iterator[ClientServers]:
    """Run the servers until the block ends, on an event loop in a thread of its own.

    `database` is the URI of a PostgreSQL at a socket; `may_log_in` judges user and password of a mailbox. A file in the
    folder gets the authorities in `trusted` and that of these servers, whose key is nowhere else.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(MAIL_HOST, DATABASE_HOST).configure_cert(context)
    authorities = folder / "authorities.pem"
    authorities.write_bytes(trusted.read_bytes() + b"\n" + authority.cert_pem.bytes())

    loop = asyncio.new_event_loop()
    # Somebody went away in the middle of a line: nothing that the demo should tell.
    loop.set_exception_handler(lambda *_: None)
    thread = threading.Thread(target=loop.run_forever, name="client-servers", daemon=True)
    thread.start()

    def listen(starting: Coroutine[Any, Any, asyncio.Server]) -> int:
        server = asyncio.run_coroutine_threadsafe(starting, loop).result(_START_SECONDS)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def start(serve: Serve, tls: ssl.SSLContext | None) -> Coroutine[Any, Any, asyncio.Server]:
        return asyncio.start_server(_guarded(serve), LOOPBACK, 0, ssl=tls)

    try:
        places = {
            (MAIL_HOST, IMAP_PORT): listen(start(make_imap(may_log_in), context)),
            (MAIL_HOST, SMTP_PORT): listen(
                loop.create_server(lambda: _make_smtp(may_log_in, loop), LOOPBACK, 0, ssl=context)
            ),
            (DATABASE_HOST, DATABASE_PORT): listen(start(put_tls_before(database, context), None)),
        }
        yield ClientServers(places, authorities)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_SECONDS)


def _guarded(serve: Serve) -> Serve:
    """Close the connection afterwards, whatever its other end did."""

    async def serve_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # ValueError: a line without an end.
        with closing(writer), suppress(OSError, EOFError, ValueError):
            await serve(reader, writer)

    return serve_and_close


def make_imap(may_log_in: MayLogIn) -> Serve:
    """Return what serves IMAP as far as a login goes: there is no mail to read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK The demo's mail server\r\n")
        while words := (await reader.readline()).split(maxsplit=2):
            tag, command = words[0], b"".join(words[1:2]).upper()
            answer = b"OK done"
            if command == b"CAPABILITY":
                writer.write(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n")
            elif command == b"AUTHENTICATE":
                writer.write(b"+ \r\n")
                right = may_log_in(*_read_plain(await reader.readline()))
                answer = b"OK welcome" if right else b"NO [AUTHENTICATIONFAILED] wrong"
            elif command == b"LOGOUT":
                writer.write(b"* BYE\r\n")
            else:
                answer = b"BAD unknown"
            writer.write(tag + b" " + answer + b"\r\n")
            await writer.drain()

    return serve


def _read_plain(line: bytes) -> tuple[str, str]:
    """Return user and password of SASL's PLAIN; empty ones where the line has none."""
    try:
        _for, user, password = base64.b64decode(line.strip()).decode().split("\0")
    except (binascii.Error, ValueError):
        return "", ""
    return user, password


def _make_smtp(may_log_in: MayLogIn, loop: asyncio.AbstractEventLoop) -> SMTP:
    """Return the protocol of one SMTP connection, within TLS: it takes mails of who logs in, and drops them."""

    def authenticate(
        _server: object, _session: object, _envelope: object, _how: str, data: object
    ) -> AuthResult:
        right = isinstance(data, LoginPassword) and may_log_in(
            data.login.decode(errors="replace"), data.password.decode(errors="replace")
        )
        return AuthResult(success=right, handled=False)

    return SMTP(
        None,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=False,  # it would look for STARTTLS
        hostname=MAIL_HOST,
        loop=loop,
    )


def put_tls_before(database: str, context: ssl.SSLContext) -> Serve:
    """Return what takes PostgreSQL's connections with TLS, and passes them on to the server at the URI's socket."""
    place = conninfo_to_dict(database)
    path = f"{place['host']}/.s.PGSQL.{place['port']}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
            return  # no password goes there in clear text
        writer.write(b"S")
        await writer.start_tls(context)
        from_server, to_server = await asyncio.open_unix_connection(path)
        with closing(to_server):
            back = asyncio.ensure_future(_pass_on(from_server, writer))
            await _pass_on(reader, to_server)
        await back

    return serve


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65_536):
        writer.write(some)
        await writer.drain()
