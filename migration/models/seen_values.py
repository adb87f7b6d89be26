"""Owns what is seen of credentials' values before it is stored: fingerprints and places, never a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from migration.models.version_keys import Fingerprint

if TYPE_CHECKING:
    from datetime import datetime

# A row of a credential table: its type and its id.
CredentialKey = tuple[str, int]


class NewValueOrigin(StrEnum):
    """Where the value comes from that a credential was given."""

    # By a person or a program: it may be any that existed before.
    TYPED = "typed"
    # It stood in AWS before.
    FORMER = "former"
    # Made at random by this site, just now: it is none that existed before.
    GENERATED = "generated"


@dataclass(frozen=True)
class PresentValue:
    """A credential's present value as a look has just found it: what is told to `KnownValue`, and no row."""

    fingerprint: Fingerprint
    # In clear in its row of the credential tables, now and up to now.
    stands_in_tables: bool
    stood_in_tables: bool
    # It is proven that nobody has written it since it was last seen: another key's digest is of the same value.
    is_unwritten: bool = False
    origin: NewValueOrigin = NewValueOrigin.TYPED
    # When the version was made in which AWS holds it, where AWS says so.
    made_at: datetime | None = None


@dataclass
class SeenClient:
    """All credentials of one client as they were just seen, and the revision of its rows."""

    client_id: int
    revision: int
    values: dict[CredentialKey, PresentValue] = field(default_factory=dict)
    # What AWS held then of the rows that are purged; empty where it was not read.
    in_aws: dict[CredentialKey, PresentValue] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundValue:
    """A value of a client and where a search found it elsewhere in NOVA's database; in memory only."""

    client_id: int
    fingerprint: Fingerprint
    in_copy: bool
    in_legacy: bool
    # In a credential table, as the value of another client.
    in_tables: bool
