"""The columns that NOVA added and the models don't know: how each is mapped, and its values in clients and their rows.

Names of columns are NOVA's: they reach SQL quoted, and nowhere else. Beside them, which objects on NOVA's tables
somebody has accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models.credentials import Credential
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    from credentials.models.clients import Client

Columns = tuple["NovaColumn", ...]

# Changes of mappings wait for the transactions that hold the table: a purge must see the mappings that hold when it
# commits. These two modes exclude each other. No role but the site's may lock it so; an advisory lock any role may.
HOLD_MAPPINGS = "LOCK TABLE nova_admin.credentials_columnmapping IN ROW SHARE MODE"
LOCK_MAPPINGS = "LOCK TABLE nova_admin.credentials_columnmapping IN EXCLUSIVE MODE"

# Every column of the tables with its mapping, and every mapping whose column is gone. A domain counts as its base type,
# and can be ignored only: its owner's checks run whenever it is written. PostgreSQL keeps the n of varchar(n) as n + 4.
COLUMNS = """
SELECT coalesce(there.name, m."table"), coalesce(there.attname, m."column"), there.type,
    CASE WHEN there.is_varchar AND there.modifier > 0 THEN there.modifier - 4 END,
    coalesce(there.attnotnull, false), coalesce(there.is_text, false), m.use, m.column_type
FROM (
    SELECT nova.name, a.attname::text, format_type(base.oid, NULL) AS type, a.attnotnull,
        base.oid = 'varchar'::regtype AS is_varchar,
        CASE WHEN t.typbasetype = 0 THEN a.atttypmod ELSE t.typtypmod END AS modifier,
        t.oid IN ('text'::regtype, 'varchar'::regtype) AND a.attgenerated = '' AS is_text
    FROM unnest(%s::text[]) AS nova (name)
        JOIN pg_attribute a ON a.attrelid = to_regclass(nova.name) AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
        JOIN pg_type base ON base.oid = CASE WHEN t.typbasetype = 0 THEN t.oid ELSE t.typbasetype END
) AS there
FULL JOIN nova_admin.credentials_columnmapping m ON m."table" = there.name AND m."column" = there.attname
ORDER BY 1, 2
"""


class ColumnUse(models.TextChoices):
    """The way a column that NOVA added is treated."""

    SECRET = "secret", _("Secret")
    PLAIN = "plain", _("Plain")
    IGNORE = "ignore", _("Ignored")

    @property
    def travels(self) -> bool:
        """Say whether the column's values are part of the client's document."""
        return self != ColumnUse.IGNORE


class ColumnMapping(models.Model):
    """One column that NOVA added to one of its tables, and how it is treated."""

    table = models.CharField(_("table"), max_length=100)
    column = models.TextField(_("column"))
    use = models.CharField(_("use"), max_length=10, choices=ColumnUse.choices)
    # PostgreSQL's name of the type it had then: a column of another type has to be mapped anew.
    column_type = models.TextField(_("type"))
    mapped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    # Kept when the user is deleted; empty for the command without a user.
    username = models.CharField(_("user"), max_length=150, blank=True)
    mapped_at = models.DateTimeField(_("mapped"), default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["table", "column"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["table", "column"], name="one_mapping_a_column")
        ]
        permissions: ClassVar = [("map_column", _("Can map columns of NOVA's tables"))]
        verbose_name = _("mapped column")
        verbose_name_plural = _("mapped columns")

    def __str__(self) -> str:
        return f"{self.table}.{self.column}: {self.use}"


@dataclass(frozen=True)
class NovaColumn:
    """One column of a table of NOVA's, or of a mapping whose column is gone (then without a type)."""

    table: str
    name: str
    type: str | None
    max_length: int | None
    not_null: bool
    is_text: bool  # of a type that can be mapped as secret or plain
    use: ColumnUse | None
    mapped_type: str | None

    @property
    def has_valid_mapping(self) -> bool:
        """Say whether its mapping is valid. One that is ignored and has another type now may hold anything."""
        if self.use is None:
            return False
        return self.use.travels or self.type == self.mapped_type

    @property
    def shown_table_and_name(self) -> str:
        """Return its name with the table's, fit to be shown."""
        return f"{self.table}.{escape_name(self.name)}"


def read_columns_and_mappings() -> Columns:
    """Read all columns of NOVA's tables with their mappings, and mappings whose column is gone, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [list(NOVA_TABLES)])
        return tuple(
            NovaColumn(
                table=table,
                name=name,
                type=type_name,
                max_length=max_length,
                not_null=not_null,
                is_text=is_text,
                use=ColumnUse(use) if use else None,
                mapped_type=mapped_type,
            )
            for table, name, type_name, max_length, not_null, is_text, use, mapped_type in cursor
        )


def list_document_columns(columns: Columns, table: str) -> list[NovaColumn]:
    """Return the columns of the table whose values travel in the document."""
    return [c for c in columns if c.table == table and c.use and c.use.travels and c.is_text]


def read_extras_into(clients: Mapping[Client, Iterable[Sequence[Credential]]]) -> Columns:
    """Read the mapped columns of clients, each with its rows by type, into them; return all columns.

    One query, and one for each table with mapped columns. In a transaction of READ COMMITTED, call it after clients'
    revisions were read: then a change of mappings in between leaves a push pending.
    """
    columns = read_columns_and_mappings()
    _read_table(list(clients), columns)
    for of_type in zip(*clients.values(), strict=True):
        _read_table([row for rows in of_type for row in rows], columns)
    for client in clients:
        client.nova_columns = columns
    return columns


def _read_table(rows: Sequence[Client | Credential], columns: Columns) -> None:
    """Read the mapped columns of rows of one table."""
    table = rows[0].NOVA_TABLE if rows else ""
    mapped = list_document_columns(columns, table)
    if not mapped:
        return
    names = ", ".join(quote_name_for_parametrized_sql(column.name) for column in mapped)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, {names} FROM {table} WHERE id = ANY(%s)",  # noqa: S608  # quoted, or a constant
            [[row.pk for row in rows]],
        )
        found = {pk: values for pk, *values in cursor.fetchall()}
    for row in rows:
        if row.pk in found:  # else deleted since, where the transaction sees it
            row.extra = dict(zip((c.name for c in mapped), found[row.pk], strict=True))


def write_extra(row: Client | Credential, values: Mapping[str, str | None]) -> None:
    """Write these values of mapped columns where they differ from those that were read into the row."""
    changed = {name: value for name, value in values.items() if row.extra.get(name, value) != value}
    if not changed:
        return
    assignments = "".join(f"{quote_name_for_parametrized_sql(name)} = %s, " for name in changed)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {row.NOVA_TABLE} SET {assignments} updated_at = now() AT TIME ZONE 'UTC'"  # noqa: S608  # as above
            " WHERE id = %s",
            [*changed.values(), row.pk],
        )
    row.extra = {**row.extra, **changed}


def list_mapped_secret_columns(row: Client | Credential, columns: Columns) -> list[NovaColumn]:
    """Return the columns of the row's table that are mapped as secret."""
    mapped = list_document_columns(columns, row.NOVA_TABLE)
    return [column for column in mapped if column.use == ColumnUse.SECRET]


def quote_name_for_parametrized_sql(name: str) -> str:
    """Quote the name of a column for a statement that has parameters."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def lock_mappings_shared() -> None:
    """Keep mappings from being changed until the caller's transaction ends; other holders don't wait."""
    with connection.cursor() as cursor:
        cursor.execute(HOLD_MAPPINGS)


def lock_mappings() -> None:
    """Wait until nobody holds the mappings, and keep all others out until the caller's transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_MAPPINGS)


class AcceptedObject(models.Model):
    """One object on NOVA's tables, as it was defined when somebody accepted it. Never changed afterwards."""

    kind = models.CharField(_("kind"), max_length=40)
    name = models.TextField(_("name"))
    table = models.CharField(_("table"), max_length=100)
    owner = models.TextField(_("owner in PostgreSQL"))
    digest = models.CharField(max_length=64)  # of its definition, in hex
    # As the user typed it.
    reason = models.TextField(_("reason"))
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    # Kept when the user is deleted; empty for the command without a user.
    username = models.CharField(_("user"), max_length=150, blank=True)
    accepted_at = models.DateTimeField(_("accepted"), default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "table", "name", "owner", "digest"], name="object_accepted_once"
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("reason"), 500), name="accepted_reason_is_short"
            ),
        ]
        permissions: ClassVar = [
            ("accept_object", _("Can accept objects of others on NOVA's tables"))
        ]
        verbose_name = _("accepted object")
        verbose_name_plural = _("accepted objects")

    def __str__(self) -> str:
        return f"{self.kind} {self.name} on {self.table}"
