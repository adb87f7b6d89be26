"""Tells people by mail or webhook when something is wrong, and when it is over; the page that sets who is told what."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from smtplib import SMTPException
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse, reverse_lazy
from django.utils import timezone, translation
from django.utils.crypto import salted_hmac
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES

from credentials.localization import localize
from migration.core.audit import AuditEvent, EventKind
from migration.core.clients import SET_NOTICES
from migration.core.keys import make_ciphers
from migration.core.mails import NO_SERVER, send_mail_in_time
from migration.core.notices import (
    CHOSEN_EVENTS,
    Condition,
    DeliveryAttempt,
    DeliveryOutcome,
    DeliveryState,
    Notice,
    NoticeDelivery,
    NoticeEvent,
    NoticeRecipient,
    NoticeSwitch,
    NoticeWay,
)
from migration.core.outgoing import (
    Deadline,
    LoginFailedError,
    LoginOutcome,
    ResolvedAddress,
    connect_to_first,
    is_loopback,
    resolve_host,
    start_tls,
)
from migration.core.pages import AdminView, add_pages, get_signed_in_user, read_number
from migration.core.problems import (
    PROBLEMS,
    Finder,
    Problem,
    ProblemRecord,
    look_at_problems,
)
from migration.runs.requests import REQUESTS_URL
from migration.site.environment import name_environment
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_invisible

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

NOTICES_EVENT = EventKind("notices", gettext_lazy("Notices set"))


logger = logging.getLogger(__name__)

# Posting JSON to a webhook: no redirect is followed, and an answer is read only as far as its head.
#
# A webhook's path is a secret. It is in no error and no result: a code says what is wrong.

WEBHOOK_SECONDS = 10.0
DEFAULT_PORTS = {"https": 443, "http": 80}
_OUTCOMES = {
    LoginOutcome.TIMED_OUT: DeliveryOutcome.TIMED_OUT,
    LoginOutcome.NO_SUCH_HOST: DeliveryOutcome.NO_SUCH_HOST,
    LoginOutcome.UNREACHABLE: DeliveryOutcome.UNREACHABLE,
    LoginOutcome.TLS_PROBLEM: DeliveryOutcome.TLS_PROBLEM,
    LoginOutcome.NOT_ALLOWED: DeliveryOutcome.NOT_ALLOWED,
}


def post_json(
    *,
    url: str,
    body: object,
    loopback_allowed: bool,
    private_allowed: bool = True,
    seconds: float = WEBHOOK_SECONDS,
) -> DeliveryAttempt:
    """Post `body` as JSON within so many seconds for everything, and return what came of it.

    The host is looked up once and all its addresses are judged: private networks are fine where whoever sets this site
    up named the host; link-local addresses and those where clouds tell a machine its credentials never are.
    """
    parts = urlsplit(url)
    with Deadline(seconds) as deadline:
        try:
            data = json.dumps(body).encode()
            with open_connection(
                parts,
                deadline=deadline,
                loopback_allowed=loopback_allowed,
                private_allowed=private_allowed,
            ) as connection:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", path, data, {"Content-Type": "application/json"})
                # What follows the head is not read.
                return _judge_answer(connection.getresponse())
        except LoginFailedError as error:
            outcome = _OUTCOMES.get(error.outcome, DeliveryOutcome.NO_ANSWER)
        except (OSError, http.client.HTTPException, ValueError):
            # Shut at the deadline, closed by the other side, or no HTTP.
            outcome = DeliveryOutcome.NO_ANSWER
        return DeliveryAttempt(DeliveryOutcome.TIMED_OUT if deadline.is_over else outcome)


@contextmanager
def open_connection(
    parts: SplitResult,
    *,
    deadline: Deadline,
    loopback_allowed: bool,
    private_allowed: bool = True,
) -> Iterator[http.client.HTTPConnection]:
    """Connect to the host of this address, over TLS if it says so, with a limit of bytes, until the deadline.

    Raises `LoginFailedError`; what then goes wrong is an OSError or HTTPException.
    """
    addresses = judge_host(
        parts,
        deadline=deadline,
        loopback_allowed=loopback_allowed,
        private_allowed=private_allowed,
    )
    host = parts.hostname or ""
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    # With its default port a connection names the host alone, as servers expect it.
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port)
    plain: socket.socket = connect_to_first(addresses, deadline=deadline)
    try:
        connection.sock = start_tls(plain, host) if parts.scheme == "https" else plain
        yield connection
    finally:
        connection.close()
        plain.close()


def judge_host(
    parts: SplitResult, *, deadline: Deadline, loopback_allowed: bool, private_allowed: bool
) -> list[ResolvedAddress]:
    """Look this address' host up and return where it leads; raises `LoginFailedError` where nothing may be sent to."""
    addresses = resolve_host(
        parts.hostname or "",
        parts.port or DEFAULT_PORTS[parts.scheme],
        deadline=deadline,
        private_allowed=private_allowed,
    )
    if not loopback_allowed and any(is_loopback(address.text) for address in addresses):
        raise LoginFailedError(LoginOutcome.NOT_ALLOWED)
    return addresses


def _judge_answer(answer: http.client.HTTPResponse) -> DeliveryAttempt:
    status = answer.status
    if 200 <= status < 300:
        return DeliveryAttempt(DeliveryOutcome.SENT, status)
    if 300 <= status < 400:
        return DeliveryAttempt(DeliveryOutcome.REDIRECTED, status)
    wait = read_retry_after(answer.headers.get("Retry-After", ""))
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return DeliveryAttempt(DeliveryOutcome.RATE_LIMITED, status, wait)
    return DeliveryAttempt(DeliveryOutcome.REFUSED, status, wait)


def read_retry_after(text: str) -> int:
    """Return the seconds that a Retry-After asks to wait, as a number or a date; 0 where it asks for nothing."""
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return int(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):  # the last one of a year with twenty digits
        return 0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0, int((until - datetime.now(UTC)).total_seconds()))


# Whom notices reach

SALT = "migration.notices"
# Of a recipient's code, as pages and the audit show it.
CODE_LENGTH = 8


@dataclass(frozen=True)
class Recipient:
    """A webhook or a mail address. `target` stands for the address where it is stored, `host` where it is shown."""

    way: NoticeWay
    target: str
    host: str
    address: str = field(repr=False)
    # Its row, if it was added in the browser; None of one of the settings.
    row: NoticeRecipient | None = field(default=None, repr=False)

    @property
    def code(self) -> str:
        """Return what tells two recipients at one host apart; it says nothing about the address."""
        return self.target[:CODE_LENGTH]

    @property
    def is_readable(self) -> bool:
        """Say whether its address can be decrypted with the keys of this site."""
        return bool(self.address)

    @property
    def shown_address(self) -> str:
        """Return a mail address that was added in the browser; all others are told by their host alone."""
        return self.address if self.row and self.way == NoticeWay.MAIL else ""

    @property
    def is_private_allowed(self) -> bool:
        """Say whether a webhook may lead into a private network, as who typed it is not who sets this site up."""
        return self.row is None or is_private_allowed()


def is_private_allowed() -> bool:
    """Say whether webhooks of the browser may lead into private networks: as tests of logins may, or in development."""
    return bool(settings.NOVA_LOGIN_PRIVATE_ADDRESSES or settings.NOVA_NOTIFY.loopback_allowed)


@dataclass(frozen=True)
class RecipientReport:
    """How it goes with one recipient."""

    recipient: Recipient
    # What came of the newest attempt, where it failed.
    problem: str = ""
    sent_at: datetime | None = None
    failed_at: datetime | None = None
    waiting: int = 0
    # Of what was never tried: the number, and since when the oldest waits.
    untried: int = 0
    untried_since: datetime | None = None


def list_configured_recipients() -> list[Recipient]:
    """Return the recipients that the settings name, webhooks first."""
    notify = settings.NOVA_NOTIFY
    return [
        *(_make_recipient(NoticeWay.WEBHOOK, url) for url in notify.urls),
        *(_make_recipient(NoticeWay.MAIL, email) for email in notify.emails),
    ]


def list_recipients() -> list[Recipient]:
    """Return the recipients of the settings, then those that were added in the browser: in a query."""
    configured = list_configured_recipients()
    targets = {each.target for each in configured}
    addresses = {each.address for each in configured}
    rows = NoticeRecipient.objects.exclude(target__in=targets)
    added = [_read_recipient(row) for row in rows]
    # The settings may name later what was added before, with a code of another SECRET_KEY.
    return configured + [each for each in added if each.address not in addresses]


def _read_recipient(row: NoticeRecipient) -> Recipient:
    return Recipient(NoticeWay(row.way), row.target, row.host, _decrypt(row), row)


def _decrypt(row: NoticeRecipient) -> str:
    try:
        return make_ciphers(SALT).decrypt(row.encrypted_address).decode()
    except InvalidToken:
        return ""


def _make_recipient(way: NoticeWay, address: str) -> Recipient:
    target = salted_hmac(SALT, f"{way}:{address}", algorithm="sha256").hexdigest()
    is_mail = way == NoticeWay.MAIL
    host = address.rpartition("@")[2] if is_mail else urlsplit(address).hostname
    return Recipient(way, target, host or "", address)


def list_recipient_reports(known: list[Recipient] | None = None) -> list[RecipientReport]:
    """Return how it goes with each recipient, of those `known`: in two queries, in a third one where one fails."""
    recipients = list_recipients() if known is None else known
    if not recipients:
        return []
    deliveries = NoticeDelivery.objects.filter(target__in=[each.target for each in recipients])
    sent, waiting = Q(state=DeliveryState.SENT), Q(state=DeliveryState.WAITING)
    untried = waiting & Q(tries=0)
    rows = (
        deliveries.order_by()
        .values("target")
        .annotate(
            sent_at=Max("tried_at", filter=sent),
            failed_at=Max("tried_at", filter=~sent),
            waiting=Count("pk", filter=waiting),
            untried=Count("pk", filter=untried),
            untried_since=Min("notice__created_at", filter=untried),
        )
    )
    numbers: dict[str, dict[str, Any]] = {}
    for row in rows:
        counted = dict[str, Any](row)
        numbers[counted.pop("target")] = counted
    failing = [
        target
        for target, row in numbers.items()
        if row["failed_at"] and (not row["sent_at"] or row["failed_at"] > row["sent_at"])
    ]
    problems = {}
    if failing:
        tried = NoticeDelivery.objects.filter(target__in=failing, tried_at__isnull=False)
        newest = tried.order_by("target", "-tried_at").distinct("target")
        problems = {delivery.target: delivery.outcome_text for delivery in newest}
    return [
        RecipientReport(each, problems.get(each.target, ""), **numbers.get(each.target, {}))
        for each in recipients
    ]


def plan_deliveries(
    notice: Notice, switch: NoticeSwitch, recipients: Collection[Recipient]
) -> Iterator[NoticeDelivery]:
    """Yield a delivery for each of these recipients that the notice goes to, and for the user whom it is about."""
    told = [each for each in recipients if switch.is_on(each.way)]
    for each in told:
        yield NoticeDelivery(notice=notice, way=each.way, target=each.target, host=each.host)
    user = notice.recipient
    addresses = {each.address.casefold() for each in told}
    if user and find_email(user) and user.email.casefold() not in addresses:
        host = user.email.rpartition("@")[2]
        yield NoticeDelivery(
            notice=notice, way=NoticeWay.MAIL, target=f"user {user.pk}", host=host, user=user
        )


def find_recipient(delivery: NoticeDelivery) -> Recipient | None:
    """Return whom this delivery goes to now; None where it is none any more."""
    if delivery.user_id:
        email = find_email(delivery.user) if delivery.user else ""
        mail = NoticeWay.MAIL
        return Recipient(mail, delivery.target, delivery.host, email) if email else None
    return next((each for each in list_recipients() if each.target == delivery.target), None)


def find_email(user: User) -> str:
    """Return the user's mail address; "" of who is deactivated, or has none."""
    return user.email if user.is_active else ""


# Recipients that are added and removed in the browser

LONGEST_ADDRESS, LONGEST_HOST = 2_000, 255
# Who adds a recipient waits no longer for the look-up of its host.
JUDGED_WITHIN = 5.0
RECIPIENT_ADDED = Sentence(
    "recipient_added", "Added the recipient %(host)s (%(way)s, code %(code)s)."
)
RECIPIENT_REMOVED = Sentence(
    "recipient_removed", "Removed the recipient %(host)s (%(way)s, code %(code)s)."
)
NO_RECIPIENT = Sentence(
    "no_recipient",
    "Enter an email address or a webhook (https://…, without username or #).",
)
RECIPIENT_THERE = Sentence("recipient_there", "This recipient is in the list already.")
TOO_MANY_RECIPIENTS = Sentence(
    "too_many_recipients", "The list is full. Remove one of the %(n)s recipients first."
)
NO_MAIL_SERVER_SET = Sentence(
    "no_mail_server_set", "This site sends no mail: NOVA_MAIL_URL is not set. Add a webhook."
)
WEBHOOK_NOT_ALLOWED = Sentence(
    "webhook_not_allowed",
    "The site may not call this address: it is of this machine, its cloud or a private network. One in a private"
    " network can stand in NOVA_NOTIFY_URLS.",
)
WEBHOOK_UNKNOWN = Sentence("webhook_unknown", "Unknown host. Check the address.")
WEBHOOK_REFUSALS = {
    LoginOutcome.NOT_ALLOWED: WEBHOOK_NOT_ALLOWED,
    LoginOutcome.NO_SUCH_HOST: WEBHOOK_UNKNOWN,
}


class RecipientRefusedError(MessageError):
    """The recipient was not added; the message says why, and holds no address."""


def add_recipient(address: str, *, by: User) -> Recipient:
    """Add a mail address or a webhook, which is judged before; raises `RecipientRefusedError`."""
    address = address.strip()
    notify = settings.NOVA_NOTIFY
    if len(address) > LONGEST_ADDRESS:
        raise RecipientRefusedError(NO_RECIPIENT())
    if notify.is_email(address):
        if settings.EMAIL_BACKEND == NO_SERVER:
            raise RecipientRefusedError(NO_MAIL_SERVER_SET())
        made = _make_recipient(NoticeWay.MAIL, address)
    elif notify.is_webhook(address):
        made = _make_recipient(NoticeWay.WEBHOOK, address)
    else:
        raise RecipientRefusedError(NO_RECIPIENT())
    if len(made.host) > LONGEST_HOST:
        raise RecipientRefusedError(NO_RECIPIENT())
    known = list_recipients()
    if any(made.target == each.target or address == each.address for each in known):
        raise RecipientRefusedError(RECIPIENT_THERE())
    if sum(each.row is not None for each in known) >= notify.most:
        raise RecipientRefusedError(TOO_MANY_RECIPIENTS(n=notify.most))
    if made.way == NoticeWay.WEBHOOK:
        with Deadline(JUDGED_WITHIN) as deadline:
            obstacle = find_obstacle(
                address, deadline=deadline, private_allowed=is_private_allowed()
            )
        # What may be right later is told by a test.
        if obstacle in WEBHOOK_REFUSALS:
            raise RecipientRefusedError(WEBHOOK_REFUSALS[obstacle]())
    row = NoticeRecipient(
        way=made.way,
        target=made.target,
        host=made.host,
        encrypted_address=make_ciphers(SALT).encrypt(address.encode()).decode(),
        added_by_name=by.get_username(),
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            _record_recipient(RECIPIENT_ADDED, row, by=by)
    except IntegrityError:  # somebody else added it meanwhile
        raise RecipientRefusedError(RECIPIENT_THERE()) from None
    return Recipient(made.way, made.target, made.host, address, row)


def find_obstacle(url: str, *, deadline: Deadline, private_allowed: bool) -> LoginOutcome | None:
    """Say why this webhook can't be called now: for good by WEBHOOK_REFUSALS. None where it may be."""
    try:
        judge_host(
            urlsplit(url),
            deadline=deadline,
            loopback_allowed=settings.NOVA_NOTIFY.loopback_allowed,
            private_allowed=private_allowed,
        )
    except LoginFailedError as error:
        return error.outcome
    return None


def list_shut_webhooks(recipients: Collection[Recipient]) -> list[tuple[Recipient, LoginOutcome]]:
    """Return the webhooks that can't be called now, each with why, after one look-up of each host."""
    hooks = [each for each in recipients if each.way == NoticeWay.WEBHOOK and each.is_readable]
    with Deadline(JUDGED_WITHIN) as deadline:
        judged = [
            (
                each,
                find_obstacle(
                    each.address, deadline=deadline, private_allowed=each.is_private_allowed
                ),
            )
            for each in hooks
        ]
    return [(each, why) for each, why in judged if why]


@transaction.atomic
def remove_recipient(row: NoticeRecipient, *, by: User) -> bool:
    """Remove what was added in the browser; return False where somebody else did so before."""
    number, _rows = NoticeRecipient.objects.filter(pk=row.pk).delete()
    if number:
        _record_recipient(RECIPIENT_REMOVED, row, by=by)
    return bool(number)


def _record_recipient(sentence: Sentence, row: NoticeRecipient, *, by: User) -> None:
    facts = sentence(host=row.host, way=row.way, code=row.target[:CODE_LENGTH])
    AuditEvent.objects.record(NOTICES_EVENT, facts, by=by)


def list_unreadable_recipients() -> list[Recipient]:
    """Return the recipients whose addresses were encrypted with a key that is not set here."""
    return [each for each in list_recipients() if not each.is_readable]


def encrypt_recipients_anew() -> tuple[int, int]:
    """Encrypt every recipient's address with the newest key; return how many were, and how many can't be read."""
    done = unreadable = 0
    with transaction.atomic():
        for row in NoticeRecipient.objects.select_for_update():
            try:
                again = make_ciphers(SALT).rotate(row.encrypted_address).decode()
            except InvalidToken:
                unreadable += 1
                continue
            NoticeRecipient.objects.filter(pk=row.pk).update(encrypted_address=again)
            done += 1
    return done, unreadable


# What is told


NOTICES_SET = Sentence(
    "notices_set",
    "Set what is told by mail (%(mail)s) and by webhook (%(webhook)s).",
    glue=", ",
)


def set_switches(
    shown: Collection[str],
    *,
    by_mail: Collection[str],
    by_webhook: Collection[str],
    by: User,
) -> bool:
    """Set on which channels the shown events are told; return whether anything changed. Ignores unknown events."""
    with transaction.atomic():
        before = {row.event: row for row in NoticeSwitch.objects.select_for_update()}
        after = {event: before.get(event) or NoticeSwitch(event=event) for event in CHOSEN_EVENTS}
        changed = []
        for event, switch in after.items():
            ways = event in by_mail, event in by_webhook
            if event in shown and ways != (switch.by_mail, switch.by_webhook):
                switch.by_mail, switch.by_webhook = ways
                switch.save()
                changed.append(event)
        if changed:
            facts = NOTICES_SET(
                mail=_name_events(after.values(), NoticeWay.MAIL),
                webhook=_name_events(after.values(), NoticeWay.WEBHOOK),
            )
            AuditEvent.objects.record(NOTICES_EVENT, facts, by=by)
    return bool(changed)


NO_EVENT = Sentence("no_event", "nothing")


def _name_events(switches: Collection[NoticeSwitch], way: NoticeWay) -> tuple[Message | str, ...]:
    return tuple(each.event for each in switches if each.is_on(way)) or (NO_EVENT(),)


# Texts

LONGEST_SUBJECT, LONGEST_TEXT = 150, 3_000
# The page that says more; the dashboard for what is not here.
PAGES = {
    NoticeEvent.MISMATCH: reverse_lazy("admin:migration_comparison_report"),
    NoticeEvent.RUN_ENDED: reverse_lazy("admin:migration_run_changelist"),
    NoticeEvent.WAVE_STOPPED: reverse_lazy("admin:migration_campaign_changelist"),
    NoticeEvent.APPROVAL_WANTED: REQUESTS_URL,
    NoticeEvent.APPROVAL_DECIDED: REQUESTS_URL,
    NoticeEvent.AWS_GONE: reverse_lazy("admin:migration_run_check_aws"),
    NoticeEvent.WORKERS_GONE: reverse_lazy("admin:migration_run_health"),
    NoticeEvent.READERS_GONE: reverse_lazy("admin:migration_readerprocess_changelist"),
    NoticeEvent.DUPLICATE: reverse_lazy("admin:migration_run_aws_writes"),
    NoticeEvent.COPIES_FOUND: reverse_lazy("admin:migration_copysearch_report"),
    NoticeEvent.WRITES_STOPPED: reverse_lazy("admin:migration_run_aws_writes"),
    NoticeEvent.SETTINGS_DIFFER: reverse_lazy("admin:migration_run_secret_settings"),
    NoticeEvent.AUDIT_BROKEN: reverse_lazy("admin:migration_auditevent_changelist"),
    NoticeEvent.AUDIT_UNSEALED: reverse_lazy("admin:migration_auditevent_changelist"),
    NoticeEvent.PROBLEM: reverse_lazy("admin:migration_run_health"),
    NoticeEvent.TEST: reverse_lazy("admin:migration_run_notices"),
}
# What Slack takes for a mention, a link or a tag; others take a sign "@" alone for a mention.
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@\u200b"})


@dataclass(frozen=True)
class NoticeText:
    """A notice in one language."""

    subject: str
    text: str
    link: str  # "" where the settings don't tell the site's address
    signature: str


SENT_BY_SITE = Sentence(
    "sent_by_site",
    "NOVA Admin (%(site)s) sent this. Its page “Notices” says what is told, and to whom.",
)


def make_text(notice: Notice) -> NoticeText:
    """Return the notice's text in the language of NOVA_NOTIFY_LANGUAGE, its names without tricks."""
    with translation.override(settings.NOVA_NOTIFY.language):
        site = name_environment()[0]
        return NoticeText(
            subject=escape_invisible(f"[{site}] {name_subject(notice)}")[:LONGEST_SUBJECT],
            text=escape_invisible(localize(notice.facts))[:LONGEST_TEXT],
            link=make_link(notice.event),
            signature=escape_invisible(localize(SENT_BY_SITE(site=site))),
        )


def name_subject(notice: Notice) -> str:
    """Return what the notice is about; of a problem with the code by which the runbooks have it."""
    # As problems are recorded.
    code = notice.key.partition(":")[0]
    if code not in PROBLEMS:
        return notice.title
    if notice.event != NoticeEvent.PROBLEM:
        return f"{notice.title} ({code})"
    title = str(PROBLEMS[code].title_of_wrong or PROBLEMS[code].title)
    return f"{_('Over: %(event)s') % {'event': title} if notice.is_over else title} ({code})"


def make_link(event: str) -> str:
    """Return the address of the page about the event; "" where no setting names the site itself."""
    site = find_site_origin()
    page = PAGES.get(event, reverse_lazy("admin:index"))  # type: ignore[call-overload]  # a later release's event is in no list
    return site and f"{site}{page}"


def find_site_origin() -> str:
    """Return scheme and host of the site as the settings name it; "" where none does.

    That is the first of CSRF_TRUSTED_ORIGINS that is no pattern, which has the port too, else of ALLOWED_HOSTS.
    """
    origins = [each for each in settings.CSRF_TRUSTED_ORIGINS if "*" not in each]
    hosts = [f"https://{each}" for each in settings.ALLOWED_HOSTS if each[0] not in ".*"]
    return next(iter(origins + hosts), "")


# Sending
#
# Each delivery is claimed before it is sent: two workers never send the same one at once. One that is killed while it
# sends leaves a delivery that is sent again: a mail has the same Message-ID then.

MAIL_PROBLEMS: tuple[tuple[type[Exception], DeliveryOutcome], ...] = (
    (TimeoutError, DeliveryOutcome.TIMED_OUT),
    (gaierror, DeliveryOutcome.NO_SUCH_HOST),
    (ssl.SSLError, DeliveryOutcome.TLS_PROBLEM),
    (ConnectionError, DeliveryOutcome.UNREACHABLE),
)
# All mails go by one server.
NO_MAIL_SERVER_THERE = frozenset(outcome for _kinds, outcome in MAIL_PROBLEMS)


def send_notices(*, seconds: float) -> None:
    """Make the deliveries of new notices, and try those that are due; none is begun after so many seconds."""
    hand_out_notices()
    deliver_notices(seconds=seconds)


@transaction.atomic
def hand_out_notices() -> None:
    """Store the deliveries of new notices, each by its switches. Sends nothing."""
    # Of two workers the second waits here, and then finds nothing.
    new = Notice.objects.filter(handed_out_at=None).select_for_update(of=("self",))
    notices = list(new.select_related("recipient").order_by("pk"))
    switches = NoticeSwitch.objects.in_bulk()
    recipients = list_recipients() if notices else []
    NoticeDelivery.objects.bulk_create(
        delivery
        for notice in notices
        for delivery in plan_deliveries(
            notice, switches.get(notice.event) or NoticeSwitch(event=notice.event), recipients
        )
    )
    handed_out = Notice.objects.filter(pk__in=[notice.pk for notice in notices])
    handed_out.update(handed_out_at=timezone.now())


def deliver_notices(*, seconds: float, notice_id: int | None = None) -> None:
    """Try the deliveries that are due, of all notices or of one; none is begun after so many seconds.

    A recipient that fails is left out for the rest, and every mail where the mail server does not answer: one that
    hangs costs one time-out.
    """
    until, failed, ways = time.monotonic() + seconds, set[str](), set(NoticeWay)
    while time.monotonic() < until:
        delivery = NoticeDelivery.objects.claim_next(without=failed, ways=ways, notice_id=notice_id)
        if delivery is None:
            return
        attempt = _try_delivery(delivery)
        delivery.settle(attempt)
        if attempt.outcome != DeliveryOutcome.SENT:
            failed.add(delivery.target)
            if delivery.way == NoticeWay.MAIL and attempt.outcome in NO_MAIL_SERVER_THERE:
                ways.discard(NoticeWay.MAIL)
            logger.warning(
                "notice %s (%s) to %s at %s: %s",
                delivery.notice_id,
                delivery.notice.event,
                delivery.way,
                delivery.host,
                attempt.outcome,
            )


def _try_delivery(delivery: NoticeDelivery) -> DeliveryAttempt:
    if delivery.is_too_old_to_send:
        return DeliveryAttempt(DeliveryOutcome.TOO_LATE)
    recipient = find_recipient(delivery)
    if recipient is None:
        return DeliveryAttempt(DeliveryOutcome.NOT_WANTED)
    if not recipient.is_readable:
        return DeliveryAttempt(DeliveryOutcome.UNREADABLE)
    send: Callable[[NoticeDelivery, Recipient], DeliveryAttempt] = (
        _send_mail if delivery.way == NoticeWay.MAIL else _call_webhook
    )
    try:
        return send(delivery, recipient)
    except Exception as error:  # noqa: BLE001 (any defect of ours)
        # One delivery must not keep the others waiting. An error's text can hold the address.
        logger.error("notice %s was not sent: %s", delivery.notice_id, type(error).__name__)  # noqa: TRY400
        return DeliveryAttempt(DeliveryOutcome.DEFECT)


def _call_webhook(delivery: NoticeDelivery, recipient: Recipient) -> DeliveryAttempt:
    """Post the JSON that Slack takes, and what is like it; nothing in it mentions anybody."""
    text = make_text(delivery.notice)
    lines = [f"*{text.subject.translate(_SLACK)}*", text.text.translate(_SLACK), text.link]
    body = {"text": "\n".join(filter(None, lines))}
    return post_json(
        url=recipient.address,
        body=body,
        loopback_allowed=settings.NOVA_NOTIFY.loopback_allowed,
        private_allowed=recipient.is_private_allowed,
    )


def _send_mail(delivery: NoticeDelivery, recipient: Recipient) -> DeliveryAttempt:
    if settings.EMAIL_BACKEND == NO_SERVER:
        return DeliveryAttempt(DeliveryOutcome.NO_MAIL_SERVER)
    text = make_text(delivery.notice)
    # The same for each attempt: by it mail programs know the same mail.
    message_id = sha256(f"{delivery.notice.key}:{delivery.target}".encode()).hexdigest()[:32]
    mail = EmailMessage(
        text.subject,
        "\n\n".join(filter(None, [text.text, text.link, f"-- \n{text.signature}\n"])),
        None,
        [recipient.address],
        headers={
            "Message-ID": f"<{message_id}@{urlsplit(text.link).hostname or 'nova-admin.invalid'}>",
            "Auto-Submitted": "auto-generated",
        },
    )
    try:
        send_mail_in_time(mail)
    except (OSError, SMTPException, ValueError) as error:
        # Its text may quote addresses and what the server said.
        found = (outcome for kinds, outcome in MAIL_PROBLEMS if isinstance(error, kinds))
        return DeliveryAttempt(next(found, DeliveryOutcome.MAIL_REFUSED))
    return DeliveryAttempt(DeliveryOutcome.SENT)


NOTICE_TEST = Sentence("notice_test", "This is a test sent by %(who)s.")


def send_test_to_recipients(*, by: User, seconds: float, target: str = "") -> Notice:
    """Send a test to every recipient, or to one, now; who isn't reached in this time is tried by the workers."""
    recipients = [each for each in list_recipients() if target in ("", each.target)]
    with transaction.atomic():
        notice = Notice.objects.create(
            event=NoticeEvent.TEST,
            facts=NOTICE_TEST(who=by.get_username()),
            key=f"{NoticeEvent.TEST}:{uuid4()}",
            handed_out_at=timezone.now(),
        )
        planned = plan_deliveries(notice, NoticeSwitch(event=NoticeEvent.TEST), recipients)
        NoticeDelivery.objects.bulk_create(planned)
    deliver_notices(seconds=seconds, notice_id=notice.pk)
    return notice


# Looking for what is to be told: problems of the site each minute, conditions of clients every ten

NO_WORKER = "no_worker"
# No look is begun after so long: notices wait for it. What is left comes first a minute later.
LOOK_SECONDS = 30.0
# How long nobody has looked before it is told: longer than a restart.
WORKERS_GONE_AFTER = timedelta(minutes=5)
WORKERS_WERE_GONE = Sentence(
    "workers_were_gone",
    "No worker took tasks for %(n)s minutes: nothing was pushed or compared. Workers take them again.",
)


def is_quick(each: Problem) -> bool:
    """Say whether a look for this problem keeps no notice waiting."""
    return each.found_by != Finder.DOCTOR


def look_and_send(
    *, seconds: float, only: Callable[[Problem], bool] = is_quick, by_worker: bool = False
) -> None:
    """Look for the problems that are due, then send what waits, for so many seconds: workers do it each minute."""
    try:
        if by_worker:
            tell_that_workers_were_gone()
        look_at_problems(only=only, seconds=LOOK_SECONDS)
    finally:  # a look that fails keeps nothing from being sent
        send_notices(seconds=seconds)


def tell_that_workers_were_gone() -> None:
    """Tell, before a worker looks, that none ran: where nobody looked for long, and so nobody told it meanwhile."""
    now = timezone.now()
    untold = ProblemRecord.objects.filter(code=NO_WORKER, told=False)
    before = untold.values_list("looked_at", flat=True).first()
    if before and now - before > WORKERS_GONE_AFTER:
        facts = WORKERS_WERE_GONE(n=int((now - before).total_seconds() // 60))
        # Of two workers that look at once, one tells it.
        key = f"{NoticeEvent.WORKERS_GONE}:{before.isoformat()}"
        Notice.objects.record(NoticeEvent.WORKERS_GONE, facts, key=key, is_over=True)


def look_at_clients() -> None:
    """Look every ten minutes at what holds for clients: that is how often it is told at most, whatever a run finds."""
    for each in PROBLEMS.values():
        for condition in each.told_by_client:
            try:
                Condition.objects.update_and_notify_of_clients(condition)
            except Exception as error:  # noqa: BLE001  # it keeps the others from being told no more than a problem does
                # An error's text can hold a value.
                logger.error("%s was not looked for: %s", condition.code, type(error).__name__)  # noqa: TRY400
                connection.close_if_unusable_or_obsolete()


# The pages: recipients, with a test; which events are told on which channel

NEWEST_SHOWN = 20
# Who presses the button waits no longer; the workers try the rest.
TEST_SECONDS = 15.0


# What each event means to who is told, for who chooses.
MEANINGS: dict[NoticeEvent, StrPromise] = {
    NoticeEvent.MISMATCH: gettext_lazy("A client's values differ between PostgreSQL and AWS."),
    NoticeEvent.RUN_ENDED: gettext_lazy("Work over many clients has ended, or was stopped."),
    NoticeEvent.WAVE_STOPPED: gettext_lazy("A campaign waits for somebody to look."),
    NoticeEvent.ROTATION_FAILED: gettext_lazy("A password change did not go through."),
    NoticeEvent.ROTATION_OVERDUE: gettext_lazy("A password should have been rotated by now."),
    NoticeEvent.APPROVAL_WANTED: gettext_lazy("A second person has to decide."),
    NoticeEvent.APPROVAL_DECIDED: gettext_lazy("Someone has decided about a request."),
    NoticeEvent.AWS_GONE: gettext_lazy("Nothing can be pushed or compared."),
    NoticeEvent.WORKERS_GONE: gettext_lazy("Nothing is pushed, compared or rotated."),
    NoticeEvent.READERS_GONE: gettext_lazy("NOVA may be without logins that it reads from AWS."),
    NoticeEvent.DUPLICATE: gettext_lazy(
        "This site may run on a copy of the database. It writes nothing to AWS."
    ),
    NoticeEvent.COPIES_FOUND: gettext_lazy("A purge would leave these values in NOVA's database."),
    NoticeEvent.WRITES_STOPPED: gettext_lazy("Somebody stopped or resumed all writes to AWS."),
    NoticeEvent.SETTINGS_DIFFER: gettext_lazy(
        "Secrets in AWS have another key, regions or tags than set here."
    ),
    NoticeEvent.AUDIT_BROKEN: gettext_lazy("Somebody may have changed or removed entries."),
    NoticeEvent.AUDIT_UNSEALED: gettext_lazy("If new entries are removed now, nobody notices."),
    NoticeEvent.PROBLEM: gettext_lazy("Whatever else Health shows as open."),
}


def get_notices_url() -> str:
    return reverse("admin:migration_run_notices")


class NoticesView(AdminView):
    """The page that says and sets who is told what; a few queries however many notices there are."""

    template_name = "admin/migration/notices.html"
    is_of_site = True
    permission_required = SET_NOTICES

    @property
    def title(self) -> str:
        return _("Notices")

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()

    def show(self, **kwargs: object) -> HttpResponse:
        """Answer with the page; `kwargs` say what is wrong with a recipient that was typed."""
        switches = NoticeSwitch.objects.in_bulk()
        tested = NoticeDelivery.objects.none()
        # The page shows how the test went that was just sent from it.
        if test_id := read_number(self.request.GET.get("test", "")):
            tested = NoticeDelivery.objects.filter(notice=test_id, notice__event=NoticeEvent.TEST)
        tests = {delivery.target: delivery for delivery in tested}
        context = self.get_context_data(
            events=[
                (event, MEANINGS[event], switches.get(event) or NoticeSwitch(event=event))
                for event in CHOSEN_EVENTS
            ],
            recipients=[
                (report, tests.get(report.recipient.target)) for report in list_recipient_reports()
            ],
            newest=Notice.objects.prefetch_related("deliveries")[:NEWEST_SHOWN],
            checkbox_classes=" ".join(CHECKBOX_CLASSES),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            **kwargs,
        )
        return self.render_to_response(context)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set the events that the page showed."""
        fields = request.POST
        changed = set_switches(
            fields.getlist("shown"),
            by_mail=fields.getlist(NoticeWay.MAIL),
            by_webhook=fields.getlist(NoticeWay.WEBHOOK),
            by=get_signed_in_user(request),
        )
        if changed:
            messages.success(request, _("Saved."))
        else:
            messages.info(request, _("Nothing was changed."))
        return HttpResponseRedirect(get_notices_url())


@method_decorator(sensitive_post_parameters(), name="dispatch")
class AddRecipientView(NoticesView):
    """Adds a recipient. A webhook that is refused does not come back in the page: its path is a secret."""

    http_method_names = ["post"]  # noqa: RUF012  # Django's own declaration

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = request.POST.get("address", "").strip()
        try:
            added = add_recipient(typed, by=get_signed_in_user(request))
        except RecipientRefusedError as error:
            # What can only be a mail address does, however it is mistyped.
            again = typed if "@" in typed and not set("/:") & set(typed) else ""
            return self.show(error=localize(error.message), typed=again)
        messages.success(
            request,
            _("Added: %(host)s") % {"host": escape_invisible(added.shown_address or added.host)},
        )
        return HttpResponseRedirect(get_notices_url())


class RemoveRecipientView(AdminView):
    """Asks whether to remove a recipient that was added in the browser, and does it."""

    template_name = "admin/migration/remove_recipient.html"
    is_of_site = True
    permission_required = SET_NOTICES

    @property
    def title(self) -> str:
        return _("Remove this recipient?")

    def get(self, request: HttpRequest, recipient_id: int) -> HttpResponse:
        row = get_object_or_404(NoticeRecipient, pk=recipient_id)
        return self.render_to_response(self.get_context_data(recipient=_read_recipient(row)))

    def post(self, request: HttpRequest, recipient_id: int) -> HttpResponseRedirect:
        row = NoticeRecipient.objects.filter(pk=recipient_id).first()
        removed = _read_recipient(row) if row else None
        if row and removed and remove_recipient(row, by=get_signed_in_user(request)):
            host = escape_invisible(removed.shown_address or removed.host)
            messages.success(request, _("Removed: %(host)s") % {"host": host})
        else:
            messages.info(request, _("This recipient was removed already."))
        return HttpResponseRedirect(get_notices_url())


class TestNoticesView(AdminView):
    """Sends a test to every recipient, or to one, and shows what came of it."""

    permission_required = SET_NOTICES

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        notice = send_test_to_recipients(
            by=get_signed_in_user(request),
            seconds=TEST_SECONDS,
            target=request.POST.get("recipient", ""),
        )
        return HttpResponseRedirect(f"{get_notices_url()}?test={notice.pk}")


add_pages(
    "run",
    ("notices/", "notices", NoticesView),
    ("notices/test/", "test_notices", TestNoticesView),
    ("notices/add/", "add_recipient", AddRecipientView),
    ("notices/<int:recipient_id>/remove/", "remove_recipient", RemoveRecipientView),
)
