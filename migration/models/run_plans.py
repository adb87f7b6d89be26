"""Owns plans: what a run over many clients would do with each, found out before it starts. Never a value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration import audit_sentences, plan_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from nova_credentials.messages import Message, MessageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User

    from migration.models.runs import Run
    from nova_credentials.messages import Sentence

# Longer than a look at thousands of clients takes at AWS's read quota.
STALLED_AFTER = timedelta(minutes=5)
PLANS_ARE_KEPT = timedelta(days=30)


class PlanClass(models.TextChoices):
    """What a run would do with a client."""

    NEW = "new", _("New in AWS")
    UNCHANGED = "unchanged", _("Unchanged")
    UPDATED = "updated", _("Updated over this site's version")
    OVERWRITTEN = "overwritten", _("Overwritten: somebody else's version")
    LEFT_ALONE = "left_alone", _("Left alone")
    FAILING = "failing", _("Will fail")


class Drift(models.TextChoices):
    """How a client differs from its plan."""

    CAME = "came", _("came after the plan: not part of the run")
    WENT = "went", _("no longer exists")
    PHASE = "phase", _("another phase")
    REVISION = "revision", _("rows were written")
    VERSION = "version", _("another version in AWS")
    CLASS = "class", _("another outcome")


@dataclass(frozen=True)
class ReplacedSecret:
    """A secret whose current version the run replaces, and who wrote that version, as far as it is known."""

    name: str
    version_id: str
    by_this_site: bool
    who: str = ""
    written_at: str = ""  # ISO 8601; empty where AWS doesn't say

    @property
    def written(self) -> datetime | None:
        """Return when the version was written; None where it is not known."""
        return datetime.fromisoformat(self.written_at) if self.written_at else None

    def to_json(self) -> dict[str, object]:
        """Return the secret as plans store it."""
        return asdict(self)


@dataclass(frozen=True)
class PlannedClient:
    """One client of a plan: where it stands, and what the run would do with it."""

    client_id: int
    slug: str
    phase: str
    revision: int
    plan_class: str
    outcome: str
    error_class: str = ""
    message: Message | None = None
    # Secret name -> id of the version that AWS holds.
    versions: dict[str, str] = field(default_factory=dict)
    # Secret name -> its outcome, of those that are written.
    writes: dict[str, str] = field(default_factory=dict)
    replaced: tuple[ReplacedSecret, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the client as plans store and export it."""
        return {
            "id": self.client_id,
            "slug": self.slug,
            "phase": str(self.phase),
            "revision": self.revision,
            "class": str(self.plan_class),
            "outcome": str(self.outcome),
            "error_class": str(self.error_class),
            "message": self.message.to_json() if self.message else None,
            "versions": self.versions,
            "writes": self.writes,
            "replaced": [each.to_json() for each in self.replaced],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the client that `to_json` stored."""
        return cls(
            client_id=data["id"],
            slug=data["slug"],
            phase=data["phase"],
            revision=data["revision"],
            plan_class=data["class"],
            outcome=data["outcome"],
            error_class=data["error_class"],
            message=data["message"] and Message.from_json(data["message"]),
            versions=data["versions"],
            writes=data["writes"],
            replaced=tuple(ReplacedSecret(**each) for each in data["replaced"]),
        )

    def list_drifts(self, now: PlannedClient) -> list[Drift]:
        """Return in what the client is not as planned now."""
        pairs = (
            (Drift.PHASE, self.phase, now.phase),
            (Drift.REVISION, self.revision, now.revision),
            (Drift.VERSION, self.versions, now.versions),
            (Drift.CLASS, self.plan_class, now.plan_class),
        )
        return [drift for drift, planned, found in pairs if planned != found]


class StalePlanError(MessageError):
    """The plan is in another state: somebody started or discarded it meanwhile, or it isn't made yet."""

    def __init__(self, plan: RunPlan) -> None:
        state = str(RunPlan.State(plan.state).value)
        super().__init__(plan_sentences.PLAN_IN_OTHER_STATE(id=str(plan.pk), state=state))


class RunPlanQuerySet(models.QuerySet["RunPlan"]):
    def open(self) -> Self:
        """Select the plans that are neither started nor discarded."""
        return self.filter(state__in=RunPlan.OPEN)

    def without_rows(self) -> Self:
        """Leave out what is large: a row for each client."""
        return self.defer("rows", "differences")

    def stalled(self) -> Self:
        """Select the plans whose look was not ended for STALLED_AFTER."""
        before = timezone.now() - STALLED_AFTER
        return self.without_rows().filter(state__in=RunPlan.LOOKING, worked_at__lt=before)

    def forget_old(self) -> None:
        """Delete the plans that no run was started from."""
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
    # A `PlannedClient` each.
    rows = models.JSONField(default=list)
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
    def request(
        cls,
        *,
        by: User | None,
        chosen: Collection[int] | None,
        adopt: bool = False,
        overwrite: bool = False,
        include_inactive: bool = False,
    ) -> Self:
        """Store a plan that is still to be made, over the chosen clients or all."""
        with transaction.atomic():
            plan = cls.objects.create(
                by=by,
                chosen=None if chosen is None else sorted(chosen),
                adopt=adopt,
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

    def list_clients(self) -> list[PlannedClient]:
        """Return the clients of the plan."""
        return [PlannedClient.from_json(row) for row in self.rows]

    def store_look(self, found: Collection[PlannedClient]) -> None:
        """Keep what was found as the plan."""
        rows = [client.to_json() for client in found]
        self._change_state(
            RunPlan.State.READY, RunPlan.State.MAKING, rows=rows, made_at=timezone.now()
        )

    def begin_check(self, *, by: User | None) -> None:
        """Have it looked at again before it starts."""
        self._change_state(
            RunPlan.State.CHECKING,
            RunPlan.State.READY,
            started_by=by,
            started_by_name=get_kept_name(by),
        )

    def store_differences(self, differences: Collection[dict[str, object]]) -> None:
        """Keep what is not as planned; a user starts it all the same, or makes another plan."""
        self._change_state(
            RunPlan.State.DIFFERS,
            RunPlan.State.CHECKING,
            differences=list(differences),
            checked_at=timezone.now(),
        )

    def attach_to(self, run: Run) -> None:
        """Keep it with the run that starts from it, in the run's transaction."""
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

    def record_work(self) -> None:
        """Note that its look goes on."""
        RunPlan.objects.filter(pk=self.pk).update(worked_at=timezone.now())

    def record_act(self, sentence: Sentence, *, by: User | None) -> None:
        """Record in the audit what was done with it."""
        AuditEvent.objects.record(AuditCode.RUN, sentence(id=str(self.pk)), by=by)

    def _change_state(self, new: State, *old: State, **fields: Any) -> None:
        """Set the state if it is one of `old`; raises StalePlanError where it is not."""
        fields |= {"state": new, "worked_at": timezone.now()}
        if RunPlan.objects.filter(pk=self.pk, state__in=old).update(**fields) != 1:
            self._raise_stale()
        for name, value in fields.items():
            setattr(self, name, value)

    def _raise_stale(self) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StalePlanError(self)
