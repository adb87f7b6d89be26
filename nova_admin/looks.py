"""How Unfold shows the site: its name, colours, styles and scripts. The menu is `migration/site/menu.py`."""

from django.templatetags.static import static

UNFOLD = {
    "SITE_TITLE": "NOVA Admin",
    "SITE_HEADER": "NOVA Admin",
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
        lambda request: static("migration/frame.css"),
    ],
    "SCRIPTS": [
        lambda request: static("migration/accessible.js"),
        lambda request: static("migration/keep_typed.js"),
        lambda request: static("migration/copy_text.js"),
        lambda request: static("migration/ages.js"),
    ],
    # Greys and one violet. Text has 4.5 to 1 or more on each of its surfaces, in light and dark, and edges of fields 3.
    "COLORS": {
        "base": {
            "50": "#f8f8fa",
            "100": "#f3f3f6",
            "200": "#e5e5eb",
            "300": "#d4d4dd",
            "400": "#8c8c9a",
            "500": "#63636f",
            "600": "#585866",
            "700": "#3d3d49",
            "800": "#2b2b37",
            "900": "#17171e",
            "950": "#0f0f14",
        },
        "primary": {
            "50": "#f8f5ff",
            "100": "#f4effe",
            "200": "#e4d9fd",
            "300": "#cdb9fc",
            "400": "#c4b0fc",
            "500": "#b9a0fc",
            "600": "#7c3aed",
            "700": "#6d28d9",
            "800": "#5b21b6",
            "900": "#3b2270",
            "950": "#251c3d",
        },
        "font": {
            "subtle-light": "#63636f",
            "subtle-dark": "#a9a9b8",
            "default-light": "#585866",
            "default-dark": "#a9a9b8",
            "important-light": "#17171e",
            "important-dark": "#ededf2",
        },
    },
    "ACCOUNT": {"navigation": "migration.site.menu.list_account_links"},
    "DASHBOARD_CALLBACK": "migration.site.dashboard.get_dashboard_context",
    "SIDEBAR": {
        # The palette behind Ctrl+K, and the search of the sidebar, which works without scripts.
        "show_search": True,
        "navigation": "migration.site.menu.list_navigation",
    },
    "TABS": "migration.site.menu.list_tabs",
}
