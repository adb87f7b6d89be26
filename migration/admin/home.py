"""The first page: what `templates/admin/index.html` shows, as far as the user may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from migration.admin.base import RUN_PERMISSION
from migration.admin.runs import run_badge
from migration.dashboard import summary

if TYPE_CHECKING:
    from django.http import HttpRequest


def dashboard_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's dashboard callback, named in the settings."""
    may = request.user.has_perm
    found = summary()
    return context | {
        "title": _("Dashboard"),
        "clients": found.clients if may("credentials.view_client") else None,
        "comparisons": found.comparisons if may("migration.view_comparison") else None,
        "progress": found.run if may("migration.view_run") or may(RUN_PERMISSION) else None,
        "run_badge": run_badge(found.run.run) if found.run else "",
        "attention": [item for item in found.attention if may(item.permission)],
        "may_run": may(RUN_PERMISSION),
    }
