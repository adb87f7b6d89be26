"""Changes the site's tables so that NOVA never waits long: no statement of a schema migration waits long for a lock.

While it waits for a table's present users, NOVA's next statements queue behind it. Where the time is over, the
transaction is undone, and `migrate` begins it again (`migration/management/backward_plans.py`).
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from django.db.backends.postgresql.schema import DatabaseSchemaEditor

# For the session, as a schema migration may have several transactions.
WAIT_BRIEFLY = "SET lock_timeout = '50ms'"
WAIT_AS_BEFORE = "RESET lock_timeout"


class ShortLockSchemaEditor(DatabaseSchemaEditor):
    """Django's own, with a short time for every lock."""

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
