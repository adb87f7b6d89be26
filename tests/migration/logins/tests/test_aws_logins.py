"""Whose an access key is: asked with the row's own key alone, over the embedded AWS's STS."""

import pytest

from migration.core.outgoing import LoginOutcome
from migration.logins import attempts
from migration.logins.attempts import try_login
from nova_credentials.aws.identity_request import sign_identity_request
from nova_credentials.credential_types import CredentialType
from tests.migration.logins.tests.servers import HOST, never_answer

KEY = {
    "access_key_id": "DEMOKEYID00000000001",
    "secret_access_key": "demo/secret/access/key/00000000000000001",
    "region": "eu-west-1",
}


def outcome(*, seconds=10, **more):
    return try_login(CredentialType.AWS, KEY | more, deadline_seconds=seconds).outcome


@pytest.fixture(autouse=True)
def sts(aws_server, settings, monkeypatch):
    settings.AWS_IDENTITY_ENDPOINT = aws_server.endpoint
    # Keys of this process, which would work: none of them is ever used.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY["secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")


def test_the_row_s_own_key_alone_is_used(settings):
    assert outcome() == LoginOutcome.WORKS
    assert outcome(region=None) == LoginOutcome.WORKS
    assert outcome(secret_access_key="wrong") == LoginOutcome.REFUSED
    assert outcome(access_key_id="UNKNOWN") == LoginOutcome.REFUSED
    for missing in ({"secret_access_key": ""}, {"access_key_id": ""}, {"access_key_id": "a\r\nb"}):
        assert outcome(**missing) == LoginOutcome.NOT_TESTABLE


def test_a_region_names_no_host(settings):
    settings.AWS_IDENTITY_ENDPOINT = ""
    for region in ("x.evil.example/", "eu-west-1.evil.example", "nowhere"):
        assert outcome(region=region) == LoginOutcome.NOT_TESTABLE
    urls = [
        sign_identity_request(access_key_id="A", secret_access_key="b", region=region).url
        for region in ("eu-west-1", "cn-north-1", "us-gov-west-1")
    ]
    assert urls == [
        "https://sts.eu-west-1.amazonaws.com/",
        "https://sts.cn-north-1.amazonaws.com.cn/",
        "https://sts.us-gov-west-1.amazonaws.com/",
    ]


def answer_http(status, body, date="Mon, 01 Jan 2024 00:00:00 GMT"):
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return handle


def test_other_answers(servers, settings, monkeypatch):
    def ask(handle, *, tls=None, seconds=10):
        port = servers.serve(handle, tls=tls)
        settings.AWS_IDENTITY_ENDPOINT = f"{'https' if tls else 'http'}://{HOST}:{port}"
        return outcome(seconds=seconds)

    refusal = b"<Code>SignatureDoesNotMatch</Code>"
    assert ask(answer_http(403, refusal)) == LoginOutcome.UNEXPECTED  # the clocks differ
    monkeypatch.setattr(attempts, "CLOCK_SECONDS", 10**12)
    assert ask(answer_http(403, refusal)) == LoginOutcome.REFUSED
    assert ask(answer_http(403, refusal), tls=servers.certificates.right) == LoginOutcome.REFUSED
    expired = servers.certificates.expired
    assert ask(answer_http(403, refusal), tls=expired) == LoginOutcome.TLS_PROBLEM
    assert ask(answer_http(503, b"<Code>Busy</Code>")) == LoginOutcome.UNREACHABLE
    assert ask(answer_http(400, b"<Code>Throttling</Code>")) == LoginOutcome.UNREACHABLE
    assert ask(answer_http(200, b"<html>a proxy</html>")) == LoginOutcome.UNEXPECTED
    assert ask(answer_http(200, b"x" * 10_000_000)) == LoginOutcome.UNEXPECTED
    assert ask(never_answer, seconds=0.4) == LoginOutcome.TIMED_OUT
