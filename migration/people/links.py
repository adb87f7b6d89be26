"""Makes links by which people choose their own passwords: each works once, for a while, until it is void.

The table has a keyed digest of the secret in the link, and of the password and the mail address that the person has. So
a link is void once one of these is changed, by whichever page or command; a deactivation and a new link delete it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from migration.core.audit import USER_CHANGED_EVENT, AuditEvent, acting, current_actor
from migration.core.mails import send_mail_to
from migration.people.models import PasswordLink, PasswordReset
from migration.people.roles import may_set_password
from migration.people.second_factors import end_sessions
from nova_credentials.messages import MessageError, Sentence

LASTS = timedelta(days=3)
# Of one that somebody asked for at the login; the next one comes so much later at the earliest.
ASKED_LASTS, ASKED_AGAIN_AFTER = timedelta(hours=1), timedelta(minutes=10)
# People may share a mail address: so many of them get a link of their own.
MOST_MAILS = 3
SALT = "migration.people.links"
TOKEN = re.compile(r"(\d{1,10})-([A-Za-z0-9_-]{43})", re.ASCII)


class VoidLinkError(MessageError):
    """The link works no more; nobody has another password."""


LINK_IS_VOID = Sentence("link_is_void", "This link no longer works. Ask for a new one.")
LINK_MADE = Sentence("link_made", "Made a link for %(name)s to choose a password.")
LINK_MAILED = Sentence("link_mailed", "Mailed %(name)s a link to reset the password.")
LINK_PRINTED = Sentence("link_printed", "A command made a link for %(name)s to choose a password.")
LINK_USED = Sentence("link_used", "%(name)s chose a password with a link from %(by)s.")


def make_link(
    user: User, *, by: User | None, lasts: timedelta = LASTS, told: Sentence | None = None
) -> str:
    """Return the token of a new link, which is kept nowhere; the former one is void. In a transaction of the caller's.

    The caller has locked the user's row. `told` is what the audit says; without it who made the link, or mailed it.
    """
    secret, now = secrets.token_urlsafe(32), timezone.now()
    PasswordLink.objects.filter(user=user).delete()
    digest = _digest(secret, user, settings.SECRET_KEY)
    PasswordLink.objects.create(user=user, by=by, digest=digest, made_at=now, ends_at=now + lasts)
    facts = told or (LINK_MADE if by else LINK_MAILED)
    name = user.get_username()
    # A command is itself who acts.
    AuditEvent.objects.record(USER_CHANGED_EVENT, facts(name=name), by=None if told else by or name)
    return f"{user.pk}-{secret}"


def find_link(token: str, *, for_use: bool = False) -> PasswordLink | None:
    """Return the link of this token, with its user; None where it works no more. `for_use` locks both rows."""
    parts = TOKEN.fullmatch(token)
    if parts is None:
        return None
    users, links = User.objects.all(), PasswordLink.objects.all()
    if for_use:
        # Other rows may name the person meanwhile: of two who made each other's link, neither waits.
        users, links = users.select_for_update(no_key=True), links.select_for_update()
    user = users.filter(pk=int(parts[1]), is_active=True, is_staff=True).first()
    link = links.filter(user=user, ends_at__gt=timezone.now()).first() if user else None
    if user is None or link is None:
        return None
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(constant_time_compare(_digest(parts[2], user, key), link.digest) for key in keys):
        return None
    link.user = user
    return link if _may_be_used(link) else None


def _may_be_used(link: PasswordLink) -> bool:
    """Say whether who made the link may still do so: else they could act as somebody who has more rights by now."""
    by = link.by
    if by is None:
        return not link.by_name
    may_change = by.has_perm("auth.change_user") or by.has_perm("auth.add_user")
    return by.is_active and may_change and may_set_password(by, link.user)


MAIL_PASSWORD_SUBJECT = Sentence("mail_password_subject", "NOVA Admin: your password")
MAIL_PASSWORD_CHANGED = Sentence(
    "mail_password_changed",
    "The password of %(name)s at NOVA Admin was changed with a link. If it was not you, tell your user administrators"
    " now.",
)


def use_link(token: str, password: str) -> User:
    """Give the link's user this password, which was found good, and end their sessions; raise VoidLinkError.

    The link is used up by that. If somebody else made it, that counts as theirs to have acted (`PasswordReset`).
    """
    with transaction.atomic():
        link = find_link(token, for_use=True)
        if link is None:
            raise VoidLinkError(LINK_IS_VOID())
        user, name, had_password = (
            link.user,
            link.user.get_username(),
            link.user.has_usable_password(),
        )
        link.delete()
        user.set_password(password)
        with acting(replace(current_actor(), find_name=lambda: name)):
            user.save(update_fields=["password"])
            facts = LINK_USED(name=name, by=link.by_name or name)
            AuditEvent.objects.record(USER_CHANGED_EVENT, facts)
        end_sessions(user)
        if link.by is not None:
            what = PasswordReset.What.PASSWORD if had_password else PasswordReset.What.ACCOUNT
            PasswordReset.objects.record(user=user, by=link.by, what=what)
    if had_password:
        text = MAIL_PASSWORD_CHANGED(name=name)
        send_mail_to(user, subject=MAIL_PASSWORD_SUBJECT(), text=text)
    return user


MAIL_ASKED = Sentence(
    "mail_asked",
    "Somebody asked for a new password for %(name)s at NOVA Admin. If it was you, choose one here, within an hour:\n\n"
    "%(address)s\n\nIf it was not you, do nothing: your password stays as it is.",
)


def mail_asked_links(typed: str, make_address: Callable[[str], str]) -> None:
    """Mail a link to whoever has this name or mail address, a password of their own and no login by a provider.

    Who asks is not told whether there is such a person: this is to be called once they have their answer.
    """
    typed = typed.replace("\0", "").strip()
    people = User.objects.filter(
        Q(username__iexact=typed) | Q(email__iexact=typed),
        ~Q(password__startswith=UNUSABLE_PASSWORD_PREFIX),
        ~Exists(SocialAccount.objects.filter(user=OuterRef("pk"))),
        is_active=True,
        is_staff=True,
    ).exclude(email="")
    for found in people.order_by("pk")[:MOST_MAILS] if typed else ():
        with transaction.atomic():
            user = User.objects.select_for_update(no_key=True).get(pk=found.pk)
            asked = PasswordLink.objects.filter(user=user, by_name="")
            if asked.filter(made_at__gt=timezone.now() - ASKED_AGAIN_AFTER).exists():
                continue
            token = make_link(user, by=None, lasts=ASKED_LASTS)
        text = MAIL_ASKED(name=user.get_username(), address=make_address(token))
        send_mail_to(user, subject=MAIL_PASSWORD_SUBJECT(), text=text)


@receiver(post_save, sender=User, dispatch_uid="migration.void_link")
def void_link_of_deactivated(instance: User, using: str, **_: object) -> None:
    """Delete the link of who is deactivated, so that it doesn't work again once they are activated."""
    if not instance.is_active:
        PasswordLink.objects.using(using).filter(user_id=instance.pk).delete()


def _digest(secret: str, user: User, key: str) -> str:
    parts = (secret, str(user.pk), user.password, user.email.casefold())
    return salted_hmac(SALT, "\0".join(parts), secret=key, algorithm="sha256").hexdigest()
