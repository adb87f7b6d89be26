"""Logs people in by OpenID Connect: the two addresses, and the site's account and roles of whoever comes back."""

from __future__ import annotations

import logging
from contextlib import suppress

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from credentials.localization import localize
from migration.people.accounts import LONGEST_NAME, find_free_username
from migration.people.lockouts import LOGIN
from nova_admin.environment import OidcProvider
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
from nova_credentials.messages import Sentence
from nova_credentials.shown_names import escape_name

logger = logging.getLogger(__name__)
# RFC 8176: the provider asked for more than one factor.
SEVERAL_FACTORS = "mfa"
# In a query: to log in at the provider again, and what came of it. It holds for so long.
AGAIN, PROOF = "again", "proof"
PROOF_SECONDS = 300
# A browser keeps no cookie of more than 4,096 bytes.
LONGEST_NEXT = 600
PROOF_SALT = f"{__name__}.proof"
# How often a first login is tried that meets another one.
TRIES = 3

NOT_BEGUN_HERE = Sentence(
    "not_begun_here",
    "This login was not begun in this browser, or more than ten minutes ago. Begin it again.",
)
OTHER_PERSON = Sentence(
    "other_person", "You logged in at the login provider as somebody else, so it proves nothing."
)
NO_ROLE = Sentence(
    "no_role",
    "None of your groups at the login provider has a role on this site. Ask your Administrators for one.",
)
NO_SUCH_GROUP = Sentence(
    "no_such_group",
    "The site maps one of your groups to %(name)s, which is no group of the site. Tell your Administrators: it stands"
    " in NOVA_OIDC_GROUPS.",
)
LOGINS_AT_ONCE = Sentence("logins_at_once", "Several logins happened at once. Log in again.")
DEACTIVATED = Sentence("deactivated", "Your account on this site was deactivated.")


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
        raise OidcError(NOT_BEGUN_HERE())
    claims = read_login(request, provider, begun, callback=make_callback(request))
    if not begun.proves:
        user, methods = sync_account(claims, provider), claims.get("amr")
        # Whether the provider asked for a second factor itself.
        gives_factor = isinstance(methods, list) and SEVERAL_FACTORS in methods
        return begin_login(request, user, redirect_url=begun.next_url, gives_factor=gives_factor)
    is_same = begun.proves == request.session.get(LOGIN)
    if not is_same or not is_account_of(request.user, claims, provider):
        raise OidcError(OTHER_PERSON())
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


def show_refusal(request: HttpRequest, refusal: OidcError) -> HttpResponse:
    """Show why nobody was logged in, with the way back to the login."""
    logger.warning("a login by OpenID Connect was refused: %s", refusal)
    context = admin.site.each_context(request) | {
        "title": _("Log in"),
        "refusal": localize(refusal.message),
    }
    return render(request, "admin/login/oidc_refused.html", context, status=403)


def sync_account(claims: Claims, provider: OidcProvider) -> User:
    """Return the account with this subject, made where there is none, with exactly the groups that the claims give.

    Raises OidcError where they give none: then no account is made, and one that exists loses its groups.
    """
    for _try in range(TRIES):
        # Another first login at the same moment may have made the account, or taken the name. The next try finds it.
        with suppress(IntegrityError):
            user = find_or_make_account(claims, provider)
            break
    else:
        raise OidcError(LOGINS_AT_ONCE())
    if not user.is_active:
        raise OidcError(DEACTIVATED())
    update_details(user, claims)
    return user


def is_account_of(user: User | AnonymousUser, claims: Claims, provider: OidcProvider) -> bool:
    """Say whether the claims are about this user."""
    accounts = SocialAccount.objects.filter(provider=provider.issuer, uid=claims["sub"])
    return accounts.filter(user_id=user.pk).exists()


def find_or_make_account(claims: Claims, provider: OidcProvider) -> User:
    """Return the subject's account, made if there is none, with its groups; raises OidcError and IntegrityError."""
    refusal: OidcError | None = None
    with transaction.atomic():
        account = (
            SocialAccount.objects.select_for_update(of=("self",))
            .select_related("user")
            .filter(provider=provider.issuer, uid=claims["sub"])
            .first()
        )
        try:
            groups = find_groups(claims, provider)
        except OidcError as error:
            refusal, groups = error, []
        if account is not None:
            user = account.user
        elif refusal is None:
            user = make_account(claims, provider)
        else:
            raise refusal
        give_groups(user, groups)
    if refusal is not None:
        raise refusal
    return user


def find_groups(claims: Claims, provider: OidcProvider) -> list[Group]:
    """Return the site's groups of somebody; raises OidcError where there are none, or one doesn't exist."""
    given = claims.get(provider.groups_claim)
    listed = [given] if isinstance(given, str) else given
    theirs = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else ()
    names = {ours for group, ours in provider.groups.items() if group in theirs}
    if not names:
        raise OidcError(NO_ROLE())
    found = list(Group.objects.filter(name__in=names))
    missing = sorted(names - {group.name for group in found})
    if missing:
        raise OidcError(NO_SUCH_GROUP(name=missing[0]))
    return found


def make_account(claims: Claims, provider: OidcProvider) -> User:
    """Make an account of its own for the subject, even if another one has the same name or address."""
    user = User(username=find_free_name(claims), is_staff=True)
    user.set_unusable_password()
    user.save()
    SocialAccount.objects.create(user=user, provider=provider.issuer, uid=claims["sub"])
    logger.warning("made the account %s of OpenID Connect", escape_name(user.username))
    return user


def give_groups(user: User, groups: list[Group]) -> None:
    """Give the user these groups and no others, and log a change."""
    before = set(user.groups.all())
    if before == set(groups):
        return
    user.groups.set(groups)
    names = ", ".join(sorted(escape_name(group.name) for group in groups)) or "no group"
    logger.warning("OpenID Connect gave %s: %s", escape_name(user.username), names)


def update_details(user: User, claims: Claims) -> None:
    """Store address and names as the provider has them. Nothing is decided by them."""
    details = {
        "email": read_verified_email_or_empty(claims),
        "first_name": str(claims.get("given_name") or "")[:LONGEST_NAME],
        "last_name": str(claims.get("family_name") or "")[:LONGEST_NAME],
    }
    changed = [name for name, value in details.items() if getattr(user, name) != value]
    for name in changed:
        setattr(user, name, details[name])
    if changed:
        user.save(update_fields=changed)


def read_verified_email_or_empty(claims: Claims) -> str:
    """Return the mail address, or nothing where it is none or the provider says that it is not proven."""
    address = claims.get("email")
    if not isinstance(address, str) or claims.get("email_verified", True) is not True:
        return ""
    try:
        validate_email(address)
    except ValidationError:
        return ""
    return address


def find_free_name(claims: Claims) -> str:
    """Return a name that no account has, from what the provider calls the person."""
    said = (claims.get(name) for name in ("preferred_username", "email", "sub"))
    return find_free_username(next((each for each in said if isinstance(each, str)), ""))
