"""Owns columns that tables of several drawers have: messages, and times that Python can always read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression
from django.db.models.sql.compiler import SQLCompiler

from nova_credentials.messages import Message

if TYPE_CHECKING:  # generic only in the stubs
    TimeField = models.DateTimeField[datetime, datetime]
else:
    TimeField = models.DateTimeField


# Ours have a few messages in one another, of three levels each.
MOST_LEVELS = 60


class OwnJSONField(models.JSONField):
    """A column for JSON that this site alone writes. What Python can't read, somebody else wrote: it is read as []."""

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> object:
        try:
            data = super().from_db_value(value, expression, connection)
            return self._to_python_value(data if has_levels(data, MOST_LEVELS) else [])
        except (TypeError, ValueError, RecursionError):
            return self._to_python_value([])

    def _to_python_value(self, data: Any) -> Any:
        return data


class MessageField(OwnJSONField):
    """A column for one `Message`, which never holds a text that a user typed; NULL where there is none."""

    def get_prep_value(self, value: object) -> object:
        return super().get_prep_value(self._to_json(value))

    def _to_python_value(self, data: Any) -> Message | list[Message] | None:
        return None if data is None else Message.from_json(data)

    def _to_json(self, value: object) -> object:
        if isinstance(value, str):
            raise TypeError("a text is no message")
        return value.to_json() if isinstance(value, Message) else value


class MessageListField(MessageField):
    """A column for a list of messages, which may be empty."""

    def _to_python_value(self, data: Any) -> list[Message]:
        return [Message.from_json(one) for one in data]

    def _to_json(self, value: object) -> object:
        return [one.to_json() for one in value] if isinstance(value, list) else value


def has_levels(data: Any, most: int) -> bool:
    """Say whether this JSON has so many levels at most."""
    if isinstance(data, dict | list):
        parts = data.values() if isinstance(data, dict) else data
        return most > 0 and all(has_levels(part, most - 1) for part in parts)
    return True


class ClampedDateTimeField(TimeField):
    """A time that can be read even where a superuser wrote infinity: it is read as one in the years 1 to 9999."""

    def select_format(self, compiler: SQLCompiler | None, sql: str, params: Any) -> tuple[str, Any]:
        """Return the column within bounds: psycopg raises an error for others, and the whole list would be lost."""
        clamped = f"GREATEST(LEAST({sql}, '9999-12-30Z'), '0001-01-02Z')"
        # Of NULL, as an aggregate of no rows is, GREATEST would return the other.
        return f"CASE WHEN {sql} IS NOT NULL THEN {clamped} END", (*params, *params)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Return the field as Django's own, which it is in the database."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs


def clamped_time_or_null() -> models.DateTimeField[datetime | None, datetime | None]:
    """Return a column for such a time that may be NULL: the field's own type has no None."""
    return ClampedDateTimeField(null=True)  # type: ignore[misc, return-value]


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def limit_times(table: str, *columns: str) -> models.CheckConstraint:
    """Return the constraint that keeps `infinity` and far years out of columns that NOVA's role writes.

    PostgreSQL stores some that Python can't read. NULL is no time.
    """
    condition = models.Q(*((f"{column}__range", (EARLIEST, LATEST)) for column in columns))
    return models.CheckConstraint(condition=condition, name=f"{table}_times_can_be_read")
