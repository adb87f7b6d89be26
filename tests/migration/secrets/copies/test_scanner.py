"""Values that are hard to look for: very long ones, ones that repeat themselves, rows larger than a block."""

import struct
import time

import pytest

from migration.secrets import copies
from migration.secrets.copies import ClientValues, CopiedRowsScanner, make_needles
from nova_credentials.phases import Phase


def needles(*values: str):
    return make_needles(
        ClientValues(number, f"c{number}", Phase.AWS, {value})
        for number, value in enumerate(values)
    )


def scan(values: list[str], rows: list[list[str | None]]) -> dict[tuple[int, str], int]:
    columns = tuple("abcdef"[: len(rows[0])])
    scanner = CopiedRowsScanner(needles(*values), columns)
    header = copies.SIGNATURE + bytes(8)
    for row in rows:
        message = struct.pack(">h", len(row))
        for text in row:
            encoded = None if text is None else text.encode()
            message += struct.pack(">i", -1 if encoded is None else len(encoded)) + (encoded or b"")
        scanner.add_message(header + message)
        header = b""
    scanner.add_message(copies.LAST_ROW)
    scanner.search_collected_rows()
    return dict(scanner.rows_found)


@pytest.mark.parametrize(
    "value", ["'" * 4096, "ab" * 32_000, " " * 4096], ids=["quotes", "pairs", "blanks"]
)
def test_a_long_value_that_repeats_itself_takes_no_time(value):
    began = time.perf_counter()

    assert scan([value], [[value], [value[:-1]], [f"x{value}x"]]) == {(0, "a"): 2}
    assert time.perf_counter() - began < 5


def test_a_row_larger_than_a_block_counts_once_wherever_the_value_stands():
    block = copies.BLOCK_BYTES
    for place in (0, block - 10, block - 3, block, 2 * block - 5, 2 * block + 77):
        text = "x" * place + "secret-value" + "y" * (3 * block)
        assert scan(["secret-value"], [[None, text], ["", "z"], [text, None]]) == {
            (0, "a"): 1,
            (0, "b"): 1,
        }


def test_a_value_across_two_columns_or_two_rows_is_none():
    assert scan(["secret-value"], [["secret", "-value"], ["x", "secret-"], ["value", "x"]]) == {}


def test_values_that_begin_alike_or_hold_each_other_are_told_apart():
    long = "p" * 200
    values = [long + "1", long + "2", "p" * 6, "inner-secret", "an inner-secret here"]

    assert scan(values, [[long + "2"], ["an inner-secret here"], [long]]) == {
        (1, "a"): 1,
        (2, "a"): 2,
        (3, "a"): 1,
        (4, "a"): 1,
    }


def test_without_values_nothing_is_found():
    assert scan([], [["anything"]]) == {}
