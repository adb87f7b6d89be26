"""Pointers: the text that stands in a secret's column once its value was purged. Knows no phase and no document."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from credentials.models import (
    Client,
    Credential,
    list_mapped_secret_columns,
    write_changed_values,
    write_extra,
)
from credentials.models.columns import Columns
from credentials.refusals import RefusedByDatabaseError
from credentials.values import POINTER
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message, Sentence

POINTER_IN_ROW = Sentence(
    "pointer_in_row", "%(row)s holds a pointer (%(pointer)s…) instead of a secret."
)
POINTER_TOO_LONG = Sentence(
    "pointer_too_long",
    "%(column)s holds at most %(most)s characters, and the pointer to the secret needs %(n)s: widen the column.",
)


class PointerTooLongError(RefusedByDatabaseError):
    """A mapped column has no room for the pointer; the message names it."""


def make_pointer(secret_name: str) -> str:
    """Return the text that replaces a secret value which only the secret of this name holds."""
    return f"{POINTER}{secret_name}"


def is_purged(row: Credential) -> bool:
    """Say whether only AWS holds the row's secret. A row that NOVA wrote after the purge has its own again."""
    # NOVA may have made the column nullable.
    return all((getattr(row, name) or "").startswith(POINTER) for name in row.SECRET_FIELDS)


def list_purged_extras(row: Client | Credential) -> list[str]:
    """Return the mapped columns of the row of which only AWS holds the value."""
    return [name for name, value in row.extra.items() if (value or "").startswith(POINTER)]


def list_rows_in_clear(client: Client) -> list[Client | Credential]:
    """Return the client's rows, and itself, that hold a secret value: also in a column mapped as secret.

    Needs `read_rows_and_columns`.
    """
    return [row for row in list_all_rows(client) if _holds_value(row, client.nova_columns or ())]


def _holds_value(row: Client | Credential, columns: Columns) -> bool:
    values = (row.extra.get(column.name) for column in list_mapped_secret_columns(row, columns))
    in_clear = any(value and not value.startswith(POINTER) for value in values)
    return in_clear or (isinstance(row, Credential) and not is_purged(row))


def list_all_rows(client: Client) -> list[Client | Credential]:
    """Return the client itself and all its credential rows."""
    return [client, *(row for rows in client.credentials_by_type().values() for row in rows)]


def describe_row_with_pointer(client: Client) -> Message | None:
    """Name the first row that holds a pointer, or a secret that a restore would take for one; None if no row does.

    A client with such a row must not be pushed.
    """
    for row in list_all_rows(client):
        if list_purged_extras(row) or (isinstance(row, Credential) and is_purged(row)):
            return POINTER_IN_ROW(row=row.make_row_name_message(), pointer=POINTER)
    return None


def replace_secrets_by_pointers(client: Client, secret_names: Mapping[CredentialType, str]) -> None:
    """Replace every secret value of the client and its rows by a pointer to the secret that holds it.

    Needs `read_rows_and_columns`. Raises `PointerTooLongError` where a mapped column has no room for the pointer.
    """
    for credential_type, rows in client.credentials_by_type().items():
        pointer = make_pointer(secret_names[credential_type])
        for row in rows:
            _point_extras(client, row, pointer)
            write_changed_values(row, dict.fromkeys(row.SECRET_FIELDS, pointer))
    _point_extras(client, client, make_pointer(_find_holder(client, secret_names)))


def repoint_existing_pointers(client: Client, secret_names: Mapping[CredentialType, str]) -> None:
    """Point every pointer to the secret that now holds its value. Raises `PointerTooLongError`."""
    for credential_type, rows in client.credentials_by_type().items():
        pointer = make_pointer(secret_names[credential_type])
        for row in rows:
            held = [n for n in row.SECRET_FIELDS if (getattr(row, n) or "").startswith(POINTER)]
            _point_extras(client, row, pointer, of=list_purged_extras(row))
            write_changed_values(row, dict.fromkeys(held, pointer))
    holder = _find_holder(client, secret_names)
    _point_extras(client, client, make_pointer(holder), of=list_purged_extras(client))


def _find_holder(client: Client, secret_names: Mapping[CredentialType, str]) -> str:
    """Return a secret that the client has. Every one of them holds the client's own columns."""
    holders = [t for t, rows in client.credentials_by_type().items() if rows] or list(secret_names)
    return secret_names[holders[0]]


def _point_extras(
    client: Client, row: Client | Credential, pointer: str, *, of: Collection[str] | None = None
) -> None:
    """Replace the values in the row's columns that are mapped as secret, or in those `of` a list; NULL stays."""
    columns = list_mapped_secret_columns(row, client.nova_columns or ())
    filled = [
        column
        for column in columns
        if row.extra.get(column.name) is not None and (of is None or column.name in of)
    ]
    for column in filled:
        if column.max_length is not None and column.max_length < len(pointer):
            raise PointerTooLongError(
                POINTER_TOO_LONG(
                    column=column.shown_table_and_name, most=column.max_length, n=len(pointer)
                )
            )
    write_extra(row, {column.name: pointer for column in filled})
