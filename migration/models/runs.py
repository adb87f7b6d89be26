"""Owns runs: one request over many clients, which workers process batch by batch."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.localization import localize
from migration import sentences
from migration.models.approvals import RequestContent, read_request_content
from migration.models.comparisons import Comparison
from migration.models.kept_names import KeptNameField, require_kept_name
from migration.models.layouts import LayoutChoices
from migration.models.login_tests import LoginStores
from migration.models.phases import MOVE_PERMISSIONS, PhaseChoices
from migration.models.planned_moves import PlannedMoves
from migration.models.reasons import limit_reason
from migration.models.run_items import (
    ACTS,
    CAN_BE_RETRIED,
    OF_ONE_KIND,
    Outcome,
    RunItem,
    RunItemQuerySet,
    was_never_begun,
)
from migration.models.steered_runs import SteeredRun
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User

    from migration.campaigns.models import Wave
    from migration.models.clients import ClientPhaseQuerySet
    from migration.models.run_plans import RunPlan
    from nova_credentials.messages import Message

SWEEPS_ARE_KEPT = timedelta(days=2)
# Working workers begin or end a batch more often than this.
STALLED_AFTER = timedelta(seconds=60)
# Enough for about an hour.
MANY_TRIES = 60
# Items are made in portions, so that memory doesn't grow with the number of clients.
ITEMS_AT_ONCE = 1000


class RunQuerySet(models.QuerySet["Run"]):
    def stalled(self) -> Self:
        """Select running or stopped runs that no worker has worked on for STALLED_AFTER."""
        before = timezone.now() - STALLED_AFTER
        return self.filter(
            state__in=(Run.State.RUNNING, Run.State.STOPPED),
            finished_at=None,
            worked_at__lt=before,
        )

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

    def forget_sweeps(self) -> None:
        """Delete the comparison runs that no user started, of more than two days ago, with their items."""
        before = timezone.now() - SWEEPS_ARE_KEPT
        self.filter(by_name="", kind=Run.Kind.COMPARE, created_at__lt=before).delete()

    def without_sweeps(self) -> Self:
        """Leave out the comparison runs that no user started: the schedule's, and those of commands."""
        return self.exclude(by_name="", kind=Run.Kind.COMPARE)

    def with_counts(self) -> Self:
        """Annotate `total`, of these `done` (with an outcome of any kind), and of these each kind by itself.

        What a stop left out is not done: it is `left_out`, and not among the `skipped`.
        """
        count, left_out = models.Count, was_never_begun("items__")
        differs = models.Q(items__comparison_status__in=Comparison.DIFFERS)
        others = ["", Outcome.SKIPPED, *CAN_BE_RETRIED]
        return self.annotate(
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


class Run(SteeredRun):
    """One request over many clients. It is finished once every item has an outcome."""

    class Kind(models.TextChoices):
        MIGRATE = "migrate", _("Migration")
        PUSH = "push", _("Push")
        COMPARE = "compare", _("Comparison")
        MOVE = "move", _("Moves")
        LAYOUT = "layout", _("Change of layout")
        TEST_LOGINS = "test_logins", _("Login tests")
        ROTATE = "rotate", _("Rotation")
        SECRET_SETTINGS = "secret_settings", _("Key and regions")
        # As a `Resolution` calls them.
        TO_AWS = "to_aws", _("Copies to AWS")
        TO_POSTGRES = "to_postgres", _("Copies to PostgreSQL")

    READS_ONLY: ClassVar = (Kind.COMPARE, Kind.TEST_LOGINS)
    COPIES: ClassVar = (Kind.TO_AWS, Kind.TO_POSTGRES)
    # Large enough for few statements a client, small enough that repeating a batch is cheap.
    BATCH = 100

    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
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
    created_at = models.DateTimeField(_("created"), default=timezone.now)

    total: int
    done: int
    succeeded: int
    skipped: int
    left_out: int
    failed: int
    refused: int
    mismatched: int

    objects = RunQuerySet.as_manager()

    class Meta(SteeredRun.Meta):
        abstract = False
        ordering: ClassVar = ["-id"]
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
        return "migration.resolve_mismatch" if self.kind in Run.COPIES else ""

    @property
    def needs_aws_writes_allowed(self) -> bool:
        """Say whether it waits while this site may not write to AWS; moves back never wait."""
        moves = self.moves
        return moves.goes_towards_aws if moves else self.kind not in Run.READS_ONLY

    @property
    def is_of_schedule(self) -> bool:
        """Say whether the schedule started it, by its single try; a command's run with `--inline` counts too."""
        return not self.by_name and self.tries == 1 and self.wave_id is None

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
        moves: PlannedMoves | None = None,
        layout: str = "",
        stores: LoginStores | None = None,
        secret_settings: dict[str, Any] | None = None,
        reason: str = "",
        campaign_wave: Wave | None = None,
        approved_by: User | None = None,
        approved_by_name: str = "",
    ) -> Self:
        """Store a run over the chosen clients, with an item for each. Workers learn of it by `tasks.enqueue`.

        A run of `moves` takes the clients in the phase that these begin in, and waits where they need an approval. One
        of a campaign belongs to a wave, and is approved by who approved the campaign.
        """
        options: dict[str, Any] = {"adopt": adopt, "overwrite": overwrite, "layout": layout}
        options |= {"include_inactive": include_inactive, "stores": stores.value if stores else ""}
        options |= {"secret_settings": secret_settings, "reason": reason}
        if moves:
            chosen, options = chosen.in_phases(moves.old), moves.columns
            if moves.needs_approval:
                options["state"] = cls.State.REQUESTED
        with transaction.atomic():
            run = cls.objects.create(
                kind=kind,
                by=by,
                tries=tries,
                wave=campaign_wave,
                approved_by=approved_by,
                approved_by_name=approved_by_name,
                **options,
            )
            if plan:
                plan.attach_to(run)
            rows = chosen.order_by("pk").values_list("pk", "slug")
            run.add_items(rows.iterator(chunk_size=ITEMS_AT_ONCE))
            run.finish_if_done()
            run.record_start_in_audit(by)
        return run

    def read_request(self) -> RequestContent:
        """Return what an approval of the run covers: the clients that are left in it, and what it does to them."""
        return read_request_content(
            "SELECT client_id, slug FROM migration_runitem WHERE run_id = %(id)s AND outcome = ''",
            "SELECT run::text FROM migration_run AS run WHERE id = %(id)s",
            {"id": self.pk},
        )

    def add_items(self, chosen: Iterable[tuple[int, str]]) -> None:
        """Add an item for each client (id, slug), a hundred to a batch."""
        numbered = enumerate(chosen)
        while some := list(islice(numbered, ITEMS_AT_ONCE)):
            clients = [(pk, slug, position // self.BATCH) for position, (pk, slug) in some]
            RunItem.objects.add(self.pk, ACTS[self.kind], clients)

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

    items: RunItemQuerySet
