"""Writes audit entries as JSON or CSV, all as they are at one moment, and records that they were exported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db.models import OuterRef, Subquery

from credentials.shown_names import escape_invisible
from migration import audit_sentences as sentences
from migration.models.audit_events import AuditCode, AuditEvent, AuditLink
from migration.models.audit_signatures import describe_moment, first_id_at
from migration.operations.audit_chain import seal_audit
from migration.operations.csv_cells import make_csv_line
from migration.operations.snapshots import repeatable_read_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from migration.models.audit_events import AuditEventQuerySet

    Write = Callable[[str], object]

ROWS_AT_ONCE = 2000
COLUMNS = (
    *("position", "at", "code", "who", "origin", "client_id", "slug", "reason", "sentence"),
    *("correlation", "id", "facts", "key", "signature", "link_key", "link_signature"),
    "sealed_at",
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
    since: datetime | None = None
    before: datetime | None = None

    def select(self) -> AuditEventQuerySet:
        """Select the entries, the newest first."""
        found = AuditEvent.objects.order_by("-pk")
        for name in ("who", "code", "slug"):
            if value := getattr(self, name):
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
            for name in ("who", "about", "code", "slug", "since", "before")
        }
        texts = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in parts.items()
        }
        return ", ".join(f"{name}={value}" for name, value in texts.items() if value)


def export_audit(
    *, chosen: AuditFilter, kind: ExportFormat, write: Write, by: User | None = None
) -> None:
    """Record the export, then write the chosen entries in the order of their ids.

    What is recorded while it runs is not in it: it is read at one moment, after its own entry was sealed.
    """
    AuditEvent.objects.record(
        AuditCode.EXPORT,
        sentences.EXPORTED(format=kind, filters=str(chosen) or sentences.ALL_ENTRIES()),
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
    (_write_json if kind == ExportFormat.JSON else _write_csv)(events, write)


def make_row(event: AuditEvent) -> dict[str, object]:
    """Return the entry's columns, with its sentence in English and its place in the chain."""
    values = {name: getattr(event, name, None) for name in COLUMNS}
    sealed_at = values["sealed_at"]
    return values | {
        "at": describe_moment(event.at),
        "sealed_at": sealed_at and describe_moment(sealed_at),
        "id": str(event.pk),
        "sentence": str(event.message),
    }


def _write_json(events: Iterable[AuditEvent], write: Write) -> None:
    before = "["
    for event in events:
        write(f"{before}\n{json.dumps(make_row(event))}")
        before = ","
    write("\n]\n" if before == "," else "[]\n")


def _write_csv(events: Iterable[AuditEvent], write: Write) -> None:
    write(make_csv_line(COLUMNS))
    for event in events:
        # JSON has the values as they are.
        cells = (str(value or "") for value in make_row(event).values())
        write(make_csv_line(map(escape_invisible, cells)))
