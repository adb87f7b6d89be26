"""Owns which clients have left, or are about to: from which phase, by whom, and until when their secrets are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import audit_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.kept_names import KeptNameField, require_kept_name
from migration.models.phases import PhaseChoices
from migration.models.reasons import limit_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User

    from nova_credentials.messages import Message

# For so long AWS keeps a secret whose deletion was scheduled.
RECOVERY_DAYS = 30


class OffboardingState(models.TextChoices):
    """The states of a client's offboarding; what leads to the next state may have been done in part."""

    OFFBOARDING = "offboarding", _("Being offboarded")
    OFFBOARDED = "offboarded", _("Offboarded")
    COMING_BACK = "coming_back", _("Coming back")


class OffboardingQuerySet(models.QuerySet["Offboarding"]):
    def leaving_or_left(self) -> Self:
        """Select offboardings of clients that left or are leaving, not of those that come back: these may move."""
        return self.exclude(state=OffboardingState.COMING_BACK)

    def unfinished(self) -> Self:
        """Select the offboardings and returns that have not ended, of clients that NOVA has not deleted."""
        present = Client.objects.filter(pk=models.OuterRef("pk"))
        return self.filter(models.Exists(present)).exclude(state=OffboardingState.OFFBOARDED)


class Offboarding(models.Model):
    """A client that left. It is gone once the client is back; the audit keeps what happened."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="offboarding"
    )
    slug = models.CharField(_("slug"), max_length=100)
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=OffboardingState,
        default=OffboardingState.OFFBOARDING,
    )
    # To which it comes back.
    former_phase = models.CharField(max_length=16, choices=PhaseChoices)
    # Secret name -> the time of its deletion, as ISO 8601; also of those that are gone.
    deletions = models.JSONField(default=dict, db_default={})
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by", _("user"))
    begun_at = models.DateTimeField(_("begun"), default=timezone.now)
    ended_at = models.DateTimeField(_("offboarded"), null=True)

    objects = OffboardingQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            limit_reason("offboarding"),
            require_kept_name("offboarding", "by"),
        ]
        verbose_name = _("offboarding")
        verbose_name_plural = _("offboardings")

    def __str__(self) -> str:
        return f"{self.state} of {self.slug}"

    @property
    def is_finished(self) -> bool:
        """Say whether every secret has its day of deletion."""
        return self.state == OffboardingState.OFFBOARDED

    @property
    def earliest_deletion(self) -> datetime:
        """Return a time up to which AWS keeps the secrets, whichever of them it was asked to delete already."""
        return self.begun_at + timedelta(days=RECOVERY_DAYS)

    @property
    def first_deletion(self) -> datetime | None:
        """Return when the first of the secrets is deleted; None where there is none."""
        return min(map(datetime.fromisoformat, self.deletions.values()), default=None)

    def has_asked_for(self, secret_name: str) -> bool:
        """Say whether this offboarding has the secret deleted, or was about to; an earlier one does not count."""
        at = self.deletions.get(secret_name)
        return bool(at) and datetime.fromisoformat(at) >= self.earliest_deletion

    def store_state(
        self, state: OffboardingState, facts: Message, *, by: User | None, reason: str = ""
    ) -> None:
        """Store how far it is, with its entry in the audit, within the caller's transaction."""
        self.state = state
        self.save()
        self.record(facts, by=by, reason=reason)

    def end(self, deletions: Mapping[str, datetime], result: Message, *, by: User | None) -> None:
        """Store that the client is offboarded and when AWS deletes each secret; with an audit entry."""
        self.deletions |= {name: at.isoformat() for name, at in deletions.items()}
        self.ended_at = timezone.now()
        facts = audit_sentences.OFFBOARDED(result=result)
        self.store_state(OffboardingState.OFFBOARDED, facts, by=by)

    def record(self, facts: Message, *, by: User | None, reason: str = "") -> None:
        """Write an entry of the audit about the client, within the caller's transaction."""
        AuditEvent.objects.record(
            AuditCode.OFFBOARDING,
            facts,
            by=by,
            client_id=self.client_id,
            slug=self.slug,
            reason=reason,
        )


def is_leaving_or_left() -> models.Exists:
    """Return the condition that a client was offboarded, or is about to be."""
    leaving = Offboarding.objects.leaving_or_left()
    return models.Exists(leaving.filter(client=models.OuterRef("pk")))
