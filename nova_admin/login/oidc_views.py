"""The two addresses of a login by OpenID Connect: to the provider, and back. Without a provider they are not there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from credentials.localization import localize
from nova_admin.login.adapter import begin_login
from nova_admin.login.oidc import OidcError, make_login_address, read_login
from nova_admin.login.people import sync_account

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from nova_admin.login.oidc import Claims
    from nova_admin.login.settings import OidcProvider

logger = logging.getLogger(__name__)
# RFC 8176: the provider asked for more than one factor.
SEVERAL_FACTORS = "mfa"


@never_cache
@require_GET
def start_oidc(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider. A link and no form: a policy for forms need not name the provider."""
    provider = require_provider()
    next_url = request.GET.get(REDIRECT_FIELD_NAME, "")
    if not url_has_allowed_host_and_scheme(next_url, {request.get_host()}, request.is_secure()):
        next_url = reverse("admin:index")
    try:
        address = make_login_address(
            request, provider, callback=make_callback(request), next_url=next_url
        )
    except OidcError as refusal:
        return show_refusal(request, refusal)
    return HttpResponseRedirect(address)


@never_cache
@require_GET
def finish_oidc(request: HttpRequest) -> HttpResponse:
    """Log in whoever the provider names, with the roles that it gives them."""
    provider = require_provider()
    try:
        claims, next_url = read_login(request, provider, callback=make_callback(request))
        user = sync_account(claims, provider)
    except OidcError as refusal:
        return show_refusal(request, refusal)
    return begin_login(
        request, user, redirect_url=next_url, gives_factor=has_several_factors(claims)
    )


def require_provider() -> OidcProvider:
    """Return the provider; raises Http404 where none is set."""
    if settings.NOVA_OIDC is None:
        raise Http404
    return settings.NOVA_OIDC


def make_callback(request: HttpRequest) -> str:
    """Return the address to which the provider sends people back."""
    return request.build_absolute_uri(reverse("admin:oidc_callback"))


def has_several_factors(claims: Claims) -> bool:
    """Say whether the provider asked for a second factor itself."""
    methods = claims.get("amr")
    return isinstance(methods, list) and SEVERAL_FACTORS in methods


def show_refusal(request: HttpRequest, refusal: OidcError) -> HttpResponse:
    """Show why nobody was logged in, with the way back to the login."""
    logger.warning("a login by OpenID Connect was refused: %s", refusal)
    context = admin.site.each_context(request) | {
        "title": _("Log in"),
        "refusal": localize(refusal.message),
    }
    return render(request, "admin/login/oidc_refused.html", context, status=403)
