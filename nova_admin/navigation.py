"""Decides which links of the sidebar a user sees, and which one is marked as the present page."""

from collections.abc import Callable

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext_lazy as _


def require_permission(*permissions: str) -> Callable[[HttpRequest], bool]:
    """Return a test of a request: whether its user has one of the permissions."""
    return lambda request: any(map(request.user.has_perm, permissions))


def is_at_runs(request: HttpRequest) -> bool:
    """Say whether the page is one of the runs. The pages of the site below the same address have links of their own."""
    own = ("migration_run_check_nova", "migration_run_aws_writes")
    at = request.resolver_match.url_name if request.resolver_match else None
    return request.path.startswith(reverse("admin:migration_run_changelist")) and at not in own


AUDIT = {
    "title": _("Audit"),
    "icon": "history_edu",
    "link": reverse_lazy("admin:migration_auditevent_changelist"),
    "permission": require_permission("migration.view_auditevent"),
}
