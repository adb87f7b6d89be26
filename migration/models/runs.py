"""Owns runs: one request over many clients, which workers process batch by batch."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration import audit_sentences, sentences
from migration.models.audit_actors import Actor, acting, current_actor
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.comparisons import Comparison
from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from migration.models.run_items import Outcome, RunItem, RunItemQuerySet, is_left_out
from nova_credentials.messages import Message, MessageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

    from migration.models.clients import ClientPhaseQuerySet
    from migration.models.run_plans import RunPlan

SWEEPS_ARE_KEPT = timedelta(days=2)
# Working workers begin or end a batch more often than this.
STALLED_AFTER = timedelta(seconds=60)
# Enough for about an hour.
MANY_TRIES = 60
# Items are made in portions, so that memory doesn't grow with the number of clients.
ITEMS_AT_ONCE = 1000


class StaleRunError(MessageError):
    """The run is in another state: somebody paused, resumed or stopped it meanwhile, or it finished."""

    def __init__(self, run: Run, wanted: Run.State) -> None:
        super().__init__(
            sentences.RUN_IN_OTHER_STATE(run=run.name_message, state=run.state, wanted=wanted)
        )
        self.run = run


class RunQuerySet(models.QuerySet["Run"]):
    def stalled(self) -> Self:
        """Select running or stopped runs that no worker has worked on for STALLED_AFTER."""
        before = timezone.now() - STALLED_AFTER
        return self.filter(
            state__in=(Run.State.RUNNING, Run.State.STOPPED),
            finished_at=None,
            worked_at__lt=before,
        )

    def held_by_writes(self) -> Self:
        """Select the running runs that write to AWS, which wait while this site may not."""
        writes = [kind for kind in Run.Kind if kind != Run.Kind.COMPARE]
        return self.filter(state=Run.State.RUNNING, finished_at=None, kind__in=writes)

    def record_work(self, run_id: int) -> None:
        """Note that a worker works on the run."""
        self.filter(pk=run_id).update(worked_at=timezone.now())

    def forget_sweeps(self) -> None:
        """Delete the schedule's comparison runs of more than two days ago, with their items."""
        before = timezone.now() - SWEEPS_ARE_KEPT
        self.filter(by_name="", kind=Run.Kind.COMPARE, created_at__lt=before).delete()

    def with_counts(self) -> Self:
        """Annotate `total`, `done` (without what a stop left out), `failed` and `mismatched`."""
        count = models.Count
        return self.annotate(
            total=count("items"),
            done=count("items", filter=~models.Q(items__outcome=""))
            - count("items", filter=is_left_out("items__")),
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

    # Large enough for few statements a client, small enough that repeating a batch is cheap.
    BATCH = 100

    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("started by"),
    )
    by_name = KeptNameField("by", _("started by"))
    adopt = models.BooleanField(_("adopt secrets that are not ours"), default=False)
    # Also clients that are known to differ, where somebody else wrote AWS's version.
    overwrite = models.BooleanField(
        _("overwrite what somebody else wrote"), default=False, db_default=False
    )
    include_inactive = models.BooleanField(_("include inactive clients"), default=False)
    # The number of times that a client is tried if its error may pass by itself.
    tries = models.PositiveSmallIntegerField(default=1, db_default=1)
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=State,
        default=State.RUNNING,
        db_default=State.RUNNING,
        db_index=True,
    )
    # The last user who paused, resumed, stopped or retried it, and when.
    steered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    steered_by_name = KeptNameField("steered_by")
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
        constraints: ClassVar = [
            require_kept_name("run", "by"),
            require_kept_name("run", "steered_by"),
        ]
        verbose_name = _("run")
        verbose_name_plural = _("runs")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def writes_to_aws(self) -> bool:
        return self.kind != Run.Kind.COMPARE

    @property
    def name_message(self) -> Message:
        """Return its kind and number as part of a sentence."""
        return sentences.RUNS[self.kind](id=str(self.pk))

    @classmethod
    def start(
        cls,
        *,
        kind: Kind,
        chosen: ClientPhaseQuerySet,
        by: User | None = None,
        adopt: bool = False,
        overwrite: bool = False,
        include_inactive: bool = False,
        tries: int = 1,
        plan: RunPlan | None = None,
    ) -> Self:
        """Store a run over the chosen clients, with an item for each. Workers learn of it by `tasks.enqueue`."""
        with transaction.atomic():
            run = cls.objects.create(
                kind=kind,
                by=by,
                adopt=adopt,
                overwrite=overwrite,
                include_inactive=include_inactive,
                tries=tries,
            )
            if plan:
                plan.attach_to(run)
            rows = chosen.order_by("pk").values_list("pk", "slug")
            run.add_items(rows.iterator(chunk_size=ITEMS_AT_ONCE))
            run.finish_if_done()
            if by:  # those of the schedule are too many to be told from each other
                run.record_act(audit_sentences.RUN_STARTED(run=run.name_message), by=by)
        return run

    def add_items(self, chosen: Iterable[tuple[int, str]]) -> None:
        """Add an item for each client (id, slug), a hundred to a batch."""
        numbered = enumerate(chosen)
        while some := list(islice(numbered, ITEMS_AT_ONCE)):
            RunItem.objects.bulk_create(
                RunItem(run=self, client_id=pk, slug=slug, batch=position // self.BATCH)
                for position, (pk, slug) in some
            )

    def count_open_batches(self) -> int:
        """Count the batches that have an open item."""
        return self.items.open().values("batch").distinct().count()

    def pause(self, *, by: User | None) -> None:
        """Pause it: workers finish the batches that they hold and claim no others."""
        self._change_state(by, Run.State.PAUSED, Run.State.RUNNING)

    def resume(self, *, by: User | None) -> None:
        """Let a paused run go on; the caller enqueues it again."""
        self._change_state(by, Run.State.RUNNING, Run.State.PAUSED)

    def stop(self, *, by: User | None) -> None:
        """Stop it until somebody goes on with it; its open items are skipped by `operations.runs.skip_open_items`."""
        self._change_state(by, Run.State.STOPPED, Run.State.RUNNING, Run.State.PAUSED)

    def retry_failed(self, *, by: User | None, item_id: int | None = None) -> None:
        """Open its failed items again, or one of them; the caller enqueues it again."""
        failed = self.items.filter(outcome=Outcome.FAILED)
        if item_id is not None:
            failed = failed.filter(pk=item_id)
        self._open_again(failed, by=by)

    def go_on(self, *, by: User | None, with_failed: bool = False) -> None:
        """Open again what a stop or an interruption left out, on request the failed too; the caller enqueues it."""
        rest = self.items.left_out()
        if with_failed:
            rest |= self.items.filter(outcome=Outcome.FAILED)
        self._open_again(rest, by=by)

    def _open_again(self, items: RunItemQuerySet, *, by: User | None) -> None:
        """Let a run that is over go on with these items; raises StaleRunError where it is not over, or none is left."""
        with transaction.atomic():
            if not items.exists():
                self._raise_stale(Run.State.RUNNING)
            self._change_state(
                by, Run.State.RUNNING, Run.State.FINISHED, Run.State.STOPPED, finished_at=None
            )
            items.open_again()

    def _change_state(self, by: User | None, new: State, *old: State, **fields: Any) -> None:
        """Set the state if it is one of `old`; raises StaleRunError where it is not."""
        now = timezone.now()
        # A stopped run that is not finished yet cannot be retried: workers may still finish their batches.
        is_over = "finished_at" in fields
        fields |= {"state": new, "steered_by": by, "steered_by_name": get_kept_name(by)}
        fields |= {"steered_at": now, "worked_at": now}
        found = Run.objects.filter(pk=self.pk, state__in=old, finished_at__isnull=not is_over)
        with transaction.atomic():
            if changed := found.update(**fields):
                state = audit_sentences.RUN_STEERED(run=self.name_message, state=new.value)
                self.record_act(state, by=by)
        if not changed:
            self._raise_stale(new)
        for name, value in fields.items():
            setattr(self, name, value)

    def record_act(self, facts: Message, *, by: User | None) -> None:
        """Record in the audit what was done with the run, under the name that its entries share."""
        actor = current_actor()
        with acting(Actor(actor.origin, f"run {self.pk}", actor.find_name)):
            AuditEvent.objects.record(AuditCode.RUN, facts, by=by)

    def _raise_stale(self, wanted: State) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StaleRunError(self, wanted)

    def finish_if_done(self) -> bool:
        """Finish it where no item is open; True for the one caller that did."""
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

    def count_items(self) -> dict[str, int]:
        """Count the items by outcome, and the comparisons that matched and that did not; zeros included."""
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

    items: RunItemQuerySet
