"""Owns comparisons of both stores, their mismatches and what was done about these: fingerprints, never a value."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.localization import find_site_day
from credentials.models import Client
from migration.core.audit import AuditEvent, EventKind, limit_reason
from migration.core.clients import ClientMigration, PhaseChange
from migration.core.fields import MessageField
from migration.core.text import KeptNameField, require_kept_name
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.comparison import Mismatch
from nova_credentials.messages import Message, Sentence, in_a_row

# Where a client's result is another than the one before.
COMPARISON_EVENT = EventKind(
    "comparison",
    _("Comparison"),
    icon="compare_arrows",
    in_history=True,
    permission="migration.view_comparison",
)
RESOLUTION_EVENT = EventKind(
    "resolution",
    _("Mismatch resolved"),
    icon="build",
    in_history=True,
    in_activity=True,
    permission="migration.view_comparison",
)


# Errors of AWS itself, and not of one client's secret.
OF_AWS = (ErrorClass.PERMISSION, ErrorClass.THROTTLED, ErrorClass.UNAVAILABLE)
ACKNOWLEDGEMENT_WITHDRAWN = Sentence(
    "acknowledgement_withdrawn", "Took back an acknowledgement of mismatches."
)
ACKNOWLEDGEMENT_UNDONE = Sentence("acknowledgement_undone", "%(who)s took it back.")


class ResolutionQuerySet(models.QuerySet["Resolution"]):
    def acknowledgements_in_force(self) -> Self:
        """Select the acknowledgements whose last day is not over."""
        return self.filter(kind=Resolution.Kind.ACKNOWLEDGE, until__gte=find_site_day())

    def withdraw_acknowledgements(
        self, acknowledgement_ids: Collection[int], *, by: User
    ) -> list[Resolution]:
        """End these acknowledgements, as far as they are the user's own and in force; return those that it ended."""
        with transaction.atomic():
            rows = list(
                self.acknowledgements_in_force()
                .filter(pk__in=acknowledgement_ids, by=by)
                .select_for_update(of=("self",))
            )
            if not rows:
                return []
            message = ACKNOWLEDGEMENT_UNDONE(who=by.get_username())
            self.filter(pk__in=[row.pk for row in rows]).update(until=None, message=message)
            AuditEvent.objects.insert_already_signed(
                [
                    AuditEvent.make_signed(
                        RESOLUTION_EVENT,
                        ACKNOWLEDGEMENT_WITHDRAWN(),
                        by=by,
                        client_id=row.client_id,
                        slug=row.slug,
                    )
                    for row in rows
                ]
            )
        return rows

    def find_undoable_copy(self, client_id: int) -> Resolution | None:
        """Return the client's newest copy to PostgreSQL; None if it was undone, or an earlier release made it."""
        kinds = (Resolution.Kind.TO_POSTGRES, Resolution.Kind.TO_FORMER)
        newest = self.filter(client_id=client_id, kind__in=kinds).first()
        return newest if newest and newest.kept_versions else None

    def acknowledging_newest_comparison(self) -> Self:
        """Select those in force that acknowledge exactly what their client's newest comparison found."""
        newest = _make_findings("client__client_migration__comparison")
        return self.acknowledgements_in_force().filter(mismatches=newest)

    def acknowledging_open_mismatches(self) -> Self:
        """Select those in force that acknowledge exactly their client's open mismatches, checked or not since."""
        found = _make_findings("client__open_mismatches__comparison")
        return self.acknowledgements_in_force().filter(mismatches=found)


def _make_findings(comparison: str) -> models.Func:
    """Build `Comparison.list_acknowledgeable` in SQL, for the comparison on this path."""
    # A parameter of this function has no type of its own.
    name = Cast(models.Value("status"), models.TextField())
    status = models.Func(name, models.F(f"{comparison}__status"), function="jsonb_build_object")
    return models.Func(
        models.Func(status, function="jsonb_build_array"),
        models.F(f"{comparison}__mismatches"),
        template="(%(expressions)s)",
        arg_joiner=" || ",
        output_field=models.JSONField(),
    )


class Resolution(models.Model):
    """An action that a user took about a client's mismatches."""

    class Kind(models.TextChoices):
        CHECK = "check", _("Checked again")
        TO_AWS = "to_aws", _("Copied PostgreSQL to AWS")
        TO_POSTGRES = "to_postgres", _("Copied AWS to PostgreSQL")
        ACKNOWLEDGE = "acknowledge", _("Acknowledged")
        TO_FORMER = "to_former", _("Put the former values back")
        TO_VERSION = "to_version", _("Restored a former version")

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="resolutions"
    )
    slug = models.CharField(max_length=100)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    message = MessageField(_("result"), null=True)
    # The findings that were acknowledged, or that were left after a copy to PostgreSQL.
    mismatches = models.JSONField(default=list)
    # The last day on which an acknowledgement counts. Other mismatches are not covered.
    until = models.DateField(_("until"), null=True)
    # Of a copy to PostgreSQL: the secrets with the versions that keep what the rows held, and the revision after it.
    kept_versions = models.JSONField(null=True)
    revision = models.BigIntegerField(null=True)
    resolved_at = models.DateTimeField(default=timezone.now)

    objects = ResolutionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="resolution_of_client")]
        constraints: ClassVar = [
            limit_reason("resolution"),
            require_kept_name("resolution", "by"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.get_kind_display()}"


class DailyComparisonsQuerySet(models.QuerySet["DailyComparisons"]):
    def count_up(self, comparison_ids: Collection[int]) -> None:
        """Add these comparisons to the numbers of their days."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_dailycomparisons AS kept (day, status, number)
                SELECT (compared_at AT TIME ZONE %s)::date AS day, status, count(*)
                FROM migration_comparison WHERE id = ANY(%s)
                GROUP BY 1, 2 ORDER BY 1, 2
                ON CONFLICT (day, status) DO UPDATE SET number = kept.number + excluded.number
                """,
                [settings.TIME_ZONE, list(comparison_ids)],
            )


class DailyComparisons(models.Model):
    """The number of comparisons of one day with one result. It stays when the comparisons are deleted."""

    day = models.DateField()
    status = models.CharField(max_length=20)
    number = models.BigIntegerField()

    objects = DailyComparisonsQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "status"], name="one_count_a_day_and_status")
        ]

    def __str__(self) -> str:
        return f"{self.day}: {self.number} × {self.status}"


def client_has_newest_status(status: str) -> models.Q:
    """Return the condition that the client's newest comparison has this status."""
    compared = ClientMigration.objects.filter(comparison_status=status)
    return models.Q(client__in=compared.values("pk"))


class OpenMismatchQuerySet(models.QuerySet["OpenMismatch"]):
    def open_and_close(self, comparison_ids: Collection[int]) -> None:
        """Open the mismatches that these comparisons found, or count them again, and close those not found again.

        A comparison that is not its client's newest, or that could not check, changes nothing.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH compared AS (
                    SELECT c.* FROM migration_comparison c JOIN migration_clientmigration m ON m.comparison_id = c.id
                    WHERE c.id = ANY(%s) AND c.status <> 'unchecked'
                ), seen AS (
                    SELECT DISTINCT ON (c.client_id, path) c.client_id, c.slug, c.id AS comparison_id, c.compared_at,
                        coalesce(field->>'path', '') AS path,
                        coalesce(
                            field->>'kind', CASE c.status WHEN 'missing_in_postgres' THEN 'extra' ELSE 'missing' END
                        ) AS kind,
                        coalesce(field->>'hint', '') AS hint
                    FROM compared c LEFT JOIN jsonb_array_elements(c.mismatches) AS field ON true
                    WHERE c.status <> 'match'
                    ORDER BY c.client_id, path
                ), closed AS (
                    DELETE FROM migration_openmismatch AS gone USING compared
                    WHERE gone.client_id = compared.client_id AND NOT EXISTS (
                        SELECT FROM seen WHERE seen.client_id = gone.client_id AND seen.path = gone.path
                    )
                )
                INSERT INTO migration_openmismatch AS kept
                    (client_id, slug, path, kind, hint, comparison_id, first_seen_at, last_seen_at, times)
                SELECT client_id, slug, path, kind, hint, comparison_id, compared_at, compared_at, 1 FROM seen
                ON CONFLICT (client_id, path) DO UPDATE
                SET slug = excluded.slug, kind = excluded.kind, hint = excluded.hint,
                    comparison_id = excluded.comparison_id, last_seen_at = excluded.last_seen_at,
                    times = kept.times + 1
                """,
                [list(comparison_ids)],
            )

    def close_of_never_pushed(self, client_ids: Collection[int]) -> None:
        """Close what was found missing in AWS of these clients in `postgres`, which no push has brought there yet.

        Earlier releases called that a mismatch.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH left_out AS (
                    UPDATE migration_clientmigration
                    SET comparison_id = NULL, comparison_status = NULL, compared_at = NULL, clean_streak = 0,
                        streak_counted_at = NULL
                    WHERE client_id = ANY(%s) AND phase = 'postgres' AND comparison_status = 'missing_in_aws'
                    RETURNING client_id
                )
                DELETE FROM migration_openmismatch WHERE client_id IN (SELECT client_id FROM left_out)
                """,
                [list(client_ids)],
            )

    def exclude_deleted_clients(self) -> Self:
        """Leave out the mismatches of clients that NOVA has deleted."""
        return self.filter(models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))))

    def with_acknowledged_and_unchecked(self) -> Self:
        """Annotate `acknowledged`, and `newest_comparison_is_unchecked`: it could not check."""
        acknowledged = Resolution.objects.acknowledging_open_mismatches().values("client_id")
        return self.annotate(
            acknowledged=models.Q(client__in=acknowledged),
            newest_comparison_is_unchecked=client_has_newest_status("unchecked"),
        )

    def forget_gone_clients(self) -> None:
        """Delete the mismatches of clients that NOVA has deleted."""
        gone = ~models.Exists(Client.objects.filter(pk=models.OuterRef("client_id")))
        self.filter(gone).delete()


# How many clients have a mismatch that nobody acknowledged, from the site's own tables alone; takes the site's day.
CLIENTS_TO_RESOLVE = """
    SELECT count(DISTINCT o.client_id) FROM migration_openmismatch o
    WHERE NOT EXISTS (
        SELECT FROM migration_resolution r JOIN migration_comparison c ON c.id = o.comparison_id
        WHERE r.client_id = o.client_id AND r.kind = 'acknowledge' AND r.until >= %s
            AND r.mismatches = jsonb_build_array(jsonb_build_object('status', c.status::text)) || c.mismatches
    )
"""


def count_clients_to_resolve() -> int:
    """Count the clients that differ and were not acknowledged: what the menu, the dashboard and the report say."""
    with connection.cursor() as cursor:
        cursor.execute(CLIENTS_TO_RESOLVE, [find_site_day()])
        return int(cursor.fetchone()[0])


class OpenMismatch(models.Model):
    """One field of one client that differs, from the first comparison that found it to one that does not."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="open_mismatches"
    )
    slug = models.CharField(max_length=100)
    # Empty where the whole client is missing in a store.
    path = models.TextField(_("field"))
    kind = models.CharField(_("difference"), max_length=16)
    hint = models.CharField(_("hint"), max_length=32, blank=True)
    # The newest comparison that found it, which `Comparison.objects.forget_old` keeps.
    comparison = models.ForeignKey("Comparison", models.DO_NOTHING, related_name="+")
    first_seen_at = models.DateTimeField(_("first seen"), db_index=True)
    last_seen_at = models.DateTimeField(_("last seen"))
    times = models.PositiveIntegerField(_("times"))

    objects = OpenMismatchQuerySet.as_manager()

    class Meta:
        # Its pages and permissions are the comparisons'.
        default_permissions = ()
        ordering: ClassVar = ["slug", "client_id", "path"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client", "path"], name="one_open_mismatch_a_field")
        ]
        indexes: ClassVar = [
            models.Index(fields=["slug", "client", "path"], name="open_mismatch_order"),
            models.Index(fields=["kind"], name="open_mismatch_kind"),
            models.Index(fields=["path"], name="open_mismatch_path"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.path or 'everything'}"


COMPARISONS_ARE_KEPT = timedelta(days=30)

# A comparison that is no mismatch and comes too soon leaves the streak as it is: neither does one begun in an earlier
# phase count, nor one soon after the last that counted, or pressing a button thrice would make a streak.
_TOO_SOON = """
(excluded.compared_at < kept.phase_changed_at
    OR excluded.compared_at < kept.streak_counted_at + %(apart)s * interval '1 second')
"""
SET_AS_NEWEST = f"""
INSERT INTO migration_clientmigration AS kept
    (client_id, phase, comparison_id, comparison_status, compared_at, clean_streak, streak_counted_at)
SELECT client_id, 'postgres', id, status, compared_at, counted, CASE counted WHEN 1 THEN compared_at END
FROM migration_comparison, LATERAL (SELECT CASE status WHEN 'match' THEN %(counts)s ELSE 0 END AS counted) AS streak
WHERE id = ANY(%(ids)s)
ORDER BY client_id
ON CONFLICT (client_id) DO UPDATE
SET comparison_id = excluded.comparison_id, comparison_status = excluded.comparison_status,
    compared_at = excluded.compared_at,
    clean_streak = CASE WHEN excluded.comparison_status NOT IN ('match', 'unchecked') THEN 0
                        WHEN {_TOO_SOON} THEN kept.clean_streak
                        WHEN excluded.comparison_status = 'match' THEN kept.clean_streak + excluded.clean_streak
                        ELSE 0 END,
    streak_counted_at = CASE WHEN excluded.comparison_status NOT IN ('match', 'unchecked') THEN NULL
                             WHEN {_TOO_SOON} THEN kept.streak_counted_at
                             WHEN excluded.comparison_status = 'match'
                             THEN coalesce(excluded.streak_counted_at, kept.streak_counted_at) END
WHERE kept.comparison_id IS NULL OR kept.comparison_id < excluded.comparison_id
"""  # noqa: S608  # its own text

DIFFERING = """
SELECT m.client_id FROM migration_clientmigration AS m JOIN migration_comparison AS c ON c.id = m.comparison_id
WHERE m.client_id = ANY(%s) AND (
    c.status = ANY(%s)
    OR (c.status = 'unchecked' AND EXISTS (
        SELECT FROM migration_openmismatch AS open WHERE open.client_id = m.client_id
    ))
)
"""


# Which comparisons, each its client's newest, differ from the result before; as a first result a match is no news. What
# could not check is no result. The order asks for the index by client: by its key alone, of a table of which it knows
# nothing yet, PostgreSQL would look through the comparisons of all clients.
CHANGED = """
SELECT c.id FROM migration_comparison AS c
JOIN migration_clientmigration AS m ON m.client_id = c.client_id AND m.comparison_id = c.id
LEFT JOIN LATERAL (
    SELECT status, mismatches FROM migration_comparison AS former
    WHERE former.client_id >= c.client_id AND former.client_id <= c.client_id AND former.id < c.id
        AND former.status <> 'unchecked'
    ORDER BY former.client_id, former.id DESC LIMIT 1
) AS before ON true
WHERE c.id = ANY(%s) AND c.status <> 'unchecked'
    AND (c.status <> coalesce(before.status, 'match') OR c.mismatches <> coalesce(before.mismatches, '[]'))
"""


class ComparisonQuerySet(models.QuerySet["Comparison"]):
    def record(
        self, comparisons: Iterable[Comparison], *, read_back: bool = False
    ) -> list[Comparison]:
        """Store the comparisons, make each its client's newest unless a newer one exists, and update open mismatches.

        A match lengthens the client's clean streak if it was made in the present phase, half a sweep after the last
        that counted, and not by a push that `read_back` its own write. What differs ends the streak. Where the result
        is another than the one before, the audit gets an event.
        """
        rows = list(comparisons)
        self.record_in_turn(rows, read_back=read_back)
        return rows

    @transaction.atomic(savepoint=False)  # nobody goes on with a transaction in which it failed
    def record_in_turn(self, *batches: list[Comparison], read_back: bool = False) -> None:
        """Store batches as `record` does, one after the other: a client may be in more than one of them."""
        ids, events = list[int](), list[AuditEvent]()
        for batch in filter(None, batches):
            new = self._insert_rows(batch)
            with connection.cursor() as cursor:
                cursor.execute(
                    SET_AS_NEWEST,
                    {
                        "counts": 0 if read_back else 1,
                        "ids": new,
                        "apart": settings.NOVA_SWEEP_MINUTES * 60 / 2,
                    },
                )
            OpenMismatch.objects.open_and_close(new)
            changed = self._find_changed(new)
            events += [
                AuditEvent.make_signed(
                    COMPARISON_EVENT,
                    describe_result(row.status, row.mismatches, row.message),
                    client_id=row.client_id,
                    slug=row.slug,
                )
                for row in batch
                if row.pk in changed
            ]
            ids += new
        AuditEvent.objects.insert_already_signed(events)
        # Last, and all at once in one order: others wait on the rows of the day until the transaction ends.
        DailyComparisons.objects.count_up(ids)

    def _insert_rows(self, rows: list[Comparison]) -> list[int]:
        """Store the rows in one statement, give each its id, and return the ids."""
        # As one text: bulk_create would prepare each value by itself, and psycopg each value of an array.
        values = [
            {
                "client_id": row.client_id,
                "slug": row.slug,
                "run_id": row.run_id,
                "status": row.status,
                "error_class": row.error_class,
                "message": row.message and row.message.to_json(),
                "mismatches": row.mismatches,
                "revision": row.revision,
                "compared_at": row.compared_at.isoformat(),
                "position": position,
            }
            for position, row in enumerate(rows)
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_comparison (
                    client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at
                )
                SELECT client_id, slug, run_id, status, error_class, message, mismatches, revision, compared_at
                FROM jsonb_to_recordset(%s::jsonb) AS new (
                    client_id int, slug text, run_id bigint, status text, error_class text, message jsonb,
                    mismatches jsonb, revision bigint, compared_at timestamptz, position int
                )
                ORDER BY position
                RETURNING id
                """,
                [json.dumps(values)],
            )
            # The ids are given in the order of the rows, but RETURNING may list them in another.
            ids = sorted(pk for (pk,) in cursor.fetchall())
        for row, pk in zip(rows, ids, strict=True):
            row.pk, row._state.adding = pk, False  # noqa: SLF001  # as bulk_create leaves them
        return ids

    def _find_changed(self, comparison_ids: list[int]) -> set[int]:
        """Return those whose result is another than the one before, in one statement.

        After they were made the newest: from then on nobody else stores one of the same client meanwhile.
        """
        with connection.cursor() as cursor:
            cursor.execute(CHANGED, [comparison_ids])
            return {pk for (pk,) in cursor.fetchall()}

    def newest(self) -> Self:
        """Select the newest comparison of each client that NOVA has not deleted."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))),
            newest_of__isnull=False,
        )

    def list_differing(self, client_ids: Collection[int]) -> set[int]:
        """Return those of the clients whose newest comparison differs, or could not check what differed before."""
        with connection.cursor() as cursor:
            cursor.execute(DIFFERING, [list(client_ids), list(Comparison.DIFFERS)])
            return {client_id for (client_id,) in cursor.fetchall()}

    def list_differing_otherwise_since(
        self, client_ids: Collection[int], moment: datetime
    ) -> set[int]:
        """Return those of the clients whose newest comparison differs, and not as their newest one of that moment."""
        differing = self.list_differing(client_ids)
        of_these = self.filter(client_id__in=differing).order_by("client_id", "-pk")

        def list_found(rows: ComparisonQuerySet) -> dict[int, list[dict[str, str]]]:
            return {row.client_id: row.list_acknowledgeable() for row in rows.distinct("client_id")}

        then, now = list_found(of_these.filter(compared_at__lte=moment)), list_found(of_these)
        return {pk for pk in differing if then.get(pk) != now.get(pk)}

    def forget_old(self) -> None:
        """Delete comparisons older than COMPARISONS_ARE_KEPT that no client, move or open mismatch refers to."""
        OpenMismatch.objects.forget_gone_clients()
        before = timezone.now() - COMPARISONS_ARE_KEPT
        used_by_move = PhaseChange.objects.filter(comparison_id=models.OuterRef("pk"))
        used_by_mismatch = OpenMismatch.objects.filter(comparison_id=models.OuterRef("pk"))
        old = self.filter(
            ~models.Exists(used_by_move),
            ~models.Exists(used_by_mismatch),
            newest_of=None,
            compared_at__lt=before,
        )
        old._raw_delete(self.db)  # noqa: SLF001  # one statement, where delete() would fetch every row


STATUSES = {
    "match": Sentence("status_match", "Match"),
    "mismatch": Sentence("status_mismatch", "Mismatch"),
    "missing_in_aws": Sentence("status_missing_in_aws", "Missing in AWS"),
    "missing_in_postgres": Sentence("status_missing_in_postgres", "Missing in PostgreSQL"),
    "unchecked": Sentence("status_unchecked", "Could not check"),
}

STORES_AGREE = Sentence("stores_agree", "Both stores hold the same values.")
FIELDS_DIFFER = Sentence(
    "fields_differ",
    "%(n)s fields differ: %(fields)s.",
    glue=", ",
    one="%(n)s field differs: %(fields)s.",
)
# More are counted, and not named.
FIELDS_NAMED = 3


def describe_result(
    status: str, mismatches: list[dict[str, str]], message: Message | None
) -> Message:
    """Say what a comparison found, with the first fields that differ."""
    if status == Comparison.Status.MATCH:
        return STORES_AGREE()
    if status != Comparison.Status.MISMATCH:
        # The message says so, with the name of what is missing.
        return message or STATUSES[status]()
    named = tuple(row["path"] for row in mismatches[:FIELDS_NAMED])
    more = ("…",) if len(mismatches) > FIELDS_NAMED else ()
    facts = FIELDS_DIFFER(n=len(mismatches), fields=(*named, *more)) if named else None
    return in_a_row(facts, message) or STATUSES[status]()


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
    message = MessageField(_("message"), null=True)
    mismatches = models.JSONField(_("mismatches"), default=list)
    revision = models.BigIntegerField(_("revision"), default=0)
    compared_at = models.DateTimeField(_("compared"), default=timezone.now)

    objects = ComparisonQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["client", "-id"], name="comparison_of_client"),
            # For a search by the beginning of a slug, whatever the database's collation.
            models.Index(
                fields=["slug"], name="comparison_slug", opclasses=["varchar_pattern_ops"]
            ),
        ]
        verbose_name = _("comparison")
        verbose_name_plural = _("comparisons")

    def __str__(self) -> str:
        # Not the slug first: the header of a page makes the first letter a capital.
        return gettext("Comparison of %(slug)s: %(result)s") % {
            "slug": self.slug,
            "result": self.get_status_display(),
        }

    @property
    def status_message(self) -> Message:
        """Return the status as part of a sentence."""
        return STATUSES[self.status]()

    def list_acknowledgeable(self) -> list[dict[str, str]]:
        """Return what can be acknowledged: the mismatches and the status, as a missing secret has no mismatches."""
        return [{"status": self.status}, *self.mismatches]

    def read_mismatches(self) -> list[Mismatch]:
        """Return the stored mismatches."""
        return [Mismatch.from_json(row) for row in self.mismatches]
