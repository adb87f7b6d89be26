"""Owns each client's phase with its history, counted reads and offboarding, and the queries over clients."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import EmptyResultSet
from django.db import connection, models, transaction
from django.db.models import Q, Value
from django.db.models.functions import Coalesce, Concat, Now
from django.db.models.lookups import Contains
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import CREDENTIAL_MODELS, Client, ClientQuerySet
from migration.core.audit import AuditEvent, EventKind, limit_reason
from migration.core.fields import MessageField, MessageListField, limit_times
from migration.core.secrets import (
    LayoutChoices,
    LayoutQuerySet,
    OtherSecretsState,
    Secret,
    has_layout,
    name_secret_slug,
)
from migration.core.text import (
    CaseAndAccentsFolded,
    KeptNameField,
    get_kept_name,
    make_folded_expression,
    require_kept_name,
)
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import MOVES, Move, Phase, check_move
from nova_credentials.tables import CLIENTS

if TYPE_CHECKING:
    from migration.runs.models import Run


MOVE_EVENT = EventKind("move", _("Move"), icon="trending_flat", in_history=True, in_activity=True)
OVERRIDE_EVENT = EventKind(
    "override", _("Override"), icon="warning", in_history=True, in_activity=True
)
GATE_EVENT = EventKind("gate", _("Checks before a move"))
OFFBOARDING_EVENT = EventKind(
    "offboarding", _("Client offboarded or brought back"), icon="logout", in_history=True
)

# The permissions that several features ask for.
VIEW_CLIENTS = "credentials.view_client"
VIEW_TABLES = "credentials.view_columnmapping"
VIEW_COMPARISONS = "migration.view_comparison"
VIEW_RUNS = "migration.view_run"
VIEW_CAMPAIGNS = "migration.view_campaign"
VIEW_READERS = "migration.view_readerprocess"
VIEW_COPIES = "migration.view_copysearch"
VIEW_AUDIT = "migration.view_auditevent"
APPROVE_MOVES = "migration.approve_move"
SET_NOTICES = "migration.set_notices"
VIEW_CHECKS = "migration.view_worker"
SEARCH_PERMISSION = "migration.add_copysearch"


class PhaseChoices(models.TextChoices):
    """`Phase` with labels for people."""

    POSTGRES = Phase.POSTGRES.value, _("PostgreSQL")
    DUAL_WRITE = Phase.DUAL_WRITE.value, _("Dual write")
    DUAL_READ = Phase.DUAL_READ.value, _("Dual read")
    AWS = Phase.AWS.value, _("AWS (cut over)")
    PURGED = Phase.PURGED.value, _("Purged")


# The phases in which every write to the tables is pushed to AWS.
WRITES_BOTH = tuple(phase for phase in Phase if phase.writes_both)


# The permission that a user needs to make a move, or to ask for it.
MOVE_PERMISSIONS = {
    move: "migration.purge_client"
    if move in (Move.PURGE, Move.RESTORE)
    else "migration.move_client"
    for move in Move
}


class PhaseChangeQuerySet(models.QuerySet["PhaseChange"]):
    def insert(self, rows: Collection[dict[str, Any]], *, by: User | None, run: Run | None) -> None:
        """Store moves, given by their columns, in one statement: as one text, as bulk_create takes many times as long.

        They are all of the same user and run.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_phasechange (
                    client_id, slug, old, new, by_id, by_name, reason, note, run_id, comparison_id, overridden,
                    override_reason, reads_before, changed_at
                )
                SELECT client_id, slug, old, new, %s, %s, reason, note, %s, comparison_id, overridden,
                    override_reason, reads_before, changed_at
                FROM jsonb_to_recordset(%s::jsonb) AS made (
                    client_id int, slug text, old text, new text, reason text, note jsonb, comparison_id bigint,
                    overridden jsonb, override_reason text, reads_before jsonb, changed_at timestamptz
                )
                ORDER BY client_id
                """,
                [
                    by.pk if by else None,
                    get_kept_name(by),
                    run.pk if run else None,
                    json.dumps(rows, default=str),
                ],
            )

    def count_overridden(self, run: Run) -> dict[str, int]:
        """Count the moves of the run that were made although evidence was missing, by the key of what was missing."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT line ->> 'key', count(*)
                FROM migration_phasechange, jsonb_array_elements(overridden) AS line
                WHERE run_id = %s GROUP BY 1 ORDER BY 1
                """,
                [run.pk],
            )
            return dict(cursor.fetchall())


def is_move_back() -> models.Q:
    """Return the condition that a change of phase is a step back; a restore, which leaves NOVA at AWS, is none."""
    back = models.Q()
    for (old, new), kind in MOVES.items():
        if kind in (Move.BACK, Move.ROLLBACK):
            back |= models.Q(old=old, new=new)
    return back


class PhaseChange(models.Model):
    """One move of one client, which left a phase."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="phase_changes"
    )
    slug = models.CharField(max_length=100)
    old = models.CharField(_("from"), max_length=16, choices=PhaseChoices)
    new = models.CharField(_("to"), max_length=16, choices=PhaseChoices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # The text as the user typed it; `note` is this site's own message about the move.
    reason = models.TextField(_("reason"), blank=True)
    note = MessageField(_("note"), null=True)
    run = models.ForeignKey(
        "Run", models.SET_NULL, null=True, related_name="phase_changes", db_index=False
    )
    comparison = models.ForeignKey("Comparison", models.SET_NULL, null=True, related_name="+")
    # The evidence that was missing and was overridden, and why, as the user typed it.
    overridden = MessageListField(default=list, db_default=[])
    override_reason = models.TextField(blank=True, db_default="")
    # The reader's counts at the move (`ReadCount.get_counts`).
    reads_before = models.JSONField(default=dict, db_default={})
    changed_at = models.DateTimeField(default=timezone.now)

    objects = PhaseChangeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # For the dashboard's newest moves, where a run stands for the moves that it made.
            models.Index(fields=["-id"], condition=models.Q(run=None), name="move_by_hand"),
            # Each batch of a run asks which of its clients the run has moved: not to be read of all that it has moved.
            models.Index(fields=["run", "client"], name="move_of_run"),
        ]
        constraints: ClassVar = [
            limit_reason("phasechange"),
            limit_reason("phasechange", "override_reason"),
            require_kept_name("phasechange", "by"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.old} → {self.new}"


COUNTED = ("reads", "matches", "mismatches", "aws_failures", "congested_reads", "stale_reads")
# A failure at AWS that so many good reads followed says nothing any more.
GOOD_READS = 3


@dataclass(frozen=True)
class ReadsSince:
    """The number of reads of one client since some moment, and how many of them had which result."""

    reads: int = 0
    matches: int = 0
    mismatches: int = 0
    aws_failures: int = 0
    congested_reads: int = 0
    stale_reads: int = 0


class ReadCount(models.Model):
    """The reads of one client, counted by `nova_credentials.reader` in plain SQL."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="read_count"
    )
    reads = models.BigIntegerField(_("reads"), default=0, db_default=0)
    matches = models.BigIntegerField(_("matches"), default=0, db_default=0)
    mismatches = models.BigIntegerField(_("mismatches"), default=0, db_default=0)
    aws_failures = models.BigIntegerField(_("AWS failures"), default=0, db_default=0)
    last_read_at = models.DateTimeField(_("last read"), null=True)
    last_mismatch_at = models.DateTimeField(_("last mismatch"), null=True)
    # A trigger of this table sets all that follow, so that they are right whichever release the reader has. What only
    # the reader knows it tells the trigger in a setting of its transaction, if it is new enough.
    last_failure_at = models.DateTimeField(_("last failure at AWS"), null=True)
    # The last read that AWS alone answered; before the cutover, also one that was not compared.
    last_answer_at = models.DateTimeField(_("last answer of AWS"), null=True)
    # An `AwsFailure`; "" where a reader of an earlier release met it. NOVA's role can write what it likes.
    last_failure_class = models.CharField(max_length=20, default="", db_default="")
    # Those that AWS answered, and that matched where both stores were read.
    good_reads_since_failure = models.BigIntegerField(default=0, db_default=0)
    # Not among the reads: NOVA's own process did not get to ask AWS in time.
    congested_reads = models.BigIntegerField(default=0, db_default=0)
    # Among the failures: the process's last value was served.
    stale_reads = models.BigIntegerField(default=0, db_default=0)
    # The database sets it: the reader's statement does not name this column.
    counted_since = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            limit_times(
                "readcount",
                "last_read_at",
                "last_mismatch_at",
                "last_failure_at",
                "last_answer_at",
                "counted_since",
            )
        ]

    def __str__(self) -> str:
        return f"reads of client {self.client_id}"

    def has_read_after(self, since: datetime) -> bool:
        """Say whether NOVA's reader read it after this moment, or noted that it met something."""
        times = (self.last_read_at, self.last_mismatch_at, self.last_failure_at)
        return any(at > since for at in times if at)

    def get_counts(self) -> dict[str, int]:
        """Return the counts, to be kept at a move."""
        return {name: getattr(self, name) for name in COUNTED}

    def count_since(self, before: Mapping[str, int]) -> ReadsSince:
        """Return what was counted since `get_counts` returned `before`."""
        counts = self.get_counts().items()
        return ReadsSince(**{name: max(0, n - before.get(name, 0)) for name, n in counts})


# For so long AWS keeps a secret whose deletion was scheduled.
RECOVERY_DAYS = 30


class OffboardingState(models.TextChoices):
    """The states of a client's offboarding; what leads to the next state may have been done in part."""

    OFFBOARDING = "offboarding", _("Being offboarded")
    OFFBOARDED = "offboarded", _("Offboarded")
    COMING_BACK = "coming_back", _("Coming back")


class OffboardingQuerySet(models.QuerySet["Offboarding"]):
    def leaving_or_left(self) -> Self:
        """Select offboardings of clients that left or are leaving, not of those that come back: these may move."""
        return self.exclude(state=OffboardingState.COMING_BACK)

    def unfinished(self) -> Self:
        """Select the offboardings and returns that have not ended, of clients that NOVA has not deleted."""
        present = Client.objects.filter(pk=models.OuterRef("pk"))
        return self.filter(models.Exists(present)).exclude(state=OffboardingState.OFFBOARDED)


CLIENT_OFFBOARDED = Sentence("offboarded", "The client is offboarded. %(result)s")


class Offboarding(models.Model):
    """A client that left. It is gone once the client is back; the audit keeps what happened."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="offboarding"
    )
    slug = models.CharField(_("slug"), max_length=100)
    state = models.CharField(
        _("state"),
        max_length=16,
        choices=OffboardingState,
        default=OffboardingState.OFFBOARDING,
    )
    # To which it comes back.
    former_phase = models.CharField(max_length=16, choices=PhaseChoices)
    # Secret name -> the time of its deletion, as ISO 8601; also of those that are gone.
    deletions = models.JSONField(default=dict, db_default={})
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by", _("user"))
    begun_at = models.DateTimeField(_("begun"), default=timezone.now)
    ended_at = models.DateTimeField(_("offboarded"), null=True)

    objects = OffboardingQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            limit_reason("offboarding"),
            require_kept_name("offboarding", "by"),
        ]
        verbose_name = _("offboarding")
        verbose_name_plural = _("offboardings")

    def __str__(self) -> str:
        return f"{self.state} of {self.slug}"

    @property
    def is_finished(self) -> bool:
        """Say whether every secret has its day of deletion."""
        return self.state == OffboardingState.OFFBOARDED

    @property
    def earliest_deletion(self) -> datetime:
        """Return a time up to which AWS keeps the secrets, whichever of them it was asked to delete already."""
        return self.begun_at + timedelta(days=RECOVERY_DAYS)

    @property
    def first_deletion(self) -> datetime | None:
        """Return when the first of the secrets is deleted; None where there is none."""
        return min(map(datetime.fromisoformat, self.deletions.values()), default=None)

    def has_asked_for(self, secret_name: str) -> bool:
        """Say whether this offboarding has the secret deleted, or was about to; an earlier one does not count."""
        at = self.deletions.get(secret_name)
        return bool(at) and datetime.fromisoformat(at) >= self.earliest_deletion

    def store_state(
        self, state: OffboardingState, facts: Message, *, by: User | None, reason: str = ""
    ) -> None:
        """Store how far it is, with its entry in the audit, within the caller's transaction."""
        self.state = state
        self.save()
        self.record(facts, by=by, reason=reason)

    def end(self, deletions: Mapping[str, datetime], result: Message, *, by: User | None) -> None:
        """Store that the client is offboarded and when AWS deletes each secret; with an audit entry."""
        self.deletions |= {name: at.isoformat() for name, at in deletions.items()}
        self.ended_at = timezone.now()
        facts = CLIENT_OFFBOARDED(result=result)
        self.store_state(OffboardingState.OFFBOARDED, facts, by=by)

    def record(self, facts: Message, *, by: User | None, reason: str = "") -> None:
        """Write an entry of the audit about the client, within the caller's transaction."""
        AuditEvent.objects.record(
            OFFBOARDING_EVENT,
            facts,
            by=by,
            client_id=self.client_id,
            slug=self.slug,
            reason=reason,
        )


def is_leaving_or_left() -> models.Exists:
    """Return the condition that a client was offboarded, or is about to be."""
    leaving = Offboarding.objects.leaving_or_left()
    return models.Exists(leaving.filter(client=models.OuterRef("pk")))


# A search goes by what people know of clients: slug, name, names of secrets, and these columns of their logins, where
# each logs in and as whom. It never looks at a secret value.
SEARCHED = {
    CredentialType.DATABASE: ("db_host", "db_user"),
    CredentialType.EMAIL: ("imap_host", "smtp_host", "email_user"),
}
# Each word is a condition of its own. What is typed after these counts as one word.
MOST_WORDS = 8
# An ARN ends with six characters that are not part of the secret's name.
ARN = re.compile(r"^arn:[^/]*:secret:(?P<name>.+?)(-[A-Za-z0-9]{6})?$")


def holds_word(word: str, logins: Collection[CredentialType]) -> Q:
    """Return the condition of the clients in which the word is found."""
    if found := ARN.match(word):
        word = found["name"]
    typed = make_folded_expression(word)
    condition = Q(Contains(CaseAndAccentsFolded("slug"), typed)) | Q(
        Contains(CaseAndAccentsFolded("name"), typed)
    )
    for kind in logins:
        columns = Q()
        for name in SEARCHED.get(kind, ()):
            columns |= Q(Contains(CaseAndAccentsFolded(name), typed))
        if columns:
            rows = CREDENTIAL_MODELS[kind]._default_manager.filter(columns).order_by()
            condition |= Q(pk__in=rows.values("client_id"))  # type: ignore[misc]  # each model has it
    # Without a slash it would be found in the slug, or in the prefix that all clients share.
    if "/" in word:
        for layout in Layout:
            names = Q()
            for secret_name in _list_secret_names(layout):
                names |= Q(Contains(CaseAndAccentsFolded(secret_name), typed))
            condition |= has_layout(layout) & names
        pushed = Secret.objects.filter(Contains(CaseAndAccentsFolded("name"), typed)).order_by()
        condition |= Q(pk__in=pushed.values("client_id"))
    return condition


def _list_secret_names(layout: Layout) -> Iterator[Concat]:
    """Yield, as expressions over clients, the names of the secrets of a client with this layout."""
    names = documents.secret_names("\0", prefix=settings.NOVA_SECRET_PREFIX, layout=layout)
    for name in names.values():
        before, _, after = name.partition("\0")
        yield Concat(Value(before), name_secret_slug(), Value(after))


ENTER_PHASE = f"""
UPDATE migration_clientmigration AS entering
SET phase = %(new)s, phase_changed_at = %(now)s, clean_streak = 0, streak_counted_at = NULL,
    reads_at_entry = coalesce(
        (SELECT jsonb_build_object({", ".join(f"'{name}', {name}" for name in COUNTED)})
            FROM migration_readcount AS counted WHERE counted.client_id = entering.client_id),
        '{{}}'
    )
WHERE client_id = ANY(%(ids)s) RETURNING client_id, reads_at_entry
"""  # noqa: S608  # constants

STORE_LOST_SECRET_SLUGS = f"""
UPDATE migration_clientmigration AS lost
SET secret_slug = split_part(substr(newest.name, length(%(prefix)s::text) + 1), '/', 1)
FROM (
    SELECT DISTINCT ON (client_id) client_id, name, seen_at FROM migration_secret
    WHERE starts_with(name, %(prefix)s::text)
        AND substr(name, length(%(prefix)s::text) + 1) ~ '^[^/]+(/(database|email|aws))?$' -- not of a longer prefix
        AND (%(ids)s::int[] IS NULL OR client_id = ANY(%(ids)s::int[]))
    ORDER BY client_id, seen_at DESC, name
) AS newest JOIN {CLIENTS} AS client ON client.id = newest.client_id
WHERE lost.client_id = newest.client_id AND lost.secret_slug IS NULL
    -- One that NOVA made after the push is another client, to whom it gave the id of one that is gone.
    AND client.created_at AT TIME ZONE 'UTC' < newest.seen_at
    AND NOT EXISTS (
        SELECT FROM migration_secret AS own
        WHERE own.client_id = client.id AND starts_with(own.name || '/', %(prefix)s::text || client.slug || '/')
    )
"""  # noqa: S608  # constants


class ClientPhaseQuerySet(ClientQuerySet):
    """Clients and their phases; a client without a `ClientMigration` was never moved and is in `postgres`."""

    def with_phase(self) -> Self:
        """Annotate `phase`."""
        return self.annotate(
            phase=Coalesce("client_migration__phase", models.Value(Phase.POSTGRES.value))
        )

    def with_layout(self) -> Self:
        """Annotate `layout` (None: as the settings say), `secret_slug`, and what other secrets the client may have.

        These are `other_secrets` (`OtherSecretsState`, or "") and `other_slug`.
        """
        return self.annotate(
            layout=models.F("client_migration__layout"),
            secret_slug=name_secret_slug(),
            other_secrets=Coalesce("client_migration__other_secrets", models.Value("")),
            other_slug=models.F("client_migration__other_slug"),
        )

    def with_name_holder(self) -> Self:
        """Annotate `name_holder`: the slug of another client whose secrets have this one's name (None: no one's)."""
        own = Coalesce(models.OuterRef("client_migration__secret_slug"), models.OuterRef("slug"))
        # Of a client that NOVA has deleted the secrets themselves tell whose they are, until they are gone.
        holders = ClientMigration.objects.exclude(pk=models.OuterRef("pk")).order_by()
        # Each with an index of its own.
        return self.annotate(
            name_holder=Coalesce(
                *(
                    models.Subquery(holders.filter(**{column: own}).values("client__slug")[:1])
                    for column in ("secret_slug", "other_slug")
                )
            )
        )

    def with_leaving(self) -> Self:
        """Annotate `is_leaving_or_left`: whether the client was offboarded, or is about to be."""
        return self.annotate(is_leaving_or_left=is_leaving_or_left())

    def with_refused_revision(self) -> Self:
        """Annotate `refused_revision` (None: the last push refused nothing)."""
        return self.annotate(refused_revision=models.F("client_migration__refused_revision"))

    def in_phases(self, *phases: Phase) -> Self:
        """Select the clients in one of these phases."""
        wanted = models.Q(client_migration__phase__in=phases)
        if Phase.POSTGRES in phases:
            wanted |= models.Q(client_migration=None)
        return self.filter(wanted)

    def in_group(self, group_id: int) -> Self:
        """Select the clients in the group."""
        return self.filter(group_members__group=group_id)

    def search(self, text: str, *, logins: Collection[CredentialType] = ()) -> Self:
        """Select the clients in which every word is found, whatever its accents, in slug, name or a secret's name.

        And in the hosts and users of these kinds of logins.
        """
        words = text.split(maxsplit=MOST_WORDS - 1)
        return self.filter(*(holds_word(word.strip(), logins) for word in words))

    def push_pending(self) -> Self:
        """Select the clients that write both stores and whose newest rows are not in AWS yet."""
        return self.in_phases(*WRITES_BOTH).filter_push_pending()

    def push_due(self) -> Self:
        """Select the pending clients to push now. A client whose push was refused waits until its rows change."""
        refused = models.Q(client_migration__refused_revision=models.F("revision"))
        return self.push_pending().exclude(refused)

    def push_late(self, since: datetime) -> Self:
        """Select the clients to push that have waited since before that moment."""
        return self.push_due().filter_push_pending_since(since)

    def push_refused(self) -> Self:
        """Select the clients with a pending push whose present rows the last push refused."""
        return self.push_pending().filter(client_migration__refused_revision=models.F("revision"))

    def with_rows_refused_by_push(self) -> Self:
        """Select the clients of any phase but `purged` whose present rows a push refused."""
        refused = "client_migration__refused_revision"
        found = self.with_revision().filter(**{f"{refused}__isnull": False})
        found = found.filter(**{refused: models.F("revision")})
        return found.exclude(client_migration__phase=Phase.PURGED)


def all_clients() -> ClientPhaseQuerySet:
    """Return every client, on a QuerySet that can be narrowed by phase."""
    return ClientPhaseQuerySet(model=Client)


def digest_clients(client_ids: Collection[int]) -> str:
    """Return a digest of the clients, by which a form can tell whether they are still the same."""
    return sha256(" ".join(map(str, sorted(client_ids))).encode()).hexdigest()


def digest_selection(chosen: ClientPhaseQuerySet) -> str:
    """Return a digest of the clients and their phases, by which a list can tell whether it would still show the same.

    Not cryptographic: it costs hardly more than their number.
    """
    selected = chosen.order_by().values_list("pk", "phase")
    try:
        statement, values = selected.query.sql_with_params()
    except EmptyResultSet:  # nobody can match
        return "0:0"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) || ':' || coalesce(sum(hashtextextended(chosen.id || ' ' || chosen.phase, 0)), 0)
            FROM ({statement}) AS chosen (id, phase)
            """,  # noqa: S608  # Django's own query
            values,
        )
        return str(cursor.fetchone()[0])


@dataclass(frozen=True)
class PlannedChange:
    """Holds what the move of one client stores for itself; the rest it shares with those that move with it."""

    note: Message | None = None
    overridden: tuple[Message, ...] = ()
    gate: tuple[Message, ...] = ()


class MovingClient(NamedTuple):
    """A client's row that is locked for its move."""

    client_id: int
    slug: str
    phase: str
    comparison_id: int | None


MOVED = Sentence("moved", "Moved from %(old)s to %(new)s.")


def read_move(message: Message) -> tuple[Phase, Phase] | None:
    """Return the phases between which a client moved, as `MOVED` names them; None of another sentence."""
    phases = {phase.label.key: phase for phase in Phase}
    old, new = (
        phases.get(value.key) if isinstance(value := message.values.get(name), Message) else None
        for name in ("old", "new")
    )
    return (old, new) if message.key == MOVED.key and old and new else None


class ClientMigrationQuerySet(LayoutQuerySet, models.QuerySet["ClientMigration"]):
    def exclude_deleted_clients(self) -> Self:
        """Leave out the clients that NOVA has deleted."""
        return self.filter(models.Exists(Client.objects.filter(pk=models.OuterRef("pk"))))

    def change_phase(
        self,
        client_ids: Collection[int],
        old: Phase,
        new: Phase,
        *,
        by: User | None = None,
        reason: str = "",
        note: Message | None = None,
        run: Run | None = None,
        overridden: Collection[Message] = (),
        override_reason: str = "",
        gate: Collection[Message] = (),
    ) -> set[int]:
        """Move the clients that are still in `old`, each with its `PhaseChange`; return their ids.

        `reason` is the text that a user typed, `note` this site's own message about the move. `overridden` is the
        evidence that was missing, `override_reason` why it moves all the same. `gate` is every line of the gate that
        let it pass, for the audit.
        """
        plan = PlannedChange(note, tuple(overridden), tuple(gate))
        return self.change_phases(
            dict.fromkeys(client_ids, plan),
            old,
            new,
            by=by,
            reason=reason,
            run=run,
            override_reason=override_reason,
        )

    def change_phases(
        self,
        planned: Mapping[int, PlannedChange],
        old: Phase,
        new: Phase,
        *,
        by: User | None = None,
        reason: str = "",
        run: Run | None = None,
        override_reason: str = "",
    ) -> set[int]:
        """Move the clients as `change_phase` does, each with what is planned for it; return the ids of those moved."""
        check_move(f"{len(planned)} clients", old, new)
        if not planned:
            return set()
        with transaction.atomic():
            moving = self._lock_in_phase(planned.keys(), old)
            if not moving:
                return set()
            now = timezone.now()
            reads = self._enter_phase([row.client_id for row in moving], new, now)
            changes, events = list[dict[str, Any]](), list[AuditEvent]()
            moved = MOVED(old=old.label, new=new.label)
            for row in moving:
                plan = planned[row.client_id]
                changes.append(
                    {
                        "client_id": row.client_id,
                        "slug": row.slug,
                        "old": old,
                        "new": new,
                        "reason": reason,
                        "note": plan.note and plan.note.to_json(),
                        "comparison_id": row.comparison_id,
                        "overridden": [line.to_json() for line in plan.overridden],
                        "override_reason": override_reason if plan.overridden else "",
                        "reads_before": reads[row.client_id],
                        "changed_at": now,
                    }
                )
                about: dict[str, Any] = {"by": by, "client_id": row.client_id, "slug": row.slug}
                facts = in_a_row(moved, plan.note) or moved
                events.append(AuditEvent.make_signed(MOVE_EVENT, facts, reason=reason, **about))
                events += _describe_gate(plan, new, override_reason, about)
            PhaseChange.objects.insert(changes, by=by, run=run)
            AuditEvent.objects.insert_already_signed(events)
        return {row.client_id for row in moving}

    def _enter_phase(
        self, client_ids: Collection[int], new: Phase, now: datetime
    ) -> dict[int, dict[str, int]]:
        """Set the phase and begin its evidence anew; return the reader's counts of each client, as of now."""
        with connection.cursor() as cursor:
            cursor.execute(ENTER_PHASE, {"new": new, "now": now, "ids": list(client_ids)})
            return {pk: json.loads(reads) for pk, reads in cursor.fetchall()}

    def lock(self, client_id: int) -> None:
        """Lock the client's row until the transaction ends; a client without a row is given one."""
        self._give_rows([client_id])
        self.filter(pk=client_id).select_for_update(no_key=True).values("pk").get()

    def _give_rows(self, client_ids: Collection[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration (client_id, phase)
                SELECT client_id, 'postgres' FROM unnest(%s::int[]) AS new (client_id)
                ON CONFLICT (client_id) DO NOTHING
                """,
                [sorted(client_ids)],
            )

    def _lock_in_phase(self, client_ids: Collection[int], phase: Phase) -> list[MovingClient]:
        """Lock and return the rows of the clients in `phase`; a client without a row is given one."""
        self._give_rows(client_ids)
        with connection.cursor() as cursor:
            # By id alone: while very many clients change their phase, PostgreSQL may take the few of a batch to be all
            # that are in it, and read every client of the phase.
            cursor.execute(
                f"""
                SELECT kept.client_id, client.slug, kept.phase, kept.comparison_id
                FROM migration_clientmigration AS kept JOIN {CLIENTS} AS client ON client.id = kept.client_id
                WHERE kept.client_id = ANY(%s) ORDER BY kept.client_id FOR UPDATE OF kept
                """,  # noqa: S608  # a constant
                [list(client_ids)],
            )
            locked = [MovingClient(*row) for row in cursor.fetchall()]
        return [row for row in locked if row.phase == phase]

    def record_refused(self, revisions: Iterable[tuple[int, int | None]]) -> None:
        """Store which revision of each client's rows was refused, as (client id, revision); None: it was not."""
        pairs = sorted(revisions, key=lambda pair: pair[0])
        if not pairs:
            return
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


EVIDENCE_OVERRIDDEN = Sentence(
    "evidence_overridden", "Moved to %(new)s with checks overridden: %(lines)s"
)
GATE_PASSED = Sentence("gate_passed", "Checks for %(new)s: %(lines)s")


def _describe_gate(
    plan: PlannedChange, new: Phase, override_reason: str, about: dict[str, Any]
) -> Iterator[AuditEvent]:
    """Yield the audit's entry of the override of a move, where evidence was missing, and of its gate if it had one."""
    if plan.overridden:
        facts = EVIDENCE_OVERRIDDEN(new=new.label, lines=plan.overridden)
        yield AuditEvent.make_signed(OVERRIDE_EVENT, facts, reason=override_reason, **about)
    if plan.gate:
        passed = GATE_PASSED(new=new.label, lines=plan.gate)
        yield AuditEvent.make_signed(GATE_EVENT, passed, **about)


class ClientMigration(models.Model):
    """One client's phase and newest comparison."""

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
    # Copied from the newest comparison, so that counting clients reads no comparisons.
    comparison_status = models.CharField(max_length=20, null=True, db_index=True)
    compared_at = models.DateTimeField(null=True)
    # The revision that the last push refused; a newer one is tried again.
    refused_revision = models.BigIntegerField(null=True)
    # Since the client entered its phase, and when the last of these comparisons was made.
    clean_streak = models.PositiveIntegerField(_("matches in a row"), default=0, db_default=0)
    streak_counted_at = models.DateTimeField(null=True)
    # The reader's counts when the client entered its phase (`ReadCount.get_counts`).
    reads_at_entry = models.JSONField(default=dict, db_default={})
    # Which secrets are its own, of those that either layout names; None: as the settings say, as none was written yet.
    # The reader reads it in its own statement.
    layout = models.CharField(max_length=16, choices=LayoutChoices, null=True)
    # The other layout's secrets of the client, and since when they are so.
    other_secrets = models.CharField(
        max_length=8, choices=OtherSecretsState, blank=True, default="", db_default=""
    )
    other_secrets_since = models.DateTimeField(null=True)
    # By which slug its secrets are named; None: by the client's own. When NOVA changes the slug, a trigger stores the
    # former one here, and the reader goes by it until the secrets have moved.
    secret_slug = models.CharField(max_length=512, null=True)
    # By which slug `other_secrets` are named; None: by the same as its own, and they are those of the other layout.
    other_slug = models.CharField(max_length=512, null=True)

    objects = ClientMigrationQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["other_secrets_since"],
                name="client_other_secrets",
                condition=~models.Q(other_secrets=""),
            ),
            models.Index(
                fields=["secret_slug"],
                name="client_secret_slug",
                condition=models.Q(secret_slug__isnull=False),
            ),
            models.Index(
                fields=["other_slug"],
                name="client_other_slug",
                condition=models.Q(other_slug__isnull=False),
            ),
        ]
        permissions: ClassVar = [
            ("move_client", _("Can move clients between phases")),
            ("purge_client", _("Can purge clients")),
            ("resolve_mismatch", _("Can resolve mismatches")),
            ("override_gate", _("Can move clients although evidence is missing")),
        ]

    def __str__(self) -> str:
        return f"client {self.client_id} in phase {self.phase}"


def find_name_holder(client_id: int, secret_slug: str) -> str | None:
    """Return the present slug of another client whose secrets have this name, or had it until lately; None: of none."""
    others = ClientMigration.objects.exclude(pk=client_id)
    others = others.filter(models.Q(secret_slug=secret_slug) | models.Q(other_slug=secret_slug))
    return others.values_list("client__slug", flat=True).order_by("pk").first()


def store_lost_secret_slugs(client_ids: Collection[int] | None = None) -> None:
    """Note the former slug of clients (None: of all) that got another one while no trigger noted it.

    One that is switched off notes nothing, nor does one that meets an error. The newest secret tells the name, but
    of a client that NOVA made later: that has an id which NOVA used before, and no part in the former one's secret.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            STORE_LOST_SECRET_SLUGS,
            {
                "prefix": f"{settings.NOVA_SECRET_PREFIX}/",
                "ids": None if client_ids is None else sorted(client_ids),
            },
        )
