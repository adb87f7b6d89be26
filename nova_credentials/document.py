"""Owns the secret document: build, parse, encode, split, name. Knows neither AWS nor Django."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, Protocol, get_args, get_type_hints

from nova_credentials import sentences
from nova_credentials.credential_types import (
    ROW_CLASSES,
    ClientCredentials,
    CredentialRow,
    CredentialType,
    map_to_json_keys,
)
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_name

Document = dict[str, Any]

MAX_BYTES = 65_536
# In characters. AWS allows 512 and advises 256, which leaves room for the suffix of an ARN.
MAX_NAME = 256
ILLEGAL_IN_NAME = re.compile(r"[^A-Za-z0-9/_+=.@-]")

_MUST_BE: dict[tuple[object, ...], Sentence] = {
    (str,): sentences.MUST_BE_TEXT,
    (str, NoneType): sentences.MUST_BE_TEXT_OR_NULL,
    (int,): sentences.MUST_BE_WHOLE,
    (int, NoneType): sentences.MUST_BE_WHOLE_OR_NULL,
    (bool, NoneType): sentences.MUST_BE_BOOLEAN_OR_NULL,
}
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MAX_DEPTH = 16
# The key of mapped columns that NOVA added: in a login, or at the top those of the client itself. Readers ignore it.
EXTRA_KEY = "extra"

Extra = Mapping[str, str | None]  # mapped column of a row -> value


class Layout(StrEnum):
    """The number of secrets a client has: one, or one for each service."""

    CLIENT = "client"
    SERVICE = "service"


class DocumentError(MessageError, ValueError):
    """The document is malformed. The text names the client and the field, never a value."""


def _own_keys(credential_type: CredentialType) -> tuple[str, str, str, str]:
    """Return the document's top-level keys that belong to the part of this type. Name and `extra` are in every part."""
    return ("client_name", credential_type, credential_type.others_key, EXTRA_KEY)


class _Row(Protocol):
    """A credential row of any make: the site's or NOVA's. It has the attributes of its type's row class.

    Where it has an attribute `extra` too, its mapped columns are there.
    """

    @property
    def is_primary(self) -> bool | None: ...


def build_document(
    client_name: str,
    rows: Mapping[CredentialType, Sequence[_Row]],
    *,
    slug: str = "",
    several_primary: bool = False,
    extra: Extra | None = None,
) -> Document:
    """Make a client's document from its rows by type, each in the order of their ids, and its own mapped columns.

    Raises DocumentError where several rows of a type are primary; with `several_primary` only the first stays primary.
    """
    document: Document = {"client_name": client_name}
    others: Document = {}
    for credential_type in CredentialType:
        of_type = rows.get(credential_type, ())
        primary = [row for row in of_type if row.is_primary]
        if len(primary) > 1 and not several_primary:
            who, number = slug or client_name, len(primary)
            why = sentences.SEVERAL_PRIMARY(slug=who, n=number, kind=credential_type)
            raise DocumentError(why)
        entries = [_make_entry(row, credential_type) for row in of_type]
        if primary:
            first = entries.pop(of_type.index(primary[0]))
            del first["is_primary"]
            document[credential_type.value] = first
        for entry in entries:
            entry["is_primary"] = None if entry["is_primary"] is None else False
        others[credential_type.others_key] = entries
    return document | others | _make_extra(extra)


def _make_entry(row: _Row, credential_type: CredentialType) -> Document:
    keys = map_to_json_keys(ROW_CLASSES[credential_type])
    entry = {key: getattr(row, attribute) for attribute, key in keys.items()}
    return entry | _make_extra(getattr(row, "extra", None))


def _make_extra(extra: Extra | None) -> Document:
    return {EXTRA_KEY: dict(extra)} if extra else {}


def parse_document(document: Document, *, client_id: int, client_slug: str) -> ClientCredentials:
    """Read a client's rows from its document; an absent optional key is NULL. Raises DocumentError."""
    reader = _DocumentReader(client_slug)
    rows = {t.plural: tuple(reader.read_rows(t, document, client_id)) for t in CredentialType}
    return ClientCredentials(reader.read_value(document, "client_name", str | None, ""), **rows)


@dataclass(frozen=True)
class ClientExtras:
    """The mapped columns in a client's document: its own, and those of each login in `parse_document`'s order."""

    client: Extra = field(repr=False)
    logins: Mapping[CredentialType, Sequence[Extra]] = field(repr=False)


def parse_extras(document: Document, *, client_slug: str) -> ClientExtras:
    """Read the mapped columns of a document that `parse_document` has read. Raises DocumentError."""
    reader = _DocumentReader(client_slug)
    logins = {
        t: [
            reader.read_extra(entry, path)
            for path, entry in (
                *([(t.value, document[t])] if t in document else []),
                *((t.others_key, entry) for entry in document.get(t.others_key, [])),
            )
        ]
        for t in CredentialType
    }
    return ClientExtras(reader.read_extra(document), logins)


@cache
def _fields_to_read(credential_type: CredentialType) -> tuple[tuple[str, str, object], ...]:
    """Return attribute, key and wanted type of each attribute that the document holds."""
    row_class = ROW_CLASSES[credential_type]
    types = get_type_hints(row_class)
    return tuple((name, key, types[name]) for name, key in map_to_json_keys(row_class).items())


@dataclass(frozen=True)
class _DocumentReader:
    """Reads one client's document, so that each error can name the client."""

    client_slug: str

    def read_rows(
        self, credential_type: CredentialType, document: Document, client_id: int
    ) -> Iterator[Any]:
        if credential_type in document:
            entry = document[credential_type]
            primary = self.read_row(credential_type, entry, credential_type, client_id)
            yield replace(primary, is_primary=True)
        others = document.get(credential_type.others_key, [])
        if not isinstance(others, list):
            raise self.field_error(credential_type.others_key, sentences.MUST_BE_LIST())
        for index, entry in enumerate(others):
            path = f"{credential_type.others_key}[{index}]"
            row = self.read_row(credential_type, entry, path, client_id)
            if row.is_primary:
                raise self.field_error(f"{path}.is_primary", sentences.MUST_BE_FALSE_OR_NULL())
            yield row

    def read_row(
        self, credential_type: CredentialType, entry: object, path: str, client_id: int
    ) -> CredentialRow:
        if not isinstance(entry, dict):
            raise self.field_error(path, sentences.MUST_BE_OBJECT())
        values = {
            attribute: self.read_value(entry, key, wanted, f"{path}.")
            for attribute, key, wanted in _fields_to_read(credential_type)
        }
        row_class = ROW_CLASSES[credential_type]
        return row_class(client_id=client_id, client_slug=self.client_slug, **values)

    def read_extra(self, entry: Document, path: str = "") -> Extra:
        extra = entry.get(EXTRA_KEY, {})
        path = f"{path}.{EXTRA_KEY}" if path else EXTRA_KEY
        if not isinstance(extra, dict):
            raise self.field_error(path, sentences.MUST_BE_OBJECT())
        for value in extra.values():
            # The path ends before the key: in AWS anything may stand there.
            self.read_value({"": value}, "", str | None, path)
        return extra

    def read_value(self, entry: Document, key: str, wanted: object, path: str) -> Any:
        """Read one value and require its exact type, so that `true` does not pass for a number."""
        value, path = entry.get(key), f"{path}{key}"
        allowed = get_args(wanted) or (wanted,)
        if type(value) not in allowed:
            raise self.field_error(path, _MUST_BE[allowed]())
        if isinstance(value, str) and _NOT_STORABLE.search(value):
            raise self.field_error(path, sentences.CHARACTER_NOT_STORABLE())
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise self.field_error(path, sentences.NUMBER_NOT_STORABLE())
        return value

    def field_error(self, path: str, problem: Message) -> DocumentError:
        return DocumentError(
            sentences.FIELD_IS_WRONG(slug=self.client_slug, path=path, problem=problem)
        )


def encode_document(document: Document) -> str:
    """Return the document as JSON text that UTF-8 can hold; raises DocumentError."""
    try:
        text = _ENCODER.encode(document)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not text:  # raised out here: the caught error may hold a value, and would be in the chain
        raise DocumentError(sentences.NOT_ENCODABLE())
    return text


def decode_document(text: str, *, source: str = "the secret") -> Document:
    """Return the document in the JSON text; raises DocumentError, which names `source`, where there is none."""
    try:
        document = json.loads(
            text, parse_constant=int
        )  # NaN and Infinity are no JSON, and int() takes neither
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or is_nested_too_deep(text, document):
        raise DocumentError(sentences.NOT_A_DOCUMENT(name=source))
    return document


def is_nested_too_deep(text: str, document: Document) -> bool:
    """Say whether lists and objects are nested deeper than a document's may be; `text` is its JSON."""
    return text.count("{") + text.count("[") > _MAX_DEPTH and _is_deep(document, _MAX_DEPTH)


def _is_deep(value: object, levels: int) -> bool:
    inner = list(value.values()) if isinstance(value, dict) else value
    return isinstance(inner, list) and (levels == 0 or any(_is_deep(v, levels - 1) for v in inner))


def size_in_bytes(document: Document) -> int:
    """Return the size of the document in bytes, to compare with MAX_BYTES."""
    return len(encode_document(document).encode())


def split_document(
    document: Document, *, layout: Layout, keep: Collection[str] = ()
) -> dict[str, Document]:
    """Return part -> its document: one part for the whole client, or one for each credential type.

    A type without a row has no part, unless it is in `keep`.
    """
    if layout == Layout.CLIENT:
        return {"client": document}
    known = {key for credential_type in CredentialType for key in _own_keys(credential_type)}
    types = tuple(CredentialType)
    if any(key.partition("/")[0] not in types for key in document.keys() - known):
        raise DocumentError(sentences.KEY_OF_NO_SECRET())
    parts = {}
    for credential_type in CredentialType:
        part = {key: document[key] for key in _own_keys(credential_type) if key in document}
        part.setdefault(credential_type.others_key, [])
        mark = f"{credential_type}/"
        beyond = {k.removeprefix(mark): v for k, v in document.items() if k.startswith(mark)}
        has_rows = credential_type in part or part[credential_type.others_key]
        if has_rows or beyond or credential_type in keep:
            parts[credential_type.value] = part | beyond
    return parts


def parts_to_store(
    document: Document, *, layout: Layout, keep: Collection[str] = ()
) -> dict[str, Document]:
    """Split the document for AWS, with one part at least: a client without any credential has a secret too.

    Otherwise a reader could not tell a client without credentials from one whose secrets are gone.
    """
    first = next(iter(CredentialType))
    return split_document(document, layout=layout, keep=keep) or split_document(
        document, layout=layout, keep=[first]
    )


def join_parts(parts: Mapping[str, Document], *, layout: Layout) -> Document:
    """Join the parts that split_document made.

    A key that doesn't belong to its part, or whose value contradicts an earlier part, becomes "<part>/<key>". Readers
    ignore such a key, a comparison reports it, and split_document puts it back.
    """
    if layout == Layout.CLIENT:
        return parts["client"]
    document: Document = {}
    for credential_type in CredentialType:
        for key, value in parts.get(credential_type, {}).items():
            agrees = key in _own_keys(credential_type) and document.get(key, value) == value
            document[key if agrees else f"{credential_type}/{key}"] = value
    return document | {t.others_key: document.get(t.others_key, []) for t in CredentialType}


def secret_names(slug: str, *, prefix: str, layout: Layout) -> dict[str, str]:
    """Return part -> name of its secret."""
    name = f"{prefix}/{slug}"
    if layout == Layout.CLIENT:
        return {"client": name}
    return {
        credential_type.value: f"{name}/{credential_type}" for credential_type in CredentialType
    }


def _name_character(character: str) -> Message:
    """Return how a sentence names it: with its number where it may look like one that AWS allows."""
    if character == " ":
        return sentences.A_SPACE()
    shown = escape_name(character)
    # Beyond the accented letters of Latin are those of other scripts, some of which look the same.
    if ord(character) > 0x17F:
        return sentences.CHARACTER_WITH_CODE(character=shown, code=f"U+{ord(character):04X}")
    return sentences.QUOTED_CHARACTER(character=shown)


def name_problem(slug: str, *, prefix: str, layout: Layout) -> Message | None:
    """Say why no secret can have this client's name, or None."""
    if not slug:
        return sentences.SLUG_IS_EMPTY()
    illegal = dict.fromkeys(ILLEGAL_IN_NAME.findall(f"{prefix}/{slug}"))
    if illegal:
        named = tuple(map(_name_character, illegal))
        return sentences.CHARACTER_NOT_ALLOWED(illegal=named)
    if "/" in slug:
        return sentences.SLASH_IN_SLUG()
    longest = max(map(len, secret_names(slug, prefix=prefix, layout=layout).values()))
    if longest > MAX_NAME:
        return sentences.NAME_TOO_LONG(n=longest, most=MAX_NAME)
    return None


def size_problem(document: Document, slug: str, *, prefix: str, layout: Layout) -> Message | None:
    """Describe the first of the client's secrets that its document is too large for; None if it fits."""
    names = secret_names(slug, prefix=prefix, layout=layout)
    for part, of_part in split_document(document, layout=layout).items():
        if (bytes_of_part := size_in_bytes(of_part)) > MAX_BYTES:
            return sentences.SECRET_TOO_LARGE(name=names[part], n=bytes_of_part, most=MAX_BYTES)
    return None


def warn_of_arn_like_name(slug: str, *, prefix: str, layout: Layout) -> Message | None:
    """Warn of the client's secret whose name ends like an ARN (a hyphen, six characters); None if there is none."""
    for name in secret_names(slug, prefix=prefix, layout=layout).values():
        if re.search(r"-.{6}$", name):
            return sentences.NAME_LIKE_ARN(name=name)
    return None
