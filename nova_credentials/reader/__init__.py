"""The drop-in for NOVA's credential helper: the same functions, over the store of each client's phase.

Knows no Django. `docs/nova.md` says what is read in each phase, what is cached, and what happens when a store fails.
The rest of the package, psycopg, psycopg2 and boto3 are imported by the first call that needs them: NOVA's every
process imports this module, also those that never read a client.
"""

from __future__ import annotations

import math
import os
from functools import cache
from typing import TYPE_CHECKING, TypeVar, overload

from nova_credentials.credential_types import (
    AwsCredentials,
    CredentialType,
    DatabaseCredentials,
    EmailCredentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nova_credentials.credential_types import AllCredentials, PrimaryDatabaseAndEmail
    from nova_credentials.reader.connections import DriverConnection
    from nova_credentials.reader.routing import Reader
    from nova_credentials.tables import TableName

# What `from nova_credentials.reader import *` gives: all that is public in NOVA's helper, and three names more.
__all__ = [
    "AwsCredentials",
    "DatabaseCredentials",
    "EmailCredentials",
    "get_all_credentials",
    "get_available_credentials",
    "get_aws_credentials",
    "get_client_db_connection",
    "get_client_id",
    "get_database_connection",
    "get_database_credentials",
    "get_database_schemas",
    "get_email_credentials",
]

_Opened = TypeVar("_Opened")

# A day: Python's locks raise an error for a wait of many years.
MOST_SECONDS = 86_400


def get_client_id(client_slug: str) -> int:
    """Return the client's id; ValueError where it is unknown or inactive."""
    return _shared_reader().client_id(client_slug)


def get_database_credentials(
    client_slug: str, label: str | None = None, *, refresh: bool = False
) -> DatabaseCredentials:
    """Return the primary database login, or the one of that label; ValueError where there is none."""
    row: DatabaseCredentials = _shared_reader().get_credential(
        client_slug, CredentialType.DATABASE, label, refresh=refresh
    )
    return row


def get_email_credentials(
    client_slug: str, label: str | None = None, *, refresh: bool = False
) -> EmailCredentials:
    """Return the primary mailbox, or the one of that label; ValueError where there is none."""
    row: EmailCredentials = _shared_reader().get_credential(
        client_slug, CredentialType.EMAIL, label, refresh=refresh
    )
    return row


def get_aws_credentials(
    client_slug: str, label: str | None = None, *, refresh: bool = False
) -> AwsCredentials:
    """Return the primary AWS key, or the one of that label; ValueError where there is none."""
    row: AwsCredentials = _shared_reader().get_credential(
        client_slug, CredentialType.AWS, label, refresh=refresh
    )
    return row


def get_all_credentials(client_slug: str, *, refresh: bool = False) -> AllCredentials:
    """Return the primary `database` and `email`; ValueError where the client lacks either."""
    found = get_available_credentials(client_slug, refresh=refresh)
    return {
        "database": found["database"] or get_database_credentials(client_slug),
        "email": found["email"] or get_email_credentials(client_slug),
    }


def get_available_credentials(
    client_slug: str, *, refresh: bool = False
) -> PrimaryDatabaseAndEmail:
    """Return the primary `database` and `email`, each None where the client has none."""
    return _shared_reader().get_primary_credentials(client_slug, refresh=refresh)


def get_database_schemas(client_slug: str) -> dict[TableName, object]:
    """Return table name -> definition from `client_database_schemas`, in the order of the names; often empty.

    No secrets, so always read from PostgreSQL. Raises ValueError where the client is unknown or inactive.
    """
    return _shared_reader().read_database_schemas(client_slug)


@overload
def get_database_connection(
    client_slug: str,
    label: str | None = None,
    *,
    refresh: bool = False,
    connect: str | None = None,
) -> DriverConnection: ...
@overload
def get_database_connection(
    client_slug: str,
    label: str | None = None,
    *,
    refresh: bool = False,
    connect: Callable[..., _Opened],
) -> _Opened: ...
def get_database_connection(
    client_slug: str,
    label: str | None = None,
    *,
    refresh: bool = False,
    connect: Callable[..., object] | str | None = None,
) -> object:
    """Connect to the client's database, with psycopg2 where it is installed.

    `connect` is another driver: its name, or a function that is called as `psycopg.connect` would be. Where the login
    fails, the credentials are read anew.
    """
    from nova_credentials.reader.connections import connect_to_database

    reader = _shared_reader()
    return connect_to_database(reader, client_slug, label, refresh=refresh, connect=connect)


def get_client_db_connection(client_slug: str) -> DriverConnection:
    """Connect to the client's primary database. Deprecated: call `get_database_connection`."""
    return get_database_connection(client_slug)


@cache
def _shared_reader() -> Reader:
    return from_environment(os.environ)


def from_environment(environment: Mapping[str, str]) -> Reader:
    """Make the reader that the environment describes; RuntimeError says what to set, ValueError that no URI is set."""
    from nova_credentials.aws.endpoint import read_endpoint
    from nova_credentials.document import Layout
    from nova_credentials.reader.connections import read_driver
    from nova_credentials.reader.routing import Reader

    # An empty variable counts as unset, as on the site.
    environment = {name: value for name, value in environment.items() if value.strip()}
    layout = environment.get("NOVA_SECRET_LAYOUT", "client")
    if layout not in tuple(Layout):
        raise RuntimeError("NOVA_SECRET_LAYOUT must be 'client' or 'service'.")
    read_driver(environment)
    read_endpoint(environment)
    if "DATABASE_URL" not in environment:
        # As in NOVA's helper: a task fails on ValueError, and is tried again on any other error.
        raise ValueError("DATABASE_URL is not set to a PostgreSQL URI (postgresql://…).")
    return Reader(
        environment["DATABASE_URL"],
        region=environment.get("AWS_REGION", "us-east-1"),
        prefix=environment.get("NOVA_SECRET_PREFIX", "nova/clients").strip("/"),
        layout=Layout(layout),
        timeout=_read_seconds(environment, "NOVA_READ_TIMEOUT_SECONDS", "2", least=0.01),
        cache_seconds=_read_seconds(environment, "NOVA_CACHE_SECONDS", "30"),
        stale_seconds=_read_seconds(environment, "NOVA_STALE_SECONDS", "0"),
    )


def _read_seconds(
    environment: Mapping[str, str], name: str, default: str, *, least: float = 0
) -> float:
    text = environment.get(name, default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan  # within no bounds
    if not least <= seconds <= MOST_SECONDS:
        raise RuntimeError(f"{name} is not a number of seconds from {least} to {MOST_SECONDS}.")
    return seconds
