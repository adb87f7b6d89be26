"""Looks for many secret values at once in the rows that COPY sends in its binary form. Knows no database."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick

from migration.operations.escaped_forms import list_escaped_forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from migration.operations.secret_values import ClientValues

BLOCK_BYTES = 256 * 1024
# The binary form of COPY begins with a signature, flags and the length of an extension, and ends with this row.
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8
LAST_ROW = b"\xff\xff"
# A longer form is found by its beginning and then compared: the machine takes minutes to build for a form that repeats
# itself over 64 kB.
BEGINNING_BYTES = 128


@dataclass(frozen=True)
class EscapedForm:
    """A value as it may be written, the clients that have it, and the values that are written so."""

    text: bytes = field(repr=False)
    owners: frozenset[int]
    values: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class Needles:
    """The values of all clients in all their forms, as one machine that finds any of them."""

    machine: BytesAhoCorasick | None = field(repr=False)
    # By the machine's number: the forms that begin so.
    forms: list[list[EscapedForm]] = field(repr=False)

    def find_forms(self, block: bytes) -> Iterator[tuple[EscapedForm, int]]:
        """Yield each form that is found, and its position; a form at the edge of two pieces twice."""
        if self.machine is None:
            return
        # In pieces, as each match takes memory: one row of blanks can have as many as it has bytes.
        for start in range(0, len(block), BLOCK_BYTES):
            piece = block[start : start + BLOCK_BYTES + BEGINNING_BYTES]
            for number, found, _end in self.machine.find_matches_as_indexes(
                piece, overlapping=True
            ):
                for form in self.forms[number]:
                    if block.startswith(form.text, start + found):
                        yield form, start + found


def make_needles(clients: Iterable[ClientValues]) -> Needles:
    """Build the machine; a value that several clients have counts for each of them."""
    owners: dict[str, set[int]] = {}
    for client in clients:
        for value in client.values:
            owners.setdefault(value, set()).add(client.client_id)
    return make_value_needles(owners)


def make_value_needles(owners: Mapping[str, Iterable[int]]) -> Needles:
    """Build the machine from value -> ids of the clients that have it."""
    of_forms: dict[bytes, set[str]] = {}
    for value in owners:
        for text in list_escaped_forms(value):
            of_forms.setdefault(text, set()).add(value)
    by_beginning: dict[bytes, list[EscapedForm]] = {}
    for text, values in of_forms.items():
        ids = frozenset(pk for value in values for pk in owners[value])
        form = EscapedForm(text, ids, frozenset(values))
        by_beginning.setdefault(text[:BEGINNING_BYTES], []).append(form)
    return Needles(
        machine=BytesAhoCorasick(by_beginning) if by_beginning else None,
        forms=list(by_beginning.values()),
    )


class CopiedRowsScanner:
    """Collects the rows of one table in blocks and counts, by client and column, the rows that hold a value.

    Memory holds one block, or one row if that is larger.
    """

    def __init__(self, needles: Needles, columns: tuple[str, ...]) -> None:
        self.rows_found: Counter[tuple[int, str]] = Counter()
        self.values_found: set[str] = set()
        self.bytes_read = 0
        self._needles, self._columns = needles, columns
        self._block = bytearray()
        self._starts: list[int] = []

    def add_message(self, message: bytes | memoryview) -> None:
        """Take a message of COPY: a row, the header before the first. Search the rows once they fill a block."""
        row = memoryview(message)
        self.bytes_read += len(row)
        if row[: len(SIGNATURE)] == SIGNATURE:
            row = row[HEADER_BYTES:]
        if not row or row == LAST_ROW:
            return
        self._starts.append(len(self._block))
        self._block += row
        if len(self._block) >= BLOCK_BYTES:
            self.search_collected_rows()

    def search_collected_rows(self) -> None:
        """Search the rows collected so far; to be called after the last one too."""
        hits: set[tuple[int, int, int]] = set()
        fields: dict[int, list[int]] = {}
        for form, position in self._needles.find_forms(bytes(self._block)):
            row = bisect_right(self._starts, position) - 1
            if row not in fields:
                fields[row] = self._list_field_starts(self._starts[row])
            column = bisect_right(fields[row], position) - 1
            hits.update((client, row, column) for client in form.owners)
            self.values_found |= form.values
        self.rows_found.update((client, self._columns[column]) for client, _row, column in hits)
        self._block.clear()
        self._starts.clear()

    def _list_field_starts(self, position: int) -> list[int]:
        """Return where the text of each column begins: after the number of columns, each has its length before it."""
        starts = []
        position += 2
        for _column in self._columns:
            (length,) = struct.unpack_from(">i", self._block, position)
            position += 4
            starts.append(position)
            position += max(length, 0)
        return starts
