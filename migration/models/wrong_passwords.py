"""Owns the record of wrong passwords: whose account, from where, on which page and when. Never what was typed."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

KEPT_FOR = timedelta(days=90)


class PasswordPlace(models.TextChoices):
    """A page that asks for the user's own password."""

    LOGIN = "login", _("login page")
    REVEAL = "reveal", _("reveal of a secret value")
    PASSWORD_CHANGE = "password_change", _("change of the own password")
    USERS = "users", _("change to users and groups")
    SECOND_FACTOR = "second_factor", _("page of the own second factor")


class WrongPasswordQuerySet(models.QuerySet["WrongPassword"]):
    def forget_old(self) -> int:
        """Delete the records older than KEPT_FOR; return how many there were."""
        return self.filter(typed_at__lt=timezone.now() - KEPT_FOR).delete()[0]


class WrongPassword(models.Model):
    """A wrong password that somebody typed."""

    # Empty where no user has the name that was typed.
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
