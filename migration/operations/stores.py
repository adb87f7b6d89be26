"""Reads of both stores, and the lock under which a client is pushed. Writes nothing."""

from __future__ import annotations

import hmac
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from credentials.copying import pointer_problem
from migration.models import Secret, clients
from migration.operations.limiter import Unwaiting, limiter
from nova_credentials import document as documents
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError, SecretValue
from nova_credentials.document import Document, DocumentError, Layout
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from credentials.models import Client
    from migration.models import ClientsByPhase

# The first half of the two-part key of PostgreSQL's advisory locks; the second is the client's id.
CLIENT_LOCK = 0x4E4F5641
LOCK_POLL_SECONDS = 0.1
# A page is waiting: the schedule can come back to it, the person can try again.
GIVE_UP_EARLY: dict[str, Any] = {"connect_timeout": 1, "read_timeout": 2, "max_attempts": 2}
# Threads that begin together would each make one, and a connection to PostgreSQL for its turns.
_making = threading.Lock()
# Half of a version's id is arbitrary, the other half proves that this site made it.
HALF = 32


def secrets_manager(*, someone_waits: bool = False) -> SecretsManager:
    """This process' client of Secrets Manager, as the settings say; one that gives up early where someone waits."""
    with _making:
        return _manager(
            os.getpid(),  # a forked child may not share its parent's connections
            someone_waits,
            settings.AWS_REGION,
            settings.AWS_ENDPOINT_URL,
            settings.NOVA_SECRET_PREFIX,
            settings.NOVA_SECRET_LAYOUT,
        )


@lru_cache(maxsize=4)
def _manager(
    _pid: int, someone_waits: bool, region: str, endpoint: str, prefix: str, layout: str
) -> SecretsManager:
    return SecretsManager(
        region,
        prefix=prefix,
        layout=Layout(layout),
        endpoint_url=endpoint or None,
        pacer=Unwaiting(limiter()) if someone_waits else limiter(),
        **(GIVE_UP_EARLY if someone_waits else {}),
    )


def keyed_digest(purpose: str, *parts: str) -> str:
    """64 hexadecimal digits that only this site can compute."""
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return salted_hmac(f"nova_admin.{purpose}", text, algorithm="sha256").hexdigest()


def version_token(name: str, replaced: str, text: str) -> str:
    """The id of the version that a write is to make: the same again for a retry, another after another version."""
    half = keyed_digest("token", name, replaced, text)[:HALF]
    return half + keyed_digest("ours", name, half)[:HALF]


def is_our_version(name: str, version_id: str) -> bool:
    """Whether this site wrote that version, also where it never learnt that it did."""
    half = version_id[:HALF]
    return hmac.compare_digest(version_id, half + keyed_digest("ours", name, half)[:HALF])


def fingerprint_key() -> bytes:
    """The key of the short codes in comparisons."""
    return keyed_digest("fingerprint").encode()


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
    problem: str

    @property
    def push_pending(self) -> bool:
        return self.pushed_revision is None or self.revision > self.pushed_revision

    def as_before(self, before: Rows) -> bool:
        """Say whether nobody wrote them since `before`; a write that wasn't counted shows in the rows alone."""
        return self.revision == before.revision and self.document == before.document


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
    problem = documents.name_problem(client.slug, prefix=prefix, layout=layout) or ""
    if not problem and phase != Phase.PURGED:
        problem = pointer_problem(client)
    if not problem:
        try:
            document = client.document()
        except DocumentError as error:
            problem = str(error)
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
    answers = sm.batch_get(rows.names.values())
    parts: dict[str, Document] = {}
    found: list[SecretValue] = []
    missing: SecretsManagerError | None = None
    for part, name in rows.names.items():
        answer = answers[name]
        if isinstance(answer, SecretValue):
            found.append(answer)
            parts[part] = answer.document()
        elif answer.not_found:
            missing = answer
        else:
            raise answer
    if missing and not parts:
        raise missing
    document = documents.join(parts, layout=secret_layout())
    documents.parse(document, client_id=rows.client_id, client_slug=rows.slug)
    return AwsCopy(document, tuple(found))


def secret_names_by_kind(rows: Rows) -> dict[str, str]:
    """Under which name each kind of credential is."""
    return {kind: rows.names.get(kind) or rows.names["client"] for kind in documents.SERVICES}


def known_secrets(names: Collection[str]) -> dict[str, Secret]:
    """What earlier pushes stored of these secrets, by name."""
    return Secret.objects.in_bulk(list(names))
