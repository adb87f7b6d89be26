"""Pointers: the text that stands in a secret's column once its value was purged. Knows no phase and no document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials import sentences
from credentials.models import save_changed_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from credentials.models import Client, Credential
    from nova_credentials.credential_types import CredentialType
    from nova_credentials.messages import Message

POINTER = "aws-secretsmanager:"


def make_pointer(secret_name: str) -> str:
    """Return the text that replaces a secret value which only the secret of this name holds."""
    return f"{POINTER}{secret_name}"


def is_purged(row: Credential) -> bool:
    """Say whether only AWS holds the row's secret. A row that NOVA wrote after the purge has its own again."""
    return all(getattr(row, name).startswith(POINTER) for name in row.SECRET_FIELDS)


def find_pointer_problem(client: Client) -> Message | None:
    """Name the first row that holds a pointer, or a secret that a restore would take for one; None if no row does.

    A client with such a row must not be pushed.
    """
    for rows in client.credentials_by_type().values():
        for row in rows:
            if is_purged(row):
                return sentences.POINTER_IN_ROW(row=row.as_message(), pointer=POINTER)
    return None


def put_pointers(client: Client, secret_names: Mapping[CredentialType, str]) -> None:
    """Replace every secret value of the client's rows by a pointer to the secret of the row's type."""
    for credential_type, rows in client.credentials_by_type().items():
        pointer = make_pointer(secret_names[credential_type])
        for row in rows:
            save_changed_columns(row, dict.fromkeys(row.SECRET_FIELDS, pointer))
