"""Signs audit entries and the links of their chain with keys that are not in the database. Reads no table."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from uuid import UUID

from django.conf import settings
from django.utils.crypto import salted_hmac

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Ids of entries begin with their milliseconds, so that the newest entries are also the last by their key.
_VERSION, _VARIANT = 7 << 76, 2 << 62


@dataclass(frozen=True)
class AuditKeys:
    """The keys by which entries and links prove to be this site's. The first signs, every one verifies."""

    keys: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def by_id(self) -> dict[str, bytes]:
        """Return the keys by the short names under which entries note them."""
        return {_digest(key, "name of the key")[:16]: key for key in self.keys}

    @property
    def current_id(self) -> str:
        return next(iter(self.by_id))

    def sign(self, *parts: str) -> str:
        """Return 64 hexadecimal digits that can be computed only with the current key."""
        return _digest(self.keys[0], *parts)

    def holds(self, signature: str, key_id: str, *parts: str) -> bool:
        """Say whether these parts were signed with the key of this name."""
        key = self.by_id.get(key_id)
        # As bytes: of text that isn't ASCII, which somebody may have written there, `compare_digest` raises.
        return key is not None and hmac.compare_digest(
            _digest(key, *parts).encode(), signature.encode()
        )


def audit_keys() -> AuditKeys:
    """Return the keys that the settings name now."""
    audit = settings.NOVA_AUDIT
    return _make_keys(audit.key, audit.old_keys, settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _make_keys(key: str, old_keys: tuple[str, ...], secret_key: str) -> AuditKeys:
    roots = [key or _derive_key(secret_key)]
    for old in old_keys:
        # What is listed was a key of its own, or the SECRET_KEY from which the key was derived.
        roots += [old, _derive_key(old)]
    return AuditKeys(tuple(root.encode() for root in dict.fromkeys(roots)))


def _derive_key(secret_key: str) -> str:
    return salted_hmac("nova_admin.audit", "", secret=secret_key, algorithm="sha256").hexdigest()


def _digest(key: bytes, *parts: str) -> str:
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def make_entry_id() -> tuple[UUID, datetime]:
    """Return a new id, a version 7 UUID, and the moment in it."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    number = milliseconds << 80 | _VERSION | (rest * 4096 // 1_000_000) << 64 | _VARIANT
    moment = EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return UUID(int=number | secrets.randbits(62)), moment


def first_id_at(moment: datetime) -> UUID:
    """Return the lowest id that an entry of this moment, or of a later one, can have."""
    milliseconds = max((moment - EPOCH) // timedelta(milliseconds=1), 0)
    return UUID(int=(milliseconds & (1 << 48) - 1) << 80)


def describe_moment(moment: datetime) -> str:
    """Return the moment as it is signed: to the microsecond, as PostgreSQL stores it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
