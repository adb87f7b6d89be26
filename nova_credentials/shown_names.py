"""Makes names that others gave to clients, tables, columns and objects fit to be shown. Pure."""

from __future__ import annotations

import unicodedata

# Letters that are written from right to left would reorder the words around them.
_RIGHT_TO_LEFT = ("R", "AL", "AN")


def escape_name(name: str) -> str:
    """Return the name with every character escaped that can't be seen, or that changes the order of the others.

    A backslash is doubled, so that no two names are shown alike.
    """
    return escape_invisible(name.replace("\\", "\\\\"))


def escape_invisible(text: str) -> str:
    """Return the text as one line; characters that can't be seen or reorder others are escaped.

    For whole lines, whatever names they hold: nothing in them steers a terminal or begins another line.
    """
    return "".join(
        character if _is_harmless(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_harmless(character: str) -> bool:
    reorders = unicodedata.bidirectional(character) in _RIGHT_TO_LEFT
    return character.isprintable() and not reorders
