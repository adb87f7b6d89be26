"""Reads the bytes of a CSV file into lines of cells by column. Pure: knows no table, and quotes no cell."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from credentials.shown_names import escape_name
from migration import import_sentences as sentences
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nova_credentials.messages import Message

MOST_BYTES = 10_000_000
MOST_LINES = 5_000
DELIMITERS = ",;\t"
# UTF-32's mark begins as UTF-16's does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
SLUG = "slug"
# So much is shown of the names of unknown columns.
SHOWN_NAMES, SHOWN_LENGTH = 5, 40
NUL = "\0"


class ImportRefusedError(MessageError):
    """The file as a whole can't be imported; nothing was stored."""


@dataclass(frozen=True)
class FileLine:
    """One line of the file: the number where it begins, its cells by column, and what is wrong with its shape."""

    number: int
    cells: dict[str, str] = field(repr=False)
    problem: Message | None = None

    @property
    def slug(self) -> str:
        return self.cells.get(SLUG, "").strip()


@dataclass(frozen=True)
class ImportFile:
    """The lines below the first one, and a warning about how they were read."""

    lines: list[FileLine]
    warning: Message | None


def parse_import_file(data: bytes, *, columns: Collection[str]) -> ImportFile:
    """Parse a CSV file, whose first line names some of the columns; empty lines are left out.

    Raises ImportRefusedError. What is wrong with one line is in that line.
    """
    if len(data) > MOST_BYTES:
        raise ImportRefusedError(sentences.IMPORT_FILE_TOO_LARGE(n=len(data), most=MOST_BYTES))
    text, warning = decode(data)
    # Excel keeps a line of delimiters for each row that was emptied.
    records = ((number, cells) for number, cells in list_records(text) if any(cells))
    _number, header = next(records, (0, []))
    if not header:
        raise ImportRefusedError(sentences.IMPORT_FILE_EMPTY())
    names = read_header(header, columns)
    lines = [make_line(number, names, cells) for number, cells in islice(records, MOST_LINES + 1)]
    if len(lines) > MOST_LINES:
        raise ImportRefusedError(sentences.IMPORT_TOO_MANY_LINES(most=MOST_LINES))
    if not lines:
        raise ImportRefusedError(sentences.IMPORT_NO_LINES())
    return ImportFile(lines, warning)


def decode(data: bytes) -> tuple[str, Message | None]:
    """Return the text by its byte order mark, else as UTF-8, else as Windows-1252 with a warning that says so."""
    for mark, codec, name in MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), None
            except UnicodeDecodeError:
                refusal = sentences.IMPORT_NOT_DECODED(encoding=name)
                raise ImportRefusedError(refusal) from None
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), sentences.IMPORT_READ_AS_CP1252()
    except UnicodeDecodeError:
        raise ImportRefusedError(sentences.IMPORT_NO_ENCODING()) from None


def list_records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of the line where it begins; raise ImportRefusedError where it is no CSV."""
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    # Where numbers are written with a comma, Excel puts semicolons between cells.
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error:
        most = csv.field_size_limit()
        raise ImportRefusedError(sentences.IMPORT_MALFORMED(line=str(begins), most=most)) from None


def read_header(header: list[str], columns: Collection[str]) -> list[str]:
    """Return the columns' names; ImportRefusedError for unknown, unnamed, double ones or no `slug`."""
    if any(NUL in name for name in header):
        raise ImportRefusedError(sentences.IMPORT_NUL_IN_FIRST_LINE())
    names = [name.strip().lower() for name in header]
    # Before anything of the line is quoted: without the names of columns it is a client with its secrets.
    if SLUG not in names:
        raise ImportRefusedError(sentences.IMPORT_NO_SLUG_COLUMN())
    if "" in names:
        place = str(names.index("") + 1)
        raise ImportRefusedError(sentences.IMPORT_COLUMN_UNNAMED(place=place))
    if unknown := [name for name in dict.fromkeys(names) if name not in columns]:
        shown = tuple(escape_name(name[:SHOWN_LENGTH]) for name in unknown[:SHOWN_NAMES])
        raise ImportRefusedError(sentences.IMPORT_COLUMNS_UNKNOWN(columns=shown))
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise ImportRefusedError(sentences.IMPORT_COLUMNS_TWICE(columns=tuple(twice)))
    return names


def make_line(number: int, names: list[str], cells: list[str]) -> FileLine:
    """Return the line with its cells by column; of one that is too short or too long, those that are in place."""
    by_column = dict(zip(names, cells, strict=False))
    problem = None
    if len(cells) < len(names):
        problem = sentences.IMPORT_LINE_TOO_SHORT(n=len(cells), most=len(names))
    elif len(cells) > len(names):
        problem = sentences.IMPORT_LINE_TOO_LONG(n=len(cells), most=len(names))
    elif holding := [name for name, text in by_column.items() if NUL in text]:
        problem = sentences.IMPORT_NUL_IN_CELL(column=holding[0])
    return FileLine(number, by_column, problem)
