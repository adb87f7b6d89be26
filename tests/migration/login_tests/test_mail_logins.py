"""Real logins by IMAP and SMTP, and servers that refuse, lie, dribble or never answer."""

import time

import pytest

from migration.operations.login_tests import LoginOutcome, try_login
from migration.operations.login_tests import mail as mail_logins
from nova_credentials.credential_types import CredentialType
from tests.migration.login_tests.servers import (
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
    for starts in ({}, {imap: (mail_logins._Start.BY_COMMAND,), smtp: ("by_command",)}):
        monkeypatch.setattr(mail_logins, "_STARTS", starts)
        assert outcome(imap=imap) == LoginOutcome.TLS_PROBLEM
        assert outcome(smtp=smtp) == LoginOutcome.TLS_PROBLEM
    assert servers.heard == []


def test_what_a_server_answers_otherwise_is_no_refusal(servers):
    later = servers.imap(refusal=b"NO [UNAVAILABLE] try later")
    assert outcome(imap=later, password="wrong") == LoginOutcome.UNREACHABLE
    assert outcome(imap=servers.imap(refusal=b"BAD what"), password="x") == LoginOutcome.UNEXPECTED
    in_already = servers.imap(greeting=b"* PREAUTH come in\r\n")
    assert outcome(imap=in_already) == LoginOutcome.UNSAFE
    nothing_offered = servers.imap(capabilities="LOGINDISABLED")
    assert outcome(imap=nothing_offered) == LoginOutcome.UNEXPECTED
    garbage = servers.imap(greeting=b"\xff\xfe\x00 garbage\r\n")
    assert outcome(imap=garbage) == LoginOutcome.UNEXPECTED


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
                result = log_in(**{service: port}, seconds=0.4)
                assert (result.outcome, result.service) == (LoginOutcome.TIMED_OUT, service)
                assert time.monotonic() - began < 2


def test_nobody_there():
    assert outcome(imap=1) == LoginOutcome.UNREACHABLE
