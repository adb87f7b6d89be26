"""Owns plans: what a run over many clients would do with each, found out before it starts. Never a value."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self
from uuid import uuid4

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration import audit_sentences, plan_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from migration.models.planned_clients import PlanCounts, PlannedClient, PlanRow, PlanRowQuerySet
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from django.contrib.auth.models import User

    from migration.models.runs import Run
    from nova_credentials.messages import Sentence

# Longer than a look at thousands of clients takes at AWS's read quota.
PLAN_STALLED_AFTER = timedelta(minutes=5)
PLANS_ARE_KEPT = timedelta(days=30)
# So many of a plan's clients are in memory at once.
CLIENTS_AT_ONCE = 500


class PlanInOtherStateError(MessageError):
    """The plan is in another state: somebody started or discarded it meanwhile, or it isn't made yet."""

    def __init__(self, plan: RunPlan) -> None:
        state = str(RunPlan.State(plan.state).value)
        super().__init__(plan_sentences.PLAN_IN_OTHER_STATE(id=str(plan.pk), state=state))


class RunPlanQuerySet(models.QuerySet["RunPlan"]):
    def open(self) -> Self:
        """Select the plans that are neither started nor discarded."""
        return self.filter(state__in=RunPlan.OPEN)

    def defer_client_columns(self) -> Self:
        """Defer the columns that grow with the number of clients: they are read once they are used."""
        return self.defer("chosen", "differences")

    def stalled(self) -> Self:
        """Select the plans whose look was not ended for PLAN_STALLED_AFTER."""
        before = timezone.now() - PLAN_STALLED_AFTER
        return self.defer_client_columns().filter(state__in=RunPlan.LOOKING, worked_at__lt=before)

    def forget_old(self) -> None:
        """Delete the plans older than PLANS_ARE_KEPT that no run was started from."""
        before = timezone.now() - PLANS_ARE_KEPT
        self.filter(run=None, created_at__lt=before).delete()


class RunPlan(models.Model):
    """The plan of one run: made by a look at both stores, kept with the run that was started from it."""

    class State(models.TextChoices):
        MAKING = "making", _("Being made")
        READY = "ready", _("Ready")
        CHECKING = "checking", _("Being looked at again")
        DIFFERS = "differs", _("No longer as planned")
        STARTED = "started", _("Started")
        DISCARDED = "discarded", _("Discarded")

    LOOKING = (State.MAKING, State.CHECKING)
    OPEN = (*LOOKING, State.READY, State.DIFFERS)

    run = models.OneToOneField("Run", models.SET_NULL, null=True, related_name="plan")
    # As if somebody had adopted, before the run, the secrets that are not ours.
    adopt = models.BooleanField(default=False)
    overwrite = models.BooleanField(default=False)
    include_inactive = models.BooleanField(default=False)
    # The ids of the clients that were chosen; null: all that there are.
    chosen = models.JSONField(null=True)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.MAKING)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # Who has it started; the run is that user's.
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    started_by_name = KeptNameField("started_by")
    created_at = models.DateTimeField(default=timezone.now)
    made_at = models.DateTimeField(null=True)
    # The look that it was made by, whose rows are its own; and the `PlanCounts` of that look.
    look = models.UUIDField(null=True)
    counts = models.JSONField(default=dict, db_default={})
    # What was found otherwise when it was to be started, and when.
    differences = models.JSONField(default=list)
    checked_at = models.DateTimeField(null=True)
    # When the present look was begun, or its batch ended.
    worked_at = models.DateTimeField(default=timezone.now, db_default=Now())

    objects = RunPlanQuerySet.as_manager()

    class Meta:
        # Its pages and permissions are the runs'.
        default_permissions = ()
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            require_kept_name("runplan", "by"),
            require_kept_name("runplan", "started_by"),
        ]

    def __str__(self) -> str:
        return f"plan {self.pk}"

    @classmethod
    def store_request(
        cls,
        *,
        by: User | None,
        chosen: Collection[int] | None,
        overwrite: bool = False,
        include_inactive: bool = False,
    ) -> Self:
        """Store a plan that is still to be made, over the chosen clients or all."""
        with transaction.atomic():
            plan = cls.objects.create(
                by=by,
                chosen=None if chosen is None else sorted(chosen),
                overwrite=overwrite,
                include_inactive=include_inactive,
            )
            plan.record_act(audit_sentences.PLAN_REQUESTED, by=by)
        return plan

    @property
    def is_open(self) -> bool:
        return self.state in RunPlan.OPEN

    @property
    def is_looking(self) -> bool:
        return self.state in RunPlan.LOOKING

    @property
    def rows(self) -> PlanRowQuerySet:
        """Select what its latest look found, a row for each client; none before the first look has ended."""
        return PlanRow.objects.filter(plan=self.pk, look=self.look)  # type: ignore[misc]  # no row has NULL

    def list_clients(self) -> list[PlannedClient]:
        """Return all clients of the plan at once."""
        return self.rows.list_clients()

    def iterate_clients(self) -> Iterator[PlannedClient]:
        """Yield the clients of the plan, with some of them in memory at a time."""
        contents = self.rows.order_by("client_id").values_list("content", flat=True)
        for content in contents.iterator(chunk_size=CLIENTS_AT_ONCE):
            yield PlannedClient.from_json(content)

    def read_counts(self) -> PlanCounts:
        """Return the counts of the plan, as they were stored."""
        return PlanCounts.from_json(self.counts)

    def finish_making(self, batches: Iterable[Collection[PlannedClient]]) -> None:
        """Store these clients as the plan, batch by batch; raises PlanInOtherStateError if another worker made it.

        Two workers may look at the same plan: each has rows of its own, and those of the one that is late are deleted.
        """
        look, counts = uuid4(), PlanCounts()
        for found in batches:
            PlanRow.objects.add(self.pk, look, found)
            counts.add(found)
        made = {"look": look, "counts": counts.to_json(), "made_at": timezone.now()}
        own = PlanRow.objects.filter(plan=self.pk, look=look)
        try:
            self._change_state(RunPlan.State.READY, RunPlan.State.MAKING, **made)
        except PlanInOtherStateError:
            own.delete()
            raise
        PlanRow.objects.filter(plan=self.pk).exclude(look=look).delete()

    def begin_check(self, *, by: User | None) -> None:
        """Have it looked at again before it starts."""
        self._change_state(
            RunPlan.State.CHECKING,
            RunPlan.State.READY,
            started_by=by,
            started_by_name=get_kept_name(by),
        )

    def end_check_as_differing(self, differences: Collection[dict[str, object]]) -> None:
        """Keep what is not as planned; a user starts it all the same, or makes another plan."""
        self._change_state(
            RunPlan.State.DIFFERS,
            RunPlan.State.CHECKING,
            differences=list(differences),
            checked_at=timezone.now(),
        )

    def attach_to(self, run: Run) -> None:
        """Mark it as started with this run, in the run's transaction; raises PlanInOtherStateError."""
        self._change_state(
            RunPlan.State.STARTED,
            RunPlan.State.READY,
            RunPlan.State.CHECKING,
            RunPlan.State.DIFFERS,
            run=run,
        )
        self.record_act(audit_sentences.PLAN_STARTED, by=run.by)

    def discard(self, *, by: User | None) -> None:
        """Close it without a run."""
        with transaction.atomic():
            self._change_state(RunPlan.State.DISCARDED, *RunPlan.OPEN)
            self.record_act(audit_sentences.PLAN_DISCARDED, by=by)

    def record_worked_at(self) -> None:
        """Note that its look goes on."""
        RunPlan.objects.filter(pk=self.pk).update(worked_at=timezone.now())

    def record_act(self, sentence: Sentence, *, by: User | None) -> None:
        """Record in the audit what was done with the plan."""
        AuditEvent.objects.record(AuditCode.RUN, sentence(id=str(self.pk)), by=by)

    def _change_state(self, new: State, *old: State, **fields: Any) -> None:
        """Set the state if it is one of `old`; raises PlanInOtherStateError where it is not."""
        fields |= {"state": new, "worked_at": timezone.now()}
        if RunPlan.objects.filter(pk=self.pk, state__in=old).update(**fields) != 1:
            self._raise_stale()
        for name, value in fields.items():
            setattr(self, name, value)

    def _raise_stale(self) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise PlanInOtherStateError(self)
