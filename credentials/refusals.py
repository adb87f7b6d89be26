"""Turns a write that PostgreSQL refuses into one error with its SQLSTATE. Quotes nothing of PostgreSQL's text."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from django.db import DatabaseError
from django.db.models import Model

from nova_credentials.messages import MessageError, Sentence

# Classes of SQLSTATE about the connection, other transactions or the server, not about the written values.
NO_REFUSAL = ("08", "40", "53", "55", "57", "58", "XX")

REFUSED_BY_DATABASE = Sentence(
    "refused_by_database", "NOVA's table refused the change (SQLSTATE %(code)s)."
)
ROW_LEFT_OUT = Sentence(
    "row_left_out",
    "A trigger on NOVA's tables dropped a row without an error. Have it fixed first.",
)

logger = logging.getLogger(__name__)


class RefusedByDatabaseError(MessageError):
    """A constraint or a trigger refused a write. Names only the SQLSTATE: PostgreSQL's text may quote the row."""


@contextmanager
def convert_refusals() -> Iterator[None]:
    """Raise RefusedByDatabaseError in place of the database error with which a write, or its commit, fails.

    Put it around the transaction, since a deferred trigger refuses at the commit.
    """
    try:
        yield
    except DatabaseError as error:
        code = getattr(error.__cause__, "sqlstate", None) or ""
        if not code or code.startswith(NO_REFUSAL):
            raise
        where = "".join(traceback.format_tb(error.__traceback__))
    else:
        return
    logger.warning("A write was refused with SQLSTATE %s at\n%s", code, where)
    raise RefusedByDatabaseError(REFUSED_BY_DATABASE(code=code))


def insert_rows(model: type[Model], rows: Collection[Model]) -> None:
    """Store new rows; raise RefusedByDatabaseError where a trigger, which returned NULL, left one out."""
    try:
        model._default_manager.bulk_create(rows)
    except (AssertionError, TypeError):
        # Django's, which then doesn't know whose id is whose: the first of several rows, the other of one.
        raise RefusedByDatabaseError(ROW_LEFT_OUT()) from None
