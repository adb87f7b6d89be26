"""Seals the audit's rows, one after the other, into a chain that shows where one was changed or is missing.

An entry is signed when it is written; its writer never waits for the chain. A link gives it its place there about a
minute later, and signs when that was. What was removed before it was sealed is not missed, as what is cut off at the
end: that shows against a head that was kept elsewhere. So that nobody has long to remove it, entries that stay unsealed
are a problem, and late links show.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy

from migration.core.audit import (
    AuditCheckpoint,
    AuditEvent,
    AuditKeys,
    AuditLink,
    EventKind,
    audit_keys,
    describe_moment,
    first_id_at,
)
from migration.core.leases import LeaseKind, hold_until_commit
from nova_credentials.messages import Sentence

SETTINGS_EVENT = EventKind("settings", gettext_lazy("Settings at a start"))


CHAIN = 0  # the key of its lease
LOCK_POLL_SECONDS = 0.05
ENTRIES_AT_ONCE = 10_000
# In the task of each minute; an entry whose transaction took longer is found by that of each hour.
RECENT = timedelta(hours=1)
# Workers seal once a minute. What waits for longer was kept from it, or no worker runs.
LATE_AFTER = timedelta(minutes=5)
# So many of the newest entries are looked at by a page: what keeps the chain from going on keeps them all.
LOOKED_AT = 100
FIRST_SIGNATURE = "0" * 64
BEFORE_ALL = UUID(int=0)
# No chain gets here by itself. After a link that somebody put behind it the chain couldn't go on: it is left out, and
# `audit verify` reports it.
LAST_POSITION = 1 << 62

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditHead:
    """The last link of the chain. Kept elsewhere, it proves that nothing up to it was cut off."""

    position: int = 0
    signature: str = FIRST_SIGNATURE

    def __str__(self) -> str:
        return f"{self.position}:{self.signature}"

    @classmethod
    def parse(cls, text: str) -> AuditHead:
        """Read a head as it is printed; raises ValueError."""
        position, colon, signature = text.strip().partition(":")
        is_sound = position.isascii() and position.isdecimal() and len(position) < 19
        if not (colon and is_sound and len(signature) == len(FIRST_SIGNATURE)):
            raise ValueError("not a head of the audit (position:signature)")
        return cls(int(position), signature.lower())


def read_head() -> AuditHead:
    """Return the last link; where all links were let go, the newest checkpoint's."""
    links = AuditLink.objects.filter(position__lte=LAST_POSITION)
    link = links.order_by("-position").first()
    if link:
        return AuditHead(link.position, link.signature)
    checkpoint = AuditCheckpoint.objects.first()
    return AuditHead(checkpoint.position, checkpoint.link_signature) if checkpoint else AuditHead()


def find_whole_since() -> datetime | None:
    """Return since when the audit has every entry, and histories all that happened; None: it was never trimmed."""
    checkpoint = AuditCheckpoint.objects.first()
    if checkpoint is None:
        return None
    following = AuditLink.objects.filter(position=checkpoint.position + 1).values("event_id")
    # A trim lets go up to the first entry that stays. Without a link after it, what stays is not older than the trim.
    stays = AuditEvent.objects.filter(pk__in=following).values_list("at", flat=True)
    return stays.first() or checkpoint.made_at


def make_link(
    keys: AuditKeys, before: AuditHead, event: AuditEvent, sealed_at: datetime
) -> AuditLink:
    """Return the link that puts the entry after `before`, the last link; it is not stored yet."""
    link = AuditLink(
        position=before.position + 1,
        event_id=event.pk,
        sealed_at=sealed_at,
        key=keys.current_id,
    )
    link.signature = keys.sign(*link_parts(before, link, event.signature))
    return link


def link_parts(before: AuditHead, link: AuditLink, signature: str) -> tuple[str, ...]:
    """Return the texts that a link signs: the link before it, its position, the entry with its signature, the time."""
    sealed = [describe_moment(link.sealed_at)] if link.sealed_at else []
    place = str(before.position + 1)
    return ("link", before.signature, place, str(link.event_id), signature, *sealed)


def find_unsealed_since() -> datetime | None:
    """Return the time of the oldest of the newest entries that should have a place in the chain; None: all have one."""
    sealed = Exists(AuditLink.objects.filter(event_id=OuterRef("pk")))
    due = AuditEvent.objects.filter(pk__lt=first_id_at(datetime.now(UTC) - LATE_AFTER))
    newest = due.annotate(sealed=sealed).order_by("-pk").values_list("at", "sealed")[:LOOKED_AT]
    return min((at for at, is_sealed in newest if not is_sealed), default=None)


def seal_audit(*, from_beginning: bool = False, wait: bool = False) -> AuditHead:
    """Link every entry that has no place yet, in the order of their ids; return the head.

    `from_beginning`: not only the last hour's. `wait`: for a process that seals now, instead of leaving it to that.
    An entry that this site didn't sign gets no place: `audit verify` reports it.
    """
    after: UUID | None = BEFORE_ALL if from_beginning else first_id_at(datetime.now(UTC) - RECENT)
    while after:
        after = _seal_some(after, wait=wait)
    return read_head()


def select_unsealed(after: UUID = BEFORE_ALL) -> QuerySet[AuditEvent]:
    """Select the entries after this id that have no place in the chain, oldest first."""
    links = AuditLink.objects.filter(event_id=OuterRef("pk"))
    return AuditEvent.objects.filter(~Exists(links), pk__gt=after).order_by("pk")


def _seal_some(after: UUID, *, wait: bool) -> UUID | None:
    """Link some entries in one transaction; return the id after which to go on, None at the end."""
    keys = audit_keys()
    with transaction.atomic():
        if not _lock_chain(wait=wait):
            return None
        # Read after the lock, so that it is the last link of whoever had it before.
        head, now = read_head(), datetime.now(UTC)
        events = list(select_unsealed(after)[:ENTRIES_AT_ONCE])
        links: list[AuditLink] = []
        for event in events:
            if event.is_unchanged(keys):
                links.append(make_link(keys, head, event, now))
                head = AuditHead(links[-1].position, links[-1].signature)
        AuditLink.objects.bulk_create(links)
    if foreign := len(events) - len(links):
        logger.warning(
            "%s audit entries are not as this site signed them: run manage.py audit verify", foreign
        )
    return events[-1].pk if len(events) == ENTRIES_AT_ONCE else None


def _lock_chain(*, wait: bool) -> bool:
    """Hold the chain's lease until the transaction ends. No role but the site's can keep it from being sealed."""
    while not (is_held := hold_until_commit(LeaseKind.AUDIT, CHAIN)) and wait:
        time.sleep(LOCK_POLL_SECONDS)
    return is_held


STARTED = Sentence("started", "Started with %(settings)s.", glue=", ")


def record_process_start() -> None:
    """Record that a web server or worker started, and its settings: of one that may be secret, only a keyed code.

    Where the database can't be asked, the process starts all the same.
    """
    facts = STARTED(settings=tuple(list_audited_settings()))
    try:
        AuditEvent.objects.record(SETTINGS_EVENT, facts)
    except Error as error:
        # Such as before the first `migrate`, or while PostgreSQL is away.
        logger.warning("The settings of this start are not recorded (%s)", type(error).__name__)
    finally:
        connection.close()  # a server may fork its workers after this


def list_audited_settings() -> list[str]:
    """Return each variable that is set: with its value, or, if it may be secret, with a code that changes with it."""
    audit, keys = settings.NOVA_AUDIT, audit_keys()
    shown = [f"{name}={value}" for name, value in audit.shown.items()]
    hidden = [
        f"{name}=… ({keys.sign('setting', name, value)[:8]})"
        for name, value in audit.hidden.items()
    ]
    return sorted(shown + hidden)
