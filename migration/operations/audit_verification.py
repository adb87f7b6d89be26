"""Verifies the audit: that every entry is as this site signed it, in its place in the chain, and that none is missing.

Reads in the order of the chain and keeps one entry at a time, so the length of the chain doesn't matter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import connection

from migration import audit_sql
from migration.core.audit import AuditCheckpoint, AuditEvent, AuditLink, audit_keys
from migration.core.audit_chain import (
    LAST_POSITION,
    LATE_AFTER,
    AuditHead,
    link_parts,
    select_unsealed,
)
from migration.core.snapshots import repeatable_read_only

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from migration.core.audit import AuditKeys

# More are counted, and not listed.
MOST_FAULTS = 100
ROWS_AT_ONCE = 2000
BEFORE_ALL_LINKS = -(1 << 63)

LINKS_WITH_EVENTS = """
SELECT l.position, l.event_id, {sealed_at}, l.key, l.signature, {columns}
FROM nova_admin.migration_auditlink l LEFT JOIN nova_admin.migration_auditevent e ON e.id = l.event_id
WHERE l.position >= %s ORDER BY l.position
"""


class AuditFault(StrEnum):
    """What was done to the audit by somebody who got around the site."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    ADDED = "added"
    CUT_OFF = "cut_off"  # the head that was kept elsewhere is not in the chain
    CHECKPOINT = "checkpoint"  # one that this site didn't sign
    UNPROTECTED = "unprotected"  # the database doesn't refuse changes of a table


@dataclass(frozen=True)
class Finding:
    """One fault, and where it is: a position in the chain, the id of an entry, or a table."""

    fault: AuditFault
    place: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.place}"


@dataclass
class LateSpan:
    """Links one after the other that were made late, and by how much at most."""

    first: int
    last: int
    longest: timedelta


@dataclass
class ForeignKey:
    """A key by its short code that is not set here: nobody can tell here who signed with it, or what it covers."""

    code: str
    number: int = 0
    # Positions; 0 where only entries without a place name it.
    first: int = 0
    last: int = 0

    def add(self, position: int = 0) -> None:
        self.number += 1
        self.first, self.last = self.first or position, position or self.last


@dataclass
class Verification:
    """What was verified, and every fault that was found."""

    head: AuditHead = field(default_factory=AuditHead)
    # The checkpoint from which the chain was verified; 0 where no entry was ever let go.
    begins_after: int = 0
    sealed: int = 0
    # Signed and not yet in the chain: their removal could not be noticed yet.
    unsealed: int = 0
    faults: Counter[AuditFault] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    # No faults: a worker that was stopped makes its links late too.
    late: int = 0
    late_spans: list[LateSpan] = field(default_factory=list)
    foreign: dict[str, ForeignKey] = field(default_factory=dict)

    def add(self, fault: AuditFault, place: object) -> None:
        self.faults[fault] += 1
        if len(self.findings) < MOST_FAULTS:
            self.findings.append(Finding(fault, str(place)))

    def add_foreign(self, code: str, position: int = 0) -> None:
        self.foreign.setdefault(code, ForeignKey(code)).add(position)

    def note_sealing(self, position: int, took: timedelta) -> None:
        """Note how long the entry at this position waited for its link."""
        if took <= LATE_AFTER:
            return
        self.late += 1
        last = self.late_spans[-1] if self.late_spans else None
        if last and last.last == position - 1:
            last.last, last.longest = position, max(last.longest, took)
        elif len(self.late_spans) < MOST_FAULTS:
            self.late_spans.append(LateSpan(position, position, took))

    @property
    def is_sound(self) -> bool:
        return not self.faults and not self.foreign

    def describe_first_fault(self) -> str:
        """Return the first fault as text; of an audit that isn't sound."""
        if self.findings:
            return str(self.findings[0])
        return f"signed with the key {next(iter(self.foreign))}, which is not set here"


def verify_audit(*, kept_head: AuditHead | None = None) -> Verification:
    """Verify the whole audit as it is at one moment. `kept_head`: one that was kept outside the database."""
    found = Verification()
    with repeatable_read_only():
        _verify_protection(found)
        start = _verify_checkpoints(found)
        _verify_before(found, start)
        _verify_chain(found, start, kept_head)
        _verify_unsealed(found)
    return found


def _verify_protection(found: Verification) -> None:
    with connection.cursor() as cursor:
        cursor.execute(audit_sql.LIST_PROTECTED, [audit_sql.FUNCTION, audit_sql.REFUSE])
        protected = {name for (name,) in cursor.fetchall()}
    for table in audit_sql.TABLES:
        if table.partition(".")[2] not in protected:
            found.add(AuditFault.UNPROTECTED, table)


def _verify_checkpoints(found: Verification) -> AuditHead:
    """Return the newest checkpoint that this site signed, at which the chain begins."""
    keys, start = audit_keys(), AuditHead()
    for checkpoint in AuditCheckpoint.objects.order_by("position"):
        # One of a key that no link names is nobody's of before.
        of_links = AuditLink.objects.filter(key=checkpoint.key)
        is_foreign = checkpoint.key not in keys.by_id and of_links.exists()
        if is_foreign or keys.holds(checkpoint.signature, checkpoint.key, *checkpoint.signed_parts):
            start = AuditHead(checkpoint.position, checkpoint.link_signature)
        else:
            found.add(AuditFault.CHECKPOINT, checkpoint.position)
    found.begins_after = start.position
    return start


def _verify_before(found: Verification, start: AuditHead) -> None:
    """Verify the entries with a link before the chain's begin: what a trim that was killed has left, or nothing.

    A link there, where no chain is verified, would hide an entry from what is verified as unsealed.
    """
    keys = audit_keys()
    for link, event in read_chain(BEFORE_ALL_LINKS):
        if link.position > start.position:
            return
        if link.position > 0 and event and (code := find_foreign_key(found, link, event)):
            found.add_foreign(code, link.position)
        elif link.position < 1 or event is None or not event.is_unchanged(keys):
            found.add(AuditFault.ADDED, link.position)


def _verify_chain(found: Verification, start: AuditHead, kept: AuditHead | None) -> None:
    before = start
    places_of_kept = {start.position: start}
    for link, event in read_chain(start.position + 1):
        if link.position > LAST_POSITION:
            found.add(AuditFault.REORDERED, link.position)
            continue
        first_missing, last_missing = before.position + 1, link.position - 1
        if last_missing >= first_missing:
            place = (
                f"{first_missing}-{last_missing}" if last_missing > first_missing else last_missing
            )
            found.add(AuditFault.REMOVED, place)
        _verify_link(found, before, link, event)
        before = AuditHead(link.position, link.signature)
        found.sealed += 1
        if kept and kept.position == link.position:
            places_of_kept[link.position] = before
    found.head = before
    if kept and kept.position >= start.position and places_of_kept.get(kept.position) != kept:
        found.add(AuditFault.CUT_OFF, kept)


def _verify_link(
    found: Verification, before: AuditHead, link: AuditLink, event: AuditEvent | None
) -> None:
    keys = audit_keys()
    if event and (code := find_foreign_key(found, link, event)):
        found.add_foreign(code, link.position)
    elif fault := _find_fault(keys, before, link, event):
        found.add(fault, link.position)
    elif event and link.sealed_at:
        found.note_sealing(link.position, link.sealed_at - event.at)


def find_foreign_key(found: Verification, link: AuditLink, event: AuditEvent) -> str | None:
    """Return the key of the link that is not set here, or that of its entry if links name it; None: they are."""
    known = audit_keys().by_id
    if link.key not in known:
        return link.key
    return event.key if event.key in found.foreign else None


def _find_fault(
    keys: AuditKeys, before: AuditHead, link: AuditLink, event: AuditEvent | None
) -> AuditFault | None:
    """Return what is wrong with this link or its entry."""
    if event is None:
        return AuditFault.REMOVED
    parts = link_parts(before, link, event.signature)
    # After a gap nobody knows the signature that the link covers.
    in_place = link.position > before.position + 1 or keys.holds(link.signature, link.key, *parts)
    if not event.is_unchanged(keys):
        return AuditFault.CHANGED if in_place else AuditFault.ADDED
    return None if in_place else AuditFault.REORDERED


def _verify_unsealed(found: Verification) -> None:
    keys = audit_keys()
    for event in select_unsealed().iterator(chunk_size=ROWS_AT_ONCE):
        if event.is_unchanged(keys):
            found.unsealed += 1
        elif event.key in found.foreign:
            found.add_foreign(event.key)
        else:
            found.add(AuditFault.ADDED, event.pk)


def read_chain(first: int = 1) -> Iterator[tuple[AuditLink, AuditEvent | None]]:
    """Yield the links from this position on in order, each with its entry; None where that is gone.

    Within a transaction: it reads a few rows at a time from PostgreSQL.
    """
    fields = AuditEvent._meta.concrete_fields
    columns = [each.select_format(None, f"e.{each.column}", ())[0] for each in fields]  # type: ignore[arg-type]
    sealing = AuditLink._meta.get_field("sealed_at")
    sealed_at = sealing.select_format(None, "l.sealed_at", ())[0]
    statement = LINKS_WITH_EVENTS.format(columns=", ".join(columns), sealed_at=sealed_at)
    names = [each.attname for each in fields]
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, [first])
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for position, event_id, sealed_at, key, signature, *of_event in rows:
                link = AuditLink(
                    position=position,
                    event_id=event_id,
                    sealed_at=sealed_at,
                    key=key,
                    signature=signature,
                )
                event = (
                    None if of_event[0] is None else AuditEvent.from_db("default", names, of_event)
                )
                yield link, event
