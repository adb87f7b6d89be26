"""Counts, by kind, the evidence that clients lack before a run of moves, and what was overridden in one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from migration import evidence_sentences
from migration.models import PhaseChange
from migration.operations.evidence import KINDS_BY_KEY, list_evidence, read_entry
from migration.operations.gate_facts import GateFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from migration.models import Run
    from migration.operations.evidence import Evidence
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


def count_missing_kinds(client_ids: Collection[int], new: Phase) -> Counter[Evidence]:
    """Count the clients that lack each kind of evidence for the move to `new`, in a handful of queries."""
    facts = GateFacts(client_ids)
    return Counter(
        line.kind
        for pk in client_ids
        for line in list_evidence(
            read_entry(pk, facts.client_migrations.get(pk), facts.read_counts.get(pk)), new, facts
        )
        if not line.is_met
    )


def count_overrides(run: Run) -> Counter[Evidence]:
    """Count the clients that the run moved although this kind of evidence was missing."""
    counts: Counter[Evidence] = Counter()
    for key, number in PhaseChange.objects.count_overridden(run).items():
        if kind := KINDS_BY_KEY.get(key):
            counts[kind] += number
    return counts


def label_evidence(counts: Mapping[Evidence, int]) -> list[tuple[Message, int]]:
    """Return each kind of evidence in words, with its number."""
    return [(evidence_sentences.EVIDENCE[kind](), number) for kind, number in counts.items()]
