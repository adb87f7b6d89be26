"""Owns the rates at which all processes together call AWS, where each reserves its calls; and counts of all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from migration.core.leases import PROVEN, LeaseSession, make_proof_params
from migration.core.write_state import WRITE_STATE, AwsWriteState

# A reservation covers this time: long enough for few statements, short enough that a killed process wastes little.
BLOCK_SECONDS = 0.2
# Capacity that was not used in this time may be used later, as AWS allows too.
BURST_SECONDS = 0.3
# A reservation is farther ahead only if PostgreSQL's clock was set back. Then workers do not wait for it to catch up.
AHEAD_SECONDS = 60.0
# When AWS throttles, the rate falls to this share, at most once a second…
FALLS_TO = 0.8
LEAST_SHARE = 0.05
# … and this share of the full rate comes back every second.
RECOVERS = 0.05

# Not AWS's: the servers of the clients are asked, and many may be one provider's.
LOGINS_PER_SECOND = 10.0

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

SINCE = "greatest(0, extract(epoch FROM clock_timestamp() - throttled_at))"
SHARE = f"least(1, share + {RECOVERS} * {SINCE})"
EFFECTIVE = f"(coalesce(per_second, %(default)s) * {SHARE})::float8"
LATELY = "throttled_at BETWEEN clock_timestamp() - interval '1 second' AND clock_timestamp()"
TURNS = f"greatest(1, floor({EFFECTIVE} * %(seconds)s))"


@dataclass(frozen=True)
class Reservation:
    """A number of calls that may be made from `starts_in` seconds from now on, at `per_second`.

    `state` says whether calls that write may be made at all, `proven_places` which sessions' leases hold (`PROVEN`).
    """

    number: int
    starts_in: float
    per_second: float
    state: AwsWriteState
    proven_places: list[int]


class RateQuerySet(models.QuerySet["Rate"]):
    """A QuerySet of rates. The limiter passes a connection of its own: no reservation may wait for a save's end."""

    def reserve(
        self,
        connection: BaseDatabaseWrapper,
        kind: Rate.Kind,
        *,
        seconds: float,
        sessions_to_prove: Collection[LeaseSession] = (),
    ) -> Reservation:
        """Reserve the next calls: as many as fit into `seconds`, at least one. Returns at once.

        Reads in the same statement which of the `sessions_to_prove` still hold the leases under which calls are made.
        """
        values: dict[str, str | float | list[int]] = {
            **make_proof_params(sessions_to_prove),
            "kind": kind,
            "default": kind.default_rate,
            "seconds": seconds,
            "burst": BURST_SECONDS,
            "ahead": AHEAD_SECONDS,
        }
        statement = f"""
            UPDATE migration_rate
            SET next_at = least(
                    greatest(next_at, clock_timestamp() - %(burst)s * interval '1 second'),
                    clock_timestamp() + %(ahead)s * interval '1 second'
                ) + {TURNS} / {EFFECTIVE} * interval '1 second'
            WHERE kind = %(kind)s
            RETURNING {TURNS}, extract(epoch FROM next_at - clock_timestamp()), {EFFECTIVE},
                {WRITE_STATE}, {PROVEN}
        """  # noqa: S608  # its parts are constants
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            if (row := cursor.fetchone()) is None:
                cursor.execute(
                    "INSERT INTO migration_rate (kind) VALUES (%s) ON CONFLICT DO NOTHING", [kind]
                )
                cursor.execute(statement, values)
                row = cursor.fetchone()
        number, ends_in, per_second = int(row[0]), float(row[1]), float(row[2])
        state = AwsWriteState.parse(row[3])
        return Reservation(number, ends_in - number / per_second, per_second, state, row[4])

    def set_rates(self, rates: dict[Rate.Kind, float | None]) -> None:
        """Set the calls per second of each kind, None for its default rate. It holds from the next reservation."""
        self.bulk_create(
            (Rate(kind=kind, per_second=rate) for kind, rate in rates.items()),
            update_conflicts=True,
            unique_fields=["kind"],
            update_fields=["per_second"],
        )

    def record_throttled(self, connection: BaseDatabaseWrapper, kind: Rate.Kind) -> None:
        """Note that AWS throttled a call, which slows all workers down for a while."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE migration_rate
                SET throttled = throttled + 1,
                    share = CASE WHEN {LATELY} THEN share ELSE greatest({LEAST_SHARE}, {SHARE} * {FALLS_TO}) END,
                    throttled_at = CASE WHEN {LATELY} THEN throttled_at ELSE clock_timestamp() END
                WHERE kind = %s
                """,  # noqa: S608  # its parts are constants
                [kind],
            )


class Rate(models.Model):
    """The rate of one kind of AWS call, or of login tests, for all workers together."""

    class Kind(models.TextChoices):
        """The kinds of calls, each with its own quota at AWS."""

        CREATE = "create", _("Creates")
        WRITE = "write", _("Updates")
        READ = "read", _("Batch reads")
        LOGIN = "login", _("Logins tested")

        @property
        def default_rate(self) -> float:
            """Return the calls per second that hold until a user sets another rate on a run's page."""
            if self == Rate.Kind.LOGIN:
                return LOGINS_PER_SECOND
            reads = self == Rate.Kind.READ
            rate = (
                settings.NOVA_AWS_READS_PER_SECOND if reads else settings.NOVA_AWS_WRITES_PER_SECOND
            )
            return float(rate)

    kind = models.CharField(max_length=8, primary_key=True, choices=Kind)
    per_second = models.FloatField(_("calls per second"), null=True)
    next_at = models.DateTimeField(db_default=Now())
    # The share of the full rate that was left after AWS throttled at `throttled_at`.
    share = models.FloatField(default=1, db_default=1)
    throttled_at = models.DateTimeField(default=LONG_AGO, db_default=LONG_AGO)
    throttled = models.BigIntegerField(_("throttled calls"), default=0, db_default=0)

    objects = RateQuerySet.as_manager()

    def __str__(self) -> str:
        return f"rate of {self.kind} calls"


# The greatest `bigint`.
MOST_COUNTED = 2**63 - 1


class KeptCountsQuerySet(models.QuerySet["KeptCounts"]):
    def add_counts(
        self, connection: BaseDatabaseWrapper, kind: int, counts: Mapping[str, int]
    ) -> None:
        """Add to the numbers by name, on a connection that is in no transaction of a caller."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_keptcounts AS kept (id, counted_at, counts)
                VALUES (%s, clock_timestamp(), %s::jsonb)
                ON CONFLICT (id) DO UPDATE SET counted_at = excluded.counted_at, counts = (
                    SELECT jsonb_object_agg(name, number) FROM (
                        SELECT name, sum(number::bigint) AS number FROM (
                            SELECT * FROM jsonb_each_text(kept.counts)
                            UNION ALL SELECT * FROM jsonb_each_text(excluded.counts)
                        ) AS both_rows (name, number) GROUP BY name
                    ) AS summed
                )
                """,
                [kind, json.dumps(counts)],
            )

    def read_counts(self, *kinds: int) -> list[dict[str, int]]:
        """Return of each kind what all processes counted, by name, since the site was first run. One query."""
        kept = self.in_bulk(kinds)
        found = [kept[kind].counts if kind in kept else {} for kind in kinds]
        # What is no number that this site adds up to, somebody else wrote.
        return [
            {
                name: number
                for name, number in counts.items()
                if isinstance(number, int) and 0 <= number <= MOST_COUNTED
            }
            if isinstance(counts, dict)
            else {}
            for counts in found
        ]


class KeptCounts(models.Model):
    """Counts that are kept, in a row each: clients of a site with very many, calls to AWS, answers to HTTP."""

    CLIENTS: ClassVar = 1
    # By "<operation> <outcome>".
    AWS_CALLS: ClassVar = 2
    # See `nova_admin.traffic`.
    HTTP: ClassVar = 3
    # What keeps clients from their next step, for the chips of their list.
    STANDINGS: ClassVar = 4

    # When the clients were counted; when calls were last added.
    counted_at = models.DateTimeField()
    counts = models.JSONField()

    objects = KeptCountsQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"counts of {self.counted_at:%Y-%m-%d %H:%M:%S}"
