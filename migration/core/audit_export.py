"""Exports the audit, as a whole or of one client up to a cutover, with the links of its chain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.contrib.auth.models import User
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext_lazy

from credentials.models import Client
from migration.core.audit import (
    APPROVAL_EVENT,
    REQUEST_EVENT,
    RUN_EVENT,
    AuditCheckpoint,
    AuditEvent,
    AuditEventQuerySet,
    AuditLink,
    EventKind,
    audit_keys,
    describe_moment,
    first_id_at,
)
from migration.core.audit_chain import AuditHead, link_parts, read_head, seal_audit
from migration.core.clients import GATE_EVENT, MOVE_EVENT, OVERRIDE_EVENT, PhaseChange
from migration.core.snapshots import repeatable_read_only
from migration.core.text import make_csv_line
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_invisible

EXPORT_EVENT = EventKind("export", gettext_lazy("Audit exported"))


Write = Callable[[str], object]

ROWS_AT_ONCE = 2000
COLUMNS = (
    *("position", "at", "code", "who", "origin", "client_id", "slug", "reason", "sentence"),
    *("correlation", "id", "facts", "key", "signature", "link_key", "link_signature"),
    *("sealed_at", "happened_at"),
)


class ExportFormat(StrEnum):
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are chosen; an empty part chooses all."""

    who: str = ""
    code: str = ""
    slug: str = ""
    # The name of a user to whom it was done.
    about: str = ""
    # Whatever slug the client had: what its history shows.
    client_id: int | None = None
    # That of one request, or `run 5`, `campaign 5`.
    correlation: str = ""
    since: datetime | None = None
    before: datetime | None = None

    def select(self) -> AuditEventQuerySet:
        """Select the entries, the newest first."""
        found = AuditEvent.objects.order_by("-pk")
        for name in ("who", "code", "slug", "client_id", "correlation"):
            if (value := getattr(self, name)) not in ("", None):
                found = found.filter(**{name: value})
        if self.about:
            found = found.about_user(self.about)
        if self.since:
            found = found.filter(pk__gte=first_id_at(self.since))
        if self.before:
            found = found.filter(pk__lt=first_id_at(self.before))
        return found

    def __str__(self) -> str:
        """Return the parts that are set as `name=value`, in English."""
        parts = {
            name: getattr(self, name)
            for name in (
                *("who", "about", "code", "slug", "client_id", "correlation"),
                *("since", "before"),
            )
        }
        texts = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in parts.items()
        }
        return ", ".join(f"{name}={value}" for name, value in texts.items() if value)


EXPORTED = Sentence("exported", "Exported audit entries as %(format)s: %(filters)s.")
ALL_ENTRIES = Sentence("all_entries", "all of them")


def export_audit(
    *, chosen: AuditFilter, kind: ExportFormat, write: Write, by: User | None = None
) -> None:
    """Record the export, then write the chosen entries in the order of their ids.

    What is recorded while it runs is not in it: it is read at one moment, after its own entry was sealed.
    """
    AuditEvent.objects.record(
        EXPORT_EVENT,
        EXPORTED(format=kind, filters=str(chosen) or ALL_ENTRIES()),
        by=by,
    )
    seal_audit(wait=True)
    events = annotate_links(chosen.select().order_by("pk"))
    with repeatable_read_only():
        write_events(events.iterator(chunk_size=ROWS_AT_ONCE), kind, write)


def annotate_links(events: AuditEventQuerySet) -> QuerySet[AuditEvent]:
    """Give each entry the columns of its link, for `make_row`."""
    links = AuditLink.objects.filter(event_id=OuterRef("pk"))
    return events.annotate(
        position=Subquery(links.values("position")),
        link_key=Subquery(links.values("key")),
        link_signature=Subquery(links.values("signature")),
        sealed_at=Subquery(links.values("sealed_at")),
    )


def write_events(events: Iterable[AuditEvent], kind: ExportFormat, write: Write) -> None:
    """Write entries that have the columns of their link."""
    if kind == ExportFormat.JSON:
        before = "["
        for event in events:
            write(f"{before}\n{json.dumps(make_row(event))}")
            before = ","
        write("\n]\n" if before == "," else "[]\n")
        return
    write(make_csv_line(COLUMNS))
    for event in events:
        # JSON has the values as they are.
        cells = (str(value or "") for value in make_row(event).values())
        write(make_csv_line(map(escape_invisible, cells)))


def make_row(event: AuditEvent) -> dict[str, object]:
    """Return the entry's columns, with its sentence in English and its place in the chain."""
    values = {name: getattr(event, name, None) for name in COLUMNS}
    sealed_at = values["sealed_at"]
    return values | {
        "at": describe_moment(event.at),
        "happened_at": event.happened_at and describe_moment(event.happened_at),
        "sealed_at": sealed_at and describe_moment(sealed_at),
        "id": str(event.pk),
        "sentence": str(event.message),
    }


# The export of a cutover is signed, so that it is verified without the database. A certificate, which releases up to
# 0.2.0 made in its place, is verified against the audit.

FORMAT = 1
LONGEST_FILE = 100_000_000  # characters
# What is in the file -> the word that its signature begins with, so that neither is taken for the other.
KINDS = {"export": "cutover export", "certificate": "certificate"}
# A move and its entries are written at once; the entry has its time a little later.
SAME_ACT = timedelta(minutes=1)
# What every role sees in the client's history; other entries, and addresses, are for who may view the audit.
OF_THE_MOVES = (
    *(MOVE_EVENT, OVERRIDE_EVENT, GATE_EVENT),
    *(REQUEST_EVENT, APPROVAL_EVENT),
)
OF_THE_RUN = (RUN_EVENT, REQUEST_EVENT, OVERRIDE_EVENT, APPROVAL_EVENT)
EVENT_COLUMNS = (
    *("id", "code", "who", "origin", "client_id", "slug", "reason", "facts", "correlation"),
    *("key", "signature"),
)


class NotCutOverError(Exception):
    """The client was never cut over."""


class UnreadableFileError(Exception):
    """The text is no JSON, or too long."""


class FileFault(StrEnum):
    """Why an export or a certificate proves nothing."""

    EDITED = "edited"
    OTHER_SITE = "other_site"  # signed with a key that is not set here
    ENTRY_CHANGED = "entry_changed"
    ENTRY_REMOVED = "entry_removed"  # of a certificate: the audit lacks it now
    ENTRY_MOVED = "entry_moved"  # it has another place in the chain
    HEAD = "head"  # of a certificate: the chain no longer has the head that it names
    MOVE_DIFFERS = "move_differs"  # of a certificate: audit and history disagreed when it was made


@dataclass
class FileVerdict:
    """What was found about one file; `facts` only where a key that is set here signed them."""

    kind: str = "export"
    facts: dict[str, Any] | None = field(default=None, repr=False)
    # Each with the entry or move where it was met.
    findings: list[tuple[FileFault, str]] = field(default_factory=list, repr=False)
    agreeing: int = 0
    # Of a certificate: entries that were let go at a checkpoint.
    let_go: int = 0

    @property
    def is_genuine(self) -> bool:
        return not self.findings

    def count(self, fault: FileFault | None, place: object = "") -> None:
        """Count what agrees, or add what is wrong and where."""
        if fault:
            self.findings.append((fault, str(place)))
        else:
            self.agreeing += 1


MOVED_TO_LEAVE = Sentence("moved_to_leave", "Offboarding.")


def find_cutover(client_id: int) -> PhaseChange | None:
    """Return the client's newest cutover; None where it never had one."""
    changes = PhaseChange.objects.filter(client_id=client_id, old=Phase.DUAL_READ, new=Phase.AWS)
    # An offboarding passes every phase on its way to `purged`: through no gate, and nobody read the client meanwhile.
    return next(
        (
            change
            for change in changes.order_by("-pk")
            if change.note is None or change.note.key != MOVED_TO_LEAVE.key
        ),
        None,
    )


CUTOVER_EXPORTED = Sentence(
    "cutover_exported", "Exported its audit entries up to the cutover at %(at)s."
)


def export_cutover(*, client: Client, by: User | None, for_auditor: bool) -> str:
    """Record the export, seal the audit, and return the file: the client's entries up to its newest cutover.

    Raises `NotCutOverError`. `for_auditor`: for somebody who may view the audit. Others get the entries that moved the
    client, without the addresses.
    """
    cutover = find_cutover(client.pk)
    if cutover is None:
        raise NotCutOverError
    at = describe_moment(cutover.changed_at)
    event = AuditEvent.objects.record(
        EXPORT_EVENT,
        CUTOVER_EXPORTED(at=at),
        by=by,
        client_id=client.pk,
        slug=client.slug,
    )
    seal_audit(wait=True)
    with repeatable_read_only():
        # Without the entry of this export.
        entries = _select_entries(client, cutover).filter(pk__lt=event.pk)
        if not for_auditor:
            entries = entries.filter(code__in=OF_THE_MOVES)
        facts = {
            "format": FORMAT,
            "made_at": describe_moment(event.at),
            "made_by": event.who,
            "client_id": client.pk,
            "slug": client.slug,
            "cutover_at": at,
            "audit_head": str(read_head()),
            "entries": [
                row if for_auditor else row | {"origin": None} for row in _list_rows(entries)
            ],
        }
    keys = audit_keys()
    signature = keys.sign(*_signed_parts("export", facts, keys.current_id))
    parts = {"export": facts, "key": keys.current_id, "signature": signature}
    return json.dumps(parts, indent=1) + "\n"


def _select_entries(client: Client, cutover: PhaseChange) -> AuditEventQuerySet:
    """Select the client's entries up to the cutover, and of the run that made it those that name no client."""
    until = cutover.changed_at + SAME_ACT
    changes = PhaseChange.objects.filter(client_id=client.pk)
    slugs = {client.slug[:100], *changes.order_by().values_list("slug", flat=True)}
    chosen = Q(client_id=client.pk, slug__in=slugs)
    if run := cutover.run:
        groups = [(f"run {run.pk}", run.created_at)]
        if wave := run.wave:
            groups.append((f"campaign {wave.campaign_id}", wave.campaign.created_at))
        for name, created_at in groups:
            began = first_id_at(created_at - SAME_ACT)
            chosen |= Q(client_id=None, correlation=name, code__in=OF_THE_RUN, pk__gte=began)
    # What was carried over stands at the end of the chain, whenever it happened.
    is_before = Q(happened_at=None, pk__lt=first_id_at(until)) | Q(happened_at__lt=until)
    return AuditEvent.objects.filter(chosen, is_before).order_by("pk")


def _list_rows(found: AuditEventQuerySet) -> list[dict[str, Any]]:
    """Return the entries as an export has them: with their link, and the signature of the one before it."""
    keys, start = audit_keys(), _find_start()
    rows: list[dict[str, Any]] = [
        make_row(event) | {"is_unchanged": event.is_unchanged(keys)}
        for event in annotate_links(found)
    ]
    before = [row["position"] - 1 for row in rows if row["position"] is not None]
    links = AuditLink.objects.filter(position__in=before)
    signatures = dict(links.values_list("position", "signature"))
    signatures[start.position] = start.signature
    for row in rows:
        row["link_before"] = signatures.get((row["position"] or 0) - 1)
    return rows


def verify_file(text: str) -> FileVerdict:
    """Return the verdict on an export, which asks no database, or on a certificate; raises `UnreadableFileError`."""
    verdict, keys = FileVerdict(), audit_keys()
    found = _read_parts(text)
    if found is None:
        verdict.count(FileFault.EDITED)
        return verdict
    verdict.kind, facts, key, signature = found
    if key not in keys.by_id:
        verdict.count(FileFault.OTHER_SITE)
    elif not keys.holds(signature, key, *_signed_parts(verdict.kind, facts, key)):
        verdict.count(FileFault.EDITED)
    else:
        verdict.facts = facts
        if verdict.kind == "certificate":
            _verify_certificate(verdict, facts)
        else:
            for row in facts["entries"]:
                verdict.count(_find_fault(row), row["position"] or row["id"])
    return verdict


def _read_parts(text: str) -> tuple[str, dict[str, Any], str, str] | None:
    """Return the kind of the file, its facts, key and signature; None where no site made it so."""
    is_doubled = False

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal is_doubled
        # Of a name that stands twice, two programs could read two values.
        is_doubled = is_doubled or len(dict(pairs)) != len(pairs)
        return dict(pairs)

    try:
        if len(text) > LONGEST_FILE:
            raise UnreadableFileError
        parts = json.loads(text, object_pairs_hook=make_object)
    except (ValueError, RecursionError):
        raise UnreadableFileError from None
    match parts:
        case {"export": dict(facts), "key": str(key), "signature": str(signature), **rest}:
            kind = "export"
        case {"certificate": dict(facts), "key": str(key), "signature": str(signature), **rest}:
            kind = "certificate"
        case _:
            return None
    return None if rest or is_doubled else (kind, facts, key, signature)


def _signed_parts(kind: str, facts: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return what is signed: the facts in one spelling, so blanks and the order of names don't matter."""
    return (KINDS[kind], key, json.dumps(facts, sort_keys=True, separators=(",", ":")))


def _find_fault(row: dict[str, Any]) -> FileFault | None:
    """Return what is wrong with an entry's own signature, or with that of its link."""
    keys = audit_keys()
    if row["key"] not in keys.by_id:
        return FileFault.OTHER_SITE
    values = {name: row[name] for name in EVENT_COLUMNS}
    event = AuditEvent(**values, at=datetime.fromisoformat(row["at"]))
    # A file of up to release 0.2.0 has none.
    if happened_at := row.get("happened_at"):
        event.happened_at = datetime.fromisoformat(happened_at)
    # Its own signature covers the address, which is left out for who may not view the audit.
    if not row["is_unchanged"] or (row["origin"] is not None and not event.is_unchanged(keys)):
        return FileFault.ENTRY_CHANGED
    if row["position"] is None:
        return None  # it had no place yet
    sealed_at = row["sealed_at"] and datetime.fromisoformat(row["sealed_at"])
    link = AuditLink(position=row["position"], event_id=event.pk, sealed_at=sealed_at)
    before = AuditHead(link.position - 1, row["link_before"] or "")
    parts = link_parts(before, link, event.signature)
    holds = keys.holds(row["link_signature"], row["link_key"], *parts)
    return None if holds else FileFault.ENTRY_MOVED


def _verify_certificate(verdict: FileVerdict, facts: dict[str, Any]) -> None:
    """Compare what a certificate names with the audit, as far as it was not let go."""
    for move in facts["moves"]:
        if move["proof"] == "differs":
            verdict.count(FileFault.MOVE_DIFFERS, move["at"])
    start, head = _find_start(), AuditHead.parse(facts["audit_head"])
    named = AuditEvent.objects.filter(pk__in=[entry["id"] for entry in facts["entries"]])
    rows = {row["id"]: row for row in _list_rows(named)}
    for entry in facts["entries"]:
        position, row = entry["position"], rows.get(entry["id"])
        if position is not None and position <= start.position:
            verdict.let_go += 1
        else:
            verdict.count(_find_fault_of_named(entry, row), position or entry["id"])
    link = AuditLink.objects.filter(position=head.position).first()
    found = AuditHead(link.position, link.signature) if link else start
    if head.position >= start.position and found != head:
        verdict.count(FileFault.HEAD, head.position)


def _find_fault_of_named(entry: dict[str, Any], row: dict[str, Any] | None) -> FileFault | None:
    """Return what is wrong with the audit's row of an entry that a certificate names."""
    if row is None:
        return FileFault.ENTRY_REMOVED
    if row["signature"] != entry["signature"]:
        return FileFault.ENTRY_CHANGED
    if entry["position"] not in (None, row["position"]):
        return FileFault.ENTRY_MOVED
    return _find_fault(row)


def _find_start() -> AuditHead:
    """Return the newest checkpoint that this site signed: what was up to there was let go."""
    keys = audit_keys()
    for checkpoint in AuditCheckpoint.objects.order_by("-position"):
        if keys.holds(checkpoint.signature, checkpoint.key, *checkpoint.signed_parts):
            return AuditHead(checkpoint.position, checkpoint.link_signature)
    return AuditHead()
