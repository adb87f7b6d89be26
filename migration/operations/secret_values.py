"""Gathers clients' secret values, present and former, from the tables and from AWS. Stores and logs none of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from credentials.models import (
    ColumnUse,
    Credential,
    list_mapped_secret_columns,
    read_columns_and_mappings,
)
from credentials.pointers import POINTER, list_all_rows
from migration.models.clients import all_clients
from migration.models.secrets import Secret
from migration.operations.aws_store import client_secret_names
from migration.operations.known_values import note_purged_clients
from migration.operations.secret_writer import REPLACED_STAGE
from nova_credentials import document as documents
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import SecretsManagerError, SecretValue
from nova_credentials.credential_types import CredentialType, get_secret_value_key
from nova_credentials.document import EXTRA_KEY, Layout
from nova_credentials.phases import Phase
from nova_credentials.tables import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from credentials.models import Client
    from nova_credentials.aws.answers import Answers
    from nova_credentials.aws.secrets_manager import SecretsManager

# The keys of a document under which secret values stand, at any depth.
SECRET_KEYS = {get_secret_value_key(credential_type) for credential_type in CredentialType}
# Versions with other stages, or with none, are not asked for.
FORMER_STAGES = ("AWSPREVIOUS", REPLACED_STAGE, "AWSPENDING")
# A shorter value would be found in texts that have nothing to do with it.
SHORTEST_VALUE = 6
CLIENTS_AT_ONCE = 200
CALLS_AT_ONCE = 10
# Our own code for a secret whose text is not a document.
NO_DOCUMENT = "NoDocument"


@dataclass
class ClientValues:
    """The secret values of one client, and what could not be read of them."""

    client_id: int
    slug: str
    phase: Phase
    # At least SHORTEST_VALUE characters long.
    values: set[str] = field(default_factory=set, repr=False)
    in_rows: set[str] = field(default_factory=set, repr=False)  # those of them that its rows hold
    # Value -> name of the secret whose current version holds it: of those that NOVA's reader reads.
    in_aws: dict[str, str] = field(default_factory=dict, repr=False)
    # Name of a secret -> why its values are not known.
    unread: dict[str, str] = field(default_factory=dict)
    # The secrets and tables that hold a value that is too short.
    short: set[str] = field(default_factory=set)
    layout: str | None = None  # as it is stored
    secret_slug: str = ""

    def add_values(self, found: Collection[str], source: str) -> None:
        """Add these values; in place of one that is too short keep `source`, the name of its secret or table."""
        for value in found:
            if len(value) >= SHORTEST_VALUE:
                self.values.add(value)
            elif value:
                self.short.add(source)


def gather_values_and_note_purged(
    client_ids: Collection[int], *, sm: SecretsManager, tell: Callable[[], object] = lambda: None
) -> list[ClientValues]:
    """Read clients' values in rows and AWS, by slug; note fingerprints of the purged ones' as known.

    `tell` is called every CLIENTS_AT_ONCE clients.
    """
    gathered: list[ClientValues] = []
    wanted = sorted(client_ids)
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        batch = wanted[start : start + CLIENTS_AT_ONCE]
        read_at, rows = timezone.now(), list(_read_rows(batch))
        of_batch = {values.client_id: values for _client, values in rows}
        answers = _add_values_of_aws(of_batch, sm)
        note_purged_clients([client for client, _values in rows], answers, read_at=read_at)
        gathered += of_batch.values()
        tell()
    return sorted(gathered, key=lambda row: row.slug)


def find_slugs_by_postgres_value() -> dict[str, str]:
    """Return value -> slug of a client that is read from PostgreSQL and has it in its rows."""
    found: dict[str, str] = {}
    wanted = list(all_clients().values_list("pk", flat=True))
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        for _client, client in _read_rows(wanted[start : start + CLIENTS_AT_ONCE]):
            if not client.phase.aws_is_authority:
                found |= dict.fromkeys(client.values, client.slug)
    return found


def list_values_in_all_rows() -> set[str]:
    """Return the secret values of at least SHORTEST_VALUE characters in the rows of all clients."""
    found: set[str] = set()
    wanted = list(all_clients().values_list("pk", flat=True))
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        rows = _read_rows(wanted[start : start + CLIENTS_AT_ONCE])
        found.update(*(client.in_rows for _client, client in rows))
    return found


def list_searchable_values(client_id: int) -> set[str]:
    """Return the secret values of at least SHORTEST_VALUE characters in the client's rows."""
    return {value for _client, client in _read_rows([client_id]) for value in client.values}


def _read_rows(client_ids: list[int]) -> Iterator[tuple[Client, ClientValues]]:
    """Yield each client with its rows, and the values in them."""
    clients = all_clients().filter(pk__in=client_ids).with_phase().with_layout()
    columns = clients.read_rows_and_columns()
    for client in clients:
        phase, layout = Phase(client.phase), client.layout  # type: ignore[attr-defined]  # annotated
        secret_slug: str = client.secret_slug  # type: ignore[attr-defined]  # annotated
        values = ClientValues(client.pk, client.slug, phase, layout=layout, secret_slug=secret_slug)
        for row in list_all_rows(client):
            found = [
                row.extra.get(column.name) for column in list_mapped_secret_columns(row, columns)
            ]
            table = row.NOVA_TABLE
            if isinstance(row, Credential):
                found += [getattr(row, name) for name in row.SECRET_FIELDS]
                table = CREDENTIALS[row.TYPE]
            kept = [value for value in found if value and not value.startswith(POINTER)]
            values.add_values(kept, table)
        values.in_rows |= values.values
        yield client, values


def _add_values_of_aws(clients: dict[int, ClientValues], sm: SecretsManager) -> Answers:
    """Add what AWS holds: the versions under FORMER_STAGES, and each secret's current version, which it returns."""
    owners, known = _list_secret_names(clients)
    mapped = {
        column.name for column in read_columns_and_mappings() if column.use == ColumnUse.SECRET
    }
    answers = sm.detect_deletions(sm.batch_get(owners), lacking=known)
    there = [name for name, answer in answers.items() if isinstance(answer, SecretValue)]
    for name, answer in answers.items():
        owner = clients[owners[name]]
        own = client_secret_names(owner).values()
        if isinstance(answer, SecretValue):
            found = _add_values_of_secret(owner, answer, mapped)
            if name in own:
                owner.in_aws |= dict.fromkeys(found, name)
        elif answer.scheduled_for_deletion and name not in own:
            continue  # a change of layout or of its slug left it; until then it held what the client's own secrets held
        elif not answer.not_found and answer.code != "InvalidName":
            owner.unread[name] = answer.code
    for name, former in _read_former_versions(there, sm):
        owner = clients[owners[name]]
        if isinstance(former, SecretsManagerError):
            owner.unread[name] = former.code
        else:
            _add_values_of_secret(owner, former, mapped)
    return answers


def _list_secret_names(
    clients: dict[int, ClientValues],
) -> tuple[dict[str, int], set[str]]:
    """Return secret name -> client id for the names of both layouts, and the names that a push has used."""
    owners: dict[str, int] = {}
    for client in clients.values():
        for layout in Layout:
            names = documents.secret_names(
                client.secret_slug, prefix=settings.NOVA_SECRET_PREFIX, layout=layout
            )
            owners |= dict.fromkeys(names.values(), client.client_id)
    pushed = Secret.objects.filter(client_id__in=clients)
    known = dict(pushed.values_list("name", "client_id"))
    return owners | known, set(known)


def _read_former_versions(
    names: list[str], sm: SecretsManager
) -> Iterator[tuple[str, SecretValue | SecretsManagerError]]:
    """Yield name and version, or error, for each stage of these secrets that AWS has or refuses to give."""

    def read_stage(asked: tuple[str, str]) -> SecretValue | SecretsManagerError | None:
        try:
            return sm.get_stage(*asked)
        except SecretsManagerError as error:
            return error

    asked = [(name, stage) for name in names for stage in FORMER_STAGES]
    with ContextThreads(CALLS_AT_ONCE) as threads:
        for (name, _stage), found in zip(asked, threads.map(read_stage, asked), strict=True):
            if found is not None:
                yield name, found


def _add_values_of_secret(
    owner: ClientValues, secret: SecretValue, mapped: Collection[str]
) -> list[str]:
    """Add the values that the secret's text holds, and return them."""
    try:
        document = json.loads(secret.text or "")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        owner.unread[secret.name] = NO_DOCUMENT
        return []
    found = list(_walk_secret_values(document, mapped))
    owner.add_values(found, secret.name)
    return [value for value in found if len(value) >= SHORTEST_VALUE]


def _walk_secret_values(node: object, mapped: Collection[str]) -> Iterator[str]:
    """Yield the texts under SECRET_KEYS at any depth, and those of columns mapped as secret; a pointer is none."""
    if isinstance(node, dict):
        extra = node.get(EXTRA_KEY)
        if isinstance(extra, dict):
            yield from _pick_texts(extra, mapped)
        yield from _pick_texts(node, SECRET_KEYS)
        for value in node.values():
            yield from _walk_secret_values(value, mapped)
    elif isinstance(node, list):
        for value in node:
            yield from _walk_secret_values(value, mapped)


def _pick_texts(entry: Mapping[str, object], keys: Collection[str]) -> Iterator[str]:
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str) and not value.startswith(POINTER):
            yield value
