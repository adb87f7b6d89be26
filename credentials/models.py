"""NOVA's credential tables, this app's own beside them, and the count of writes to them. Knows no phase.

NOVA's tables are not managed: no schema migration may alter them. `migrations/0001` makes them where they are missing.
Their names carry their schema, quoted so that Django leaves them alone; every other table stands in the site's own.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import OperationalError, connection, models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg.errors import LockNotAvailable

from credentials import sentences
from credentials.counting import (  # noqa: F401  # Django looks here
    CountingGap,
    CountingProof,
    CountingTriggers,
)
from credentials.fields import NaiveUTCDateTimeField
from nova_credentials import credential_types
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from django_stubs_ext.db.models.manager import RelatedManager

ROWS_WAIT_SECONDS = 2.0
ROWS_POLL_SECONDS = 0.05


class RowsBusyError(MessageError):
    """NOVA has written the client's rows and not committed yet."""


# Where a client's rows of each type are found.
RELATIONS = {
    CredentialType.DATABASE: "databases",
    CredentialType.EMAIL: "emails",
    CredentialType.AWS: "aws_logins",
}


def _list_of(relation: str) -> str:
    """Name the list that `with_credentials` reads the rows into."""
    return f"{relation}_read"


class ClientQuerySet(models.QuerySet["Client"]):
    def with_credentials(self) -> Self:
        """Read every credential row too: three queries, whatever the number of clients."""
        # Into plain lists: a manager for each client and table would take longer than reading its rows.
        return self.prefetch_related(
            *(models.Prefetch(name, to_attr=_list_of(name)) for name in RELATIONS.values())
        )

    def with_revision(self) -> Self:
        """Adds `revision` and `pushed_revision` (None: never pushed)."""
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

    def with_push_pending(self) -> Self:
        """Those whose tables were written after what was last pushed, or that were never pushed."""
        pushed = models.F("pushed_revision")
        written = models.Q(pk__in=ClientWrite.objects.values("client_id"))
        return self.with_revision().filter(
            models.Q(pushed_revision=None)
            | models.Q(client_revision__revision__gt=pushed)
            # `written` for speed alone: few have a write that is not folded, and only theirs are counted.
            | (written & models.Q(revision__gt=pushed))
        )

    def with_push_pending_since(self, moment: datetime) -> Self:
        """Of those `with_push_pending`, the ones that have waited since before that moment."""
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
            # The revision of that moment was not pushed.
            | models.Q(
                early_writes__gt=Coalesce("pushed_revision", 0) - Coalesce(counted, 0),
                early_writes__isnull=False,
            )
        )

    def revision_for_update(self, client_id: int) -> int | None:
        """The client's revision, with nobody able to write its rows until the transaction ends; None: it is gone.

        The client's row is locked against new credential rows too, whose foreign key needs it. Raises `RowsBusyError`
        where NOVA doesn't let go of one of them.
        """
        # The locks first: a write that was not committed yet is counted in the revision then.
        deadline = time.monotonic() + ROWS_WAIT_SECONDS
        while not _lock_rows(client_id):
            if time.monotonic() > deadline:
                raise RowsBusyError(sentences.NOVA_IS_WRITING())
            time.sleep(ROWS_POLL_SECONDS)
        client = self.with_revision().filter(pk=client_id).first()
        return client.revision if client else None


def _lock_rows(client_id: int) -> bool:
    """Locks all of a client's rows, or none: who waits with some of them in hand can end in a deadlock with NOVA."""
    lock = {"pk": client_id}
    try:
        with transaction.atomic():
            for model in (Client, DatabaseCredential, EmailCredential, AwsCredential):
                rows = model._default_manager.filter(**lock).select_for_update(nowait=True)
                list(rows.order_by("pk").values_list("pk"))
                lock = {"client_id": client_id}
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        return False
    return True


class Client(models.Model):
    """A customer whose credentials move."""

    id = models.AutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=255)
    slug = models.CharField(_("slug"), max_length=100, unique=True)
    description = models.TextField(_("description"), null=True, blank=True)
    is_active = models.BooleanField(_("active"), null=True, default=True)
    created_at = NaiveUTCDateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = NaiveUTCDateTimeField(_("updated"), default=timezone.now, editable=False)

    databases: RelatedManager[DatabaseCredential]
    emails: RelatedManager[EmailCredential]
    aws_logins: RelatedManager[AwsCredential]
    # Annotated by `with_revision`.
    revision: int
    pushed_revision: int | None

    objects = ClientQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = '"public"."clients"'
        ordering: ClassVar = ["name", "id"]
        verbose_name = _("client")
        verbose_name_plural = _("clients")

    def __str__(self) -> str:
        return self.name

    def rows(self) -> dict[CredentialType, list[Credential]]:
        """Return its credential rows by type, in the order of their ids."""
        return {t: self._rows_of(name) for t, name in RELATIONS.items()}

    def _rows_of(self, relation: str) -> list[Credential]:
        read: list[Credential] | None = getattr(self, _list_of(relation), None)
        return list(getattr(self, relation).order_by("pk")) if read is None else read

    def document(self) -> Document:
        """The document of its rows; `DocumentError` names the ids where two rows of one type are primary."""
        rows = self.rows()
        for credential_type, of_type in rows.items():
            primary = [row.pk for row in of_type if row.is_primary]
            if len(primary) > 1:
                ids = ", ".join(map(str, primary))
                raise DocumentError(
                    sentences.SEVERAL_ROWS_PRIMARY(
                        slug=self.slug, n=len(primary), kind=credential_type, ids=ids
                    )
                )
        return documents.build_document(
            self.name,
            **{t.plural: [row.login(self.slug) for row in of_type] for t, of_type in rows.items()},
        )

    def document_to_keep(self) -> Document:
        """The same, to be put aside, of rows that make none: of several primary ones the first alone stays it."""
        logins: dict[str, list[Any]] = {}
        for credential_type, of_type in self.rows().items():
            first = next((row for row in of_type if row.is_primary), None)
            logins[credential_type.plural] = [
                replace(row.login(self.slug), is_primary=row.is_primary and row is first)
                for row in of_type
            ]
        return documents.build_document(self.name, **logins)


def save_columns(row: Client | Credential, columns: Iterable[str]) -> None:
    """Writes these columns of a stored row and no other: NOVA may have written those since it was read."""
    row.updated_at = timezone.now()
    row.save(update_fields=[*columns, "updated_at"])


class Credential(models.Model):
    """What the three credential tables share."""

    # The columns with a secret in them: written in forms, never shown.
    SECRET_FIELDS: ClassVar[tuple[str, ...]] = ()
    # The columns that say where, and as whom, the secret is used to log in.
    DESTINATION_FIELDS: ClassVar[tuple[str, ...]] = ()

    id = models.AutoField(primary_key=True)
    label = models.CharField(_("label"), max_length=100, null=True, blank=True)
    is_primary = models.BooleanField(
        _("primary"),
        null=True,
        default=True,
        help_text=_("NOVA takes the primary one where no label is asked for."),
    )
    created_at = NaiveUTCDateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = NaiveUTCDateTimeField(_("updated"), default=timezone.now, editable=False)

    client: Any  # each table's own foreign key

    class Meta:
        abstract = True
        ordering: ClassVar = ["id"]

    def moved_by(self, changed: Collection[str]) -> list[str]:
        """Name those of the changed columns that would take the stored secret elsewhere; none where it is changed too.

        Whoever may change a row needn't be allowed to see its secret, and the new place's owner would read it.
        """
        kept = set(self.SECRET_FIELDS) - set(changed)
        if not any(getattr(self, name) for name in kept):
            return []
        return [name for name in self.DESTINATION_FIELDS if name in changed]

    def login(self, slug: str) -> Any:
        """The row as NOVA's readers return it."""
        raise NotImplementedError


class DatabaseCredential(Credential):
    SECRET_FIELDS = ("db_password",)
    DESTINATION_FIELDS = ("db_host", "db_port", "db_user")

    client = models.ForeignKey(Client, models.DO_NOTHING, related_name="databases")
    db_host = models.CharField(_("host"), max_length=255)
    db_port = models.IntegerField(_("port"), default=5432)
    db_name = models.CharField(_("database"), max_length=255)
    db_user = models.CharField(_("user"), max_length=255)
    # Plain text, whatever the column is called; NOVA never encrypted it.
    db_password = models.TextField(_("password"), db_column="db_password_encrypted")

    class Meta(Credential.Meta):
        managed = False
        db_table = '"public"."client_database_credentials"'
        verbose_name = _("database login")
        verbose_name_plural = _("database logins")

    def __str__(self) -> str:
        return self.label or gettext("database login %(id)s") % {"id": self.pk}

    def login(self, slug: str) -> credential_types.DatabaseCredentials:
        return credential_types.DatabaseCredentials(
            client_id=self.client_id,
            client_slug=slug,
            db_host=self.db_host,
            db_port=self.db_port,
            db_name=self.db_name,
            db_user=self.db_user,
            db_password=self.db_password,
            label=self.label,
            is_primary=self.is_primary,
        )


class EmailCredential(Credential):
    SECRET_FIELDS = ("email_password",)
    DESTINATION_FIELDS = (
        *("email_provider", "imap_host", "imap_port", "smtp_host", "smtp_port"),
        "email_user",
    )

    client = models.ForeignKey(Client, models.DO_NOTHING, related_name="emails")
    email_provider = models.CharField(
        _("provider"), max_length=50, null=True, blank=True, default="gmail"
    )
    imap_host = models.CharField(
        _("IMAP host"), max_length=255, null=True, blank=True, default="imap.gmail.com"
    )
    imap_port = models.IntegerField(_("IMAP port"), null=True, blank=True, default=993)
    smtp_host = models.CharField(
        _("SMTP host"), max_length=255, null=True, blank=True, default="smtp.gmail.com"
    )
    smtp_port = models.IntegerField(_("SMTP port"), null=True, blank=True, default=587)
    email_user = models.CharField(_("user"), max_length=255)
    email_password = models.TextField(_("password"), db_column="email_password_encrypted")
    sender_whitelist = models.TextField(
        _("sender whitelist"), null=True, blank=True, help_text=_("Addresses, separated by commas.")
    )

    class Meta(Credential.Meta):
        managed = False
        db_table = '"public"."client_email_credentials"'
        verbose_name = _("mail login")
        verbose_name_plural = _("mail logins")

    def __str__(self) -> str:
        return self.label or gettext("mail login %(id)s") % {"id": self.pk}

    def login(self, slug: str) -> credential_types.EmailCredentials:
        return credential_types.EmailCredentials(
            client_id=self.client_id,
            client_slug=slug,
            email_provider=self.email_provider,
            imap_host=self.imap_host,
            imap_port=self.imap_port,
            smtp_host=self.smtp_host,
            smtp_port=self.smtp_port,
            email_user=self.email_user,
            email_password=self.email_password,
            sender_whitelist=self.sender_whitelist,
            label=self.label,
            is_primary=self.is_primary,
        )


class AwsCredential(Credential):
    """This app's own table, shaped like NOVA's two."""

    SECRET_FIELDS = ("secret_access_key",)
    DESTINATION_FIELDS = ("access_key_id", "region")

    client = models.ForeignKey(Client, models.DO_NOTHING, related_name="aws_logins")
    access_key_id = models.CharField(_("access key id"), max_length=255)
    secret_access_key = models.TextField(_("secret access key"))
    region = models.CharField(
        _("region"), max_length=50, null=True, blank=True, default="us-east-1"
    )

    class Meta(Credential.Meta):
        managed = False
        db_table = "client_aws_credentials"
        verbose_name = _("AWS login")
        verbose_name_plural = _("AWS logins")

    def __str__(self) -> str:
        return self.label or gettext("AWS login %(id)s") % {"id": self.pk}

    def login(self, slug: str) -> credential_types.AwsCredentials:
        return credential_types.AwsCredentials(
            client_id=self.client_id,
            client_slug=slug,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            region=self.region,
            label=self.label,
            is_primary=self.is_primary,
        )


class ClientRevisionQuerySet(models.QuerySet["ClientRevision"]):
    def fold_writes(self) -> None:
        """Adds the counted writes up, so that their table stays small; every client's revision stays the same."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH gone AS (DELETE FROM credentials_clientwrite RETURNING id, client_id, written_at),
                numbered AS (
                    SELECT client_id, written_at, row_number() OVER (PARTITION BY client_id ORDER BY id) AS n FROM gone
                )
                INSERT INTO credentials_clientrevision AS kept (client_id, revision, pending_since)
                SELECT client_id, count(*), min(written_at) FILTER (
                    WHERE n > coalesce(before.pushed_revision, 0) - coalesce(before.revision, 0)
                )
                FROM numbered LEFT JOIN credentials_clientrevision AS before USING (client_id)
                GROUP BY client_id ORDER BY client_id
                ON CONFLICT (client_id) DO UPDATE
                SET revision = kept.revision + excluded.revision,
                    pending_since = CASE WHEN kept.revision + excluded.revision > coalesce(kept.pushed_revision, 0)
                                         THEN coalesce(kept.pending_since, excluded.pending_since) END
                """
            )

    def record_pushed(self, revisions: Iterable[tuple[int, int]]) -> None:
        """Stores, for each (client id, revision), that the rows of that revision are in AWS. Never goes back."""
        pairs = sorted(revisions)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO credentials_clientrevision AS kept (client_id, revision, pushed_revision)
                SELECT client_id, 0, pushed FROM unnest(%s::int[], %s::bigint[]) AS new (client_id, pushed)
                ON CONFLICT (client_id) DO UPDATE
                SET pushed_revision = greatest(kept.pushed_revision, excluded.pushed_revision),
                    pending_since = CASE WHEN kept.revision > excluded.pushed_revision THEN kept.pending_since END
                """,
                [[client_id for client_id, _ in pairs], [revision for _, revision in pairs]],
            )


class ClientRevision(models.Model):
    """How often a client's rows were written, and up to which write AWS has them.

    `revision` is what was folded so far: the client's revision is this plus its `ClientWrite` rows.
    No constraint on `clients`: NOVA deletes clients and must not wait for, or fail on, a table of this app.
    """

    client = models.OneToOneField(
        Client,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="client_revision",
    )
    revision = models.BigIntegerField(default=0, db_default=0)
    pushed_revision = models.BigIntegerField(null=True)
    # Of the writes that were folded, the time of the first that is not pushed.
    pending_since = models.DateTimeField(null=True)

    objects = ClientRevisionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"revision {self.revision} of client {self.client_id}"


class ClientWrite(models.Model):
    """One write to a client's rows, added by the trigger (`trigger_sql.py`).

    A row a write rather than a counter: a counter's row would be locked until NOVA's transaction ends, and NOVA's
    transactions would wait for each other, and for ours, where they never did.
    """

    client_id = models.IntegerField(db_index=True)
    # By the database: the trigger names no such column.
    written_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"write {self.pk} of client {self.client_id}"
