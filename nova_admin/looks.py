"""Owns the looks of the pages: what Unfold is told, and the links of its sidebar."""

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from nova_admin.navigation import (
    AUDIT,
    CAMPAIGNS,
    CHECK_AWS,
    CLIENT_GROUPS,
    DOCUMENTS,
    NOTICES,
    WRONG_PASSWORDS,
    is_at_runs,
    list_account_links,
    make_any_permission_test,
)

UNFOLD = {
    "SITE_TITLE": "NOVA Admin",
    "SITE_HEADER": "NOVA Admin",
    "SITE_SUBHEADER": _("Credentials to AWS"),
    "SITE_SYMBOL": "key",
    # The console is all there is: a link to the site would lead to the page itself.
    "SITE_URL": None,
    "SHOW_HISTORY": True,
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
                    CLIENT_GROUPS,
                    CAMPAIGNS,
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
                        "link": reverse_lazy("admin:migration_moverequest_changelist"),
                        "permission": make_any_permission_test("migration.view_moverequest"),
                    },
                    {
                        "title": _("Check NOVA"),
                        "icon": "monitor_heart",
                        "link": reverse_lazy("admin:migration_run_check_nova"),
                        "permission": make_any_permission_test("migration.view_worker"),
                    },
                    CHECK_AWS,
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
                    NOTICES,
                    AUDIT,
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
                    WRONG_PASSWORDS,
                    DOCUMENTS,
                ],
            },
        ],
    },
}
