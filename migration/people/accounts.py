"""Owns what is done to people: invite, give a role, send a link, deactivate, end sessions; and who may do it to whom.

Each is done under one lock and asks again who acts: of two administrators who deactivate each other, one is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from unicodedata import combining, normalize

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from migration.core.audit import USER_CHANGED_EVENT, AuditEvent
from migration.core.mails import mails_are_sent, send_mail_to
from migration.people.links import LINK_PRINTED, make_link
from migration.people.models import PasswordReset
from migration.people.roles import (
    ADMINISTERS,
    logs_in_by_provider,
    may_administer,
    select_givable_groups,
)
from migration.people.second_factors import end_sessions
from nova_credentials.messages import Message, MessageError, Sentence

ADD, CHANGE, VIEW = "auth.add_user", "auth.change_user", "auth.view_user"
# Who may enter: a first release had accounts that may not, although they are active.
ENTERS = Q(is_active=True, is_staff=True)
HAS_NO_PASSWORD = Q(password__startswith=UNUSABLE_PASSWORD_PREFIX) | Q(password="")
LONGEST_NAME = 150


class NotDoneError(MessageError):
    """Nothing was done to the person."""


OWN_ACCOUNT = Sentence("own_account", "This is your own account: somebody else has to do it.")
MAIL_TAKEN = Sentence("mail_taken", "%(who)s already has this email address.")
ROLE_OF_PROVIDER = Sentence(
    "role_of_provider",
    "%(who)s logs in by OpenID Connect, which sets the role, name and email at each login.",
)
PASSWORD_OF_PROVIDER = Sentence(
    "password_of_provider",
    "%(who)s logs in by OpenID Connect and has no password. Only a superuser can give them one.",
)
IS_DEACTIVATED = Sentence("is_deactivated", "%(who)s is deactivated. Activate the account first.")
CHANGED_MEANWHILE = Sentence(
    "person_changed_meanwhile",
    "Nothing was done: someone else changed %(who)s since you opened this page. Check and try again.",
)
ROLE_NOT_GIVEN = Sentence("role_not_given", "You can't give this role.")


@contextmanager
def changing_people(by: User, permission: str, user: User | None = None) -> Iterator[User]:
    """Have one change of people at a time, in a transaction; yield the user as stored now, or who acts.

    Raise PermissionDenied where who acts may no longer do it.
    """
    with transaction.atomic():
        # Nobody is deleted, so this row is the same for all.
        User.objects.select_for_update(no_key=True).order_by("pk").first()
        actor = User.objects.get(pk=by.pk)
        if not actor.has_perm(permission):
            raise PermissionDenied(permission)
        if user is None:
            yield actor
            return
        if not may_administer(actor, user):
            raise PermissionDenied(permission)
        yield User.objects.select_for_update(no_key=True).get(pk=user.pk)


def digest_state(user: User) -> str:
    """Return what stands for all that pages show of a person's rights: it differs once somebody has changed them."""
    shown = [
        user.is_active,
        user.is_staff,
        user.is_superuser,
        user.email,
        user.get_full_name(),
        user.has_usable_password(),
        sorted(user.groups.values_list("pk", flat=True)),
        sorted(user.user_permissions.values_list("pk", flat=True)),
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def is_invited(user: User) -> bool:
    """Say whether the person has yet to choose their first password."""
    return not user.has_usable_password() and not logs_in_by_provider(user)


# A link, by mail or shown once

MAIL_LINK_SUBJECT = Sentence("mail_link_subject", "NOVA Admin: choose your password")
MAIL_INVITED = Sentence(
    "mail_invited",
    "%(by)s invited you to NOVA Admin. Choose a password:\n\n%(address)s\n\n"
    "The link works once and expires in 3 days. Your username is %(name)s.",
)
MAIL_LINK = Sentence(
    "mail_link",
    "%(by)s sent you a link to choose a new password at NOVA Admin:\n\n%(address)s\n\n"
    "It works once and expires in 3 days. Your username is %(name)s. If you did not ask for this, tell a User"
    " administrator now.",
)


@dataclass(frozen=True)
class SentLink:
    """A link that was made: mailed, or to be shown once."""

    address: str = field(repr=False)
    mailed: bool


def send_link(user: User, *, by: User, make_address: Callable[[str], str]) -> SentLink:
    """Make a link for the person and mail it, if a mail server takes it; raise NotDoneError."""
    with changing_people(by, CHANGE, user) as person:
        if refusal := find_link_refusal(person, by):
            raise NotDoneError(refusal)
        address = make_address(make_link(person, by=by))
    return SentLink(address, _mail_link(person, by=by, address=address))


def _mail_link(person: User, *, by: User, address: str) -> bool:
    if not mails_are_sent():
        return False
    text = MAIL_INVITED if is_invited(person) else MAIL_LINK
    facts = text(by=by.get_full_name() or by.username, address=address, name=person.username)
    return send_mail_to(person, subject=MAIL_LINK_SUBJECT(), text=facts)


def find_link_refusal(user: User, by: User) -> Message | None:
    """Say why this person is sent no link; None where they may be."""
    if user.pk == by.pk:
        return OWN_ACCOUNT()
    # That they may administer the person is asked before.
    if logs_in_by_provider(user) and not by.is_superuser:
        return PASSWORD_OF_PROVIDER(who=user.username)
    return None if user.is_active and user.is_staff else IS_DEACTIVATED(who=user.username)


# Invitations


def invite(
    *, name: str, mail: str, role: Group, by: User, make_address: Callable[[str], str]
) -> tuple[User, SentLink]:
    """Make an account in this role for the mail address, and send its link; raise NotDoneError."""
    with changing_people(by, ADD) as actor:
        if not select_givable_groups(actor).filter(pk=role.pk).exists():
            raise NotDoneError(ROLE_NOT_GIVEN())
        require_free_mail(mail)
        username = find_free_username(mail.partition("@")[0])
        person = User(username=username, first_name=name, email=mail, is_staff=True)
        person.set_unusable_password()
        person.save()
        person.groups.set([role])
        PasswordReset.objects.record(user=person, by=actor, what=PasswordReset.What.ACCOUNT)
        address = make_address(make_link(person, by=actor))
    return person, SentLink(address, _mail_link(person, by=by, address=address))


NOT_ADMINISTRATOR = Sentence(
    "not_administrator", "%(who)s is there already, and is no active Administrator."
)
NAME_NOT_USABLE = Sentence(
    "name_not_usable", "A username has up to 150 letters, digits and @ . + - _ without spaces."
)
# Who begins alone has to be able to invite everybody else.
FIRST_ROLES = ("Administrator", "User administrator")


def invite_administrator(name: str) -> str | None:
    """Make an Administrator who has yet to choose a password; return the token of the link, None if they have one.

    For a command, where nobody is there who could invite. Raises NotDoneError.
    """
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).filter(username=name).first()
        if person is None:
            try:
                User.username_validator(name)
            except ValidationError:
                raise NotDoneError(NAME_NOT_USABLE()) from None
            if len(name) > LONGEST_NAME:
                raise NotDoneError(NAME_NOT_USABLE())
            person = User(username=name, is_staff=True)
            person.set_unusable_password()
            person.save()
            person.groups.set(Group.objects.filter(name__in=FIRST_ROLES))
            PasswordReset.objects.record(user=person, by=None, what=PasswordReset.What.ACCOUNT)
        elif not (person.is_active and person.is_staff and person.has_perms(ADMINISTERS)):
            raise NotDoneError(NOT_ADMINISTRATOR(who=name))
        return make_link(person, by=None, told=LINK_PRINTED) if is_invited(person) else None


def require_free_mail(mail: str, *, of: User | None = None) -> None:
    """Raise NotDoneError where somebody else has this mail address."""
    others = User.objects.filter(email__iexact=mail).exclude(pk=of.pk if of else 0)
    if other := others.order_by("pk").first():
        raise NotDoneError(MAIL_TAKEN(who=other.username))


def find_free_username(wanted: str) -> str:
    """Return a name that no account has, in ASCII and like what is wanted.

    Letters of other scripts look like these: `аdm` beside `adm` would be somebody else.
    """
    letters = (each for each in normalize("NFKD", wanted) if not combining(each))
    plain = re.sub(r"[^A-Za-z0-9_.@+-]", "_", "".join(letters))[: LONGEST_NAME - 10]
    if not plain.strip("_"):
        plain = "user"
    names = User.objects.filter(username__istartswith=plain).values_list("username", flat=True)
    taken = {name.lower() for name in names}
    candidates = (plain, *(f"{plain}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name.lower() not in taken)


# Changes


def find_role_refusal(user: User, by: User) -> Message | None:
    """Say why this person is given no other role by `by`; None where they may be."""
    if user.pk == by.pk:
        return OWN_ACCOUNT()
    if settings.NOVA_OIDC is not None and logs_in_by_provider(user):
        return ROLE_OF_PROVIDER(who=user.username)
    return None


def give_role(user: User, role: Group, *, by: User, seen: str) -> None:
    """Have the person be in this role and have nothing beyond it; raise NotDoneError."""
    with changing_people(by, CHANGE, user) as person:
        _require_as_seen(person, seen, find_role_refusal(person, by))
        if not select_givable_groups(User.objects.get(pk=by.pk)).filter(pk=role.pk).exists():
            raise NotDoneError(ROLE_NOT_GIVEN())
        person.groups.set([role])
        person.user_permissions.clear()
        if person.is_superuser:
            person.is_superuser = False
            person.save(update_fields=["is_superuser"])


def find_activity_refusal(user: User, by: User) -> Message | None:
    """Say why this person is not deactivated or activated by `by`; None where they may be."""
    return OWN_ACCOUNT() if user.pk == by.pk else None


def set_active(user: User, *, active: bool, by: User, seen: str) -> None:
    """Let the person in, or keep them out at once; raise NotDoneError."""
    with changing_people(by, CHANGE, user) as person:
        _require_as_seen(person, seen, find_activity_refusal(person, by))
        person.is_active = active
        # Who is let in may enter: a first release asked for both.
        person.is_staff = person.is_staff or active
        person.save(update_fields=["is_active", "is_staff"])
        if not active:
            end_sessions(person)


def find_details_refusal(user: User) -> Message | None:
    """Say why the person's name and mail address are not changed here; None where they may be."""
    if settings.NOVA_OIDC is not None and logs_in_by_provider(user):
        return ROLE_OF_PROVIDER(who=user.username)
    return None


def set_details(user: User, *, name: str, mail: str, by: User, seen: str) -> None:
    """Change the person's name and mail address; raise NotDoneError."""
    with changing_people(by, CHANGE, user) as person:
        _require_as_seen(person, seen, find_details_refusal(person))
        if mail and mail.casefold() != person.email.casefold():
            require_free_mail(mail, of=person)
            PasswordReset.objects.record(user=person, by=by, what=PasswordReset.What.ADDRESS)
        if name != person.get_full_name():
            person.first_name, person.last_name = name, ""
        person.email = mail
        person.save(update_fields=["first_name", "last_name", "email"])


def _require_as_seen(person: User, seen: str, refusal: Message | None) -> None:
    if refusal:
        raise NotDoneError(refusal)
    if digest_state(person) != seen:
        raise NotDoneError(CHANGED_MEANWHILE(who=person.username))


# Sessions


@dataclass(frozen=True)
class OpenSession:
    """A login that has not ended."""

    logged_in_at: datetime | None
    ends_at: datetime


def list_sessions(user: User) -> list[OpenSession]:
    """Return the person's sessions, the newest login first."""
    found = []
    for row in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        data = row.get_decoded()
        if data.get(SESSION_KEY) == str(user.pk):
            at = data.get("logged_in_at")
            began = datetime.fromtimestamp(at, tz=timezone.get_default_timezone()) if at else None
            found.append(OpenSession(began, row.expire_date))
    return sorted(found, key=lambda each: each.logged_in_at or each.ends_at, reverse=True)


SESSIONS_ENDED = Sentence("sessions_ended", "Ended the sessions of %(name)s.")


def end_sessions_of(user: User, *, by: User, kept: str | None = None) -> None:
    """Log the person out everywhere, but in the session with the kept key."""
    with transaction.atomic():
        end_sessions(user, kept=kept)
        facts = SESSIONS_ENDED(name=user.get_username())
        AuditEvent.objects.record(USER_CHANGED_EVENT, facts, by=by)
