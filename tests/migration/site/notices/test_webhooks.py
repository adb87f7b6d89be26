"""What a webhook may do to the site: take what it is sent, over a connection that was judged and verified."""

import json
import logging
import socket
import time

import pytest

from migration.core import outgoing
from migration.core.notices import DeliveryOutcome
from migration.site.notices import post_json
from tests.migration.logins.tests.servers import Certificates, Servers
from tests.migration.site.notices.sinks import HOST, PATH, WebhookSink, opened

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    servers = Servers(Certificates(tmp_path_factory.mktemp("certificates")))
    yield servers
    servers.stop()


@pytest.fixture(autouse=True)
def trusted(servers, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", servers.certificates.file)


def post(url: str, *, loopback_allowed=True, seconds=5.0) -> DeliveryOutcome:
    return post_json(
        url=url, body={"text": "x"}, loopback_allowed=loopback_allowed, seconds=seconds
    ).outcome


def answer_with(*pieces: bytes, pause=0.0, heard=None):
    """A server that answers with these pieces, a pause before each."""

    async def handle(reader, writer):
        import asyncio

        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head.decode())
        for piece in pieces:
            await asyncio.sleep(pause)
            writer.write(piece)
            await writer.drain()

    return handle


def test_by_https_its_certificate_is_verified_and_it_hears_its_own_name(servers):
    heard = []
    handle = answer_with(OK, heard=heard)
    right = servers.serve(handle, tls=servers.certificates.right)
    wrong = [
        servers.serve(handle, tls=tls)
        for tls in (
            servers.certificates.expired,
            servers.certificates.of_another,
            servers.certificates.of_nobody,
        )
    ]

    assert post(f"https://localhost:{right}{PATH}?a=1") == DeliveryOutcome.SENT
    assert {post(f"https://localhost:{port}{PATH}") for port in wrong} == {
        DeliveryOutcome.TLS_PROBLEM
    }

    (head,) = heard
    assert head.startswith(f"POST {PATH}?a=1 HTTP/1.1\r\n")
    assert f"Host: localhost:{right}\r\n" in head
    assert "Content-Type: application/json\r\n" in head


@pytest.mark.parametrize(
    ("pieces", "pause", "outcome"),
    [
        ((b"220 mail.example ESMTP\r\n",), 0, DeliveryOutcome.NO_ANSWER),
        ((), 0, DeliveryOutcome.NO_ANSWER),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000,), 0, DeliveryOutcome.NO_ANSWER),
        ((b"HTTP/1.1 200 OK\r\n", *[b"X: x\r\n"] * 200), 0, DeliveryOutcome.NO_ANSWER),
        ([b"H", b"T", b"T", b"P"] * 20, 0.1, DeliveryOutcome.TIMED_OUT),
        # What follows the head is not read, however much it is.
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",), 0, DeliveryOutcome.SENT),
    ],
    ids=["another protocol", "nothing", "a long line", "many lines", "drop by drop", "a long body"],
)
def test_whatever_answers_the_site_is_done_in_time(servers, pieces, pause, outcome):
    began = time.monotonic()

    port = servers.serve(answer_with(*pieces, pause=pause))

    assert post(f"http://{HOST}:{port}{PATH}", seconds=1.0) == outcome
    assert time.monotonic() - began < 3


def test_a_name_is_looked_up_once_and_all_its_addresses_are_judged(monkeypatch):
    with opened(WebhookSink()) as sink:
        port = sink.server.server_port
        asked = []

        def look_up(texts):
            def ask(host, port):
                asked.append(host)
                return [outgoing.ResolvedAddress(socket.AF_INET, text, port) for text in texts]

            return ask

        url = f"http://hooks.example.com:{port}{PATH}"
        for texts in ((HOST, "169.254.169.254"), ("169.254.169.254",), ("100.100.100.200", HOST)):
            monkeypatch.setattr(outgoing, "_ask_resolver", look_up(texts))
            assert post(url) == DeliveryOutcome.NOT_ALLOWED
        monkeypatch.setattr(outgoing, "_ask_resolver", look_up((HOST,)))
        assert post(url, loopback_allowed=False) == DeliveryOutcome.NOT_ALLOWED
        assert sink.taken == []
        assert post(url) == DeliveryOutcome.SENT

    assert asked == ["hooks.example.com"] * 5
    assert sink.taken == ["x"]


@pytest.mark.parametrize(
    "host", ["[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "127.9.9.9", "2130706433"]
)
def test_this_machine_is_known_however_it_is_written(host):
    outcome = post(f"https://{host}:1/x", loopback_allowed=False)
    assert outcome == DeliveryOutcome.NOT_ALLOWED


def test_the_text_of_no_error_is_kept(servers, caplog):
    caplog.set_level(logging.DEBUG)
    port = servers.serve(answer_with(b"HTTP/1.1 500 example-words\r\n\r\n"))

    attempt = post_json(
        url=f"http://{HOST}:{port}{PATH}", body={"text": json.dumps("x")}, loopback_allowed=True
    )

    assert (attempt.outcome, attempt.status) == (DeliveryOutcome.REFUSED, 500)
    assert "example-words" not in repr(attempt)
    assert "example-secret-path" not in caplog.text
