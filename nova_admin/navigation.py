"""Decides which links of the sidebar a user sees, and which one is marked as the present page."""

from collections.abc import Callable

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


def make_any_permission_test(*permissions: str) -> Callable[[HttpRequest], bool]:
    """Return a test of a request: whether its user has one of the permissions."""
    return lambda request: any(map(request.user.has_perm, permissions))


def is_at_runs(request: HttpRequest) -> bool:
    """Say whether the page is one of the runs. The pages of the site below the same address have links of their own."""
    pages = ("check_nova", "check_aws", "aws_writes", "notices")
    own = [f"migration_run_{page}" for page in pages]
    at = request.resolver_match.url_name if request.resolver_match else None
    return request.path.startswith(reverse("admin:migration_run_changelist")) and at not in own


CLIENT_GROUPS = {
    "title": _("Client groups"),
    "icon": "label",
    "link": reverse_lazy("admin:migration_clientgroup_changelist"),
    "permission": make_any_permission_test("migration.view_clientgroup"),
}

CAMPAIGNS = {
    "title": _("Campaigns"),
    "icon": "waves",
    "link": reverse_lazy("admin:migration_campaign_changelist"),
    "permission": make_any_permission_test("migration.view_campaign"),
}

CHECK_AWS = {
    "title": _("Check AWS"),
    "icon": "policy",
    "link": reverse_lazy("admin:migration_run_check_aws"),
    "permission": make_any_permission_test("migration.view_worker"),
}

WRONG_PASSWORDS = {
    "title": _("Wrong passwords"),
    "icon": "lock_person",
    "link": reverse_lazy("admin:migration_wrongpassword_changelist"),
    "permission": make_any_permission_test("auth.view_user"),
}

DOCUMENTS = {
    "title": _("Documentation"),
    "icon": "menu_book",
    "link": reverse_lazy("documents"),
}

NOTICES = {
    "title": _("Notices"),
    "icon": "notifications",
    "link": reverse_lazy("admin:migration_run_notices"),
    "permission": make_any_permission_test("migration.set_notices"),
}

AUDIT = {
    "title": _("Audit"),
    "icon": "history_edu",
    "link": reverse_lazy("admin:migration_auditevent_changelist"),
    "permission": make_any_permission_test("migration.view_auditevent"),
}


def list_account_links(request: HttpRequest) -> list[dict[str, str]]:
    """Return the menu below one's own name."""
    own = [{"title": gettext("Second factor"), "link": reverse("admin:second_factor")}]
    if request.user.is_authenticated and request.user.has_usable_password():
        own.insert(
            0, {"title": gettext("Change password"), "link": reverse("admin:password_change")}
        )
    return own
