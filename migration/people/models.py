"""Owns what is kept of people: that their rows stay, roles given once, resets, links for passwords, failed logins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from django.db.models.functions import Now
from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.core.audit import process_origin
from migration.core.text import USERNAME_LENGTH, KeptNameField, require_kept_name
from nova_credentials.messages import MessageError, Sentence


class UserDeletionError(MessageError):
    """A user can't be deleted; nothing was."""


USERS_ARE_KEPT = Sentence(
    "users_are_kept",
    "%(who)s was not deleted: the audit names this user. Deactivate the account instead.",
)


@receiver(pre_delete, sender=User, dispatch_uid="migration.refuse_user_deletion")
def refuse_user_deletion(instance: User, **_: object) -> None:
    """Raise `UserDeletionError`, also where the user would go with something else that is deleted.

    Records point to users, who are deactivated. The database refuses it as well, with a trigger on `auth_user`.
    """
    raise UserDeletionError(USERS_ARE_KEPT(who=instance.get_username()))


class RoleGrant(models.Model):
    """A permission that a role was given once. If an administrator takes it away, `migrate` does not give it again."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="+")
    permission = models.ForeignKey(Permission, models.CASCADE, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["group", "permission"], name="granted_once")
        ]

    def __str__(self) -> str:
        return f"{self.permission_id} to {self.group_id}"


# For so long, who reset a password is taken to be able to act as the user.
RESET_COUNTS_FOR = timedelta(hours=24)


class TimeZoneChoice(models.Model):
    """The time zone in which a user reads times; who has none reads them in the site's."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+"
    )
    name = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id}: {self.name}"


class PasswordResetQuerySet(models.QuerySet["PasswordReset"]):
    def record(self, *, user: User, by: User | None, what: PasswordReset.What) -> None:
        """Note that `by` changed how `user` logs in; what people change of their own is no reset.

        Without `by` it was a command: its name and host are kept, as nobody knows who ran it.
        """
        if by is None:
            self.create(user=user, by_name=process_origin()[:USERNAME_LENGTH], what=what)
        elif user.pk != by.pk:
            self.create(user=user, by=by, what=what)

    def recent(self) -> Self:
        """Select the resets of the last 24 hours, by the database's clock."""
        return self.filter(reset_at__gt=Now() - RESET_COUNTS_FOR)

    def find_shared_hand(self, one: int, other: int) -> PasswordReset | None:
        """Return a recent reset by which a single person could have acted as both users; None where there is none."""
        resets = list(self.recent())
        behind_one, behind_other = (list_people_behind(user, resets) for user in (one, other))
        shared, seen = behind_one & behind_other, behind_one | behind_other
        return next((row for row in resets if row.by_id in shared and row.user_id in seen), None)


class PasswordReset(models.Model):
    """One password, second factor or mail address that somebody gave to another, or an account with its first password.

    It says who did it, and never a password.
    """

    class What(models.TextChoices):
        ACCOUNT = "account", _("New account")
        PASSWORD = "password", _("Password")
        FACTOR = "factor", _("Second factor")
        # A changed mail address gets the next link for a forgotten password, so it counts as a reset.
        ADDRESS = "address", _("Mail")

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    user_name = KeptNameField("user", _("user"))
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    what = models.CharField(max_length=16, choices=What)
    reset_at = models.DateTimeField(db_default=Now())

    objects = PasswordResetQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        constraints: ClassVar = [
            require_kept_name("passwordreset", "user"),
            require_kept_name("passwordreset", "by"),
        ]
        indexes: ClassVar = [models.Index(fields=["-reset_at"], name="recent_password_reset")]

    def __str__(self) -> str:
        return f"{self.what} of {self.user_name} by {self.by_name}"


def list_people_behind(user_id: int, resets: Iterable[PasswordReset]) -> set[int]:
    """Return the ids of everybody who can act as the user: the user, who reset the password, and so on."""
    resetters: dict[int | None, set[int]] = defaultdict(set)
    for row in resets:
        if row.by_id is not None:
            resetters[row.user_id].add(row.by_id)
    behind, to_see = {user_id}, [user_id]
    while to_see:
        new = resetters[to_see.pop()] - behind
        behind |= new
        to_see += new
    return behind


class PasswordLink(models.Model):
    """The one link by which a person chooses their own password: a new one takes its place, and its use deletes it.

    Of the link only a keyed digest is here (`migration.people.links`), which nobody makes who can write this table.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    user_name = KeptNameField("user", _("user"))
    # Nobody where the person asked for it at the login.
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    digest = models.CharField(max_length=64)
    made_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            require_kept_name("passwordlink", "user"),
            require_kept_name("passwordlink", "by"),
        ]

    def __str__(self) -> str:
        return f"of {self.user_name} by {self.by_name or self.user_name}"


# How long wrong passwords are kept.
WRONG_PASSWORDS_KEPT_FOR = timedelta(days=90)


class PasswordPlace(models.TextChoices):
    """A page that asks for the user's own password."""

    LOGIN = "login", _("login page")
    REVEAL = "reveal", _("reveal of a secret value")
    PASSWORD_CHANGE = "password_change", _("change of the own password")
    USERS = "users", _("change to people")
    SECOND_FACTOR = "second_factor", _("page of the own second factor")


class WrongPasswordQuerySet(models.QuerySet["WrongPassword"]):
    def forget_old(self) -> int:
        """Delete the records older than WRONG_PASSWORDS_KEPT_FOR; return how many there were."""
        return self.filter(typed_at__lt=timezone.now() - WRONG_PASSWORDS_KEPT_FOR).delete()[0]


class WrongPassword(models.Model):
    """A wrong password that somebody typed: whose account, from where, on which page and when. Never what was typed."""

    # Empty where no user has the name, nor the email address, that was typed.
    username = models.CharField(_("user"), max_length=150, blank=True)
    address = models.CharField(_("address"), max_length=200, blank=True)
    place = models.CharField(_("page"), max_length=16, choices=PasswordPlace.choices)
    typed_at = models.DateTimeField(_("typed"), default=timezone.now)
    # The SHA-256 of the session's key; empty at the login.
    session = models.CharField(max_length=64, blank=True)
    # The last one that was allowed: the user was locked out at this address, or the session ended.
    shut_out = models.BooleanField(_("shut out"), default=False)
    let_in_at = models.DateTimeField(_("let in again"), null=True)
    # The name is kept when the user is deleted.
    let_in_by = models.CharField(_("let in by"), max_length=150, blank=True)

    objects = WrongPasswordQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        # Whoever may see the users may see these.
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["session"], condition=~models.Q(session=""), name="wrong_in_session"
            ),
            models.Index(fields=["typed_at"], name="wrong_by_time"),
        ]
        verbose_name = _("wrong password")
        verbose_name_plural = _("wrong passwords")

    def __str__(self) -> str:
        return f"{self.username or '–'} {self.address} {self.typed_at}"
