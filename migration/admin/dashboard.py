"""The first page: what `templates/admin/index.html` shows, as far as the user may see it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils.translation import gettext as _

from migration.campaigns.members import count_by_phase_before_goal
from migration.campaigns.models import Campaign
from migration.campaigns.starts import may_start_campaign
from migration.clients.models import KEPT_FROM_CLIENTS
from migration.clients.ready_moves import READY_PERMISSIONS, select_ready_outside_campaigns
from migration.core.clients import VIEW_CAMPAIGNS, VIEW_CHECKS
from migration.core.pages import RUN_PERMISSION
from migration.moves.models import Standing
from migration.reports.dashboard import load_dashboard
from migration.runs.pages import make_run_badge
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.http import HttpRequest

    from migration.clients.counts import BlockerCount, ClientCounts
    from migration.reports.dashboard import Dashboard


def get_dashboard_context(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return the context of the first page. Unfold calls it, as DASHBOARD_CALLBACK in the settings says."""
    may = request.user.has_perm
    found = load_dashboard()
    sees_clients = may("credentials.view_client")
    sees_comparisons = may("migration.view_comparison")
    return context | {
        "title": _("Dashboard"),
        "clients": found.clients if sees_clients else None,
        "comparisons": found.comparisons if sees_comparisons else None,
        "history": found.chart if sees_comparisons else None,
        "progress": found.run if may("migration.view_run") or may(RUN_PERMISSION) else None,
        "run_badge": make_run_badge(found.run.run) if found.run else "",
        "attention": [
            replace(item, actions=tuple(each for each in item.actions if may(each.permission)))
            for item in found.alerts
            if may(item.permission)
        ],
        "activity": [item for item in found.activity if may(item.permission)],
        "counted_at": found.counted_at,
        "headline": found.headline if sees_clients else None,
        "pulses": [item for item in found.pulses if may(item.permission)],
        "next_steps": list_next_steps(request, found) if sees_clients else [],
        "campaigns": [Campaign(pk=pk) for pk in found.running_campaigns]
        if may(VIEW_CAMPAIGNS)
        else [],
        "may_plan_waves": may_start_campaign(request) and not found.running_campaigns,
        "need_somebody": sum(
            row.clients for row in found.clients.blockers if row.standing == Standing.BLOCKED
        )
        if sees_clients
        else 0,
        "blockers": split_blockers(found.clients) if sees_clients else [],
        "may_run": may(RUN_PERMISSION),
        "may_see_checks": may(VIEW_CHECKS),
    }


def list_next_steps(request: HttpRequest, found: Dashboard) -> list[dict[str, object]]:
    """Return each phase with clients that are ready for the next, and the page that moves them if the user may.

    The first step of the most clients is the main one, unless a campaign takes clients further.
    """
    page = reverse("admin:credentials_client_changelist")
    clients, running = found.clients, found.running_campaigns
    most = max(clients.phases, key=lambda row: row.ready)
    taken = count_by_phase_before_goal(running) if running else {}
    steps = []
    for row in clients.phases:
        if not row.ready:
            continue
        permission = READY_PERMISSIONS.get(Phase(row.next_phase))
        may_move = permission is not None and request.user.has_perm(permission)
        # The button moves only clients that are in no campaign. Looking for one takes long where there are very many:
        # there the page behind the button says it.
        is_offered = may_move and (
            not found.has_campaigns
            or clients.total >= KEPT_FROM_CLIENTS
            or select_ready_outside_campaigns(Phase(row.phase)).exists()
        )
        steps.append(
            {
                "number": row.ready,
                "label": row.next_label,
                "list_url": f"{page}?{row.ready_query}",
                "move_url": reverse("admin:credentials_client_ready", args=[row.next_phase])
                if is_offered
                else "",
                "is_main": row is most and not running,
                # Ready or not: who is ready may be kept a moment later.
                "taken": taken.get(row.phase, 0),
            }
        )
    return steps


def split_blockers(clients: ClientCounts) -> list[tuple[str, list[BlockerCount]]]:
    """Return what keeps clients from their next phase: what needs somebody, what passes by itself, then the purge."""
    titles = {
        Standing.BLOCKED: _("Blocked: need somebody"),
        Standing.WAITS: _("Wait, and go on by themselves"),
        Standing.IN_AWS: _("In AWS: lack something before their purge"),
    }
    groups = [
        (title, [row for row in clients.blockers if row.standing == standing])
        for standing, title in titles.items()
    ]
    return [(title, sorted(rows, key=lambda row: -row.clients)) for title, rows in groups if rows]
