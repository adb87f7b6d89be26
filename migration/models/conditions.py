"""Owns what holds for a time, such as AWS that does not answer: since when. Each is told once when it begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from django.db import models, transaction
from django.utils import timezone

from migration import notice_sentences as sentences
from migration.models.fields import MessageField
from migration.models.notices import DigestTopic, Notice, NoticeEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nova_credentials.messages import Message

# What comes and goes within this time is one condition, and is told once.
OVER_AFTER = timedelta(minutes=10)
# The beginning of these is told together, by names; that they are over is told by what ended them.
COUNTED = {NoticeEvent.ROTATION_OVERDUE: DigestTopic.OVERDUE}
# What happened to the queue and is shown for a while, but not told.
SCHEDULE_CHANGED, TASKS_DROPPED = "schedule changed", "tasks dropped"
SHOWN_FOR = timedelta(days=1)


@dataclass(frozen=True)
class FoundCondition:
    """A condition that holds now: its event, its subject, and the facts or the name for the notice."""

    event: NoticeEvent
    subject: str
    facts: Message | None = None
    name: str = ""


class ConditionQuerySet(models.QuerySet["Condition"]):
    @transaction.atomic
    def update_and_notify(
        self,
        events: Collection[NoticeEvent],
        found: Iterable[FoundCondition],
        *,
        over_after: timedelta = OVER_AFTER,
    ) -> None:
        """Store which conditions of these events hold now; record notices of what began and what is over."""
        now = timezone.now()
        # Two looks at once wait for each other.
        known = {(row.event, row.subject): row for row in self._lock_rows(events)}
        fresh, still = [], []
        for each in found:
            if row := known.pop((each.event, each.subject), None):
                still.append(row.pk)
            else:
                fresh.append(each)
        self.filter(pk__in=still).update(seen_at=now)
        self._begin(fresh)
        for row in known.values():
            if now - row.seen_at >= over_after:
                row.delete_and_notify()

    def note(self, event: str, subject: str) -> None:
        """Note that this has just happened."""
        self.update_or_create(event=event, subject=subject, defaults={"seen_at": timezone.now()})

    def noted_lately(self, event: str) -> list[Condition]:
        """Return what was noted of this event within SHOWN_FOR, the newest first."""
        since = timezone.now() - SHOWN_FOR
        return list(self.filter(event=event, seen_at__gt=since).order_by("-seen_at"))

    def _lock_rows(self, events: Collection[NoticeEvent]) -> list[Condition]:
        return list(self.select_for_update().filter(event__in=events).order_by("pk"))

    def _begin(self, fresh: list[FoundCondition]) -> None:
        """Store and tell what began, unless another look has done so."""
        counted: dict[DigestTopic, list[str]] = {}
        for each in fresh:
            row, is_new = self.get_or_create(
                event=each.event, subject=each.subject, defaults={"facts": each.facts}
            )
            if not is_new:
                continue
            if digest := COUNTED.get(each.event):
                counted.setdefault(digest, []).append(each.name)
            elif each.facts:
                Notice.objects.record(each.event, each.facts, key=row.key)
        for digest, names in counted.items():
            Notice.objects.add_to_digest(digest, names, number=len(names))


class Condition(models.Model):
    """Something that needs attention and holds since `began_at`."""

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
        """Delete it; send a notice that it is over where one said that it had begun."""
        self.delete()
        if self.facts:
            facts = sentences.IS_OVER(ago=self.began_at, what=self.facts)
            Notice.objects.record(NoticeEvent(self.event), facts, key=f"{self.key}:over")
