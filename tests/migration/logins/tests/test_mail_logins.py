"""Real logins by IMAP and SMTP, and servers that refuse, lie, dribble or never answer."""

import time

import pytest

from migration.core.outgoing import LoginOutcome
from migration.logins import attempts
from migration.logins.attempts import try_login
from nova_credentials.credential_types import CredentialType
from tests.migration.logins.tests.servers import (
    HOST,
    PASSWORD,
    USER,
    dribble,
    never_answer,
)


def log_in(*, imap=None, smtp=None, user=USER, password=PASSWORD, seconds=10):
    values = {"user": user, "app_password": password}
    for service, port in (("imap", imap), ("smtp", smtp)):
        values |= {f"{service}_host": HOST if port else None, f"{service}_port": port}
    return try_login(CredentialType.EMAIL, values, deadline_seconds=seconds)


def outcome(**ports):
    return log_in(**ports).outcome


def test_both_services_have_to_let_the_mailbox_in(servers):
    imap, smtp = servers.imap(), servers.smtp()

    assert log_in(imap=imap, smtp=smtp).works
    refused = log_in(imap=imap, smtp=smtp, password="wrong")
    assert (refused.outcome, refused.service) == (LoginOutcome.REFUSED, "imap")
    refused = log_in(smtp=smtp, password="wrong")
    assert (refused.outcome, refused.service) == (LoginOutcome.REFUSED, "smtp")
    assert outcome() == LoginOutcome.NOT_TESTABLE
    assert outcome(imap=imap, password="") == LoginOutcome.NOT_TESTABLE


def test_both_ways_to_tls_and_all_mechanisms(servers):
    assert outcome(imap=servers.imap(at_once=False)) == LoginOutcome.WORKS
    assert outcome(smtp=servers.smtp(at_once=True)) == LoginOutcome.WORKS
    assert outcome(imap=servers.imap(capabilities="AUTH=LOGIN")) == LoginOutcome.WORKS
    plain = servers.imap(capabilities="")
    assert outcome(imap=plain, password='plain "one"') == LoginOutcome.WORKS
    # Over LOGIN nothing else can be sent: a line end would begin a command.
    assert outcome(imap=plain, password="a\r\nb") == LoginOutcome.UNEXPECTED
    no_plain = servers.smtp(auth_exclude_mechanism=["PLAIN"])
    assert outcome(smtp=no_plain) == LoginOutcome.WORKS
    assert outcome(smtp=no_plain, password="wrong") == LoginOutcome.REFUSED


@pytest.mark.parametrize("certificate", ["expired", "of_another", "of_nobody"])
def test_a_wrong_certificate_gets_no_password(servers, certificate):
    for port in (
        {"imap": servers.imap(tls=certificate)},
        {"imap": servers.imap(tls=certificate, at_once=False)},
        {"smtp": servers.smtp(tls=certificate)},
    ):
        assert outcome(**port) == LoginOutcome.TLS_PROBLEM
    assert servers.heard == []


def test_no_password_is_sent_without_tls(servers, monkeypatch):
    imap, smtp = servers.imap(tls=None), servers.smtp(tls=None)
    for starts in ({}, {imap: (attempts._Start.BY_COMMAND,), smtp: ("by_command",)}):
        monkeypatch.setattr(attempts, "_STARTS", starts)
        assert outcome(imap=imap) == LoginOutcome.TLS_PROBLEM
        assert outcome(smtp=smtp) == LoginOutcome.TLS_PROBLEM
    assert servers.heard == []


def test_what_one_service_refused_is_not_hidden_by_the_other(servers):
    smtp = servers.smtp()
    silent = servers.serve(never_answer)
    for imap in (1, servers.imap(tls="expired"), servers.imap(refusal=b"NO [LIMIT] x"), silent):
        result = log_in(imap=imap, smtp=smtp, password="wrong", seconds=2)
        assert (result.outcome, result.service) == (LoginOutcome.REFUSED, "smtp")
    # It let nobody in, but nor did it say that the password is wrong.
    result = log_in(imap=1, smtp=smtp)
    assert (result.outcome, result.service) == (LoginOutcome.UNREACHABLE, "imap")
    result = log_in(imap=1, smtp=servers.smtp(tls="expired"))
    assert (result.outcome, result.service) == (LoginOutcome.TLS_PROBLEM, "smtp")


def test_a_password_that_was_refused_is_not_sent_again(servers):
    async def listen(reader, writer):
        servers.heard.append(await reader.read(100))

    result = log_in(imap=servers.imap(), smtp=servers.serve(listen), password="wrong")

    assert (result.outcome, result.service) == (LoginOutcome.REFUSED, "imap")
    assert servers.heard == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"NO no", LoginOutcome.REFUSED),
        (b"NO wrong, see [LIMIT]", LoginOutcome.REFUSED),
        (b"NO [AUTHENTICATIONFAILED] no", LoginOutcome.REFUSED),
        (b"NO [ALERT] Application-specific password required", LoginOutcome.REFUSED),
        (b"NO [UNAVAILABLE] later", LoginOutcome.UNREACHABLE),
        (b"NO [INUSE] later", LoginOutcome.UNREACHABLE),
        (b"NO [limit] later", LoginOutcome.UNREACHABLE),
        (b"NO [THROTTLED] later", LoginOutcome.UNREACHABLE),
        (b"NO [CLIENTBUG] what", LoginOutcome.UNEXPECTED),
        (b"BAD what", LoginOutcome.UNEXPECTED),
    ],
)
def test_which_answers_of_imap_are_about_the_login(servers, answer, expected):
    for capabilities in ("AUTH=PLAIN", ""):
        port = servers.imap(refusal=answer, capabilities=capabilities)
        assert outcome(imap=port, password="wrong") == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (535, LoginOutcome.REFUSED),
        (534, LoginOutcome.REFUSED),
        (421, LoginOutcome.UNREACHABLE),
        (432, LoginOutcome.UNREACHABLE),
        (454, LoginOutcome.UNREACHABLE),
        (503, LoginOutcome.UNEXPECTED),
        (530, LoginOutcome.UNEXPECTED),
        (538, LoginOutcome.UNEXPECTED),
        (550, LoginOutcome.UNEXPECTED),
        (554, LoginOutcome.UNEXPECTED),
    ],
)
def test_which_answers_of_smtp_are_about_the_login(servers, code, expected):
    def serve(**answers):
        async def talk(reader, writer):
            said = {"HELLO": 220, "EHLO": 250, "AUTH": 334} | answers
            for step in ("HELLO", "EHLO", "AUTH", "word"):
                if step != "HELLO" and not await reader.readline():
                    return
                text = "250-hello\r\n250 AUTH PLAIN" if said[step] == 250 else f"{said[step]} x"
                writer.write(f"{text}\r\n".encode())
            await reader.read()

        return servers.serve(talk, tls=servers.certificates.right)

    assert outcome(smtp=serve(word=code), password="wrong") == expected
    assert outcome(smtp=serve(AUTH=code, word=500), password="wrong") == expected
    passing = LoginOutcome.UNREACHABLE if code < 500 else LoginOutcome.UNEXPECTED
    if expected != LoginOutcome.REFUSED:
        assert outcome(smtp=serve(HELLO=code)) == passing


def test_what_a_server_answers_otherwise_is_no_refusal(servers):
    in_already = servers.imap(greeting=b"* PREAUTH come in\r\n")
    assert outcome(imap=in_already) == LoginOutcome.UNSAFE
    nothing_offered = servers.imap(capabilities="LOGINDISABLED")
    assert outcome(imap=nothing_offered) == LoginOutcome.UNEXPECTED
    garbage = servers.imap(greeting=b"\xff\xfe\x00 garbage\r\n")
    assert outcome(imap=garbage) == LoginOutcome.UNEXPECTED
    busy = servers.imap(greeting=b"* BYE too many connections\r\n")
    assert outcome(imap=busy) == LoginOutcome.UNREACHABLE


@pytest.mark.parametrize(
    "answer",
    [
        b"* OK " + b"x" * 10_000_000,
        b"* OK {10000000}\r\n" + b"x" * 10_000_000,
        b"* NOOP x\r\n" * 10**6,
    ],
)
def test_an_answer_of_ten_megabytes_is_not_read(servers, answer):
    began = time.monotonic()

    assert outcome(imap=servers.imap(greeting=b"", more=answer)) == LoginOutcome.UNEXPECTED
    assert time.monotonic() - began < 5


def test_an_endless_answer_of_smtp_is_not_read(servers):
    async def talk(reader, writer):
        writer.write((b"220-" + b"x" * 100 + b"\r\n") * 100_000)
        await writer.drain()

    assert outcome(smtp=servers.serve(talk)) == LoginOutcome.UNEXPECTED


def test_one_deadline_holds_for_all_of_it(servers):
    right = servers.certificates.right
    for handle in (never_answer, dribble):
        for tls in (None, right):
            port = servers.serve(handle, tls=tls)
            for service in ("imap", "smtp"):
                began = time.monotonic()
                result = log_in(**{service: port}, seconds=0.15)
                assert (result.outcome, result.service) == (LoginOutcome.TIMED_OUT, service)
                assert time.monotonic() - began < 2


def test_nobody_there():
    assert outcome(imap=1) == LoginOutcome.UNREACHABLE
