"""Owns what this database notes of itself, so that a duplicate of it is recognised: one row for each claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from migration.models.kept_names import KeptNameField, require_kept_name
from migration.models.reasons import limit_reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User


@dataclass(frozen=True)
class DatabaseIdentity:
    """The identity of the database that a connection reaches: numbers that its server tells, and its place."""

    system_identifier: str  # of the server; empty where this role may not ask for it
    database_oid: int
    place: str  # host:port/name, as DATABASE_URL has it

    def is_same_database(self, noted: DatabaseIdentity) -> bool:
        """Say whether this is the noted database, by whatever name it is reached."""
        known = (self.system_identifier, noted.system_identifier)
        return self.database_oid == noted.database_oid and (not all(known) or known[0] == known[1])

    def differs_from(self, noted: DatabaseIdentity, *, other_places: Collection[str] = ()) -> bool:
        """Say whether this is not the noted database under one of its names (`other_places`: more of them)."""
        known_places = {noted.place, *other_places}
        return not self.is_same_database(noted) or self.place not in known_places


class DatabaseClaimQuerySet(models.QuerySet["DatabaseClaim"]):
    def newest(self) -> DatabaseClaim | None:
        """Return the claim that holds; None before the first `migrate`."""
        return self.order_by("-pk").first()

    def with_facts(self) -> DatabaseClaim | None:
        """Return the claim whose facts hold; None where none were noted yet."""
        return self.exclude(facts=None).order_by("-pk").first()

    def record(
        self,
        identity: DatabaseIdentity,
        *,
        by: User | None = None,
        reason: str = "",
        aws: str = "",
        facts: dict[str, list[str]] | None = None,
    ) -> DatabaseClaim:
        """Note that this is the database that writes to AWS, and with `facts` what all hosts share from now on."""
        return self.create(
            system_identifier=identity.system_identifier,
            database_oid=identity.database_oid,
            place=identity.place,
            by=by,
            reason=reason,
            aws=aws,
            facts=facts,
        )


class DatabaseClaim(models.Model):
    """What the database noted of itself: at its first `migrate`, and at each claim since. The newest holds."""

    system_identifier = models.CharField(max_length=30, blank=True)
    database_oid = models.BigIntegerField()
    place = models.TextField()
    # The AWS account and key that the site had then, as far as they were known.
    aws = models.TextField(blank=True)
    # What all hosts share: fact -> its values (of a key its code), the one that holds first, then former ones. NULL: as
    # the claim before says.
    facts = models.JSONField(null=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # As the user typed it; empty at the first `migrate`.
    reason = models.TextField(_("reason"), blank=True)
    claimed_at = models.DateTimeField(db_default=Now())

    objects = DatabaseClaimQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        permissions: ClassVar = [
            ("claim_database", _("Can claim a copied database as the one that writes to AWS"))
        ]
        constraints: ClassVar = [
            limit_reason("databaseclaim"),
            require_kept_name("databaseclaim", "by"),
        ]

    def __str__(self) -> str:
        return self.place

    @property
    def identity(self) -> DatabaseIdentity:
        return DatabaseIdentity(self.system_identifier, self.database_oid, self.place)
