"""Owns the keys that mark the secret versions which this site wrote to AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.db import models
from django.utils import timezone


@dataclass(frozen=True)
class Fingerprint:
    """A value's keyed digest and the id of its key; both are empty where the value is not known."""

    digest: str = ""
    key_id: str = ""


class VersionKey(models.Model):
    """A key made by `migrate`. The newest signs new versions, every key verifies; with a key, signatures can be forged.

    No page shows it, no permission exists for it, and the reader's database role has no grant on it.
    """

    key = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"version key {self.pk}"
