"""Owns the audit: who acts, what happened to whom and why, and each row's signature.

An entry is written for every act; links chain the entries, and checkpoints say what was let go. Rows are only ever
added: the database refuses to change or delete one (`migration.site.audit`).
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self, TypedDict, Unpack
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections, models
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, Length, Now
from django.db.models.lookups import GreaterThan, LessThanOrEqual
from django.urls import reverse
from django.utils import formats
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from credentials.localization import find_local
from credentials.models import name_rows
from migration.core.fields import MOST_LEVELS, ClampedDateTimeField, has_levels
from nova_credentials.messages import Message, MessageError, Sentence

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

# Of a typed reason, which is stored as typed: never cut or translated.
MOST_CHARACTERS = 500
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


class ReasonError(MessageError, ValueError):
    """The typed reason can't be stored; nothing was done."""


REASON_TOO_LONG = Sentence(
    "reason_too_long",
    "Nothing was done: the reason has %(n)s characters. Shorten it to %(most)s.",
)
REASON_NOT_STORABLE = Sentence(
    "reason_not_storable",
    "Nothing was done: the reason contains a character that can't be stored. Remove it.",
)


def require_storable_reason(text: str) -> None:
    """Raise `ReasonError` if the reason is too long or has a character that PostgreSQL can't store."""
    if len(text) > MOST_CHARACTERS:
        raise ReasonError(REASON_TOO_LONG(most=MOST_CHARACTERS, n=len(text)))
    if _NOT_STORABLE.search(text):
        raise ReasonError(REASON_NOT_STORABLE())


REASON_MISSING = Sentence("reason_missing", "Nothing was done: type a reason.")


def require_reason(text: str) -> None:
    """Raise `ReasonError` if there is no reason, or one that can't be stored."""
    require_storable_reason(text)
    if not text.strip():
        raise ReasonError(REASON_MISSING())


def limit_reason(table: str, column: str = "reason") -> models.CheckConstraint:
    """Return the constraint that limits the reason in the database."""
    return models.CheckConstraint(
        condition=LessThanOrEqual(Length(column), MOST_CHARACTERS),
        name=f"{table}_{column}_is_short",
    )


# The first words of commands whose second one says what they do.
COMMANDS_OF_TWO_WORDS = frozenset(
    {"audit", "aws_writes", "campaign", "group", "nova_tables", "run"}
)
# The name in place of a user's, where nobody is known to have asked for it.
SYSTEM = "system"


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where: an address, or a command or worker with its host."""

    origin: str
    # By which the entries of one request, run or process belong together.
    correlation: str = field(default_factory=lambda: secrets.token_hex(8))
    # Called only if an entry is written: it may ask the database.
    find_name: Callable[[], str] = lambda: SYSTEM


_actor: ContextVar[Actor | None] = ContextVar("audit_actor", default=None)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Have entries that are written within the block name this actor."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> Actor:
    """Return who acts now; where nobody was named, this process."""
    return _actor.get() or _process_actor(os.getpid())


def process_origin() -> str:
    """Return what this process is and on which host: `worker on nova-1`, `command audit verify on nova-1`."""
    return _process_actor(os.getpid()).origin


@lru_cache(maxsize=1)
def _process_actor(_pid: int) -> Actor:
    name = Path(sys.argv[0]).name if sys.argv else ""
    words = sys.argv[1:3] if name == "manage.py" else []
    command = " ".join(words if words and words[0] in COMMANDS_OF_TWO_WORDS else words[:1])
    what = f"command {command}" if command else name or "process"
    if command == "qcluster":
        what = "worker"
    return Actor(f"{what} on {settings.NOVA_HOST_NAME}")


# An origin that is no address: what ran, and on which host.
ORIGIN = re.compile(r"(?:worker|command (?P<command>.+?)) on (?P<host>.+)")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Ids of entries begin with their milliseconds, so that the newest entries are also the last by their key.
_VERSION, _VARIANT = 7 << 76, 2 << 62


@dataclass(frozen=True)
class AuditKeys:
    """The keys, not in the database, by which entries and links prove to be this site's.

    The first signs, every one verifies.
    """

    keys: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def by_id(self) -> dict[str, bytes]:
        """Return the keys by the short names under which entries note them."""
        return {_digest(key, "name of the key")[:16]: key for key in self.keys}

    @property
    def current_id(self) -> str:
        return next(iter(self.by_id))

    def sign(self, *parts: str) -> str:
        """Return 64 hexadecimal digits that can be computed only with the current key."""
        return _digest(self.keys[0], *parts)

    def holds(self, signature: str, key_id: str, *parts: str) -> bool:
        """Say whether these parts were signed with the key of this name."""
        key = self.by_id.get(key_id)
        # As bytes: of text that isn't ASCII, which somebody may have written there, `compare_digest` raises.
        return key is not None and hmac.compare_digest(
            _digest(key, *parts).encode(), signature.encode()
        )


def audit_keys() -> AuditKeys:
    """Return the keys that the settings name now."""
    audit = settings.NOVA_AUDIT
    return _make_keys(audit.key, audit.old_keys, settings.SECRET_KEY)


@lru_cache(maxsize=4)
def _make_keys(key: str, old_keys: tuple[str, ...], secret_key: str) -> AuditKeys:
    roots = [key or _derive_key(secret_key)]
    for old in old_keys:
        # What is listed was a key of its own, or the SECRET_KEY from which the key was derived.
        roots += [old, _derive_key(old)]
    return AuditKeys(tuple(root.encode() for root in dict.fromkeys(roots)))


def _derive_key(secret_key: str) -> str:
    return salted_hmac("nova_admin.audit", "", secret=secret_key, algorithm="sha256").hexdigest()


def _digest(key: bytes, *parts: str) -> str:
    # The lengths keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def make_entry_id() -> tuple[UUID, datetime]:
    """Return a new id, a version 7 UUID, and the moment in it."""
    nanoseconds = time.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    number = milliseconds << 80 | _VERSION | (rest * 4096 // 1_000_000) << 64 | _VARIANT
    moment = EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return UUID(int=number | secrets.randbits(62)), moment


def first_id_at(moment: datetime) -> UUID:
    """Return the lowest id that an entry of this moment, or of a later one, can have."""
    milliseconds = max((moment - EPOCH) // timedelta(milliseconds=1), 0)
    return UUID(int=(milliseconds & (1 << 48) - 1) << 80)


def describe_moment(moment: datetime) -> str:
    """Return the moment as it is signed: to the microsecond, as PostgreSQL stores it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


# The origin of an event that was carried over from another table says when it happened: it is signed, and what a
# release that doesn't know `happened_at` signs and verifies.
CARRIED_OVER = "carried over from "


def describe_carried(happened_at: datetime) -> str:
    """Return the origin of an event that happened then and is written now."""
    return f"{CARRIED_OVER}{describe_moment(happened_at)}"


# Every kind of event that is declared, by its code. Rows may hold others: a later release's.
EVENT_KINDS: dict[str, EventKind] = {}


class EventKind(str):
    """A kind of event: the code by which rows, programs and filters name it, and how lists show it.

    It is declared once, beside what records it. `in_history`: a client's history tells it, to who has `permission`
    too, where one is named (or several, with blanks between); `in_activity`: so does the dashboard. `names_user`: its
    sentence names a user to whom it was done. `page`: the admin page that it is about, where that is of no client, run
    or campaign.
    """

    label: StrPromise
    icon: str
    permission: str
    page: str
    in_history: bool
    in_activity: bool
    names_user: bool

    def __new__(
        cls,
        code: str,
        label: StrPromise,
        *,
        icon: str = "info",
        permission: str = "",
        page: str = "",
        in_history: bool = False,
        in_activity: bool = False,
        names_user: bool = False,
    ) -> Self:
        """Declare the kind; each code is declared once."""
        kind = super().__new__(cls, code)
        kind.label, kind.icon, kind.permission, kind.page = label, icon, permission, page
        kind.in_history, kind.in_activity, kind.names_user = in_history, in_activity, names_user
        if EVENT_KINDS.setdefault(code, kind) is not kind:
            raise ValueError(f"two kinds of event have the code {code}")
        return kind

    def is_seen_by(self, has_permission: Callable[[str], bool]) -> bool:
        """Say whether a user, of whom `has_permission` tells, may see events of this kind."""
        return all(map(has_permission, self.permission.split()))


def list_kinds() -> list[tuple[str, str]]:
    """Return code and label of every kind, by label in the page's language."""
    labels = [(code, str(kind.label)) for code, kind in EVENT_KINDS.items()]
    return sorted(labels, key=lambda each: each[1])


# Several drawers record these. Every other kind stands where it is recorded.
IMPORT_EVENT = EventKind("import", _("Import"), icon="upload", in_history=True)
PUSH_EVENT = EventKind("push", _("Push"), icon="cloud_upload", in_history=True)
REQUEST_EVENT = EventKind(
    "request",
    _("Request"),
    icon="approval",
    in_history=True,
    in_activity=True,
    permission="migration.view_run",
)
APPROVAL_EVENT = EventKind(
    "approval",
    _("Approval"),
    icon="approval",
    in_history=True,
    in_activity=True,
    permission="migration.view_run",
    names_user=True,
)
CANCELLATION_EVENT = EventKind(
    "cancellation",
    _("Request cancelled"),
    icon="approval",
    in_history=True,
    in_activity=True,
    permission="migration.view_run",
    names_user=True,
)
# What is done with a request: an entry of its run, and of the client where it asks for one alone.
REQUEST_KINDS = (REQUEST_EVENT, APPROVAL_EVENT, CANCELLATION_EVENT)
REFUSAL_EVENT = EventKind("refusal", _("Refused"))
RUN_EVENT = EventKind(
    "run",
    _("Run"),
    icon="play_circle",
    permission="migration.view_run",
    in_activity=True,
)
WRITES_STOPPED_EVENT = EventKind(
    "writes_stopped",
    _("AWS writes stopped"),
    icon="cloud_off",
    permission="migration.view_run",
    page="migration_run_aws_writes",
    in_activity=True,
)
WRITES_STARTED_EVENT = EventKind(
    "writes_started",
    _("AWS writes resumed"),
    icon="cloud_upload",
    permission="migration.view_run",
    page="migration_run_aws_writes",
    in_activity=True,
)
USER_CHANGED_EVENT = EventKind("user_changed", _("User changed"), names_user=True)
# Of entries up to release 0.2.0
EventKind("assignment", _("Mismatches assigned"), icon="person", in_history=True)
EventKind("certificate", _("Certificate"))


class EntryFields(TypedDict, total=False):
    """Names what an entry may hold. `by`: who acts, where that is not who asked for the page."""

    by: User | str | None
    client_id: int | None
    slug: str
    reason: str


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def record(self, code: EventKind, facts: Message, **named: Unpack[EntryFields]) -> AuditEvent:
        """Write one entry, within the caller's transaction: it is there exactly if the act is. One statement.

        What was refused is recorded by `record_refusal` instead.
        """
        event = AuditEvent.make_signed(code, facts, **named)
        event.save(using=self.db, force_insert=True)
        return event

    def newest_first(self) -> Self:
        """Order by when it happened, which is before it was written of what was carried over. What `is_ahead` is last.

        Reads every entry that is selected: those of one client, run or campaign.
        """
        when = Coalesce("happened_at", "at")
        return self.annotate(is_ahead=is_ahead(when)).order_by("is_ahead", when.desc(), "-pk")

    def newest_until_now(self) -> Self:
        """Order as `newest_first`, by an index alone, and without what is ahead."""
        when = Coalesce("happened_at", "at")
        return self.filter(~models.Q(is_ahead(when))).order_by(when.desc(), "-pk")

    def find_last_pushes(self, slugs: Collection[str]) -> dict[str, tuple[str, datetime]]:
        """Return slug -> who pushed the client last and when, in one query."""
        if not slugs:
            return {}
        found = self.filter(code=PUSH_EVENT, slug__in=slugs).order_by("slug", "-id")
        newest = found.distinct("slug").values_list("slug", "who", "at")
        return {slug: (who, at) for slug, who, at in newest}

    def about_user(self, name: str) -> Self:
        """Select what was done to the user: to the account, as owner of a client, on what they requested."""
        written = json.dumps(name)
        names_user = models.Q()
        # The names that users have in the sentences of these kinds.
        for each in ("name", "old", "who"):
            # As text: what somebody wrote over may be no JSON. Within a value the quotes are escaped.
            names_user |= models.Q(facts__contains=f'"{each}":{written}')
        kinds = [kind for kind in EVENT_KINDS.values() if kind.names_user]
        return self.filter(names_user, code__in=kinds)

    def of_import(self, correlation: str) -> Self:
        """Select the entries of one import."""
        return self.filter(code=IMPORT_EVENT, correlation=correlation)

    def telling(self, *sentences: Sentence) -> Self:
        """Select the entries whose facts are one of these sentences."""
        # As text, as above: this is how each entry begins.
        starts = [f'{{"key":{json.dumps(sentence.key)},' for sentence in sentences]
        return self.filter(reduce(or_, [models.Q(facts__startswith=start) for start in starts]))

    def insert_already_signed(self, events: Collection[AuditEvent]) -> None:
        """Write entries that `AuditEvent.make_signed` made, in one statement."""
        if not events:
            return
        columns = [field.attname for field in AuditEvent._meta.concrete_fields]
        # As one text: bulk_create would prepare each value by itself, which takes longer than the statement.
        rows = [{column: getattr(event, column) for column in columns} for event in events]
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_auditevent (
                    id, at, happened_at, code, who, origin, client_id, slug, reason, facts, correlation, key, signature
                )
                SELECT id, at, happened_at, code, who, origin, client_id, slug, reason, facts, correlation, key,
                    signature
                FROM jsonb_to_recordset(%s::jsonb) AS new (
                    id uuid, at timestamptz, happened_at timestamptz, code text, who text, origin text, client_id int,
                    slug text, reason text, facts text, correlation text, key text, signature text
                )
                """,
                [json.dumps(rows, default=str)],
            )


# A host's clock may be ahead of the database's, and by less than this: AWS refuses what such a host signs.
MOST_AHEAD = timedelta(minutes=5)


def is_ahead(when: Combinable | str) -> GreaterThan:
    """Return the condition that a time is yet to come, as of a row that somebody else wrote: it is never the newest."""
    return GreaterThan(when if isinstance(when, Combinable) else models.F(when), Now() + MOST_AHEAD)


def is_by_hand() -> models.Q:
    """Return the condition that an event is no client's part of a run: that run's own events tell of all of them.

    A request for one client is the run's own.
    """
    requests = models.Q(code__in=[str(kind) for kind in REQUEST_KINDS])
    return models.Q(slug="") | ~models.Q(correlation__startswith="run ") | requests


class EventPage(NamedTuple):
    """A page that an event is about, and the permission that it asks for."""

    url: str
    permission: str


# First word of a correlation -> the page of the run or campaign that it names, and the permission for it.
GROUP_PAGES = {
    "run": ("migration_run_change", "migration.view_run"),
    "campaign": ("migration_campaign_change", "migration.view_campaign"),
}


class AuditEvent(models.Model):
    """One event: who did what, from where, on which client, and why. Names of fields are in it, never a value."""

    id = models.UUIDField(primary_key=True, editable=False)
    at = ClampedDateTimeField(_("time"))
    # Of what was carried over: when it happened, as its origin says too. NULL: it happened at `at`.
    happened_at = ClampedDateTimeField(null=True)  # type: ignore[misc]  # its type has no None
    # That of an `EventKind`.
    code = models.CharField(_("what"), max_length=32)
    # Names, kept whatever becomes of the user and the client.
    who = models.CharField(_("who"), max_length=150)
    origin = models.CharField(_("from"), max_length=200, blank=True)
    client_id = models.IntegerField(_("client"), null=True)
    slug = models.CharField(_("slug"), max_length=100, blank=True)
    # As the user typed it.
    reason = models.TextField(_("reason"), blank=True)
    # A `Message` as JSON. Text, as PostgreSQL writes a jsonb in other words than those that were signed.
    facts = models.TextField()
    # The same for all entries of one request or one run.
    correlation = models.CharField(max_length=40)
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    # As `newest_first` found it.
    is_ahead = False
    # `name_logins` sets it.
    named_message: Message | None = None
    # The audit's pages set these.
    doer = ""
    brief: Message | None = None

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["slug", "-id"], name="audit_of_client"),
            models.Index(fields=["who", "-id"], name="audit_of_user"),
            models.Index(fields=["code", "-id"], name="audit_of_code"),
            # A client's history
            models.Index(
                "client_id",
                Coalesce("happened_at", "at").desc(),
                models.F("id").desc(),
                name="audit_history",
                condition=models.Q(client_id__isnull=False),
            ),
            # The history of a run or a campaign: its own events, without those of its clients
            models.Index(fields=["correlation", "slug", "-id"], name="audit_of_group"),
            # Recent activity
            models.Index(
                Coalesce("happened_at", "at").desc(),
                models.F("id").desc(),
                name="audit_by_hand",
                condition=is_by_hand(),
            ),
        ]
        constraints: ClassVar = [limit_reason("auditevent")]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.code_label}, {formats.date_format(find_local(self.when), 'DATETIME_FORMAT')}"

    @classmethod
    def make_signed(
        cls,
        code: EventKind,
        facts: Message,
        *,
        by: User | str | None = None,
        client_id: int | None = None,
        slug: str = "",
        reason: str = "",
        happened_at: datetime | None = None,
    ) -> AuditEvent:
        """Make a signed entry of what happens now, and who acts; it is not stored yet. Takes `EntryFields`.

        `happened_at`: of what is carried over.
        """
        actor, keys = current_actor(), audit_keys()
        entry_id, at = make_entry_id()
        name = by.get_username() if isinstance(by, User) else by
        event = cls(
            id=entry_id,
            at=at,
            code=code,
            who=(name or actor.find_name())[:150],
            origin=actor.origin[:200],
            client_id=client_id,
            slug=slug[:100],
            reason=reason,
            facts=json.dumps(facts.to_json(), separators=(",", ":")),
            correlation=actor.correlation,
            key=keys.current_id,
        )
        if happened_at:
            event.happened_at, event.origin = happened_at, describe_carried(happened_at)
        event.signature = keys.sign(*event.signed_parts)
        return event

    @property
    def when(self) -> datetime:
        """Return when it happened; `at` is when it was written."""
        return self.happened_at or self.at

    @staticmethod
    def name_logins(events: Collection[AuditEvent]) -> None:
        """Have the messages of these name logins as other pages do; as stored they have the ids of their rows."""
        for event, message in zip(events, name_rows([e.message for e in events]), strict=True):
            event.named_message = message

    @property
    def place(self) -> tuple[bool, datetime]:
        """Return its place in a history, in which the highest is told first."""
        return not self.is_ahead, self.when

    @property
    def signed_parts(self) -> tuple[str, ...]:
        """Return every column but the signature, as text: what is signed. `happened_at` is in `origin`."""
        return (
            str(self.id),
            describe_moment(self.at),
            self.code,
            self.who,
            self.origin,
            "" if self.client_id is None else str(self.client_id),
            self.slug,
            self.reason,
            self.facts,
            self.correlation,
            self.key,
        )

    def is_unchanged(self, keys: AuditKeys) -> bool:
        """Say whether this site signed the entry as it is now."""
        carried = describe_carried(self.happened_at) if self.happened_at else None
        if (carried or self.origin.startswith(CARRIED_OVER)) and self.origin != carried:
            return False
        return keys.holds(self.signature, self.key, *self.signed_parts)

    @property
    def message(self) -> Message:
        """Say what happened."""
        if self.named_message:
            return self.named_message
        with suppress(ValueError, RecursionError):
            facts = json.loads(self.facts)
            # Half of a character can be written as JSON, and not be sent.
            json.dumps(facts, ensure_ascii=False).encode()
            if has_levels(facts, MOST_LEVELS):
                return Message.from_json(facts)
        # Somebody wrote over it; `verify_audit` says so.
        return Message.from_text_without_key(self.facts)

    @property
    def kind(self) -> EventKind | None:
        """Return its kind; None of a later release's."""
        return EVENT_KINDS.get(self.code)

    @property
    def code_label(self) -> str:
        """Return the kind of event in the page's language; of a later release's, the code."""
        return str(self.kind.label) if self.kind else self.code

    @property
    def by(self) -> str:
        """Return the name of who did it; "" where nobody did."""
        return "" if self.who == SYSTEM else self.who

    @property
    def group_page(self) -> EventPage | None:
        """Return the page of the run or campaign that it is part of."""
        kind, _, number = self.correlation.partition(" ")
        if kind in GROUP_PAGES and number.isdecimal() and number.isascii():
            name, permission = GROUP_PAGES[kind]
            return EventPage(reverse(f"admin:{name}", args=[number]), permission)
        return None

    @property
    def client_page(self) -> EventPage | None:
        """Return the page of its client."""
        if self.client_id is None:
            return None
        url = reverse("admin:credentials_client_change", args=[self.client_id])
        return EventPage(url, "credentials.view_client")

    @property
    def page(self) -> EventPage | None:
        """Return the page that it is about: its client's, that of its run or campaign, or its kind's."""
        own = None
        if self.kind and self.kind.page:
            own = EventPage(reverse(f"admin:{self.kind.page}"), self.kind.permission)
        return self.client_page or self.group_page or own


class AuditLink(models.Model):
    """The place of one entry in the chain. Its signature covers the link before it."""

    position = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    # Signed with it. NULL: a release made the link that didn't note it.
    sealed_at = ClampedDateTimeField(null=True)  # type: ignore[misc]  # its type has no None
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["position"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.position}:{self.signature}"


class AuditCheckpoint(models.Model):
    """The link up to which entries were exported and let go; the chain is verified from there on."""

    position = models.BigIntegerField(primary_key=True)
    # Of the link at that position.
    link_signature = models.CharField(max_length=64)
    made_at = ClampedDateTimeField()
    who = models.CharField(max_length=150)
    # The SHA-256 of the file with the entries that were let go.
    exported = models.CharField(max_length=64)
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["-position"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"checkpoint at {self.position}"

    @property
    def signed_parts(self) -> tuple[str, ...]:
        return (
            "checkpoint",
            str(self.position),
            self.link_signature,
            describe_moment(self.made_at),
            self.who,
            self.exported,
            self.key,
        )
