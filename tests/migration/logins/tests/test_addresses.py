"""Which addresses a login may be sent to, and that no other is connected to."""

import socket
import time

import pytest

from migration.core.outgoing import (
    Deadline,
    LoginFailedError,
    LoginOutcome,
    is_allowed,
    resolve_host,
)
from migration.logins.attempts import try_login
from nova_credentials.credential_types import CredentialType
from tests.migration.logins.tests.servers import HOST

ALWAYS = ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1")
PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1"),
    *("::ffff:127.0.0.1", "2002:7f00:1::1", "64:ff9b::7f00:1", "::127.0.0.1"),
)
NEVER = (
    *("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    *("fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255"),
    *("fec0::1", "2001:db8::1", "198.51.100.1", "4000::1", "64:ff9b:1::7f00:1", "192.0.2.1"),
    "2001:0:a9fe:a9fe::",  # Teredo, by a server that is link-local
)


def ask(host, port=5432):
    with Deadline(5) as deadline:
        return resolve_host(host, port, deadline=deadline)


def outcome_of(host, port=5432):
    with pytest.raises(LoginFailedError) as failure:
        ask(host, port)
    return failure.value.outcome


@pytest.mark.parametrize("text", [*ALWAYS, *PRIVATE, *NEVER])
def test_an_address_is_judged_by_the_one_that_packets_reach(text):
    expected = (text in ALWAYS, text not in NEVER)
    assert (
        is_allowed(text, private_allowed=False),
        is_allowed(text, private_allowed=True),
    ) == expected


def test_names_that_are_no_plain_names(settings):
    assert outcome_of("a..b") == LoginOutcome.NO_SUCH_HOST
    assert outcome_of("x" * 300) == LoginOutcome.NO_SUCH_HOST
    assert outcome_of("/tmp") == LoginOutcome.NO_SUCH_HOST
    assert outcome_of("") == LoginOutcome.NOT_TESTABLE
    assert outcome_of(HOST, 70_000) == outcome_of(HOST, 0) == LoginOutcome.NOT_TESTABLE
    assert [address.text for address in ask("0x7f.1")] == [HOST]
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = False
    assert outcome_of("0x7f.1") == outcome_of("2130706433") == LoginOutcome.NOT_ALLOWED


def answers(*texts):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in texts]


def test_what_the_demo_serves_is_reached_by_its_name_and_port_and_nothing_else_of_this_machine(
    settings,
):
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = False
    settings.NOVA_DEMO_PLACES = {("mail.localhost", 993): 40001}

    (address,) = ask("mail.localhost", 993)

    assert (address.text, address.port) == (HOST, 40001)
    assert (
        outcome_of("127.0.0.1", 993) == outcome_of("127.0.0.1", 40001) == LoginOutcome.NOT_ALLOWED
    )
    for other in (("mail.localhost", 40001), ("postgres.localhost", 993)):
        assert outcome_of(*other) in (LoginOutcome.NOT_ALLOWED, LoginOutcome.NO_SUCH_HOST)


def test_one_address_that_is_not_allowed_shuts_out_the_name(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers("8.8.8.8", "169.254.1.1"))

    assert outcome_of("both.example") == LoginOutcome.NOT_ALLOWED


def test_a_name_that_changes_is_asked_once_and_the_judged_address_connected_to(
    monkeypatch, servers, settings
):
    asked, connected = [], []
    connect = socket.socket.connect

    def look_up(host, *_, **__):
        asked.append(host)
        return answers(HOST if len(asked) == 1 else "169.254.169.254")

    def record(self, place):
        connected.append(place)
        connect(self, place)

    port = servers.smtp()
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", record)
    values = {"smtp_host": "mail.example", "smtp_port": port, "user": "a", "app_password": "b"}

    # The certificate is for the address, and not for this name.
    result = try_login(CredentialType.EMAIL, values)

    assert result.outcome == LoginOutcome.TLS_PROBLEM
    assert asked == ["mail.example"]
    assert set(connected) == {(HOST, port)}


def test_a_resolver_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(0.5) or [])

    with Deadline(0.1) as deadline, pytest.raises(LoginFailedError, match="timed_out"):
        resolve_host("slow.example", 1, deadline=deadline)
