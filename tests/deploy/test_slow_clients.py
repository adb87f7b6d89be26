"""Clients that send slowly, for ever or wrongly, against gunicorn with the site's configuration."""

import errno
import hashlib
import http.client
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future
from contextlib import ExitStack, closing
from itertools import product
from threading import Event, Thread

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from nova_admin import web_server
from nova_admin.embedded import run_while_parent_lives
from nova_admin.web_server import ClientSocket, Gathering, GatheringWorker, cut
from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.deploy.test_plain_folder import find_free_port

SECONDS = 3.0
HEAD = b"Host: example.invalid\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server with one process of four threads."""
    port, log = find_free_port(), tmp_path_factory.mktemp("server") / "log"
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "BIND_ADDRESS": "127.0.0.1",
        "WEB_CONCURRENCY": "1",
        "REQUEST_SECONDS": str(SECONDS),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        *(sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid())),
        *(sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"),
        "tests.deploy.echo",
    ]
    with log.open("w") as written:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=written, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    ask(port)
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise AssertionError(log.read_text())
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT_SECONDS)
    # gunicorn itself tells of a malformed chunk.
    assert 'web_server.py", line' not in log.read_text()


def ask(port: int, method: str = "GET", body=None, **headers: str) -> dict:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, "/", body, headers, encode_chunked=not hasattr(body, "__len__"))
        answer = connection.getresponse()
        assert answer.status == 200
        read = answer.read()
        return json.loads(read) if read else {}


def connect(stack: ExitStack, port: int, sent: bytes) -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
    client.sendall(sent)
    return client


SLOW = {
    "long body": b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000\r\n\r\nab",
    "body in chunks": b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nab",
    "head": b"GET / HTTP/1.1\r\nHost: exam",
    "GET with a body": b"GET / HTTP/1.1\r\n" + HEAD + b"Content-Length: 10\r\n\r\nab",
    "HEAD with a body": b"HEAD / HTTP/1.1\r\n" + HEAD + b"Content-Length: 10\r\n\r\nab",
    "nothing": b"",
}


def test_slow_clients_of_every_kind_hold_nobody_and_are_ended(port):
    with ExitStack() as stack:
        slow = [(kind, connect(stack, port, SLOW[kind])) for kind in SLOW for _ in range(40)]
        began = time.monotonic()
        assert ask(port)["method"] == "GET"
        assert time.monotonic() - began < 1
        # Each byte in time for one read keeps no request alive.
        while time.monotonic() - began < SECONDS - 1:
            for kind, client in slow:
                client.sendall(b"a" if kind != "nothing" else b"")
            time.sleep(0.5)
        answers = [(kind, client.recv(100)[:13]) for kind, client in slow]
        took = time.monotonic() - began

    assert SECONDS - 1 < took < SECONDS + 5
    ended = b"HTTP/1.1 408 "
    assert set(answers) == {(kind, b"" if kind == "nothing" else ended) for kind in SLOW}


def test_with_more_than_are_gathered_the_oldest_gives_way(port):
    with ExitStack() as stack:
        oldest = connect(stack, port, SLOW["head"])
        for _ in range(web_server.MOST_GATHERED):
            connect(stack, port, b"G")
        assert oldest.recv(100) == b""
        assert ask(port)["method"] == "GET"


def test_who_takes_no_answer_holds_no_thread(port):
    with ExitStack() as stack:
        for _ in range(5):  # one more than there are threads
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /large HTTP/1.1\r\n" + HEAD + b"\r\n")
        began = time.monotonic()
        ask(port)
        assert time.monotonic() - began < 2 * SECONDS + 5


def test_who_takes_a_page_slowly_holds_no_thread(port):
    with ExitStack() as stack:
        for _ in range(9):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # As over a network: the loopback's long segments have the system keep more by itself.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /page HTTP/1.1\r\n" + HEAD + b"\r\n")
        began = time.monotonic()
        ask(port)
        assert time.monotonic() - began < SECONDS


def test_a_thread_waits_for_a_slow_reader_so_long_in_all(monkeypatch):
    monkeypatch.setattr(web_server, "SECONDS", 1.0)
    server, client = socket.socketpair()
    with closing(ClientSocket(fileno=server.detach())) as own, closing(client):
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        own.setblocking(True)

        def take_slowly() -> None:
            while not ended.wait(0.3):
                client.recv(2000)

        ended, drip = Event(), Thread(target=take_slowly)
        drip.start()
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            deque((own.sendall(b"x" * 2000) for _ in range(30)), maxlen=0)
        assert time.monotonic() - began < 6
        ended.set()
        drip.join()


class Queue(GatheringWorker):
    """A worker all of whose threads have something to do."""

    def enqueue_req(self, conn):
        self.queued.append(conn)


@pytest.fixture
def worker():
    busy = Queue(1, os.getpid(), [], None, 30, Config(), None)
    busy.queued = []
    with closing(selectors.DefaultSelector()) as busy.poller, closing(busy.tmp):
        yield busy
        for conn in [*busy._gathering, *busy.queued]:
            conn.close()


def receive(worker, sent: bytes) -> bool:
    """Have the worker take in what a new client sends; say whether that now waits for a thread."""
    before = len(worker.queued)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as client,
    ):
        worker.accept(listener)
        conn = list(worker._gathering)[-1]
        for at in range(0, len(sent), 20_000):
            client.sendall(sent[at : at + 20_000])
            sent_so_far = min(at + 20_000, len(sent))
            while len(getattr(worker._gathering.get(conn), "received", sent)) < sent_so_far:
                assert select.select([conn.sock], [], [], 10)[0]
                worker._receive(conn, conn.sock)
            if conn not in worker._gathering:
                break
    return len(worker.queued) > before


def test_a_byte_in_time_gives_a_request_no_more_of_it(worker):
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as client,
    ):
        worker.accept(listener)
        ((conn, gathering),) = worker._gathering.items()
        ends_at = gathering.ends_at
        client.sendall(b"G")
        assert select.select([conn.sock], [], [], 10)[0]
        worker._receive(conn, conn.sock)

        assert (bytes(gathering.received), gathering.ends_at) == (b"G", ends_at)


def test_what_waits_for_a_thread_counts_among_what_is_gathered(worker, monkeypatch):
    monkeypatch.setattr(web_server, "MOST_TOGETHER", 300_000)
    large = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000

    assert receive(worker, large)
    assert not receive(worker, large)
    assert receive(worker, b"GET / HTTP/1.1\r\n\r\n")
    answered = Future()
    answered.set_result(False)
    worker.finish_request(worker.queued[0], answered)
    assert receive(worker, large)


class NoFilesLeft:
    def accept(self):
        raise OSError(errno.EMFILE, "too many open files")


def test_a_worker_without_files_ends_the_oldest_request_and_lives(worker):
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        oldest = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=10))
        worker.accept(listener)
        worker.accept(NoFilesLeft())
        assert oldest.recv(100) == b""
        worker.accept(NoFilesLeft())


def test_a_body_arrives_whole(port):
    lengths = (0, 1, 8191, 8192, 8193)
    for method, length in (*product(("POST", "GET"), lengths), ("POST", 10_000_000)):
        body = os.urandom(length)
        wanted = {"method": method, "length": length, "digest": hashlib.sha256(body).hexdigest()}

        assert ask(port, method, body) == wanted
        pieces = (body[at : at + 70_000] for at in range(0, length, 70_000))
        assert ask(port, method, pieces, **{"Transfer-Encoding": "chunked"}) == wanted


def test_a_body_that_is_announced_is_asked_for(port):
    with ExitStack() as stack:
        head = b"POST / HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        client = connect(stack, port, head)
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert b'"length": 2' in read_answers(client)


def read_answers(client: socket.socket, number: int = 1) -> bytes:
    read = b""
    while read.count(b'"digest"') < number:
        read += client.recv(65536)
    return read


def test_a_connection_is_used_again_and_requests_may_come_at_once(port):
    one = b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n%s"
    with ExitStack() as stack:
        client = connect(stack, port, one % (1, b"a"))
        assert b'"length": 1' in read_answers(client)
        client.sendall(one % (2, b"ab") + one % (3, b"abc") + b"GET / HT")
        answers = read_answers(client, 2)
        assert b'"length": 2' in answers
        assert b'"length": 3' in answers
        client.sendall(b"TP/1.1\r\n" + HEAD + b"\r\n")
        assert b'"length": 0' in read_answers(client)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 40000000\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_request_is_answered_at_once(port, sent, status):
    with ExitStack() as stack:
        assert connect(stack, port, sent).recv(100).split(b" ")[1] == status


@pytest.mark.parametrize(
    "rest", [b"x" * 100_000, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)
def test_what_never_ends_or_is_malformed_ends_at_once(port, rest):
    with ExitStack() as stack:
        client = connect(stack, port, rest)
        began = time.monotonic()
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
        assert time.monotonic() - began < SECONDS


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "no body": (b"GET / HTTP/1.1\r\n\r\n", b""),
    "a length": (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    "chunks": (CHUNKED + b"3\r\nabc\r\nA\r\n0\r\n\r\n67890\r\n0\r\n\r\n", b"abc0\r\n\r\n67890"),
    "an extension": (CHUNKED + b"2;a=b\r\nab\r\n0;x\r\n\r\n", b"ab"),
    "a trailer": (CHUNKED + b"1\r\na\r\n0\r\nX: y\r\n\r\n", b"a"),
}


@pytest.mark.parametrize(("sent", "body"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_the_end_of_a_request_is_found_however_it_is_cut(sent, body, piece):
    config, gathering, ends = Config(), Gathering(0), []
    for at in range(0, len(sent), piece):
        gathering.received += sent[at : at + piece]
        ends.append(gathering.find_end(config, None))

    assert ends[:-1] == [None] * (len(ends) - 1)
    assert ends[-1] == len(sent)
    request = next(RequestParser(config, cut(gathering.received), None))
    assert request.body.read() == body


@pytest.mark.parametrize(("sent", "body"), WHOLE.values(), ids=WHOLE)
def test_what_follows_a_request_is_no_part_of_it(sent, body):
    gathering = Gathering(0, bytearray(sent + b"GET /next HTTP/1.1\r\n"))

    assert gathering.find_end(Config(), None) == len(sent)
