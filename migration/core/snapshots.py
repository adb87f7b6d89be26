"""Reads clients with their rows, phase and revision, each at one moment of the database. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from django.conf import settings
from django.db import connection, transaction

from credentials.models import Client
from credentials.nova_columns import NovaSchema, convert_schema_errors, judge_columns
from credentials.pointers import describe_row_with_pointer
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.secrets import OtherSecretsState, find_layout, find_other_secrets_layout
from migration.core.sentences import IS_OFFBOARDED
from nova_credentials import document as documents
from nova_credentials.aws.answers import ErrorClass
from nova_credentials.document import Document, DocumentError, Layout
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase, StalePhase
from nova_credentials.tables import is_push_pending


@contextmanager
def repeatable_read_only() -> Iterator[None]:
    """Read one moment of the database in everything inside; not to be nested in a transaction."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@dataclass(frozen=True)
class ClientSnapshot:
    """One client as the tables held it at one moment."""

    client_id: int
    slug: str
    active: bool
    phase: Phase
    revision: int
    pushed_revision: int | None
    # The revision that the last push refused.
    refused_revision: int | None
    # Which secrets are its own: by which slug they are named, and part -> name.
    layout: Layout
    secret_slug: str
    names: dict[str, str]
    # The secrets of another layout, or of another slug, where there may be some: what they are, and part -> name.
    other_secrets: str
    other_slug: str | None
    other_names: dict[str, str]
    has_credentials: bool
    document: Document | None = field(repr=False)  # None where `problem` says why there is none
    problem: Message | None
    problem_class: ErrorClass
    # It was offboarded, or is about to be: nothing else changes it.
    is_leaving_or_left: bool = False
    # For rows that make no document: the document to keep before they are replaced.
    kept: Document | None = field(repr=False, default=None)

    @property
    def push_pending(self) -> bool:
        """Say whether AWS lacks the newest write to the rows."""
        return is_push_pending(revision=self.revision, pushed_revision=self.pushed_revision)

    @property
    def names_to_write(self) -> list[tuple[Layout, dict[str, str]]]:
        """Return layout and part -> name of the secrets to which every write goes: its own, and those that are kept."""
        written = [(self.layout, self.names)]
        if self.other_secrets == OtherSecretsState.KEPT:
            written.append(
                (find_other_secrets_layout(self.layout, self.other_slug), self.other_names)
            )
        return written

    @property
    def all_names(self) -> list[str]:
        """Return the names of all secrets that it may have, its own first."""
        return [*self.names.values(), *self.other_names.values()]

    def require_document(self) -> Document:
        """Return the document; raises `ValueError` with the problem where the rows make none."""
        if self.document is None:
            raise ValueError(str(self.problem))
        return self.document

    def has_same_rows_as(self, before: ClientSnapshot) -> bool:
        """Say whether nobody wrote the rows since `before`. An uncounted write changes only the document."""
        written = (self.revision, self.document, self.kept)
        return written == (before.revision, before.document, before.kept)


def read_snapshots(client_ids: Collection[int]) -> dict[int, ClientSnapshot]:
    """Read each client as of one moment; a client that is gone is left out. Raises `NovaSchemaError`."""
    with convert_schema_errors(), repeatable_read_only():
        found, columns = _read_clients(client_ids)
    snapshots = {}
    for client in found:
        snapshots[client.pk] = _take_snapshot(client, columns)
        # Its rows know their client: of a long run, many clients would wait for the garbage collector.
        client.rows_read = None
    return snapshots


def read_snapshots_for_page(client_ids: Collection[int]) -> dict[int, ClientSnapshot]:
    """Read clients for a page that shows how they stand, not as of one moment. Raises `NovaSchemaError`."""
    with convert_schema_errors():
        found, columns = _read_clients(client_ids)
        return {client.pk: _take_snapshot(client, columns) for client in found}


def read_snapshot(client_id: int, *, seen: Phase | None = None) -> ClientSnapshot:
    """Read one client. Raises `Client.DoesNotExist`, `NovaSchemaError`, or `StalePhase` if it is not in `seen`."""
    snapshot = read_snapshots([client_id]).get(client_id)
    if snapshot is None:
        raise Client.DoesNotExist
    if seen is not None and seen != snapshot.phase:
        raise StalePhase(snapshot.slug, seen, snapshot.phase)
    return snapshot


def reread_locked_snapshot(client_id: int) -> ClientSnapshot:
    """Read one client in the caller's transaction, which locked its rows. Raises `Client.DoesNotExist`."""
    return _take_snapshot(*_read_client(client_id))


def reread_locked_snapshots(client_ids: Collection[int]) -> dict[int, ClientSnapshot]:
    """Read clients in the caller's transaction, which has locked their rows; one that is gone is left out."""
    found, columns = _read_clients(client_ids)
    return {client.pk: _take_snapshot(client, columns) for client in found}


def read_client_with_rows(client_id: int) -> Client:
    """Read one client with its rows for a page. Raises `NovaSchemaError` and `Client.DoesNotExist`."""
    with convert_schema_errors():
        return reread_locked_client(client_id)


def reread_locked_client(client_id: int) -> Client:
    """Read the client with its rows anew in the caller's transaction, which has locked them.

    Raises `Client.DoesNotExist`.
    """
    return _read_client(client_id)[0]


def _read_client(client_id: int) -> tuple[Client, NovaSchema]:
    found, columns = _read_clients([client_id])
    if not found:
        raise Client.DoesNotExist
    return found[0], columns


def _read_clients(client_ids: Collection[int]) -> tuple[ClientPhaseQuerySet, NovaSchema]:
    found = _all_with_revision().filter(pk__in=client_ids)
    return found, judge_columns(found.read_rows_and_columns())


@cache  # putting it together takes as long as reading a client's row
def _all_with_revision() -> ClientPhaseQuerySet:
    found = all_clients().with_phase().with_layout().with_refused_revision()
    return found.with_leaving().with_name_holder().with_revision()


NAME_IS_ANOTHERS = Sentence(
    "name_is_anothers",
    "The name %(name)s is still that of the secrets of the client %(slug)s, to which NOVA gave another slug: nothing is"
    " written there. It is free once AWS has deleted them.",
)


def _take_snapshot(client: Client, columns: NovaSchema) -> ClientSnapshot:
    layout, prefix = find_layout(client.layout), settings.NOVA_SECRET_PREFIX  # type: ignore[attr-defined]  # annotated
    secret_slug: str = client.secret_slug  # type: ignore[attr-defined]  # annotated
    other_slug: str | None = client.other_slug  # type: ignore[attr-defined]  # annotated
    phase = Phase(client.phase)  # type: ignore[attr-defined]  # annotated
    other: str = client.other_secrets  # type: ignore[attr-defined]  # annotated
    leaving: bool = client.is_leaving_or_left  # type: ignore[attr-defined]  # annotated
    document, problem_class = None, ErrorClass.SCHEMA if columns.problem else ErrorClass.DATA
    problem = IS_OFFBOARDED(slug=client.slug) if leaving else None
    problem = (
        problem
        or columns.problem
        or documents.name_problem(secret_slug, prefix=prefix, layout=layout)
    )
    names = documents.secret_names(secret_slug, prefix=prefix, layout=layout)
    if not problem and (holder := client.name_holder):  # type: ignore[attr-defined]  # annotated
        problem = NAME_IS_ANOTHERS(name=next(iter(names.values())), slug=holder)
        problem_class = ErrorClass.CONFLICT
    if not problem and phase != Phase.PURGED:
        problem = describe_row_with_pointer(client)
    if not problem:
        try:
            document = _build_document(client, columns)
        except DocumentError as error:
            problem = error.message
    return ClientSnapshot(
        client_id=client.pk,
        slug=client.slug,
        active=bool(client.is_active),
        phase=phase,
        revision=client.revision,
        pushed_revision=client.pushed_revision,
        refused_revision=client.refused_revision,  # type: ignore[attr-defined]  # annotated
        layout=layout,
        secret_slug=secret_slug,
        names=names,
        other_secrets=other,
        other_slug=other_slug,
        other_names=documents.secret_names(
            other_slug or secret_slug,
            prefix=prefix,
            layout=find_other_secrets_layout(layout, other_slug),
        )
        if other
        else {},
        has_credentials=any(client.credentials_by_type().values()),
        is_leaving_or_left=leaving,
        document=document,
        problem=problem,
        problem_class=problem_class,
        kept=client.build_document_not_for_push() if document is None else None,
    )


def _build_document(client: Client, columns: NovaSchema) -> Document:
    """Return the document; raises DocumentError also for a value that no reader takes, where one can be there."""
    document = client.build_document()
    if columns.has_loosened_columns:
        documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    return document
