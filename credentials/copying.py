"""Writes the values of a document into a client's rows, and pointers in their place. Deletes no row; knows no phase."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from credentials import sentences
from credentials.models import (
    AwsCredential,
    Client,
    Credential,
    DatabaseCredential,
    EmailCredential,
    save_columns,
)
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nova_credentials.document import Document
    from nova_credentials.messages import Message

    Pair = tuple[Credential, Any]
    Key = Callable[[Any], Any]

MODELS: dict[CredentialType, type[Credential]] = {
    CredentialType.DATABASE: DatabaseCredential,
    CredentialType.EMAIL: EmailCredential,
    CredentialType.AWS: AwsCredential,
}
CREDENTIAL_TYPES = {model: credential_type for credential_type, model in MODELS.items()}
POINTER = "aws-secretsmanager:"


def pointer(secret_name: str) -> str:
    """What stands in place of a secret value that is purged."""
    return f"{POINTER}{secret_name}"


def named(row: Credential) -> Message:
    """Which row of which type it is."""
    return sentences.ROWS[CREDENTIAL_TYPES[type(row)]](id=str(row.pk))


def is_purged(row: Credential) -> bool:
    """Whether the row's values are in AWS alone: one that NOVA wrote since holds what AWS lacks."""
    return all(getattr(row, name).startswith(POINTER) for name in row.SECRET_FIELDS)


def pointer_problem(client: Client) -> Message | None:
    """Why the client's rows are not to be pushed: one has no secret but a pointer, or what a restore takes for one."""
    for rows in client.rows().values():
        for row in rows:
            if is_purged(row):
                return sentences.POINTER_IN_ROW(row=named(row), pointer=POINTER)
    return None


class NoRowInAwsError(MessageError, LookupError):
    """AWS has no login that is the one of this row."""


def put_pointers(client: Client, secret_names: Mapping[CredentialType, str]) -> None:
    """Replaces every secret value of the client's rows by a pointer to the secret of its type."""
    for credential_type, rows in client.rows().items():
        for row in rows:
            _set(row, dict.fromkeys(row.SECRET_FIELDS, pointer(secret_names[credential_type])))


def copy_document(
    client: Client,
    document: Document,
    *,
    wanted: Callable[[Credential], bool] = lambda row: True,
    secrets_alone: bool = False,
) -> list[Message]:
    """Makes the client's rows hold what the document says, those that are `wanted`; answers with what it lacks.

    Raises `DocumentError` where it is no client's document. A login without a row gets one. `secrets_alone`: only the
    secret values of the rows that are there.
    """
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    lacking: list[Message] = []
    for credential_type, rows in client.rows().items():
        logins = read.of_type(credential_type)
        pairs, new, left = match(rows, logins, by_destination=secrets_alone)
        for row, login in pairs:
            if wanted(row):
                columns = _columns(row, login)
                names = row.SECRET_FIELDS if secrets_alone else columns
                _set(row, {name: columns[name] for name in names})
        for login in () if secrets_alone else new:
            row = MODELS[credential_type]()
            row.client = client
            for name, value in _columns(row, login).items():
                setattr(row, name, value)
            row.save()
        lacking += map(named, left)
    if secrets_alone:
        return lacking
    if read.client_name is not None and read.client_name != client.name:
        client.name = read.client_name
        save_columns(client, ["name"])
    return lacking


def secrets_by_row(client: Client, document: Document) -> dict[Credential, dict[str, str]]:
    """AWS's secret values for each row that has but pointers to them.

    Raises `NoRowInAwsError` and `DocumentError`.
    """
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    found: dict[Credential, dict[str, str]] = {}
    for credential_type, rows in client.rows().items():
        pairs, _new, left = match(rows, read.of_type(credential_type), by_destination=True)
        for row, login in pairs:
            if is_purged(row):
                found[row] = {name: getattr(login, name) for name in row.SECRET_FIELDS}
        if lacking := [row for row in left if is_purged(row)]:
            raise NoRowInAwsError(sentences.NO_ROW_IN_AWS(row=named(lacking[0]), slug=client.slug))
    return found


def fill(client: Client, secrets: Mapping[Credential, Mapping[str, str]]) -> Document:
    """The document of the client's rows with these secret values in them; stores nothing."""
    for rows in client.rows().values():
        for row in rows:
            for name, value in secrets.get(row, {}).items():
                setattr(row, name, value)
    return client.document()


def match(
    rows: Sequence[Credential], logins: Sequence[Any], *, by_destination: bool = False
) -> tuple[list[Pair], list[Any], list[Credential]]:
    """Which row is which login: pairs, logins without a row, rows without a login.

    The primary ones belong together, then those whose label only they have, then the rest in their order.
    `by_destination`: before all that, those whose destination only they have. A secret that is put into a row which
    keeps its own host belongs to that host, also where NOVA made another row the primary one meanwhile.
    """
    pairs: list[Pair] = []
    rows_left, logins_left = list(rows), list(logins)
    keys = [_primary, _only(_label, rows, logins), _anything]
    if by_destination and rows:
        destination = attrgetter(*rows[0].DESTINATION_FIELDS)
        keys.insert(0, _only(destination, rows, logins))
    for key in keys:
        for row in list(rows_left):
            found = next(
                (login for login in logins_left if key(row) is not None and key(login) == key(row)),
                None,
            )
            if found is not None:
                pairs.append((row, found))
                rows_left.remove(row)
                # By identity: two logins can be equal.
                logins_left = [login for login in logins_left if login is not found]
    return pairs, logins_left, rows_left


def _primary(login: Any) -> Any:
    return login.is_primary or None


def _label(login: Any) -> Any:
    return None if login.is_primary else login.label


def _only(key: Key, rows: Iterable[Any], logins: Iterable[Any]) -> Key:
    """The key where one row and one login alone have it, None elsewhere."""
    counts = [Counter(map(key, entries)) for entries in (rows, logins)]
    once = {value for value in counts[0] if counts[0][value] == counts[1][value] == 1}
    return lambda entry: key(entry) if key(entry) in once else None


def _anything(login: Any) -> Any:
    return True


def _columns(row: Credential, login: Any) -> dict[str, Any]:
    names = {field.name for field in fields(login)} - {"client_id", "client_slug"}
    return {name: getattr(login, name) for name in names}


def _set(row: Credential, values: dict[str, Any]) -> None:
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        save_columns(row, changed)
