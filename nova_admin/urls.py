"""The site's addresses: the admin with the login, the end of a session, the language, and pages where there is none."""

from django.contrib import admin
from django.urls import include, path, reverse_lazy
from django.views.generic import RedirectView

from migration.people.people_pages import PEOPLE_PATTERNS
from migration.people.time_zones import TimeZoneView
from migration.runs.requests import REQUESTS_URL
from migration.site.search import show_search
from nova_admin.documents import DocumentListView, DocumentView
from nova_admin.error_pages import refuse_view_on_site
from nova_admin.login import link_views, oidc_views, views
from nova_admin.session_end import SessionEndView

admin_patterns, app_name, namespace = admin.site.urls

login = [
    path("login/", views.log_in, name="login"),
    path("login/forgot/", link_views.ForgotPasswordView.as_view(), name="forgot_password"),
    path("login/link/", link_views.ChoosePasswordView.as_view(), name="choose_password"),
    path("login/link/<str:token>/", link_views.open_link, name="open_link"),
    path("login/oidc/", oidc_views.start_oidc, name="oidc_start"),
    path("login/oidc/callback/", oidc_views.finish_oidc, name="oidc_callback"),
    path("second-factor/", views.RecoveryCodesView.as_view(), name="second_factor"),
    path("second-factor/enter/", views.EnterFactorView.as_view(), name="second_factor_enter"),
    path("second-factor/set-up/", views.SetUpFactorView.as_view(), name="second_factor_set_up"),
]
# Before Unfold's own at the same address.
search = path("search/", admin.site.admin_view(show_search), name="search")
time_zone = path("time-zone/", admin.site.admin_view(TimeZoneView.as_view()), name="time_zone")
# Before Django's, which leads to an object's page on a public site. Nothing here has one, and a key that is none of its
# model's would be an error there.
view_on_site = path(
    "r/<path:of_object>", admin.site.admin_view(refuse_view_on_site), name="view_on_site"
)

FAILED_LOGINS = RedirectView.as_view(url=reverse_lazy("admin:failed_logins"), permanent=True)
PEOPLE = RedirectView.as_view(url=reverse_lazy("admin:people"), permanent=True)
FORMER_REQUESTS = RedirectView.as_view(url=REQUESTS_URL, permanent=True)

DASHBOARD = RedirectView.as_view(pattern_name="admin:index")

urlpatterns = [
    # Django's lists of an app's models: the menu has what there is.
    *(path(f"admin/{app}/", DASHBOARD) for app in ("credentials", "migration")),
    # A page that went, and where its work is done now.
    path(
        "admin/migration/run/check-nova/",
        RedirectView.as_view(pattern_name="admin:migration_run_health", permanent=True),
    ),
    # Pages of requests for one client, which are runs now.
    path("admin/migration/moverequest/", FORMER_REQUESTS),
    path("admin/migration/moverequest/<path:former>", FORMER_REQUESTS),
    # Django's pages of users and groups, and of wrong passwords.
    path(
        "admin/auth/user/<int:user_id>/<path:former>",
        RedirectView.as_view(url="/admin/people/%(user_id)s/", permanent=True),
    ),
    *(
        path(f"admin/auth/{former}", PEOPLE)
        for former in ("", "user/", "group/", "user/<path:former>", "group/<path:former>")
    ),
    path("admin/migration/wrongpassword/", FAILED_LOGINS),
    path("admin/migration/wrongpassword/<path:former>", FAILED_LOGINS),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/session/", SessionEndView.as_view(), name="session_end"),
    path("admin/docs/", admin.site.admin_view(DocumentListView.as_view()), name="documents"),
    path("admin/docs/<str:name>", admin.site.admin_view(DocumentView.as_view()), name="document"),
    path(
        "admin/",
        (
            [*login, search, time_zone, view_on_site, *PEOPLE_PATTERNS, *admin_patterns],
            app_name,
            namespace,
        ),
    ),
    path("", DASHBOARD),
]

handler400 = "nova_admin.error_pages.show_bad_request"
handler403 = "nova_admin.error_pages.show_forbidden"
handler404 = "nova_admin.error_pages.show_not_found"
handler500 = "nova_admin.error_pages.show_server_error"
