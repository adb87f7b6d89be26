"""Makes the sentences of a certificate of its facts, in the page's language. Reads no table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from credentials.sentences import ROWS
from credentials.shown_names import escape_name
from migration import sentences
from migration.models import AuditCode, PhaseChoices
from migration.models.comparisons import COMPARISONS_ARE_KEPT
from migration.operations.certificate_facts import AuditAgreement
from migration.operations.gate_lines import PassedLineState
from migration.reports.plain_text import describe_places
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from migration.models import ReadsSince
    from migration.operations.certificate_facts import (
        Certificate,
        ComparisonFact,
        CredentialFact,
        MoveFact,
    )


# Of more the rest is counted, so that it stays one sheet. The file has them all.
MOST_CREDENTIALS = 12


@dataclass(frozen=True)
class SheetRow:
    """One line of the sheet: a short label and what is said under it; `is_marked` where a reader should look twice."""

    label: str
    text: str
    is_marked: bool = False


@dataclass(frozen=True)
class SheetSection:
    """The lines under one heading."""

    title: str
    rows: list[SheetRow]


def make_cutover_certificate_sheet(facts: Certificate) -> list[SheetSection]:
    """Return the sections of the certificate in the order in which they are read."""
    parts = (
        (_("Cutover"), _describe_cutover(facts)),
        (_("The gate at the cutover"), _describe_gate(facts)),
        (_("Comparisons and reads"), _describe_proofs(facts)),
        (_("Secret values in plain text"), _describe_values(facts)),
        (_("Moves"), (_describe_move(move) for move in facts.moves)),
        (_("Audit"), _describe_audit(facts)),
    )
    return [SheetSection(title, list(rows)) for title, rows in parts]


def show_moment(at: datetime | None) -> str:
    """Return the moment as paper needs it: a time that doesn't age, with its zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "–"


def _describe_cutover(facts: Certificate) -> Iterator[SheetRow]:
    cutover, approval = facts.cutover, facts.approval
    yield SheetRow(_("Client"), f"{escape_name(facts.name)} ({escape_name(facts.slug)})")
    yield SheetRow(_("Cut over"), _by(cutover.at, cutover.who))
    if cutover.reason:
        yield SheetRow(_("Reason"), cutover.reason)
    if approval:
        yield SheetRow(_("Requested"), _by(approval.requested_at, approval.requested_by))
        yield SheetRow(_("Approved"), _by(approval.approved_at, approval.approved_by))
    phase = PhaseChoices(facts.phase).label
    yield SheetRow(_("Phase"), f"{phase} ({show_moment(facts.made_at)})")


def _by(at: datetime | None, who: str) -> str:
    what = show_moment(at)
    return _("%(what)s by %(who)s") % {"what": what, "who": escape_name(who)} if who else what


def _describe_gate(facts: Certificate) -> Iterator[SheetRow]:
    labels = {
        PassedLineState.PASSED: _("Passed"),
        PassedLineState.OFF: _("Switched off"),
        PassedLineState.OVERRIDDEN: _("Overridden"),
    }
    at = facts.cutover.at
    for line in facts.gate or ():
        is_marked = line.state != PassedLineState.PASSED
        yield SheetRow(labels[line.state], localize(line.text, at=at), is_marked)
    if facts.gate is None:
        yield SheetRow("–", _("The audit has no entry of this gate, but for what was overridden."))
        for text in facts.cutover.overridden:
            yield SheetRow(
                labels[PassedLineState.OVERRIDDEN], localize(text, at=at), is_marked=True
            )
    if facts.cutover.overridden:
        yield SheetRow(_("Reason of the override"), facts.cutover.override_reason)


def _describe_proofs(facts: Certificate) -> Iterator[SheetRow]:
    yield SheetRow(_("At the cutover"), _describe_comparison(facts.comparison_at_cutover))
    counted = ", ".join(
        f"{localize(sentences.STATUSES[status]())}: {_show_number(n)}"
        for status, n in sorted(facts.comparisons_in_dual_read.items())
    )
    days = COMPARISONS_ARE_KEPT.days
    yield SheetRow(
        _("In dual read"),
        _("%(counts)s (comparisons are kept for %(days)s days)")
        % {"counts": counted or "–", "days": days},
    )
    yield SheetRow(_("Newest comparison"), _describe_comparison(facts.newest_comparison))
    yield SheetRow(_("Reads in dual read"), _describe_reads(facts.reads_in_dual_read))
    answered = _("Answered by AWS: %(n)s; failed at AWS: %(failures)s; last answer: %(last)s") % {
        "n": _show_number(facts.answered_since_cutover),
        "failures": _show_number(facts.reads_since_cutover.aws_failures),
        "last": show_moment(facts.last_answer_at),
    }
    yield SheetRow(_("Reads since the cutover"), answered)
    yield SheetRow(_("Copies searched"), _describe_copies(facts))


def _describe_comparison(comparison: ComparisonFact | None) -> str:
    if comparison is None:
        return "–"
    return f"{localize(sentences.STATUSES[comparison.status]())}, {show_moment(comparison.at)}"


def _describe_reads(reads: ReadsSince) -> str:
    return _("Equal: %(equal)s; different: %(different)s; failed at AWS: %(failures)s") % {
        "equal": _show_number(reads.matches),
        "different": _show_number(reads.mismatches),
        "failures": _show_number(reads.aws_failures),
    }


def _describe_copies(facts: Certificate) -> str:
    copies = facts.copies
    if copies is None:
        return _("Never")
    found = _("rows with a copy: %(rows)s; places not looked at: %(places)s") % {
        "rows": _show_number(copies.rows_found),
        "places": _show_number(copies.not_looked_at),
    }
    return f"{_by(copies.searched_at, copies.by)}; {found}"


def _describe_values(facts: Certificate) -> Iterator[SheetRow]:
    """Yield each credential, the first that are to be rotated; where there are very many, how many are left out."""
    known = sorted(facts.credentials, key=lambda each: not each.to_rotate)
    for each in known[:MOST_CREDENTIALS]:
        label = localize(ROWS[CredentialType(each.kind)](id=str(each.id)))
        yield SheetRow(label, _describe_value(each), each.to_rotate)
    if (left := len(known) - MOST_CREDENTIALS) > 0:
        text = ngettext("%(n)s more", "%(n)s more", left) % {"n": _show_number(left)}
        yield SheetRow("…", text)
    if not known:
        yield SheetRow("–", _("Nothing is known of the values yet."))


def _describe_value(value: CredentialFact) -> str:
    since = _("exists at least since %(since)s") % {"since": show_moment(value.since)}
    return f"{since}; {'; '.join(describe_places(value))}"


def _describe_move(move: MoveFact) -> SheetRow:
    proofs = {
        AuditAgreement.AGREES: _("as in the audit"),
        AuditAgreement.NOT_KEPT: _("older than the audit's entries"),
        AuditAgreement.DIFFERS: _("NOT as in the audit"),
    }
    phases = f"{PhaseChoices(move.old).label} → {PhaseChoices(move.new).label}"
    text = f"{_by(move.at, move.who)}; {proofs[move.proof]}"
    return SheetRow(phases, text, move.proof == AuditAgreement.DIFFERS)


def _describe_audit(facts: Certificate) -> Iterator[SheetRow]:
    labels = dict(AuditCode.choices)
    entries = ", ".join(
        f"{'–' if entry.position is None else entry.position} {labels.get(entry.code, entry.code)}"
        for entry in facts.entries
    )
    yield SheetRow(_("Entries, by place"), entries or "–")
    yield SheetRow(_("Head of the chain"), facts.audit_head)


def _show_number(n: int) -> str:
    return number_format(n, force_grouping=True)
