"""Column types of NOVA's tables that Django has no field for."""

from datetime import UTC, datetime

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


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
