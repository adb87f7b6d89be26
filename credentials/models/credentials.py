"""The three credential tables: NOVA's two, and this app's own for AWS logins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.refusals import ROW_LEFT_OUT, RefusedByDatabaseError
from credentials.values import (
    PORT_VALIDATORS,
    check_access_key_id,
    check_host,
    check_hosts,
    check_line,
    check_outer_blanks,
    check_secret,
    check_secret_access_key,
)
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Extra
from nova_credentials.messages import Message, Sentence
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import CREDENTIALS

if TYPE_CHECKING:
    from credentials.models.clients import Client

# A type of logins in a sentence, and the name of one row of it.
KIND_NAMES = {
    "database": Sentence("logins_of_databases", "database"),
    "email": Sentence("logins_of_mail", "mail"),
    "aws": Sentence("logins_of_aws", "AWS"),
}
ROW_NAMES = {
    "database": Sentence("row_database", "database login %(id)s"),
    "email": Sentence("row_email", "mail login %(id)s"),
    "aws": Sentence("row_aws", "AWS login %(id)s"),
}
# A login by its label, host or address; by its id only where its row is gone.
NAMED_ROWS = {
    "database": Sentence("named_database_login", "database login %(name)s"),
    "email": Sentence("named_mail_login", "mail login %(name)s"),
    "aws": Sentence("named_aws_login", "AWS login %(name)s"),
}


class NaiveUTCDateTimeField(models.DateTimeField):  # type: ignore[type-arg]  # generic only in the stubs
    """`timestamp without time zone` holding UTC, as NOVA writes it; an aware datetime in Python."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "timestamp without time zone"

    def from_db_value(self, value: datetime | None, *_: object) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)

    def get_db_prep_value(
        self, value: datetime | None, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> datetime | None:
        prepared_value = value if prepared else self.get_prep_value(value)
        return (
            None if prepared_value is None else prepared_value.astimezone(UTC).replace(tzinfo=None)
        )


def save_columns(row: Client | Credential, columns: Iterable[str]) -> None:
    """Write these columns and `updated_at` of a stored row, no others: NOVA may have written those meanwhile.

    Raises `RefusedByDatabaseError` where a trigger left the row out.
    """
    row.updated_at = timezone.now()
    try:
        row.save(update_fields=[*columns, "updated_at"])
    except DatabaseError as error:
        if error.__cause__ is not None:  # PostgreSQL's; Django's own says that no row was written
            raise
        raise RefusedByDatabaseError(ROW_LEFT_OUT()) from None


def write_changed_values(row: Credential, values: Mapping[str, object]) -> None:
    """Write those of these values that differ from the row's, as it was read."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        save_columns(row, changed)


class Credential(models.Model):
    """The columns that the three credential tables share."""

    TYPE: ClassVar[CredentialType]
    # The table's name as SQL has it, where it is NOVA's.
    NOVA_TABLE: ClassVar[str] = ""
    # Columns that hold a secret: written in forms, never shown.
    SECRET_FIELDS: ClassVar[tuple[str, ...]] = ()
    # Columns that say where, and as which user, the secret logs in.
    DESTINATION_FIELDS: ClassVar[tuple[str, ...]] = ()

    id = models.AutoField(primary_key=True)
    label = models.CharField(
        _("label"), max_length=100, null=True, blank=True, validators=[check_line]
    )
    is_primary = models.BooleanField(
        _("primary"),
        null=True,
        default=True,
        help_text=_("NOVA uses the primary login when it asks for no label."),
    )
    created_at = NaiveUTCDateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = NaiveUTCDateTimeField(_("updated"), default=timezone.now, editable=False)

    client_id: int  # of each table's own foreign key
    # The values of the mapped columns, which `read_extras_into` reads.
    extra: Extra = MappingProxyType({})

    class Meta:
        abstract = True
        ordering: ClassVar = ["id"]

    def list_columns_redirecting_secret(self, changed: Collection[str]) -> list[str]:
        """Return the changed columns that would send the stored secret elsewhere; none where it is changed too.

        Somebody who may change a row needn't be allowed to see its secret, and the new host's owner would read it.
        """
        kept = set(self.SECRET_FIELDS) - set(changed)
        if not any(getattr(self, name) for name in kept):
            return []
        return [name for name in self.DESTINATION_FIELDS if name in changed]

    def get_model_column_values(self) -> dict[str, object]:
        """Return every column of this row except `updated_at`, secrets too."""
        columns = (field.attname for field in self._meta.concrete_fields)
        return {name: getattr(self, name) for name in columns if name != "updated_at"}

    @property
    def short_name(self) -> str:
        """Return its label, else its host or address; "" where it has neither yet."""
        return self.label or " › ".join(filter(None, self.list_identifying_values()))

    def describe_host_or_address(self) -> str:
        """Name the login by its host or address, and its label where it has one."""
        place = " › ".join(filter(None, self.list_identifying_values()))
        if self.label and place:
            return f"{self.label} ({place})"
        return place or str(self)

    def list_identifying_values(self) -> tuple[str, ...]:
        """Return what names the login, the widest first: database host and name, mail user, or access key id."""
        raise NotImplementedError

    @property
    def get_inline_title(self) -> str:
        """Return the heading of the row on the client's page; Unfold looks for it under this name."""
        return self.describe_host_or_address()

    def make_row_name_message(self) -> Message:
        """Name this row by its type and id, for a sentence in any language."""
        return ROW_NAMES[self.TYPE](id=str(self.pk))

    def make_login_name_message(self) -> Message:
        """Name the login by its label, host or address, where it has one."""
        if name := self.short_name:
            return NAMED_ROWS[self.TYPE](name=escape_name(name))
        return self.make_row_name_message()


class DatabaseCredential(Credential):
    """One database login of a client, in NOVA's table."""

    TYPE = CredentialType.DATABASE
    NOVA_TABLE = CREDENTIALS[CredentialType.DATABASE]
    SECRET_FIELDS = ("db_password",)
    DESTINATION_FIELDS = ("db_host", "db_port", "db_user")

    client = models.ForeignKey("credentials.Client", models.DO_NOTHING, related_name="databases")
    db_host = models.CharField(_("host"), max_length=255, validators=[check_hosts])
    db_port = models.IntegerField(_("port"), default=5432, validators=PORT_VALIDATORS)
    db_name = models.CharField(
        _("database"), max_length=255, validators=[check_line, check_outer_blanks]
    )
    db_user = models.CharField(_("user"), max_length=255, validators=[check_line])
    # Plain text, in spite of the column's name: NOVA never encrypted it.
    db_password = models.TextField(
        _("password"), db_column="db_password_encrypted", validators=[check_secret]
    )

    class Meta(Credential.Meta):
        managed = False
        db_table = '"public"."client_database_credentials"'
        verbose_name = _("database login")
        verbose_name_plural = _("database logins")

    def __str__(self) -> str:
        return self.short_name or gettext("database login %(id)s") % {"id": self.pk}

    def list_identifying_values(self) -> tuple[str, ...]:
        return self.db_host, self.db_name


class EmailCredential(Credential):
    """One mailbox of a client, in NOVA's table."""

    TYPE = CredentialType.EMAIL
    NOVA_TABLE = CREDENTIALS[CredentialType.EMAIL]
    SECRET_FIELDS = ("email_password",)
    DESTINATION_FIELDS = (
        *("email_provider", "imap_host", "imap_port", "smtp_host", "smtp_port"),
        "email_user",
    )

    client = models.ForeignKey("credentials.Client", models.DO_NOTHING, related_name="emails")
    email_provider = models.CharField(
        _("provider"),
        max_length=50,
        null=True,
        blank=True,
        default="gmail",
        validators=[check_line],
    )
    imap_host = models.CharField(
        _("IMAP host"),
        max_length=255,
        null=True,
        blank=True,
        default="imap.gmail.com",
        validators=[check_host],
    )
    imap_port = models.IntegerField(
        _("IMAP port"), null=True, blank=True, default=993, validators=PORT_VALIDATORS
    )
    smtp_host = models.CharField(
        _("SMTP host"),
        max_length=255,
        null=True,
        blank=True,
        default="smtp.gmail.com",
        validators=[check_host],
    )
    smtp_port = models.IntegerField(
        _("SMTP port"), null=True, blank=True, default=587, validators=PORT_VALIDATORS
    )
    email_user = models.CharField(_("user"), max_length=255, validators=[check_line])
    email_password = models.TextField(
        _("password"), db_column="email_password_encrypted", validators=[check_secret]
    )
    sender_whitelist = models.TextField(
        _("sender whitelist"), null=True, blank=True, help_text=_("Addresses, separated by commas.")
    )

    class Meta(Credential.Meta):
        managed = False
        db_table = '"public"."client_email_credentials"'
        verbose_name = _("mail login")
        verbose_name_plural = _("mail logins")

    def __str__(self) -> str:
        return self.short_name or gettext("mail login %(id)s") % {"id": self.pk}

    def list_identifying_values(self) -> tuple[str, ...]:
        return (self.email_user,)


class AwsCredential(Credential):
    """One AWS access key of a client, in this app's own table, which is shaped like NOVA's two."""

    TYPE = CredentialType.AWS
    SECRET_FIELDS = ("secret_access_key",)
    DESTINATION_FIELDS = ("access_key_id", "region")

    client = models.ForeignKey("credentials.Client", models.DO_NOTHING, related_name="aws_logins")
    access_key_id = models.CharField(
        _("access key id"), max_length=255, validators=[check_access_key_id]
    )
    secret_access_key = models.TextField(
        _("secret access key"), validators=[check_secret, check_secret_access_key]
    )
    region = models.CharField(
        _("region"),
        max_length=50,
        null=True,
        blank=True,
        default="us-east-1",
        validators=[check_line],
    )

    class Meta(Credential.Meta):
        managed = False
        db_table = "client_aws_credentials"
        verbose_name = _("AWS login")
        verbose_name_plural = _("AWS logins")

    def __str__(self) -> str:
        return self.short_name or gettext("AWS login %(id)s") % {"id": self.pk}

    def list_identifying_values(self) -> tuple[str, ...]:
        return (self.access_key_id,)


CREDENTIAL_MODELS: dict[CredentialType, type[Credential]] = {
    model.TYPE: model for model in (DatabaseCredential, EmailCredential, AwsCredential)
}


def find_row_names(ids: Mapping[str, Collection[int]]) -> dict[tuple[str, int], str]:
    """Return (type, id) -> what names the login, of the rows that are there still; a query for each type, no secret.

    Of two of a client that have the same name the ids tell them apart.
    """
    rows = {
        (kind, pk): row
        for kind, pks in ids.items()
        for model in [CREDENTIAL_MODELS[CredentialType(kind)]]
        for pk, row in model._default_manager.defer(*model.SECRET_FIELDS).in_bulk(pks).items()
    }
    named = Counter((kind, row.client_id, row.short_name) for (kind, _pk), row in rows.items())
    numbered = gettext("%(name)s (no. %(id)s)")
    return {
        (kind, pk): numbered % {"name": row.short_name, "id": pk}
        if row.short_name and named[kind, row.client_id, row.short_name] > 1
        else row.short_name
        for (kind, pk), row in rows.items()
    }


# Of a sentence that names a row by its id: the type of the login.
_KINDS = {sentence.key: kind for kind, sentence in ROW_NAMES.items()}
_MOST_DIGITS = 9  # of an id that its column holds for sure


def name_rows(messages: Collection[Message]) -> list[Message]:
    """Return the messages with the name of each login in place of its id, as other pages show it, where it is there."""
    ids: dict[str, set[int]] = {}
    for message in messages:
        for kind, pk in _list_rows(message):
            ids.setdefault(kind, set()).add(pk)
    try:
        names = find_row_names(ids)
    except DatabaseError:  # NOVA's tables changed
        return list(messages)
    return [_name_rows_in(message, names) for message in messages] if names else list(messages)


def _list_rows(message: Message) -> Iterator[tuple[str, int]]:
    if row := _read_row(message):
        yield row
    for value in message.values.values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Message):
                yield from _list_rows(part)


def _read_row(message: Message) -> tuple[str, int] | None:
    kind, pk = _KINDS.get(message.key), message.values.get("id")
    is_id = isinstance(pk, str) and pk.isdecimal() and len(pk) <= _MOST_DIGITS
    return (kind, int(pk)) if kind and is_id else None  # type: ignore[arg-type]  # a text


def _name_rows_in(message: Message, names: Mapping[tuple[str, int], str]) -> Message:
    def name(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(name, value))
        return _name_rows_in(value, names) if isinstance(value, Message) else value

    if (row := _read_row(message)) and (found := names.get(row)):
        return NAMED_ROWS[row[0]](name=escape_name(found))
    return replace(message, values={key: name(value) for key, value in message.values.items()})
