"""Runs: one request over many clients, and what became of each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.runtime.secrets_manager import ErrorClass
from migration.models.comparisons import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable


SWEEPS_ARE_KEPT = timedelta(days=2)


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


class RunQuerySet(models.QuerySet["Run"]):
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
    created_at = models.DateTimeField(_("started"), default=timezone.now)
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

    def add_items(self, chosen: Iterable[tuple[int, str]]) -> int:
        """One item a client (id, slug), in batches; answers with the number of batches."""
        items = [
            RunItem(run=self, client_id=pk, slug=slug, batch=position // self.BATCH)
            for position, (pk, slug) in enumerate(chosen)
        ]
        RunItem.objects.bulk_create(items, batch_size=1000)
        return items[-1].batch + 1 if items else 0

    def finish_if_done(self) -> bool:
        """True for the one caller after whom no item is open."""
        open_items = RunItem.objects.open().filter(run_id=models.OuterRef("pk"))
        unfinished = Run.objects.filter(~models.Exists(open_items), pk=self.pk, finished_at=None)
        return unfinished.update(finished_at=timezone.now()) == 1

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

    def close(self, items: Iterable[RunItem]) -> None:
        """Stores the outcomes; an item that has one already keeps it (a task may be delivered twice)."""
        rows = list(items)
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE migration_runitem AS item
                SET outcome = new.outcome, error_class = new.error_class, message = new.message,
                    comparison_status = new.comparison_status, finished_at = %s
                FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])
                    AS new (id, outcome, error_class, message, comparison_status)
                WHERE item.id = new.id AND item.outcome = ''
                """,
                [
                    now,
                    [row.pk for row in rows],
                    [row.outcome for row in rows],
                    [row.error_class for row in rows],
                    [row.message for row in rows],
                    [row.comparison_status for row in rows],
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
    message = models.TextField(_("message"), blank=True)
    comparison_status = models.CharField(
        _("comparison"), max_length=20, choices=Comparison.Status, blank=True
    )
    finished_at = models.DateTimeField(_("finished"), null=True)

    objects = RunItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["run", "outcome"], name="item_outcome")]
        verbose_name = _("item")
        verbose_name_plural = _("items")

    def __str__(self) -> str:
        return f"{self.slug} in {self.run_id}"
