"""What differs now, what somebody did about it, and how comparisons came out by day. Never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.clients import ClientMigration
from migration.models.fields import MessageField
from migration.models.reasons import reason_is_short
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Collection


class ResolutionQuerySet(models.QuerySet["Resolution"]):
    def standing(self) -> Self:
        """Acknowledgements whose last day is not over."""
        return self.filter(kind=Resolution.Kind.ACKNOWLEDGE, until__gte=timezone.localdate())

    def of_newest(self) -> Self:
        """Those that took note of just what their client's newest comparison found: another mismatch is news again."""
        newest = _as_acknowledged("client__client_migration__comparison")
        return self.standing().filter(mismatches=newest)

    def of_open_mismatches(self) -> Self:
        """Those that took note of just what is open at their client, also where it could not be checked since."""
        found = _as_acknowledged("client__open_mismatches__comparison")
        return self.standing().filter(mismatches=found)


def _as_acknowledged(comparison: str) -> models.Func:
    """`Comparison.as_acknowledged` in SQL, of the comparison on this path."""
    status = models.Func(
        models.Value("status"), models.F(f"{comparison}__status"), function="jsonb_build_object"
    )
    return models.Func(
        models.Func(status, function="jsonb_build_array"),
        models.F(f"{comparison}__mismatches"),
        template="(%(expressions)s)",
        arg_joiner=" || ",
        output_field=models.JSONField(),
    )


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
    # As it was typed.
    reason = models.TextField(_("reason"), blank=True)
    message = MessageField(_("result"), null=True)
    # What was acknowledged, and the last day on which it counts: another mismatch is news again.
    mismatches = models.JSONField(default=list)
    until = models.DateField(_("until"), null=True)
    resolved_at = models.DateTimeField(default=timezone.now)

    objects = ResolutionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="resolution_of_client")]
        constraints: ClassVar = [reason_is_short("resolution")]

    def __str__(self) -> str:
        return f"{self.slug}: {self.get_kind_display()}"


# How the paths of credentials begin; one of them alone is a credential that one store lacks.
CREDENTIALS = (*CredentialType, "other_")


def newest_is(status: str) -> models.Q:
    """Of a client whose newest comparison came out so."""
    standing = ClientMigration.objects.filter(comparison_status=status)
    return models.Q(client__in=standing.values("pk"))


class OpenMismatchQuerySet(models.QuerySet["OpenMismatch"]):
    def keep_up(self, comparison_ids: Collection[int]) -> None:
        """Opens what these comparisons found, counts what was open already, and closes what they found equal.

        Only of those that are their client's newest. What could not be checked opens nothing and closes nothing.
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

    def of_present_clients(self) -> Self:
        """NOVA deletes clients; what differed at them is nobody's business any more."""
        return self.filter(models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))))

    def with_state(self) -> Self:
        """Adds `acknowledged`, and `in_doubt`: whether the client's newest comparison could not check."""
        noted = Resolution.objects.of_open_mismatches().values("client_id")
        return self.annotate(
            acknowledged=models.Q(client__in=noted), in_doubt=newest_is("unchecked")
        )

    def forget_gone(self) -> None:
        gone = ~models.Exists(Client.objects.filter(pk=models.OuterRef("client_id")))
        self.filter(gone).delete()


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
    # The newest one that found it: never forgotten as long as it is the newest.
    comparison = models.ForeignKey("Comparison", models.DO_NOTHING, related_name="+")
    first_seen_at = models.DateTimeField(_("first seen"), db_index=True)
    last_seen_at = models.DateTimeField(_("last seen"))
    times = models.PositiveIntegerField(_("times"))
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        related_name="+",
        verbose_name=_("owner"),
    )

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

    @property
    def credential(self) -> str:
        """Whose field it is: `database`, `other_emails[0]`; empty where it is the client's own."""
        whole = self.path if self.path.startswith(CREDENTIALS) else ""
        return self.path.rpartition(".")[0] or whole

    @property
    def field(self) -> str:
        """Its name in the credential, or that all of it differs."""
        if not self.path:
            return gettext("the whole secret")
        return (
            gettext("all fields") if self.path == self.credential else self.path.rpartition(".")[2]
        )


class DailyComparisonsQuerySet(models.QuerySet["DailyComparisons"]):
    def count_up(self, comparison_ids: Collection[int]) -> None:
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
    """How many comparisons of one day came out this way; stays when the comparisons are forgotten."""

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
