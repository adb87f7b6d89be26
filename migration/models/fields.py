"""Columns that hold messages. A text that a person typed is never in one of them."""

from __future__ import annotations

from typing import Any

from django.db import models

from nova_credentials.messages import Message


class MessageField(models.JSONField):
    """One `Message`; NULL where there is nothing to say."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return self._read(super().from_db_value(value, expression, connection))

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(self._written(value))

    def _read(self, data: Any) -> Any:
        return None if data is None else Message.from_json(data)

    def _written(self, value: Any) -> Any:
        if isinstance(value, str):
            raise TypeError("a text is no message")
        return value.to_json() if isinstance(value, Message) else value


class MessageListField(MessageField):
    """Several of them; an empty list where there is nothing to say."""

    def _read(self, data: Any) -> Any:
        return [Message.from_json(one) for one in data]

    def _written(self, value: Any) -> Any:
        return [one.to_json() for one in value] if isinstance(value, list) else value
