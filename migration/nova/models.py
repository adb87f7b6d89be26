"""Owns what is seen of NOVA: the processes that read through the package, and statements of others that still read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.core.fields import limit_times

# The first release whose reader asks PostgreSQL for a client's layout. Every release that notes itself does.
FIRST_WITH_LAYOUTS = (0, 2)
# A process that reads once a day, by a timer, is seen in it.
OLD_READERS_WITHIN = timedelta(days=1)
SEEN_WITHIN = timedelta(hours=1)
FAILED_WITHIN = timedelta(minutes=30)
FORGOTTEN_AFTER = timedelta(days=7)
# Of processes that no longer read this many are kept: NOVA may start a process for each task.
PROCESSES_KEPT = 1_000


class AwsFailure(models.TextChoices):
    """The kind of error that NOVA's reader met at AWS, as `process_notes` writes it."""

    PERMISSION = "permission", _("No permission, or no AWS credentials")
    THROTTLED = "throttled", _("AWS limits the rate")
    UNAVAILABLE = "unavailable", _("AWS gave no usable answer")
    CONFLICT = "conflict", _("The secret is missing, or its state forbids reading")
    DATA = "data", _("AWS refuses the request")
    LATE = "late", _("AWS answered too late")
    NO_DOCUMENT = "no_document", _("The secret holds no valid document")
    UNEXPECTED = "unexpected", _("Unexpected error: NOVA's log shows which")


@dataclass(frozen=True)
class ReaderSummary:
    """How many processes of NOVA read through the package: in the last hour, and of these, how many AWS fails now."""

    seen: int
    failing: int
    last_read_at: datetime | None  # None: no process was ever seen


def _was_seen(now: datetime) -> models.Q:
    """Return the condition of a read in the last hour; a time far ahead, of a wrong clock, is none."""
    return models.Q(last_read_at__gt=now - SEEN_WITHIN, last_read_at__lt=now + SEEN_WITHIN)


class ReaderProcessQuerySet(models.QuerySet["ReaderProcess"]):
    def seen_in_last_hour(self) -> ReaderProcessQuerySet:
        """Select the processes that read within the last hour."""
        return self.filter(_was_seen(timezone.now()))

    def not_seen_in_last_hour(self) -> ReaderProcessQuerySet:
        return self.exclude(_was_seen(timezone.now()))

    def failing_now(self) -> ReaderProcessQuerySet:
        """Select the processes seen in the last hour that met an error of AWS within FAILED_WITHIN."""
        return self.seen_in_last_hour().filter(aws_error_at__gt=timezone.now() - FAILED_WITHIN)

    def has_readers_without_layouts(self) -> bool:
        """Say whether a process read within the last day whose release reads only the layout of its environment."""
        lately = self.filter(last_read_at__gt=timezone.now() - OLD_READERS_WITHIN)
        versions = lately.order_by().values_list("version", flat=True).distinct()
        return any(_parse_version(version) < FIRST_WITH_LAYOUTS for version in versions)

    def was_ever_seen(self) -> bool:
        """Say whether any process of NOVA ever read through the package; the newest is never forgotten."""
        return self.exists()

    def summarize(self) -> ReaderSummary:
        """Count the processes that read in the last hour, and those that AWS fails now; in one query."""
        now = timezone.now()
        seen = _was_seen(now)
        found = self.aggregate(
            seen=models.Count("pk", filter=seen),
            failing=models.Count(
                "pk", filter=seen & models.Q(aws_error_at__gt=now - FAILED_WITHIN)
            ),
            last=models.Max("last_read_at"),
        )
        return ReaderSummary(found["seen"], found["failing"], found["last"])

    def forget_old(self) -> None:
        """Delete processes last seen before FORGOTTEN_AFTER; of those not seen in the last hour keep PROCESSES_KEPT.

        The newest row stays, whatever its age: it says that NOVA read through the package at some time.
        """
        newest_first = self.order_by("-last_read_at", "pk").values("pk")
        over = (
            self.not_seen_in_last_hour()
            .order_by("-last_read_at", "pk")
            .values("pk")[PROCESSES_KEPT:]
        )
        old = self.filter(last_read_at__lt=timezone.now() - FORGOTTEN_AFTER)
        (old | self.filter(pk__in=over)).exclude(pk__in=newest_first[:1]).delete()


def _parse_version(version: str) -> tuple[int, ...]:
    """Return the numbers of a release; of what is none, those of a release before all others."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return tuple(map(int, found.groups())) if found else (0, 0)


class ReaderProcess(models.Model):
    """One process of NOVA, as it notes itself in plain SQL, at most once a minute (`nova_credentials.reader`).

    The reader's statement names these columns, in every release: they are only ever added, with `db_default`.
    """

    key = models.UUIDField(primary_key=True)
    host = models.CharField(_("host"), max_length=255, db_default="")
    process_id = models.BigIntegerField(_("process"), db_default=0)
    version = models.CharField(_("package version"), max_length=50, db_default="")
    # The last four characters of the id of the key that signed the newest request to AWS.
    access_key_end = models.CharField(_("Access key"), max_length=4, db_default="")
    aws_error = models.CharField(_("newest AWS error"), max_length=50, db_default="")
    aws_error_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField(_("first seen"), db_default=Now())
    last_read_at = models.DateTimeField(_("last read"), db_default=Now())

    objects = ReaderProcessQuerySet.as_manager()

    class Meta:
        verbose_name = _("process of NOVA")
        verbose_name_plural = _("processes of NOVA")
        ordering: ClassVar = ["-last_read_at", "key"]
        constraints: ClassVar = [
            limit_times("readerprocess", "aws_error_at", "first_seen_at", "last_read_at")
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.process_id}"

    @property
    def is_seen(self) -> bool:
        """Say whether it read within the last hour."""
        return abs(timezone.now() - self.last_read_at) < SEEN_WITHIN

    @property
    def aws_error_label(self) -> str:
        """Return the newest error's class in words; a class of another release as it is."""
        known = self.aws_error in AwsFailure
        return str(AwsFailure(self.aws_error).label) if known else self.aws_error


@dataclass(frozen=True)
class OtherStatementCount:
    """A statement of somebody else that reads credential tables, as pg_stat_statements counts it now."""

    role: str
    statement_id: int
    tables: str
    calls: int


class OtherStatementQuerySet(models.QuerySet["OtherStatement"]):
    def compare_counts(self, counts: Iterable[OtherStatementCount]) -> list[OtherStatement]:
        """Return a row for each count, unsaved, with what is known of when the statement was called; in one query."""
        now = timezone.now()
        known = {(row.role, row.statement_id): row for row in self.all()}
        rows = []
        for count in counts:
            before = known.get((count.role, count.statement_id))
            called_at = before.called_at if before else None
            if before and before.calls != count.calls:
                # Fewer calls: the statistics were reset, and it was called after that.
                called_at = now
            row = OtherStatement(
                role=count.role,
                statement_id=count.statement_id,
                tables=count.tables,
                calls=count.calls,
                first_noticed_at=before.first_noticed_at if before else now,
                noticed_at=now,
                called_at=called_at,
            )
            rows.append(row)
        return rows

    def note_counts(self, counts: Iterable[OtherStatementCount]) -> None:
        """Store the counts; a statement whose number changed since the last time was called in between."""
        self.bulk_create(
            self.compare_counts(sorted(counts, key=lambda count: (count.role, count.statement_id))),
            update_conflicts=True,
            unique_fields=["role", "statement_id"],
            update_fields=["tables", "calls", "called_at", "noticed_at"],
        )

    def forget_old(self) -> None:
        """Delete the statements that pg_stat_statements has not shown for FORGOTTEN_AFTER."""
        self.filter(noticed_at__lt=timezone.now() - FORGOTTEN_AFTER).delete()


class OtherStatement(models.Model):
    """A statement of somebody else that reads credential tables, mostly NOVA's old helper. Its text is not kept."""

    role = models.CharField(max_length=63)
    statement_id = models.BigIntegerField()
    tables = models.CharField(max_length=255)
    calls = models.BigIntegerField()
    first_noticed_at = models.DateTimeField()
    noticed_at = models.DateTimeField()
    # None: not since it was first noticed, as pg_stat_statements doesn't say when it was called before.
    called_at = models.DateTimeField(null=True)

    objects = OtherStatementQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["role", "statement_id"], name="one_row_a_statement")
        ]

    def __str__(self) -> str:
        return f"{self.role}: {self.tables}"
