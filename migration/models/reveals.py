"""Owns the record of reveals: who saw which secret value, when and why. Never the value."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.models import CREDENTIAL_MODELS, Client
from migration.core.audit import limit_reason
from nova_credentials.credential_types import CredentialType


class Reveal(models.Model):
    """One field of one credential, shown to one person once."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="reveals"
    )
    slug = models.CharField(_("slug"), max_length=100)
    kind = models.CharField(_("kind"), max_length=16)
    credential_id = models.IntegerField(_("credential"))
    field = models.CharField(_("field"), max_length=64)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    # The name that the user had then.
    username = models.CharField(_("user"), max_length=150)
    # As the user typed it.
    reason = models.TextField(_("reason"))
    address = models.CharField(_("address"), max_length=200, blank=True)
    revealed_at = models.DateTimeField(_("revealed"), default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="reveal_of_client")]
        constraints: ClassVar = [limit_reason("reveal")]
        permissions: ClassVar = [("reveal_credential", _("Can reveal secret values"))]
        verbose_name = _("reveal")
        verbose_name_plural = _("reveals")

    def __str__(self) -> str:
        return self.who_saw_what

    @property
    def who_saw_what(self) -> str:
        """Say who saw which field, why and from where, in the page's language."""
        model = CREDENTIAL_MODELS[CredentialType(self.kind)]
        values = {
            "who": self.username,
            "client": self.slug,
            "credential": f"{model._meta.verbose_name} {self.credential_id}",
            "field": model._meta.get_field(self.field).verbose_name,  # type: ignore[union-attr]
            "reason": self.reason,
            "address": self.address,
        }
        return (
            gettext(
                "%(who)s revealed %(client)s › %(credential)s › %(field)s, reason %(reason)s, from %(address)s"
            )
            % values
        )
