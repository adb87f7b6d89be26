"""Opens Django's connections to PostgreSQL: on the site's own schema, and without PostgreSQL's text in any error.

Statements name NOVA's tables with their schema and find everything else in the site's schema or in pg_catalog. So no
table, function or operator that another role makes in `public` is ever taken for ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql import base, features, operations
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.models.fields.json import KeyTransformIn
from django.db.models.lookups import In
from django.db.models.sql.compiler import SQLCompiler
from django.db.utils import DEFAULT_DB_ALIAS, DatabaseErrorWrapper
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override
from psycopg.rows import TupleRow
from psycopg.types import array

from credentials.site_schema import SCHEMA
from nova_admin.database.schema import create_schema_and_carry_over
from nova_credentials.tables import CREDENTIALS, STATEMENT_MARK

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


# `row_security = off`: a policy that somebody puts on NOVA's tables fails our statement instead of filtering its rows.
# The leases of a host that vanishes are free once PostgreSQL notices: within a minute, and not after two hours. Over a
# socket of this machine these settings do nothing.
NOTICE_THE_END = (
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
    " SET tcp_user_timeout = '60s'"
)
SESSION = f"SET search_path = {SCHEMA}, pg_temp; SET row_security = off; {NOTICE_THE_END}"
# Has the client look for a PostgreSQL that vanished, too: a worker would wait two hours for it.
KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

# Of schema migrations; for the session, as one may have several transactions.
WAIT_BRIEFLY = "SET lock_timeout = '50ms'"
WAIT_AS_BEFORE = "RESET lock_timeout"

# PostgreSQL's own limit for one statement.
MOST_PARAMETERS = 65_535

# Why there is no connection.
REFUSED = _("the login is refused")
NO_ANSWER = _("no answer, or no such database")
LOST = _("it was stopped, or the connection was lost")

_CREDENTIAL_TABLES = tuple(name.partition(".")[2] for name in CREDENTIALS.values())
_FIRST_WORD = re.compile(r"[\s(]*(?:SELECT|WITH|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)

_INTEGER_RANGES = {
    name: limits
    for name, limits in BaseDatabaseOperations.integer_field_ranges.items()
    if name.endswith(("IntegerField", "AutoField"))
}
_INTEGER_TYPES = {2**15 - 1: "smallint", 2**31 - 1: "integer", 2**63 - 1: "bigint"}


class DatabaseFeatures(features.DatabaseFeatures):
    max_query_params = MOST_PARAMETERS


class DatabaseOperations(operations.DatabaseOperations):
    def bulk_batch_size(self, fields: Sequence[object], objs: Sequence[object]) -> int:
        """Return how many rows of so many fields one statement has parameters for."""
        return MOST_PARAMETERS // max(len(fields), 1)


class ShortLockSchemaEditor(DatabaseSchemaEditor):
    """Changes the site's tables so that NOVA never waits long: none of its statements waits long for a lock.

    While it waits for a table's present users, NOVA's next statements queue behind it. Where the time is over, the
    transaction is undone, and `migrate` begins it again (`migration/management/backward_plans.py`).
    """

    def __enter__(self) -> Self:
        if not self.collect_sql:
            self.execute(WAIT_BRIEFLY, None)
        super().__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(exc_type, exc_value, traceback)
        finally:
            # In a transaction around this one that failed, the setting goes with the transaction.
            if not self.collect_sql and self.connection.is_usable():
                self.execute(WAIT_AS_BEFORE, None)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL backend with this site's `search_path`, statements marked as its own, and masked errors.

    No value is ever in a statement's text, which PostgreSQL logs where it fails or is slow, and shows to monitoring:
    values travel as parameters.
    """

    SchemaEditorClass = ShortLockSchemaEditor
    features_class = DatabaseFeatures
    ops_class = DatabaseOperations

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        # Here, and so whatever the settings say. Django asks for it in several places.
        settings_dict["OPTIONS"]["server_side_binding"] = True
        super().__init__(settings_dict, alias)
        self.execute_wrappers.append(execute_marked)

    def get_connection_params(self) -> dict[str, Any]:
        """Add KEEPALIVES to Django's parameters; what DATABASE_URL says of them comes first."""
        return KEEPALIVES | super().get_connection_params()

    def get_new_connection(self, conn_params: dict[str, object]) -> psycopg.Connection[TupleRow]:
        """Connect and set the search_path before any other statement, as PgBouncer may drop `options`."""
        refused: bool | None = None
        try:
            connection: psycopg.Connection[TupleRow] = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            attempt = error.pgconn
            asked = attempt is not None and (attempt.used_password or attempt.needs_password)
            refused = asked
        if refused is not None:  # raised out here: libpq's text would be in the chain
            raise NoConnectionError(conn_params, refused=refused)
        connection.adapters.register_dumper(list, FastListDumper)
        connection.autocommit = True
        connection.execute(SESSION)
        return connection

    def prepare_database(self) -> None:
        """Make the schema before `migrate` looks for its tables, and carry a first release's tables into it.

        Raises CommandError behind a pooler on which the session's path and locks don't last.
        """
        from migration.doctor.nova import require_own_backends  # noqa: PLC0415  # imports this connection

        require_own_backends()
        super().prepare_database()
        with self.cursor() as cursor:
            create_schema_and_carry_over(cursor)

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return MaskingErrorWrapper(self)


def execute_marked(
    execute: Callable[..., object], sql: object, params: object, many: bool, context: object
) -> object:
    """Mark a statement that names a credential table, so that pg_stat_statements shows whose it is; then execute it."""
    return execute(mark_statement(sql) if isinstance(sql, str) else sql, params, many, context)


def mark_statement(statement: str) -> str:
    """Return the statement with the mark behind its first word if it names a credential table and may read it."""
    first = _FIRST_WORD.match(statement)
    if first and any(table in statement for table in _CREDENTIAL_TABLES):
        return f"{first[0]} {STATEMENT_MARK}{statement[first.end() :]}"
    return statement


class NoConnectionError(psycopg.OperationalError):
    """PostgreSQL can't be reached, or refuses the login, which it does if it had asked for a password.

    The text is the site's own, for the log and commands: it names the server and what to do. `why` is for pages.
    """

    def __init__(self, conn_params: Mapping[str, object], *, refused: bool) -> None:
        place = f"{conn_params.get('host') or 'the local socket'}:{conn_params.get('port') or 5432}"
        user = conn_params.get("user") or "this system's user"
        self.why = REFUSED if refused else NO_ANSWER
        check = "user and password" if refused else "that it runs, and host, port"
        with override("en"):
            super().__init__(
                f"no connection to PostgreSQL at {place} as {user}: {self.why}. Check {check} and database of"
                " DATABASE_URL: docs/runbooks.md#database"
            )


def find_why_unreachable(error: BaseException | None) -> StrPromise | None:
    """Return why there is no connection to PostgreSQL, if that is what the error comes from; else None."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    if isinstance(error, NoConnectionError):
        return error.why
    if isinstance(error, psycopg.InterfaceError):
        return LOST
    # Without an SQLSTATE libpq has lost the server; 57P is its shutdown, 08 a broken connection.
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(
        ("08", "57P")
    ):
        return LOST
    return None


class MaskingErrorWrapper(DatabaseErrorWrapper):
    """Removes PostgreSQL's text from psycopg's errors before Django turns them into its own."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc_value, psycopg.Error) and not isinstance(exc_value, NoConnectionError):
            reduce_error_to_sqlstate(exc_value)
        super().__exit__(exc_type, exc_value, traceback)


def reduce_error_to_sqlstate(error: psycopg.Error) -> None:
    """Replace the text of the error, which may quote a row, by its kind and SQLSTATE; PostgreSQL's log has the text."""
    kind = type(error).__name__
    error.args = (f"{kind} (SQLSTATE {error.sqlstate})" if error.sqlstate else kind,)
    # What psycopg handled before it can hold the same text.
    error.__cause__ = error.__context__ = None


class _Escapes:
    """Puts a backslash before each double quote and backslash."""

    @staticmethod
    def sub(_replacement: bytes, element: bytes | bytearray | memoryview) -> bytes:
        return bytes(element).replace(b"\\", rb"\\").replace(b'"', rb"\"")


class FastListDumper(array.ListDumper):
    """Writes lists without psycopg's regular expression for each quote of an element.

    Django's bulk inserts are made of lists; where the elements are JSON, the quotes took half of the insert's time.
    """

    # The name is psycopg's own: if it ever goes, this takes longer and writes the same.
    _re_esc = _Escapes  # type: ignore[assignment]


def write_list_as_one_parameter(
    lookup: In[Any], compiler: SQLCompiler, connection: BaseDatabaseWrapper
) -> tuple[str, list[Any] | tuple[Any, ...]]:
    """Write `IN (a, b, …)` as `= ANY(list)`: a statement has 65,535 parameters, and a selection more clients."""
    if not lookup.rhs_is_direct_value() or isinstance(lookup, KeyTransformIn):
        return lookup.as_sql(compiler, connection)
    list_sql, values = lookup.process_rhs(compiler, connection)
    if list_sql != f"({', '.join(['%s'] * len(values))})":  # has expressions
        return lookup.as_sql(compiler, connection)
    left, left_params = lookup.process_lhs(compiler, connection)
    field = lookup.lhs.output_field
    field = getattr(field, "target_field", field)
    if (field_range := _INTEGER_RANGES.get(field.get_internal_type())) is None:
        return f"{left} = ANY(%s)", [*left_params, [*values]]
    # Of the column's own type: only then does PostgreSQL look each row's number up, and not through all of them.
    lowest, highest = field_range
    if not (fitting := [value for value in values if lowest <= int(value) <= highest]):
        raise EmptyResultSet
    return f"{left} = ANY(%s::{_INTEGER_TYPES[highest]}[])", [*left_params, fitting]


# Django's way for a backend to have a lookup written as it wants.
In.as_postgresql = write_list_as_one_parameter  # type: ignore[attr-defined]
