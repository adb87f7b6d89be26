"""Collects what the clients list and its CSV file say of each client, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import DateTimeField, F
from django.db.models.functions import Coalesce

from migration.models.client_groups import GroupMember
from migration.models.clients import all_clients
from migration.models.readiness import Blocker, Standing, find_standing, with_blocker
from migration.models.run_items import RunItem
from migration.operations.aws_store import client_secret_names
from migration.operations.next_steps import judge_next_steps
from migration.reports.client_status import has_push_pending

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migration.models.clients import ClientPhaseQuerySet
    from migration.operations.gate_facts import GateFacts
    from migration.operations.next_steps import NextStep

# So many clients are judged at once for a file.
CHUNK = 500
HEADINGS = (
    *("slug", "name", "active", "phase", "in_phase_since", "next_phase", "next_step", "codes"),
    *("reasons", "push_pending", "comparison", "compared_at", "last_read_at", "owner"),
    *("secrets", "groups", "error_class", "last_error"),
)


@dataclass(frozen=True)
class ListRights:
    """Says whether a user may see the groups, and the errors, of the clients in the list."""

    groups: bool
    errors: bool


def annotate_columns(clients: ClientPhaseQuerySet) -> ClientPhaseQuerySet:
    """Add what the columns show, and are sorted by, to clients with phase and revision."""
    annotated: ClientPhaseQuerySet = (
        clients.with_layout()
        .with_refused_revision()
        .annotate(
            newest_status=F("client_migration__comparison_status"),
            newest_compared_at=F("client_migration__compared_at"),
            phase_since=F("client_migration__phase_changed_at"),
            # A client that was never moved has been in its phase since it was made.
            in_phase_since=Coalesce(
                "client_migration__phase_changed_at", "created_at", output_field=DateTimeField()
            ),
            last_read_at=F("read_count__last_read_at"),
            owner_name=F("client_owner__owner__username"),
        )
    )
    return annotated


def attach_next_steps(clients: Sequence[Any], site: GateFacts | None = None) -> None:
    """Set next_step, standing, last_error and groups_of_client on the objects; store nothing.

    `site` as for `judge_next_steps`.
    """
    ids = [client.pk for client in clients]
    steps = judge_next_steps(clients, site)
    blockers = dict(
        with_blocker(all_clients().filter(pk__in=ids)).order_by().values_list("pk", "blocker")
    )
    errors = RunItem.objects.find_errors_needing_attention(ids)
    groups = defaultdict(list)
    members = GroupMember.objects.filter(client_id__in=ids).order_by("group__key")
    for client_id, name in members.values_list("client_id", "group__name"):
        groups[client_id].append(name)
    for client in clients:
        client.next_step = step = steps[client.pk]
        client.standing = _judge_standing(step, client.phase, Blocker(blockers[client.pk]))
        client.last_error = errors.get(client.pk)
        client.groups_of_client = groups[client.pk]


def _judge_standing(step: NextStep, phase: str, blocker: Blocker) -> Standing:
    if step.new is None:
        return Standing.LAST
    if step.is_ready:
        return Standing.READY
    standing = find_standing(phase, blocker)
    # What holds for all clients at once, or for its rows, keeps it.
    return Standing.BLOCKED if standing == Standing.READY else standing


def iterate_export(chosen: ClientPhaseQuerySet, sight: ListRights) -> Iterator[list[object]]:
    """Yield the headings and a row for each client, sorted by slug, without any secret value."""
    yield list(HEADINGS)
    ids = list(chosen.order_by("slug").values_list("pk", flat=True))
    for start in range(0, len(ids), CHUNK):
        some = all_clients().filter(pk__in=ids[start : start + CHUNK])
        clients = list(annotate_columns(some.with_phase().with_revision()).order_by("slug"))
        attach_next_steps(clients)
        for client in clients:
            yield list(_list_cells(client, sight))


def _list_cells(client: Any, sight: ListRights) -> Iterator[object]:
    step, error = client.next_step, client.last_error if sight.errors else None
    yield from (client.slug, client.name, "yes" if client.is_active else "no", client.phase)
    yield _format_time(client.in_phase_since)
    yield step.new or ""
    yield client.standing.value if step.new else ""
    yield " ".join(check.code for check in step.shut)
    yield " ".join(str(check.text) for check in step.shut)
    yield "yes" if has_push_pending(client) else "no"
    yield from (client.newest_status, _format_time(client.newest_compared_at))
    yield from (_format_time(client.last_read_at), client.owner_name)
    yield " ".join(client_secret_names(client).values())
    yield ", ".join(client.groups_of_client) if sight.groups else ""
    yield error.error_class if error else ""
    yield error.message if error else ""


def _format_time(moment: Any) -> str:
    return moment.isoformat() if moment else ""
