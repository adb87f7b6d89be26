"""Owns the record of permissions that `migrate` gave to the roles."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import Group, Permission
from django.db import models


class RoleGrant(models.Model):
    """A permission that a role was given once. If an administrator takes it away, `migrate` does not give it again."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="+")
    permission = models.ForeignKey(Permission, models.CASCADE, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["group", "permission"], name="granted_once")
        ]

    def __str__(self) -> str:
        return f"{self.permission_id} to {self.group_id}"
