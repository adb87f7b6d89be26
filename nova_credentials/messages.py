"""Owns sentences as data: a key and named values, English when printed. Knows no Django.

A `Sentence` is declared once, in the module that says it. Called with its values it gives a `Message`, which
is stored, raised or printed; pages show it in their reader's language (`credentials.localization`). No value is secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    # A datetime is shown as the time since then, a tuple as its parts with the sentence's glue between them. A number
    # is shown with separators: an id is passed as text.
    Value: TypeAlias = "str | int | float | date | Message | tuple[Message | str, ...]"

SENTENCES: dict[str, Sentence] = {}


@dataclass(frozen=True)
class Sentence:
    """An English sentence with named places for values.

    Its key is stored: the words may change, while another meaning or other names of values need another key.
    """

    key: str
    template: str
    glue: str = " "
    one: str = ""  # the template where the value `n` is 1

    def __post_init__(self) -> None:
        if SENTENCES.setdefault(self.key, self) != self:
            raise ValueError(f"two sentences have the key {self.key}")

    def __call__(self, **values: Value) -> Message:
        """Make the message; raises TypeError where a value is missing, superfluous or of no known type."""
        if values.keys() != self.value_names:
            raise TypeError(f"{self.key} takes {sorted(self.value_names)}, not {sorted(values)}")
        for value in values.values():
            if not isinstance(value, Message):  # it was looked at when it was made
                _to_json(value)
        return Message(self.key, values, self.in_english(values))

    @cached_property
    def value_names(self) -> set[str]:
        """Return the names of the values that the template needs."""
        return set(re.findall(r"%\((\w+)\)s", self.template))

    def accepts_values(self, values: Mapping[str, Value]) -> bool:
        """Say whether the sentence can be printed with these values."""
        counts = not self.one or isinstance(values.get("n"), int | float)
        return values.keys() == self.value_names and counts

    def in_english(self, values: Mapping[str, Value]) -> str:
        """Return the English text with these values in it."""
        template = self.one if self.one and values["n"] == 1 else self.template
        return template % {name: self._in_english(value) for name, value in values.items()}

    def _in_english(self, value: Value) -> str:
        match value:
            case tuple():
                return self.glue.join(map(self._in_english, value))
            case datetime():
                return str(describe_age(datetime.now(UTC) - value))
            case date():
                return f"{value.day} {value:%b %Y}"
            case int() | float():
                return f"{value:,}"
        return str(value)


@dataclass(frozen=True)
class Message:
    """One sentence with its values."""

    key: str
    values: Mapping[str, Value]
    text: str  # in English, as it was when the message was made

    def __str__(self) -> str:
        return self.sentence.in_english(self.values) if self.sentence else self.text

    @property
    def sentence(self) -> Sentence | None:
        """Return the `Sentence` of the message; None where this release has none with that key and these values."""
        found = SENTENCES.get(self.key)
        return found if found and found.accepts_values(self.values) else None

    @property
    def parts(self) -> tuple[Message, ...]:
        """Return the messages that were put in a row, else the message itself."""
        parts = self.values.get("sentences") if self.key == IN_A_ROW.key else None
        found = parts if isinstance(parts, tuple) else ()
        return tuple(part for part in found if isinstance(part, Message)) or (self,)

    @property
    def codes(self) -> list[str]:
        """Return the key of each part; programs decide by these, never by the text."""
        return [part.key for part in self.parts]

    @classmethod
    def from_text_without_key(cls, text: str) -> Message:
        """Make a message from a text that an earlier release stored in place of a key and values."""
        return cls("", {}, text)

    def to_json(self) -> dict[str, object]:
        """Return the message as `from_json` reads it."""
        values = {name: _to_json(value) for name, value in self.values.items()}
        return {"key": self.key, "values": values, "text": self.text}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        """Make the message that `to_json` wrote; of one that this release can't read, only the text is kept."""
        try:
            values = {name: _from_json(value) for name, value in data["values"].items()}
            return cls(str(data["key"]), values, str(data["text"]))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError):
            return cls.from_text_without_key(
                str(data.get("text", "")) if isinstance(data, dict) else ""
            )


class MessageError(Exception):
    """An error whose text is a message."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)

    @property
    def message(self) -> Message:
        """Say what is wrong, without a value."""
        message: Message = self.args[0]
        return message

    def __str__(self) -> str:
        return str(self.message)


IN_A_ROW = Sentence("in_a_row", "%(sentences)s")


def in_a_row(*messages: Message | None) -> Message | None:
    """Put messages one after the other, without those that are None; return None where none is left."""
    parts = tuple(part for message in messages if message for part in message.parts)
    return IN_A_ROW(sentences=parts) if len(parts) > 1 else next(iter(parts), None)


SECONDS = Sentence("seconds", "%(n)s seconds", one="%(n)s second")
MINUTES = Sentence("minutes", "%(n)s minutes", one="%(n)s minute")
HOURS = Sentence("hours", "%(n)s hours", one="%(n)s hour")
DAYS = Sentence("days", "%(n)s days", one="%(n)s day")
_UNITS = ((DAYS, 86_400), (HOURS, 3_600), (MINUTES, 60), (SECONDS, 1))


def describe_age(length: timedelta) -> Message:
    """Return an age in its largest unit, never rounded up, and a second at least: "1 hour" of 1 hour 55 minutes."""
    seconds = max(1, int(length.total_seconds()))
    unit, size = next(each for each in _UNITS if seconds >= each[1])
    return _count(unit, seconds // size)


@lru_cache(maxsize=1000)
def _count(unit: Sentence, n: int) -> Message:
    return unit(n=n)


@lru_cache(maxsize=1000)
def describe_duration(length: timedelta) -> Message:
    """Return a length of time exactly to its second unit, never rounded up: "90 minutes", "2 days 12 hours".

    The first unit is the largest of which it has two at least.
    """
    seconds = int(length.total_seconds())
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if seconds >= 2 * size:
            n, rest = divmod(seconds, size)
            more = rest // smaller_size
            return in_a_row(unit(n=n), smaller(n=more) if more else None) or unit(n=n)
    return SECONDS(n=seconds)


def name_moment(moment: datetime) -> str:
    """Return the moment as a text that is stored: "30 Nov 2026, 11:07 UTC"."""
    return f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def _to_json(value: Value) -> object:
    match value:
        case Message():
            return {"message": value.to_json()}
        case datetime():
            return {"time": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case tuple():
            return [_to_json(part) for part in value]
        case str():
            return str(value)  # a StrEnum is stored as plain text
        case bool():
            raise TypeError("a message takes no bool")
        case int() | float():
            return value
    raise TypeError(f"a message takes no {type(value).__name__}")


def _from_json(value: Any) -> Value:
    match value:
        case {"message": data}:
            return Message.from_json(data)
        case {"time": text}:
            return datetime.fromisoformat(text).astimezone(UTC)
        case {"date": text}:
            return date.fromisoformat(text)
        case list():
            return tuple(_from_json(part) for part in value)  # type: ignore[misc]  # `to_json` wrote it
        case bool():
            raise TypeError("a message holds no bool")
        case float() if not isfinite(value):
            raise ValueError("a message holds no such number")
        case str() | int() | float():
            return value
    raise TypeError(f"a message holds no {type(value).__name__}")
