"""Reads of both stores, and the lock under which a client is pushed. Writes nothing."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from credentials.runtime import document as documents
from credentials.runtime.document import Document, DocumentError, Layout
from credentials.runtime.secrets_manager import SecretsManager
from migration.models import Secret, clients
from migration.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from credentials.models import Client

# The first half of the two-part key of PostgreSQL's advisory locks; the second is the client's id.
CLIENT_LOCK = 0x4E4F5641
LOCK_POLL_SECONDS = 0.1


def secrets_manager() -> SecretsManager:
    """This process' one client of Secrets Manager, as the settings say."""
    return _manager(
        os.getpid(),  # a forked child may not share its parent's connections
        settings.AWS_REGION,
        settings.AWS_ENDPOINT_URL,
        settings.NOVA_SECRET_PREFIX,
        settings.NOVA_SECRET_LAYOUT,
    )


@lru_cache(maxsize=4)
def _manager(_pid: int, region: str, endpoint: str, prefix: str, layout: str) -> SecretsManager:
    return SecretsManager(
        region, prefix=prefix, layout=Layout(layout), endpoint_url=endpoint or None
    )


def keyed_digest(purpose: str, *parts: str) -> str:
    """64 hexadecimal digits that only this site can compute."""
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return salted_hmac(f"nova_admin.{purpose}", text, algorithm="sha256").hexdigest()


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
    names: dict[str, str]
    has_credentials: bool
    document: Document | None = field(repr=False)  # None: `problem` says why
    problem: str


def read_rows(client_ids: Collection[int]) -> dict[int, Rows]:
    """Revision, phase and rows of each client, all of one moment; a client that is gone is left out."""
    with snapshot():
        found = list(
            clients().filter(pk__in=client_ids).with_phase().with_revision().with_credentials()
        )
    return {client.pk: _rows(client) for client in found}


def _rows(client: Client) -> Rows:
    layout, prefix = secret_layout(), settings.NOVA_SECRET_PREFIX
    document = None
    problem = documents.name_problem(client.slug, prefix=prefix, layout=layout) or ""
    if not problem:
        try:
            document = client.document()
        except DocumentError as error:
            problem = str(error)
    return Rows(
        client_id=client.pk,
        slug=client.slug,
        active=bool(client.is_active),
        phase=Phase(client.phase),  # type: ignore[attr-defined]  # annotated
        revision=client.revision,
        names=secret_names(client.slug),
        has_credentials=any(client.rows().values()),
        document=document,
        problem=problem,
    )


def known_secrets(names: Collection[str]) -> dict[str, Secret]:
    """What earlier pushes stored of these secrets, by name."""
    return Secret.objects.in_bulk(list(names))
