"""Plans what resolving the mismatches of many clients would do to each. Reads the database alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from credentials.triggers import writes_are_counted
from migration import resolution_sentences, sentences
from migration.models.clients import ClientMigration, all_clients
from migration.models.comparisons import Comparison
from migration.models.mismatches import OpenMismatch
from migration.models.resolutions import Resolution
from migration.operations.resolutions import find_refusal_in_database
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nova_credentials.messages import Message


@dataclass(frozen=True)
class SelectedClient:
    """One selected client, its fields that differ, and why it would be left alone."""

    client_id: int
    slug: str
    phase: Phase
    comparison_id: int
    fields: tuple[OpenMismatch, ...]
    refusal: Message | None = None


@dataclass(frozen=True)
class ResolutionPlan:
    """The selected clients, ordered by slug."""

    clients: list[SelectedClient]

    @property
    def resolvable_clients(self) -> list[SelectedClient]:
        """Return the clients that would be resolved."""
        return [client for client in self.clients if client.refusal is None]

    @property
    def left_alone(self) -> list[tuple[Message, list[SelectedClient]]]:
        """Return the clients that would be left alone, by the reason."""
        by_reason: dict[str, list[SelectedClient]] = defaultdict(list)
        for client in self.clients:
            if client.refusal:
                by_reason[client.refusal.key].append(client)
        return [(found[0].refusal, found) for found in by_reason.values() if found[0].refusal]

    @property
    def number_cut_over(self) -> int:
        """Count the clients to be resolved whose values NOVA reads from AWS."""
        return sum(client.phase.aws_is_authority for client in self.resolvable_clients)

    @property
    def number_not_cut_over(self) -> int:
        """Count the clients to be resolved whose values NOVA reads from PostgreSQL."""
        return len(self.resolvable_clients) - self.number_cut_over


def plan_resolutions(kind: str, shown: Mapping[int, int | None]) -> ResolutionPlan:
    """Plan a resolution; `shown`: client id -> id of the comparison that the user saw (None: of none).

    Takes at most six queries.
    """
    rows = list(
        ClientMigration.objects.exclude_deleted_clients()
        .filter(pk__in=shown, comparison__isnull=False)
        .select_related("client", "comparison")
        .order_by("client__slug")
    )
    by_client: dict[int, list[OpenMismatch]] = defaultdict(list)
    for field in OpenMismatch.objects.filter(client_id__in=shown):
        by_client[field.client_id].append(field)
    seen = Comparison.objects.in_bulk(_find_older(rows, shown))
    chosen = all_clients().filter(pk__in=shown)
    pending = set(chosen.filter_push_pending().values_list("pk", flat=True))
    counted = writes_are_counted()
    return ResolutionPlan(
        [
            SelectedClient(
                client_id=row.pk,
                slug=row.client.slug,
                phase=Phase(row.phase),
                comparison_id=row.comparison_id or 0,
                fields=tuple(by_client[row.pk]),
                refusal=_find_stale(row, shown[row.pk], seen)
                or _find_nothing(kind, row, by_client[row.pk])
                or find_refusal_in_database(
                    kind,
                    phase=Phase(row.phase),
                    push_pending=row.pk in pending,
                    writes_counted=counted,
                ),
            )
            for row in rows
        ]
    )


def _find_older(rows: Collection[ClientMigration], shown: Mapping[int, int | None]) -> list[int]:
    """Return the ids of the shown comparisons that are no longer their client's newest."""
    return [pk for row in rows if (pk := shown[row.pk]) and pk != row.comparison_id]


def _find_stale(
    row: ClientMigration, shown: int | None, seen: Mapping[int, Comparison]
) -> Message | None:
    """Say so where the newest comparison found something else than the one that the user saw."""
    if shown is None or shown == row.comparison_id or row.comparison is None:
        return None
    before = seen.get(shown)
    is_same = (
        before is not None
        and before.client_id == row.pk
        and before.list_acknowledgeable() == row.comparison.list_acknowledgeable()
    )
    return None if is_same else sentences.COMPARED_SINCE()


def _find_nothing(
    kind: str, row: ClientMigration, fields: Collection[OpenMismatch]
) -> Message | None:
    """Say so where there is nothing to resolve."""
    if kind == Resolution.Kind.CHECK:
        return None
    if kind == Resolution.Kind.ACKNOWLEDGE:
        matches = row.comparison_status == Comparison.Status.MATCH
        return sentences.NO_MISMATCH() if matches else None
    return None if fields else resolution_sentences.NOTHING_KNOWN_TO_DIFFER()
