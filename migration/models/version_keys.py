"""The keys by which the versions that this site wrote to AWS prove to be its own."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class VersionKey(models.Model):
    """A key made at the first `migrate`: the newest signs, each proves. Whoever reads it can forge the proof.

    It is no page's and no role's, and the reader's role gets no grant on it.
    """

    key = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"version key {self.pk}"
