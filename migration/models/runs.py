"""Runs: one request over many clients, and what became of each."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import sentences
from migration.models.comparisons import Comparison
from migration.models.fields import MessageField
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Message, MessageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

SWEEPS_ARE_KEPT = timedelta(days=2)
# A worker begins or ends a batch more often than that.
STANDS_STILL_AFTER = timedelta(seconds=60)
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(seconds=60)
# About an hour of them.
MANY_TRIES = 60
# Memory doesn't grow with the number of clients.
ITEMS_AT_ONCE = 1000


class Outcome(models.TextChoices):
    """What became of one client in a run."""

    CREATED = "created", _("Created")
    UPDATED = "updated", _("Updated")
    UNCHANGED = "unchanged", _("Unchanged")
    RESTORED = "restored", _("Restored")
    COMPARED = "compared", _("Compared")
    SKIPPED = "skipped", _("Skipped")
    FAILED = "failed", _("Failed")


PUSHED = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.RESTORED)


class StaleRunError(MessageError):
    """The run was not in a state that allows this: somebody steered it meanwhile, or it came to its end."""

    def __init__(self, run: Run, wanted: Run.State) -> None:
        super().__init__(
            sentences.RUN_IN_OTHER_STATE(run=run.named, state=run.state, wanted=wanted)
        )
        self.run = run


class RunQuerySet(models.QuerySet["Run"]):
    def standing_still(self) -> Self:
        """Those that are to go on, or to be ended, and that no worker had for a while."""
        before = timezone.now() - STANDS_STILL_AFTER
        return self.filter(
            state__in=(Run.State.RUNNING, Run.State.STOPPED),
            finished_at=None,
            worked_at__lt=before,
        )

    def touch(self, run_id: int) -> None:
        """A worker is at it."""
        self.filter(pk=run_id).update(worked_at=timezone.now())

    def forget_sweeps(self) -> None:
        """Deletes the schedule's own comparison runs of two days ago, with their items."""
        before = timezone.now() - SWEEPS_ARE_KEPT
        self.filter(by=None, kind=Run.Kind.COMPARE, created_at__lt=before).delete()

    def with_counts(self) -> Self:
        """Adds `total`, `done`, `failed` and `mismatched`."""
        count = models.Count
        return self.annotate(
            total=count("items"),
            done=count("items", filter=~models.Q(items__outcome="")),
            failed=count("items", filter=models.Q(items__outcome=Outcome.FAILED)),
            mismatched=count(
                "items",
                filter=models.Q(items__comparison_status__in=Comparison.DIFFERS),
            ),
        )


class Run(models.Model):
    """One request over many clients. It is finished once every item has an outcome."""

    class State(models.TextChoices):
        RUNNING = "running", _("Running")
        PAUSED = "paused", _("Paused")
        STOPPED = "stopped", _("Stopped")
        FINISHED = "finished", _("Finished")

    class Kind(models.TextChoices):
        MIGRATE = "migrate", _("Migration")
        PUSH = "push", _("Push")
        COMPARE = "compare", _("Comparison")

    # So many that a batch takes few statements, and so few that a batch done twice is cheap.
    BATCH = 100

    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    adopt = models.BooleanField(_("adopt secrets that are not ours"), default=False)
    include_inactive = models.BooleanField(_("include inactive clients"), default=False)
    # So often a client is tried before it fails for a reason that passes by itself.
    tries = models.PositiveSmallIntegerField(default=1, db_default=1)
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=State,
        default=State.RUNNING,
        db_default=State.RUNNING,
        db_index=True,
    )
    # Who paused, resumed, stopped or retried it last, and when.
    steered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    steered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(_("started"), default=timezone.now)
    # When a worker last began or ended a batch of it, or it was handed to the workers.
    worked_at = models.DateTimeField(default=timezone.now, db_default=Now())
    finished_at = models.DateTimeField(_("finished"), null=True)

    total: int
    done: int
    failed: int
    mismatched: int

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = _("run")
        verbose_name_plural = _("runs")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def named(self) -> Message:
        """Its kind and number as part of a sentence."""
        return sentences.RUNS[self.kind](id=str(self.pk))

    def add_items(self, chosen: Iterable[tuple[int, str]]) -> int:
        """One item a client (id, slug), in batches; answers with the number of batches."""
        numbered = enumerate(chosen)
        last = -1
        while some := list(islice(numbered, ITEMS_AT_ONCE)):
            items = [
                RunItem(run=self, client_id=pk, slug=slug, batch=position // self.BATCH)
                for position, (pk, slug) in some
            ]
            RunItem.objects.bulk_create(items)
            last = items[-1].batch
        return last + 1

    def pause(self, *, by: User | None) -> None:
        """Workers leave it alone once they are through the batches they have."""
        self._steer(by, Run.State.PAUSED, Run.State.RUNNING)

    def resume(self, *, by: User | None) -> None:
        """The caller hands it to the workers again, in the same transaction."""
        self._steer(by, Run.State.RUNNING, Run.State.PAUSED)

    def stop(self, *, by: User | None) -> None:
        """For good: what is open is to be closed by `operations.running.close_stopped`."""
        self._steer(by, Run.State.STOPPED, Run.State.RUNNING, Run.State.PAUSED)

    def retry_failed(self, *, by: User | None, item_id: int | None = None) -> None:
        """Opens its failed items, or one, again; the caller hands it to the workers, in the same transaction."""
        failed = self.items.filter(outcome=Outcome.FAILED)
        if item_id is not None:
            failed = failed.filter(pk=item_id)
        if not failed.exists():
            self._refuse(Run.State.RUNNING)
        self._steer(by, Run.State.RUNNING, Run.State.FINISHED, Run.State.STOPPED, finished_at=None)
        failed.update(
            outcome="",
            error_class="",
            message=None,
            comparison_status="",
            attempts=0,
            next_try_at=None,
            finished_at=None,
        )

    def _steer(self, by: User | None, new: State, *old: State, **fields: Any) -> None:
        """Compare-and-set; StaleRunError where somebody was faster."""
        now = timezone.now()
        # A run that is stopped and not yet over is not taken up again: workers may still end their batches.
        is_over = "finished_at" in fields
        fields |= {"state": new, "steered_by": by, "steered_at": now, "worked_at": now}
        found = Run.objects.filter(pk=self.pk, state__in=old, finished_at__isnull=not is_over)
        if found.update(**fields) != 1:
            self._refuse(new)
        for name, value in fields.items():
            setattr(self, name, value)

    def _refuse(self, wanted: State) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StaleRunError(self, wanted)

    def finish_if_done(self) -> bool:
        """True for the one caller after whom no item is open."""
        open_items = RunItem.objects.open().filter(run_id=models.OuterRef("pk"))
        unfinished = Run.objects.filter(~models.Exists(open_items), pk=self.pk, finished_at=None)
        stays = models.When(state=Run.State.STOPPED, then=models.F("state"))
        return (
            unfinished.update(
                finished_at=timezone.now(),
                state=models.Case(stays, default=models.Value(Run.State.FINISHED)),
            )
            == 1
        )

    def counts(self) -> dict[str, int]:
        """How many items had each outcome, and how many comparisons matched or did not; zeros included."""
        rows = (
            self.items.order_by()
            .values_list("outcome", "comparison_status")
            .annotate(number=models.Count("*"))
        )
        counts = {
            "clients": 0,
            **{outcome.value: 0 for outcome in Outcome},
            "matched": 0,
            "mismatched": 0,
        }
        for outcome, status, number in rows:
            counts["clients"] += number
            if outcome:
                counts[outcome] += number
            if status == Comparison.Status.MATCH:
                counts["matched"] += number
            elif status in Comparison.DIFFERS:
                counts["mismatched"] += number
        return counts

    items: Any


class RunItemQuerySet(models.QuerySet["RunItem"]):
    def open(self) -> Self:
        return self.filter(outcome="")

    def free(self) -> Self:
        """Those whose turn it is: not those that are to be tried again later."""
        later = models.Q(next_try_at__gt=timezone.now())
        return self.open().exclude(later)

    def next_try_at(self) -> datetime | None:
        """When the first open item is to be tried again."""
        first: datetime | None = self.open().aggregate(first=models.Min("next_try_at"))["first"]
        return first

    def record(self, items: Iterable[RunItem]) -> None:
        """Stores outcomes, or when to try again; an item that has an outcome keeps it (a task may come twice)."""
        rows = list(items)
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE migration_runitem AS item
                SET outcome = new.outcome, error_class = new.error_class, message = new.message::jsonb,
                    comparison_status = new.comparison_status, attempts = new.attempts,
                    next_try_at = new.next_try_at,
                    finished_at = CASE WHEN new.outcome <> '' THEN %s::timestamptz END
                FROM unnest(
                    %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[],
                    %s::timestamptz[]
                ) AS new (
                    id, outcome, error_class, message, comparison_status, attempts, next_try_at
                )
                WHERE item.id = new.id AND item.outcome = ''
                """,
                [
                    now,
                    [row.pk for row in rows],
                    [row.outcome for row in rows],
                    [row.error_class for row in rows],
                    [row.message and json.dumps(row.message.to_json()) for row in rows],
                    [row.comparison_status for row in rows],
                    [row.attempts for row in rows],
                    [row.next_try_at for row in rows],
                ],
            )


class RunItem(models.Model):
    """One client in a run."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="items")
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="run_items"
    )
    slug = models.CharField(_("slug"), max_length=100)
    batch = models.PositiveIntegerField()
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    error_class = models.CharField(
        _("error class"),
        max_length=16,
        blank=True,
        choices=[(c.value, c.value) for c in ErrorClass],
    )
    message = MessageField(_("message"), null=True)
    comparison_status = models.CharField(
        _("comparison"), max_length=20, choices=Comparison.Status, blank=True
    )
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = RunItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["run", "outcome"], name="item_outcome"),
            models.Index(
                fields=["run", "batch"], name="open_item_batch", condition=models.Q(outcome="")
            ),
        ]
        verbose_name = _("item")
        verbose_name_plural = _("items")

    def __str__(self) -> str:
        return f"{self.slug} in {self.run_id}"

    def try_again(self) -> None:
        """Leaves it open, and for longer with every attempt."""
        self.outcome = ""
        # No timedelta holds the first wait doubled 46 times.
        wait = min(FIRST_WAIT * 2 ** min(self.attempts, 16), LONGEST_WAIT)
        self.attempts += 1
        self.next_try_at = timezone.now() + wait
