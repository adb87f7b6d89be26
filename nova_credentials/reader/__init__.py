"""The drop-in for NOVA's credential helper: the same functions, over the store of each client's phase.

Knows no Django. `docs/reader.md` says what is read in each phase, what is cached, and what happens when a store fails.
psycopg and boto3 are imported by the first read that needs them: both together take a fifth of a second.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg
    from psycopg.rows import TupleRow

    from nova_credentials.credential_types import (
        AwsCredentials,
        DatabaseCredentials,
        EmailCredentials,
    )
    from nova_credentials.reader.routing import AllCredentials, Reader

LOGIN_SECONDS = 10
# A day: Python's locks raise an error for a wait of many years.
MOST_SECONDS = 86_400


def get_client_id(slug: str) -> int:
    """Return the client's id; ValueError where it is unknown or inactive."""
    return _shared_reader().client_id(slug)


def get_database_credentials(
    slug: str, label: str | None = None, *, refresh: bool = False
) -> DatabaseCredentials:
    """Return the primary database login, or the one of that label; ValueError where there is none."""
    row: DatabaseCredentials = _shared_reader().get_credential(
        slug, CredentialType.DATABASE, label, refresh=refresh
    )
    return row


def get_email_credentials(
    slug: str, label: str | None = None, *, refresh: bool = False
) -> EmailCredentials:
    """Return the primary mailbox, or the one of that label; ValueError where there is none."""
    row: EmailCredentials = _shared_reader().get_credential(
        slug, CredentialType.EMAIL, label, refresh=refresh
    )
    return row


def get_aws_credentials(
    slug: str, label: str | None = None, *, refresh: bool = False
) -> AwsCredentials:
    """Return the primary AWS key, or the one of that label; ValueError where there is none."""
    row: AwsCredentials = _shared_reader().get_credential(
        slug, CredentialType.AWS, label, refresh=refresh
    )
    return row


def get_all_credentials(slug: str, *, refresh: bool = False) -> AllCredentials:
    """Return the primary `database` and `email`, each None where the client has none."""
    return _shared_reader().get_all_credentials(slug, refresh=refresh)


def get_database_connection(
    slug: str, label: str | None = None, *, refresh: bool = False
) -> psycopg.Connection[TupleRow]:
    """Connect to the client's database. If the login is refused, read the credentials anew and try once more."""
    return connect_to_database(_shared_reader(), slug, label, refresh=refresh)


@cache
def _shared_reader() -> Reader:
    return from_environment(os.environ)


def from_environment(environment: Mapping[str, str]) -> Reader:
    """Make the reader that the environment describes; RuntimeError says what to set."""
    from nova_credentials.reader.routing import Reader

    # An empty variable counts as unset, as on the site.
    environment = {name: value for name, value in environment.items() if value.strip()}
    layout = environment.get("NOVA_SECRET_LAYOUT", "client")
    if layout not in tuple(Layout):
        raise RuntimeError("NOVA_SECRET_LAYOUT must be 'client' or 'service'.")
    return Reader(
        environment.get("DATABASE_URL", ""),
        region=environment.get("AWS_REGION", "us-east-1"),
        prefix=environment.get("NOVA_SECRET_PREFIX", "nova/clients").strip("/"),
        layout=Layout(layout),
        timeout=_read_seconds(environment, "NOVA_READ_TIMEOUT_SECONDS", "2", least=0.01),
        cache_seconds=_read_seconds(environment, "NOVA_CACHE_SECONDS", "30"),
    )


def connect_to_database(
    reader: Reader, slug: str, label: str | None = None, *, refresh: bool = False
) -> psycopg.Connection[TupleRow]:
    """Connect to the client's database. If the login is refused, read the credentials anew and try once more."""
    import psycopg

    outcome = _log_in(reader.get_credential(slug, CredentialType.DATABASE, label, refresh=refresh))
    if isinstance(outcome, _LoginFailure) and outcome.refused:
        outcome = _log_in(reader.get_credential(slug, CredentialType.DATABASE, label, refresh=True))
    if isinstance(outcome, _LoginFailure):
        raise psycopg.OperationalError(f"Client '{slug}': {outcome.text}")
    return outcome


def _read_seconds(
    environment: Mapping[str, str], name: str, default: str, *, least: float = 0
) -> float:
    text = environment.get(name, default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not least <= seconds <= MOST_SECONDS:
        raise RuntimeError(f"{name} is not a number of seconds from {least} to {MOST_SECONDS}.")
    return seconds


@dataclass(frozen=True)
class _LoginFailure:
    text: str
    refused: bool


def _log_in(login: DatabaseCredentials) -> psycopg.Connection[TupleRow] | _LoginFailure:
    import psycopg

    try:
        return psycopg.connect(
            host=login.db_host,
            port=login.db_port,
            dbname=login.db_name,
            user=login.db_user,
            password=login.db_password,
            connect_timeout=LOGIN_SECONDS,
        )
    except psycopg.Error as error:
        # The error is not raised on: it holds the whole connection, with the password.
        text, code, attempt = str(error), error.sqlstate, error.pgconn
    # libpq gives no SQLSTATE for a failed connection, but says whether the server asked for a password.
    asked = attempt is not None and (attempt.used_password or attempt.needs_password)
    if login.db_password and login.db_password in text:
        text = "the connection to its database failed"
    return _LoginFailure(
        text, asked or code in {"28P01", "28000"} or "authentication failed" in text
    )
