"""Folds text for searches: lower case, and letters without their accents. The same in SQL and in Python.

PostgreSQL's `unaccent` is an extension that NOVA's database may lack, and `lower` leaves letters with accents alone
in some locales. So the letters are replaced one by one, by `translate`.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from django.db.models import Func, TextField, Value
from django.db.models.functions import Cast

if TYPE_CHECKING:
    from collections.abc import Iterator

# Letters that no accent explains.
OTHERS = {
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ı": "i",
    "ħ": "h",
    "ŧ": "t",
    "Ø": "o",
    "Ł": "l",
    "Đ": "d",
    "İ": "i",
}
# Latin letters from À to ſ, and those with a comma below of Romanian.
LETTERS = (*range(0xC0, 0x180), *range(0x218, 0x21C))
# Accents that stand beside their letter, as some systems write them.
MARKS = "".join(map(chr, (*range(0x300, 0x315), *range(0x323, 0x332))))


def _list_pairs() -> Iterator[tuple[str, str]]:
    for letter in map(chr, LETTERS):
        plain = unicodedata.normalize("NFD", letter)[0].lower()
        if letter in OTHERS or (plain != letter and plain.isascii()):
            yield letter, OTHERS.get(letter, plain)


PAIRS = dict(_list_pairs())
_FROM, _TO = "".join(PAIRS) + MARKS, "".join(PAIRS.values())
_TABLE = str.maketrans(_FROM[: len(_TO)], _TO, MARKS)


def fold_text(text: str) -> str:
    """Return the text as `CaseAndAccentsFolded` has it."""
    return text.translate(_TABLE).lower()


class CaseAndAccentsFolded(Func):
    """The text of a column in lower case and without accents. A text of ASCII alone costs only `lower`."""

    template = (
        "(CASE WHEN octet_length(%(expressions)s) = char_length(%(expressions)s) THEN lower(%(expressions)s)"
        " ELSE lower(translate(%(expressions)s, %%s, %%s)) END)"
    )
    arity = 1
    output_field = TextField()

    def as_sql(
        self,
        compiler: Any,
        connection: Any,
        function: str | None = None,
        template: str | None = None,
        arg_joiner: str | None = None,
        **more: Any,
    ) -> tuple[str, tuple[str | int, ...]]:
        """Return the expression; its one argument stands four times in it."""
        sql, params = super().as_sql(compiler, connection, function, template, arg_joiner, **more)
        return sql, (*params, *params, *params, *params, _FROM, _TO)


def make_folded_expression(text: str) -> CaseAndAccentsFolded:
    """Return a typed text as PostgreSQL folds it, to be compared with a folded column."""
    return CaseAndAccentsFolded(Cast(Value(text), TextField()))
