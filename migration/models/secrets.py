"""Owns the names and versions of the secrets that pushes wrote or found equal. Never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone

from credentials.models import Client

if TYPE_CHECKING:
    from collections.abc import Iterable


class SecretQuerySet(models.QuerySet["Secret"]):
    def record(self, secrets: Iterable[Secret]) -> None:
        """Store each secret under its name, in place of an older row."""
        self.bulk_create(
            secrets,
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["client_id", "arn", "version_id", "seen_at"],
        )


class Secret(models.Model):
    """A secret that this site writes, and the version that a push last wrote or found equal."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="secrets"
    )
    name = models.CharField(max_length=512, primary_key=True)
    arn = models.CharField(max_length=2048)
    version_id = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)

    objects = SecretQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
