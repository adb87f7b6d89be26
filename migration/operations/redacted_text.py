"""Replaces secret values in a text by pointers to where they stand now. Pure: knows no database."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A shorter value could be a part of an ordinary word. In JSON a value is replaced only if it is a whole string.
SHORTEST_IN_TEXT = 12
# A JSON string, and the colon after it if it is a key. What can be taken back takes 100 bytes a character.
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"(\s*:)?', re.DOTALL)


@dataclass(frozen=True)
class RedactedText:
    """A text without the values, and those that were in it."""

    text: str = field(repr=False)
    values: frozenset[str] = field(repr=False)


def redact_json(text: str, replacements: Mapping[str, str]) -> RedactedText:
    """Replace each JSON string that is one of the values; keys and the rest of the JSON text stay as they are."""
    found = set[str]()

    def replace_string(match: re.Match[str]) -> str:
        if match[1]:
            return match[0]
        value = _decode_string(match[0])
        if value is None or value not in replacements:
            return match[0]
        found.add(value)
        return json.dumps(replacements[value])

    redacted = _JSON_STRING.sub(replace_string, text)
    return RedactedText(redacted, frozenset(found))


def redact_plain(text: str, replacements: Mapping[str, str]) -> RedactedText:
    """Replace the values of SHORTEST_IN_TEXT characters and more wherever they stand, the longest first.

    One that begins or ends within an escape, such as a line break in JSON or code, is left: the text would break.
    """
    long = [value for value in replacements if len(value) >= SHORTEST_IN_TEXT and value in text]
    if not long:
        return RedactedText(text, frozenset())
    found = set[str]()

    def replace_value(match: re.Match[str]) -> str:
        found.add(match[0])
        return replacements[match[0]]

    pattern = "|".join(map(_make_pattern, sorted(long, key=len, reverse=True)))
    return RedactedText(re.sub(rf"(?<!\\)(?:{pattern})", replace_value, text), frozenset(found))


def _make_pattern(value: str) -> str:
    return re.escape(value) + (r"(?!\\)" if value.endswith("\\") else "")


def _decode_string(token: str) -> str | None:
    try:
        value = json.loads(token)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
