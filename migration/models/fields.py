"""Owns the columns that hold messages. A text that a user typed is never stored in one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from nova_credentials.messages import Message

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Expression


class MessageField(models.JSONField):
    """A column for one `Message`; NULL where there is none."""

    def from_db_value(
        self, value: str | None, expression: Expression, connection: BaseDatabaseWrapper
    ) -> object:
        return self._to_python_value(super().from_db_value(value, expression, connection))

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
