"""Owns how often database passwords are rotated: of a client, or of the clients of a group. Days are dates in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import rotation_sentences
from migration.core.audit import AuditCode, AuditEvent
from migration.core.groups import ClientGroup
from migration.core.text import KeptNameField, require_kept_name
from migration.models.reveals import Reveal
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST_DAYS = 3650
# The day on which each client's database passwords are to be rotated next: of its own schedule and its groups', the
# earliest. They count from the last rotation of its primary login, where it has none of any, or from the day on which
# the schedule was made.
# A reveal of a database password since then brings the day forward, to so many days after it as the setting says; with
# 0 it doesn't. It holds no time of day, so that no change of clocks moves it.
NEXT_ROTATIONS = """
SELECT wanted.client_id, min(least(
    greatest(wanted.since, last.on_day) + wanted.days,
    CASE WHEN {reveal_days} > 0 AND revealed.at > coalesce(last.at, '-infinity')
        THEN (revealed.at AT TIME ZONE 'UTC')::date + {reveal_days} END
)) AS due
FROM (
    SELECT client_id, since, days FROM migration_rotationschedule WHERE client_id IS NOT NULL
    UNION ALL
    SELECT member.client_id, since, days FROM migration_rotationschedule AS of_group
        JOIN migration_groupmember AS member ON member.group_id = of_group.group_id
) AS wanted
JOIN public.clients AS there ON there.id = wanted.client_id
    AND NOT EXISTS (SELECT FROM migration_offboarding AS left_us WHERE left_us.client_id = wanted.client_id)
LEFT JOIN LATERAL (
    SELECT max(ended_at) AS at, (max(ended_at) AT TIME ZONE 'UTC')::date AS on_day FROM migration_rotation AS done
    WHERE done.client_id = wanted.client_id AND done.outcome = 'rotated'
        AND done.credential_type = 'database' AND (done.label IS NULL OR NOT EXISTS (
            SELECT FROM public.client_database_credentials AS login
            WHERE login.client_id = wanted.client_id AND login.is_primary
        ))
) AS last ON true
LEFT JOIN LATERAL (
    SELECT max(revealed_at) AS at FROM migration_reveal AS seen
    WHERE seen.client_id = wanted.client_id AND seen.kind = 'database'
) AS revealed ON true
GROUP BY wanted.client_id
"""


def today() -> date:
    """Return today's date in UTC."""
    return datetime.now(UTC).date()


def make_next_query() -> str:
    """Return NEXT_ROTATIONS with the settings in it."""
    return NEXT_ROTATIONS.format(reveal_days=int(settings.NOVA_ROTATE_AFTER_REVEAL_DAYS))


def client_rotation_is_overdue() -> models.Q:
    """Return the condition that the day of a client's next rotation has passed."""
    query = f"SELECT client_id FROM ({make_next_query()}) AS next WHERE due < %s"  # noqa: S608  # constants
    return models.Q(pk__in=RawSQL(query, [today()]))  # noqa: S611  # as above


class RotationScheduleQuerySet(models.QuerySet["RotationSchedule"]):
    def find_next_days(self, client_id: int | None = None) -> dict[int, date]:
        """Return client -> the day of its next rotation, of those with a schedule; of all clients or of this one."""
        query = f"SELECT client_id, due FROM ({make_next_query()}) AS next"  # noqa: S608  # constants
        if client_id is not None:
            query += " WHERE client_id = %s"
        with connection.cursor() as cursor:
            cursor.execute(query, [] if client_id is None else [client_id])
            return dict(cursor.fetchall())

    def list_due_clients(self) -> list[int]:
        """Return the ids of the clients whose next rotation is due today or was due before."""
        return [pk for pk, due in self.find_next_days().items() if due <= today()]

    def of_client_or_its_groups(self, client_id: int) -> Self:
        """Select the client's own schedule and those of its groups."""
        in_group = models.Q(group__members__client=client_id)
        return self.filter(models.Q(client_id=client_id) | in_group).distinct()

    def find_rotation_fresh_since(self, client_id: int) -> datetime | None:
        """Return since when a login of this client is fresh if it was rotated: within its days, and not revealed since.

        None where it has no schedule.
        """
        days = self.of_client_or_its_groups(client_id).aggregate(least=models.Min("days"))["least"]
        if days is None:
            return None
        began = datetime.combine(
            today() - timedelta(days=days - 1), datetime.min.time(), tzinfo=UTC
        )
        revealed = Reveal.objects.filter(client_id=client_id, kind=CredentialType.DATABASE)
        last = revealed.aggregate(at=models.Max("revealed_at"))["at"]
        return max(began, last) if last and settings.NOVA_ROTATE_AFTER_REVEAL_DAYS else began

    def set_days(
        self,
        days: int | None,
        *,
        client: Client | None = None,
        group: ClientGroup | None = None,
        by: User | None,
    ) -> bool:
        """Set every how many days the client's, or the group's clients', passwords are rotated; None: they are not.

        Say whether that was otherwise before.
        """
        try:
            return self._set_days(days, client=client, group=group, by=by)
        except IntegrityError:  # somebody else set it in the same moment: now it is there
            return self._set_days(days, client=client, group=group, by=by)

    def _set_days(
        self, days: int | None, *, client: Client | None, group: ClientGroup | None, by: User | None
    ) -> bool:
        with transaction.atomic():
            whose = {"client": client, "group": group}
            there = self.select_for_update().filter(**whose).first()
            if (there.days if there else None) == days:
                return False
            if there:
                there.delete()
            if days is not None:
                self.create(days=days, by=by, **whose)
            facts = {"whose": str(group) if group else rotation_sentences.ROTATION_THIS_CLIENT()}
            AuditEvent.objects.record(
                AuditCode.ROTATION,
                rotation_sentences.ROTATION_SCHEDULE_SET(n=days, **facts)
                if days is not None
                else rotation_sentences.ROTATION_SCHEDULE_ENDED(**facts),
                by=by,
                client_id=client.pk if client else None,
                slug=client.slug if client else "",
            )
        return True


class RotationSchedule(models.Model):
    """Every how many days the database passwords of a client, or of a group's clients, are rotated."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    group = models.OneToOneField(
        ClientGroup, models.CASCADE, null=True, related_name="rotation_schedule"
    )
    days = models.PositiveSmallIntegerField(_("days"))
    since = models.DateField(default=today)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")

    objects = RotationScheduleQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client"], name="one_schedule_of_client"),
            models.CheckConstraint(
                condition=models.Q(client=None) ^ models.Q(group=None),
                name="schedule_of_client_or_group",
            ),
            models.CheckConstraint(
                condition=models.Q(days__range=(1, MOST_DAYS)), name="schedule_days_in_range"
            ),
            require_kept_name("rotationschedule", "by"),
        ]

    def __str__(self) -> str:
        return f"every {self.days} days"
