"""A database's server that sends without end fills no memory: the login ends, and most of it is never read."""

import asyncio
import struct
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from migration.core.outgoing import Deadline, LoginOutcome
from migration.logins.attempts import make_database_login, open_database, try_login
from nova_credentials.credential_types import CredentialType
from tests.migration.logins.tests.servers import HOST, PASSWORD, USER, postgres_message

MEGABYTE = 2**20
SENT = 96 * MEGABYTE
# What the kernel takes for a reader that reads no more.
IN_THE_KERNEL = 24 * MEGABYTE

AUTH_OK = postgres_message(b"R", struct.pack("!i", 0))
QUERY = b"Q\0\0\0"
ONE_COLUMN = postgres_message(
    b"T", struct.pack("!h", 1) + b"one\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
)
NOTICE = postgres_message(b"N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 1000 + b"\0\0")
ROW = postgres_message(b"D", struct.pack("!hi", 1, 1000) + b"x" * 1000)


def begin(kind):
    """The head of a message of a gigabyte."""
    return kind + struct.pack("!i", 2**30)


class Flood:
    """A server that lets us in as the real one does, and sends without end after a text of either side."""

    def __init__(self, servers, behind, after, first, piece):
        place = conninfo_to_dict(behind)
        self.path = f"{place['host']}/.s.PGSQL.{place['port']}"
        self.tls = servers.certificates.right
        self.after, self.first, self.piece = after, first, piece
        self.sent = 0

    async def handle(self, reader, writer):
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.start_tls(self.tls)
        its_reader, its_writer = await asyncio.open_unix_connection(self.path)
        with closing(its_writer):
            ways = [self.pass_on(reader, its_writer), self.pass_on(its_reader, writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        await self.pour(writer)

    async def pass_on(self, reader, writer):
        while some := await reader.read(65536):
            before, found, _after = some.partition(self.after)
            writer.write(before + found if self.after == AUTH_OK else before)
            if found:
                return

    async def pour(self, writer):
        writer.write(self.first)
        while self.sent < SENT:
            writer.write(self.piece * (65536 // len(self.piece)))
            self.sent += 65536
            await writer.drain()


@pytest.fixture
def flood(servers, scram_server):
    def start(*how):
        flood = Flood(servers, scram_server, *how)
        return servers.serve(flood.handle), flood

    return start


def peak():
    """The most memory that this process had since `forget_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def make_values(port):
    return {
        "host": HOST,
        "port": port,
        "name": "postgres",
        "user": USER,
        "password": f" {PASSWORD} ",
    }


@pytest.mark.parametrize(
    ("after", "first", "piece"),
    [
        (AUTH_OK, b"", NOTICE),
        (AUTH_OK, begin(b"N"), b"x"),
        (AUTH_OK, begin(b"E"), b"x"),
        (QUERY, b"", NOTICE),
        (QUERY, ONE_COLUMN, ROW),
        (QUERY, ONE_COLUMN + begin(b"D"), b"x"),
        (QUERY, begin(b"E"), b"x"),
    ],
    ids=["notices", "a notice", "an error", "more notices", "rows", "a row", "an error later"],
)
def test_an_answer_without_end_is_not_read(flood, after, first, piece):
    port, server = flood(after, first, piece)
    forget_peak()
    before = peak()

    result = try_login(CredentialType.DATABASE, make_values(port), deadline_seconds=60)

    assert result.outcome == LoginOutcome.UNEXPECTED
    assert 0 < server.sent < IN_THE_KERNEL
    assert peak() - before < IN_THE_KERNEL


def test_who_keeps_the_connection_is_protected_too(flood):
    port, server = flood(QUERY, ONE_COLUMN, ROW)

    with (
        Deadline(60) as deadline,
        open_database(make_database_login(make_values(port)), deadline=deadline) as connection,
        pytest.raises(psycopg.OperationalError),
    ):
        connection.execute("SELECT 1")
    assert 0 < server.sent < IN_THE_KERNEL
