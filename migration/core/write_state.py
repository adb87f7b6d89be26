"""Owns what decides about AWS writes: the switch that stops them all, and which database makes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.core.audit import limit_reason
from migration.core.text import KeptNameField, get_kept_name, require_kept_name


class WriteStopQuerySet(models.QuerySet["WriteStop"]):
    def open(self) -> Self:
        """Select the stops that hold; there may be several, as two people may stop at once."""
        return self.filter(started_at=None)

    def end_all(self, *, by: User | None) -> int:
        """End the stops that hold now; return how many there were."""
        name = get_kept_name(by)
        return self.open().update(started_at=timezone.now(), started_by=by, started_by_name=name)


class WriteStop(models.Model):
    """A time in which this site writes nothing to AWS: who threw the switch and why, and who let the writes go on.

    It lasts while `started_at` is NULL.
    """

    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # As the user typed it.
    reason = models.TextField(_("reason"))
    stopped_at = models.DateTimeField(_("stopped"), db_default=Now())
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    started_by_name = KeptNameField("started_by")
    started_at = models.DateTimeField(_("started again"), null=True)

    objects = WriteStopQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        permissions: ClassVar = [("stop_aws_writes", _("Can stop and start all AWS writes"))]
        constraints: ClassVar = [
            limit_reason("writestop"),
            require_kept_name("writestop", "by"),
            require_kept_name("writestop", "started_by"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["-id"], condition=models.Q(started_at=None), name="open_write_stop"
            )
        ]

    def __str__(self) -> str:
        return f"stop of {self.stopped_at}"


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
    """What the database noted of itself, so that a duplicate is recognised: at its first `migrate` and at each claim.

    The newest holds.
    """

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


# Of a note that isn't as the site writes it, what is.
SOUND_FACTS = """
(SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(
    CASE WHEN jsonb_typeof(facts) = 'object' THEN facts ELSE '{}' END
) WHERE jsonb_typeof(value) = 'array' AND value <> '[]' AND NOT value @? '$[*] ? (@.type() <> "string")')
"""
# The newest claim, what hosts share, the stop that holds: one JSON object, so that it fits into a statement that is
# made anyway.
WRITE_STATE = f"""
(SELECT jsonb_build_object(
    'now', clock_timestamp(),
    'claim', (
        SELECT to_jsonb(newest) FROM (
            SELECT system_identifier, database_oid, place, claimed_at FROM migration_databaseclaim
            ORDER BY id DESC LIMIT 1
        ) AS newest
    ),
    'facts', (
        SELECT {SOUND_FACTS} FROM migration_databaseclaim WHERE facts IS NOT NULL ORDER BY id DESC LIMIT 1
    ),
    'stop', (
        SELECT to_jsonb(newest) FROM (
            SELECT stopped_at, reason, by_name AS username FROM migration_writestop
            WHERE started_at IS NULL ORDER BY id DESC LIMIT 1
        ) AS newest
    )
)::text)
"""  # noqa: S608  # constants


@dataclass(frozen=True)
class OpenStop:
    """The stop that holds: who threw the switch, when, and why as typed."""

    username: str
    stopped_at: datetime
    reason: str


@dataclass(frozen=True)
class AwsWriteState:
    """What the database said, at `read_at` on its own clock, about writes to AWS."""

    read_at: datetime
    noted: DatabaseIdentity | None
    claimed_at: datetime | None
    stop: OpenStop | None
    # What all hosts share (`DatabaseClaim.facts`).
    facts: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> AwsWriteState:
        """Parse the text that `WRITE_STATE` gives."""
        found = json.loads(text)
        claim, stop = found["claim"] or {}, found["stop"]
        claimed_at = datetime.fromisoformat(claim.pop("claimed_at")) if claim else None
        return cls(
            read_at=datetime.fromisoformat(found["now"]),
            noted=DatabaseIdentity(**claim) if claim else None,
            claimed_at=claimed_at,
            stop=stop
            and OpenStop(
                stop["username"] or "", datetime.fromisoformat(stop["stopped_at"]), stop["reason"]
            ),
            facts=found["facts"] or {},
        )


def read_aws_write_state(connection: BaseDatabaseWrapper) -> AwsWriteState:
    """Return the `AwsWriteState` as it is now, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WRITE_STATE}")
        return AwsWriteState.parse(cursor.fetchone()[0])
