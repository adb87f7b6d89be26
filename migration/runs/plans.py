"""Owns plans: what a run would do to each client, looked at before it is started. Never holds a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NoReturn,
    NotRequired,
    Self,
    TypeAlias,
    TypedDict,
)
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration.core.audit import RUN_EVENT, AuditEvent
from migration.core.sentences import CLIENT_LEFT_ALONE, NO_WORKER
from migration.core.text import KeptNameField, require_kept_name
from migration.core.workers import Worker
from nova_credentials.comparison import Mismatch
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from migration.runs.models import Run


# Longer than a look at thousands of clients takes at AWS's read quota.
PLAN_STALLED_AFTER = timedelta(minutes=5)
PLANS_ARE_KEPT = timedelta(days=30)
# So many of a plan's clients are in memory at once.
CLIENTS_AT_ONCE = 500


class Remedy(TypedDict):
    """A link to `url`, or a button that posts to it, with the address to return to as `back`."""

    label: str
    url: str
    posts: NotRequired[bool]
    back: NotRequired[str]


# Of a reason: the link or button that mends it for this user, who comes back to the address; None where there is none.
FindRemedy: TypeAlias = Callable[[HttpRequest, str], Remedy | None]


class PlanClass(models.TextChoices):
    """The classes into which a plan sorts clients, by what its run would do with each."""

    # Of pushes.
    NEW = "new", _("New in AWS")
    UNCHANGED = "unchanged", _("Unchanged")
    UPDATED = "updated", _("Updated over this site's version")
    OVERWRITTEN = "overwritten", _("Overwritten: somebody else's version")
    LEFT_ALONE = "left_alone", _("Left alone")
    FAILING = "failing", _("Will fail")
    # Of acts that sort no finer.
    WILL = "will", _("Would be done")
    NOTHING = "nothing", _("Nothing to do")
    REFUSED = "refused", _("Refused")


class Verdict(models.TextChoices):
    """What a plan says of a client: it would be done, there is nothing to do, or it is refused."""

    WILL = "will", _("Would be done")
    NOTHING = "nothing", _("Nothing to do")
    REFUSED = "refused", _("Refused")


VERDICTS = {
    PlanClass.NEW: Verdict.WILL,
    PlanClass.UPDATED: Verdict.WILL,
    PlanClass.OVERWRITTEN: Verdict.WILL,
    PlanClass.UNCHANGED: Verdict.NOTHING,
    PlanClass.LEFT_ALONE: Verdict.REFUSED,
    PlanClass.FAILING: Verdict.REFUSED,
    PlanClass.WILL: Verdict.WILL,
    PlanClass.NOTHING: Verdict.NOTHING,
    PlanClass.REFUSED: Verdict.REFUSED,
}


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


@dataclass(frozen=True)
class Reason:
    """One thing that a plan says of a client: why it is refused or would be done, or a condition that it meets."""

    text: Message
    code: str = ""
    passed: bool = False
    # The kind of evidence that is missing, where an override may stand in for it; and whether one does.
    evidence: str = ""
    overridden: bool = False
    is_off: bool = False  # a setting switches the condition off
    # What mends it, for the user of a page to which it leads back; a stored plan has none.
    find_remedy: FindRemedy | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the reason as plans store it."""
        return {
            "text": self.text.to_json(),
            "code": self.code,
            "passed": self.passed,
            "evidence": self.evidence,
            "overridden": self.overridden,
            "is_off": self.is_off,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the reason that `to_json` stored."""
        return cls(**data | {"text": Message.from_json(data["text"])})


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
    # Why, and what else was looked at: what is not met stands first.
    reasons: tuple[Reason, ...] = ()
    # What else is said of it: whose a secret is, which fields differ.
    notes: tuple[Message, ...] = ()
    # The fields that differ, as comparisons keep them: codes and lengths.
    mismatches: tuple[dict[str, str], ...] = ()
    # What was seen of it (`Act.see`): who looks otherwise when the plan is carried out is left out.
    seen: str = ""

    def read_mismatches(self) -> list[Mismatch]:
        """Return the fields that differ."""
        return [Mismatch.from_json(row) for row in self.mismatches]

    @property
    def verdict(self) -> Verdict:
        return Verdict.WILL if self.is_only_moved else VERDICTS[PlanClass(self.plan_class)]

    @property
    def is_only_moved(self) -> bool:
        """Say whether a push writes nothing, as AWS holds the rows, and takes the client to dual write."""
        return self.plan_class == PlanClass.UNCHANGED and self.phase == Phase.POSTGRES

    @property
    def missing_evidence(self) -> set[str]:
        """Return the kinds of evidence that it lacks, whether an override stands in for them or not."""
        return {each.evidence for each in self.reasons if each.evidence and not each.passed}

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
            "replaced": [asdict(each) for each in self.replaced],
            "reasons": [each.to_json() for each in self.reasons],
            "notes": [each.to_json() for each in self.notes],
            "mismatches": list(self.mismatches),
            "seen": self.seen,
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
            # Plans of earlier releases have none of these.
            reasons=tuple(Reason.from_json(each) for each in data.get("reasons", ())),
            notes=tuple(Message.from_json(each) for each in data.get("notes", ())),
            mismatches=tuple(data.get("mismatches", ())),
            seen=data.get("seen", ""),
        )


@dataclass
class PlanCounts:
    """The numbers of a plan that its summary is made of, added up while its clients are looked at."""

    clients: int = 0
    # By `PlanClass`; and of the secrets that are written, by outcome.
    classes: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    # Secrets that AWS holds now.
    present: int = 0
    # Clients that are left alone as they differ, and that a plan which overwrites would write.
    spared: int = 0
    # By kind of evidence, the clients that lack it.
    missing: Counter[str] = field(default_factory=Counter)
    # Of the unchanged, those that are moved to dual write; None in plans of earlier releases, which didn't count them.
    only_moved: int | None = 0

    def add(self, clients: Collection[PlannedClient]) -> None:
        """Count these clients too."""
        self.clients += len(clients)
        for client in clients:
            self.classes[str(client.plan_class)] += 1
            self.writes.update(client.writes.values())
            self.missing.update(client.missing_evidence)
            self.present += len(client.versions)
            self.spared += bool(client.message and client.message.key == CLIENT_LEFT_ALONE.key)
            self.only_moved = (self.only_moved or 0) + client.is_only_moved

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plans store them."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the numbers that `to_json` stored; all are 0 before the first look has ended."""
        plain: dict[str, Any] = {
            name: data.get(name, 0) for name in ("clients", "present", "spared")
        }
        counted = {name: Counter(data.get(name, {})) for name in ("classes", "writes", "missing")}
        return cls(**plain | counted, only_moved=data.get("only_moved"))


# `PlannedClient.is_only_moved` of a row.
ONLY_MOVED = models.Q(plan_class=PlanClass.UNCHANGED, content__phase=Phase.POSTGRES)


class PlanRowQuerySet(models.QuerySet["PlanRow"]):
    def add(self, plan_id: int, look: UUID, clients: Collection[PlannedClient]) -> None:
        """Store what a look at the plan's clients has found of these."""
        self.bulk_create(
            PlanRow(
                plan_id=plan_id,
                look=look,
                client_id=client.client_id,
                plan_class=str(client.plan_class),
                content=client.to_json(),
            )
            for client in clients
        )

    def list_clients(self) -> list[PlannedClient]:
        """Return the clients as a list, sorted by id."""
        contents = self.order_by("client_id").values_list("content", flat=True)
        return [PlannedClient.from_json(content) for content in contents]

    def select_work(self) -> Self:
        """Select the clients that something would be done to (`PlannedClient.verdict`)."""
        names = [name.value for name in PlanClass if VERDICTS[name] == Verdict.WILL]
        return self.filter(models.Q(plan_class__in=names) | ONLY_MOVED)

    def list_classes(
        self, names: Collection[str], *, most: int | None
    ) -> dict[str, list[PlannedClient]]:
        """Return the clients of each of these classes, at most so many of each, in one query."""
        found: dict[str, list[PlannedClient]] = {name: [] for name in names}
        if not names:
            return found
        first, *others = [
            self.filter(plan_class=name)
            .order_by("client_id")
            .values_list("content", flat=True)[:most]
            for name in names
        ]
        for content in first.union(*others, all=True) if others else first:
            found[content["class"]].append(PlannedClient.from_json(content))
        return found


class PlanRow(models.Model):
    """One client of a plan, as one look found it. Of a plan that was looked at twice only its own look counts."""

    plan = models.ForeignKey("RunPlan", models.CASCADE, related_name="every_row", db_index=False)
    look = models.UUIDField()
    client_id = models.IntegerField()
    plan_class = models.CharField(max_length=16, choices=PlanClass)
    # The `PlannedClient`.
    content = models.JSONField()

    objects = PlanRowQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["plan", "look", "client_id"], name="one_row_a_client_and_look"
            )
        ]
        indexes: ClassVar = [
            # For a page that names the first of each class.
            models.Index(fields=["plan", "look", "plan_class", "client_id"], name="planrow_class")
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in plan {self.plan_id}"


PLAN_IN_OTHER_STATE = Sentence("plan_in_other_state", "Nothing was done: plan %(id)s is %(state)s.")


class PlanInOtherStateError(MessageError):
    """The plan is in another state: somebody started or discarded it meanwhile, or it isn't made yet."""

    def __init__(self, plan: RunPlan) -> None:
        state = str(RunPlan.State(plan.state).value)
        super().__init__(PLAN_IN_OTHER_STATE(id=str(plan.pk), state=state))


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
        return self.defer_client_columns().filter(state=RunPlan.State.MAKING, worked_at__lt=before)

    def forget_old(self) -> None:
        """Delete the plans older than PLANS_ARE_KEPT that no run was started from."""
        before = timezone.now() - PLANS_ARE_KEPT
        self.filter(run=None, created_at__lt=before).delete()


PLAN_REQUESTED = Sentence("plan_requested", "Had plan %(id)s made.")
PLAN_STARTED = Sentence("plan_started", "Started a run from plan %(id)s.")
PLAN_DISCARDED = Sentence("plan_discarded", "Discarded plan %(id)s.")


class RunPlan(models.Model):
    """The plan of one run: made by a look at both stores, kept with the run that was started from it."""

    class State(models.TextChoices):
        MAKING = "making", _("Being made")
        READY = "ready", _("Ready")
        # Plans of releases before 0.3.0 were looked at again before they started: these are ready.
        CHECKING = "checking", _("Being looked at again")
        DIFFERS = "differs", _("No longer as planned")
        STARTED = "started", _("Started")
        DISCARDED = "discarded", _("Discarded")

    MADE = (State.READY, State.CHECKING, State.DIFFERS)
    OPEN = (State.MAKING, *MADE)

    run = models.OneToOneField("Run", models.SET_NULL, null=True, related_name="plan")
    # What its run does (`runs.acts.ACTS`), and what is asked of it there, as the act's form has it.
    act = models.CharField(max_length=32, default="push", db_default="push")
    values = models.JSONField(default=dict, db_default={})
    # As if somebody had adopted, before the run, the secrets that are not ours.
    adopt = models.BooleanField(default=False)
    overwrite = models.BooleanField(default=False)
    include_inactive = models.BooleanField(default=False)
    # The ids of the clients that were chosen; null: all that there are.
    chosen = models.JSONField(null=True)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.MAKING)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # Of plans of releases before 0.3.0: who wanted it started.
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    started_by_name = KeptNameField("started_by")
    created_at = models.DateTimeField(default=timezone.now)
    made_at = models.DateTimeField(null=True)
    # The look that it was made by, whose rows are its own; and the `PlanCounts` of that look.
    look = models.UUIDField(null=True)
    counts = models.JSONField(default=dict, db_default={})
    # Of plans of releases before 0.3.0: what was found otherwise when it was to be started, and when.
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
        act: str = "push",
        values: dict[str, Any] | None = None,
    ) -> Self:
        """Store a plan that is still to be made, over the chosen clients or all."""
        with transaction.atomic():
            plan = cls.objects.create(
                by=by,
                chosen=None if chosen is None else sorted(chosen),
                overwrite=overwrite,
                include_inactive=include_inactive,
                act=act,
                values=values or {},
            )
            plan.record_act(PLAN_REQUESTED, by=by)
        return plan

    @classmethod
    def store_shown(
        cls, *, by: User | None, act: str, shown: Mapping[int, str], slugs: Mapping[int, str]
    ) -> Self:
        """Store a plan that is made: what a page showed of these clients, for the run that holds them to it."""
        with transaction.atomic():
            plan = cls.store_request(by=by, chosen=list(shown), act=act)
            rows = [
                PlannedClient(pk, slugs[pk], "", 0, PlanClass.WILL, outcome="", seen=seen)
                for pk, seen in shown.items()
                if pk in slugs
            ]
            plan.finish_making([rows])
        return plan

    @property
    def is_open(self) -> bool:
        return self.state in RunPlan.OPEN

    @property
    def is_looking(self) -> bool:
        return self.state == RunPlan.State.MAKING

    @property
    def rows(self) -> PlanRowQuerySet:
        """Select what its latest look found, a row for each client; none before the first look has ended."""
        return PlanRow.objects.filter(plan=self.pk, look=self.look)  # type: ignore[misc]  # no row has NULL

    def iterate_clients(self) -> Iterator[PlannedClient]:
        """Yield the clients of the plan, with some of them in memory at a time."""
        contents = self.rows.order_by("client_id").values_list("content", flat=True)
        for content in contents.iterator(chunk_size=CLIENTS_AT_ONCE):
            yield PlannedClient.from_json(content)

    def explain_missing_worker(self) -> Message | None:
        """Say that no worker is there to look at the clients; None where one is, or the look is over."""
        if not self.is_looking or timezone.now() - self.worked_at < Worker.GONE_AFTER:
            return None
        seen_at = Worker.objects.last_seen_at()
        is_gone = seen_at is None or timezone.now() - seen_at > Worker.GONE_AFTER
        return NO_WORKER() if is_gone else None

    def read_seen(self) -> dict[int, str | None]:
        """Return what was seen of each client that something would be done to, by id; None in earlier releases."""
        rows = self.rows.select_work().order_by("client_id")
        return dict(rows.values_list("client_id", "content__seen"))

    def read_seen_of(self, client_ids: Collection[int]) -> dict[int, str]:
        """Return what was seen of these clients, by id."""
        rows = self.rows.filter(client_id__in=client_ids)
        return dict(rows.values_list("client_id", "content__seen"))

    @property
    def overrides(self) -> frozenset[str]:
        """Return the kinds of evidence that may be missing, as it was asked for."""
        former = ("overwrite",) if self.overwrite else ()
        return frozenset((*self.values.get("override", ()), *former))

    def count_verdicts(self) -> dict[Verdict, int]:
        """Count its clients by what would be done with them."""
        counts = self.read_counts()
        counted = dict.fromkeys(Verdict, 0)
        for name, number in counts.classes.items():
            counted[VERDICTS[PlanClass(name)]] += number
        moved = counts.only_moved
        if moved is None:
            is_possible = bool(counts.classes[PlanClass.UNCHANGED])
            moved = self.rows.filter(ONLY_MOVED).count() if is_possible else 0
        counted[Verdict.WILL] += moved
        counted[Verdict.NOTHING] -= moved
        return counted

    def read_counts(self) -> PlanCounts:
        """Return the counts of the plan, as they were stored."""
        return PlanCounts.from_json(self.counts)

    def finish_making(self, batches: Iterable[Collection[PlannedClient]]) -> None:
        """Store these clients as the plan, batch by batch; raises PlanInOtherStateError if another worker made it.

        Two workers may look at the same plan: each has rows of its own, and those of the one that is late are deleted.
        """
        look, counts = uuid4(), PlanCounts()
        own = PlanRow.objects.filter(plan=self.pk, look=look)
        try:
            for found in batches:
                PlanRow.objects.add(self.pk, look, found)
                counts.add(found)
            made = {"look": look, "counts": counts.to_json(), "made_at": timezone.now()}
            self._change_state(RunPlan.State.READY, RunPlan.State.MAKING, **made)
        except Exception:
            own.delete()  # or each look that a defect ends would leave its rows
            raise
        PlanRow.objects.filter(plan=self.pk).exclude(look=look).delete()

    def attach_to(self, run: Run) -> None:
        """Mark it as started with this run, in the run's transaction; raises PlanInOtherStateError."""
        self._change_state(RunPlan.State.STARTED, *RunPlan.MADE, run=run)
        self.record_act(PLAN_STARTED, by=run.by)

    def discard(self, *, by: User | None) -> None:
        """Close it without a run."""
        with transaction.atomic():
            self._change_state(RunPlan.State.DISCARDED, *RunPlan.OPEN)
            self.record_act(PLAN_DISCARDED, by=by)

    def record_worked_at(self) -> None:
        """Note that its look goes on."""
        RunPlan.objects.filter(pk=self.pk).update(worked_at=timezone.now())

    def record_act(self, sentence: Sentence, *, by: User | None) -> None:
        """Record in the audit what was done with the plan."""
        AuditEvent.objects.record(RUN_EVENT, sentence(id=str(self.pk)), by=by)

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
