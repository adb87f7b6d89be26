"""Owns what people are told of: conditions of the site and of clients, and notices with their deliveries.

A notice is written in the transaction in which the fact becomes true. Its text is made when it is sent. A delivery
holds hosts and codes: no address of a webhook, whose path is a secret, and no text of a server. A recipient that was
added in the browser has its address encrypted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from migration.core.audit import (
    APPROVAL_EVENT,
    CANCELLATION_EVENT,
    REQUEST_EVENT,
    WRITES_STARTED_EVENT,
    WRITES_STOPPED_EVENT,
    AuditEvent,
)
from migration.core.fields import MessageField
from nova_credentials.messages import Message, Sentence

KEPT_FOR = timedelta(days=30)
# Who claims a delivery has this long: longer than any attempt. Of a killed process it is tried again after it.
CLAIMED_FOR = timedelta(minutes=10)
GIVEN_UP_AFTER = timedelta(hours=24)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)


class NoticeEvent(models.TextChoices):
    """What can be told. Programs go by these; the labels are on the page and in the subjects of mails."""

    MISMATCH = "mismatch", _("Mismatches")
    RUN_ENDED = "run_ended", _("Run finished")
    WAVE_STOPPED = "wave_stopped", _("Campaign stopped")
    ROTATION_FAILED = "rotation_failed", _("Rotation failed")
    ROTATION_OVERDUE = "rotation_overdue", _("Rotation overdue")
    APPROVAL_WANTED = "approval_wanted", _("Approval wanted")
    APPROVAL_DECIDED = "approval_decided", _("Approval given or refused")
    AWS_GONE = "aws_gone", _("AWS does not answer")
    WORKERS_GONE = "workers_gone", _("No worker is taking tasks")
    READERS_GONE = "readers_gone", _("NOVA's reader fails or stopped")
    DUPLICATE = "duplicate", _("Duplicate of the database")
    COPIES_FOUND = "copies_found", _("Copies of secret values found")
    WRITES_STOPPED = "writes_stopped", _("AWS writes stopped")
    SETTINGS_DIFFER = "settings_differ", _("Key and regions differ from the settings")
    AUDIT_BROKEN = "audit_broken", _("Audit is not intact")
    AUDIT_UNSEALED = "audit_unsealed", _("Audit is not sealed")
    PROBLEM = "problem", _("Other problem with the site")
    TEST = "test", _("Test of the notices")


# A test goes to everybody.
CHOSEN_EVENTS = tuple(event for event in NoticeEvent if event != NoticeEvent.TEST)
# The acts of the audit that are told.
ACTS: dict[str, NoticeEvent] = {
    REQUEST_EVENT: NoticeEvent.APPROVAL_WANTED,
    APPROVAL_EVENT: NoticeEvent.APPROVAL_DECIDED,
    CANCELLATION_EVENT: NoticeEvent.APPROVAL_DECIDED,
    WRITES_STOPPED_EVENT: NoticeEvent.WRITES_STOPPED,
    WRITES_STARTED_EVENT: NoticeEvent.WRITES_STOPPED,
}


class NoticeWay(models.TextChoices):
    """The channel on which a notice gets to somebody."""

    MAIL = "mail", _("Mail")
    WEBHOOK = "webhook", _("Webhook")


class NoticeSwitch(models.Model):
    """On which channels an event is told. An event without a row is told on all of them."""

    event = models.CharField(max_length=32, primary_key=True)
    by_mail = models.BooleanField(default=True)
    by_webhook = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.event

    def is_on(self, way: NoticeWay) -> bool:
        """Say whether the event is told on this channel."""
        return self.by_mail if way == NoticeWay.MAIL else self.by_webhook


class NoticeRecipient(models.Model):
    """A webhook or a mail address that somebody added in the browser; those of the settings have no row."""

    way = models.CharField(max_length=8, choices=NoticeWay)
    # A keyed digest of the address, by which deliveries know it. It stays when SECRET_KEY changes.
    target = models.CharField(max_length=64, unique=True)
    # As pages show it: a webhook's host, a mail address' domain.
    host = models.CharField(max_length=255)
    encrypted_address = models.TextField()
    added_by_name = models.CharField(max_length=150)
    added_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-way", "id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.way} at {self.host}"


def is_told(event: NoticeEvent) -> bool:
    """Say whether somebody is told of the event. Takes a query, and a second one where there is anybody."""
    notify = settings.NOVA_NOTIFY
    ways = {
        *[NoticeWay.WEBHOOK] * bool(notify.urls),
        *[NoticeWay.MAIL] * bool(notify.emails),
        *map(NoticeWay, NoticeRecipient.objects.values_list("way", flat=True)),
    }
    if not ways:
        return False
    switch = NoticeSwitch.objects.filter(event=event).first() or NoticeSwitch(event=event)
    return any(map(switch.is_on, ways))


# What somebody did: `what` is the audit's own sentence.
NOTICE_OF_ACT = Sentence("notice_of_act", "%(who)s: %(what)s")
NOTICE_OF_ACT_ON_CLIENT = Sentence("notice_of_act_on_client", "%(who)s, client %(slug)s: %(what)s")


class NoticeQuerySet(models.QuerySet["Notice"]):
    def record(
        self,
        event: NoticeEvent,
        facts: Message,
        *,
        key: str,
        is_over: bool = False,
        also_mail_to: User | None = None,
    ) -> None:
        """Record, within the caller's transaction, what is to be told; once for each key. One statement.

        `also_mail_to` is told by mail too, whatever is set for the event.
        """
        row = Notice(event=event, facts=facts, key=key, is_over=is_over, recipient=also_mail_to)
        self.bulk_create([row], ignore_conflicts=True)

    def record_act(self, act: AuditEvent, *, also_tell: User | None = None) -> None:
        """Record a notice of this act if it is in ACTS; the user `also_tell` is mailed what others decided."""
        if event := ACTS.get(act.code):
            is_over = act.code == WRITES_STARTED_EVENT
            self.record_act_as(event, act, is_over=is_over, also_tell=also_tell)

    def record_act_as(
        self,
        event: NoticeEvent,
        act: AuditEvent,
        *,
        is_over: bool = False,
        also_tell: User | None = None,
    ) -> None:
        """Record that an act of the audit is to be told as this event."""
        recipient = None
        if event == NoticeEvent.APPROVAL_DECIDED and also_tell:
            recipient = also_tell if also_tell.get_username() != act.who else None
        facts = (
            NOTICE_OF_ACT_ON_CLIENT(who=act.who, slug=act.slug, what=act.message)
            if act.slug
            else NOTICE_OF_ACT(who=act.who, what=act.message)
        )
        key = f"{event}:{act.pk}"
        self.record(event, facts, key=key, is_over=is_over, also_mail_to=recipient)

    def forget_old(self) -> None:
        """Delete the notices, with their deliveries, that are older than KEPT_FOR."""
        self.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()


class Notice(models.Model):
    """One thing that is told once: that something began, that it is over, or what somebody did."""

    # A `NoticeEvent`. Not its choices: a new event is no schema migration.
    event = models.CharField(max_length=32)
    # What happened, and when it began: no second row for it.
    key = models.CharField(max_length=200, unique=True)
    facts = MessageField(null=True)
    is_over = models.BooleanField(default=False, db_default=False)
    # Who asked for what was decided.
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    # When its deliveries were made.
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
        """Return the event in the present language, and whether it is over; of a later release's event, the code."""
        event = str(dict(NoticeEvent.choices).get(self.event, self.event))
        return gettext("Over: %(event)s") % {"event": event} if self.is_over else event


class DeliveryState(models.TextChoices):
    """Whether a notice has got there."""

    WAITING = "waiting", _("Waiting")
    SENT = "sent", _("Sent")
    GIVEN_UP = "given_up", _("Given up")


class DeliveryOutcome(models.TextChoices):
    """What came of an attempt; empty before the first."""

    SENT = "sent", _("taken")
    TIMED_OUT = "timed_out", _("no whole answer in time")
    NO_SUCH_HOST = "no_such_host", _("no such host")
    UNREACHABLE = "unreachable", _("no connection")
    TLS_PROBLEM = "tls_problem", _("no valid certificate")
    NOT_ALLOWED = (
        "not_allowed",
        _("the site calls no such address: it is of this machine, its cloud or a private network"),
    )
    REDIRECTED = "redirected", _("a redirect, which is not followed: set the final address")
    RATE_LIMITED = "rate_limited", _("too many requests: it is tried later")
    REFUSED = "refused", _("refused")
    NO_ANSWER = "no_answer", _("no answer that is HTTP")
    NO_MAIL_SERVER = "no_mail_server", _("no mail server is set (NOVA_MAIL_URL)")
    MAIL_REFUSED = "mail_refused", _("the mail server did not take it")
    DEFECT = "defect", _("a defect of this site: its log has more")
    NOT_WANTED = "not_wanted", _("the recipient was removed")
    UNREADABLE = (
        "unreadable",
        _("its address was encrypted with another SECRET_KEY: remove it and add it again"),
    )
    TOO_LATE = "too_late", _("older than a day")


@dataclass(frozen=True)
class DeliveryAttempt:
    """What came of one attempt: with the status that a webhook answered, and the seconds that it asks to wait."""

    outcome: DeliveryOutcome
    status: int | None = None
    wait_seconds: int = 0


class NoticeDeliveryQuerySet(models.QuerySet["NoticeDelivery"]):
    @transaction.atomic
    def claim_next(
        self,
        *,
        without: Collection[str] = (),
        ways: Collection[NoticeWay] = tuple(NoticeWay),
        notice_id: int | None = None,
    ) -> NoticeDelivery | None:
        """Claim the delivery that is to be tried next: nobody else tries it for CLAIMED_FOR. None where there is none.

        Commits before anything is sent. `without`: recipients that are left out. `ways`: on these alone. `notice_id`:
        of this notice alone.
        """
        due = self.filter(state=DeliveryState.WAITING, next_try_at__lte=timezone.now())
        if notice_id is not None:
            due = due.filter(notice=notice_id)
        found = (
            due.filter(way__in=ways).exclude(target__in=without).select_related("notice", "user")
        )
        # What was never tried first: what fails again and again keeps nobody waiting.
        free = found.select_for_update(skip_locked=True, of=("self",)).order_by("tries", "pk")
        claimed = free.first()
        if claimed:
            claimed.tries += 1
            claimed.next_try_at = timezone.now() + CLAIMED_FOR
            claimed.save(update_fields=["tries", "next_try_at"])
        return claimed

    def waiting(self) -> NoticeDeliveryQuerySet:
        """Select the deliveries that are neither sent nor given up."""
        return self.filter(state=DeliveryState.WAITING)


class NoticeDelivery(models.Model):
    """One notice for one recipient. It is sent at least once: twice where a process is killed while it sends."""

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="deliveries")
    way = models.CharField(max_length=8, choices=NoticeWay)
    # A keyed digest of the address, by which it is found among the settings.
    target = models.CharField(max_length=64)
    # As pages show it: a webhook's host, a mail address' domain.
    host = models.CharField(max_length=255)
    # The requester who is told, at the address that they have then.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.WAITING)
    # A `DeliveryOutcome`, whose words may change.
    outcome = models.CharField(max_length=16, blank=True)
    status = models.PositiveSmallIntegerField(null=True)
    tries = models.PositiveSmallIntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(db_default=Now())

    objects = NoticeDeliveryQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["notice", "target"], name="one_delivery_a_recipient")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["next_try_at"],
                condition=models.Q(state="waiting"),
                name="delivery_to_try",
            ),
            models.Index(fields=["target", "-tried_at"], name="delivery_of_recipient"),
        ]

    def __str__(self) -> str:
        return f"{self.notice_id} to {self.host}"

    @property
    def is_too_old_to_send(self) -> bool:
        """Say whether what it tells is too old: a database that was put back must not tell its past."""
        return timezone.now() - self.notice.created_at > GIVEN_UP_AFTER

    @property
    def outcome_text(self) -> str:
        """Say what came of the newest attempt, in the page's language."""
        if not self.outcome:
            return ""
        text = str(dict(DeliveryOutcome.choices).get(self.outcome, self.outcome))
        values = {"what": text, "status": self.status}
        return gettext("%(what)s (status %(status)s)") % values if self.status else text

    def settle(self, attempt: DeliveryAttempt) -> None:
        """Store what came of the attempt for which it was claimed, and when it is tried again."""
        now = timezone.now()
        next_try_at = now + self._find_pause(attempt)
        last_try_at = self.notice.created_at + GIVEN_UP_AFTER
        state = DeliveryState.WAITING
        is_final = attempt.outcome in (DeliveryOutcome.NOT_WANTED, DeliveryOutcome.TOO_LATE)
        if attempt.outcome == DeliveryOutcome.SENT:
            state = DeliveryState.SENT
        elif is_final or next_try_at > last_try_at:
            state = DeliveryState.GIVEN_UP
        # Who claimed it later than this process, which took too long, decides.
        mine = NoticeDelivery.objects.waiting().filter(pk=self.pk, tries=self.tries)
        mine.update(
            state=state,
            outcome=attempt.outcome,
            status=attempt.status,
            tried_at=now,
            next_try_at=next_try_at,
        )

    def _find_pause(self, attempt: DeliveryAttempt) -> timedelta:
        """Return how long to wait: twice as long with each try, or as long as was asked for, within bounds."""
        if attempt.wait_seconds:
            asked = timedelta(seconds=min(attempt.wait_seconds, LONGEST_PAUSE.total_seconds()))
            return max(asked, FIRST_PAUSE)
        doublings = min(self.tries - 1, 10)
        return min(FIRST_PAUSE * int(2**doublings), LONGEST_PAUSE)


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
class ClientCondition:
    """A condition that holds for some clients. All that begin are told in one sentence with `n` and `names`.

    `find` returns what holds now, each as "ID:WHAT" with the client's id.
    """

    code: str
    event: NoticeEvent
    find: Callable[[], Iterable[str]] = field(repr=False)
    began: Sentence


IS_OVER = Sentence("is_over", "This is over; it began %(ago)s ago: %(what)s")
OVER_FOR_CLIENTS = Sentence(
    "over_for_clients",
    "This is over for %(n)s clients: %(names)s",
    glue=", ",
    one="This is over for one client: %(names)s",
)


class ConditionQuerySet(models.QuerySet["Condition"]):
    @transaction.atomic
    def update_and_notify_of_clients(self, condition: ClientCondition) -> None:
        """Store for which clients it holds now; record a notice of all that began, and one of all that ended."""
        values = dict[str, Any](code=condition.code, found=list({*condition.find()}))
        for statement, sentence in ((END, OVER_FOR_CLIENTS), (BEGIN, condition.began)):
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
    """Something that holds for a client since `began_at`, and is told when it begins and is over; or what was noted.

    What is wrong with the site as a whole is a `ProblemRecord`.
    """

    # The code of a `ClientCondition`, or what was noted: `SCHEDULE_CHANGED`, `TASKS_DROPPED`.
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
