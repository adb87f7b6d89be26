"""Copies values from a client's document into its rows, and into purged rows to make one. Deletes no row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials import sentences
from credentials.models import CREDENTIAL_MODELS, save_changed_columns, save_columns
from credentials.pointers import is_purged
from credentials.row_matching import match_rows
from nova_credentials import document as documents
from nova_credentials.credential_types import keys_of
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from credentials.models import Client, Credential
    from nova_credentials.credential_types import CredentialRow, CredentialType
    from nova_credentials.document import Document
    from nova_credentials.messages import Message


class RowNotInAwsError(MessageError, LookupError):
    """AWS's document has no login that belongs to this row."""


def copy_document(
    client: Client,
    document: Document,
    *,
    wanted: Callable[[Credential], bool] = lambda row: True,
    secrets_alone: bool = False,
) -> list[Message]:
    """Write the document's values into the client's rows that are `wanted`; return the rows that it lacks.

    A login without a row gets one. With `secrets_alone` only the secret values of existing rows are written.
    Raises `DocumentError` if this is no client's document.
    """
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    lacking: list[Message] = []
    for credential_type, rows in client.credentials_by_type().items():
        match = match_rows(rows, read.of_type(credential_type), by_destination=secrets_alone)
        for row, login in match.pairs:
            if wanted(row):
                names = row.SECRET_FIELDS if secrets_alone else keys_of(type(login))
                save_changed_columns(row, {name: getattr(login, name) for name in names})
        if not secrets_alone:
            for login in match.new_logins:
                _add_row(client, credential_type, login)
        lacking += [row.as_message() for row in match.unmatched_rows]
    if not secrets_alone and read.client_name is not None and read.client_name != client.name:
        client.name = read.client_name
        save_columns(client, ["name"])
    return lacking


def read_purged_secrets(client: Client, document: Document) -> dict[Credential, dict[str, str]]:
    """Return AWS's secret values, by column, for each of the client's rows that has only pointers to them.

    Raises `RowNotInAwsError` and `DocumentError`.
    """
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    found: dict[Credential, dict[str, str]] = {}
    for credential_type, rows in client.credentials_by_type().items():
        match = match_rows(rows, read.of_type(credential_type), by_destination=True)
        for row, login in match.pairs:
            if is_purged(row):
                found[row] = {name: getattr(login, name) for name in row.SECRET_FIELDS}
        if lacking := [row for row in match.unmatched_rows if is_purged(row)]:
            raise RowNotInAwsError(
                sentences.NO_ROW_IN_AWS(row=lacking[0].as_message(), slug=client.slug)
            )
    return found


def build_document_with_secrets(
    client: Client, secrets: Mapping[Credential, Mapping[str, str]]
) -> Document:
    """Return the document of the client's rows with these secret values, by column, in them; store nothing."""
    for rows in client.credentials_by_type().values():
        for row in rows:
            for name, value in secrets.get(row, {}).items():
                setattr(row, name, value)
    return client.build_document()


def _add_row(client: Client, credential_type: CredentialType, login: CredentialRow) -> None:
    row = CREDENTIAL_MODELS[credential_type]()
    row.client_id = client.pk
    for name in keys_of(type(login)):
        setattr(row, name, getattr(login, name))
    row.save()
