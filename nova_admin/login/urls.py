"""The addresses of the login, which stand among those of the admin."""

from django.urls import path

from nova_admin.login import oidc_views, second_factor_views, views

urlpatterns = [
    path("login/", views.log_in, name="login"),
    path("login/oidc/", oidc_views.start_oidc, name="oidc_start"),
    path("login/oidc/callback/", oidc_views.finish_oidc, name="oidc_callback"),
    path("second-factor/", second_factor_views.RecoveryCodesView.as_view(), name="second_factor"),
    path(
        "second-factor/enter/",
        second_factor_views.EnterFactorView.as_view(),
        name="second_factor_enter",
    ),
    path(
        "second-factor/set-up/",
        second_factor_views.SetUpFactorView.as_view(),
        name="second_factor_set_up",
    ),
]
