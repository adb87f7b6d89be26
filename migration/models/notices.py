"""Owns notices, the outbox of what mails and webhooks tell: what happened, once, and on which ways each event goes.

A row is written in the transaction in which the fact becomes true. Sentences are made when it is sent.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from migration import notice_sentences as sentences
from migration.models.audit_events import AuditCode
from migration.models.fields import MessageField

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from django.contrib.auth.models import User

    from migration.models.audit_events import AuditEvent
    from nova_credentials.messages import Message, Sentence

NAMES_SHOWN = 5
MOST_NAMES = NAMES_SHOWN + 1  # the last one tells that there are more
# A digest waits for the end of its run, but no longer than this; without a run, for what happens at the same time.
RUN_IS_AWAITED = timedelta(minutes=10)
OTHERS_ARE_AWAITED = timedelta(minutes=1)
KEPT_FOR = timedelta(days=30)


class NoticeEvent(models.TextChoices):
    """What can be told. Programs go by these; the labels are on the page and in the subjects of mails."""

    MISMATCH = "mismatch", _("Mismatch opened")
    RUN_ENDED = "run_ended", _("Run finished")
    WAVE_STOPPED = "wave_stopped", _("Campaign stopped by its rule")
    ROTATION_FAILED = "rotation_failed", _("Rotation failed")
    ROTATION_OVERDUE = "rotation_overdue", _("Rotation overdue")
    APPROVAL_WANTED = "approval_wanted", _("Approval wanted")
    APPROVAL_DECIDED = "approval_decided", _("Approval given or refused")
    AWS_GONE = "aws_gone", _("AWS does not answer")
    WORKERS_GONE = "workers_gone", _("No worker is running")
    READERS_GONE = "readers_gone", _("NOVA's reader fails or is gone")
    DUPLICATE = "duplicate", _("Duplicate of the database")
    COPIES_FOUND = "copies_found", _("Copies of secret values found")
    WRITES_STOPPED = "writes_stopped", _("AWS writes stopped or started")
    SETTINGS_DIFFER = "settings_differ", _("Key and regions differ from the settings")
    AUDIT_BROKEN = "audit_broken", _("Audit does not hold")
    AUDIT_UNSEALED = "audit_unsealed", _("Audit is not sealed")
    TEST = "test", _("Test of the notices")


# A test goes to everybody.
CHOSEN_EVENTS = tuple(event for event in NoticeEvent if event != NoticeEvent.TEST)
# The acts of the audit that are told.
ACTS = {
    AuditCode.REQUEST: NoticeEvent.APPROVAL_WANTED,
    AuditCode.APPROVAL: NoticeEvent.APPROVAL_DECIDED,
    AuditCode.CANCELLATION: NoticeEvent.APPROVAL_DECIDED,
    AuditCode.WRITES_STOPPED: NoticeEvent.WRITES_STOPPED,
    AuditCode.WRITES_STARTED: NoticeEvent.WRITES_STOPPED,
}


class DigestTopic(StrEnum):
    """A topic whose facts are told together: one notice gives their number, in place of one notice for each."""

    MISMATCHES = "mismatches"
    STOPPED = "stopped"
    REFUSED = "refused"
    OVERDUE = "overdue"
    COPIES = "copies"


DIGESTS: Mapping[DigestTopic, tuple[NoticeEvent, Sentence]] = {
    DigestTopic.MISMATCHES: (NoticeEvent.MISMATCH, sentences.MISMATCHES_OPENED),
    DigestTopic.STOPPED: (NoticeEvent.ROTATION_FAILED, sentences.ROTATIONS_STOPPED),
    DigestTopic.REFUSED: (NoticeEvent.ROTATION_FAILED, sentences.ROTATIONS_REFUSED),
    DigestTopic.OVERDUE: (NoticeEvent.ROTATION_OVERDUE, sentences.ROTATIONS_OVERDUE),
    DigestTopic.COPIES: (NoticeEvent.COPIES_FOUND, sentences.SEARCH_FOUND_COPIES),
}


class NoticeQuerySet(models.QuerySet["Notice"]):
    def record(
        self, event: NoticeEvent, facts: Message, *, key: str, also_mail_to: User | None = None
    ) -> None:
        """Record, within the caller's transaction, what is to be told; once for each key. One statement.

        `also_mail_to` is told by mail too, whatever is set for the event.
        """
        self.bulk_create(
            [Notice(event=event, facts=facts, key=key, recipient=also_mail_to)],
            ignore_conflicts=True,
        )

    def record_act(self, act: AuditEvent, *, also_tell: User | None = None) -> None:
        """Record a notice of this act if it is in ACTS; the user `also_tell` is mailed what others decided."""
        if event := ACTS.get(AuditCode(act.code)):
            self.record_act_as(event, act, also_tell=also_tell)

    def record_act_as(
        self, event: NoticeEvent, act: AuditEvent, *, also_tell: User | None = None
    ) -> None:
        """Record that an act of the audit is to be told as this event."""
        told = event == NoticeEvent.APPROVAL_DECIDED and also_tell is not None
        recipient = also_tell if told and also_tell.get_username() != act.who else None  # type: ignore[union-attr]  # as above
        facts = (
            sentences.NOTICE_OF_ACT_ON_CLIENT(who=act.who, slug=act.slug, what=act.message)
            if act.slug
            else sentences.NOTICE_OF_ACT(who=act.who, what=act.message)
        )
        self.record(event, facts, key=f"{event}:{act.pk}", also_mail_to=recipient)

    def add_to_digest(
        self,
        digest: DigestTopic,
        names: Collection[str],
        *,
        number: int,
        of: str = "",
        run_id: int | None = None,
    ) -> None:
        """Record what is told together with others: of one run, or of `of`. One statement, which waits for nobody.

        Within the caller's transaction; `hand_out_ready_notices` puts them together.
        """
        self.create(
            event=DIGESTS[digest][0],
            key=f"{digest}:{uuid4()}",
            digest=f"{digest}:run {run_id}" if run_id else f"{digest}:{of}",
            number=number,
            names=sorted(names)[:MOST_NAMES],
            run_id=run_id,
        )

    def ready(self) -> Self:
        """Select what can be handed out now: a digest once its run has ended, or it has waited long enough.

        All of it then: the rest of a long run's would otherwise follow minute by minute.
        """
        now = timezone.now()
        waits = models.Q(run_id=None, created_at__lte=now - OTHERS_ARE_AWAITED)
        waits |= models.Q(run__finished_at__isnull=False)
        late = Notice.objects.filter(handed_out_at=None, created_at__lte=now - RUN_IS_AWAITED)
        waits |= models.Q(digest__in=late.order_by().values("digest"))
        return self.filter(models.Q(digest="") | waits, handed_out_at=None)

    def forget_old(self) -> None:
        """Delete the notices, with their deliveries, that are older than KEPT_FOR."""
        self.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()


class Notice(models.Model):
    """One thing that happened and is told once, by itself or in a digest."""

    # A `NoticeEvent`. Not its choices: a new event is no schema migration.
    event = models.CharField(max_length=32)
    # What happened, and when it began: no second row for it.
    key = models.CharField(max_length=200, unique=True)
    facts = MessageField(null=True)
    # Of what is told together with others what it counts, the number, and the first names.
    digest = models.CharField(max_length=200, blank=True, db_default="")
    number = models.PositiveIntegerField(default=1, db_default=1)
    names = models.JSONField(default=list, db_default=[])
    # The run that found it; runs are forgotten sooner than notices.
    run = models.ForeignKey(
        "Run", models.DO_NOTHING, db_constraint=False, null=True, related_name="+"
    )
    # Who asked for what was decided.
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    # When its deliveries were made; it doesn't grow any more.
    handed_out_at = models.DateTimeField(null=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        permissions: ClassVar = [("set_notices", _("Can set and test the notices"))]
        indexes: ClassVar = [
            models.Index(
                fields=["id"], condition=models.Q(handed_out_at=None), name="notice_to_hand_out"
            ),
            models.Index(fields=["created_at"], name="notice_by_time"),
        ]
        verbose_name = _("notice")
        verbose_name_plural = _("notices")

    def __str__(self) -> str:
        return self.key

    @property
    def title(self) -> str:
        """Return the event in the present language; of a later release's, the code."""
        return str(dict(NoticeEvent.choices).get(self.event, self.event))

    def take_over(self, others: Iterable[Notice]) -> None:
        """Add the numbers and names of these notices to its own; doesn't save."""
        for other in others:
            self.number += other.number
            self.names = list(dict.fromkeys([*self.names, *other.names]))[:MOST_NAMES]

    @property
    def message(self) -> Message | None:
        """Say what happened; of several at once their number, and the names of the first."""
        kind = self.digest.partition(":")[0]
        if kind not in set(DigestTopic):
            facts: Message | None = self.facts
            return facts
        names = list(map(str, self.names))
        shown = (*names[:NAMES_SHOWN], "…") if len(names) > NAMES_SHOWN else tuple(names)
        if kind == DigestTopic.MISMATCHES and self.run_id:
            return sentences.MISMATCHES_OPENED_BY_RUN(
                run=str(self.run_id), n=self.number, names=shown
            )
        return DIGESTS[DigestTopic(kind)][1](n=self.number, names=shown)


class NoticeRule(models.Model):
    """On which ways an event goes. An event without a row goes on all of them."""

    event = models.CharField(max_length=32, primary_key=True)
    by_mail = models.BooleanField(default=True)
    by_webhook = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.event
