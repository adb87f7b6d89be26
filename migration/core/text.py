"""Owns texts that others chose: names kept at their length, folded for a search, and safe in a cell of a CSV file."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Func, TextField, Value
from django.db.models.functions import Cast

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


USERNAME_LENGTH = 150


class KeptNameField(models.CharField):  # type: ignore[type-arg]  # generic only in the stubs
    """The name that the user of the foreign key `of` had when the row was stored; empty where there is no user.

    It stays even if the user's row goes. `save` and `bulk_create` fill it, once. `update` does not: it is given
    `get_kept_name(user)`.
    """

    def __init__(self, of: str, verbose_name: StrOrPromise | None = None) -> None:
        super().__init__(
            verbose_name, max_length=USERNAME_LENGTH, blank=True, default="", db_default=""
        )
        self.of, self.label = of, verbose_name

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Describe it to schema migrations as the CharField that it is in the database."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.CharField", arguments, options

    def clone(self) -> KeptNameField:
        return KeptNameField(self.of, self.label)

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        """Return the name to store; a name that is there already stays, whatever the user is called since."""
        if not getattr(model_instance, self.attname):
            setattr(model_instance, self.attname, get_kept_name(getattr(model_instance, self.of)))
        kept: str = super().pre_save(model_instance, add)
        return kept


def get_kept_name(user: User | None) -> str:
    """Return the name to keep of a user; empty for nobody."""
    return user.get_username() if user else ""


def require_kept_name(table: str, of: str) -> models.CheckConstraint:
    """Return the constraint by which the database refuses a row with a user and without the user's name."""
    return models.CheckConstraint(
        condition=models.Q(**{of: None}) | ~models.Q(**{f"{of}_name": ""}),
        name=f"{table}_{of}_is_named",
    )


# Text is folded for searches: lower case, and letters without their accents, the same in SQL and in Python.
# PostgreSQL's `unaccent` is an extension that NOVA's database may lack, and `lower` leaves letters with accents alone
# in some locales. So the letters are replaced one by one, by `translate`.

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


# Where a cell begins, or could begin for who reads the file with another separator, whose quotation marks then protect
# nothing: what follows must be no sign that begins a formula, as wide in East Asian writing as in ours.
FORMULA = re.compile(r"(?:^|(?<=[;|\t\n])|(?<=\r)(?!\n))(?=[\s\"]*[=+\-@＝＋－＠])")
BLANK_STARTS = ("\t", "\r", "\n")


class _EchoFile:
    """Stands in for a file: the csv module's `writerow` returns what `write` returns, the line itself."""

    def write(self, line: str) -> str:
        return line


def make_csv_line(cells: Iterable[object]) -> str:
    """Return a line with its end, for a file that somebody opens in a spreadsheet: every cell is quoted and defused."""
    line: str = csv.writer(_EchoFile(), quoting=csv.QUOTE_ALL).writerow(map(defuse_cell, cells))
    return line


def defuse_cell(value: object) -> str:
    """Return the value as text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    defused = FORMULA.sub("'", text)
    return f"'{defused}" if defused.startswith(BLANK_STARTS) else defused


def shorten_list(names: Sequence[str], most: int) -> tuple[str, ...]:
    """Return the first names, so many at most, and "…" where there are more."""
    return (*names[:most], *(["…"] if len(names) > most else []))
