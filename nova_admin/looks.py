"""How Unfold shows the site, and its menu: which links somebody sees, and which one is marked as the present page."""

from collections.abc import Callable

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from migration.runs.requests import REQUESTS_URL


def make_any_permission_test(*permissions: str) -> Callable[[HttpRequest], bool]:
    """Return a test of a request: whether its user has one of the permissions."""
    return lambda request: any(map(request.user.has_perm, permissions))


def is_at_runs(request: HttpRequest) -> bool:
    """Say whether the page is one of the runs. The pages of the site below the same address have links of their own."""
    pages = ("health", "check_aws", "aws_writes", "notices")
    own = [f"migration_run_{page}" for page in pages]
    at = request.resolver_match.url_name if request.resolver_match else None
    is_below = request.path.startswith(reverse("admin:migration_run_changelist"))
    return is_below and at not in own and not is_at_requests(request)


def is_at_requests(request: HttpRequest) -> bool:
    """Say whether the page is the list of the runs that wait for a second person."""
    is_list = request.path == reverse("admin:migration_run_changelist")
    return is_list and request.GET.get("state") == "requested"


def list_account_links(request: HttpRequest) -> list[dict[str, str]]:
    """Return the menu below one's own name."""
    own = [{"title": gettext("Second factor"), "link": reverse("admin:second_factor")}]
    if request.user.is_authenticated and request.user.has_usable_password():
        own.insert(
            0, {"title": gettext("Change password"), "link": reverse("admin:password_change")}
        )
    return own


UNFOLD = {
    "SITE_TITLE": "NOVA Admin",
    "SITE_HEADER": "NOVA Admin",
    "SITE_SUBHEADER": _("Credentials to AWS"),
    "SITE_SYMBOL": "key",
    # The console is all there is: a link to the site would lead to the page itself.
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("migration/favicon.svg"),
        }
    ],
    "STYLES": [
        lambda request: static("migration/without_scripts.css"),
        lambda request: static("migration/readable.css"),
        lambda request: static("migration/own_pages.css"),
        lambda request: static("migration/lists.css"),
    ],
    "SCRIPTS": [
        lambda request: static("migration/accessible.js"),
        lambda request: static("migration/keep_typed.js"),
        lambda request: static("migration/copy_text.js"),
    ],
    # Unfold's own color is too pale for links on dark pages (4.3 to 1, where WCAG asks 4.5).
    "COLORS": {"primary": {"500": "oklch(66% .24 303.9)"}},
    "ACCOUNT": {"navigation": list_account_links},
    "DASHBOARD_CALLBACK": "migration.site.dashboard.get_dashboard_context",
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": _("Dashboard"),
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    },
                    {
                        "title": _("Clients"),
                        "icon": "groups",
                        "link": reverse_lazy("admin:credentials_client_changelist"),
                        "permission": make_any_permission_test("credentials.view_client"),
                    },
                    {
                        "title": _("Client groups"),
                        "icon": "label",
                        "link": reverse_lazy("admin:migration_clientgroup_changelist"),
                        "permission": make_any_permission_test("migration.view_clientgroup"),
                    },
                    {
                        "title": _("Campaigns"),
                        "icon": "waves",
                        "link": reverse_lazy("admin:migration_campaign_changelist"),
                        "permission": make_any_permission_test("migration.view_campaign"),
                    },
                    {
                        "title": _("Runs"),
                        "icon": "play_circle",
                        "link": reverse_lazy("admin:migration_run_changelist"),
                        "active": is_at_runs,
                        "permission": make_any_permission_test(
                            "migration.view_run", "migration.add_run"
                        ),
                    },
                    {
                        "title": _("Mismatches"),
                        "icon": "compare_arrows",
                        "link": reverse_lazy("admin:migration_comparison_report"),
                        "permission": make_any_permission_test("migration.view_comparison"),
                    },
                    {
                        "title": _("NOVA's processes"),
                        "icon": "visibility",
                        "link": reverse_lazy("admin:migration_readerprocess_changelist"),
                        "permission": make_any_permission_test("migration.view_readerprocess"),
                    },
                    {
                        "title": _("Copies"),
                        "icon": "content_copy",
                        "link": reverse_lazy("admin:migration_copysearch_report"),
                        "permission": make_any_permission_test("migration.view_copysearch"),
                    },
                    {
                        "title": _("Requests"),
                        "icon": "approval",
                        "link": REQUESTS_URL,
                        "active": is_at_requests,
                        "permission": make_any_permission_test(
                            "migration.view_run", "migration.add_run"
                        ),
                    },
                    {
                        "title": _("Health"),
                        "icon": "monitor_heart",
                        "link": reverse_lazy("admin:migration_run_health"),
                        "permission": make_any_permission_test("migration.view_worker"),
                    },
                    {
                        "title": _("Check AWS"),
                        "icon": "policy",
                        "link": reverse_lazy("admin:migration_run_check_aws"),
                        "permission": make_any_permission_test("migration.view_worker"),
                    },
                ]
            },
            {
                "title": _("Site"),
                "separator": True,
                "items": [
                    {
                        "title": _("NOVA's tables"),
                        "icon": "table",
                        "link": reverse_lazy("admin:credentials_columnmapping_changelist"),
                        "permission": make_any_permission_test("credentials.view_columnmapping"),
                    },
                    {
                        "title": _("AWS writes"),
                        "icon": "cloud_upload",
                        "link": reverse_lazy("admin:migration_run_aws_writes"),
                        "permission": make_any_permission_test(
                            "migration.view_run", "migration.add_run"
                        ),
                    },
                    {
                        "title": _("Notices"),
                        "icon": "notifications",
                        "link": reverse_lazy("admin:migration_run_notices"),
                        "permission": make_any_permission_test("migration.set_notices"),
                    },
                    {
                        "title": _("Audit"),
                        "icon": "history_edu",
                        "link": reverse_lazy("admin:migration_auditevent_changelist"),
                        "permission": make_any_permission_test("migration.view_auditevent"),
                    },
                    {
                        "title": _("Users"),
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": make_any_permission_test("auth.view_user"),
                    },
                    {
                        "title": _("User groups"),
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": make_any_permission_test("auth.view_group"),
                    },
                    {
                        "title": _("Wrong passwords"),
                        "icon": "lock_person",
                        "link": reverse_lazy("admin:migration_wrongpassword_changelist"),
                        "permission": make_any_permission_test("auth.view_user"),
                    },
                    {
                        "title": _("Documentation"),
                        "icon": "menu_book",
                        "link": reverse_lazy("documents"),
                    },
                ],
            },
        ],
    },
}
