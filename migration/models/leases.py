"""Owns the leases: which session works on a client, a batch, a search or the audit's chain. Knows no operation."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class LeaseKind(models.IntegerChoices):
    """Names what a lease is for; the lease's key is its id."""

    CLIENT = 1
    BATCH = 2
    SEARCH = 3
    AUDIT = 4  # of its one chain


class Lease(models.Model):
    """A row that one session at a time holds. No role but the site's can hold, lock or read it.

    The table is UNLOGGED: a lease ends with its session, so none outlives a crash of PostgreSQL.
    """

    kind = models.SmallIntegerField(choices=LeaseKind)
    key = models.BigIntegerField()
    # The holder; all NULL while nobody holds it.
    pid = models.IntegerField(null=True)
    session_key = models.BigIntegerField(null=True)
    taken_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "key"], name="one_lease"),
        ]

    def __str__(self) -> str:
        return f"lease {self.get_kind_display()} {self.key}"
