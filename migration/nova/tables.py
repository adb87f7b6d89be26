"""NOVA's own columns and objects: which are known, mapped or accepted, and what that means for gates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy

from credentials.models import (
    AcceptedObject,
    ColumnMapping,
    ColumnUse,
    NovaColumn,
    lock_mappings,
    quote_name_for_parametrized_sql,
)
from credentials.nova_columns import ColumnChange, NovaSchema, read_nova_columns
from credentials.nova_objects import ROLE_KINDS, NovaObject, ObjectKind, list_foreign_objects
from credentials.trigger_sql import COUNT_EACH_CLIENT
from credentials.values import POINTER
from migration.core.audit import AuditEvent, EventKind, require_storable_reason
from migration.core.clients import VIEW_TABLES, ClientMigration
from migration.core.problems import Area, Finder, Finding, Look, problem, report_failure, report_ok
from migration.core.text import shorten_list
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import CLIENTS, NOVA_TABLES

COLUMN_MAPPED_EVENT = EventKind("column_mapped", gettext_lazy("Column mapped"))
OBJECT_ACCEPTED_EVENT = EventKind("object_accepted", gettext_lazy("Object accepted"))


# Purged clients with a value in a column mapped as secret: it was mapped, or written, after the purge
#
# AWS alone should hold their values, but nothing is pushed for a purged client. So they are restored and purged again.

FIND_PURGED_WITH_VALUES = f"""
SELECT c.id, c.slug FROM {CLIENTS} c JOIN migration_clientmigration m ON m.client_id = c.id AND m.phase = 'purged'
WHERE c.id IN (SELECT t.{{key}} FROM {{table}} t WHERE NOT starts_with(t.{{column}}, %s)) ORDER BY c.slug
"""  # noqa: S608  # constants, and a column that is quoted


class PurgedClientWithValue(NamedTuple):
    """A purged client with a value that stands in clear in a mapped column all the same."""

    id: int
    slug: str


def list_purged_with_values(column: NovaColumn) -> list[PurgedClientWithValue]:
    """List id and slug of the purged clients with a value in this column; none if it isn't mapped as secret."""
    if column.use != ColumnUse.SECRET or not column.is_text:
        return []
    key = "id" if column.table == CLIENTS else "client_id"
    statement = FIND_PURGED_WITH_VALUES.format(
        key=key, table=column.table, column=quote_name_for_parametrized_sql(column.name)
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [POINTER])
        return [PurgedClientWithValue(*row) for row in cursor.fetchall()]


# Mapping columns that NOVA added

LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
# In one message no more than this many names are listed.
MOST_NAMES = 5


class MappingRefused(MessageError):  # noqa: N818  # nothing went wrong: it may not be done
    """The column can't be mapped so; the message says why."""


MAPPED = Sentence("mapped", "%(column)s is mapped.")
MAPPED_AND_PUSHED = Sentence(
    "mapped_and_pushed",
    "%(column)s is mapped. %(n)s clients are pushed again.",
    one="%(column)s is mapped. One client is pushed again.",
)


@dataclass(frozen=True)
class MappingResult:
    """A mapping that was made: how many clients are pushed again, and which purged ones keep values in the table."""

    column: NovaColumn
    use: ColumnUse
    clients_to_push: int
    purged_with_values: list[PurgedClientWithValue]

    @property
    def message(self) -> Message:
        """Say that the column is mapped, and what is left to do for it."""
        named = {"column": self.column.shown_table_and_name}
        if kept := name_purged_clients_with_values(self.column, self.purged_with_values):
            return in_a_row(MAPPED(**named), kept) or kept
        if self.clients_to_push:
            return MAPPED_AND_PUSHED(**named, n=self.clients_to_push)
        return MAPPED(**named)


NO_SUCH_TABLE = Sentence(
    "no_such_table", "%(name)s is not one of NOVA's tables: %(tables)s.", glue=", "
)
NO_SUCH_COLUMN = Sentence(
    "no_such_column", "%(name)s is not a column that NOVA added. Only those can be mapped."
)


def find_added_column(columns: NovaSchema, name: str) -> NovaColumn:
    """Return the added column that is shown as `TABLE.COLUMN`, with or without the schema; raises `MappingRefused`."""
    for column in columns.added:
        if name in (column.shown_table_and_name, column.shown_table_and_name.partition(".")[2]):
            return column
    tables = {table.partition(".")[2] for table in NOVA_TABLES} | set(NOVA_TABLES)
    if not any(name.startswith(f"{table}.") for table in tables):
        raise MappingRefused(NO_SUCH_TABLE(name=escape_name(name), tables=NOVA_TABLES))
    raise MappingRefused(NO_SUCH_COLUMN(name=escape_name(name)))


MAPPINGS_BUSY = Sentence("mappings_busy", "A purge or a rollback is in progress. Try again.")


def map_column(
    *, name: str, use: ColumnUse, by: User | None = None, seen: str | None = None
) -> MappingResult:
    """Store how column `TABLE.COLUMN` is treated; if documents change, every client is pushed again.

    `seen` is the use that the user saw, empty for none. Raises `MappingRefused`.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(LOCK_TIMEOUT)
            lock_mappings()
            return _map_locked(find_added_column(read_nova_columns(), name), use, by, seen)
    except OperationalError:
        raise MappingRefused(MAPPINGS_BUSY()) from None


COLUMN_MAPPED = Sentence("column_mapped", "Mapped %(column)s as: %(use)s.")
MAPPED_MEANWHILE = Sentence(
    "mapped_meanwhile", "Somebody else has mapped %(column)s meanwhile: look at it again."
)


def _map_locked(
    column: NovaColumn, use: ColumnUse, by: User | None, seen: str | None
) -> MappingResult:
    if seen is not None and seen != (column.use or ""):
        raise MappingRefused(MAPPED_MEANWHILE(column=column.shown_table_and_name))
    _require_possible(column, use)
    if column.type is None:
        # If NOVA makes the column again, somebody has to look at it again.
        ColumnMapping.objects.filter(table=column.table, column=column.name).delete()
    else:
        ColumnMapping.objects.update_or_create(
            table=column.table,
            column=column.name,
            defaults={
                "use": use.value,
                "column_type": column.type,
                "mapped_by": by,
                "username": by.get_username() if by else "",
                "mapped_at": timezone.now(),
            },
        )
    AuditEvent.objects.record(
        COLUMN_MAPPED_EVENT,
        COLUMN_MAPPED(column=column.shown_table_and_name, use=use.value),
        by=by,
    )
    clients = 0
    if (column.use is not None and column.use.travels) != use.travels:
        with connection.cursor() as cursor:
            cursor.execute(COUNT_EACH_CLIENT)
        clients = ClientMigration.objects.exclude(phase__in=(Phase.POSTGRES, Phase.PURGED)).count()
    return MappingResult(column, use, clients, list_purged_with_values(replace(column, use=use)))


COLUMN_IS_GONE = Sentence("column_is_gone", "%(column)s no longer exists and can only be ignored.")
ONLY_TEXT = Sentence(
    "only_text",
    "%(column)s (%(type)s) can only be ignored. Secret and plain are for text and varchar columns that NOVA "
    "writes.",
)
RESTORE_BEFORE_MAPPING = Sentence(
    "restore_before_mapping",
    "%(n)s clients have a pointer in %(column)s, as they are purged: restore them first, or their values stay in AWS"
    " alone.",
    one="One client has a pointer in %(column)s, as it is purged: restore it first, or its value stays in AWS alone.",
)


def _require_possible(column: NovaColumn, use: ColumnUse) -> None:
    named = {"column": column.shown_table_and_name}
    if column.type is None and use.travels:
        raise MappingRefused(COLUMN_IS_GONE(**named))
    if use.travels and not column.is_text:
        raise MappingRefused(ONLY_TEXT(**named, type=escape_name(column.type or "")))
    # A secret column that NOVA gave another name is one that nobody has mapped.
    leaves = column.use in (ColumnUse.SECRET, None) and use != ColumnUse.SECRET
    if leaves and column.is_text and (n := _count_pointers(column)):
        # A restore would no longer bring these values back.
        raise MappingRefused(RESTORE_BEFORE_MAPPING(**named, n=n))


PURGED_KEEP_VALUES = Sentence(
    "purged_keep_values",
    "%(n)s purged clients still have a value in %(column)s: %(names)s. Restore them, then purge them again.",
    one="A purged client still has a value in %(column)s: %(names)s. Restore it, then purge it again.",
    glue=", ",
)


def name_purged_clients_with_values(
    column: NovaColumn, clients: list[PurgedClientWithValue]
) -> Message | None:
    """Say which purged clients have a value in this column, and what to do; None where there is none."""
    if not clients:
        return None
    names = shorten_list([escape_name(client.slug) for client in clients], MOST_NAMES)
    return PURGED_KEEP_VALUES(column=column.shown_table_and_name, n=len(clients), names=names)


def _count_pointers(column: NovaColumn) -> int:
    """Return how many clients have a pointer in this text column."""
    key = "id" if column.table == CLIENTS else "client_id"
    wanted = f"starts_with({quote_name_for_parametrized_sql(column.name)}, %s)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(DISTINCT {key}) FROM {column.table} WHERE {wanted}",  # noqa: S608  # quoted
            [POINTER],
        )
        return int(cursor.fetchone()[0])


# Accepting objects on its tables


class AcceptanceRefusedError(MessageError):
    """The objects can't be accepted; the message says why."""


def list_nova_objects() -> list[NovaObject]:
    """Return every object of others on NOVA's tables, and the roles between which there is no boundary."""
    with connection.cursor() as cursor:
        return list_foreign_objects(cursor)


def sort_roles(objects: Iterable[NovaObject]) -> dict[tuple[ObjectKind, str], list[str]]:
    """Return kind and role of what is no boundary between roles -> the tables for which that is so."""
    found: dict[tuple[ObjectKind, str], list[str]] = {}
    for each in objects:
        if each.kind in ROLE_KINDS:
            tables = found.setdefault((each.kind, each.owner), [])
            tables += [each.table] if each.table else []
    return found


def split_unknown_accepted(
    objects: Collection[NovaObject],
) -> tuple[list[NovaObject], list[NovaObject]]:
    """Return two lists: objects that nobody has accepted as they are now, and accepted ones. Without the roles."""
    objects = [each for each in objects if each.kind not in ROLE_KINDS]
    digests = [each.digest for each in objects]
    accepted = AcceptedObject.objects.filter(digest__in=digests) if objects else ()
    known = {each.digest for each in accepted}
    return (
        [each for each in objects if each.digest not in known],
        [each for each in objects if each.digest in known],
    )


ACCEPTING_WANTS_REASON = Sentence("accepting_wants_reason", "Enter a reason.")
OBJECT_CHANGED = Sentence(
    "object_changed", "The object was changed or removed meanwhile. Check it again."
)


def accept_objects(
    *, digests: Collection[str], reason: str, by: User | None = None
) -> list[AcceptedObject]:
    """Accept the objects with these digests as they are defined now; one that was changed since has another.

    Raises `AcceptanceRefusedError`, or `ReasonError` for a reason that can't be stored. Doing it twice changes nothing.
    """
    require_storable_reason(reason)
    if not reason.strip():
        raise AcceptanceRefusedError(ACCEPTING_WANTS_REASON())
    there = {each.digest: each for each in list_nova_objects() if each.kind not in ROLE_KINDS}
    if not digests or not all(digest in there for digest in digests):
        raise AcceptanceRefusedError(OBJECT_CHANGED())
    with transaction.atomic():
        return [_accept_object(there[digest], reason, by) for digest in digests]


OBJECT_ACCEPTED = Sentence("object_accepted", "Accepted %(object)s.")


def _accept_object(found: NovaObject, reason: str, by: User | None) -> AcceptedObject:
    accepted, made = AcceptedObject.objects.get_or_create(
        kind=found.kind.value,
        name=found.name,
        table=found.table,
        owner=found.owner,
        digest=found.digest,
        defaults={
            "reason": reason,
            "accepted_by": by,
            "username": by.get_username() if by else "",
        },
    )
    if made:
        AuditEvent.objects.record(
            OBJECT_ACCEPTED_EVENT,
            OBJECT_ACCEPTED(object=describe_object(found)),
            by=by,
            reason=reason,
        )
    return accepted


# What gates ask, and the problems that are made of it


class NovaTablesVerdict(NamedTuple):
    """The result of one check of NOVA's tables: whether gates may open, and the text to show."""

    passed: bool
    text: Message


COLUMNS_UNMAPPED = Sentence(
    "columns_unmapped",
    "NOVA added %(n)s columns that nobody has mapped: %(names)s. Say what they hold on the page NOVA's tables.",
    one="NOVA added a column that nobody has mapped: %(names)s. Say what it holds on the page NOVA's tables.",
    glue=", ",
)
COLUMNS_MAPPED = Sentence("columns_mapped", "Every column of NOVA's tables is known or mapped.")
OBJECTS_UNKNOWN = Sentence(
    "objects_unknown",
    "%(n)s objects on NOVA's tables run their owners' code, and nobody has accepted them: %(names)s.",
    one="An object on NOVA's tables runs its owner's code, and nobody has accepted it: %(names)s.",
    glue=", ",
)
OBJECTS_ACCEPTED = Sentence(
    "objects_accepted", "Every object of others on NOVA's tables is accepted."
)


@dataclass(frozen=True)
class NovaTables:
    """NOVA's tables at one moment: their columns, and the objects of others on them that nobody has accepted."""

    columns: NovaSchema
    unknown_objects: list[NovaObject]

    @property
    def columns_problem(self) -> Message | None:
        """Say which columns shut the gates, or None."""
        if self.columns.breaking:
            return self.columns.problem
        names = [column.shown_table_and_name for column in self.columns.unmapped]
        return (
            COLUMNS_UNMAPPED(n=len(names), names=shorten_list(names, MOST_NAMES)) if names else None
        )

    @property
    def objects_problem(self) -> Message | None:
        """Say which objects shut the gates, or None."""
        names = [describe_object(each) for each in self.unknown_objects]
        return (
            OBJECTS_UNKNOWN(n=len(names), names=shorten_list(names, MOST_NAMES)) if names else None
        )

    def list_gate_verdicts(self) -> Iterator[NovaTablesVerdict]:
        """Yield verdicts on the columns, then on the objects: that they let gates open, or each reason why not."""
        for wrong, passed in (
            (self.columns_problem, COLUMNS_MAPPED()),
            (self.objects_problem, OBJECTS_ACCEPTED()),
        ):
            for text in wrong.parts if wrong else (passed,):
                yield NovaTablesVerdict(wrong is None, text)


def describe_object(found: NovaObject) -> str:
    """Return the object's kind, name, table and owner, fit to be shown."""
    name = f" {escape_name(found.name)}" if found.name else ""
    return f"{found.kind}{name} on {found.table} ({escape_name(found.owner)})"


def read_nova_tables(columns: NovaSchema | None = None) -> NovaTables:
    """Read what NOVA's tables are like, in at most three queries; `columns`, where these were read already."""
    unknown, _accepted = split_unknown_accepted(list_nova_objects())
    return NovaTables(columns or read_nova_columns(), unknown)


SEE_NOVA_TABLES = Sentence(
    "see_nova_tables",
    "Ask NOVA's developers what it is for, then decide on the page “NOVA's tables” (docs/nova.md).",
)
GIVE_IT_BACK = Sentence(
    "give_it_back",
    "Ask NOVA's developers to do so. Until then nothing is pushed, compared or moved, and NOVA's reader may fail"
    " too (docs/nova.md).",
)
COLUMNS_ARE_KNOWN = Sentence(
    "columns_are_known", "The site knows every column of NOVA's tables, and finds those it needs."
)
PURGE_AGAIN = Sentence(
    "purge_again",
    "The page NOVA's tables names them all; docs/nova.md says how to restore and purge them.",
)
NONE_PURGED_WITH_VALUES = Sentence(
    "none_purged_with_values", "No purged client has a value left in a column that NOVA added."
)


@problem(
    "columns_unknown",
    gettext_lazy("Columns of NOVA's tables"),
    Area.NOVA,
    found_by=Finder.PAGE,
    shuts_gates=True,
    page="admin:credentials_columnmapping_changelist",
    button=gettext_lazy("See NOVA's tables"),
    page_permission=VIEW_TABLES,
)
def find_unknown_columns(look: Look) -> Iterator[Finding]:
    """Name the changes that NOVA made to its columns. Those that shut gates are failures."""
    columns = look.read(read_nova_tables).columns
    for found in columns.changes:
        if found.is_breaking:
            yield report_failure(found.message, GIVE_IT_BACK())
        elif found.change == ColumnChange.ADDED:
            yield report_failure(found.message, SEE_NOVA_TABLES())
        else:
            yield report_ok(found.message)
    if not columns.changes:
        yield report_ok(COLUMNS_ARE_KNOWN())


@problem(
    "objects_unknown",
    gettext_lazy("Unknown objects on NOVA's tables"),
    Area.NOVA,
    found_by=Finder.PAGE,
    shuts_gates=True,
    page="admin:credentials_columnmapping_changelist",
    button=gettext_lazy("See NOVA's tables"),
    page_permission=VIEW_TABLES,
)
def find_unknown_objects(look: Look) -> Iterator[Finding]:
    """Name what others put on NOVA's tables and runs their code as whoever uses a table, until it is accepted."""
    tables = look.read(read_nova_tables)
    if message := tables.objects_problem:
        yield report_failure(message, SEE_NOVA_TABLES(), count=len(tables.unknown_objects))
    else:
        yield report_ok(OBJECTS_ACCEPTED())


@problem(
    "purged_with_values",
    gettext_lazy("Purged clients with values"),
    Area.NOVA,
    page="admin:credentials_columnmapping_changelist",
    button=gettext_lazy("See NOVA's tables"),
    page_permission=VIEW_TABLES,
)
def find_purged_with_values(_look: Look) -> Iterator[Finding]:
    """Name the purged clients that still have a value in a column which was mapped as a secret afterwards."""
    is_well = True
    for column in read_nova_columns().added:
        clients = list_purged_with_values(column)
        if message := name_purged_clients_with_values(column, clients):
            is_well = False
            yield report_failure(message, PURGE_AGAIN(), count=len(clients))
    if is_well:
        yield report_ok(NONE_PURGED_WITH_VALUES())
