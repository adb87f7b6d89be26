"""Owns the secret document: build, parse, encode, split, name. Knows neither AWS nor Django."""

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import NoneType
from typing import Any, get_args, get_type_hints

from nova_credentials.messages import say

Document = dict[str, Any]

SERVICES = ("database", "email", "aws")
MAX_BYTES = 65_536
# AWS takes 512 and advises 256, which leaves room for the suffix of an ARN.
MAX_NAME = 256
ILLEGAL_IN_NAME = re.compile(r"[^A-Za-z0-9/_+=.@-]")

_MUST_BE: dict[tuple[type, ...], str] = {
    (str,): say("must be text"),
    (str, NoneType): say("must be text or null"),
    (int,): say("must be a whole number"),
    (int, NoneType): say("must be a whole number or null"),
    (bool, NoneType): say("must be true or false or null"),
}
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_MAX_DEPTH = 16


class Layout(StrEnum):
    """How many secrets a client has: one, or one a service."""

    CLIENT = "client"
    SERVICE = "service"


class DocumentError(ValueError):
    """The document is malformed. The text names the client and the field, never a value."""


@dataclass(frozen=True)
class DatabaseCredentials:
    """One database login, with the attributes of NOVA's reader."""

    client_id: int
    client_slug: str
    db_host: str
    db_port: int
    db_name: str
    db_user: str
    db_password: str = field(repr=False)
    label: str | None
    is_primary: bool | None


@dataclass(frozen=True)
class EmailCredentials:
    """One mailbox, with the attributes of NOVA's reader."""

    client_id: int
    client_slug: str
    email_provider: str | None
    imap_host: str | None
    imap_port: int | None
    smtp_host: str | None
    smtp_port: int | None
    email_user: str
    email_password: str = field(repr=False)
    sender_whitelist: str | None
    label: str | None
    is_primary: bool | None


@dataclass(frozen=True)
class AwsCredentials:
    """One AWS access key of a client."""

    client_id: int
    client_slug: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str | None
    label: str | None
    is_primary: bool | None


@dataclass(frozen=True)
class ClientCredentials:
    """All credentials of one client, each kind with its primary first."""

    client_name: str | None
    databases: tuple[DatabaseCredentials, ...]
    emails: tuple[EmailCredentials, ...]
    aws: tuple[AwsCredentials, ...]


class _Kind:
    """One kind of credential; its keys in the document stand in the order of the row's fields."""

    def __init__(self, service: str, others: str, row: type[Any], keys: str) -> None:
        self.service, self.others, self.row = service, others, row
        self.own = ("client_name", service, others)
        inner = list(get_type_hints(row).items())[2:]  # less client_id and client_slug
        self.fields = dict(zip([*keys.split(), "label", "is_primary"], inner, strict=True))


_DATABASE = _Kind(
    "database", "other_databases", DatabaseCredentials, "host port name user password"
)
_EMAIL = _Kind(
    "email",
    "other_emails",
    EmailCredentials,
    "provider imap_host imap_port smtp_host smtp_port user app_password sender_whitelist",
)
_AWS = _Kind("aws", "other_aws", AwsCredentials, "access_key_id secret_access_key region")
_KINDS = (_DATABASE, _EMAIL, _AWS)


def build(
    client_name: str,
    *,
    databases: Sequence[DatabaseCredentials],
    emails: Sequence[EmailCredentials],
    aws: Sequence[AwsCredentials],
) -> Document:
    """Make the document of a client's rows, which come in the order of their ids."""
    document: Document = {"client_name": client_name}
    others: Document = {}
    for kind, rows in ((_DATABASE, databases), (_EMAIL, emails), (_AWS, aws)):
        primary = [row for row in rows if row.is_primary]
        if len(primary) > 1:
            raise DocumentError(
                say(
                    "%(slug)s: %(n)s %(kind)s credentials are primary, so that NOVA takes an arbitrary one;"
                    " leave one of them primary",
                    slug=primary[0].client_slug,
                    n=len(primary),
                    kind=kind.service,
                )
            )
        for row in primary:
            entry = _entry(kind, row)
            del entry["is_primary"]
            document[kind.service] = entry
        others[kind.others] = [_entry(kind, row) for row in rows if not row.is_primary]
    return document | others


def _entry(kind: _Kind, row: object) -> Document:
    return {key: getattr(row, attribute) for key, (attribute, _) in kind.fields.items()}


def parse(document: Document, *, client_id: int, client_slug: str) -> ClientCredentials:
    """Read a client's rows; an absent optional key is NULL. Raises DocumentError."""
    reader = _Reader(client_id, client_slug)
    return ClientCredentials(
        reader.value(document, "client_name", str | None, ""),
        databases=tuple(reader.rows(_DATABASE, document)),
        emails=tuple(reader.rows(_EMAIL, document)),
        aws=tuple(reader.rows(_AWS, document)),
    )


@dataclass(frozen=True)
class _Reader:
    """Reads one client's document, so that each error can name the client."""

    client_id: int
    client_slug: str

    def rows(self, kind: _Kind, document: Document) -> Iterator[Any]:
        if kind.service in document:
            primary = self.row(kind, document[kind.service], kind.service)
            yield replace(primary, is_primary=True)
        others = document.get(kind.others, [])
        if not isinstance(others, list):
            raise self.error(kind.others, say("must be a list"))
        for index, entry in enumerate(others):
            path = f"{kind.others}[{index}]"
            row = self.row(kind, entry, path)
            if row.is_primary:
                raise self.error(f"{path}.is_primary", say("must be false or null"))
            yield row

    def row(self, kind: _Kind, entry: object, path: str) -> Any:
        if not isinstance(entry, dict):
            raise self.error(path, say("must be an object"))
        fields = kind.fields.items()
        values = [self.value(entry, key, wanted, f"{path}.") for key, (_, wanted) in fields]
        return kind.row(self.client_id, self.client_slug, *values)

    def value(self, entry: Document, key: str, wanted: Any, path: str) -> Any:
        """Read one value whose exact type is wanted: true is no whole number."""
        value, path = entry.get(key), f"{path}{key}"
        allowed = get_args(wanted) or (wanted,)
        if type(value) not in allowed:
            raise self.error(path, _MUST_BE[allowed])
        if isinstance(value, str) and _NOT_STORABLE.search(value):
            raise self.error(path, say("holds a character that PostgreSQL cannot store"))
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            raise self.error(path, say("is a number that PostgreSQL cannot store"))
        return value

    def error(self, path: str, problem: str) -> DocumentError:
        return DocumentError(
            say("%(slug)s: %(path)s %(problem)s", slug=self.client_slug, path=path, problem=problem)
        )


def encode(document: Document) -> str:
    """Return the document as JSON text, fit for UTF-8."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        text = ""
    if not text:  # raised out here: the caught error may hold a value, and would be in the chain
        raise DocumentError(say("the document holds something that is not JSON or not Unicode"))
    return text


def decode(text: str, *, source: str = "the secret") -> Document:
    """Read JSON text; the error names the source that the caller gives."""
    try:
        # NaN and Infinity are not JSON, and int() takes neither.
        document = json.loads(text, parse_constant=int)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or _is_deeper(document, _MAX_DEPTH):
        raise DocumentError(
            say("%(name)s does not hold a JSON object with credentials", name=source)
        )
    return document


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in value)


def size(document: Document) -> int:
    """Return the bytes that the document takes, to be held against MAX_BYTES."""
    return len(encode(document).encode())


def split(document: Document, *, layout: Layout, keep: Collection[str] = ()) -> dict[str, Document]:
    """Return part -> its document; a part without a row is left out, unless it is in keep."""
    if layout == Layout.CLIENT:
        return {"client": document}
    known = {key for kind in _KINDS for key in kind.own}
    if any(key.partition("/")[0] not in SERVICES for key in document.keys() - known):
        raise DocumentError(
            say("the document has a key that belongs to none of the client's secrets")
        )
    parts = {}
    for kind in _KINDS:
        part = {key: document[key] for key in kind.own if key in document}
        part.setdefault(kind.others, [])
        mark = f"{kind.service}/"
        beyond = {k.removeprefix(mark): v for k, v in document.items() if k.startswith(mark)}
        if kind.service in part or part[kind.others] or beyond or kind.service in keep:
            parts[kind.service] = part | beyond
    return parts


def join(parts: Mapping[str, Document], *, layout: Layout) -> Document:
    """Undo split.

    What a part holds beyond its own keys, or otherwise than the part before it, comes back as
    "<part>/<key>": readers pass over it, a comparison sees it, and split puts it back.
    """
    if layout == Layout.CLIENT:
        return parts["client"]
    document: Document = {}
    for kind in _KINDS:
        for key, value in parts.get(kind.service, {}).items():
            agrees = key in kind.own and document.get(key, value) == value
            document[key if agrees else f"{kind.service}/{key}"] = value
    return document | {kind.others: document.get(kind.others, []) for kind in _KINDS}


def secret_names(slug: str, *, prefix: str, layout: Layout) -> dict[str, str]:
    """Return part -> name of its secret."""
    name = f"{prefix}/{slug}"
    if layout == Layout.CLIENT:
        return {"client": name}
    return {service: f"{name}/{service}" for service in SERVICES}


def name_problem(slug: str, *, prefix: str, layout: Layout) -> str | None:
    """Say why no secret can have this client's name, or None."""
    if not slug:
        return say("the slug is empty")
    illegal = dict.fromkeys(ILLEGAL_IN_NAME.findall(f"{prefix}/{slug}"))
    if illegal:
        named = ", ".join(f"{c!r} ({unicodedata.name(c, f'U+{ord(c):04X}')})" for c in illegal)
        return say("AWS does not allow %(illegal)s in the name of a secret", illegal=named)
    if "/" in slug:
        return say("a '/' in the slug would make the name that of another client's secret")
    longest = max(map(len, secret_names(slug, prefix=prefix, layout=layout).values()))
    if longest > MAX_NAME:
        return say(
            "the name of its secret has %(n)s characters, more than %(most)s",
            n=longest,
            most=MAX_NAME,
        )
    return None


def name_warning(slug: str, *, prefix: str, layout: Layout) -> str | None:
    """Say that a name ends like an ARN (a hyphen and six characters), or None."""
    for name in secret_names(slug, prefix=prefix, layout=layout).values():
        if re.search(r"-.{6}$", name):
            return say(
                "%(name)s ends in a hyphen and six characters, which AWS can take for an ARN",
                name=name,
            )
    return None
