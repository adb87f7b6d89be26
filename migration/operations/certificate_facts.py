"""Owns the certificate of a client's cutover: its facts as data, and their signature. Reads no table.

The file is JSON. What is signed is its facts in one spelling, so that blanks and the order of the keys don't matter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from migration.models.audit_signatures import audit_keys, describe_moment
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from migration.models import ReadsSince
    from migration.operations.gate_lines import PassedLineState

FORMAT = 1
PARTS = {"certificate", "key", "signature"}
LONGEST_FILE = 1_000_000  # characters

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class AuditAgreement(StrEnum):
    """Whether the audit says the same of a move as the client's history."""

    AGREES = "agrees"
    NOT_KEPT = "not_kept"  # the move is older than the entries that there are
    DIFFERS = "differs"


@dataclass(frozen=True)
class MoveFact:
    """One move of the client; `who` is empty where nobody was named."""

    old: str
    new: str
    at: datetime
    who: str
    reason: str
    note: Message | None
    overridden: tuple[Message, ...]
    override_reason: str
    proof: AuditAgreement


@dataclass(frozen=True)
class GateLine:
    """One check of the gate at the cutover, as it was then."""

    state: PassedLineState
    text: Message


@dataclass(frozen=True)
class ApprovalFact:
    """Who requested the cutover, and who approved it."""

    requested_by: str
    requested_at: datetime
    reason: str
    approved_by: str
    approved_at: datetime | None


@dataclass(frozen=True)
class ComparisonFact:
    """The result of one comparison of both stores."""

    status: str
    at: datetime


@dataclass(frozen=True)
class CopiesFact:
    """The newest search for copies of the client's secret values."""

    searched_at: datetime
    by: str
    rows_found: int
    not_looked_at: int


@dataclass(frozen=True)
class CredentialFact:
    """Describes a credential's present value, without it: its least age, and where NOVA's database has it in clear."""

    kind: str
    id: int
    since: datetime
    stands_in_tables: bool
    stood_in_tables: bool
    stood_in_copy: bool
    stood_in_legacy: bool
    to_rotate: bool


@dataclass(frozen=True)
class EntryFact:
    """An entry of the audit about this cutover; without a place where it was not sealed."""

    position: int | None
    id: str
    code: str
    at: datetime
    who: str
    signature: str


@dataclass(frozen=True)
class Certificate:
    """The facts about one client's newest cutover, as they were at `made_at`. No secret value is among them."""

    format: int
    made_at: datetime
    made_by: str
    client_id: int
    slug: str
    name: str
    phase: str
    cutover: MoveFact
    # Of a release that didn't record it: None.
    gate: tuple[GateLine, ...] | None
    approval: ApprovalFact | None
    comparison_at_cutover: ComparisonFact | None
    # Status -> how many from the beginning of dual read to the cutover, of those that are still kept.
    comparisons_in_dual_read: dict[str, int]
    newest_comparison: ComparisonFact | None
    reads_in_dual_read: ReadsSince
    reads_since_cutover: ReadsSince
    answered_since_cutover: int
    last_answer_at: datetime | None
    copies: CopiesFact | None
    # As far as the site has seen their values.
    credentials: tuple[CredentialFact, ...]
    # The newest, the oldest first.
    moves: tuple[MoveFact, ...]
    entries: tuple[EntryFact, ...]
    audit_head: str


@dataclass(frozen=True)
class SignedFacts:
    """A certificate's facts as its file has them, with their signature and the id of the key."""

    facts: Json
    key: str
    signature: str

    @property
    def certificate_file_text(self) -> str:
        """Return the text of the certificate's file: JSON with facts, key id and signature."""
        parts = {"certificate": self.facts, "key": self.key, "signature": self.signature}
        return json.dumps(parts, indent=2) + "\n"

    @property
    def is_of_known_key(self) -> bool:
        return self.key in audit_keys().by_id

    @property
    def is_genuine(self) -> bool:
        """Say whether this site signed exactly these facts."""
        return self.signature.isascii() and audit_keys().holds(
            self.signature, self.key, *_signed_parts(self.facts, self.key)
        )


class UnreadableCertificateError(Exception):
    """The text is no JSON, or too long to be a certificate."""


class NotACertificateError(Exception):
    """The file is JSON and has not the parts of a certificate: no site made it so."""


def sign_certificate(certificate: Certificate) -> SignedFacts:
    """Return the certificate's facts with their signature by the audit's key; stores nothing."""
    keys, facts = audit_keys(), _to_json(certificate)
    return SignedFacts(facts, keys.current_id, keys.sign(*_signed_parts(facts, keys.current_id)))


def read_unverified_certificate(text: str) -> SignedFacts:
    """Read a certificate's file without judging its signature, as `is_genuine` does.

    Raises `UnreadableCertificateError` or `NotACertificateError`.
    """
    if len(text) > LONGEST_FILE:
        raise UnreadableCertificateError
    try:
        parts = json.loads(text, object_pairs_hook=_make_object)
    except (ValueError, RecursionError):
        raise UnreadableCertificateError from None
    if not isinstance(parts, dict) or set(parts) != PARTS:
        raise NotACertificateError
    key, signature = parts["key"], parts["signature"]
    if not (isinstance(key, str) and isinstance(signature, str)):
        raise NotACertificateError
    return SignedFacts(parts["certificate"], key, signature)


def _make_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """Refuse a name that stands twice: two programs could read two values."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotACertificateError
    return found


def _signed_parts(facts: Json, key: str) -> tuple[str, ...]:
    return ("certificate", key, json.dumps(facts, sort_keys=True, separators=(",", ":")))


def _to_json(value: object) -> Json:
    if isinstance(value, Message):
        value = value.to_json()
    elif is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    match value:
        case datetime():
            return describe_moment(value)
        case tuple() | list():
            return [_to_json(part) for part in value]
        case dict():
            return {str(name): _to_json(part) for name, part in value.items()}
        case str():
            return str(value)  # a StrEnum is plain text
        case int() | float() | None:
            return value
    raise TypeError(f"a certificate holds no {type(value).__name__}")
