"""Owns how each column that NOVA added is mapped, and which objects on NOVA's tables somebody has accepted."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ColumnUse(models.TextChoices):
    """The way a column that NOVA added is treated."""

    SECRET = "secret", _("Secret")
    PLAIN = "plain", _("Plain")
    IGNORE = "ignore", _("Ignored")

    @property
    def travels(self) -> bool:
        """Say whether the column's values are part of the client's document."""
        return self != ColumnUse.IGNORE


class ColumnMapping(models.Model):
    """One column that NOVA added to one of its tables, and how it is treated."""

    table = models.CharField(_("table"), max_length=100)
    column = models.TextField(_("column"))
    use = models.CharField(_("use"), max_length=10, choices=ColumnUse.choices)
    # PostgreSQL's name of the type it had then: a column of another type has to be mapped anew.
    column_type = models.TextField(_("type"))
    mapped_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    # Kept when the user is deleted; empty for the command without a user.
    username = models.CharField(_("user"), max_length=150, blank=True)
    mapped_at = models.DateTimeField(_("mapped"), default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["table", "column"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["table", "column"], name="one_mapping_a_column")
        ]
        permissions: ClassVar = [("map_column", _("Can map columns of NOVA's tables"))]
        verbose_name = _("mapped column")
        verbose_name_plural = _("mapped columns")

    def __str__(self) -> str:
        return f"{self.table}.{self.column}: {self.use}"


class AcceptedObject(models.Model):
    """One object on NOVA's tables, as it was defined when somebody accepted it. Never changed afterwards."""

    kind = models.CharField(_("kind"), max_length=40)
    name = models.TextField(_("name"))
    table = models.CharField(_("table"), max_length=100)
    owner = models.TextField(_("owner in PostgreSQL"))
    digest = models.CharField(max_length=64)  # of its definition, in hex
    # As the user typed it.
    reason = models.TextField(_("reason"))
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    # Kept when the user is deleted; empty for the command without a user.
    username = models.CharField(_("user"), max_length=150, blank=True)
    accepted_at = models.DateTimeField(_("accepted"), default=timezone.now)

    class Meta:
        default_permissions = ("view",)
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "table", "name", "owner", "digest"], name="object_accepted_once"
            ),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("reason"), 500), name="accepted_reason_is_short"
            ),
        ]
        permissions: ClassVar = [
            ("accept_object", _("Can accept objects of others on NOVA's tables"))
        ]
        verbose_name = _("accepted object")
        verbose_name_plural = _("accepted objects")

    def __str__(self) -> str:
        return f"{self.kind} {self.name} on {self.table}"
