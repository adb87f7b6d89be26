"""The output of the commands. Names in the database are other people's choice: none steers a terminal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, cast

from django.core.management.base import OutputWrapper

from credentials.shown_names import escape_invisible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TextIO


class OneLineOutput(OutputWrapper):
    """Writes each text as one line (`escape_invisible`), and JSON with its values as they are."""

    def write(  # type: ignore[override]  # as Django's own does
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        super().write(escape_invisible(msg.removesuffix("\n")), style_func, ending)

    def write_json(self, value: object) -> None:
        """Write one line of JSON. What can't be seen is escaped as JSON does it, so that no value changes."""
        super().write(_encode_json(value))

    def write_one_json_of_items(
        self, items: Iterable[object], head: Mapping[str, object] | None
    ) -> None:
        """Write the items as one line of JSON, each as it comes: they need not be in memory at once.

        They are a list, or where there is a head the last value of its object.
        """
        begin, end = (
            ("[", "]") if head is None else (f'{_encode_json(head)[:-1]}, "items": [', "]}")
        )
        self.write_unchanged(begin)
        for number, item in enumerate(items):
            self.write_unchanged(f"{', ' if number else ''}{_encode_json(item)}")
        self.write_unchanged(f"{end}\n")

    @property
    def terminal(self) -> TextIO | None:
        """Return the terminal behind it, for what may steer one; None where it is none, or can only print."""
        can_move = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        return cast("TextIO", self._out) if self.isatty() and can_move else None

    def write_unchanged(self, text: str) -> None:
        """Write a piece of a larger text as it is: callers make sure that nothing in it steers a terminal."""
        super().write(text, ending="")


# Made once: `json.dumps` makes one for each call that has options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def _encode_json(value: object) -> str:
    text = _ENCODER.encode(value)
    if text.isprintable():  # as nearly always
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
