"""Verifies a certificate: that this site signed it as it is, and that the audit still holds what it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from migration.models import AuditCheckpoint, AuditEvent, AuditLink
from migration.models.audit_signatures import audit_keys
from migration.operations.audit_chain import AuditHead, link_parts
from migration.operations.certificate_facts import (
    AuditAgreement,
    NotACertificateError,
    read_unverified_certificate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migration.operations.certificate_facts import Json


class CertificateFault(StrEnum):
    """Why a certificate proves nothing."""

    EDITED = "edited"
    OTHER_SITE = "other_site"  # signed with a key that this site doesn't have
    ENTRY_CHANGED = "entry_changed"
    ENTRY_REMOVED = "entry_removed"
    ENTRY_MOVED = "entry_moved"  # it has another place in the chain
    HEAD = "head"  # the chain no longer has the head that the certificate names
    MOVE_DIFFERS = "move_differs"  # audit and history disagreed when it was made


@dataclass(frozen=True)
class CertificateFinding:
    """A fault, and where it was met."""

    fault: CertificateFault
    place: str = ""


@dataclass
class CertificateVerdict:
    """What was found about one certificate; `facts` only where this site signed them."""

    facts: dict[str, Json] | None = None
    findings: list[CertificateFinding] = field(default_factory=list)
    agreeing: int = 0
    let_go: int = 0

    @property
    def is_genuine(self) -> bool:
        return not self.findings

    def add_fault(self, fault: CertificateFault, place: object = "") -> None:
        """Add what is wrong with the certificate; `place`: the move, or the entry of the audit, that disagrees."""
        self.findings.append(CertificateFinding(fault, str(place)))


def verify_certificate(text: str) -> CertificateVerdict:
    """Return the verdict on a certificate's text; raises `UnreadableCertificateError` if no JSON or too long."""
    verdict = CertificateVerdict()
    try:
        signed = read_unverified_certificate(text)
    except NotACertificateError:
        verdict.add_fault(CertificateFault.EDITED)
        return verdict
    if not signed.is_of_known_key:
        verdict.add_fault(CertificateFault.OTHER_SITE)
    elif not signed.is_genuine:
        verdict.add_fault(CertificateFault.EDITED)
    elif isinstance(signed.facts, dict):
        verdict.facts = signed.facts
        _verify_moves(verdict, signed.facts)
        _verify_audit(verdict, signed.facts)
    return verdict


def _list_objects(value: Json) -> Iterator[dict[str, Json]]:
    yield from (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _verify_moves(verdict: CertificateVerdict, facts: dict[str, Json]) -> None:
    for move in _list_objects(facts["moves"]):
        if move["proof"] == AuditAgreement.DIFFERS:
            verdict.add_fault(CertificateFault.MOVE_DIFFERS, move["at"])


def _verify_audit(verdict: CertificateVerdict, facts: dict[str, Json]) -> None:
    """Compare the entries and the head with the audit, as far as it was not let go."""
    start = _find_start()
    entries = list(_list_objects(facts["entries"]))
    head = AuditHead.parse(str(facts["audit_head"]))
    links = _read_links(
        [int(str(each["position"])) for each in entries if each["position"] is not None]
    )
    links[start.position] = start
    events = AuditEvent.objects.in_bulk([str(each["id"]) for each in entries])
    by_id = {str(pk): event for pk, event in events.items()}
    for entry in entries:
        position, entry_id = entry["position"], str(entry["id"])
        if isinstance(position, int) and position <= start.position:
            verdict.let_go += 1
        elif fault := _find_fault(by_id.get(entry_id), entry, links):
            verdict.add_fault(fault, entry_id if position is None else position)
        else:
            verdict.agreeing += 1
    found = _read_links([head.position]).get(head.position, start)
    if head.position >= start.position and found != head:
        verdict.add_fault(CertificateFault.HEAD, head.position)


def _find_fault(
    event: AuditEvent | None, entry: dict[str, Json], links: dict[int, AuditHead]
) -> CertificateFault | None:
    """Return what is wrong with an entry that the certificate names, or with its place."""
    if event is None:
        return CertificateFault.ENTRY_REMOVED
    keys, position = audit_keys(), entry["position"]
    if event.signature != entry["signature"] or not event.is_unchanged(keys):
        return CertificateFault.ENTRY_CHANGED
    if not isinstance(position, int):
        return None  # it had no place yet
    link = AuditLink.objects.filter(position=position, event_id=event.pk).first()
    before = links.get(position - 1, AuditHead())
    if link is None or not keys.holds(
        link.signature, link.key, *link_parts(before, link, event.signature)
    ):
        return CertificateFault.ENTRY_MOVED
    return None


def _read_links(positions: Iterable[int]) -> dict[int, AuditHead]:
    """Return the links at these positions and before them, by position."""
    wanted = {place for position in positions for place in (position - 1, position)}
    links = AuditLink.objects.filter(position__in=wanted).values_list("position", "signature")
    return {position: AuditHead(position, signature) for position, signature in links}


def _find_start() -> AuditHead:
    """Return the newest checkpoint that this site signed: what was up to there was let go."""
    keys = audit_keys()
    for checkpoint in AuditCheckpoint.objects.order_by("-position"):
        if keys.holds(checkpoint.signature, checkpoint.key, *checkpoint.signed_parts):
            return AuditHead(checkpoint.position, checkpoint.link_signature)
    return AuditHead()
