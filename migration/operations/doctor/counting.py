"""Examines whether every write to NOVA's tables is counted: by the catalogue, and by updates that are undone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from credentials.models import CountingGap, CountingProof, ProofOutcome
from credentials.proof import prove_counting
from credentials.triggers import find_is_counted_by_table, functions_are_current, writes_are_counted
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from nova_credentials.tables import COUNTED_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from migration.operations.doctor.findings import DoctorOptions, Finding

# The workers prove it every hour; one that is late by as much is not at work.
PROOF_IS_OLD_AFTER = timedelta(hours=2)


def examine_triggers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the triggers are on the very tables and call this release's function, and that no gap is open."""
    uncounted = tuple(table for table, counted in find_is_counted_by_table().items() if not counted)
    if uncounted:
        yield report_failure(
            CheckName.TRIGGERS,
            sentences.TRIGGERS_ARE_MISSING(tables=uncounted),
            sentences.MIGRATE_FIRST(),
        )
    elif not functions_are_current():
        yield report_failure(
            CheckName.TRIGGERS, sentences.FUNCTION_IS_ANOTHER(), sentences.MIGRATE_FIRST()
        )
    elif not writes_are_counted():
        gap = CountingGap.objects.open().order_by("found_at").first()
        yield report_failure(
            CheckName.TRIGGERS,
            sentences.GAP_IS_OPEN(ago=gap.found_at) if gap else sentences.TRIGGERS_WERE_CHANGED(),
            sentences.WORKERS_MEND_IT(),
        )
    else:
        yield report_ok(CheckName.TRIGGERS, sentences.TRIGGERS_COUNT())


def examine_tried_updates(_asked: DoctorOptions) -> Iterator[Finding]:
    """Try an update on each table and undo it, and report which were counted; begin a gap if one was not."""
    yield from _report_outcomes(prove_counting())


def examine_stored_proof(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the newest proof of the workers, as a page that only shows must try nothing."""
    proofs = list(CountingProof.objects.all())
    tried_at = min((proof.tried_at for proof in proofs), default=None)
    if tried_at is None or len(proofs) < len(COUNTED_TABLES):
        yield report_unlooked(
            CheckName.COUNTING_PROOF, sentences.NEVER_PROVED(), sentences.PROVE_IT()
        )
        return
    outcomes = {proof.table: ProofOutcome(proof.outcome) for proof in proofs}
    found = list(_report_outcomes(outcomes))
    if timezone.now() - tried_at > PROOF_IS_OLD_AFTER and all(each.ok for each in found):
        message = sentences.PROOF_IS_OLD(ago=tried_at)
        found = [report_unlooked(CheckName.COUNTING_PROOF, message, sentences.PROVE_IT())]
    yield from found


def _report_outcomes(outcomes: Mapping[str, ProofOutcome]) -> Iterator[Finding]:
    by_outcome = {
        outcome: tuple(table for table, each in outcomes.items() if each == outcome)
        for outcome in ProofOutcome
    }
    if failed := by_outcome[ProofOutcome.FAILED]:
        yield report_failure(
            CheckName.COUNTING_PROOF,
            sentences.UPDATE_WAS_NOT_COUNTED(tables=failed),
            sentences.LOOK_FOR_THE_CAUSE(),
        )
    if busy := by_outcome[ProofOutcome.BUSY]:
        yield report_unlooked(
            CheckName.COUNTING_PROOF, sentences.TABLES_ARE_BUSY(tables=busy), sentences.TRY_AGAIN()
        )
    if not failed and not busy:
        holds, empty = by_outcome[ProofOutcome.HOLDS], by_outcome[ProofOutcome.EMPTY]
        if holds:
            message = sentences.UPDATES_ARE_COUNTED(tables=holds)
            yield report_ok(CheckName.COUNTING_PROOF, message)
        if empty:
            # Nothing can be updated there, so nothing goes uncounted; the triggers are looked at above.
            yield report_ok(CheckName.COUNTING_PROOF, sentences.TABLES_ARE_EMPTY(tables=empty))
