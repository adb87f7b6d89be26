"""Posts JSON to a webhook: no redirect is followed, and an answer is read only as far as its head. Knows no notice.

A webhook's path is a secret. It is in no error and no result: a code says what is wrong.
"""

from __future__ import annotations

import http.client
import json
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from migration.core.notices import DeliveryAttempt, DeliveryOutcome
from migration.core.outgoing import (
    Deadline,
    LoginFailedError,
    LoginOutcome,
    connect_to_first,
    is_loopback,
    resolve_host,
    start_tls,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from urllib.parse import SplitResult

WEBHOOK_SECONDS = 10.0
DEFAULT_PORTS = {"https": 443, "http": 80}
_OUTCOMES = {
    LoginOutcome.TIMED_OUT: DeliveryOutcome.TIMED_OUT,
    LoginOutcome.NO_SUCH_HOST: DeliveryOutcome.NO_SUCH_HOST,
    LoginOutcome.UNREACHABLE: DeliveryOutcome.UNREACHABLE,
    LoginOutcome.TLS_PROBLEM: DeliveryOutcome.TLS_PROBLEM,
    LoginOutcome.NOT_ALLOWED: DeliveryOutcome.NOT_ALLOWED,
}


def post_json(
    *, url: str, body: object, loopback_allowed: bool, seconds: float = WEBHOOK_SECONDS
) -> DeliveryAttempt:
    """Post `body` as JSON within so many seconds for everything, and return what came of it.

    The host is looked up once and all its addresses are judged: private networks are fine, as whoever sets this site
    up named the host; link-local addresses and those where clouds tell a machine its credentials are not.
    """
    parts = urlsplit(url)
    with Deadline(seconds) as deadline:
        try:
            return _post(parts, json.dumps(body).encode(), deadline, loopback_allowed)
        except LoginFailedError as error:
            outcome = _OUTCOMES.get(error.outcome, DeliveryOutcome.NO_ANSWER)
        except (OSError, http.client.HTTPException, ValueError):
            # Shut at the deadline, closed by the other side, or no HTTP.
            outcome = DeliveryOutcome.NO_ANSWER
        return DeliveryAttempt(DeliveryOutcome.TIMED_OUT if deadline.is_over else outcome)


def _post(
    parts: SplitResult, body: bytes, deadline: Deadline, loopback_allowed: bool
) -> DeliveryAttempt:
    with open_connection(parts, deadline=deadline, loopback_allowed=loopback_allowed) as connection:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        # What follows the head is not read.
        return _judge_answer(connection.getresponse())


@contextmanager
def open_connection(
    parts: SplitResult, *, deadline: Deadline, loopback_allowed: bool
) -> Iterator[http.client.HTTPConnection]:
    """Connect to the host of this address, over TLS if it says so, with a limit of bytes, until the deadline.

    Raises `LoginFailedError`; what then goes wrong is an OSError or HTTPException.
    """
    host = parts.hostname or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    addresses = resolve_host(host, port, deadline=deadline, private_allowed=True)
    if not loopback_allowed and any(is_loopback(address.text) for address in addresses):
        raise LoginFailedError(LoginOutcome.NOT_ALLOWED)
    # With its default port a connection names the host alone, as servers expect it.
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port)
    plain: socket.socket = connect_to_first(addresses, deadline=deadline)
    try:
        connection.sock = start_tls(plain, host) if parts.scheme == "https" else plain
        yield connection
    finally:
        connection.close()
        plain.close()


def _judge_answer(answer: http.client.HTTPResponse) -> DeliveryAttempt:
    status = answer.status
    if 200 <= status < 300:
        return DeliveryAttempt(DeliveryOutcome.SENT, status)
    if 300 <= status < 400:
        return DeliveryAttempt(DeliveryOutcome.REDIRECTED, status)
    wait = read_retry_after(answer.headers.get("Retry-After", ""))
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return DeliveryAttempt(DeliveryOutcome.RATE_LIMITED, status, wait)
    return DeliveryAttempt(DeliveryOutcome.REFUSED, status, wait)


def read_retry_after(text: str) -> int:
    """Return the seconds that a Retry-After asks to wait, as a number or a date; 0 where it asks for nothing."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return int(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # the last one of a year with twenty digits
        return 0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0, int((until - datetime.now(UTC)).total_seconds()))
