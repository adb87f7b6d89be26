"""Asks AWS whose access key it is, with the row's own key alone. Knows no row and no client."""

from __future__ import annotations

import http.client
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings

from migration.core.outgoing import (
    LoginFailedError,
    LoginOutcome,
    connect_to_first,
    resolve_host,
    start_tls,
)
from nova_credentials.aws.identity_request import sign_identity_request

if TYPE_CHECKING:
    import socket

    from migration.core.outgoing import Deadline

MOST_CHARACTERS = 64 * 1024
# AWS refuses what was signed more than five minutes ago; then it is this machine's clock that is wrong.
CLOCK_SECONDS = 240
_CODE = re.compile(r"<Code>(\w+)</Code>")
_AWS_REFUSALS = {
    *("InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"),
    *("AccessDenied", "ExpiredToken", "OptInRequired"),
}
_DEFAULT_PORTS = {"https": 443, "http": 80}


def ask_for_identity(
    *, access_key_id: str, secret_access_key: str, region: str | None, deadline: Deadline
) -> None:
    """Call sts:GetCallerIdentity in that region; raises `LoginFailedError`.

    Neither the environment nor this machine's role can stand in for the key: the request is signed with it alone.
    """
    request = sign_identity_request(
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        region=region or settings.AWS_REGION,
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
