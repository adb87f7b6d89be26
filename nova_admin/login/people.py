"""Finds or makes the site's account of somebody who logged in by OpenID Connect, and gives it their roles."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import Any
from unicodedata import combining, normalize

from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from credentials.shown_names import escape_name
from nova_admin.environment import OidcProvider
from nova_admin.login import sentences
from nova_admin.login.oidc import Claims, OidcError

logger = logging.getLogger(__name__)
LONGEST_NAME = 150
TRIES = 3


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
        raise OidcError(sentences.LOGINS_AT_ONCE())
    if not user.is_active:
        raise OidcError(sentences.DEACTIVATED())
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
    theirs = {given} if isinstance(given, str) else set(filter_texts(given))
    names = {ours for group, ours in provider.groups.items() if group in theirs}
    if not names:
        raise OidcError(sentences.NO_ROLE())
    found = list(Group.objects.filter(name__in=names))
    missing = sorted(names - {group.name for group in found})
    if missing:
        raise OidcError(sentences.NO_SUCH_GROUP(name=missing[0]))
    return found


def filter_texts(given: Any) -> list[str]:
    """Return the texts of a list; nothing where it is none."""
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


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
    """Return a name that no account has, in ASCII, from what the provider calls the person.

    Letters of other scripts look like these: `аdm` beside `adm` would be somebody else.
    """
    said = next(
        (
            claims[name]
            for name in ("preferred_username", "email", "sub")
            if isinstance(claims.get(name), str)
        ),
        "",
    )
    letters = (each for each in normalize("NFKD", said) if not combining(each))
    wanted = re.sub(r"[^A-Za-z0-9_.@+-]", "_", "".join(letters))[: LONGEST_NAME - 10]
    if not wanted.strip("_"):
        wanted = "user"
    taken = {
        name.lower()
        for name in User.objects.filter(username__istartswith=wanted).values_list(
            "username", flat=True
        )
    }
    candidates = (wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name.lower() not in taken)
