"""Where each client stands, every move of it, its secrets, and what NOVA's reader saw of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client, ClientQuerySet
from migration.models.fields import MessageField
from migration.models.reasons import reason_is_short
from nova_credentials.phases import Move, Phase, check_move

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.models.runs import Run
    from nova_credentials.messages import Message


class PhaseChoices(models.TextChoices):
    """`Phase` with labels for people."""

    POSTGRES = Phase.POSTGRES.value, _("PostgreSQL")
    DUAL_WRITE = Phase.DUAL_WRITE.value, _("Dual write")
    DUAL_READ = Phase.DUAL_READ.value, _("Dual read")
    AWS = Phase.AWS.value, _("AWS (cut over)")
    PURGED = Phase.PURGED.value, _("Purged")


# The phases in which what is written to the tables is to be pushed.
WRITES_BOTH = tuple(phase for phase in Phase if phase.writes_both)


# What somebody needs to make a move, or to ask for it.
MOVE_PERMISSIONS = {
    move: "migration.purge_client"
    if move in (Move.PURGE, Move.RESTORE)
    else "migration.move_client"
    for move in Move
}


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

    def push_pending(self) -> Self:
        """Those that write both stores and whose newest rows are not in AWS yet."""
        return self.in_phases(*WRITES_BOTH).with_push_pending()

    def to_push(self) -> Self:
        """Those of them that are worth a try: where these rows were refused, another try would be too."""
        refused = models.Q(client_migration__refused_revision=models.F("revision"))
        return self.push_pending().exclude(refused)

    def push_late(self, since: datetime) -> Self:
        """Those of them that wait for a write from before that moment."""
        return self.to_push().with_push_pending_since(since)

    def push_refused(self) -> Self:
        return self.push_pending().filter(client_migration__refused_revision=models.F("revision"))


def clients() -> ClientsByPhase:
    """Every client, with the questions about phases on its QuerySet."""
    return ClientsByPhase(model=Client)


class ClientMigrationQuerySet(models.QuerySet["ClientMigration"]):
    def of_present_clients(self) -> Self:
        """NOVA deletes clients; where they stood is history."""
        return self.filter(models.Exists(Client.objects.filter(pk=models.OuterRef("pk"))))

    def move(
        self,
        client_ids: Collection[int],
        old: Phase,
        new: Phase,
        *,
        by: User | None = None,
        reason: str = "",
        note: Message | None = None,
        run: Run | None = None,
    ) -> set[int]:
        """Moves those that still stand in `old`, each with its `PhaseChange`; answers with their ids.

        `reason` is what somebody typed, `note` what is ours to say of it.
        """
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
            # What NOVA's reader has seen so far: a cutover is watched from here.
            seen = ReadCount.objects.in_bulk(client_ids) if new == Phase.AWS else {}
            self.filter(pk__in=[row.pk for row in standing]).update(phase=new, phase_changed_at=now)
            PhaseChange.objects.bulk_create(
                PhaseChange(
                    client_id=row.pk,
                    slug=row.client.slug,
                    old=old,
                    new=new,
                    by=by,
                    reason=reason,
                    note=note,
                    run=run,
                    comparison_id=row.comparison_id,
                    reads_before=seen[row.pk].numbers() if row.pk in seen else {},
                    changed_at=now,
                )
                for row in standing
            )
        return {row.pk for row in standing}

    def record_refused(self, revisions: Iterable[tuple[int, int | None]]) -> None:
        """Stores, for each (client id, revision), that these rows were refused; None: they were not."""
        pairs = sorted(revisions, key=lambda pair: pair[0])
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept (client_id, phase, refused_revision)
                SELECT client_id, 'postgres', refused FROM unnest(%s::int[], %s::bigint[]) AS new (client_id, refused)
                ON CONFLICT (client_id) DO UPDATE SET refused_revision = excluded.refused_revision
                WHERE kept.refused_revision IS DISTINCT FROM excluded.refused_revision
                """,
                [[client_id for client_id, _ in pairs], [revision for _, revision in pairs]],
            )


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
    # The newest comparison's own, kept here too: counting them reads no row of the many comparisons.
    comparison_status = models.CharField(max_length=20, null=True, db_index=True)
    compared_at = models.DateTimeField(null=True)
    # The revision of the rows that a push could not send, until somebody changes something.
    refused_revision = models.BigIntegerField(null=True)
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
    # As it was typed, and what is ours to say of the move.
    reason = models.TextField(_("reason"), blank=True)
    note = MessageField(_("note"), null=True)
    run = models.ForeignKey("Run", models.SET_NULL, null=True, related_name="phase_changes")
    comparison = models.ForeignKey("Comparison", models.SET_NULL, null=True, related_name="+")
    # The reader's counts at a move to AWS (`ReadCount.numbers`).
    reads_before = models.JSONField(default=dict, db_default={})
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # The dashboard's newest moves: those of a run are told by the run.
            models.Index(fields=["-id"], condition=models.Q(run=None), name="move_by_hand")
        ]
        constraints: ClassVar = [reason_is_short("phasechange")]

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


class ReadCount(models.Model):
    """What NOVA's reader saw of one client; written by `nova_credentials.reader`, in plain SQL."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="read_count"
    )
    reads = models.BigIntegerField(_("reads"), default=0, db_default=0)
    matches = models.BigIntegerField(_("matches"), default=0, db_default=0)
    mismatches = models.BigIntegerField(_("mismatches"), default=0, db_default=0)
    aws_failures = models.BigIntegerField(_("AWS failures"), default=0, db_default=0)
    last_read_at = models.DateTimeField(_("last read"), null=True)
    last_mismatch_at = models.DateTimeField(_("last mismatch"), null=True)
    # By the database: the reader's statement names no such column.
    counted_since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"reads of client {self.client_id}"

    def numbers(self) -> dict[str, int]:
        return {"reads": self.reads, "aws_failures": self.aws_failures}
