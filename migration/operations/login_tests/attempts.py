"""Tries one login of any type within one deadline. Knows no row, no client."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from migration.core.outgoing import Deadline, LoginFailedError, LoginOutcome, LoginResult
from migration.operations.login_tests.aws import ask_for_identity
from migration.operations.login_tests.database import DatabaseLogin, log_in_to_database
from migration.operations.login_tests.mail import log_in_by_imap, log_in_by_smtp
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Values = Mapping[str, str | int | None]  # by the keys of the document

logger = logging.getLogger(__name__)

LOGIN_SECONDS = 15.0
# Refused by one service is refused, whatever the other says; then what the row's own values are to blame for.
_BY_CERTAINTY = (
    *(LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE),
    *(LoginOutcome.NOT_TESTABLE, LoginOutcome.NO_SUCH_HOST, LoginOutcome.NOT_ALLOWED),
    *(LoginOutcome.UNSAFE, LoginOutcome.TLS_PROBLEM, LoginOutcome.UNEXPECTED),
    *(LoginOutcome.POOLER, LoginOutcome.UNREACHABLE, LoginOutcome.TIMED_OUT, LoginOutcome.WORKS),
)
PORTS = ("port", "imap_port", "smtp_port")
TEXTS = (
    *("host", "name", "user", "password", "imap_host", "smtp_host", "app_password"),
    *("access_key_id", "secret_access_key", "region"),
)


def try_login(
    credential_type: CredentialType, values: Values, *, deadline_seconds: float = LOGIN_SECONDS
) -> LoginResult:
    """Log in with these values, named as in the document, and return the outcome. Never raises.

    A mailbox is tried by IMAP, then by SMTP, wherever it has a host; both must let it in. Each has an equal share of
    the time left. What one refused is not sent to the other, as servers lock out who is refused too often.
    """
    if not _can_be_sent(values):
        return LoginResult(LoginOutcome.NOT_TESTABLE)
    ends_at = time.monotonic() + deadline_seconds
    services = _list_services(credential_type, values)
    results: list[LoginResult] = []
    for left, (service, log_in) in zip(range(len(services), 0, -1), services, strict=True):
        share = max(0.0, ends_at - time.monotonic()) / left
        with Deadline(share) as deadline:
            results.append(LoginResult(_try(log_in, deadline), service))
        if results[-1].outcome == LoginOutcome.REFUSED:
            break
    if results and all(result.works for result in results):
        return LoginResult(LoginOutcome.WORKS)
    return min(results, key=_rank, default=LoginResult(LoginOutcome.NOT_TESTABLE))


def _rank(result: LoginResult) -> int:
    """Return how little the outcome says of a mailbox: what is certain hides what another service could not tell."""
    return _BY_CERTAINTY.index(result.outcome)


def make_database_login(values: Values) -> DatabaseLogin:
    """Return the database login in these values."""
    return DatabaseLogin(
        host=_text(values, "host"),
        port=_number(values, "port"),
        name=_text(values, "name"),
        user=_text(values, "user"),
        password=_text(values, "password"),
    )


def _list_services(
    credential_type: CredentialType, values: Values
) -> list[tuple[str, Callable[[Deadline], None]]]:
    """Return the services that this login is for, each with a function that logs in."""
    match credential_type:
        case CredentialType.DATABASE:
            login = make_database_login(values)
            return [("", lambda deadline: log_in_to_database(login, deadline=deadline))]
        case CredentialType.EMAIL:
            return [
                (service, _mail_login(log_in, service, values))
                for service, log_in in (("imap", log_in_by_imap), ("smtp", log_in_by_smtp))
                if values.get(f"{service}_host")
            ]
    return [("", lambda deadline: _ask_aws(values, deadline))]


def _mail_login(
    log_in: Callable[..., None], service: str, values: Values
) -> Callable[[Deadline], None]:
    return lambda deadline: log_in(
        host=_text(values, f"{service}_host"),
        port=_number(values, f"{service}_port") or None,
        user=_text(values, "user"),
        password=_text(values, "app_password"),
        deadline=deadline,
    )


def _ask_aws(values: Values, deadline: Deadline) -> None:
    ask_for_identity(
        access_key_id=_text(values, "access_key_id"),
        secret_access_key=_text(values, "secret_access_key"),
        region=_text(values, "region") or None,
        deadline=deadline,
    )


def _can_be_sent(values: Values) -> bool:
    """Say whether these are a login's values: in AWS anything may stand, and a NUL would hide what follows it."""
    texts = (values.get(key) for key in TEXTS)
    ports = (values.get(key) for key in PORTS)
    return all(v is None or (isinstance(v, str) and "\0" not in v) for v in texts) and all(
        v is None or isinstance(v, int) for v in ports
    )


def _text(values: Values, key: str) -> str:
    return str(values.get(key) or "")


def _number(values: Values, key: str) -> int:
    return int(values.get(key) or 0)


def _try(log_in: Callable[[Deadline], None], deadline: Deadline) -> LoginOutcome:
    try:
        log_in(deadline)
    except LoginFailedError as error:
        outcome = error.outcome
    except OSError:
        outcome = LoginOutcome.UNREACHABLE
    except Exception as error:  # noqa: BLE001 (whatever a server's answers make of the libraries that read them)
        logger.warning("A login test ended with %s", type(error).__name__)
        outcome = LoginOutcome.UNEXPECTED
    else:
        return LoginOutcome.WORKS
    return LoginOutcome.TIMED_OUT if deadline.is_over else outcome
