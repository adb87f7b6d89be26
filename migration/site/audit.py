"""The audit beyond its entries: its head kept elsewhere, its protection, verification, trimming, and its pages."""

from __future__ import annotations

import io
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, ClassVar
from urllib.parse import urlencode
from uuid import UUID

import urllib3
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES

from migration.campaigns.history import name_campaigns
from migration.core.audit import (
    ORIGIN,
    AuditCheckpoint,
    AuditEvent,
    AuditKeys,
    AuditLink,
    EventKind,
    audit_keys,
    is_by_hand,
    list_kinds,
)
from migration.core.audit_chain import (
    LAST_POSITION,
    LATE_AFTER,
    STARTED,
    AuditHead,
    find_unsealed_since,
    link_parts,
    read_head,
    seal_audit,
    select_unsealed,
)
from migration.core.audit_export import AuditFilter, ExportFormat, export_audit, write_events
from migration.core.clients import GATE_PASSED, VIEW_AUDIT
from migration.core.notices import NoticeEvent
from migration.core.pages import (
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    get_allowed_url,
    get_signed_in_user,
    list_chips,
    read_number,
)
from migration.core.problems import (
    Area,
    Finder,
    Finding,
    Look,
    Severity,
    problem,
    report_failure,
    report_ok,
)
from migration.core.refused_acts import PAGE_REFUSED, record_repeats
from migration.core.snapshots import repeatable_read_only
from migration.people.audit_signals import GIVEN, TAKEN
from migration.site.menu import find_title
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


TRIM_EVENT = EventKind("trim", gettext_lazy("Old entries let go"))

logger = logging.getLogger(__name__)

# The head of the audit's chain, kept outside the database: in the log, and at a webhook
#
# Whoever may write to the database can cut off the newest entries with their links; against a kept head that shows.

WEBHOOK_SECONDS = 10.0


class HeadNotSentError(Exception):
    """The webhook did not take the head; the text has nothing of its address, which may hold a secret."""


def seal_and_log() -> AuditHead:
    """Record counted refusals, seal the last hour's entries, log the chain's head and return it."""
    record_repeats()
    head = seal_audit()
    logger.info("Audit head %s", head)
    return head


def publish_head() -> AuditHead:
    """Seal every entry, log the head and send it to NOVA_AUDIT_WEBHOOK where that is set."""
    head = seal_audit(from_beginning=True)
    logger.info("Audit head %s", head)
    if url := settings.NOVA_AUDIT.webhook:
        try:
            send_head(head, url)
        except HeadNotSentError as error:
            logger.warning("The audit's head was not taken by the webhook (%s)", error)
    return head


def send_head(head: AuditHead, url: str) -> None:
    """POST the head as JSON. Follows no redirect and doesn't try again: the next hour's replaces it.

    Raises `HeadNotSentError`.
    """
    body = {
        "audit_head": str(head),
        "position": head.position,
        "signature": head.signature,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        answer = urllib3.request(
            "POST", url, json=body, retries=False, redirect=False, timeout=WEBHOOK_SECONDS
        )
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise HeadNotSentError(type(error).__name__) from None
    if not 200 <= answer.status < 300:
        raise HeadNotSentError(f"status {answer.status}")


# The SQL by which the database refuses to change the audit

SCHEMA = "nova_admin"
TABLES = tuple(
    f"{SCHEMA}.migration_{name}" for name in ("auditevent", "auditlink", "auditcheckpoint")
)
FUNCTION = f"{SCHEMA}.refuse_audit_change()"
ROW_TRIGGER, TRUNCATE_TRIGGER = "nova_admin_keep_entries", "nova_admin_keep_table"
REFUSE = """
BEGIN
    RAISE EXCEPTION 'The audit is never changed or deleted: %', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
"""
# On this path no other role's object can be mistaken for PostgreSQL's own.
MAKE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION} RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $function${REFUSE}$function$
"""
DROP_FUNCTION = f"DROP FUNCTION {FUNCTION} CASCADE"  # and the triggers with it
# Which of the tables the database protects: ALWAYS, so that a session can't get around it as a replica.
LIST_PROTECTED = """
SELECT tgrelid::regclass::text FROM pg_trigger
WHERE tgfoid = to_regprocedure(%s) AND tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
    AND EXISTS (SELECT FROM pg_proc WHERE pg_proc.oid = tgfoid AND prosrc = %s)
GROUP BY tgrelid HAVING bit_or(tgtype::int) = 59
"""


def make_triggers_sql(table: str) -> str:
    """Return the statements that have the database refuse UPDATE, DELETE and TRUNCATE of the table."""
    return f"""
        CREATE TRIGGER {ROW_TRIGGER} BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {FUNCTION};
        CREATE TRIGGER {TRUNCATE_TRIGGER} BEFORE TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION};
        {make_trigger_switch_sql(table, "ENABLE ALWAYS")}
    """


def make_trigger_switch_sql(table: str, switch: str) -> str:
    """Return the statements that switch the table's triggers; only its owner and superusers may run them."""
    return "; ".join(
        f"ALTER TABLE {table} {switch} TRIGGER {trigger}"
        for trigger in (ROW_TRIGGER, TRUNCATE_TRIGGER)
    )


# Verification: that every entry is as this site signed it, in its place in the chain, and that none is missing
#
# It reads in the order of the chain and keeps one entry at a time, so the length of the chain doesn't matter.

# More are counted, and not listed.
MOST_FAULTS = 100
ROWS_AT_ONCE = 2000
BEFORE_ALL_LINKS = -(1 << 63)

LINKS_WITH_EVENTS = """
SELECT l.position, l.event_id, {sealed_at}, l.key, l.signature, {columns}
FROM nova_admin.migration_auditlink l LEFT JOIN nova_admin.migration_auditevent e ON e.id = l.event_id
WHERE l.position >= %s ORDER BY l.position
"""


class AuditFault(StrEnum):
    """What was done to the audit by somebody who got around the site."""

    CHANGED = "changed"
    REMOVED = "removed"
    REORDERED = "reordered"
    ADDED = "added"
    CUT_OFF = "cut_off"  # the head that was kept elsewhere is not in the chain
    CHECKPOINT = "checkpoint"  # one that this site didn't sign
    UNPROTECTED = "unprotected"  # the database doesn't refuse changes of a table


@dataclass(frozen=True)
class AuditFinding:
    """One fault, and where it is: a position in the chain, the id of an entry, or a table."""

    fault: AuditFault
    place: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.place}"


@dataclass
class LateSpan:
    """Links one after the other that were made late, and by how much at most."""

    first: int
    last: int
    longest: timedelta


@dataclass
class UnsetKey:
    """A key by its short code that is not set here: nobody can tell here who signed with it, or what it covers."""

    code: str
    number: int = 0
    # Positions; 0 where only entries without a place name it.
    first: int = 0
    last: int = 0

    def add(self, position: int = 0) -> None:
        self.number += 1
        self.first, self.last = self.first or position, position or self.last


@dataclass
class Verification:
    """What was verified, and every fault that was found."""

    head: AuditHead = field(default_factory=AuditHead)
    # The checkpoint from which the chain was verified; 0 where no entry was ever let go.
    begins_after: int = 0
    sealed: int = 0
    # Signed and not yet in the chain: their removal could not be noticed yet.
    unsealed: int = 0
    faults: Counter[AuditFault] = field(default_factory=Counter)
    findings: list[AuditFinding] = field(default_factory=list)
    # No faults: a worker that was stopped makes its links late too.
    late: int = 0
    late_spans: list[LateSpan] = field(default_factory=list)
    foreign: dict[str, UnsetKey] = field(default_factory=dict)

    def add(self, fault: AuditFault, place: object) -> None:
        self.faults[fault] += 1
        if len(self.findings) < MOST_FAULTS:
            self.findings.append(AuditFinding(fault, str(place)))

    def add_foreign(self, code: str, position: int = 0) -> None:
        self.foreign.setdefault(code, UnsetKey(code)).add(position)

    def note_sealing(self, position: int, took: timedelta) -> None:
        """Note how long the entry at this position waited for its link."""
        if took <= LATE_AFTER:
            return
        self.late += 1
        last = self.late_spans[-1] if self.late_spans else None
        if last and last.last == position - 1:
            last.last, last.longest = position, max(last.longest, took)
        elif len(self.late_spans) < MOST_FAULTS:
            self.late_spans.append(LateSpan(position, position, took))

    @property
    def is_sound(self) -> bool:
        return not self.faults and not self.foreign

    def describe_first_fault(self) -> str:
        """Return the first fault as text; of an audit that isn't sound."""
        if self.findings:
            return str(self.findings[0])
        return f"signed with the key {next(iter(self.foreign))}, which is not set here"


def verify_audit(*, kept_head: AuditHead | None = None) -> Verification:
    """Verify the whole audit as it is at one moment. `kept_head`: one that was kept outside the database."""
    found = Verification()
    with repeatable_read_only():
        _verify_protection(found)
        start = _verify_checkpoints(found)
        _verify_before(found, start)
        _verify_chain(found, start, kept_head)
        _verify_unsealed(found)
    return found


def _verify_protection(found: Verification) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LIST_PROTECTED, [FUNCTION, REFUSE])
        protected = {name for (name,) in cursor.fetchall()}
    for table in TABLES:
        if table.partition(".")[2] not in protected:
            found.add(AuditFault.UNPROTECTED, table)


def _verify_checkpoints(found: Verification) -> AuditHead:
    """Return the newest checkpoint that this site signed, at which the chain begins."""
    keys, start = audit_keys(), AuditHead()
    for checkpoint in AuditCheckpoint.objects.order_by("position"):
        # One of a key that no link names is nobody's of before.
        of_links = AuditLink.objects.filter(key=checkpoint.key)
        is_foreign = checkpoint.key not in keys.by_id and of_links.exists()
        if is_foreign or keys.holds(checkpoint.signature, checkpoint.key, *checkpoint.signed_parts):
            start = AuditHead(checkpoint.position, checkpoint.link_signature)
        else:
            found.add(AuditFault.CHECKPOINT, checkpoint.position)
    found.begins_after = start.position
    return start


def _verify_before(found: Verification, start: AuditHead) -> None:
    """Verify the entries with a link before the chain's begin: what a trim that was killed has left, or nothing.

    A link there, where no chain is verified, would hide an entry from what is verified as unsealed.
    """
    keys = audit_keys()
    for link, event in read_chain(BEFORE_ALL_LINKS):
        if link.position > start.position:
            return
        if link.position > 0 and event and (code := find_foreign_key(found, link, event)):
            found.add_foreign(code, link.position)
        elif link.position < 1 or event is None or not event.is_unchanged(keys):
            found.add(AuditFault.ADDED, link.position)


def _verify_chain(found: Verification, start: AuditHead, kept: AuditHead | None) -> None:
    before = start
    places_of_kept = {start.position: start}
    for link, event in read_chain(start.position + 1):
        if link.position > LAST_POSITION:
            found.add(AuditFault.REORDERED, link.position)
            continue
        first_missing, last_missing = before.position + 1, link.position - 1
        if last_missing >= first_missing:
            place = (
                f"{first_missing}-{last_missing}" if last_missing > first_missing else last_missing
            )
            found.add(AuditFault.REMOVED, place)
        _verify_link(found, before, link, event)
        before = AuditHead(link.position, link.signature)
        found.sealed += 1
        if kept and kept.position == link.position:
            places_of_kept[link.position] = before
    found.head = before
    if kept and kept.position >= start.position and places_of_kept.get(kept.position) != kept:
        found.add(AuditFault.CUT_OFF, kept)


def _verify_link(
    found: Verification, before: AuditHead, link: AuditLink, event: AuditEvent | None
) -> None:
    keys = audit_keys()
    if event and (code := find_foreign_key(found, link, event)):
        found.add_foreign(code, link.position)
    elif fault := _find_fault(keys, before, link, event):
        found.add(fault, link.position)
    elif event and link.sealed_at:
        found.note_sealing(link.position, link.sealed_at - event.at)


def find_foreign_key(found: Verification, link: AuditLink, event: AuditEvent) -> str | None:
    """Return the key of the link that is not set here, or that of its entry if links name it; None: they are."""
    known = audit_keys().by_id
    if link.key not in known:
        return link.key
    return event.key if event.key in found.foreign else None


def _find_fault(
    keys: AuditKeys, before: AuditHead, link: AuditLink, event: AuditEvent | None
) -> AuditFault | None:
    """Return what is wrong with this link or its entry."""
    if event is None:
        return AuditFault.REMOVED
    parts = link_parts(before, link, event.signature)
    # After a gap nobody knows the signature that the link covers.
    in_place = link.position > before.position + 1 or keys.holds(link.signature, link.key, *parts)
    if not event.is_unchanged(keys):
        return AuditFault.CHANGED if in_place else AuditFault.ADDED
    return None if in_place else AuditFault.REORDERED


def _verify_unsealed(found: Verification) -> None:
    keys = audit_keys()
    for event in select_unsealed().iterator(chunk_size=ROWS_AT_ONCE):
        if event.is_unchanged(keys):
            found.unsealed += 1
        elif event.key in found.foreign:
            found.add_foreign(event.key)
        else:
            found.add(AuditFault.ADDED, event.pk)


def read_chain(first: int = 1) -> Iterator[tuple[AuditLink, AuditEvent | None]]:
    """Yield the links from this position on in order, each with its entry; None where that is gone.

    Within a transaction: it reads a few rows at a time from PostgreSQL.
    """
    fields = AuditEvent._meta.concrete_fields
    columns = [each.select_format(None, f"e.{each.column}", ())[0] for each in fields]  # type: ignore[arg-type]
    sealing = AuditLink._meta.get_field("sealed_at")
    sealed_at = sealing.select_format(None, "l.sealed_at", ())[0]
    statement = LINKS_WITH_EVENTS.format(columns=", ".join(columns), sealed_at=sealed_at)
    names = [each.attname for each in fields]
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, [first])
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            for position, event_id, sealed_at, key, signature, *of_event in rows:
                link = AuditLink(
                    position=position,
                    event_id=event_id,
                    sealed_at=sealed_at,
                    key=key,
                    signature=signature,
                )
                event = (
                    None if of_event[0] is None else AuditEvent.from_db("default", names, of_event)
                )
                yield link, event


# Trimming: old entries are let go at a signed checkpoint, after they were exported, by the owner of the tables

EVENTS, LINKS, _CHECKPOINTS = TABLES
# In one transaction, during which nobody else can write an entry.
ENTRIES_AT_ONCE = 5000
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
DELETE = f"""
WITH gone AS (
    DELETE FROM {LINKS} WHERE position IN (
        SELECT position FROM {LINKS} WHERE position <= %s ORDER BY position LIMIT {ENTRIES_AT_ONCE}
    ) RETURNING event_id
) DELETE FROM {EVENTS} USING gone WHERE id = gone.event_id
"""  # noqa: S608  # its names are constants


class NotTrimmedError(MessageError):
    """Nothing was let go; the message says why."""


AUDIT_NOT_SOUND = Sentence(
    "audit_not_sound", "The audit is not sound: %(fault)s. Run manage.py audit verify."
)
NO_OLD_ENTRY = Sentence("no_old_entry", "No entry in the chain is that old.")


def trim_audit(
    *, before: datetime, file: Path, by: User | None = None
) -> tuple[int, AuditCheckpoint]:
    """Write every entry up to the first of `before` or later into a new file, make a checkpoint, and delete them.

    Returns how many were let go, and the checkpoint from which the audit is verified now. A trim that was killed after
    its checkpoint is finished by the next one. Raises `NotTrimmedError`, and OSError for a file that can't be written.
    """
    seal_audit(from_beginning=True, wait=True)
    found = verify_audit()
    if not found.is_sound:
        raise NotTrimmedError(AUDIT_NOT_SOUND(fault=found.describe_first_fault()))
    _delete_let_go(found.begins_after)
    head, digest = _export_old(found, before, file)
    if head is None:
        file.unlink()
        raise NotTrimmedError(NO_OLD_ENTRY())
    checkpoint = _make_checkpoint(head, digest, before, by)
    return _delete_let_go(head.position), checkpoint


def _export_old(found: Verification, before: datetime, file: Path) -> tuple[AuditHead | None, str]:
    """Write the old entries into the file; return the last of their links, and the file's SHA-256."""
    last: AuditHead | None = None

    def list_old() -> Iterator[AuditEvent]:
        nonlocal last
        for link, event in read_chain(found.begins_after + 1):
            if event is None or event.at >= before:
                return
            last = AuditHead(link.position, link.signature)
            for name in ("position", "sealed_at", "key", "signature"):
                prefix = "link_" if name in ("key", "signature") else ""
                setattr(event, f"{prefix}{name}", getattr(link, name))
            yield event

    with file.open("x", encoding="utf-8") as out:
        with repeatable_read_only():
            write_events(list_old(), ExportFormat.JSON, out.write)
        out.flush()
        os.fsync(out.fileno())
    with file.open("rb") as written:
        return last, file_digest(written, "sha256").hexdigest()


TRIMMED = Sentence(
    "trimmed",
    "Let go of the entries up to %(position)s, from before %(day)s; they are in the file %(sha256)s.",
)


def _make_checkpoint(
    head: AuditHead, digest: str, before: datetime, by: User | None
) -> AuditCheckpoint:
    keys = audit_keys()
    with transaction.atomic():
        event = AuditEvent.objects.record(
            TRIM_EVENT,
            TRIMMED(position=str(head.position), day=before.date(), sha256=digest),
            by=by,
        )
        checkpoint = AuditCheckpoint(
            position=head.position,
            link_signature=head.signature,
            made_at=datetime.now(UTC),
            who=event.who,
            exported=digest,
            key=keys.current_id,
        )
        checkpoint.signature = keys.sign(*checkpoint.signed_parts)
        checkpoint.save(force_insert=True)
    return checkpoint


AUDIT_IN_USE = Sentence(
    "audit_in_use", "The audit is in use. Run it again: it goes on where it was."
)
AUDIT_NOT_OWNED = Sentence(
    "audit_not_owned", "This role doesn't own the audit's tables, so it can't delete."
)


def _delete_let_go(position: int) -> int:
    """Delete the entries up to this position, some at a time with the triggers off; return how many there were."""
    tables = (EVENTS, LINKS)
    off = [make_trigger_switch_sql(table, "DISABLE") for table in tables]
    on = [make_trigger_switch_sql(table, "ENABLE ALWAYS") for table in tables]
    deleted = 0
    while True:
        try:
            # Off and on again in one transaction.
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("; ".join((LOCK_TIMEOUT, *off)))
                cursor.execute(DELETE, [position])
                number = int(cursor.rowcount)
                cursor.execute("; ".join(on))
        except OperationalError:
            raise NotTrimmedError(AUDIT_IN_USE()) from None
        except ProgrammingError:
            raise NotTrimmedError(AUDIT_NOT_OWNED()) from None
        if not number:
            return deleted
        deleted += number


# Problems: the audit isn't sealed, or isn't as this site wrote it

AUDIT_NOT_SEALED = Sentence(
    "audit_not_sealed",
    "The audit has not been sealed for %(ago)s: entries that somebody removes now are not missed.",
)
AUDIT_IS_SEALED = Sentence(
    "audit_is_sealed", "The audit's newest entries have their places in its chain."
)
SEAL_THE_AUDIT = Sentence(
    "seal_the_audit",
    "Run manage.py audit verify: it seals what waits. See that workers run; if they do, ask who holds locks in the"
    " database, and why: SELECT * FROM pg_stat_activity.",
)


@problem(
    "audit_unsealed",
    gettext_lazy("Audit sealing"),
    Area.AUDIT,
    found_by=Finder.PAGE,
    told_as=NoticeEvent.AUDIT_UNSEALED,
    page="auditevent_changelist",
    button=gettext_lazy("See the audit"),
    page_permission=VIEW_AUDIT,
)
def find_unsealed(_look: Look) -> Iterator[Finding]:
    """Find that the audit's newest entries got no place in its chain: until then their removal is not noticed."""
    if since := find_unsealed_since():
        yield report_failure(AUDIT_NOT_SEALED(ago=since), SEAL_THE_AUDIT(), since=since)
    else:
        yield report_ok(AUDIT_IS_SEALED())


AUDIT_DOES_NOT_HOLD = Sentence(
    "audit_does_not_hold",
    "The audit is not as this site wrote it: %(n)s faults. Run manage.py audit verify and keep what it prints.",
    one="The audit is not as this site wrote it: one fault. Run manage.py audit verify and keep what it prints.",
)
AUDIT_KEY_NOT_SET = Sentence(
    "audit_key_not_set",
    "The audit can't be verified: entries name keys that are not set on this host (%(keys)s)."
    " Run manage.py audit verify.",
    glue=", ",
)
AUDIT_HOLDS = Sentence(
    "audit_holds",
    "The audit is as this site wrote it: %(n)s entries.",
    one="The audit is as this site wrote it: %(n)s entry.",
)
SEE_WHAT_IS_UNSOUND = Sentence(
    "see_what_is_unsound",
    "manage.py audit verify names each entry, and docs/audit.md says what that means.",
)


@problem(
    "audit_unsound",
    gettext_lazy("Audit signatures"),
    Area.AUDIT,
    severity=Severity.CRITICAL,
    found_by=Finder.DOCTOR,
    every=timedelta(days=1),
    told_as=NoticeEvent.AUDIT_BROKEN,
    over_after=timedelta(),
    page="auditevent_changelist",
    button=gettext_lazy("See the audit"),
    page_permission=VIEW_AUDIT,
)
def find_unsound_audit(_look: Look) -> Iterator[Finding]:
    """Verify the whole audit: seconds, where it has many entries."""
    verified = verify_audit()
    if verified.is_sound:
        yield report_ok(AUDIT_HOLDS(n=verified.sealed + verified.unsealed))
        return
    number = verified.faults.total()
    message = AUDIT_DOES_NOT_HOLD(n=number)
    if verified.foreign and not number:
        message = AUDIT_KEY_NOT_SET(keys=tuple(verified.foreign))
    logger.error("The audit does not hold: %s faults. Run manage.py audit verify", number)
    yield report_failure(
        message,
        SEE_WHAT_IS_UNSOUND(),
        count=number or len(verified.foreign),
    )


# The pages: the entries with filters in the address, one entry, and the export

ROWS_A_PAGE = 25
LIST_USED_KINDS = """
SELECT code FROM unnest(%s::text[]) AS code
WHERE EXISTS (SELECT FROM nova_admin.migration_auditevent AS entry WHERE entry.code = code.code)
"""
# A larger export is written to the disk.
IN_MEMORY = 4 * 1024 * 1024
FILTERS: dict[str, StrPromise] = {
    "who": gettext_lazy("Who"),
    "about": gettext_lazy("Done to user"),
    "code": gettext_lazy("What"),
    "slug": gettext_lazy("Client (slug)"),
    "client": gettext_lazy("Client (number)"),
    "correlation": gettext_lazy("In run or campaign"),
    "since": gettext_lazy("From day"),
    "until": gettext_lazy("To day"),
}
CONTENT_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.JSON: "application/json",
}


def read_filters(query: QueryDict) -> dict[str, str]:
    """Return the filters that the address sets; days and numbers that are none are left out."""
    given = {name: value for name in FILTERS if (value := query.get(name, "").strip())}
    readers: dict[str, Callable[[str], object]] = {
        "since": _read_day,
        "until": _read_day,
        "client": read_number,
    }
    return {
        name: value
        for name, value in given.items()
        if name not in readers or readers[name](value) is not None
    }


def make_filter(given: dict[str, str]) -> AuditFilter:
    """Make the AuditFilter of these texts of the address; `until` is the last day. Days are those of the reader."""
    since, until = _read_day(given.get("since", "")), _read_day(given.get("until", ""))
    return AuditFilter(
        who=given.get("who", ""),
        about=given.get("about", ""),
        code=given.get("code", ""),
        slug=given.get("slug", ""),
        client_id=read_number(given.get("client", "")),
        correlation=given.get("correlation", ""),
        since=_begin_of(since) if since else None,
        before=_begin_of(until) + timedelta(days=1) if until else None,
    )


def _read_day(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day and 1970 < day.year < 9000 else None


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time.min, timezone.get_current_timezone())


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def list_used_kinds() -> list[tuple[str, str]]:
    """Return code and label of each kind that the audit has, by label: one probe of an index for each."""
    kinds = list_kinds()
    with connection.cursor() as cursor:
        cursor.execute(LIST_USED_KINDS, [[code for code, _title in kinds]])
        used = {code for (code,) in cursor}
    return [each for each in kinds if each[0] in used]


def name_doers(events: Collection[AuditEvent]) -> None:
    """Have these say who did them as pages name it: what ran by itself rather than who began it. Asks once."""
    campaigns = name_campaigns(events)
    for event in events:
        ran = ORIGIN.fullmatch(event.origin)
        nobody = _("Command line") if ran and ran["command"] else "NOVA Admin"
        event.doer = campaigns.get(event.pk) or escape_name(event.by) or nobody


# More are counted in a list, and named on the entry's own page.
MOST_NAMED = 4
IN_BRIEF = {
    STARTED.key: Sentence(
        "brief_started",
        "A web server or worker of this site started. The entry lists its settings.",
    ),
    GATE_PASSED.key: Sentence(
        "brief_gate", "Checks before the move to %(new)s. The entry lists each check."
    ),
    GIVEN.key: Sentence("brief_given", "%(owner)s was given %(n)s permissions."),
    TAKEN.key: Sentence("brief_taken", "%(owner)s lost %(n)s permissions."),
    PAGE_REFUSED.key: Sentence("brief_page_refused", "No permission for the page %(page)s."),
}


def shorten_message(message: Message) -> Message:
    """Return what a list tells of an entry: what would take many lines there is told in one sentence."""
    brief, names = IN_BRIEF.get(message.key), message.values.get("names")
    if brief is None or not message.sentence:
        return message
    if message.key == PAGE_REFUSED.key:
        title = find_title(str(message.values["page"]))
        return brief(page=title) if title else message
    if message.key in (GIVEN.key, TAKEN.key):
        if not isinstance(names, tuple) or len(names) <= MOST_NAMED:
            return message
        return brief(owner=message.values["owner"], n=len(names))
    return brief(new=message.values["new"]) if "new" in message.values else brief()


class AuditEntriesView(AdminView):
    """The entries, the newest first, a page at a time from one entry to the next ones."""

    template_name = "admin/migration/audit.html"

    @property
    def title(self) -> str:
        return _("Audit")

    def get(self, request: HttpRequest) -> HttpResponse:
        given = read_filters(request.GET)
        older, newer = (_read_id(request.GET.get(name, "")) for name in ("older", "newer"))
        chosen = make_filter(given).select()
        # What was looked for is all there; otherwise a run over a thousand clients would be a thousand entries.
        is_whole = bool(given) or "all" in request.GET
        if not is_whole:
            chosen = chosen.filter(is_by_hand())
        if newer:
            rows = list(chosen.filter(pk__gt=newer).order_by("pk")[: ROWS_A_PAGE + 1])
            more, rows = len(rows) > ROWS_A_PAGE, rows[:ROWS_A_PAGE][::-1]
            has_newer, has_older = more, True
        else:
            rows = list((chosen.filter(pk__lt=older) if older else chosen)[: ROWS_A_PAGE + 1])
            has_newer, has_older = older is not None, len(rows) > ROWS_A_PAGE
            rows = rows[:ROWS_A_PAGE]
        AuditEvent.name_logins(rows)
        name_doers(rows)
        for row in rows:
            row.brief = shorten_message(row.message)
        titles = {("code", code): title for code, title in list_kinds()}
        return self.render_to_response(
            self.get_context_data(
                rows=rows,
                filters=given,
                is_whole=is_whole,
                in_use={"chips": list_chips(given, FILTERS, titles)},
                newest=rows[0].pk if rows and has_newer else None,
                oldest=rows[-1].pk if rows and has_older else None,
                query=urlencode(given | ({"all": 1} if is_whole and not given else {})) + "&"
                if is_whole
                else "",
                codes=[(*each, given.get("code") == each[0]) for each in list_used_kinds()],
                head=read_head(),
                may_view_clients=request.user.has_perm("credentials.view_client"),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                select_classes=" ".join(SELECT_CLASSES),
            )
        )


class SpooledExport:
    """A file in memory, and on the disk once it is large. The answer that sends it closes it.

    Python's own complains of one in memory that nobody closed, as that of an answer that nobody read.
    """

    def __init__(self) -> None:
        self.file: IO[bytes] = io.BytesIO()

    def write(self, text: str) -> None:
        if isinstance(self.file, io.BytesIO) and self.file.tell() > IN_MEMORY:
            in_memory, self.file = self.file, TemporaryFile()  # noqa: SIM115  # the answer closes it
            self.file.write(in_memory.getvalue())
        self.file.write(text.encode())


class ExportAuditView(AdminView):
    """The entries that the address chooses, as a file. It is written whole, then sent: a slow reader holds nothing."""

    def post(self, request: HttpRequest) -> HttpResponseBase:
        if request.POST.get("format") not in [*ExportFormat]:
            return HttpResponseBadRequest()
        kind = ExportFormat(request.POST["format"])
        export = SpooledExport()
        export_audit(
            chosen=make_filter(read_filters(request.GET)),
            kind=kind,
            write=export.write,
            by=get_signed_in_user(request),
        )
        export.file.seek(0)
        return FileResponse(
            export.file,
            as_attachment=True,
            filename=f"audit.{kind}",
            content_type=CONTENT_TYPES[kind],
        )


class AuditEventView(ObjectView[AuditEvent]):
    """The page of one entry, with its place in the chain."""

    template_name = "admin/migration/audit_event.html"

    @property
    def title(self) -> str:
        return str(self.original)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        AuditEvent.name_logins([self.original])
        name_doers([self.original])
        return super().get_context_data(
            event=self.original,
            group_url=get_allowed_url(self.request, self.original.group_page),
            link=AuditLink.objects.filter(event_id=self.original.pk).first(),
            is_unchanged=self.original.is_unchanged(audit_keys()),
            may_view_clients=self.request.user.has_perm("credentials.view_client"),
            **kwargs,
        )


class AuditEventAdmin(ReadOnlyAdmin):
    object_view = AuditEventView
    own_views: ClassVar = [("export/", "export", ExportAuditView)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        return AuditEntriesView.as_view(model_admin=self)(request)
