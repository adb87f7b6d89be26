"""Writes lines of CSV files that somebody opens in a spreadsheet: no cell is a formula, whatever separates cells."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where a cell begins, or could begin for who reads the file with another separator, whose quotation marks then protect
# nothing: what follows must be no sign that begins a formula, as wide in East Asian writing as in ours.
FORMULA = re.compile(r"(?:^|(?<=[;|\t\n])|(?<=\r)(?!\n))(?=[\s\"]*[=+\-@＝＋－＠])")
BLANK_STARTS = ("\t", "\r", "\n")


class _EchoFile:
    """Stands in for a file: the csv module's `writerow` returns what `write` returns, the line itself."""

    def write(self, line: str) -> str:
        return line


def make_csv_line(cells: Iterable[object]) -> str:
    """Return a line with its end, every cell of it quoted and defused."""
    line: str = csv.writer(_EchoFile(), quoting=csv.QUOTE_ALL).writerow(map(defuse_cell, cells))
    return line


def defuse_cell(value: object) -> str:
    """Return the value as text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    defused = FORMULA.sub("'", text)
    return f"'{defused}" if defused.startswith(BLANK_STARTS) else defused
