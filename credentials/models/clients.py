"""NOVA's clients, their credential rows, and the revision that says how often those were written."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, models, transaction
from django.db.models.functions import Coalesce
from django.db.models.lookups import In
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _
from psycopg.errors import LockNotAvailable

from credentials.models.columns import NovaColumn, read_extras_into
from credentials.models.counting import ClientWrite
from credentials.models.credentials import (
    CREDENTIAL_MODELS,
    KIND_NAMES,
    AwsCredential,
    Credential,
    DatabaseCredential,
    EmailCredential,
    NaiveUTCDateTimeField,
)
from credentials.values import check_line, check_slug, check_text
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document, DocumentError, Extra
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.tables import CLIENTS

if TYPE_CHECKING:
    from django_stubs_ext.db.models.manager import RelatedManager


ROWS_WAIT_SECONDS = 2.0
ROWS_POLL_SECONDS = 0.05
# Bounds the memory: at most so many clients, with what is stored for each of them, are in it at once.
CLIENTS_AT_ONCE = 5000
# Of `clients.id`, an integer of PostgreSQL. An address or a form may hold larger numbers.
LARGEST_ID = 2**31 - 1

# Columns of `clients` that its form writes.
FORM_COLUMNS = ("name", "slug", "description", "is_active")
DIGEST_LENGTH = 16

NOVA_IS_WRITING = Sentence("nova_is_writing", "NOVA is writing this client's rows. Try again.")
SEVERAL_ROWS_PRIMARY = Sentence(
    "several_rows_primary",
    "%(slug)s: %(n)s %(kind)s logins are primary (%(ids)s); keep one primary.",
    glue=", ",
)
CLIENT_ROW = Sentence("client_row", "client %(id)s")


class RowsBusyError(MessageError):
    """NOVA has written the client's rows and not committed yet."""


class RowsChangedError(Exception):
    """The client or its rows were written since they were read, or the client is gone."""


RowsByType = dict[CredentialType, list["Credential"]]


def read_rows(clients: Iterable[Client]) -> None:
    """Read every credential row of these clients into them: three statements, whatever their number."""
    by_pk = {client.pk: client for client in clients}
    for pk, rows in _select_rows(by_pk).items():
        by_pk[pk].rows_read = rows


def _select_rows(clients: Mapping[int, Client]) -> dict[int, RowsByType]:
    """Return the rows of clients by client and type, in the order of their ids."""
    found: dict[int, RowsByType] = {pk: {t: [] for t in CredentialType} for pk in clients}
    for model in CREDENTIAL_MODELS.values():
        client_field = model._meta.get_field("client")  # type: ignore[misc]  # each has its own
        # Raw: a queryset would be put into SQL anew each time, for longer than PostgreSQL takes to answer.
        for row in model._default_manager.raw(_select_statement(model), [list(clients)]):
            client_field.set_cached_value(row, clients[row.client_id])
            found[row.client_id][model.TYPE].append(row)
    return found


@cache
def _select_statement(model: type[Credential]) -> str:
    columns = ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields)
    return f"SELECT {columns} FROM {model._meta.db_table} WHERE client_id = ANY(%s) ORDER BY id"  # noqa: S608  # the models' names


class IsOneOf(In):
    """Compares with ids as one parameter, an array: each on its own takes half a kilobyte while a query is made."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        if not self.rhs:
            raise EmptyResultSet
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} = ANY(%s)", (*params, list(self.rhs))


class ClientQuerySet(models.QuerySet["Client"]):
    """Clients; the methods add their revisions, keep those whose push is pending, and read and lock their rows."""

    def with_ids(self, client_ids: Collection[int]) -> Self:
        """Select the clients with these ids, however many."""
        return self.filter(IsOneOf(models.F("pk"), client_ids))

    def iterate_slugs(self) -> Iterator[dict[int, str]]:
        """Yield the clients' slugs by id, some at a time, in the ids' order, as they stand when the first is read."""
        rows = self.order_by("pk").values_list("pk", "slug").iterator(chunk_size=CLIENTS_AT_ONCE)
        while some := dict(islice(rows, CLIENTS_AT_ONCE)):
            yield some

    def with_revision(self) -> Self:
        """Annotate `revision` and `pushed_revision` (None: never pushed)."""
        writes = (
            ClientWrite.objects.filter(client_id=models.OuterRef("pk"))
            .order_by()
            .values("client_id")
            .annotate(n=models.Count("*"))
            .values("n")
        )
        return self.annotate(
            revision=Coalesce("client_revision__revision", 0, output_field=models.BigIntegerField())
            + Coalesce(models.Subquery(writes), 0, output_field=models.BigIntegerField()),
            pushed_revision=models.F("client_revision__pushed_revision"),
        )

    def filter_push_pending(self) -> Self:
        """Keep the clients whose rows were written after the last pushed revision, or that were never pushed."""
        pushed = models.F("pushed_revision")
        written = models.Q(pk__in=ClientWrite.objects.values("client_id"))
        return self.with_revision().filter(
            models.Q(pushed_revision=None)
            | models.Q(client_revision__revision__gt=pushed)
            # `written` is there for speed: few clients have writes that are not folded, and only theirs are counted.
            | (written & models.Q(revision__gt=pushed))
        )

    def filter_push_pending_since(self, moment: datetime) -> Self:
        """Keep, of the clients `filter_push_pending`, those that have been waiting since before that moment."""
        early = (
            ClientWrite.objects.filter(client_id=models.OuterRef("pk"), written_at__lt=moment)
            .order_by()
            .values("client_id")
            .annotate(n=models.Count("*"))
            .values("n")
        )
        counted = models.F("client_revision__revision")
        return self.annotate(early_writes=models.Subquery(early)).filter(
            models.Q(client_revision__pending_since__lt=moment)
            # The revision at that moment was not pushed.
            | models.Q(
                early_writes__gt=Coalesce("pushed_revision", 0) - Coalesce(counted, 0),
                early_writes__isnull=False,
            )
        )

    def read_rows_and_columns(self) -> tuple[NovaColumn, ...]:
        """Read these clients' rows and mapped columns into them; return all columns of NOVA's tables."""
        read_rows(self)
        return read_extras_into({client: client.credentials_by_type().values() for client in self})

    def lock_rows(self, *client_ids: int) -> None:
        """Lock the clients and their rows until the transaction ends.

        Nobody can add a credential row either, whose foreign key needs the client's row. Raises `RowsBusyError` where
        NOVA keeps one of the rows locked for ROWS_WAIT_SECONDS.
        """
        deadline = time.monotonic() + ROWS_WAIT_SECONDS
        while not self.try_to_lock_rows(client_ids):
            if time.monotonic() > deadline:
                raise RowsBusyError(NOVA_IS_WRITING())
            time.sleep(ROWS_POLL_SECONDS)

    def try_to_lock_rows(self, client_ids: Collection[int]) -> bool:
        """Lock these clients and all their rows and return True, or lock none of them, where NOVA holds one.

        Waiting for one row while holding others could end in a deadlock with NOVA.
        """
        lock = {"pk__in": client_ids}
        try:
            with transaction.atomic():
                tables: list[type[models.Model]] = [Client, *CREDENTIAL_MODELS.values()]
                for model in tables:
                    rows = model._default_manager.filter(**lock).select_for_update(nowait=True)
                    list(rows.order_by("pk").values_list("pk"))
                    lock = {"client_id__in": client_ids}
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            return False
        return True

    def lock_unchanged_rows(self, client_id: int, *, stamp: str) -> None:
        """Lock the client and its rows as `lock_rows` does; raises `RowsChangedError` where they have another stamp."""
        # Lock before reading, so that the stamp shows every write that was committed meanwhile.
        self.lock_rows(client_id)
        client = self.with_revision().filter(pk=client_id).first()
        if client is None or client.make_stamp() != stamp:
            raise RowsChangedError


class Client(models.Model):
    """A customer whose credentials move."""

    id = models.AutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=255, validators=[check_line])
    slug = models.CharField(_("slug"), max_length=100, unique=True, validators=[check_slug])
    description = models.TextField(_("description"), null=True, blank=True, validators=[check_text])
    is_active = models.BooleanField(_("active"), null=True, default=True)
    created_at = NaiveUTCDateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = NaiveUTCDateTimeField(_("updated"), default=timezone.now, editable=False)

    databases: RelatedManager[DatabaseCredential]
    emails: RelatedManager[EmailCredential]
    aws_logins: RelatedManager[AwsCredential]
    # Annotated by `with_revision`.
    revision: int
    pushed_revision: int | None
    # The values of the mapped columns, and all columns of NOVA's tables (None: `read_extras_into` has not read them).
    NOVA_TABLE = CLIENTS
    extra: Extra = MappingProxyType({})
    nova_columns: tuple[NovaColumn, ...] | None = None
    rows_read: RowsByType | None = None  # by `read_rows`

    objects = ClientQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = '"public"."clients"'
        ordering: ClassVar = ["name", "id"]
        verbose_name = _("client")
        verbose_name_plural = _("clients")

    def __str__(self) -> str:
        return self.name

    def credentials_by_type(self) -> RowsByType:
        """Return this client's credential rows by type, in the order of their ids."""
        return _select_rows({self.pk: self})[self.pk] if self.rows_read is None else self.rows_read

    def make_stamp(self) -> str:
        """Return the revision and a keyed digest of what the client's form writes: another one after any write.

        Writes that no trigger counted show in the digest alone; where the client is purged, in the rows' times alone,
        as the new secret is in AWS. Needs `with_revision`, and reads the credential rows into this client.
        """
        read_rows([self])
        return self.make_stamp_of_read()

    def make_stamp_of_read(self) -> str:
        """Return the stamp of the credential rows that are read already, without reading them again."""
        state: list[object] = [getattr(self, name) for name in FORM_COLUMNS]
        for rows in self.credentials_by_type().values():
            state += [(row.get_model_column_values(), row.updated_at) for row in rows]
        digest = salted_hmac("credentials.Client.make_stamp", repr(state), algorithm="sha256")
        return f"{self.revision}-{digest.hexdigest()[:DIGEST_LENGTH]}"

    def build_document(self) -> Document:
        """Return the document of this client's rows.

        Raises `DocumentError`, which names the ids, where two rows of one type are primary.
        """
        rows = self._read_with_extras()
        for credential_type, of_type in rows.items():
            primary = [row.make_row_name_message() for row in of_type if row.is_primary]
            if len(primary) > 1:
                raise DocumentError(
                    SEVERAL_ROWS_PRIMARY(
                        slug=self.slug,
                        n=len(primary),
                        kind=KIND_NAMES[credential_type](),
                        ids=tuple(primary),
                    )
                )
        return documents.build_document(self.name, rows, slug=self.slug, extra=self.extra)

    def build_document_not_for_push(self) -> Document:
        """Return the document also where several rows of a type are primary: only the first of them stays primary.

        It keeps what these rows hold, and is never pushed.
        """
        return documents.build_document(
            self.name,
            self._read_with_extras(),
            slug=self.slug,
            several_primary=True,
            extra=self.extra,
        )

    def _read_with_extras(self) -> dict[CredentialType, list[Credential]]:
        """Return the rows by type, with the mapped columns in them and in this client."""
        rows = self.credentials_by_type()
        if self.nova_columns is None:
            read_extras_into({self: rows.values()})
        return rows

    def make_row_name_message(self) -> Message:
        """Name this client's own row by its id, for a sentence in any language."""
        return CLIENT_ROW(id=str(self.pk))
