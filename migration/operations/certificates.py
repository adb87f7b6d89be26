"""Makes the certificate of a client's newest cutover from what is stored about it, and records that it was made."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Count
from django.utils import timezone

from migration import audit_sentences as sentences
from migration.models import (
    AuditCode,
    AuditEvent,
    AuditLink,
    ClientMigration,
    Comparison,
    KnownValue,
    MoveRequest,
    PhaseChange,
    ReadCount,
    ReadsSince,
    SearchedClient,
)
from migration.models.audit_signatures import audit_keys, describe_moment, first_id_at
from migration.offboarding_sentences import MOVED_TO_LEAVE
from migration.operations.audit_chain import read_head, seal_audit
from migration.operations.certificate_facts import (
    FORMAT,
    ApprovalFact,
    AuditAgreement,
    Certificate,
    ComparisonFact,
    CopiesFact,
    CredentialFact,
    EntryFact,
    GateLine,
    MoveFact,
    SignedFacts,
    sign_certificate,
)
from migration.operations.gate_lines import PassedLineState, read_recorded_gate_line
from nova_credentials.messages import Message
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import User

    from credentials.models import Client
    from migration.models import Run
    from nova_credentials.messages import Sentence

# Newer ones are left out, so that it stays one sheet.
MOST_MOVES, MOST_ENTRIES = 12, 40
# A move and its entries are written at once; the entry has its time a little later.
SAME_ACT = timedelta(seconds=-1), timedelta(minutes=1)
OF_THE_CUTOVER = (
    AuditCode.MOVE,
    AuditCode.OVERRIDE,
    AuditCode.GATE,
    AuditCode.REQUEST,
    AuditCode.APPROVAL,
)


class NotCutOverError(Exception):
    """The client was never cut over, so there is nothing to certify."""


def make_certificate(*, client: Client, by: User) -> tuple[Certificate, SignedFacts]:
    """Record that a certificate is made, seal the audit, collect the facts and sign them.

    Raises `NotCutOverError`.
    """
    cutover = _require_cutover(client)
    _record(AuditCode.CERTIFICATE, sentences.CERTIFICATE_MADE, client, cutover, by)
    seal_audit(wait=True)
    certificate = collect_cutover_facts(client=client, by=by)
    return certificate, sign_certificate(certificate)


def record_download(*, client: Client, by: User) -> None:
    """Record that somebody downloaded a certificate of the client's; raises `NotCutOverError`."""
    cutover = _require_cutover(client)
    _record(AuditCode.CERTIFICATE, sentences.CERTIFICATE_DOWNLOADED, client, cutover, by)


def find_cutover(client_id: int) -> PhaseChange | None:
    """Return the client's newest cutover; None where there is nothing to certify."""
    changes = PhaseChange.objects.filter(client_id=client_id, old=Phase.DUAL_READ, new=Phase.AWS)
    found = changes.select_related("comparison").order_by("-pk")
    # An offboarding passes every phase on its way to `purged`: through no gate, and nobody read the client meanwhile.
    return next((each for each in found if not _is_of_offboarding(each)), None)


def collect_cutover_facts(*, client: Client, by: User) -> Certificate:
    """Collect what is stored about the client's newest cutover; raises `NotCutOverError`."""
    cutover = _require_cutover(client)
    began = _find_dual_read(cutover)
    changes = list(PhaseChange.objects.filter(client_id=client.pk)[:MOST_MOVES])[::-1]
    if cutover not in changes:
        changes.insert(0, cutover)
    record = _MoveRecord(client, changes)
    migration = ClientMigration.objects.select_related("comparison").get(pk=client.pk)
    counts = ReadCount.objects.filter(pk=client.pk).first()
    after = counts.count_since(cutover.reads_before) if counts else ReadsSince()
    is_after = counts and counts.last_answer_at and counts.last_answer_at >= cutover.changed_at
    moves = {change.pk: record.describe(change) for change in changes}
    return Certificate(
        format=FORMAT,
        made_at=timezone.now(),
        made_by=by.get_username(),
        client_id=client.pk,
        slug=client.slug,
        name=client.name,
        phase=migration.phase,
        cutover=moves[cutover.pk],
        gate=record.find_gate(cutover),
        approval=_find_approval(cutover),
        comparison_at_cutover=_describe_comparison(cutover.comparison),
        comparisons_in_dual_read=_count_comparisons(cutover, began),
        newest_comparison=_describe_comparison(migration.comparison),
        reads_in_dual_read=_subtract(cutover.reads_before, began.reads_before if began else {}),
        reads_since_cutover=after,
        answered_since_cutover=after.answered_by_aws_alone,
        last_answer_at=counts.last_answer_at if counts and is_after else None,
        copies=_find_copies(client.pk),
        credentials=_list_credentials(client.pk),
        moves=tuple(moves.values()),
        entries=_list_entries(record.slugs, cutover, began),
        audit_head=str(read_head()),
    )


class _MoveRecord:
    """What the audit says of the client's moves."""

    def __init__(self, client: Client, changes: Sequence[PhaseChange]) -> None:
        self.slugs = {client.slug[:100], *(change.slug for change in changes)}
        self.keys = audit_keys()
        found = AuditEvent.objects.filter(
            client_id=client.pk,
            slug__in=self.slugs,
            code__in=(AuditCode.MOVE, AuditCode.GATE),
            pk__gte=first_id_at(changes[0].changed_at + SAME_ACT[0]),
        )
        self.entries = list(found.order_by("pk"))
        self.oldest = AuditEvent.objects.order_by("pk").first()

    def describe(self, change: PhaseChange) -> MoveFact:
        return MoveFact(
            old=change.old,
            new=change.new,
            at=change.changed_at,
            who=change.by_name,
            reason=change.reason,
            note=change.note,
            overridden=tuple(change.overridden),
            override_reason=change.override_reason,
            proof=self._prove(change),
        )

    def find_gate(self, change: PhaseChange) -> tuple[GateLine, ...] | None:
        """Return the lines of the gate that let the move pass; None where they were not recorded."""
        entry = self._find(AuditCode.GATE, sentences.GATE_PASSED.key, change)
        lines = entry.message.values.get("lines", ()) if entry else None
        if not isinstance(lines, tuple):
            return None
        messages = [line for line in lines if isinstance(line, Message)]
        return tuple(GateLine(*read_recorded_gate_line(line)) for line in messages)

    def _prove(self, change: PhaseChange) -> AuditAgreement:
        """Compare the move with its signed entry: who, why, and what of its gate was overridden."""
        entry = self._find(AuditCode.MOVE, sentences.MOVED.key, change)
        if entry is None:
            is_older = self.oldest is None or change.changed_at < self.oldest.at
            return AuditAgreement.NOT_KEPT if is_older else AuditAgreement.DIFFERS
        same = entry.reason == change.reason and change.by_name in ("", entry.who)
        gate = self._find(AuditCode.GATE, sentences.GATE_PASSED.key, change)
        if gate:
            lines = self.find_gate(change) or ()
            overridden = [line.text for line in lines if line.state == PassedLineState.OVERRIDDEN]
            same = same and gate.is_unchanged(self.keys) and overridden == change.overridden
        agrees = same and entry.is_unchanged(self.keys)
        return AuditAgreement.AGREES if agrees else AuditAgreement.DIFFERS

    def _find(self, code: AuditCode, key: str, change: PhaseChange) -> AuditEvent | None:
        """Return the entry that was written with the move; None where there is none."""
        earliest, latest = (change.changed_at + by for by in SAME_ACT)
        found = [
            entry
            for entry in self.entries
            if entry.code == code
            and earliest <= entry.at <= latest
            and (message := entry.message).key == key
            and message.values.get("new") == Phase(change.new).label
        ]
        return min(found, key=lambda entry: abs(entry.at - change.changed_at), default=None)


def _is_of_offboarding(change: PhaseChange) -> bool:
    return change.note is not None and change.note.key == MOVED_TO_LEAVE.key


def _require_cutover(client: Client) -> PhaseChange:
    found = find_cutover(client.pk)
    if found is None:
        raise NotCutOverError
    return found


def _find_dual_read(cutover: PhaseChange) -> PhaseChange | None:
    """Return the move by which the dual read began that the cutover ended."""
    earlier = PhaseChange.objects.filter(client_id=cutover.client_id, pk__lt=cutover.pk)
    return earlier.filter(new=Phase.DUAL_READ).order_by("-pk").first()


def _record(
    code: AuditCode, sentence: Sentence, client: Client, cutover: PhaseChange, by: User
) -> None:
    """Record an act about the certificate of this cutover."""
    AuditEvent.objects.record(
        code,
        sentence(at=describe_moment(cutover.changed_at)),
        by=by,
        client_id=client.pk,
        slug=client.slug,
    )


def _find_approval(cutover: PhaseChange) -> ApprovalFact | None:
    """Return the request that was closed with the cutover, or the approval of the run that made it."""
    if cutover.run:
        return _find_approval_of_run(cutover, cutover.run)
    closed = MoveRequest.objects.filter(
        client_id=cutover.client_id,
        new=Phase.AWS,
        state=MoveRequest.State.DONE,
        decided_at__range=tuple(cutover.changed_at + by for by in SAME_ACT),
    ).first()
    if closed is None:
        return None
    return ApprovalFact(
        requested_by=closed.requested_by_name,
        requested_at=closed.requested_at,
        reason=closed.reason,
        approved_by=closed.decided_by_name,
        approved_at=closed.decided_at,
    )


def _find_approval_of_run(cutover: PhaseChange, run: Run) -> ApprovalFact | None:
    """Return the newest approval of the run before the cutover; who approves it again later is another."""
    approvals = AuditEvent.objects.filter(
        code=AuditCode.APPROVAL, correlation=f"run {run.pk}", at__lte=cutover.changed_at
    )
    newest = approvals.order_by("-at").first()
    if newest is None:
        return None
    return ApprovalFact(run.by_name, run.created_at, run.reason, newest.who, newest.at)


def _describe_comparison(comparison: Comparison | None) -> ComparisonFact | None:
    return ComparisonFact(comparison.status, comparison.compared_at) if comparison else None


def _count_comparisons(cutover: PhaseChange, began: PhaseChange | None) -> dict[str, int]:
    found = Comparison.objects.filter(
        client_id=cutover.client_id, compared_at__lte=cutover.changed_at
    )
    if began:
        found = found.filter(compared_at__gte=began.changed_at)
    return dict(found.order_by().values_list("status").annotate(n=Count("pk")))


def _subtract(now: Mapping[str, int], before: Mapping[str, int]) -> ReadsSince:
    return ReadsSince(**{name: max(0, n - before.get(name, 0)) for name, n in now.items()})


def _find_copies(client_id: int) -> CopiesFact | None:
    found = SearchedClient.objects.filter(client_id=client_id).select_related("search")
    newest = found.order_by("-searched_at", "-pk").first()
    if newest is None:
        return None
    return CopiesFact(
        searched_at=newest.searched_at,
        by=newest.search.by_name,
        rows_found=newest.rows_found,
        not_looked_at=newest.not_looked_at,
    )


def _list_credentials(client_id: int) -> tuple[CredentialFact, ...]:
    return tuple(
        CredentialFact(
            kind=value.kind,
            id=value.credential_id,
            since=value.since,
            stands_in_tables=value.stands_in_tables,
            stood_in_tables=value.stood_in_tables,
            stood_in_copy=value.stood_in_copy,
            stood_in_legacy=value.stood_in_legacy,
            to_rotate=value.is_to_rotate,
        )
        for value in KnownValue.objects.list_present(client_id)
    )


def _list_entries(
    slugs: set[str], cutover: PhaseChange, began: PhaseChange | None
) -> tuple[EntryFact, ...]:
    """Return the entries from the beginning of dual read on, the oldest first, each with its place in the chain."""
    since = (began or cutover).changed_at + SAME_ACT[0]
    found = AuditEvent.objects.filter(
        client_id=cutover.client_id,
        slug__in=slugs,
        code__in=OF_THE_CUTOVER,
        pk__gte=first_id_at(since),
    )
    events = list(found.order_by("pk")[:MOST_ENTRIES])
    links = AuditLink.objects.filter(event_id__in=[event.pk for event in events])
    places = dict(links.values_list("event_id", "position"))
    return tuple(
        EntryFact(
            position=places.get(event.pk),
            id=str(event.pk),
            code=event.code,
            at=event.at,
            who=event.who,
            signature=event.signature,
        )
        for event in events
    )
