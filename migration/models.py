"""Where each client stands, what was compared, and the runs over many clients. Rules about these rows; no network.

No column here has a constraint on NOVA's tables: NOVA deletes clients, and our history must neither stop that nor go.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client, ClientQuerySet
from credentials.runtime.secrets_manager import ErrorClass
from migration.comparison import Mismatch
from migration.phases import Phase, check_move

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.contrib.auth.models import User


COMPARISONS_ARE_KEPT = timedelta(days=30)
SWEEPS_ARE_KEPT = timedelta(days=2)


class PhaseChoices(models.TextChoices):
    """`Phase` with labels for people."""

    POSTGRES = Phase.POSTGRES.value, _("PostgreSQL")
    DUAL_WRITE = Phase.DUAL_WRITE.value, _("Dual write")
    DUAL_READ = Phase.DUAL_READ.value, _("Dual read")
    AWS = Phase.AWS.value, _("AWS (cut over)")
    PURGED = Phase.PURGED.value, _("Purged")


# The phases in which what is written to the tables is to be pushed.
WRITES_BOTH = tuple(phase for phase in Phase if phase.writes_both)


class ClientsByPhase(ClientQuerySet):
    """Clients and where they stand; one without a `ClientMigration` was never touched and stands in `postgres`."""

    def with_phase(self) -> Self:
        """Adds `phase`."""
        return self.annotate(
            phase=Coalesce("client_migration__phase", models.Value(Phase.POSTGRES.value))
        )

    def in_phases(self, *phases: Phase) -> Self:
        wanted = models.Q(client_migration__phase__in=phases)
        if Phase.POSTGRES in phases:
            wanted |= models.Q(client_migration=None)
        return self.filter(wanted)

    def to_push(self) -> Self:
        """Those that write both stores and whose newest rows are not in AWS yet."""
        return self.in_phases(*WRITES_BOTH).with_push_pending()


def clients() -> ClientsByPhase:
    """Every client, with the questions about phases on its QuerySet."""
    return ClientsByPhase(model=Client)


class ClientMigrationQuerySet(models.QuerySet["ClientMigration"]):
    def move(
        self,
        client_ids: Collection[int],
        old: Phase,
        new: Phase,
        *,
        by: User | None = None,
        reason: str = "",
        run: Run | None = None,
    ) -> set[int]:
        """Moves those that still stand in `old`, each with its `PhaseChange`; answers with their ids."""
        check_move(f"{len(client_ids)} clients", old, new)
        with transaction.atomic():
            self.bulk_create(
                [ClientMigration(client_id=pk) for pk in client_ids], ignore_conflicts=True
            )
            standing = list(
                self.filter(client_id__in=client_ids, phase=old)
                .select_for_update(of=("self",))
                .order_by("client_id")
                .select_related("client")
            )
            now = timezone.now()
            self.filter(pk__in=[row.pk for row in standing]).update(phase=new, phase_changed_at=now)
            PhaseChange.objects.bulk_create(
                PhaseChange(
                    client_id=row.pk,
                    slug=row.client.slug,
                    old=old,
                    new=new,
                    by=by,
                    reason=reason,
                    run=run,
                    comparison_id=row.comparison_id,
                    changed_at=now,
                )
                for row in standing
            )
        return {row.pk for row in standing}


class ClientMigration(models.Model):
    """Where one client stands, and its newest comparison."""

    client = models.OneToOneField(
        Client,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="client_migration",
    )
    phase = models.CharField(
        _("phase"),
        max_length=16,
        choices=PhaseChoices,
        default=PhaseChoices.POSTGRES,
        db_index=True,
    )
    phase_changed_at = models.DateTimeField(_("phase since"), null=True)
    comparison = models.OneToOneField(
        "Comparison",
        models.SET_NULL,
        null=True,
        related_name="newest_of",
        verbose_name=_("newest comparison"),
    )
    clean_streak = models.PositiveIntegerField(_("matches in a row"), default=0, db_default=0)

    objects = ClientMigrationQuerySet.as_manager()

    class Meta:
        permissions: ClassVar = [
            ("move_client", _("Can move clients between phases")),
            ("purge_client", _("Can purge clients")),
            ("resolve_mismatch", _("Can resolve mismatches")),
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in phase {self.phase}"


class PhaseChange(models.Model):
    """One move of one client."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="phase_changes"
    )
    slug = models.CharField(max_length=100)
    old = models.CharField(_("from"), max_length=16, choices=PhaseChoices)
    new = models.CharField(_("to"), max_length=16, choices=PhaseChoices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    reason = models.TextField(_("reason"), blank=True)
    run = models.ForeignKey("Run", models.SET_NULL, null=True, related_name="phase_changes")
    comparison = models.ForeignKey("Comparison", models.SET_NULL, null=True, related_name="+")
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return f"{self.slug}: {self.old} → {self.new}"


class SecretQuerySet(models.QuerySet["Secret"]):
    def record(self, secrets: Iterable[Secret]) -> None:
        """Stores each secret under its name, in place of what was known of it."""
        self.bulk_create(
            secrets,
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["client_id", "arn", "version_id", "seen_at"],
        )


class Secret(models.Model):
    """A secret that is ours: its name, and the version that a push last wrote or found equal."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="secrets"
    )
    name = models.CharField(max_length=512, primary_key=True)
    arn = models.CharField(max_length=2048)
    version_id = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)

    objects = SecretQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def record(
        self, comparisons: Iterable[Comparison], *, read_back: bool = False
    ) -> list[Comparison]:
        """Stores them and makes each its client's newest, unless a newer one is there.

        A match makes the client's clean streak longer, but not where it only is a push that was `read_back`.
        """
        rows = self.bulk_create(comparisons)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept (client_id, phase, comparison_id, clean_streak)
                SELECT client_id, 'postgres', id, CASE WHEN status = 'match' THEN %s ELSE 0 END
                FROM migration_comparison WHERE id = ANY(%s)
                ORDER BY client_id
                ON CONFLICT (client_id) DO UPDATE
                SET comparison_id = greatest(kept.comparison_id, excluded.comparison_id),
                    clean_streak = CASE WHEN kept.comparison_id > excluded.comparison_id THEN kept.clean_streak
                                        WHEN 'match' = (
                                            SELECT status FROM migration_comparison WHERE id = excluded.comparison_id
                                        ) THEN kept.clean_streak + excluded.clean_streak
                                        ELSE 0 END
                """,
                [0 if read_back else 1, [row.pk for row in rows]],
            )
        return rows

    def newest(self) -> Self:
        """Each client's newest one, of the clients that are still there."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))),
            newest_of__isnull=False,
        )

    def in_doubt(self) -> Self:
        """Everything that is not a match; "could not check" is none."""
        return self.exclude(status=Comparison.Status.MATCH)

    def forget_old(self) -> None:
        """Deletes what is older than a month and nobody's newest, and the schedule's own runs of two days ago."""
        now = timezone.now()
        stood_on = PhaseChange.objects.filter(comparison_id=models.OuterRef("pk"))
        old = self.filter(
            ~models.Exists(stood_on), newest_of=None, compared_at__lt=now - COMPARISONS_ARE_KEPT
        )
        old._raw_delete(self.db)  # noqa: SLF001  # one statement, where delete() would fetch every row
        Run.objects.filter(
            by=None, kind=Run.Kind.COMPARE, created_at__lt=now - SWEEPS_ARE_KEPT
        ).delete()

    def with_acknowledged(self) -> Self:
        """Adds `acknowledged`: whether somebody took note of just these mismatches, and the day is not over yet."""
        taken_note_of = Resolution.objects.filter(
            client_id=models.OuterRef("client_id"),
            kind=Resolution.Kind.ACKNOWLEDGE,
            mismatches=models.OuterRef("mismatches"),
            until__gte=timezone.localdate(),
        )
        return self.annotate(acknowledged=models.Exists(taken_note_of))

    def unacknowledged(self) -> Self:
        return self.with_acknowledged().filter(acknowledged=False)


class Comparison(models.Model):
    """One stored check of both stores: fingerprints only, never a value."""

    class Status(models.TextChoices):
        MATCH = "match", _("Match")
        MISMATCH = "mismatch", _("Mismatch")
        MISSING_IN_AWS = "missing_in_aws", _("Missing in AWS")
        MISSING_IN_POSTGRES = "missing_in_postgres", _("Missing in PostgreSQL")
        UNCHECKED = "unchecked", _("Could not check")

    DIFFERS = (Status.MISMATCH, Status.MISSING_IN_AWS, Status.MISSING_IN_POSTGRES)

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="comparisons"
    )
    slug = models.CharField(_("slug"), max_length=100)
    run = models.ForeignKey("Run", models.SET_NULL, null=True, related_name="comparisons")
    status = models.CharField(_("status"), max_length=20, choices=Status, db_index=True)
    error_class = models.CharField(_("error class"), max_length=16, blank=True)
    message = models.TextField(_("message"), blank=True)
    mismatches = models.JSONField(_("mismatches"), default=list)
    revision = models.BigIntegerField(_("revision"), default=0)
    compared_at = models.DateTimeField(_("compared"), default=timezone.now)

    objects = ComparisonQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="comparison_of_client")]
        verbose_name = _("comparison")
        verbose_name_plural = _("comparisons")

    def __str__(self) -> str:
        return f"{self.slug}: {self.get_status_display()}"

    def fields_that_differ(self) -> list[Mismatch]:
        return [Mismatch.from_json(row) for row in self.mismatches]


class Resolution(models.Model):
    """What somebody did about a mismatch."""

    class Kind(models.TextChoices):
        CHECK = "check", _("Checked again")
        TO_AWS = "to_aws", _("Copied PostgreSQL to AWS")
        TO_POSTGRES = "to_postgres", _("Copied AWS to PostgreSQL")
        ACKNOWLEDGE = "acknowledge", _("Acknowledged")

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="resolutions"
    )
    slug = models.CharField(max_length=100)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    reason = models.TextField(_("reason"), blank=True)
    message = models.TextField(_("what became of it"), blank=True)
    # What was acknowledged, and the last day on which it counts: another mismatch is news again.
    mismatches = models.JSONField(default=list)
    until = models.DateField(_("until"), null=True)
    resolved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="resolution_of_client")]

    def __str__(self) -> str:
        return f"{self.slug}: {self.get_kind_display()}"


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


class ReadCount(models.Model):
    """What NOVA's reader saw of one client; written by `credentials.runtime.reader`, in plain SQL."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="read_count"
    )
    reads = models.BigIntegerField(_("reads"), default=0, db_default=0)
    matches = models.BigIntegerField(_("matches"), default=0, db_default=0)
    mismatches = models.BigIntegerField(_("mismatches"), default=0, db_default=0)
    aws_failures = models.BigIntegerField(_("AWS failures"), default=0, db_default=0)
    last_read_at = models.DateTimeField(_("last read"), null=True)
    last_mismatch_at = models.DateTimeField(_("last mismatch"), null=True)

    def __str__(self) -> str:
        return f"reads of client {self.client_id}"
