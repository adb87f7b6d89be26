"""Reads for the doctor that don't wait: a table that somebody has locked must not hold it up."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'"


@contextmanager
def read_briefly() -> Iterator[None]:
    """Limit each statement of the block to 5 s and its wait for a lock to 1 s; past it, `db.Error`."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LIMITS)
        yield
