"""Owns the searches for copies of secret values in NOVA's database: what was found, not looked at, and redacted.

Holds places and numbers, never a value.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.core.text import KeptNameField, require_kept_name

# A search that has said nothing for this long was killed, or its place in the queue was lost.
SILENT_AFTER = timedelta(minutes=2)
# A search of the workers whose process is gone is begun again, up to this many times in all and for this long.
MOST_SEARCH_TRIES = 3
BEGUN_AGAIN_WITHIN = timedelta(hours=12)
FORGOTTEN_AFTER = timedelta(days=90)


class UnsearchedReason(models.TextChoices):
    """Why a place was not looked at, so that nobody can say that it holds no copy."""

    NO_RIGHT = "no_right", _("this site's role may not read it")
    TYPE = "type", _("its type is not searched")
    ROW_SECURITY = "row_security", _("row security hides rows from this site's role")
    FOREIGN_TABLE = "foreign_table", _("a foreign table: its rows are in another database")
    MATERIALIZED_VIEW = "materialized_view", _("a materialized view")
    OTHER_SESSION = "other_session", _("a temporary table of another session")
    LARGE_OBJECTS = "large_objects", _("large objects are not searched")
    BUSY = "busy", _("it stayed locked: search again")
    CHANGED = "changed", _("it was rebuilt while it was read: search again")
    READ_FAILED = "read_failed", _("reading it failed")
    SECRET_UNREAD = (
        "secret_unread",
        _("AWS did not return these values, so they were not searched for"),
    )
    SHORT_VALUE = "short_value", _("a secret value is too short to be looked for")


class SearchState(models.TextChoices):
    """How far a search is."""

    WAITING = "waiting", _("Waiting")
    READING = "reading", _("Reading")
    INTERRUPTED = "interrupted", _("Interrupted")
    FINISHED = "finished", _("Finished")


class CopySearchQuerySet(models.QuerySet["CopySearch"]):
    def open(self) -> Self:
        """Select the searches that have neither finished nor been marked as interrupted."""
        return self.filter(finished_at=None, interrupted_at=None)

    def mark_interrupted(self, search: CopySearch) -> bool:
        """Mark the search as ended unfinished; return False where it has ended already."""
        now = timezone.now()
        if self.open().filter(pk=search.pk).update(interrupted_at=now) != 1:
            return False
        search.interrupted_at = now
        return True

    def forget_old(self) -> None:
        """Delete the searches requested longer than FORGOTTEN_AFTER ago that are the newest of no client."""
        newest = SearchedClient.objects.newest_of_each_client().values("search_id")
        old = self.filter(requested_at__lt=timezone.now() - FORGOTTEN_AFTER)
        old.exclude(pk__in=newest).delete()


class CopySearch(models.Model):
    """One pass over NOVA's database, for the values of some clients or of all."""

    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    by_name = KeptNameField("by", _("started by"))
    requested_at = models.DateTimeField(_("requested"), default=timezone.now, db_default=Now())
    # Rows that are written after `started_at` were not looked at.
    started_at = models.DateTimeField(_("started"), null=True)
    seen_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    # Ended unfinished: its process is gone, and it is not begun again. It says nothing about any client.
    interrupted_at = models.DateTimeField(_("interrupted"), null=True)
    # The ids of the clients that it was asked for; None: all.
    chosen = models.JSONField(null=True)
    # A worker does it: another worker can begin it again.
    in_background = models.BooleanField(default=False, db_default=False)
    tries = models.PositiveSmallIntegerField(default=0, db_default=0)
    clients = models.PositiveIntegerField(_("clients"), default=0, db_default=0)
    bytes_read = models.BigIntegerField(_("bytes read"), default=0, db_default=0)
    # The place that is being read, as "table 3 of 14".
    tables_done = models.PositiveIntegerField(default=0, db_default=0)
    tables = models.PositiveIntegerField(_("tables"), default=0, db_default=0)

    objects = CopySearchQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [require_kept_name("copysearch", "by")]
        verbose_name = _("search for copies")
        verbose_name_plural = _("searches for copies")

    def __str__(self) -> str:
        return f"search {self.pk}"

    def finish(self) -> None:
        """Store that it has read everything; raises RuntimeError if it was marked as interrupted, or begun again."""
        self.finished_at = timezone.now()
        numbers = {name: getattr(self, name) for name in ("tables", "tables_done", "bytes_read")}
        still = CopySearch.objects.open().filter(pk=self.pk, tries=self.tries)
        if still.update(finished_at=self.finished_at, **numbers) != 1:
            raise RuntimeError(f"{self} was marked as interrupted, or begun again")

    @property
    def is_silent(self) -> bool:
        """Say whether it is unfinished and has shown no progress for SILENT_AFTER."""
        last = self.seen_at or self.started_at or self.requested_at
        return self.finished_at is None and timezone.now() - last > SILENT_AFTER

    @property
    def is_presumably_queued(self) -> bool:
        """Say whether it waits for a worker, and not for so long that its place in the queue must be lost."""
        return self.started_at is None and not self.is_silent

    @property
    def state(self) -> SearchState:
        """Return how far it is. One that was begun and is silent was killed, though nobody has marked it yet."""
        if self.finished_at:
            return SearchState.FINISHED
        if self.started_at is None and self.interrupted_at is None:
            return SearchState.WAITING
        return (
            SearchState.INTERRUPTED
            if self.interrupted_at or self.is_silent
            else SearchState.READING
        )

    @property
    def is_under_way(self) -> bool:
        """Say whether a page that shows it waits for its end."""
        return self.state in (SearchState.WAITING, SearchState.READING)

    @property
    def may_begin_again(self) -> bool:
        """Say whether a worker may begin the search again after its process is gone."""
        is_recent = timezone.now() - self.requested_at < BEGUN_AGAIN_WITHIN
        return self.in_background and self.tries < MOST_SEARCH_TRIES and is_recent


class SearchedClientQuerySet(models.QuerySet["SearchedClient"]):
    def newest_of_each_client(self) -> Self:
        """Select each client's newest finished search."""
        return self.order_by("client_id", "-searched_at", "-pk").distinct("client_id")

    def newest_of(self, client_ids: Collection[int]) -> dict[int, SearchedClient]:
        """Return client id -> its newest search, in one query; compare `searched_at` with what it has to be after."""
        return {
            row.client_id: row
            for row in self.filter(client_id__in=client_ids).newest_of_each_client()
        }


class SearchedClient(models.Model):
    """One client in one finished search. Rows that were written after `searched_at` were not looked at."""

    search = models.ForeignKey(CopySearch, models.CASCADE, related_name="searched_clients")
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="copy_searches"
    )
    slug = models.CharField(_("slug"), max_length=100)
    searched_at = models.DateTimeField(_("searched"))
    # The sum over all columns: a row with copies in two columns counts twice.
    rows_found = models.BigIntegerField(_("rows with a copy"), default=0, db_default=0)
    not_looked_at = models.PositiveIntegerField(_("places not looked at"), default=0, db_default=0)

    objects = SearchedClientQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["search", "client"], name="searched_client_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["client", "-searched_at"], name="copy_search_of_client")
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.rows_found} found, {self.not_looked_at} not looked at"


class FoundCopy(models.Model):
    """The number of rows of one column that hold a secret value of one client."""

    search = models.ForeignKey(CopySearch, models.CASCADE, related_name="found_copies")
    client = models.ForeignKey(Client, models.DO_NOTHING, db_constraint=False, related_name="+")
    slug = models.CharField(_("slug"), max_length=100)
    table = models.CharField(_("table"), max_length=200)  # with its schema
    column = models.CharField(_("column"), max_length=100)
    rows = models.BigIntegerField(_("rows"))

    class Meta:
        ordering: ClassVar = ["slug", "table", "column"]
        indexes: ClassVar = [models.Index(fields=["search", "client"], name="found_copy_of_client")]

    def __str__(self) -> str:
        return f"{self.slug}: {self.table}.{self.column}, {self.rows} rows"


class UnsearchedPlace(models.Model):
    """A place that was not looked at: a table or column for every client, or values of one client."""

    search = models.ForeignKey(CopySearch, models.CASCADE, related_name="unsearched_places")
    # None: for every client of the search.
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    slug = models.CharField(_("slug"), max_length=100, blank=True, default="", db_default="")
    # A table with its schema and a column, or the name of a secret.
    place = models.CharField(_("place"), max_length=600)
    reason = models.CharField(_("reason"), max_length=32, choices=UnsearchedReason)
    # The column's type, a SQLSTATE or AWS's code.
    detail = models.CharField(_("detail"), max_length=200, blank=True, default="", db_default="")

    class Meta:
        ordering: ClassVar = ["slug", "place"]

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.place}: {self.get_reason_display()}{detail}"

    @property
    def is_forbidden(self) -> bool:
        """Say whether a right to read it is all that lacks."""
        return self.reason == UnsearchedReason.NO_RIGHT


class Redaction(models.Model):
    """The number of rows of one column in which values of one client were replaced by a pointer."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="redactions"
    )
    slug = models.CharField(_("slug"), max_length=100)
    table = models.CharField(_("table"), max_length=200)
    column = models.CharField(_("column"), max_length=100)
    rows = models.BigIntegerField(_("rows"))
    redacted_at = models.DateTimeField(_("redacted"), default=timezone.now, db_default=Now())

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = _("redaction")
        verbose_name_plural = _("redactions")
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="redaction_of_client")]

    def __str__(self) -> str:
        return f"{self.slug}: {self.table}.{self.column}, {self.rows} rows"
