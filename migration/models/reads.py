"""Owns the counts of NOVA's reader, which writes them itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.times import limit_times

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

COUNTED = ("reads", "matches", "mismatches", "aws_failures", "congested_reads", "stale_reads")
# A failure at AWS that so many good reads followed says nothing any more.
GOOD_READS = 3


@dataclass(frozen=True)
class ReadsSince:
    """The number of reads of one client since some moment, and how many of them had which result."""

    reads: int = 0
    matches: int = 0
    mismatches: int = 0
    aws_failures: int = 0
    congested_reads: int = 0
    stale_reads: int = 0

    @property
    def answered_by_aws_alone(self) -> int:
        """Return how many AWS alone answered; in dual read these are the reads that were not compared."""
        return self.reads - self.matches - self.mismatches - self.aws_failures


class ReadCount(models.Model):
    """The reads of one client, counted by `nova_credentials.reader` in plain SQL."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="read_count"
    )
    reads = models.BigIntegerField(_("reads"), default=0, db_default=0)
    matches = models.BigIntegerField(_("matches"), default=0, db_default=0)
    mismatches = models.BigIntegerField(_("mismatches"), default=0, db_default=0)
    aws_failures = models.BigIntegerField(_("AWS failures"), default=0, db_default=0)
    last_read_at = models.DateTimeField(_("last read"), null=True)
    last_mismatch_at = models.DateTimeField(_("last mismatch"), null=True)
    # A trigger of this table sets all that follow, so that they are right whichever release the reader has. What only
    # the reader knows it tells the trigger in a setting of its transaction, if it is new enough.
    last_failure_at = models.DateTimeField(_("last failure at AWS"), null=True)
    # The last read that AWS alone answered; before the cutover, also one that was not compared.
    last_answer_at = models.DateTimeField(_("last answer of AWS"), null=True)
    # An `AwsFailure`; "" where a reader of an earlier release met it. NOVA's role can write what it likes.
    last_failure_class = models.CharField(max_length=20, default="", db_default="")
    # Those that AWS answered, and that matched where both stores were read.
    good_reads_since_failure = models.BigIntegerField(default=0, db_default=0)
    # Not among the reads: NOVA's own process did not get to ask AWS in time.
    congested_reads = models.BigIntegerField(default=0, db_default=0)
    # Among the failures: the process's last value was served.
    stale_reads = models.BigIntegerField(default=0, db_default=0)
    # The database sets it: the reader's statement does not name this column.
    counted_since = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            limit_times(
                "readcount",
                "last_read_at",
                "last_mismatch_at",
                "last_failure_at",
                "last_answer_at",
                "counted_since",
            )
        ]

    def __str__(self) -> str:
        return f"reads of client {self.client_id}"

    def has_read_after(self, since: datetime) -> bool:
        """Say whether NOVA's reader read it after this moment, or noted that it met something."""
        times = (self.last_read_at, self.last_mismatch_at, self.last_failure_at)
        return any(at > since for at in times if at)

    def find_failure(self, *, since: datetime) -> datetime | None:
        """Return when the reader last failed at AWS, if that was later and not followed by GOOD_READS."""
        at = self.last_failure_at
        return at if at and at > since and self.good_reads_since_failure < GOOD_READS else None

    def get_counts(self) -> dict[str, int]:
        """Return the counts, to be kept at a move."""
        return {name: getattr(self, name) for name in COUNTED}

    def count_since(self, before: Mapping[str, int]) -> ReadsSince:
        """Return what was counted since `get_counts` returned `before`."""
        counts = self.get_counts().items()
        return ReadsSince(**{name: max(0, n - before.get(name, 0)) for name, n in counts})
