"""Lets go of old audit entries at a signed checkpoint, after they were exported. Run it as the owner of the tables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from typing import TYPE_CHECKING

from django.db import OperationalError, ProgrammingError, connection, transaction

from migration import audit_sentences as sentences
from migration import audit_sql
from migration.core.audit import AuditCheckpoint, AuditCode, AuditEvent, audit_keys
from migration.core.audit_chain import AuditHead, seal_audit
from migration.core.audit_export import ExportFormat, write_events
from migration.core.snapshots import repeatable_read_only
from migration.operations.audit_verification import read_chain, verify_audit
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.contrib.auth.models import User

    from migration.operations.audit_verification import Verification

EVENTS, LINKS, _CHECKPOINTS = audit_sql.TABLES
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


@dataclass(frozen=True)
class TrimResult:
    """How many entries were let go, and the checkpoint from which the audit is verified now."""

    deleted_number: int
    checkpoint: AuditCheckpoint


def trim_audit(*, before: datetime, file: Path, by: User | None = None) -> TrimResult:
    """Write every entry up to the first of `before` or later into a new file, make a checkpoint, and delete them.

    Raises `NotTrimmedError`, and OSError for a file that can't be written. A trim that was killed after its checkpoint
    is finished by the next one.
    """
    seal_audit(from_beginning=True, wait=True)
    found = verify_audit()
    if not found.is_sound:
        raise NotTrimmedError(sentences.AUDIT_NOT_SOUND(fault=found.describe_first_fault()))
    _delete_let_go(found.begins_after)
    head, digest = _export_old(found, before, file)
    if head is None:
        file.unlink()
        raise NotTrimmedError(sentences.NO_OLD_ENTRY())
    checkpoint = _make_checkpoint(head, digest, before, by)
    return TrimResult(_delete_let_go(head.position), checkpoint)


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


def _make_checkpoint(
    head: AuditHead, digest: str, before: datetime, by: User | None
) -> AuditCheckpoint:
    keys = audit_keys()
    with transaction.atomic():
        event = AuditEvent.objects.record(
            AuditCode.TRIM,
            sentences.TRIMMED(position=str(head.position), day=before.date(), sha256=digest),
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


def _delete_let_go(position: int) -> int:
    """Delete the entries up to this position, some at a time; return how many there were."""
    deleted = 0
    while number := _delete_some(position):
        deleted += number
    return deleted


def _delete_some(position: int) -> int:
    """Delete some entries with the triggers off, and on again, in one transaction."""
    tables = (EVENTS, LINKS)
    off = [audit_sql.make_trigger_switch_sql(table, "DISABLE") for table in tables]
    on = [audit_sql.make_trigger_switch_sql(table, "ENABLE ALWAYS") for table in tables]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("; ".join((LOCK_TIMEOUT, *off)))
            cursor.execute(DELETE, [position])
            number = int(cursor.rowcount)
            cursor.execute("; ".join(on))
    except OperationalError:
        raise NotTrimmedError(sentences.AUDIT_IN_USE()) from None
    except ProgrammingError:
        raise NotTrimmedError(sentences.AUDIT_NOT_OWNED()) from None
    return number
