"""Owns a run's items: one client each, its outcome, its tries, and whether its failure still matters."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import connection, models
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce, Length
from django.db.models.lookups import In
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.core.clients import WRITES_BOTH, all_clients
from migration.core.comparisons import Comparison
from migration.core.fields import MessageField
from migration.core.outgoing import LoginOutcome
from migration.core.secrets import client_has_no_drift_since
from migration.core.sentences import RUN_WITHDRAWN
from migration.logins.models import LoginTest, Rotation
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import Sentence

# Between the tries of an item: each wait is twice the one before.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(seconds=60)


class Outcome(models.TextChoices):
    """The outcomes that one client can have in a run."""

    CREATED = "created", _("Created")
    UPDATED = "updated", _("Updated")
    UNCHANGED = "unchanged", _("Unchanged")
    RESTORED = "restored", _("Restored")
    COMPARED = "compared", _("Compared")
    SKIPPED = "skipped", _("Skipped")
    FAILED = "failed", _("Failed")
    MOVED = "moved", _("Moved")
    REFUSED = "refused", _("Refused")
    TESTED = "tested", _("Logins work")


# The outcomes of one kind of run alone.
OF_ONE_KIND = {
    Outcome.MOVED: "move",
    Outcome.REFUSED: "move",
    Outcome.TESTED: "test_logins",
}
# Somebody can have these tried again.
CAN_BE_RETRIED = (Outcome.FAILED, Outcome.REFUSED)
# Errors that pass by themselves: the same call can succeed later.
TRANSIENT = (ErrorClass.THROTTLED, ErrorClass.UNAVAILABLE, ErrorClass.PERMISSION)
PUSHED = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.RESTORED)
RUN_INTERRUPTED = Sentence("run_interrupted", "The run was interrupted.")
RUN_STOPPED = Sentence("run_stopped", "The run was stopped.")
# The messages of items that no worker began, as their run was stopped or interrupted, or its request withdrawn.
LEFT_OUT_KEYS = (RUN_STOPPED.key, RUN_INTERRUPTED.key, RUN_WITHDRAWN.key)


class Act(models.TextChoices):
    """What a run does with each of its clients. A failure is over once the same act succeeds for the client."""

    PUSH = "push", _("Push")
    COMPARE = "compare", _("Comparison")
    MOVE = "move", _("Move")
    LAYOUT = "layout", _("Change of layout")
    TEST_LOGINS = "test_logins", _("Login tests")
    ROTATE = "rotate", _("Rotation")
    SECRET_SETTINGS = "secret_settings", _("Key and regions")
    TO_AWS = "to_aws", _("Copy to AWS")
    TO_POSTGRES = "to_postgres", _("Copy to PostgreSQL")


ACTS = {
    "migrate": Act.PUSH,
    "push": Act.PUSH,
    "compare": Act.COMPARE,
    "move": Act.MOVE,
    "layout": Act.LAYOUT,
    "test_logins": Act.TEST_LOGINS,
    "rotate": Act.ROTATE,
    "secret_settings": Act.SECRET_SETTINGS,
    # What is adopted is written over.
    "adopt": Act.PUSH,
    "to_aws": Act.TO_AWS,
    "to_postgres": Act.TO_POSTGRES,
}


def is_due() -> models.Q:
    """Return the condition that an item is open and does not wait for its next try."""
    later = models.Q(next_try_at__gt=timezone.now())
    return models.Q(outcome="") & ~later


def was_written_since_refusal() -> models.Exists:
    """Return the condition that an item's client was written since its push was refused."""
    written = models.Q(client_migration__refused_revision__lt=models.F("revision"))
    return models.Exists(
        all_clients().with_revision().filter(written, pk=models.OuterRef("client_id"))
    )


def was_never_begun(items: str = "", *, keys: Collection[str] = LEFT_OUT_KEYS) -> models.Q:
    """Return the condition that no worker began an item before its run ended; `items` is the way to it, as "items__".

    `keys`: of the sentences by which the item says why.
    """
    skipped = models.Q(**{f"{items}outcome": Outcome.SKIPPED})
    nothing = models.Value("", models.TextField())
    key = Coalesce(KeyTextTransform("key", f"{items}message"), nothing)
    return skipped & models.Q(In(key, list(keys)))


# The clients and acts that ever failed. It goes from one to the next, and reads no item of the others.
EVER_FAILED = """
WITH RECURSIVE failed AS (
    (SELECT client_id, act FROM migration_runitem WHERE outcome IN ('failed', 'refused')
     ORDER BY client_id, act LIMIT 1)
    UNION ALL
    SELECT following.* FROM failed, LATERAL (
        SELECT client_id, act FROM migration_runitem
        WHERE outcome IN ('failed', 'refused') AND (client_id, act) > (failed.client_id, failed.act)
        ORDER BY client_id, act LIMIT 1
    ) AS following
)
"""
# All acts of some clients.
OF_THESE = """
WITH failed AS (
    SELECT client_id, act FROM unnest(%s::int[]) AS these (client_id), unnest(%s::text[]) AS acts (act)
)
"""
# The newest outcome of each of them, where it is a failure or a refusal, however many runs there are.
NEWEST_FAILED = """
SELECT newest.id FROM failed, LATERAL (
    SELECT item.id, item.outcome FROM migration_runitem AS item
    WHERE item.client_id = failed.client_id AND item.act = failed.act AND item.outcome <> ''
        AND NOT (item.outcome = 'skipped' AND coalesce(item.message->>'key', '') = ANY(%s))
    ORDER BY item.finished_at DESC NULLS LAST, item.id DESC LIMIT 1
) AS newest
WHERE newest.outcome IN ('failed', 'refused')
"""


def is_newest_and_failed(client_ids: Collection[int] | None) -> models.Func:
    """Return the condition that an item is the newest outcome of its client and act, and a failure or a refusal.

    Of all clients, or of these. What a stop left out is no outcome. The items are found first and then read one by one:
    as `IN (…)` PostgreSQL would read the whole table.
    """
    looked_at = EVER_FAILED
    values: list[list[Any]] = []
    if client_ids is not None:
        looked_at, values = OF_THESE, [sorted(client_ids), Act.values]
    found = RawSQL(f"ARRAY({looked_at}{NEWEST_FAILED})", [*values, [*LEFT_OUT_KEYS]])  # noqa: S611  # constants
    return models.Func(
        models.F("pk"),
        found,
        template="%(expressions)s",
        arg_joiner=" = ANY",
        output_field=models.BooleanField(),
    )


class RunItemQuerySet(models.QuerySet["RunItem"]):
    def add(self, run_id: int, act: Act, clients: Iterable[tuple[int, str, int]]) -> None:
        """Store an open item of the run, which does this act, for each client, given as (id, slug, batch)."""
        ids, slugs, batches = zip(*clients, strict=True)
        # bulk_create would make an object of each first, which takes many times as long as the statement.
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_runitem
                    (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status)
                SELECT %s, %s, client_id, slug, batch, '', '', ''
                FROM unnest(%s::int[], %s::text[], %s::int[]) WITH ORDINALITY
                    AS new (client_id, slug, batch, position)
                ORDER BY position
                """,
                [run_id, act.value, list(ids), list(slugs), list(batches)],
            )

    def open(self) -> Self:
        """Select the items without an outcome."""
        return self.filter(outcome="")

    def open_of(self, client_ids: Collection[int]) -> Self:
        """Select the open items of these clients, by the index of these, whichever run they are in."""
        opened = self.filter(client_id__in=client_ids, finished_at=None)
        # As `outcome=""` it would lead PostgreSQL to the index of batches where it takes it that no item is open.
        return opened.alias(of_outcome=Length("outcome")).filter(of_outcome=0)

    def due_now(self) -> Self:
        """Select the open items that may be processed now; those that wait for their next try are left out."""
        return self.filter(is_due())

    def never_begun(self) -> Self:
        """Select the items that no worker began: their run was stopped or interrupted, or never approved."""
        return self.filter(was_never_begun())

    def left_out_by_withdrawal(self) -> Self:
        """Select the items that were never begun as the request for their run was withdrawn or refused."""
        return self.filter(was_never_begun(keys=[RUN_WITHDRAWN.key]))

    def needing_attention(self, client_ids: Collection[int] | None = None) -> Self:
        """Select each present client's newest outcome of an act, where it failed, unless the client succeeded since.

        Of all clients, or of these.

        It succeeds by a run, its page, a save or a command. What a stop left out never failed, and a client without
        which its campaign went on is moved by nobody: its failure is over. A comparison that was
        stored is the client's newest, and says by itself that it could not check.
        """
        at = Coalesce("finished_at", "run__created_at")
        moved = models.Q(client__client_migration__phase_changed_at__gt=at)
        relaid = models.Q(client__client_migration__layout=models.F("run__layout"))
        pushed = models.Q(client__client_revision__pushed_at__gt=at)
        compared = models.Q(client__client_migration__compared_at__gt=at)
        unread = Comparison.Status.UNCHECKED
        read = compared & ~models.Q(client__client_migration__comparison_status=unread)
        failed_still = LoginTest.objects.filter(client=models.OuterRef("client"), is_newest=True)
        rotated = models.Exists(
            Rotation.objects.rotated().filter(
                client_id=models.OuterRef("client_id"), ended_at__gt=models.OuterRef("finished_at")
            )
        )
        # Outside these phases nothing is pushed.
        left = moved & ~models.Q(client__client_migration__phase__in=WRITES_BOTH)
        settings_match = client_has_no_drift_since("finished_at")
        matches = models.Q(
            client__client_migration__comparison_status=Comparison.Status.MATCH.value
        )
        left_out = Client.objects.filter(
            pk=models.OuterRef("client_id"),
            wave_clients__wave=models.OuterRef("run__wave"),
            wave_clients__left_out_at__gt=models.OuterRef("finished_at"),
        )
        over = (
            (models.Q(act=Act.MOVE) & (moved | models.Exists(left_out)))
            | (models.Q(act=Act.LAYOUT) & relaid)
            | (models.Q(act=Act.PUSH) & (pushed | left))
            | (models.Q(act=Act.ROTATE) & rotated)
            | (models.Q(act=Act.SECRET_SETTINGS) & settings_match & read)
            | (models.Q(act__in=(Act.TO_AWS, Act.TO_POSTGRES)) & compared & matches)
            | (models.Q(act=Act.COMPARE) & (compared | ~models.Q(comparison_status="")))
            | models.Q(
                models.Exists(failed_still.filter(tested_at__gt=models.OuterRef("finished_at"))),
                ~models.Exists(failed_still.exclude(outcome=LoginOutcome.WORKS.value)),
                act=Act.TEST_LOGINS,
            )
        )
        present = models.Exists(Client.objects.filter(pk=models.OuterRef("client_id")))
        return self.filter(is_newest_and_failed(client_ids), ~over, present)

    def find_errors_needing_attention(self, client_ids: Collection[int]) -> dict[int, RunItem]:
        """Return client id -> the newest of its acts that failed and were not done since, in two queries at most."""
        # Most pages of clients have none, and what an act is over by is a long statement.
        failed = self.filter(client_id__in=client_ids, outcome__in=CAN_BE_RETRIED)
        if not failed.exists():
            return {}
        found = self.needing_attention(client_ids).filter(client_id__in=client_ids)
        return {item.client_id: item for item in found.order_by("finished_at", "pk")}

    def open_again(self) -> None:
        """Open the items as if they had never been tried."""
        self.update(
            outcome="",
            error_class="",
            message=None,
            comparison_status="",
            attempts=0,
            next_try_at=None,
            finished_at=None,
        )

    def next_try_at(self) -> datetime | None:
        """Return when the first open item is tried again; None where none waits."""
        first: datetime | None = self.open().aggregate(first=models.Min("next_try_at"))["first"]
        return first

    def record(self, items: Iterable[RunItem]) -> list[RunItem]:
        """Store outcomes, or the times of the next tries; an item keeps the outcome it has, as tasks can run twice.

        Returns the items that got what was stored. Notes in the same statement that a worker works on their runs.
        """
        rows = list(items)
        now = timezone.now()
        values = [
            {
                "id": row.pk,
                "outcome": row.outcome,
                "error_class": row.error_class,
                "message": row.message and row.message.to_json(),
                "comparison_status": row.comparison_status,
                "attempts": row.attempts,
                "next_try_at": row.next_try_at and row.next_try_at.isoformat(),
            }
            for row in rows
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH worked AS (UPDATE migration_run SET worked_at = %s WHERE id = ANY(%s))
                UPDATE migration_runitem AS item
                SET outcome = new.outcome, error_class = new.error_class, message = new.message,
                    comparison_status = new.comparison_status, attempts = new.attempts,
                    next_try_at = new.next_try_at,
                    finished_at = CASE WHEN new.outcome <> '' THEN %s::timestamptz END
                FROM jsonb_to_recordset(%s::jsonb) AS new (
                    id bigint, outcome text, error_class text, message jsonb, comparison_status text,
                    attempts int, next_try_at timestamptz
                )
                WHERE item.id = new.id AND length(item.outcome) = 0
                RETURNING item.id
                """,
                [now, list({row.run_id for row in rows}), now, json.dumps(values)],
            )
            stored = {pk for (pk,) in cursor.fetchall()}
        return [row for row in rows if row.pk in stored]


class ActFromRunField(models.CharField):  # type: ignore[type-arg]  # generic only in the stubs
    """The act of the item's run, which `save` and `bulk_create` fill in: an index of items can't read their run."""

    def __init__(self, **_options: object) -> None:
        super().__init__(
            _("act"), max_length=16, choices=Act, blank=True, default="", db_default=""
        )

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Describe it to schema migrations as the CharField that it is in the database."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.CharField", arguments, options

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        """Return the act of the item's run."""
        act = ACTS[model_instance.run.kind]  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, act)
        return act


class RunItem(models.Model):
    """One client in a run."""

    run = models.ForeignKey("Run", models.CASCADE, related_name="items", db_index=False)
    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="run_items"
    )
    slug = models.CharField(_("slug"), max_length=100)
    act = ActFromRunField()
    batch = models.PositiveIntegerField()
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    error_class = models.CharField(
        _("error class"),
        max_length=16,
        blank=True,
        choices=[(c.value, c.value) for c in ErrorClass],
    )
    message = MessageField(_("message"), null=True)
    comparison_status = models.CharField(
        _("comparison"), max_length=20, choices=Comparison.Status, blank=True
    )
    attempts = models.PositiveSmallIntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    # Whether an event of the act's own tells why it fails; it is not stored.
    is_told = False

    objects = RunItemQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            # Of a run that has just begun PostgreSQL knows nothing yet, and may take it that no item is open: whichever
            # index it takes for the items of a batch, or for the open items of some clients, has to lead to these and
            # no others. So what asks for a batch can't take the index by client: its condition is another one.
            models.Index(fields=["run", "outcome", "batch"], name="item_outcome"),
            models.Index(
                fields=["client"],
                name="open_item_client",
                condition=models.Q(finished_at=None),
            ),
            # Both for `needing_attention`.
            models.Index(
                fields=["client", "act"],
                name="item_failed",
                condition=models.Q(outcome__in=CAN_BE_RETRIED),
            ),
            models.Index(
                "client",
                "act",
                models.F("finished_at").desc(nulls_last=True),
                models.F("id").desc(),
                name="item_newest",
                condition=~models.Q(outcome=""),
            ),
        ]
        verbose_name = _("item")
        verbose_name_plural = _("items")

    def __str__(self) -> str:
        return f"{self.slug} in {self.run_id}"

    @property
    def was_never_begun(self) -> bool:
        """Say whether no worker began it: its run was stopped or interrupted, or never approved."""
        return (
            self.outcome == Outcome.SKIPPED
            and self.message is not None
            and self.message.key in LEFT_OUT_KEYS
        )

    def set_next_try(self) -> None:
        """Leave it open and set its next try, later with every attempt; doesn't save."""
        self.outcome = ""
        # No timedelta holds the first wait doubled 46 times.
        wait = min(FIRST_WAIT * 2 ** min(self.attempts, 16), LONGEST_WAIT)
        self.attempts += 1
        self.next_try_at = timezone.now() + wait

    def set_next_try_now(self) -> None:
        """Set it to be tried again at once, without counting an attempt; doesn't save."""
        self.outcome, self.next_try_at = "", timezone.now()
