"""Owns runs: what they do to whom, their states, and how people steer them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error, connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from credentials.localization import localize
from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    REQUEST_KINDS,
    RUN_EVENT,
    SYSTEM,
    Actor,
    AuditEvent,
    EventKind,
    acting,
    current_actor,
    limit_reason,
)
from migration.core.clients import (
    MOVE_PERMISSIONS,
    OVERRIDE_EVENT,
    ClientPhaseQuerySet,
    PhaseChoices,
)
from migration.core.comparisons import Comparison
from migration.core.notices import Notice, NoticeEvent
from migration.core.secrets import LayoutChoices
from migration.core.text import KeptNameField, get_kept_name, require_kept_name
from migration.logins.models import ROTATE_PERMISSION, LoginStores
from migration.runs.items import (
    ACTS,
    CAN_BE_RETRIED,
    OF_ONE_KIND,
    Outcome,
    RunItem,
    RunItemQuerySet,
    was_never_begun,
)
from migration.runs.plans import PlanCounts, PlannedClient, PlanRow, PlanRowQuerySet
from migration.runs.requests import RequestContent, read_request_content
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from migration.campaigns.models import Wave


# Working workers begin or end a batch more often than this.
STALLED_AFTER = timedelta(seconds=60)
# Longer than a look at some of a plan's clients takes at AWS's read quota.
PLAN_STALLED_AFTER = timedelta(minutes=5)
# Enough for about an hour.
MANY_TRIES = 60
# Items are made in portions, so that memory doesn't grow with the number of clients.
ITEMS_AT_ONCE = 1000
SWEEPS_ARE_KEPT = timedelta(days=2)
# The sequence from which the schedule's comparisons have their ids, hundreds a day: other runs count on without gaps.
SWEEP_IDS, SWEEPS_FROM = "nova_admin.migration_sweep_id", 1_000_000_000
PLANS_ARE_KEPT = timedelta(days=30)

# One client left a request for several. A request for that client alone is cancelled (`CANCELLATION_EVENT`).
LEFT_OUT_EVENT = EventKind(
    "left_out_of_request",
    _("Left out of a request"),
    icon="approval",
    in_history=True,
    permission="migration.view_run",
    names_user=True,
)


@dataclass(frozen=True)
class PlannedMoves:
    """The move that a run makes of each client that is in `old` when its turn comes.

    `reason` and `override_reason` are texts that a user typed; an empty one overrides nothing. `override_lines` are the
    kinds of evidence that may be missing then; none stands for all. `only_where_equal`: a rollback leaves a client
    whose stores differ, or of which AWS can't be read.
    """

    old: Phase
    new: Phase
    reason: str = ""
    override_reason: str = ""
    override_lines: tuple[str, ...] = ()
    schedule_deletion: bool = False
    needs_approval: bool = False
    only_where_equal: bool = False

    @property
    def kind(self) -> Move:
        return MOVES[self.old, self.new]

    @property
    def columns(self) -> dict[str, str | bool | list[str]]:
        """Return column of `Run` -> value, to store these moves with a run."""
        return {
            "move_from": self.old.value,
            "move_to": self.new.value,
            "reason": self.reason,
            "override_reason": self.override_reason,
            "override_lines": list(self.override_lines),
            "schedule_deletion": self.schedule_deletion,
            "only_where_equal": self.only_where_equal,
        }


RUN_IN_OTHER_STATE = Sentence(
    "run_in_other_state", "%(run)s is %(state)s; it can't become %(wanted)s."
)


class StaleRunError(MessageError):
    """The run is in another state: somebody paused, resumed or stopped it meanwhile, or it finished."""

    def __init__(self, run: Run, wanted: Run.State) -> None:
        super().__init__(RUN_IN_OTHER_STATE(run=run.name_message, state=run.state, wanted=wanted))
        self.run = run


RUN_CANT_GO_ON = Sentence(
    "run_cant_go_on",
    "%(run)s can't continue: its request was withdrawn or refused. Request the move again.",
)


class WithdrawnRunError(StaleRunError):
    """The run was requested and nobody approved it: it never begins, nor goes on."""

    def __init__(self, run: Run) -> None:
        MessageError.__init__(self, RUN_CANT_GO_ON(run=run.name_message))
        self.run = run


class RunQuerySet(models.QuerySet["Run"]):
    def started(self) -> Self:
        """Leave out the runs that are only planned, or were before somebody discarded them."""
        return self.exclude(state__in=Run.NOT_STARTED)

    def of_schedule(self) -> Self:
        """Select the runs of which `is_of_schedule` says so."""
        return self.filter(by_name="", tries=1, wave=None)

    def stalled(self) -> Self:
        """Select running or stopped runs, and plans that are being made, that no worker has worked on for some time."""
        now, states = timezone.now(), (Run.State.RUNNING, Run.State.STOPPED)
        in_work = models.Q(state__in=states, worked_at__lt=now - STALLED_AFTER)
        planning = models.Q(state=Run.State.PLANNING, worked_at__lt=now - PLAN_STALLED_AFTER)
        return self.filter(in_work | planning, finished_at=None).defer("chosen")

    def running_with_writes(self) -> Self:
        """Select the running runs of kinds that write to AWS; most of them wait while writes are stopped."""
        writes = [kind for kind in Run.Kind if kind not in Run.READS_ONLY]
        return self.filter(state=Run.State.RUNNING, finished_at=None, kind__in=writes)

    def is_running(self, run_id: int) -> bool:
        """Say whether the run is running: not requested, paused, stopped or finished."""
        return self.filter(pk=run_id, state=Run.State.RUNNING).exists()

    def record_worked_at(self, run_id: int) -> None:
        """Note that a worker works on the run."""
        self.filter(pk=run_id).update(worked_at=timezone.now())

    def record_work_if_running(self, run_id: int) -> Run | None:
        """Read the run as it is now and note that a worker works on it; None where it is not running."""
        columns = ", ".join(f'"{field.column}"' for field in Run._meta.concrete_fields)
        running = self.raw(
            f"UPDATE migration_run SET worked_at = %s WHERE id = %s AND state = %s RETURNING {columns}",  # noqa: S608  # the model's names
            [timezone.now(), run_id, Run.State.RUNNING],
        )
        return next(iter(running), None)

    def find_requested(self, client_ids: Collection[int]) -> dict[int, Run]:
        """Return client id -> the newest run that was requested for it and that nobody has decided."""
        # The runs in a second look, as for gates (`Ask.open_write_items` of the rules).
        items = RunItem.objects.open_of(client_ids).order_by("run_id")
        pairs = list(items.values_list("client_id", "run_id"))
        asked = self.filter(state=Run.State.REQUESTED).in_bulk({run_id for _pk, run_id in pairs})
        return {pk: asked[run_id] for pk, run_id in pairs if run_id in asked}

    def close_requests(
        self,
        client_ids: Collection[int],
        why: Message,
        *,
        by: User | None,
        now_in: Phase | None = None,
    ) -> None:
        """Leave these clients out of the runs that were requested for them; one that has no other client is over.

        Recent activity tells it of a request for one client alone; of a larger one each client's history does.
        `now_in`: the phase in which they are now; a run that moves clients from there keeps them. Nobody is told.
        Within the caller's transaction.
        """
        opened = list(RunItem.objects.open_of(client_ids))
        runs = {
            run.pk: run
            for run in self.filter(pk__in={item.run_id for item in opened})
            .filter(state=Run.State.REQUESTED)
            .exclude(move_from=now_in or "")
            .select_for_update(no_key=True)
            .order_by("pk")
        }
        left = [item for item in opened if item.run_id in runs]
        if not left:
            return
        # In the order of an index that begins with the run, as for `Run.only_item`.
        items = RunItem.objects.filter(run=models.OuterRef("pk")).order_by("outcome", "batch")
        more_than_one = self.filter(pk__in=runs).alias(
            second=models.Subquery(items.values("pk")[1:2])
        )
        larger = set(more_than_one.exclude(second=None).values_list("pk", flat=True))
        events = []
        for item in left:
            run = runs[item.run_id]
            item.outcome, item.message = Outcome.SKIPPED, why
            facts = REQUEST_FAILED(
                who=run.by_name or "?",
                why=why,
                old=Phase(run.move_from).label,
                new=Phase(run.move_to).label,
            )
            with acting(run.as_actor()):
                events.append(
                    AuditEvent.make_signed(
                        LEFT_OUT_EVENT if run.pk in larger else CANCELLATION_EVENT,
                        facts,
                        by=by,
                        client_id=item.client_id,
                        slug=item.slug,
                        reason=run.reason,
                    )
                )
        RunItem.objects.record(left)
        AuditEvent.objects.insert_already_signed(events)
        rest = RunItem.objects.open().filter(run_id=models.OuterRef("pk"))
        emptied = self.filter(~models.Exists(rest), pk__in=runs)
        # Some of its clients may have been worked on, before others needed another approval.
        began = models.When(began_at__isnull=False, then=models.Value(Run.State.FINISHED))
        state = models.Case(began, default=models.Value(Run.State.STOPPED))
        emptied.update(state=state, finished_at=timezone.now())

    def forget_sweeps(self) -> None:
        """Delete the comparison runs that no user started, of more than two days ago, with their items."""
        before = timezone.now() - SWEEPS_ARE_KEPT
        self.only_sweeps().filter(created_at__lt=before).delete()

    def forget_plans(self) -> None:
        """Delete the plans older than PLANS_ARE_KEPT that nobody started, with their rows."""
        old = self.filter(state__in=Run.NOT_STARTED, created_at__lt=timezone.now() - PLANS_ARE_KEPT)
        with transaction.atomic():
            # Who starts one meanwhile waits, and finds none.
            ids = list(old.select_for_update().values_list("pk", flat=True))
            self.filter(pk__in=ids).delete()

    def without_sweeps(self) -> Self:
        """Leave out the comparison runs that no user started: the schedule's, and those of commands."""
        return self.exclude(by_name="", kind=Run.Kind.COMPARE)

    def only_sweeps(self) -> Self:
        """Select what `without_sweeps` leaves out."""
        return self.filter(by_name="", kind=Run.Kind.COMPARE)

    def with_counts(self) -> Self:
        """Annotate `total`, of these `done` (with an outcome of any kind), and of these each kind by itself.

        What a stop left out is not done: it is `left_out`, and not among the `skipped`.
        """
        count, left_out = models.Count, was_never_begun("items__")
        differs = models.Q(items__comparison_status__in=Comparison.DIFFERS)
        others = ["", Outcome.SKIPPED, *CAN_BE_RETRIED]
        return self.defer("chosen").annotate(
            total=count("items"),
            left_out=count("items", filter=left_out),
            done=count("items", filter=~models.Q(items__outcome="")) - models.F("left_out"),
            succeeded=count("items", filter=~models.Q(items__outcome__in=others) & ~differs),
            skipped=count("items", filter=models.Q(items__outcome=Outcome.SKIPPED))
            - models.F("left_out"),
            failed=count("items", filter=models.Q(items__outcome=Outcome.FAILED)),
            refused=count("items", filter=models.Q(items__outcome=Outcome.REFUSED)),
            mismatched=count("items", filter=differs),
        )


RUN_PLANNED = Sentence("run_planned", "Had %(run)s planned.")
RUN_DISCARDED = Sentence("run_discarded", "Discarded %(run)s.")
RUN_STARTED = Sentence("run_started", "Started %(run)s.")
MOVES_STARTED = Sentence(
    "moves_started",
    "Started %(run)s: %(n)s clients from %(old)s to %(new)s.",
    one="Started %(run)s: %(n)s client from %(old)s to %(new)s.",
)
MOVES_REQUESTED = Sentence(
    "moves_requested",
    "Requested %(run)s: %(n)s clients from %(old)s to %(new)s.",
    one="Requested %(run)s: %(n)s client from %(old)s to %(new)s.",
)
MOVES_REQUESTED_TO_WAIT = Sentence(
    "moves_requested_to_wait",
    "Requested %(run)s: one client from %(old)s to %(new)s. It can't be moved yet: %(reasons)s",
)
MOVES_APPROVED = Sentence("moves_approved", "Approved %(run)s, which %(who)s requested.")
REQUEST_FAILED = Sentence(
    "request_has_failed",
    "The move from %(old)s to %(new)s that %(who)s requested can't be made any more: %(why)s",
)
OVERRIDE_ASKED_FOR = Sentence(
    "override_asked_for", "Requested %(run)s with missing evidence overridden."
)
RUN_STEERED = Sentence("run_steered", "Set %(run)s to: %(state)s.")
RUN_ENDED = Sentence(
    "run_ended",
    "%(run)s finished: %(n)s clients, %(failed)s failed, %(refused)s refused, %(differ)s mismatched.",
    one="%(run)s finished: 1 client, %(failed)s failed, %(refused)s refused, %(differ)s mismatched.",
)
# Of one in which all went well.
RUN_ENDED_WELL = Sentence(
    "run_ended_well", "%(run)s finished: %(n)s clients.", one="%(run)s finished: 1 client."
)
RUN_ENDED_BY_STOP = Sentence(
    "run_ended_by_stop",
    "%(run)s was stopped: %(n)s clients, %(left)s not started, %(failed)s failed, %(refused)s refused, "
    "%(differ)s mismatched.",
    one="%(run)s was stopped: 1 client, %(left)s not started, %(failed)s failed, %(refused)s refused, %(differ)s "
    "mismatched.",
)
RUN_NAMES = {
    "migrate": Sentence("run_migrate", "Migration %(id)s"),
    "push": Sentence("run_push", "Push %(id)s"),
    "compare": Sentence("run_compare", "Comparison %(id)s"),
    "move": Sentence("run_move", "Move %(id)s"),
    "layout": Sentence("run_layout", "Change of layout %(id)s"),
    "test_logins": Sentence("run_test_logins", "Login tests %(id)s"),
    "rotate": Sentence("run_rotate", "Rotation %(id)s"),
    "secret_settings": Sentence("run_secret_settings", "Key and regions %(id)s"),
    "adopt": Sentence("run_adopt", "Adoptions %(id)s"),
    "to_aws": Sentence("run_to_aws", "Copies to AWS %(id)s"),
    "to_postgres": Sentence("run_to_postgres", "Copies to PostgreSQL %(id)s"),
}

# Named by how many there were.
SWEEP_NAME = Sentence("run_sweep", "Scheduled comparison %(number)s")


def _next_sweep_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(%s)", [SWEEP_IDS])
        number: int = cursor.fetchone()[0]
    return number


class Run(models.Model):
    """One request over many clients. It is finished once every item has an outcome.

    One that is planned first has rows of its plan from then on (`PlanRow`), and items once it is started.
    """

    class Kind(models.TextChoices):
        MIGRATE = "migrate", _("Migration")
        PUSH = "push", _("Push")
        COMPARE = "compare", _("Comparison")
        MOVE = "move", _("Moves")
        LAYOUT = "layout", _("Change of layout")
        TEST_LOGINS = "test_logins", _("Login tests")
        ROTATE = "rotate", _("Rotation")
        SECRET_SETTINGS = "secret_settings", _("Key and regions")
        ADOPT = "adopt", _("Adoptions")
        # As a `Resolution` calls them.
        TO_AWS = "to_aws", _("Copies to AWS")
        TO_POSTGRES = "to_postgres", _("Copies to PostgreSQL")

    class State(models.TextChoices):
        # Workers look what it would do to each client; then somebody starts or discards it.
        PLANNING = "planning", _("Being planned")
        PLANNED = "planned", _("Planned")
        REQUESTED = "requested", _("Requested")
        RUNNING = "running", _("Running")
        PAUSED = "paused", _("Paused")
        STOPPED = "stopped", _("Stopped")
        FINISHED = "finished", _("Finished")
        DISCARDED = "discarded", _("Discarded")

    # Without items, and in no count of runs.
    NOT_STARTED = (State.PLANNING, State.PLANNED, State.DISCARDED)
    READS_ONLY: ClassVar = (Kind.COMPARE, Kind.TEST_LOGINS)
    COPIES: ClassVar = (Kind.TO_AWS, Kind.TO_POSTGRES)
    # Large enough for few statements a client, small enough that repeating a batch is cheap.
    BATCH = 100

    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    # Of one that was planned: the act (`runs.acts.ACTS`), and until it is started its clients' ids, NULL for all.
    act = models.CharField(max_length=32, blank=True, default="", db_default="")
    chosen = models.JSONField(null=True)
    # When its plan was made, by which look (`PlanRow.look`), and the `PlanCounts` of that look.
    planned_at = models.DateTimeField(null=True)
    look = models.UUIDField(null=True)
    plan_counts = models.JSONField(default=dict, db_default={})
    # The plan's number in releases before 0.3.0, by which addresses name it that people may have kept.
    former_plan = models.BigIntegerField(null=True, unique=True)
    # Of a plan whoever had it made, then whoever started it.
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("created by"),
    )
    by_name = KeptNameField("by", _("created by"))
    # Whoever started it adopted such secrets of its clients before; the run itself adopts nothing.
    adopt = models.BooleanField(_("adopt secrets that are not ours"), default=False)
    # Also clients that are known to differ, where somebody else wrote AWS's version.
    overwrite = models.BooleanField(
        _("overwrite what somebody else wrote"), default=False, db_default=False
    )
    include_inactive = models.BooleanField(_("include inactive clients"), default=False)
    # Of a run of moves (`PlannedMoves`): the move. Of these and of copies: why, as the user typed it.
    move_from = models.CharField(
        _("from"), max_length=16, choices=PhaseChoices, blank=True, db_default=""
    )
    move_to = models.CharField(
        _("to"), max_length=16, choices=PhaseChoices, blank=True, db_default=""
    )
    reason = models.TextField(_("reason"), blank=True, db_default="")
    override_reason = models.TextField(_("reason of the override"), blank=True, db_default="")
    # The kinds of evidence that may be missing: of moves, and of whatever is planned.
    override_lines = models.JSONField(default=list, db_default=[])
    schedule_deletion = models.BooleanField(default=False, db_default=False)
    # Of a run of login tests: whose values log in.
    stores = models.CharField(max_length=8, choices=LoginStores, blank=True, db_default="")
    # A campaign's rollback: a client whose stores differ, or of which AWS can't be read, stays where it is.
    only_where_equal = models.BooleanField(default=False, db_default=False)
    # Of a change of layout: the layout that its clients get.
    layout = models.CharField(max_length=16, choices=LayoutChoices, blank=True, db_default="")
    # Of a run that applies them: the key and regions that were planned (`describe_settings`).
    secret_settings = models.JSONField(null=True)
    # The wave of a campaign that it is a step of, or rolls back.
    wave = models.ForeignKey("Wave", models.SET_NULL, null=True, related_name="runs")
    # The number of times that a client is tried if its error may pass by itself.
    tries = models.PositiveSmallIntegerField(default=1, db_default=1)
    # When it was planned, and from its start on when it was started or requested.
    created_at = models.DateTimeField(_("created"), default=timezone.now)
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
    # The second user, where the move needs one: each client moves in this name.
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("approved by"),
    )
    approved_by_name = KeptNameField("approved_by", _("approved by"))
    # When its first approval let it begin. NULL: it began when it was created, as one that needs none or has it then.
    began_at = models.DateTimeField(null=True)
    # When a worker last began or ended a batch of it, or it was handed to the workers.
    worked_at = models.DateTimeField(default=timezone.now, db_default=Now())
    finished_at = models.DateTimeField(_("finished"), null=True)

    items: RunItemQuerySet
    # Annotated by `with_counts`, the last by its list.
    total: int
    done: int
    succeeded: int
    skipped: int
    left_out: int
    failed: int
    refused: int
    mismatched: int
    in_work: int
    notes: list[SafeString]

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [("approve_move", _("Can approve cutovers and purges"))]
        constraints: ClassVar = [
            require_kept_name("run", "by"),
            require_kept_name("run", "steered_by"),
            require_kept_name("run", "approved_by"),
            limit_reason("run"),
            limit_reason("run", "override_reason"),
            models.CheckConstraint(
                condition=models.Q(kind="move") ^ models.Q(move_from="", move_to=""),
                name="run_of_moves_names_its_move",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="layout") ^ models.Q(layout=""),
                name="run_of_layouts_names_its_layout",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="test_logins") ^ models.Q(stores=""),
                name="run_of_login_tests_names_stores",
            ),
            models.CheckConstraint(
                condition=~models.Q(approved_by=models.F("by")), name="run_approved_by_another"
            ),
            models.CheckConstraint(
                condition=models.Q(wave=None)
                | (models.Q(override_reason="") & ~models.Q(move_to="purged")),
                name="run_of_campaign_overrides_nothing",
            ),
        ]
        verbose_name = _("run")
        verbose_name_plural = _("runs")

    def __str__(self) -> str:
        return localize(self.name_message)

    @property
    def moves(self) -> PlannedMoves | None:
        """Return the move that it makes of its clients; None of a run of another kind."""
        if self.kind != Run.Kind.MOVE:
            return None
        return PlannedMoves(
            Phase(self.move_from),
            Phase(self.move_to),
            self.reason,
            self.override_reason,
            tuple(self.override_lines),
            self.schedule_deletion,
            only_where_equal=self.only_where_equal,
        )

    @property
    def move_shown(self) -> str:
        """Return the phases between which it moves its clients, in the page's language; "" of a run of another kind."""
        if self.kind != Run.Kind.MOVE:
            return ""
        return f"{self.get_move_from_display()} → {self.get_move_to_display()}"

    @property
    def own_permission(self) -> str:
        """Return the permission for what it does to clients, where the one for runs is not enough; else ""."""
        if moves := self.moves:
            return MOVE_PERMISSIONS[moves.kind]
        if self.overwrite or self.kind in Run.COPIES:
            return "migration.resolve_mismatch"
        if self.kind == Run.Kind.LAYOUT:
            return MOVE_PERMISSIONS[Move.FORWARD]
        return ROTATE_PERMISSION if self.kind == Run.Kind.ROTATE else ""

    @property
    def needs_aws_writes_allowed(self) -> bool:
        """Say whether it waits while this site may not write to AWS; moves back never wait."""
        if moves := self.moves:
            return moves.kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
        return self.kind not in Run.READS_ONLY

    @property
    def name_message(self) -> Message:
        """Return its kind and number as part of a sentence."""
        if self.pk > SWEEPS_FROM:
            return SWEEP_NAME(number=str(self.pk - SWEEPS_FROM))
        return RUN_NAMES[self.kind](id=str(self.pk))

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
        planned: Run | None = None,
        moves: PlannedMoves | None = None,
        layout: str = "",
        stores: LoginStores | None = None,
        secret_settings: dict[str, Any] | None = None,
        reason: str = "",
        campaign_wave: Wave | None = None,
        by_command: bool = False,
        by_schedule: bool = False,
        waits_for: Collection[Message] = (),
    ) -> Run:
        """Start a run over the chosen clients, with an item for each: a new one, or the one that was `planned`.

        Workers learn of it by `tasks.enqueue`. A run of `moves` takes the clients in the phase that these begin in, and
        waits where they need an approval. One of a campaign belongs to a wave, and is approved by who approved the
        campaign. Raises StaleRunError where somebody else has started or discarded the plan.

        `waits_for`: the checks that the one client of a requested run fails now.
        """
        options: dict[str, Any] = {"adopt": adopt, "overwrite": overwrite, "layout": layout}
        options |= {"include_inactive": include_inactive, "stores": stores.value if stores else ""}
        options |= {"secret_settings": secret_settings, "reason": reason}
        if moves:
            chosen, options = chosen.in_phases(moves.old), {**moves.columns}
            if moves.needs_approval and campaign_wave:
                campaign = campaign_wave.campaign
                options["approved_by"] = campaign.approved_by
                options["approved_by_name"] = campaign.approved_by_name
            elif moves.needs_approval:
                options["state"] = cls.State.REQUESTED
        options |= {"kind": kind, "by": by, "by_name": get_kept_name(by), "tries": tries}
        options |= {"wave": campaign_wave, "state": options.get("state", cls.State.RUNNING)}
        if by_schedule and kind == cls.Kind.COMPARE:
            options["pk"] = _next_sweep_id()
        with transaction.atomic():
            if planned:
                now = timezone.now()
                options |= {"chosen": None, "created_at": now, "worked_at": now}
                planned.leave_state(cls.State.PLANNED, **options)
                run = planned
            else:
                run = cls.objects.create(**options)
            rows = chosen.order_by("pk").values_list("pk", "slug")
            run.add_items(rows.iterator(chunk_size=ITEMS_AT_ONCE))
            if moves or by_command or not run.is_of_schedule:
                run.record_start(by, waits_for)
            run.finish_if_done()
        return run

    @classmethod
    def store_plan(cls, *, by: User | None, chosen: Collection[int] | None, **columns: Any) -> Run:
        """Store a run of an act that is to be planned first, over these clients or all; workers make its plan."""
        with transaction.atomic():
            run = cls.objects.create(
                by=by,
                chosen=None if chosen is None else sorted(chosen),
                state=cls.State.PLANNING,
                **columns,
            )
            run.record_act(RUN_PLANNED(run=run.name_message), by=by)
        return run

    @property
    def is_open_plan(self) -> bool:
        """Say whether it is or will be planned, and can still be started or discarded."""
        return self.state in (Run.State.PLANNING, Run.State.PLANNED)

    def require_planned(self) -> None:
        """Raise StaleRunError unless it is planned, and neither started nor discarded yet."""
        if self.state != Run.State.PLANNED:
            raise StaleRunError(self, Run.State.RUNNING)

    @property
    def plan_rows(self) -> PlanRowQuerySet:
        """Select what was planned, a row for each client; none before the plan is made."""
        return PlanRow.objects.filter(run=self.pk, look=self.look)  # type: ignore[misc]  # no row has NULL

    def read_plan_counts(self) -> PlanCounts:
        """Return the counts of the plan, as they were stored."""
        return PlanCounts.from_json(self.plan_counts)

    def finish_planning(self, batches: Iterable[Collection[PlannedClient]]) -> None:
        """Store these clients as the plan, batch by batch; raises StaleRunError if another worker made it.

        Two workers may look at the same plan: each has rows of its own, and those of the one that is late are deleted.
        """
        look, counts = uuid4(), PlanCounts()
        own = PlanRow.objects.filter(run=self.pk, look=look)
        try:
            for found in batches:
                PlanRow.objects.add(self.pk, look, found)
                counts.add(found)
            with transaction.atomic():
                self.leave_state(
                    Run.State.PLANNING,
                    state=Run.State.PLANNED,
                    look=look,
                    plan_counts=counts.to_json(),
                    planned_at=timezone.now(),
                )
                # Of workers that were killed, or are late: theirs finds no plan to make, and deletes what it adds.
                PlanRow.objects.filter(run=self.pk).exclude(look=look).delete()
        except Exception:
            # Or each look that a defect ends would leave its rows. A database that failed may refuse this too, as in a
            # transaction of the caller's, which takes the rows back: the first error says what is wrong.
            with suppress(Error):
                own.delete()
            raise

    def discard(self, *, by: User | None) -> None:
        """Close a plan: it never begins."""
        with transaction.atomic():
            self.leave_state(
                Run.State.PLANNING,
                Run.State.PLANNED,
                state=Run.State.DISCARDED,
                finished_at=timezone.now(),
            )
            self.record_act(RUN_DISCARDED(run=self.name_message), by=by)

    def leave_state(self, *old: State, state: State, **fields: Any) -> None:
        """Give it this state and these columns if it is in one of the `old`; raises StaleRunError where it is not."""
        fields |= {"state": state}
        if Run.objects.filter(pk=self.pk, state__in=old, finished_at=None).update(**fields) != 1:
            self._raise_stale(state)
        for name, value in fields.items():
            setattr(self, name, value)

    @property
    def is_of_schedule(self) -> bool:
        """Say whether the schedule started it, as its single try shows; a command's with `--inline` looks like one."""
        return not self.by_name and self.tries == 1 and self.wave_id is None

    def record_start(self, by: User | None, waits_for: Collection[Message] = ()) -> None:
        """Record in the audit that it was started or requested; of the schedule's runs there are too many."""
        within = self._find_correlation()
        if moves := self.moves:
            requested = self.state == self.State.REQUESTED
            sentence = MOVES_REQUESTED if requested else MOVES_STARTED
            phases = {"old": moves.old.label, "new": moves.new.label}
            facts = sentence(run=self.name_message, n=self.items.count(), **phases)
            if waits_for:
                reasons = tuple(waits_for)
                facts = MOVES_REQUESTED_TO_WAIT(run=self.name_message, reasons=reasons, **phases)
            code = REQUEST_EVENT if requested else RUN_EVENT
            self.record_act(facts, by=by, code=code, reason=moves.reason, within=within)
            if moves.override_reason:
                facts = OVERRIDE_ASKED_FOR(run=self.name_message)
                self.record_act(facts, by=by, code=OVERRIDE_EVENT, reason=moves.override_reason)
        else:
            started = RUN_STARTED(run=self.name_message)
            self.record_act(started, by=by, reason=self.reason, within=within)

    def _find_correlation(self) -> str:
        """Return under which name its start and its end are recorded: a campaign tells those of its runs."""
        return f"campaign {self.wave.campaign_id}" if self.wave else f"run {self.pk}"

    @property
    def was_begun_by_schedule(self) -> bool:
        """Say whether the schedule began it, and no command in nobody's name: of such a one the start is recorded."""
        return self.is_of_schedule and not self._is_start_recorded()

    def _is_start_recorded(self) -> bool:
        own = AuditEvent.objects.filter(correlation=self._find_correlation(), slug="")
        return own.filter(code=RUN_EVENT).exists()

    def read_request(self) -> RequestContent:
        """Return what an approval of the run covers: the clients that are left in it, and what it does to them."""
        return read_request_content(
            "SELECT client_id, slug FROM migration_runitem WHERE run_id = %(id)s AND outcome = ''",
            # When a client last left it, is told by the clients.
            "SELECT (to_jsonb(run) - 'worked_at')::text FROM migration_run AS run WHERE id = %(id)s",
            {"id": self.pk},
        )

    def add_items(self, chosen: Iterable[tuple[int, str]]) -> None:
        """Add an item for each client (id, slug), a hundred to a batch."""
        numbered = enumerate(chosen)
        while some := list(islice(numbered, ITEMS_AT_ONCE)):
            clients = [(pk, slug, position // self.BATCH) for position, (pk, slug) in some]
            RunItem.objects.add(self.pk, ACTS[self.kind], clients)

    @cached_property
    def only_item(self) -> RunItem | None:
        """Return the item of a run of one client; None of any other."""
        # By an index that begins with the run: by their ids PostgreSQL might read those of all runs before it.
        items = list(self.items.order_by("outcome", "batch")[:2])
        return items[0] if len(items) == 1 else None

    def count_open_batches(self) -> int:
        """Count the batches with an open item: more tasks than these find nothing to do."""
        return self.items.open().values("batch").distinct().count()

    def count_outcomes_and_matches(self) -> dict[str, int]:
        """Count the items by outcome, and the comparisons that matched and that did not; zeros included.

        What a stop left out is `not_begun`, and not among the `skipped`.
        """
        rows = (
            self.items.order_by()
            .values_list("outcome", "comparison_status")
            .annotate(
                number=models.Count("*"), left_out=models.Count("pk", filter=was_never_begun())
            )
        )
        counts = {
            "clients": 0,
            **{o.value: 0 for o in Outcome if self.kind == OF_ONE_KIND.get(o, self.kind)},
            "not_begun": 0,
            "matched": 0,
            "mismatched": 0,
        }
        for outcome, status, number, left_out in rows:
            counts["clients"] += number
            counts["not_begun"] += left_out
            if outcome:
                counts[outcome] += number - left_out
            if status == Comparison.Status.MATCH:
                counts["matched"] += number
            elif status in Comparison.DIFFERS:
                counts["mismatched"] += number
        return counts

    def finish_if_done(self) -> bool:
        """Finish it where no item is open, with an event and a notice; True for the one caller that did."""
        open_items = RunItem.objects.open().filter(run_id=models.OuterRef("pk"))
        unfinished = Run.objects.started().filter(
            ~models.Exists(open_items), pk=self.pk, finished_at=None
        )
        stays = models.When(state=self.State.STOPPED, then=models.F("state"))
        new = models.Case(stays, default=models.Value(self.State.FINISHED))
        now = timezone.now()
        with transaction.atomic():
            is_done = unfinished.update(finished_at=now, state=new) == 1
            # Of a run whose start nobody was told of, nobody is told the end.
            if is_done and (not self.is_of_schedule or self._is_start_recorded()):
                self.refresh_from_db(fields=["state"])
                counts = self.count_outcomes_and_matches()
                facts = self._describe_outcomes(counts)
                self.record_act(facts, by=SYSTEM, within=self._find_correlation())
                if counts["clients"] and not self.is_of_schedule:
                    key = f"run {self.pk}:{now.isoformat()}"
                    Notice.objects.record(NoticeEvent.RUN_ENDED, facts, key=key)
        return is_done

    def _describe_outcomes(self, counts: dict[str, int]) -> Message:
        """Say how many of the run's clients have which outcome."""
        numbers = {
            "n": counts["clients"],
            "failed": counts["failed"],
            "refused": counts.get("refused", 0),
            "differ": counts["mismatched"],
        }
        if self.state == self.State.STOPPED:
            left = counts["not_begun"]
            return RUN_ENDED_BY_STOP(run=self.name_message, left=left, **numbers)
        if not any(numbers[each] for each in ("failed", "refused", "differ")):
            return RUN_ENDED_WELL(run=self.name_message, n=numbers["n"])
        return RUN_ENDED(run=self.name_message, **numbers)

    def pause(self, *, by: User | None) -> None:
        """Pause it: workers finish the batches that they hold and claim no others."""
        self._change_state(by, self.State.PAUSED, self.State.RUNNING)

    def resume(self, *, by: User | None) -> None:
        """Let a paused run go on; the caller enqueues it again."""
        self._change_state(by, self.State.RUNNING, self.State.PAUSED)

    def stop(self, *, by: User | None) -> None:
        """Stop a run, paused or not, until `reopen_never_begun`.

        `engine.skip_free_items_of_stopped_run` skips its open items.
        """
        self._change_state(by, self.State.STOPPED, self.State.RUNNING, self.State.PAUSED)

    def approve(self, *, by: User, is_done: bool = False) -> None:
        """Let a requested run begin, in the name of `by`; the caller enqueues it.

        `is_done`: its one client was moved in the same transaction, and so it is finished.
        """
        now, new = timezone.now(), self.State.RUNNING
        approved: dict[str, Any] = {"approved_by": by, "approved_by_name": get_kept_name(by)}
        if self.began_at is None:
            approved["began_at"] = now
        if is_done:
            new, approved["finished_at"] = self.State.FINISHED, now
        with transaction.atomic():
            self._change_state(by, new, self.State.REQUESTED, **approved)
            if is_done:
                self.items.open().update(outcome=Outcome.MOVED, finished_at=now)
            facts = MOVES_APPROVED(run=self.name_message, who=self.by_name)
            self.record_act(facts, by=by, code=APPROVAL_EVENT, reason=self.reason)

    def stop_unapproved(self, *, by: User | None) -> None:
        """Stop a run that nobody has approved; `engine.skip_free_items_of_stopped_run` skips its items."""
        self._change_state(by, self.State.STOPPED, self.State.REQUESTED)

    def reopen_failed(self, *, by: User | None, item_id: int | None = None) -> None:
        """Open the run's failed and refused items again, or one of them; the caller enqueues the run again."""
        failed = self.items.filter(outcome__in=CAN_BE_RETRIED)
        if item_id is not None:
            failed = failed.filter(pk=item_id)
        self._open_again(failed, by=by)

    def reopen_never_begun(self, *, by: User | None, with_failed: bool = False) -> None:
        """Open again what a stop or an interruption left out, on request the failed too; the caller enqueues it."""
        rest = self.items.never_begun()
        if with_failed:
            rest |= self.items.filter(outcome__in=CAN_BE_RETRIED)
        self._open_again(rest, by=by)

    def _open_again(self, items: RunItemQuerySet, *, by: User | None) -> None:
        """Let a run that is over go on with these items; raises StaleRunError where it is not over, or none is left.

        A run that was approved waits for another approval. One whose request was withdrawn raises WithdrawnRunError.
        """
        with transaction.atomic():
            if self.items.left_out_by_withdrawal().exists():
                raise WithdrawnRunError(self)
            if not items.exists():
                self._raise_stale(self.State.RUNNING)
            # Somebody may have approved it since this row was read.
            self.refresh_from_db(fields=["approved_by_name", "began_at"])
            new, over = self.State.RUNNING, dict[str, Any](finished_at=None)
            # Not approved now, it was before where others of its clients waited for another approval and left it.
            if self.approved_by_name or self.began_at:
                new = self.State.REQUESTED
                over |= {"approved_by": None, "approved_by_name": ""}
                # It began before that.
                over["began_at"] = self.began_at or self.created_at
            self._change_state(by, new, self.State.FINISHED, self.State.STOPPED, **over)
            items.open_again()

    def _change_state(self, by: User | None, new: State, *old: State, **fields: Any) -> None:
        """Set the state if it is one of `old`; raises StaleRunError where it is not."""
        now = timezone.now()
        # A stopped run that is not finished yet cannot be retried: workers may still finish their batches.
        is_over = fields.get("finished_at", now) is None
        fields |= {"state": new, "steered_by": by, "steered_by_name": get_kept_name(by)}
        fields |= {"steered_at": now, "worked_at": now}
        found = Run.objects.filter(pk=self.pk, state__in=old, finished_at__isnull=not is_over)
        with transaction.atomic():
            if changed := found.update(**fields):
                state = RUN_STEERED(run=self.name_message, state=new.value)
                act = self.record_act(state, by=by)
                if new == self.State.REQUESTED:
                    Notice.objects.record_act_as(NoticeEvent.APPROVAL_WANTED, act)
        if not changed:
            self._raise_stale(new)
        for name, value in fields.items():
            setattr(self, name, value)

    def record_act(
        self,
        facts: Message,
        *,
        by: User | str | None,
        code: EventKind = RUN_EVENT,
        reason: str = "",
        within: str = "",
    ) -> AuditEvent:
        """Record in the audit what was done with the run, under the name that its entries share, or `within`.

        What is done with the request for one client is an entry of that client too.
        """
        about = self.describe_client() if code in REQUEST_KINDS else {}
        with acting(self.as_actor(within)):
            act = AuditEvent.objects.record(code, facts, by=by, reason=reason, **about)
        Notice.objects.record_act(act, also_tell=self.by)
        return act

    def as_actor(self, within: str = "") -> Actor:
        """Return who acts now, for entries under the name that those of the run share, or `within`."""
        actor = current_actor()
        return Actor(actor.origin, within or f"run {self.pk}", actor.find_name)

    def describe_client(self) -> dict[str, Any]:
        """Return the client of a run of one, as an entry of the audit names it; {} of any other."""
        item = self.only_item
        return {"client_id": item.client_id, "slug": item.slug} if item else {}

    def _raise_stale(self, wanted: State) -> NoReturn:
        self.refresh_from_db(fields=["state"])
        raise StaleRunError(self, wanted)
