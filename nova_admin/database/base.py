"""Opens Django's connections to PostgreSQL: on the site's own schema, and with no text of PostgreSQL's in any error.

Statements name NOVA's tables with their schema and find everything else in the site's schema or in pg_catalog. So
nothing that another role makes in `public` (a table, a function, an operator) is ever taken for ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

from nova_admin.database.schema import SCHEMA, prepare_schema

if TYPE_CHECKING:
    from types import TracebackType

# `row_security = off`: a policy that somebody puts on NOVA's tables fails our statement instead of filtering its rows.
SESSION = f"SET search_path = {SCHEMA}, pg_temp; SET row_security = off"


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL backend with this site's path and masked errors."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect and set the path before any other statement; also where PgBouncer keeps back `options`."""
        connection = super().get_new_connection(conn_params)
        connection.autocommit = True
        connection.execute(SESSION)
        return connection

    def prepare_database(self) -> None:
        """Make the schema before `migrate` looks for its tables, and carry a first release's tables into it."""
        super().prepare_database()
        with self.cursor() as cursor:
            prepare_schema(cursor)

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return MaskingErrorWrapper(self)


class MaskingErrorWrapper(DatabaseErrorWrapper):
    """Turns psycopg's errors into Django's, as Django does, once PostgreSQL's text is taken out of them."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc_value, psycopg.Error):
            mask_error(exc_value)
        super().__exit__(exc_type, exc_value, traceback)


def mask_error(error: psycopg.Error) -> None:
    """Replace the text of the error, which may quote a row, by its kind and SQLSTATE; PostgreSQL's log has the text."""
    kind = type(error).__name__
    error.args = (f"{kind} (SQLSTATE {error.sqlstate})" if error.sqlstate else kind,)
    # What psycopg handled before it can hold the same text.
    error.__cause__ = error.__context__ = None
