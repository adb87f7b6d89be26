"""Counts, by kind, the evidence that clients lack before a run of moves, and what was overridden in one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from migration import evidence_sentences
from migration.models.moves import PhaseChange
from migration.operations.evidence import KINDS_BY_KEY, list_evidence, make_phase_entry
from migration.operations.gate_facts import GateFacts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from migration.models.runs import Run
    from migration.operations.evidence import Evidence
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase

# So many clients' rows are in memory at once.
CLIENTS_AT_ONCE = 1000


def count_missing_kinds(client_ids: Collection[int], new: Phase) -> Counter[Evidence]:
    """Count the clients that lack each kind of evidence for the move to `new`, in a handful of queries a thousand."""
    ids = list(client_ids)
    counts: Counter[Evidence] = Counter()
    for start in range(0, len(ids), CLIENTS_AT_ONCE):
        some = ids[start : start + CLIENTS_AT_ONCE]
        counts.update(_list_missing_kinds(some, new))
    return counts


def _list_missing_kinds(client_ids: Collection[int], new: Phase) -> Iterator[Evidence]:
    facts = GateFacts(client_ids)
    for pk in client_ids:
        entry = make_phase_entry(pk, facts.client_migrations.get(pk), facts.read_counts.get(pk))
        yield from (line.kind for line in list_evidence(entry, new, facts) if not line.is_met)


def count_overrides(run: Run) -> Counter[Evidence]:
    """Count by kind of evidence the clients that the run moved although it was missing."""
    counts: Counter[Evidence] = Counter()
    for key, number in PhaseChange.objects.count_overridden(run).items():
        if kind := KINDS_BY_KEY.get(key):
            counts[kind] += number
    return counts


def label_evidence(counts: Mapping[Evidence, int]) -> list[tuple[Message, int]]:
    """Return each kind of evidence in words, with its number."""
    return [(evidence_sentences.EVIDENCE[kind](), number) for kind, number in counts.items()]
