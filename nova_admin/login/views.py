"""The page that asks for name and password; the second factor is asked for on another."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from nova_admin.login.adapter import begin_login


class PasswordView(LoginView):
    """Django's login, which goes on with the second factor instead of logging in at once."""

    template_name = "admin/login.html"

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        return begin_login(self.request, form.get_user(), redirect_url=self.get_success_url())

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")


def make_oidc_start_address(request: HttpRequest) -> str:
    """Return where a login by OpenID Connect begins, or nothing where there is no provider."""
    if settings.NOVA_OIDC is None:
        return ""
    wanted = urlencode({REDIRECT_FIELD_NAME: request.GET.get(REDIRECT_FIELD_NAME, "")})
    return f"{reverse('admin:oidc_start')}?{wanted}"


@never_cache
def log_in(request: HttpRequest) -> HttpResponse:
    """Show the login, as `AdminSite.login` does."""
    if request.method == "GET" and admin.site.has_permission(request):
        return HttpResponseRedirect(reverse("admin:index"))
    context = {
        **admin.site.each_context(request),
        "title": _("Log in"),
        "app_path": request.get_full_path(),
        "username": request.user.get_username(),
        "oidc_address": make_oidc_start_address(request),
    }
    if not (request.GET.get(REDIRECT_FIELD_NAME) or request.POST.get(REDIRECT_FIELD_NAME)):
        context[REDIRECT_FIELD_NAME] = reverse("admin:index")
    view = PasswordView.as_view(extra_context=context, authentication_form=admin.site.login_form)
    response = view(request)
    assert isinstance(response, HttpResponse)  # noqa: S101  # Django's stubs say less
    return response
