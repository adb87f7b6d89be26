"""Copies values from a client's document into the rows that they came from, purged ones too. Deletes no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from credentials.models import (
    CREDENTIAL_MODELS,
    Client,
    Credential,
    list_document_columns,
    save_columns,
    write_changed_values,
    write_extra,
)
from credentials.pointers import is_purged, list_all_rows, list_purged_extras
from credentials.refusals import insert_rows
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialRow, CredentialType, map_to_json_keys
from nova_credentials.document import Document, Extra
from nova_credentials.messages import Message, MessageError, Sentence

# Stands for a column's default, which was not read. PostgreSQL can't store it, so every value differs from it.
NO_VALUE = "\0"

NO_ROW_IN_AWS = Sentence("no_row_in_aws", "AWS holds no %(row)s of %(slug)s.")

Key = Callable[[Credential | CredentialRow], Hashable]


class RowNotInAwsError(MessageError, LookupError):
    """AWS's document has no login that belongs to this row."""


def copy_document_into_rows(
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
    extras = documents.parse_extras(document, client_slug=client.slug)
    lacking: list[Message] = []
    for credential_type, rows in client.credentials_by_type().items():
        logins = read.of_type(credential_type)
        match = match_rows(rows, logins, by_destination=secrets_alone)
        extra_of = _pair_extras(logins, extras.logins[credential_type])
        for row, login in match.pairs:
            is_wanted = wanted(row)  # asked before the row is changed
            if is_wanted:
                names = row.SECRET_FIELDS if secrets_alone else map_to_json_keys(type(login))
                write_changed_values(row, {name: getattr(login, name) for name in names})
            _copy_extra(row, extra_of(login), purged_alone=secrets_alone or not is_wanted)
        if not secrets_alone:
            for login in match.new_logins:
                _add_row(client, credential_type, login, extra_of(login))
        lacking += [row.make_row_name_message() for row in match.unmatched_rows]
    if not secrets_alone and read.client_name is not None and read.client_name != client.name:
        client.name = read.client_name
        save_columns(client, ["name"])
    _copy_extra(client, extras.client, purged_alone=secrets_alone)
    return lacking


def _add_row(
    client: Client, credential_type: CredentialType, login: CredentialRow, extra: Extra
) -> None:
    row = CREDENTIAL_MODELS[credential_type]()
    row.client_id = client.pk
    for name in map_to_json_keys(type(login)):
        setattr(row, name, getattr(login, name))
    insert_rows(type(row), [row])
    mapped = list_document_columns(client.nova_columns or (), row.NOVA_TABLE)
    row.extra = dict.fromkeys((column.name for column in mapped), NO_VALUE)
    write_extra(row, extra)


def _pair_extras(
    logins: Sequence[CredentialRow], extras: Sequence[Extra]
) -> Callable[[CredentialRow], Extra]:
    """Return what gives a login's mapped columns; both are in the document's order."""
    # By identity: two logins of a client can be equal.
    found = {id(login): extra for login, extra in zip(logins, extras, strict=True)}
    return lambda login: found[id(login)]


def _copy_extra(row: Client | Credential, extra: Extra, *, purged_alone: bool) -> None:
    """Write the document's values into the row's mapped columns, or into those that hold a pointer only."""
    names = list_purged_extras(row) if purged_alone else extra
    write_extra(row, {name: extra[name] for name in names if name in extra})


def list_rows_missing_in_document(client: Client, document: Document) -> list[Message]:
    """Name the rows that `copy_document_into_rows` would find no login for. Raises `DocumentError`."""
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    return [
        row.make_row_name_message()
        for credential_type, rows in client.credentials_by_type().items()
        for row in match_rows(rows, read.of_type(credential_type)).unmatched_rows
    ]


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
                NO_ROW_IN_AWS(row=lacking[0].make_row_name_message(), slug=client.slug)
            )
    return found


def pick_values_behind_pointers(
    client: Client, document: Document
) -> dict[Client | Credential, Extra]:
    """Return what AWS holds of the mapped columns in which the client and its rows have only pointers.

    Raises `RowNotInAwsError` and `DocumentError`.
    """
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    extras = documents.parse_extras(document, client_slug=client.slug)
    in_aws: dict[Client | Credential, Extra] = {client: extras.client}
    for credential_type, rows in client.credentials_by_type().items():
        logins = read.of_type(credential_type)
        extra_of = _pair_extras(logins, extras.logins[credential_type])
        match = match_rows(rows, logins, by_destination=True)
        in_aws |= {row: extra_of(login) for row, login in match.pairs}
    found: dict[Client | Credential, Extra] = {}
    for row in list_all_rows(client):
        names, theirs = list_purged_extras(row), in_aws.get(row, {})
        if not all(name in theirs for name in names):
            raise RowNotInAwsError(NO_ROW_IN_AWS(row=row.make_row_name_message(), slug=client.slug))
        found[row] = {name: theirs[name] for name in names}
    return found


def build_document_with_secrets(
    client: Client,
    secrets: Mapping[Credential, Mapping[str, str]],
    extras: Mapping[Client | Credential, Extra],
) -> Document:
    """Return the document of the client's rows with these secret values, by column, in them; store nothing.

    `extras` are values of mapped columns. Needs `read_rows_and_columns`.
    """
    for row in list_all_rows(client):
        row.extra = {**row.extra, **extras.get(row, {})}
    for rows in client.credentials_by_type().values():
        for row in rows:
            for name, value in secrets.get(row, {}).items():
                setattr(row, name, value)
    return client.build_document()


class RowMatch(NamedTuple):
    """Rows with their logins, logins that have no row, and rows that have no login."""

    pairs: list[tuple[Credential, CredentialRow]]
    new_logins: list[CredentialRow]
    unmatched_rows: list[Credential]


def match_rows(
    rows: Sequence[Credential], logins: Sequence[CredentialRow], *, by_destination: bool = False
) -> RowMatch:
    """Pair the rows of one type with a document's logins of that type.

    The primary ones belong together, then those with a label that no other has, then the rest in their order.
    `by_destination` puts first those with a destination that no other has: a secret that is written into a row which
    keeps its own host belongs to that host, even if NOVA made another row the primary one meanwhile.
    """
    keys: list[Key] = [
        lambda entry: entry.is_primary or None,
        _unique_key(lambda entry: None if entry.is_primary else entry.label, rows, logins),
        lambda _entry: True,
    ]
    if by_destination and rows:
        keys.insert(0, _unique_key(attrgetter(*rows[0].DESTINATION_FIELDS), rows, logins))
    match = RowMatch([], list(logins), list(rows))
    for key in keys:
        for row in list(match.unmatched_rows):
            keys_left = [key(login) for login in match.new_logins]
            if (wanted := key(row)) is not None and wanted in keys_left:
                match.pairs.append((row, match.new_logins.pop(keys_left.index(wanted))))
                match.unmatched_rows.remove(row)
    return match


def _unique_key(
    key: Key,
    rows: Iterable[Credential | CredentialRow],
    logins: Iterable[Credential | CredentialRow],
) -> Key:
    """Return `key`, but None for every entry whose key another row or another login has too."""
    counts = [Counter(map(key, entries)) for entries in (rows, logins)]
    unique = {value for value in counts[0] if counts[0][value] == counts[1][value] == 1}
    return lambda entry: key(entry) if key(entry) in unique else None
