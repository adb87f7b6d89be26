"""Compares two secret documents and says which fields differ, never with a value. Pure."""

import hmac
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import Self

from nova_credentials.credential_types import ROW_CLASSES, CredentialType, map_to_json_keys
from nova_credentials.document import (
    EXTRA_KEY,
    Document,
    DocumentError,
    encode_document,
    is_nested_too_deep,
)

# Before the code of a name that may be a secret.
UNKNOWN_NAME = "?"
# In the order of the report. Any other key may be a secret in the wrong place, so it is shown as a code.
KNOWN_KEYS = tuple(
    dict.fromkeys(
        [
            "client_name",
            *CredentialType,
            *(credential_type.others_key for credential_type in CredentialType),
            *("label", "is_primary"),
            *(
                key
                for row_class in ROW_CLASSES.values()
                for key in map_to_json_keys(row_class).values()
            ),
            EXTRA_KEY,
        ]
    )
)


# A mapped column that PostgreSQL's side has is shown by its name, unless that is an unusual one.
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class MismatchKind(StrEnum):
    """How a field differs."""

    DIFFERENT = "different"
    MISSING = "missing"  # PostgreSQL has it, AWS lacks it
    EXTRA = "extra"  # in AWS only
    TYPE = "type"
    UNREADABLE = "unreadable"  # AWS's text is no document


@dataclass(frozen=True)
class Mismatch:
    """One field that differs: codes and lengths of both sides, empty where a side is absent."""

    path: str
    kind: MismatchKind
    hint: str
    expected_code: str
    actual_code: str
    expected_length: str
    actual_length: str

    def to_json(self) -> dict[str, str]:
        """Return the mismatch as from_json reads it."""
        row = {key: str(value) for key, value in asdict(self).items()}
        return {key.removesuffix("_code"): value for key, value in row.items()}

    @classmethod
    def from_json(cls, row: dict[str, str]) -> Self:
        """Make the mismatch that to_json wrote."""
        return cls(
            path=row["path"],
            kind=MismatchKind(row["kind"]),
            hint=row["hint"],
            expected_code=row["expected"],
            actual_code=row["actual"],
            expected_length=row["expected_length"],
            actual_length=row["actual_length"],
        )


class _Absent:
    """Marks a key that one document lacks; null would be a value."""


_ABSENT = _Absent()


def compare_documents(expected: Document, actual: Document, *, key: bytes) -> list[Mismatch]:
    """Return the fields that differ, types included; the key makes the codes unguessable."""
    comparison = _Comparison(key)
    # Nearly all documents are equal, and comparing them whole is much faster than field by field.
    return (
        []
        if are_equal(expected, actual)
        else list(comparison.find_mismatches("", expected, actual))
    )


def are_equal(one: Document | None, other: Document | None) -> bool:
    """Say whether two documents are equal, types included, so that compare_documents finds nothing."""
    return _canonical_json(one) == _canonical_json(other)


def is_exact_encoding_of(text: str, document: Document) -> bool:
    """Say whether the text is the very one that we would write for this document: decoded, it is the document."""
    try:
        return text == encode_document(document) and not is_nested_too_deep(text, document)
    except DocumentError:
        return False


def list_paths(value: object, path: str = "") -> Iterator[str]:
    """List the path of every field of a document, spelled as in a mismatch; no mapped column with an unusual name."""
    if isinstance(value, dict):
        for key in sorted(value, key=_place_in_report):
            if path.rpartition(".")[2] != EXTRA_KEY or _COLUMN_NAME.fullmatch(key):
                yield from list_paths(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from list_paths(entry, f"{path}[{index}]")
    else:
        yield path


def unreadable_mismatch(text: str, *, key: bytes, path: str = "document") -> Mismatch:
    """Return the mismatch for a text in AWS that is no document."""
    side = _Comparison(key)
    code, length = side.make_code(path, text), _length_bucket(text)
    return Mismatch(path, MismatchKind.UNREADABLE, "", "", code, "", length)


@dataclass(frozen=True)
class _Comparison:
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("a comparison needs a key: codes without one can be guessed")

    def find_mismatches(self, path: str, expected: object, actual: object) -> Iterator[Mismatch]:
        if isinstance(expected, dict) and isinstance(actual, dict):
            keys = {self.name_step(path, key, expected): key for key in expected | actual}
            for step in sorted(keys, key=_place_in_report):
                name = f"{path}.{step}" if path else step
                key = keys[step]
                yield from self.find_mismatches(
                    name, expected.get(key, _ABSENT), actual.get(key, _ABSENT)
                )
        elif entries := _pair_entries(expected, actual):
            for index, entry in enumerate(entries):
                yield from self.find_mismatches(f"{path}[{index}]", *entry)
        elif _canonical_json(expected) != _canonical_json(actual):
            yield Mismatch(
                path,
                _find_kind(expected, actual),
                _find_hint(expected, actual),
                self.make_code(path, expected),
                self.make_code(path, actual),
                _length_bucket(expected),
                _length_bucket(actual),
            )

    def name_step(self, path: str, key: str, expected: Document) -> str:
        in_extra = path.rpartition(".")[2] == EXTRA_KEY
        is_column = in_extra and key in expected and _COLUMN_NAME.fullmatch(key)
        is_known = is_column or (key in KNOWN_KEYS and not in_extra)
        return key if is_known else UNKNOWN_NAME + self.make_code(f"{path}?", key)

    def make_code(self, path: str, value: object) -> str:
        """Return eight hex digits for a value at a path, or "" where there is none; 1 and "1" have different codes."""
        if value is _ABSENT:
            return ""
        text = f"{path}\0{_canonical_json(value)}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.key, text, "sha256").hex()[:8]


def _place_in_report(step: str) -> tuple[int, str]:
    return (KNOWN_KEYS.index(step) if step in KNOWN_KEYS else len(KNOWN_KEYS), step)


def _pair_entries(expected: object, actual: object) -> list[tuple[object, object]]:
    """Pair the entries of two lists; a side that is absent counts as an empty list."""
    sides = [[] if side is _ABSENT else side for side in (expected, actual)]
    lists = [side for side in sides if isinstance(side, list)]
    return list(zip_longest(*lists, fillvalue=_ABSENT)) if len(lists) == 2 else []


def _canonical_json(value: object) -> str:
    """Return a text that is the same for equal values alone: true, 1, 1.0, "1", null and absence all differ."""
    return "" if value is _ABSENT else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _find_kind(expected: object, actual: object) -> MismatchKind:
    if expected is _ABSENT:
        return MismatchKind.EXTRA
    if actual is _ABSENT:
        return MismatchKind.MISSING
    has_null = expected is None or actual is None
    return (
        MismatchKind.DIFFERENT if has_null or type(expected) is type(actual) else MismatchKind.TYPE
    )


def _find_hint(expected: object, actual: object) -> str:
    """Name the usual cause where it explains the whole difference, else return nothing."""
    if _ABSENT in (expected, actual):
        return ""
    if any(side is None or side == "" for side in (expected, actual)):
        return "empty"
    if isinstance(expected, str) and isinstance(actual, str):
        return next((hint for hint, form in _FORMS if form(expected) == form(actual)), "")
    # 1 and 1.0 are the same number, "1" and 1 the same text.
    return "type" if expected == actual or _as_text(expected) == _as_text(actual) else ""


_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("line ends", lambda text: text.replace("\r\n", "\n")),
    ("blank", str.strip),
    ("unicode form", lambda text: unicodedata.normalize("NFKC", text)),
    ("case", str.casefold),
)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else _canonical_json(value)


def _length_bucket(value: object) -> str:
    """Return the bucket of the text's length in characters: 1-8, 9-16, 17-32 and so on."""
    if value is _ABSENT:
        return ""
    length = 0 if value is None else len(_as_text(value))
    if length <= 8:
        return "1-8" if length else "0"
    top = 1 << (length - 1).bit_length()
    return f"{top // 2 + 1}-{top}"
