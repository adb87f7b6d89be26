"""Owns what holds for a time, such as AWS that does not answer; tells when it begins and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from django.db import connection, models, transaction
from django.utils import timezone

from migration import notice_sentences as sentences
from migration.models.fields import MessageField
from migration.models.notices import Notice, NoticeEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from nova_credentials.messages import Message, Sentence

# What comes and goes within this time is one condition, and is told once.
OVER_AFTER = timedelta(minutes=10)
# What happened to the queue and is shown for a while, but not told.
SCHEDULE_CHANGED, TASKS_DROPPED = "schedule changed", "tasks dropped"
SHOWN_FOR = timedelta(days=1)
NAMES_SHOWN = 5

# A subject that names no client finds none: whoever owns NOVA's tables may have written it.
FOUND = """
WITH found AS (
    SELECT subject, slug FROM unnest(%(found)s::text[]) AS subject
    JOIN public.clients AS c ON c.id::text = split_part(subject, ':', 1)
),
"""
BEGIN = f"""
{FOUND} begun AS (
    INSERT INTO migration_condition (event, subject, began_at, seen_at)
    SELECT %(code)s, subject, now(), now() FROM found
    ON CONFLICT (event, subject) DO NOTHING RETURNING subject
)
SELECT count(*), (array_agg(DISTINCT slug))[:{NAMES_SHOWN + 1}] FROM begun JOIN found USING (subject)
"""  # noqa: S608  # constants
# A client is told to be over when nothing of it is left.
END = f"""
{FOUND} ended AS (
    DELETE FROM migration_condition AS known
    WHERE event = %(code)s AND NOT EXISTS (SELECT FROM found WHERE found.subject = known.subject)
    RETURNING split_part(subject, ':', 1) AS client
), freed AS (
    SELECT slug FROM public.clients WHERE id::text IN (SELECT client FROM ended)
    EXCEPT SELECT slug FROM found
)
SELECT count(*), (array_agg(slug ORDER BY slug))[:{NAMES_SHOWN + 1}] FROM freed
"""  # noqa: S608  # as above


@dataclass(frozen=True)
class FoundCondition:
    """A condition of the site that holds now: its subject, and the sentence that tells it."""

    subject: str
    facts: Message


@dataclass(frozen=True)
class ClientCondition:
    """A condition that holds for some clients. All that begin are told in one sentence with `n` and `names`.

    `find` returns what holds now, each as "ID:WHAT" with the client's id.
    """

    code: str
    event: NoticeEvent
    find: Callable[[], Iterable[str]] = field(repr=False)
    began: Sentence


class ConditionQuerySet(models.QuerySet["Condition"]):
    @transaction.atomic
    def update_and_notify(
        self,
        event: NoticeEvent,
        found: Collection[FoundCondition],
        *,
        over_after: timedelta = OVER_AFTER,
    ) -> None:
        """Store which conditions of this event hold now; record notices of what began and what is over."""
        now = timezone.now()
        # Two looks at once wait for each other.
        rows = self.select_for_update().filter(event=event).order_by("pk")
        known = {row.subject: row for row in rows}
        for each in found:
            if row := known.pop(each.subject, None):
                self.filter(pk=row.pk).update(seen_at=now)
                continue
            # Another look may have begun it.
            row, is_new = self.get_or_create(
                event=event, subject=each.subject, defaults={"facts": each.facts}
            )
            if is_new:
                Notice.objects.record(event, each.facts, key=row.key)
        for row in known.values():
            if now - row.seen_at >= over_after:
                row.delete_and_notify()

    @transaction.atomic
    def update_and_notify_of_clients(self, condition: ClientCondition) -> None:
        """Store for which clients it holds now; record a notice of all that began, and one of all that ended."""
        values = dict[str, Any](code=condition.code, found=list({*condition.find()}))
        for statement, sentence in ((END, sentences.OVER_FOR_CLIENTS), (BEGIN, condition.began)):
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                number, names = cursor.fetchone()
            if number:
                shown = tuple(names[:NAMES_SHOWN]) + ("…",) * (len(names) > NAMES_SHOWN)
                Notice.objects.record(
                    condition.event,
                    sentence(n=number, names=shown),
                    key=f"{condition.code}:{uuid4()}",
                    is_over=not values["found"],
                )

    def note(self, event: str, subject: str) -> None:
        """Note that this has just happened."""
        self.update_or_create(event=event, subject=subject, defaults={"seen_at": timezone.now()})

    def noted_lately(self, event: str) -> list[Condition]:
        """Return what was noted of this event within SHOWN_FOR, the newest first."""
        since = timezone.now() - SHOWN_FOR
        return list(self.filter(event=event, seen_at__gt=since).order_by("-seen_at"))


class Condition(models.Model):
    """Something that needs attention and holds since `began_at`."""

    # A `NoticeEvent`, or the code of a `ClientCondition`.
    event = models.CharField(max_length=32)
    subject = models.CharField(max_length=100)
    facts = MessageField(null=True)
    began_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)

    objects = ConditionQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "subject"], name="one_condition_a_subject")
        ]

    def __str__(self) -> str:
        return f"{self.event}:{self.subject}"

    @property
    def key(self) -> str:
        """Return the key under which a notice of it is recorded only once."""
        return f"{self.event}:{self.subject}:{self.began_at.isoformat()}"

    def delete_and_notify(self) -> None:
        """Delete it, and tell that it is over."""
        self.delete()
        if self.facts:
            facts = sentences.IS_OVER(ago=self.began_at, what=self.facts)
            event = NoticeEvent(self.event)
            Notice.objects.record(event, facts, key=f"{self.key}:over", is_over=True)
