"""What is known of a client, in words and numbers: for the commands and the pages. Reads the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migration.models import WRITES_BOTH, Comparison
from migration.operations.stores import secret_names
from migration.phases import Phase

if TYPE_CHECKING:
    from migration.models import ClientsByPhase


def client_statuses(chosen: ClientsByPhase) -> list[dict[str, Any]]:
    """One JSON-ready object a client, in the order of the slugs; two queries, whatever their number."""
    found = list(chosen.with_phase().with_revision().order_by("slug"))
    ids = [client.pk for client in found]
    newest = {row.client_id: row for row in Comparison.objects.newest().filter(client_id__in=ids)}
    return [_status(client, newest.get(client.pk)) for client in found]


def _status(client: Any, comparison: Comparison | None) -> dict[str, Any]:
    pushed = client.pushed_revision
    return {
        "slug": client.slug,
        "name": client.name,
        "phase": client.phase,
        "secrets": list(secret_names(client.slug).values()),
        "push_pending": Phase(client.phase) in WRITES_BOTH
        and (pushed is None or client.revision > pushed),
        "revision": client.revision,
        "pushed_revision": pushed,
        "comparison": comparison
        and {
            "status": comparison.status,
            "compared_at": comparison.compared_at.isoformat(),
            "mismatches": [
                {"path": row.path, "kind": row.kind, "hint": row.hint}
                for row in comparison.fields_that_differ()
            ],
        },
    }
