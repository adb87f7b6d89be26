"""Servers on the loopback that logins are tried at: IMAP, SMTP, TLS before a PostgreSQL, and what misbehaves."""

import asyncio
import base64
import datetime as dt
import struct
import threading
from contextlib import closing, suppress

import psycopg
import trustme
from aiosmtpd.smtp import SMTP, AuthResult

from nova_admin.embedded import postgres
from nova_admin.embedded.client_servers import put_tls_before
from tests.settings import SCRATCH

USER, PASSWORD = "ana", 'pass "wörd" \\ 1'
HOST = "127.0.0.1"
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Certificates:
    """One authority, and the contexts of servers whose certificates are right, expired, or of another name."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.file = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.file)
        expired = {"not_before": LONG_AGO, "not_after": LONG_AGO + dt.timedelta(days=9)}
        self.right = self._make_context(authority.issue_cert(HOST, "localhost"))
        self.expired = self._make_context(authority.issue_cert(HOST, **expired))
        self.of_another = self._make_context(authority.issue_cert("other.example"))
        self.of_nobody = self._make_context(trustme.CA().issue_cert(HOST))

    def _make_context(self, cert):
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert.configure_cert(context)
        return context


class Servers:
    """Starts servers on one event loop in a thread of its own; each gives its port and lives until the end."""

    def __init__(self, certificates):
        self.certificates = certificates
        self.heard = []  # what was sent as a login before there was TLS
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # connections break on purpose
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._servers = []

    def stop(self):
        async def end():
            for server in self._servers:
                server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.1)  # what is closed is told so

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self, starting):
        server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    def serve(self, handle, *, tls=None):
        """Serve each connection by the coroutine function `handle(reader, writer)`."""

        async def handle_safely(reader, writer):
            with closing(writer), suppress(OSError, EOFError, asyncio.IncompleteReadError):
                await handle(reader, writer)

        return self._start(asyncio.start_server(handle_safely, HOST, 0, ssl=tls))

    def smtp(self, *, tls="right", at_once=False, **options):
        """An SMTP server; without `tls` it offers none."""
        context = getattr(self.certificates, tls) if tls else None

        def check(server, session, envelope, mechanism, data):
            if session.ssl is None and not at_once:
                self.heard.append(mechanism)
            right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
            return AuthResult(success=right, handled=False)

        def make():
            return SMTP(
                None,
                authenticator=check,
                tls_context=None if at_once else context,
                auth_require_tls=not at_once,
                loop=self._loop,
                **options,
            )

        return self._start(
            self._loop.create_server(make, HOST, 0, ssl=context if at_once else None)
        )

    def imap(self, *, tls="right", at_once=True, **options):
        context = getattr(self.certificates, tls) if tls else None
        imap = Imap(self, None if at_once else context, **options)
        return self.serve(imap.handle, tls=context if at_once else None)

    def database(self, tls="right", *, behind):
        """TLS before the PostgreSQL whose URI `behind` is."""
        return self.serve(put_tls_before(behind, getattr(self.certificates, tls)))


class Imap:
    """A small IMAP server. `capabilities`, `answer` to a login, `greeting`, and `more` after the greeting."""

    def __init__(
        self,
        servers,
        tls,
        *,
        capabilities="AUTH=PLAIN",
        refusal=b"NO [AUTHENTICATIONFAILED] no",
        greeting=b"* OK hello\r\n",
        more=b"",
    ):
        self.servers, self.tls, self.capabilities = servers, tls, capabilities
        self.refusal, self.greeting, self.more = refusal, greeting, more

    async def handle(self, reader, writer):
        writer.write(self.greeting + self.more)
        secure = self.tls is None
        while line := await reader.readline():
            tag, command, *words = line.split(maxsplit=2)
            answer = b"OK done"
            if command == b"CAPABILITY":
                offered = self.capabilities if secure else "STARTTLS AUTH=PLAIN"
                writer.write(f"* CAPABILITY IMAP4rev1 {offered}\r\n".encode())
            elif command == b"STARTTLS":
                writer.write(tag + b" OK go\r\n")
                await writer.start_tls(self.tls)
                secure = True
                continue
            elif command in (b"AUTHENTICATE", b"LOGIN"):
                if not secure:
                    self.servers.heard.append(command)
                right = await self.ask(command, words, reader, writer)
                answer = b"OK welcome" if right else self.refusal
            elif command == b"LOGOUT":
                writer.write(b"* BYE\r\n")
            writer.write(tag + b" " + answer + b"\r\n")

    async def ask(self, command, words, reader, writer):
        if command == b"LOGIN":
            return words == [b'"ana" "plain \\"one\\""\r\n']
        asked = []
        for _word in range(2 if b"LOGIN" in words[0] else 1):
            writer.write(b"+ \r\n")
            asked.append(base64.b64decode(await reader.readline()).decode())
        return asked in ([f"\0{USER}\0{PASSWORD}"], [USER, PASSWORD])


async def never_answer(reader, writer):
    await asyncio.sleep(30)


async def dribble(reader, writer):
    """Send a byte a second, as if an endless greeting began."""
    for _second in range(30):
        writer.write(b"*")
        await asyncio.sleep(0.1)


def postgres_message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


def speak_postgres(*messages, tls=None):
    """Make a server that answers every start of a PostgreSQL connection with these messages."""

    async def handle(reader, writer):
        size = struct.unpack("!i", await reader.readexactly(4))[0]
        start = await reader.readexactly(size - 4)
        if size == 8 and tls:
            writer.write(b"S")
            await writer.start_tls(tls)
            size = struct.unpack("!i", await reader.readexactly(4))[0]
            await reader.readexactly(size - 4)
        elif size == 8:
            writer.write(b"N")
            size = struct.unpack("!i", await reader.readexactly(4))[0]
            await reader.readexactly(size - 4)
        assert start
        writer.write(b"".join(messages))
        await reader.read(1000)

    return handle


def make_error(sqlstate, text="no"):
    fields = f"SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0".encode()
    return postgres_message(b"E", fields)


CLEAR_TEXT = postgres_message(b"R", struct.pack("!i", 3))
TRUST = postgres_message(b"R", struct.pack("!i", 0))


def start_scram_server():
    """Start, or join, the PostgreSQL that asks everybody but its owner for a password; return its URI."""
    folder = SCRATCH / "login"  # not in /tmp: another test run shuts its folder there
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    uri = postgres.start_server(folder, settings={"fsync": "off", "hba_file": str(rules)})
    with psycopg.connect(uri, autocommit=True) as server, suppress(psycopg.errors.DuplicateObject):
        server.execute(f"CREATE ROLE {USER} LOGIN PASSWORD $$ {PASSWORD} $$")
    return uri
