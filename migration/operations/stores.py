"""Reads of both stores, and the lock under which a client is pushed. Writes nothing."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction

from credentials.copying import pointer_problem
from migration.models import Secret, clients
from migration.operations.rate_limiter import Unwaiting, limiter
from nova_credentials import document as documents
from nova_credentials.aws.client_secrets import read_client
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document, DocumentError, Layout
from nova_credentials.phases import Phase
from nova_credentials.tables import is_push_pending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from credentials.models import Client
    from migration.models import ClientsByPhase
    from nova_credentials.aws.answers import SecretValue
    from nova_credentials.messages import Message

# The first half of the two-part key of PostgreSQL's advisory locks; the second is the client's id.
CLIENT_LOCK = 0x4E4F5641
LOCK_POLL_SECONDS = 0.1
# A page is waiting: the schedule can come back to it, the person can try again.
GIVE_UP_EARLY: dict[str, Any] = {"connect_timeout": 1, "read_timeout": 2, "max_attempts": 2}
# Threads that begin together would each make one, and a connection to PostgreSQL for its turns.
_making = threading.Lock()


def secrets_manager(*, someone_waits: bool = False) -> SecretsManager:
    """This process' client of Secrets Manager, as the settings say; one that gives up early where someone waits."""
    with _making:
        return _manager(
            os.getpid(),  # a forked child may not share its parent's connections
            someone_waits,
            settings.AWS_REGION,
            settings.AWS_ENDPOINT_URL,
        )


@lru_cache(maxsize=4)
def _manager(_pid: int, someone_waits: bool, region: str, endpoint: str) -> SecretsManager:
    return SecretsManager(
        region,
        endpoint_url=endpoint or None,
        pacer=Unwaiting(limiter()) if someone_waits else limiter(),
        **(GIVE_UP_EARLY if someone_waits else {}),
    )


def secret_layout() -> Layout:
    """One secret a client, or one a service, as the settings say."""
    return Layout(settings.NOVA_SECRET_LAYOUT)


def secret_names(slug: str) -> dict[str, str]:
    """The client's secret names by part, under the configured prefix and layout."""
    return documents.secret_names(slug, prefix=settings.NOVA_SECRET_PREFIX, layout=secret_layout())


@contextmanager
def snapshot() -> Iterator[None]:
    """One moment of the database for all that is read inside; not to be nested in a transaction."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def locked(client_ids: Collection[int], *, wait_seconds: float) -> Iterator[set[int]]:
    """The push lock of each client that came free within `wait_seconds`: the ids held, until the block ends.

    Session-level, so that it spans several transactions and ends with the process that held it. Never waits inside
    PostgreSQL, so two batches with clients in common cannot block each other for ever.
    """
    wanted, held = set(client_ids), set[int]()
    deadline = time.monotonic() + wait_seconds
    try:
        while True:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM unnest(%s::int[]) AS id WHERE pg_try_advisory_lock(%s, id)",
                    [list(wanted - held), CLIENT_LOCK],
                )
                held.update(pk for (pk,) in cursor.fetchall())
            if held == wanted or time.monotonic() >= deadline:
                break
            time.sleep(LOCK_POLL_SECONDS)
        yield held
    finally:
        # Where the connection is gone, so are the locks.
        if held and connection.connection and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_advisory_unlock(%s, id)) FROM unnest(%s::int[]) AS id",
                    [CLIENT_LOCK, list(held)],
                )


@dataclass(frozen=True)
class Rows:
    """What the tables held of one client at one moment."""

    client_id: int
    slug: str
    active: bool
    phase: Phase
    revision: int
    pushed_revision: int | None
    names: dict[str, str]
    has_credentials: bool
    document: Document | None = field(repr=False)  # None: `problem` says why
    problem: Message | None
    # Of rows that make no document: what is kept before they are replaced.
    kept: Document | None = field(repr=False, default=None)

    @property
    def push_pending(self) -> bool:
        return is_push_pending(revision=self.revision, pushed_revision=self.pushed_revision)

    def as_before(self, before: Rows) -> bool:
        """Say whether nobody wrote them since `before`; a write that wasn't counted shows in the rows alone."""
        written = (self.revision, self.document, self.kept)
        return written == (before.revision, before.document, before.kept)


def read_rows(client_ids: Collection[int]) -> dict[int, Rows]:
    """Revision, phase and rows of each client, all of one moment; a client that is gone is left out."""
    with snapshot():
        found = list(_read(client_ids))
    return {client.pk: _rows(client) for client in found}


def locked_rows(client_id: int) -> Rows:
    """The same within the caller's transaction, which has locked the rows; raises where the client is gone."""
    return _rows(_read([client_id]).get())


def locked_client(client_id: int) -> Client:
    """The client with its rows, read anew within the caller's transaction, which has locked them."""
    return _read([client_id]).get()


def _read(client_ids: Collection[int]) -> ClientsByPhase:
    return clients().filter(pk__in=client_ids).with_phase().with_revision().with_credentials()


def _rows(client: Client) -> Rows:
    layout, prefix = secret_layout(), settings.NOVA_SECRET_PREFIX
    phase = Phase(client.phase)  # type: ignore[attr-defined]  # annotated
    document = None
    problem = documents.name_problem(client.slug, prefix=prefix, layout=layout)
    if not problem and phase != Phase.PURGED:
        problem = pointer_problem(client)
    if not problem:
        try:
            document = client.document()
        except DocumentError as error:
            problem = error.message
    return Rows(
        client_id=client.pk,
        slug=client.slug,
        active=bool(client.is_active),
        phase=phase,
        revision=client.revision,
        pushed_revision=client.pushed_revision,
        names=secret_names(client.slug),
        has_credentials=any(client.rows().values()),
        document=document,
        problem=problem,
        kept=client.document_to_keep() if document is None else None,
    )


@dataclass(frozen=True)
class AwsCopy:
    """What AWS holds of one client: its document, and which version of which secret it was read from."""

    document: Document = field(repr=False)
    found: tuple[SecretValue, ...] = field(repr=False)

    @property
    def versions(self) -> dict[str, str]:
        """The id of each secret's current version, by name."""
        return {value.name: value.version_id for value in self.found}

    def secrets(self, client_id: int) -> list[Secret]:
        return [
            Secret(name=value.name, arn=value.arn, version_id=value.version_id, client_id=client_id)
            for value in self.found
        ]


def read_aws(rows: Rows, *, sm: SecretsManager) -> AwsCopy:
    """The client's document in AWS; raises `SecretsManagerError` or `DocumentError` where NOVA could read none."""
    secrets = read_client(sm, rows.names, layout=secret_layout())
    document = secrets.to_document()
    documents.parse_document(document, client_id=rows.client_id, client_slug=rows.slug)
    return AwsCopy(document, tuple(secrets.values.values()))


def secret_names_by_type(rows: Rows) -> dict[CredentialType, str]:
    """Return the name of the secret that holds each type of credential."""
    return {t: rows.names.get(t) or rows.names["client"] for t in CredentialType}


def known_secrets(names: Collection[str]) -> dict[str, Secret]:
    """What earlier pushes stored of these secrets, by name."""
    return Secret.objects.in_bulk(list(names))
