"""Owns the switch that stops every AWS write: who threw it, when and why, and who let the writes go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from migration.models.reasons import limit_reason

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class WriteStopQuerySet(models.QuerySet["WriteStop"]):
    def open(self) -> Self:
        """Select the stops that hold; there may be several, as two people may stop at once."""
        return self.filter(started_at=None)

    def end_all(self, *, by: User | None) -> int:
        """End the stops that hold now; return how many there were."""
        name = get_kept_name(by)
        return self.open().update(started_at=timezone.now(), started_by=by, started_by_name=name)


class WriteStop(models.Model):
    """A time in which this site writes nothing to AWS; it lasts while `started_at` is NULL."""

    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # As the user typed it.
    reason = models.TextField(_("reason"))
    stopped_at = models.DateTimeField(_("stopped"), db_default=Now())
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    started_by_name = KeptNameField("started_by")
    started_at = models.DateTimeField(_("started again"), null=True)

    objects = WriteStopQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        permissions: ClassVar = [("stop_aws_writes", _("Can stop and start all AWS writes"))]
        constraints: ClassVar = [
            limit_reason("writestop"),
            require_kept_name("writestop", "by"),
            require_kept_name("writestop", "started_by"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["-id"], condition=models.Q(started_at=None), name="open_write_stop"
            )
        ]

    def __str__(self) -> str:
        return f"stop of {self.stopped_at}"
