"""The first page: what `templates/admin/index.html` shows, as far as the user may see it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from migration.admin.base import RUN_PERMISSION
from migration.admin.check_nova import CheckNovaView
from migration.admin.run_views import make_run_badge
from migration.reports.alerts import VIEW_READERS
from migration.reports.dashboard import load_dashboard
from migration.reports.readers import describe_readers

if TYPE_CHECKING:
    from django.http import HttpRequest


def get_dashboard_context(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return the context of the first page. Unfold calls it, as DASHBOARD_CALLBACK in the settings says."""
    may = request.user.has_perm
    found = load_dashboard()
    sees_clients = may("credentials.view_client")
    sees_comparisons = may("migration.view_comparison")
    return context | {
        "title": _("Dashboard"),
        "clients": found.clients if sees_clients else None,
        "plan": found.costs if sees_clients else None,
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
        "readers": found.readers,
        "readers_sentence": describe_readers(found.readers) if may(VIEW_READERS) else "",
        "may_run": may(RUN_PERMISSION),
        "may_see_checks": may(CheckNovaView.permission_required),
    }
