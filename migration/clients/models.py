"""Owns comments on clients, and counts all clients for the dashboard; of a site with very many the counts are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models import Count, F, Max, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.nova_columns import NovaSchema, read_nova_columns
from migration.core.audit import MOST_CHARACTERS, AuditEvent, EventKind, is_ahead, limit_reason
from migration.core.clients import all_clients
from migration.core.comparisons import Resolution
from migration.core.fields import ClampedDateTimeField
from migration.core.groups import OWN_PERMISSION
from migration.core.rates import KeptCounts
from migration.core.text import KeptNameField, require_kept_name
from migration.moves.readiness import CountedRow, count_blockers, with_blocker
from migration.moves.rules import BLOCKERS
from migration.runs.failures import SiteFailureCounts, count_failed_clients
from nova_credentials.messages import MessageError, Sentence, name_moment

# A comment stands in the history as a row, as it can be taken back.
COMMENT_EVENT = EventKind("comment", _("Comment"), icon="chat")


# The counts of all clients

# With so many clients, counting takes longer than all the rest of the dashboard.
KEPT_FROM_CLIENTS = 20_000
# And with so many, longer than the rest of their list.
STANDINGS_KEPT_FROM = 1_000
# The workers count every minute. Where they are late, the page counts itself.
KEPT_FOR = timedelta(minutes=3)


def late_push_threshold() -> datetime:
    """Return the time before which a pending write is late: the workers push every minute."""
    return timezone.now() - timedelta(minutes=2)


@dataclass(frozen=True)
class Usage:
    """How many active clients, of them with a login, and services with one there are; and what NOVA has read."""

    clients: int
    holders: int
    services: int
    reads: int
    reads_since: datetime | None


@dataclass(frozen=True)
class SiteCounts:
    """Numbers of all clients, in memory: counted now, or read from `KeptCounts`. Pages add the words."""

    at: datetime
    # One for each phase, comparison status and blocker: n, active, acknowledged, and the last comparison.
    rows: list[dict[str, Any]]
    # Of the clients whose push is pending: push_pending, push_refused, push_late.
    pushes: dict[str, int]
    usage: Usage
    # The credentials whose value stood in clear and was not rotated since, and the clients that have them.
    to_rotate: int
    clients_to_rotate: int
    failures: SiteFailureCounts
    # True where the workers counted it some time before the page was opened.
    is_kept: bool = False

    @classmethod
    def count_now(cls) -> Self:
        """Count all clients anew, in four queries, and return the counts; stores nothing."""
        at = timezone.now()
        rows, pushes = _count_rows(), _count_pushes()
        usage, to_rotate, clients_to_rotate = _count_usage()
        return cls(
            at=at,
            rows=rows,
            pushes=pushes,
            usage=usage,
            to_rotate=to_rotate,
            clients_to_rotate=clients_to_rotate,
            failures=count_failed_clients(),
        )

    @property
    def clients(self) -> int:
        return sum(row["n"] for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": [{**row, "last": _write_time(row["last"])} for row in self.rows],
            "pushes": self.pushes,
            "usage": vars(self.usage) | {"reads_since": _write_time(self.usage.reads_since)},
            # A site of the release before reads it while this one counts already.
            "cutovers": {},
            "to_rotate": self.to_rotate,
            "clients_to_rotate": self.clients_to_rotate,
            "failures": self.failures.to_json(),
        }

    @classmethod
    def from_json(cls, at: datetime, kept: dict[str, Any]) -> Self:
        since = kept["usage"]["reads_since"]
        return cls(
            at=at,
            rows=[{**row, "last": _read_time(row["last"])} for row in kept["rows"]],
            pushes=kept["pushes"],
            usage=Usage(**{**kept["usage"], "reads_since": _read_time(since)}),
            to_rotate=kept["to_rotate"],
            clients_to_rotate=kept["clients_to_rotate"],
            failures=SiteFailureCounts.from_json(kept["failures"]),
            is_kept=True,
        )


def _write_time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def read_or_count_clients() -> SiteCounts:
    """Return what the workers counted lately; where they have not, count now."""
    since = timezone.now() - KEPT_FOR
    # A worker of the release before may have counted less.
    whole = KeptCounts.objects.filter(pk=KeptCounts.CLIENTS, counts__has_key="failures")
    kept = whole.filter(counted_at__gt=since).first()
    return SiteCounts.from_json(kept.counted_at, kept.counts) if kept else SiteCounts.count_now()


def renew_client_counts() -> None:
    """Store new counts of a site with KEPT_FROM_CLIENTS clients or more; else delete the old ones.

    And those of the list's chips, where there are STANDINGS_KEPT_FROM.
    """
    number = all_clients().count()
    if number < STANDINGS_KEPT_FROM:
        KeptCounts.objects.filter(pk=KeptCounts.STANDINGS).delete()
    else:
        at, rows = timezone.now(), count_blockers(None, read_nova_columns())
        KeptCounts.objects.update_or_create(
            pk=KeptCounts.STANDINGS, defaults={"counted_at": at, "counts": {"rows": rows}}
        )
    if number < KEPT_FROM_CLIENTS:
        KeptCounts.objects.filter(pk=KeptCounts.CLIENTS).delete()
        return
    found = SiteCounts.count_now()
    KeptCounts.objects.update_or_create(
        pk=KeptCounts.CLIENTS, defaults={"counted_at": found.at, "counts": found.to_json()}
    )


def read_or_count_blockers(schema: NovaSchema) -> tuple[list[CountedRow], datetime | None]:
    """Return what keeps all clients, and when the workers counted it; where they have not lately, None: count now."""
    since = timezone.now() - KEPT_FOR
    kept = KeptCounts.objects.filter(pk=KeptCounts.STANDINGS, counted_at__gt=since).first()
    rows = [(*row,) for row in kept.counts["rows"]] if kept else []
    # A worker of another release may know other rules.
    is_known = rows and all(code in BLOCKERS for _phase, code, _fits, _n in rows)
    return (rows, kept.counted_at) if kept and is_known else (count_blockers(None, schema), None)


def _count_rows() -> list[dict[str, Any]]:
    """Count the clients of each phase, status and blocker."""
    acknowledged = Q(
        pk__in=Resolution.objects.acknowledging_newest_comparison().values("client_id")
    )
    counted = (
        with_blocker(all_clients())
        .annotate(status=F("client_migration__comparison_status"))
        .order_by()
        .values("phase", "status", "blocker")
        .annotate(
            n=Count("pk"),
            active=Count("pk", filter=Q(is_active=True)),
            acknowledged=Count("pk", filter=acknowledged),
            last=Max("client_migration__compared_at"),
        )
    )
    return list(counted)


def _count_pushes() -> dict[str, int]:
    """Count the clients whose push is pending, refused or late."""
    refused = Q(client_migration__refused_revision=F("revision"))
    pending = all_clients().push_pending()
    late = Q(pk__in=all_clients().push_late(late_push_threshold()).order_by().values("pk"))
    return pending.aggregate(
        push_pending=Count("pk", filter=~refused),
        push_refused=Count("pk", filter=refused),
        push_late=Count("pk", filter=late),
    )


def _count_usage() -> tuple[Usage, int, int]:
    """Count the usage and, in the same statement, the credentials that are to be rotated and their clients."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH held AS (
                SELECT client_id, 1 AS service FROM public.client_database_credentials
                UNION ALL SELECT client_id, 2 FROM public.client_email_credentials
                UNION ALL SELECT client_id, 4 FROM client_aws_credentials
            ), services AS (SELECT client_id, bit_or(service) AS bits FROM held GROUP BY client_id)
            SELECT count(*), count(bits), coalesce(sum((bits & 1) + (bits >> 1 & 1) + (bits >> 2)), 0)::int,
                coalesce(max(reads.n), 0)::bigint, min(reads.since), (
                    SELECT ARRAY[count(*), count(DISTINCT client_id)] FROM migration_knownvalue AS known
                    WHERE replaced_at IS NULL AND NOT stands_in_tables
                        AND (stood_in_tables OR stood_in_copy OR stood_in_legacy)
                        AND EXISTS (SELECT FROM public.clients WHERE id = known.client_id)
                )
            FROM public.clients LEFT JOIN services ON client_id = id
            CROSS JOIN (SELECT sum(reads) AS n, min(counted_since) AS since FROM migration_readcount) AS reads
            WHERE is_active
            """
        )
        *usage, to_rotate = cursor.fetchone()
        return Usage(*usage), *to_rotate


# What people write about a client for their colleagues. Everybody who may see the client reads it.

# Who looks after clients says so, and what colleagues should know.
COMMENT_PERMISSION = OWN_PERMISSION


class CommentError(MessageError, ValueError):
    """The comment can't be kept; nothing was changed."""


COMMENT_MISSING = Sentence("comment_missing", "Nothing was added: type a comment first.")
COMMENT_TOO_LONG = Sentence(
    "comment_too_long",
    "Nothing was added: a comment has at most %(most)s characters, and this one has %(n)s.",
)


def check_comment(text: str) -> None:
    """Raise `CommentError` if nothing was typed, or too much."""
    if not text.strip():
        raise CommentError(COMMENT_MISSING())
    if len(text) > MOST_CHARACTERS:
        raise CommentError(COMMENT_TOO_LONG(most=MOST_CHARACTERS, n=len(text)))


# In the audit
COMMENT_LEFT = Sentence("comment_left", "Left comment %(id)s.")
COMMENT_TAKEN_BACK = Sentence(
    "comment_taken_back", "Took back comment %(id)s, which %(who)s left at %(at)s."
)


class ClientCommentQuerySet(models.QuerySet["ClientComment"]):
    def with_places(self) -> Self:
        """Have each know its place in a history."""
        return self.annotate(is_ahead=is_ahead("left_at"))

    def leave(self, client: Client, text: str, *, by: User) -> ClientComment:
        """Keep the comment; one that repeats the user's newest on this client is not kept twice.

        The audit says that it was left, and nothing of its text. Raises `CommentError`.
        """
        check_comment(text)
        with transaction.atomic():
            # Two requests of one user wait for each other: a button is easily pressed twice.
            list(User.objects.select_for_update(no_key=True).filter(pk=by.pk).values("pk"))
            newest = self.filter(client_id=client.pk).first()
            if newest and (newest.by_id, newest.text) == (by.pk, text):
                return newest
            comment = self.create(client_id=client.pk, slug=client.slug, text=text, by=by)
            AuditEvent.objects.record(
                COMMENT_EVENT,
                COMMENT_LEFT(id=str(comment.pk)),
                by=by,
                client_id=client.pk,
                slug=client.slug,
            )
        return comment

    def take_back(self, comment: ClientComment, *, by: User) -> bool:
        """Delete the comment; say whether it was still there."""
        with transaction.atomic():
            gone, _by_model = self.filter(pk=comment.pk).delete()
            if gone:
                facts = COMMENT_TAKEN_BACK(
                    id=str(comment.pk),
                    who=comment.by_name,
                    at=name_moment(comment.left_at),
                )
                AuditEvent.objects.record(
                    COMMENT_EVENT,
                    facts,
                    by=by,
                    client_id=comment.client_id,
                    slug=comment.slug,
                )
        return bool(gone)


class ClientComment(models.Model):
    """One comment on one client. The row of a client that NOVA has deleted stays, as its history does."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="comments"
    )
    slug = models.CharField(max_length=100)
    # As the user typed it.
    text = models.TextField(_("comment"))
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    left_at = ClampedDateTimeField(default=timezone.now)

    # As a history found it.
    is_ahead = False

    objects = ClientCommentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        # To take back what somebody else wrote.
        default_permissions = ("delete",)
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="comment_of_client")]
        constraints: ClassVar = [
            limit_reason("clientcomment", "text"),
            require_kept_name("clientcomment", "by"),
        ]
        verbose_name = _("comment on a client")

    def __str__(self) -> str:
        return f"comment {self.pk} on {self.slug}"

    @property
    def place(self) -> tuple[bool, datetime]:
        """Return its place in a history, in which the highest is told first."""
        return not self.is_ahead, self.left_at
