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
    """Have PostgreSQL end what is read here after some seconds; it raises an Error then."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LIMITS)
        yield
