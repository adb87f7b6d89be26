"""Owns the record of who changed how somebody else logs in. Never a password."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from migration.models.audit_actors import process_origin
from migration.models.kept_names import USERNAME_LENGTH, KeptNameField, require_kept_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

# For so long, who reset a password is taken to be able to act as the user.
COUNTS_FOR = timedelta(hours=24)


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
        return self.filter(reset_at__gt=Now() - COUNTS_FOR)

    def find_shared_hand(self, one: int, other: int) -> PasswordReset | None:
        """Return a recent reset by which a single person could have acted as both users; None where there is none."""
        resets = list(self.recent())
        behind_one, behind_other = (list_people_behind(user, resets) for user in (one, other))
        shared, seen = behind_one & behind_other, behind_one | behind_other
        return next((row for row in resets if row.by_id in shared and row.user_id in seen), None)


class PasswordReset(models.Model):
    """One password or second factor that somebody gave to another, or a new account with its first password."""

    class What(models.TextChoices):
        ACCOUNT = "account", _("New account")
        PASSWORD = "password", _("Password")
        FACTOR = "factor", _("Second factor")

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
