"""The two addresses of a login by OpenID Connect: to the provider, and back. Without a provider they are not there."""

from __future__ import annotations

import logging

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from credentials.localization import localize
from migration.people.lockouts import LOGIN
from nova_admin.environment import OidcProvider
from nova_admin.login import sentences
from nova_admin.login.adapter import begin_login
from nova_admin.login.oidc import (
    BegunLogin,
    Claims,
    OidcError,
    begin_at_provider,
    keep_begun_logins,
    read_begun_logins,
    read_login,
)
from nova_admin.login.people import is_account_of, sync_account

logger = logging.getLogger(__name__)
# RFC 8176: the provider asked for more than one factor.
SEVERAL_FACTORS = "mfa"
# In a query: to log in at the provider again, and what came of it. It holds for so long.
AGAIN, PROOF = "again", "proof"
PROOF_SECONDS = 300
# A browser keeps no cookie of more than 4,096 bytes.
LONGEST_NEXT = 600
PROOF_SALT = f"{__name__}.proof"


@never_cache
@require_GET
def start_oidc(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider. A link and no form: a policy for forms need not name the provider.

    With `again` in the query somebody who is logged in proves there anew who they are.
    """
    provider = require_provider()
    next_url = request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url_has_allowed_host_and_scheme(next_url, {request.get_host()}, request.is_secure())
    if not is_ours or len(next_url) > LONGEST_NEXT:
        next_url = reverse("admin:index")
    proves = request.session.get(LOGIN, "") if AGAIN in request.GET else ""
    try:
        address, begun = begin_at_provider(
            provider, callback=make_callback(request), next_url=next_url, proves=proves
        )
    except OidcError as refusal:
        return show_refusal(request, refusal)
    response = HttpResponseRedirect(address)
    keep_begun_logins(response, [*read_begun_logins(request), begun])
    return response


@never_cache
@require_GET
def finish_oidc(request: HttpRequest) -> HttpResponse:
    """Log in whoever the provider names, with the roles that it gives them; or take its proof of who they are."""
    provider = require_provider()
    begun = read_begun_logins(request)
    mine = next((each for each in begun if each.state == request.GET.get("state")), None)
    try:
        response = answer_login(request, provider, mine)
    except OidcError as refusal:
        response = show_refusal(request, refusal)
    if mine:
        keep_begun_logins(response, [each for each in begun if each != mine])
    return response


def answer_login(
    request: HttpRequest, provider: OidcProvider, begun: BegunLogin | None
) -> HttpResponse:
    """Do what this login was begun for; raises OidcError."""
    if begun is None:
        raise OidcError(sentences.NOT_BEGUN_HERE())
    claims = read_login(request, provider, begun, callback=make_callback(request))
    if not begun.proves:
        user = sync_account(claims, provider)
        return begin_login(
            request, user, redirect_url=begun.next_url, gives_factor=has_several_factors(claims)
        )
    is_same = begun.proves == request.session.get(LOGIN)
    if not is_same or not is_account_of(request.user, claims, provider):
        raise OidcError(sentences.OTHER_PERSON())
    query = {PROOF: make_proof(request), REDIRECT_FIELD_NAME: begun.next_url}
    return HttpResponseRedirect(f"{reverse('admin:second_factor_set_up')}?{urlencode(query)}")


def make_proof(request: HttpRequest) -> str:
    """Return what shows that the user of this session has just proved at the provider who they are.

    It goes through the browser's address and form and is not in the session: whoever stole that doesn't have it.
    """
    return signing.dumps([request.user.pk, request.session[LOGIN]], salt=PROOF_SALT)


def is_proof(request: HttpRequest, proof: str) -> bool:
    """Say whether `make_proof` made it for this session in the last PROOF_SECONDS."""
    try:
        of = signing.loads(proof, salt=PROOF_SALT, max_age=PROOF_SECONDS)
    except signing.BadSignature:
        return False
    return bool(of == [request.user.pk, request.session.get(LOGIN)])


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
