"""Owns the record of what people did about mismatches. Never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import audit_sentences, resolution_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.fields import MessageField
from migration.models.kept_names import KeptNameField, require_kept_name
from migration.models.reasons import limit_reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User


class ResolutionQuerySet(models.QuerySet["Resolution"]):
    def acknowledgements_in_force(self) -> Self:
        """Select the acknowledgements whose last day is not over."""
        return self.filter(kind=Resolution.Kind.ACKNOWLEDGE, until__gte=timezone.localdate())

    def withdraw_acknowledgements(
        self, acknowledgement_ids: Collection[int], *, by: User
    ) -> list[Resolution]:
        """End these acknowledgements, as far as they are the user's own and in force; return those that it ended."""
        with transaction.atomic():
            rows = list(
                self.acknowledgements_in_force()
                .filter(pk__in=acknowledgement_ids, by=by)
                .select_for_update(of=("self",))
            )
            if not rows:
                return []
            message = resolution_sentences.ACKNOWLEDGEMENT_UNDONE(who=by.get_username())
            self.filter(pk__in=[row.pk for row in rows]).update(until=None, message=message)
            AuditEvent.objects.insert_already_signed(
                [
                    AuditEvent.make_signed(
                        AuditCode.RESOLUTION,
                        audit_sentences.ACKNOWLEDGEMENT_WITHDRAWN(),
                        by=by,
                        client_id=row.client_id,
                        slug=row.slug,
                    )
                    for row in rows
                ]
            )
        return rows

    def find_undoable_copy(self, client_id: int) -> Resolution | None:
        """Return the client's newest copy to PostgreSQL; None if it was undone, or an earlier release made it."""
        kinds = (Resolution.Kind.TO_POSTGRES, Resolution.Kind.TO_FORMER)
        newest = self.filter(client_id=client_id, kind__in=kinds).first()
        return newest if newest and newest.kept_versions else None

    def acknowledging_newest_comparison(self) -> Self:
        """Select those in force that acknowledge exactly what their client's newest comparison found."""
        newest = _make_findings("client__client_migration__comparison")
        return self.acknowledgements_in_force().filter(mismatches=newest)

    def acknowledging_open_mismatches(self) -> Self:
        """Select those in force that acknowledge exactly their client's open mismatches, checked or not since."""
        found = _make_findings("client__open_mismatches__comparison")
        return self.acknowledgements_in_force().filter(mismatches=found)


def _make_findings(comparison: str) -> models.Func:
    """Build `Comparison.list_acknowledgeable` in SQL, for the comparison on this path."""
    # A parameter of this function has no type of its own.
    name = Cast(models.Value("status"), models.TextField())
    status = models.Func(name, models.F(f"{comparison}__status"), function="jsonb_build_object")
    return models.Func(
        models.Func(status, function="jsonb_build_array"),
        models.F(f"{comparison}__mismatches"),
        template="(%(expressions)s)",
        arg_joiner=" || ",
        output_field=models.JSONField(),
    )


class Resolution(models.Model):
    """An action that a user took about a client's mismatches."""

    class Kind(models.TextChoices):
        CHECK = "check", _("Checked again")
        TO_AWS = "to_aws", _("Copied PostgreSQL to AWS")
        TO_POSTGRES = "to_postgres", _("Copied AWS to PostgreSQL")
        ACKNOWLEDGE = "acknowledge", _("Acknowledged")
        TO_FORMER = "to_former", _("Put the former values back")
        TO_VERSION = "to_version", _("Restored a former version")

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="resolutions"
    )
    slug = models.CharField(max_length=100)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    message = MessageField(_("result"), null=True)
    # The findings that were acknowledged, or that were left after a copy to PostgreSQL.
    mismatches = models.JSONField(default=list)
    # The last day on which an acknowledgement counts. Other mismatches are not covered.
    until = models.DateField(_("until"), null=True)
    # Of a copy to PostgreSQL: the secrets with the versions that keep what the rows held, and the revision after it.
    kept_versions = models.JSONField(null=True)
    revision = models.BigIntegerField(null=True)
    resolved_at = models.DateTimeField(default=timezone.now)

    objects = ResolutionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="resolution_of_client")]
        constraints: ClassVar = [
            limit_reason("resolution"),
            require_kept_name("resolution", "by"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.get_kind_display()}"
