"""Owns rotations: which login gets a new secret, how far that is and what became of it. Never a secret value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import rotation_sentences
from migration.core.audit import AuditCode, AuditEvent
from migration.core.fields import MessageField
from migration.core.text import KeptNameField, require_kept_name
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from nova_credentials.credential_types import CredentialType
    from nova_credentials.messages import Message

ROTATE_PERMISSION = "migration.rotate_credential"


class RotationOpenError(MessageError):
    """Another rotation of the client is not finished."""


class RotationStep(models.TextChoices):
    """How far a rotation is surely; what comes after may have been done too."""

    BEGUN = "begun", _("begun")
    KEPT = "kept", _("new secret kept in AWS")
    SET = "set", _("database has the new password")
    STORED = "stored", _("new secret stored")


class RotationOutcome(models.TextChoices):
    """What became of a rotation; empty while it is not finished."""

    ROTATED = "rotated", _("secret rotated")
    # Nothing was changed, or everything put back.
    REFUSED = "refused", _("nothing changed")
    # It can't be known which password is valid, or where the login leads: somebody has to look.
    STOPPED = "stopped", _("stopped: somebody has to look")


class RotationQuerySet(models.QuerySet["Rotation"]):
    def unfinished(self) -> Self:
        """Select the rotations that have no outcome yet."""
        return self.filter(outcome="")

    def rotated(self) -> Self:
        """Select those after which the login has a new secret."""
        return self.filter(outcome=RotationOutcome.ROTATED)

    def stopped_newest_of_client(self) -> Self:
        """Select the rotations that stopped and are their client's newest."""
        newer = Rotation.objects.filter(
            client_id=models.OuterRef("client_id"), pk__gt=models.OuterRef("pk")
        )
        return self.filter(~models.Exists(newer), outcome=RotationOutcome.STOPPED).order_by()

    def newest_of_login(self, outcome: RotationOutcome) -> Self:
        """Select the rotations that ended so, if no later one of the same login has ended."""
        named = Coalesce("label", models.Value(""))
        later = (
            Rotation.objects.exclude(outcome="")
            .alias(named=named)
            .filter(
                client_id=models.OuterRef("client_id"),
                credential_type=models.OuterRef("credential_type"),
                named=models.OuterRef("named"),
                pk__gt=models.OuterRef("pk"),
            )
        )
        ended_so = self.filter(outcome=outcome).alias(named=named)
        return ended_so.filter(~models.Exists(later)).order_by()

    def find_unfinished(self, client_id: int) -> Rotation | None:
        """Return the client's rotation that has no outcome yet, if there is one."""
        return self.unfinished().filter(client_id=client_id).first()

    def list_unfinished_client_ids(self) -> list[int]:
        """Return the clients with an unfinished rotation, the one first that was tried longest ago."""
        return list(self.unfinished().order_by("tried_at").values_list("client_id", flat=True))

    def begin(
        self,
        client: Client,
        credential_type: CredentialType,
        label: str | None,
        *,
        by: User | None,
    ) -> Rotation:
        """Store a new rotation; raises `RotationOpenError` where another one of the client is not finished."""
        try:
            with transaction.atomic():
                return self.create(
                    client_id=client.pk,
                    slug=client.slug,
                    credential_type=credential_type,
                    label=label,
                    by=by,
                )
        except IntegrityError:
            there = self.find_unfinished(client.pk)
            since = there.begun_at if there else timezone.now()
        raise RotationOpenError(rotation_sentences.ROTATION_UNDER_WAY(ago=since))


class Rotation(models.Model):
    """One login that gets, or got, a new secret. At most one of a client is unfinished."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="rotations"
    )
    slug = models.CharField(_("slug"), max_length=100)
    credential_type = models.CharField(_("kind"), max_length=16)
    # NULL: the primary login.
    label = models.CharField(_("label"), max_length=100, null=True)
    step = models.CharField(
        _("step"), max_length=16, choices=RotationStep, default=RotationStep.BEGUN
    )
    outcome = models.CharField(_("outcome"), max_length=16, choices=RotationOutcome, blank=True)
    # Where the new secret is kept, since that began: the client may get another slug meanwhile.
    secret_name = models.CharField(max_length=512, blank=True, default="", db_default="")
    # Host, port and user of the login, which may get another label meanwhile.
    role = models.JSONField(null=True)
    # Of the version in AWS that was made to keep the new secret, then of the one that is current.
    version_id = models.CharField(_("version"), max_length=64, blank=True)
    message = MessageField(null=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by", _("user"))
    begun_at = models.DateTimeField(_("begun"), default=timezone.now)
    tried_at = models.DateTimeField(_("last tried"), default=timezone.now)
    ended_at = models.DateTimeField(_("ended"), null=True)

    # Not stored: nothing was changed, for a reason that may pass by itself.
    is_worth_another_try = False

    objects = RotationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)
        permissions: ClassVar = [("rotate_credential", _("Can rotate credentials"))]
        indexes: ClassVar = [
            models.Index(fields=["client", "-ended_at"], name="rotation_of_client"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(outcome=""), name="one_unfinished_rotation"
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="") ^ models.Q(ended_at__isnull=False),
                name="rotation_with_outcome_ended",
            ),
            require_kept_name("rotation", "by"),
        ]
        verbose_name = _("rotation")
        verbose_name_plural = _("rotations")

    def __str__(self) -> str:
        return f"rotation {self.pk} of {self.slug}"

    @property
    def is_finished(self) -> bool:
        """Say whether it has an outcome."""
        return bool(self.outcome)

    @property
    def client_kind_and_label(self) -> str:
        """Name the login by client, kind and label."""
        return " › ".join(filter(None, (self.slug, self.credential_type, self.label)))

    def note_step(self, step: RotationStep, **changed: str) -> None:
        """Store how far it is, and what else is known of it now."""
        self.record_attempt(step=step, **changed)

    def note_hindrance(self, message: Message) -> None:
        """Store why it is not finished yet."""
        self.record_attempt(message=message)

    def record_attempt(self, **facts: object) -> None:
        """Store these columns, and that it was worked on."""
        for name, value in (facts | {"tried_at": timezone.now()}).items():
            setattr(self, name, value)
        self.save(update_fields=[*facts, "tried_at"])

    def end(self, outcome: RotationOutcome, message: Message | None = None) -> None:
        """Store what became of it, with its entry in the audit."""
        if outcome == RotationOutcome.ROTATED:
            facts = rotation_sentences.SECRET_ROTATED(
                login=self.client_kind_and_label, kind=self.credential_type
            )
        else:
            facts = rotation_sentences.ROTATION_ENDED(
                login=self.client_kind_and_label, kind=self.credential_type, why=message or ""
            )
        with transaction.atomic():
            self.record_attempt(outcome=outcome, message=message, ended_at=timezone.now())
            AuditEvent.objects.record(
                AuditCode.ROTATION, facts, by=self.by, client_id=self.client_id, slug=self.slug
            )
