"""Measures the progress of a run, and says what it waits for. One query a run, or two or three."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, JSONObject
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import intcomma
from migration.core.aws_writes import find_write_refusal
from migration.core.comparisons import Comparison
from migration.core.rates import Rate
from migration.core.sentences import NO_WORKER, RUN_WITHDRAWN
from migration.core.workers import Worker
from migration.runs.engine import is_in_work, list_runs_in_work
from migration.runs.items import CAN_BE_RETRIED, Outcome, RunItem, is_due, was_never_begun
from migration.runs.models import STALLED_AFTER, Run
from nova_credentials.messages import Message, Sentence, in_a_row

# Long enough for some batches to end in it, short enough to give the present rate.
LATELY = timedelta(seconds=30)
# Below this the rate is too uncertain to estimate the rest.
ESTIMATE_FROM_PERCENT = 1
# A run that makes this share of the calls that the rate allows is as fast as it can be.
NEARLY_ALL = 0.8
# Before this the first calls, which need no turn, count for too much.
MEASURED_AFTER_SECONDS = 10
# The outcomes whose clients cost a call of that kind, and for how many clients one call is enough.
CALLS = {
    Rate.Kind.CREATE: (Outcome.CREATED, 1),
    Rate.Kind.WRITE: (Outcome.UPDATED, 1),
    Rate.Kind.READ: (Outcome.COMPARED, 20),
    Rate.Kind.LOGIN: (Outcome.TESTED, 1),
}

# The number of a run's items with one outcome, comparison status and error class, and when they are retried.
ItemGroup = dict[str, Any]
COLUMNS = ("outcome", "comparison_status", "error_class", "why", "number", "in_work", "left_out", "withdrawn", "lately",
           "next_try_at")  # fmt: skip


def select_runs_for_progress() -> QuerySet[Run]:
    """Select runs with the annotations that `measure_progress` needs."""
    throttled = Rate.objects.order_by("-throttled_at").values("throttled_at")[:1]
    seen = Worker.objects.taking_tasks().order_by("-seen_at").values("seen_at")[:1]
    return Run.objects.annotate(
        throttled_at=Subquery(throttled),
        worker_seen_at=Subquery(seen),
        **{
            f"{kind}_rate": Subquery(Rate.objects.filter(kind=kind).values("per_second"))
            for kind in Rate.Kind
        },
    )


def measure_progress(run: Run) -> Progress:
    """Measure the progress of a run of `select_runs_for_progress()`, in one query."""
    return Progress(run, [dict(group) for group in _group_items(run.items.all())])


def find_progress(run_id: int, runs: QuerySet[Run] | None = None) -> Progress | None:
    """Read a run with its progress in a single query, as a page asks for it every second; None without the run.

    `runs`: of `select_runs_for_progress()`, with more columns.
    """
    found = select_runs_for_progress() if runs is None else runs
    return next(iter(list_progress(found.filter(pk=run_id))), None)


def list_progress(runs: QuerySet[Run]) -> list[Progress]:
    """Read these runs, of `select_runs_for_progress()`, with their progress in a single query."""
    items = _group_items(RunItem.objects.filter(run=OuterRef("pk")))
    rows = items.values(row=JSONObject(**{name: name for name in COLUMNS}))
    return [
        Progress(run, [*map(_read_group, run.item_groups)])
        for run in runs.annotate(item_groups=ArraySubquery(rows))
    ]


def _read_group(group: ItemGroup) -> ItemGroup:
    text = group["next_try_at"]
    return group | {"next_try_at": text and datetime.fromisoformat(text)}


def _group_items(items: QuerySet[RunItem]) -> QuerySet[Any, ItemGroup]:
    """Count the items of a run by outcome, status of the comparison and class of the error."""
    grouped: QuerySet[Any, Any] = (
        items.order_by()
        .values("outcome", "comparison_status", "error_class")
        .annotate(
            # One message of the items to be retried, as text, as PostgreSQL has no min() of jsonb.
            why=Min(Cast("message", TextField()), filter=Q(next_try_at__isnull=False)),
            number=Count("pk"),
            in_work=Count("pk", filter=is_due() & is_in_work()),
            left_out=Count("pk", filter=was_never_begun()),
            withdrawn=Count("pk", filter=was_never_begun(keys=[RUN_WITHDRAWN.key])),
            lately=Count("pk", filter=Q(finished_at__gt=timezone.now() - LATELY)),
            next_try_at=Min("next_try_at"),
        )
    )
    return grouped


PLAN_TO_START = Sentence("plan_to_start", "Planned: it begins once somebody starts it.")
RUN_REQUESTED = Sentence("run_requested", "Requested. It begins once someone else approves it.")
RUN_PAUSED = Sentence("run_paused", "Paused. Resume or stop it.")
RUN_STOPPING = Sentence("run_stopping", "Stopping: workers finish their current batches.")
BATCHES_TAKE_LONG = Sentence(
    "batches_take_long", "Batches are slow: AWS responds late, or the rate is low."
)
WORKER_GONE = Sentence(
    "worker_gone", "The worker is gone or busy with other runs; this run continues within a minute."
)
WORKERS_ARE_BUSY = Sentence(
    "workers_are_busy",
    "The workers are on other runs; this run continues once one of them is free.",
)
TRIED_AGAIN = Sentence(
    "tried_again",
    "Retrying %(n)s clients in %(wait)s s: %(why)s",
    one="Retrying %(n)s client in %(wait)s s: %(why)s",
)
TRIED_AGAIN_WITHOUT_REASON = Sentence(
    "tried_again_without_reason",
    "Retrying %(n)s clients in %(wait)s s.",
    one="Retrying %(n)s client in %(wait)s s.",
)
THROTTLED = Sentence("throttled", "AWS throttles (ThrottlingException); all workers slow down.")
RATE_REACHED = {
    "create": Sentence(
        "rate_reached_create", "The rate allows no more: %(rate)s new secrets a second."
    ),
    "write": Sentence("rate_reached_write", "The rate allows no more: %(rate)s updates a second."),
    "read": Sentence(
        "rate_reached_read", "The rate allows no more: %(rate)s batch reads a second."
    ),
    "login": Sentence("rate_reached_login", "The rate allows no more: %(rate)s logins a second."),
}


@dataclass(frozen=True)
class Progress:
    """The progress of a run: its items counted by outcome, comparison and error class."""

    run: Run
    groups: list[ItemGroup]

    def count_items(
        self, outcomes: Collection[str], statuses: Collection[str] | None = None
    ) -> int:
        return sum(
            group["number"]
            for group in self.groups
            if group["outcome"] in outcomes
            and (statuses is None or group["comparison_status"] in statuses)
        )

    @cached_property
    def total(self) -> int:
        return sum(group["number"] for group in self.groups)

    @cached_property
    def open(self) -> int:
        """Return the number of items without an outcome: in work, or waiting for their turn or their next try."""
        return self.count_items([""])

    @cached_property
    def in_work(self) -> int:
        """Return the number of open items of the batches that workers hold now."""
        return sum(group["in_work"] for group in self.groups)

    @property
    def waiting(self) -> int:
        """Return the number of open items that no worker holds: they wait for their turn, or their next try."""
        return self.open - self.in_work

    @cached_property
    def items_never_begun(self) -> int:
        """Return the number of items that nobody began: the run was stopped, interrupted or never approved."""
        return sum(group["left_out"] for group in self.groups)

    @property
    def open_or_left_out(self) -> int:
        """Return the number of items that are open or were left out."""
        return self.open + self.items_never_begun

    @property
    def skipped(self) -> int:
        """Return the number of clients for which there was nothing to do."""
        return self.count_items([Outcome.SKIPPED]) - self.items_never_begun

    @property
    def done(self) -> int:
        return self.total - self.open_or_left_out

    @cached_property
    def failed(self) -> int:
        return self.count_items([Outcome.FAILED])

    @cached_property
    def refused(self) -> int:
        """Return the number of clients of a run of moves whose gate was shut."""
        return self.count_items([Outcome.REFUSED])

    @cached_property
    def mismatched(self) -> int:
        return self.count_items(["", *Outcome], Comparison.DIFFERS)

    @property
    def succeeded(self) -> int:
        """Return the number of items that were processed without a failure or a mismatch."""
        processed = [o for o in Outcome if o not in (Outcome.SKIPPED, *CAN_BE_RETRIED)]
        matching = [s for s in ("", *Comparison.Status) if s not in Comparison.DIFFERS]
        return self.count_items(processed, matching)

    @cached_property
    def failed_by_class(self) -> dict[str, int]:
        """Return the number of failed items by error class, the largest first."""
        counts: dict[str, int] = {}
        for group in self.groups:
            if group["outcome"] == Outcome.FAILED:
                name = group["error_class"]
                counts[name] = counts.get(name, 0) + group["number"]
        return dict(sorted(counts.items(), key=lambda pair: -pair[1]))

    @property
    def percent(self) -> float:
        """Return how much is done, to a tenth; 100 is said of no run that has something left."""
        if self.done >= self.total:
            return 100
        return min(99.9, round(100 * self.done / self.total, 1))

    @property
    def shares(self) -> dict[str, str]:
        """Return the parts of the bar as per cent of all clients, each for its own style; the rest is not done.

        They are texts for a style sheet, which has a point in every language.
        """
        bad = self.done - self.succeeded - self.skipped
        parts = {"done": self.succeeded, "bad": bad, "skipped": self.skipped, "work": self.in_work}
        return {name: f"{100 * n / self.total:.2f}" for name, n in parts.items() if n > 0}

    @property
    def finished(self) -> bool:
        return self.run.finished_at is not None

    @property
    def elapsed_seconds(self) -> float:
        """Return the seconds from its begin to its end, or until now; a request has not waited for its approval."""
        began_at = self.run.began_at or self.run.created_at
        return ((self.run.finished_at or timezone.now()) - began_at).total_seconds()

    @property
    def per_second(self) -> float | None:
        """Return the items per second: of the whole run once it is finished, before that of the last LATELY.

        None of a requested run: nobody works on it, and who left it was moved otherwise.
        """
        if self.run.state == Run.State.REQUESTED:
            return None
        if self.finished:
            return (
                self.done / self.elapsed_seconds if self.done and self.elapsed_seconds > 0 else None
            )
        lately = sum(group["lately"] for group in self.groups)
        return lately / min(self.elapsed_seconds, LATELY.total_seconds()) if lately else None

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds that it still needs; None where it is finished or too early to estimate."""
        if (
            self.finished
            or not self.per_second
            or 100 * self.done < ESTIMATE_FROM_PERCENT * self.total
        ):
            return None
        return self.open / self.per_second

    @property
    def worker_seen_at(self) -> datetime | None:
        return self.run.worker_seen_at  # type: ignore[attr-defined,no-any-return]  # annotated

    @property
    def worker_is_gone(self) -> bool:
        seen = self.worker_seen_at
        return seen is None or timezone.now() - seen > Worker.GONE_AFTER

    @property
    def groups_awaiting_retry(self) -> list[ItemGroup]:
        """Return the groups of open items that wait for a retry, the next one first."""
        again = [g for g in self.groups if not g["outcome"] and g["next_try_at"]]
        return sorted(again, key=lambda group: group["next_try_at"])

    @property
    def delay_reason(self) -> Message | None:
        """Say why the run waits or is slow; None where it does neither."""
        if self.finished:
            return None
        if self.run.state == Run.State.PLANNING:
            is_idle = self._is_idle_for(Worker.GONE_AFTER)
            return NO_WORKER() if self.worker_is_gone and is_idle else None
        if self.run.state == Run.State.PLANNED:
            return PLAN_TO_START()
        if self.run.state == Run.State.REQUESTED:
            return RUN_REQUESTED()
        if self.run.state == Run.State.PAUSED:
            return RUN_PAUSED()
        writes = self.run.state == Run.State.RUNNING and self.run.needs_aws_writes_allowed
        if writes and (refusal := find_write_refusal()):
            return refusal
        idle = self._explain_idle_run()
        if self.run.state == Run.State.STOPPED:
            return in_a_row(RUN_STOPPING(), idle)
        if why := idle or self._explain_retries():
            return why
        throttled_at = self.run.throttled_at  # type: ignore[attr-defined]  # annotated
        if throttled_at and timezone.now() - throttled_at < LATELY:
            return THROTTLED()
        return self._explain_rate()

    def _explain_idle_run(self) -> Message | None:
        gone = self.worker_is_gone and self._is_idle_for(Worker.GONE_AFTER)
        if not gone and not self._is_idle_for(STALLED_AFTER):
            return None
        in_work = list_runs_in_work()
        if self.run.pk in in_work:
            return BATCHES_TAKE_LONG()
        if gone:
            return NO_WORKER()
        return WORKERS_ARE_BUSY() if in_work else WORKER_GONE()

    def _is_idle_for(self, time: timedelta) -> bool:
        return timezone.now() - self.run.worked_at > time

    def _explain_retries(self) -> Message | None:
        again = self.groups_awaiting_retry
        if not again:
            return None
        number = sum(group["number"] for group in again)
        wait = max(0, (again[0]["next_try_at"] - timezone.now()).total_seconds())
        why = again[0]["why"]
        if not why:
            return TRIED_AGAIN_WITHOUT_REASON(n=number, wait=round(wait))
        reason = Message.from_json(json.loads(why))
        return TRIED_AGAIN(n=number, wait=round(wait), why=reason)

    def _explain_rate(self) -> Message | None:
        if self.elapsed_seconds < MEASURED_AFTER_SECONDS:
            return None
        seconds = min(self.elapsed_seconds, LATELY.total_seconds())
        for kind, (outcome, clients_a_call) in CALLS.items():
            rate = getattr(self.run, f"{kind}_rate") or kind.default_rate
            lately = sum(group["lately"] for group in self.groups if group["outcome"] == outcome)
            if lately / clients_a_call >= NEARLY_ALL * rate * seconds:
                return RATE_REACHED[kind](rate=int(rate) if rate == int(rate) else rate)
        return None

    @property
    def counts(self) -> list[str]:
        """Return in words each number of clients that is not 0. Only those whose stores differ may be in two."""
        numbers = (
            (self.succeeded, ngettext("%(n)s done", "%(n)s done", self.succeeded)),
            (self.failed, ngettext("%(n)s failed", "%(n)s failed", self.failed)),
            (self.refused, ngettext("%(n)s refused", "%(n)s refused", self.refused)),
            (self.mismatched, ngettext("%(n)s differs", "%(n)s differ", self.mismatched)),
            (self.skipped, ngettext("%(n)s skipped", "%(n)s skipped", self.skipped)),
            (self.in_work, _("%(n)s in progress")),
            (self.waiting, _("%(n)s waiting")),
            (self.items_never_begun, _("%(n)s not started")),
        )
        return [text % {"n": intcomma(number)} for number, text in numbers if number]
