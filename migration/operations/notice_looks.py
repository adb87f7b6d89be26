"""Looks for what nobody does and is to be told: AWS, workers or readers gone, a duplicate, an audit that doesn't hold.

Each look compares what holds now with what held before, so that each is told once when it begins.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from credentials.models import Client
from migration import notice_sentences as sentences
from migration import sentences as own_sentences
from migration import setting_sentences
from migration.models import (
    OF_AWS,
    Comparison,
    Condition,
    FoundCondition,
    Notice,
    NoticeEvent,
    ReaderProcess,
    RotationSchedule,
    Worker,
    all_clients,
    client_has_settings_drift,
    rotation_schedules,
)
from migration.operations.audit_chain import find_unsealed_since
from migration.operations.audit_verification import verify_audit
from migration.operations.aws_writes import find_write_refusal
from migration.operations.doctor import process_sentences
from migration.operations.stored_looks import compare_looks_with_settings
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

# The newest comparisons that are looked at, and how old they may be.
COMPARISONS_LOOKED_AT = 200
COMPARED_WITHIN = timedelta(hours=1)
# How long workers are gone before it is told: longer than a restart.
GONE_AFTER = timedelta(minutes=5)
MINUTELY = (
    *(NoticeEvent.AWS_GONE, NoticeEvent.READERS_GONE, NoticeEvent.DUPLICATE),
    NoticeEvent.AUDIT_UNSEALED,
)
READS_AWS = [phase for phase in Phase if phase.reads_aws]
LAST_LOOK = "last look"

logger = logging.getLogger(__name__)


def look_for_minutely_conditions(*, by_worker: bool) -> None:
    """Check AWS, readers, workers, the database; record notices; `by_worker`: a worker calls it."""
    found = [*_find_aws_gone(), *_find_readers_gone(), *_find_duplicate(), *_find_unsealed()]
    Condition.objects.update_and_notify(MINUTELY, found)
    if by_worker:
        _note_look()
    # A worker is alive: what another process has told is over at once.
    Condition.objects.update_and_notify(
        (NoticeEvent.WORKERS_GONE,),
        [] if by_worker else _find_workers_gone(),
        over_after=timedelta(0),
    )


def _find_aws_gone() -> Iterator[FoundCondition]:
    """Yield that AWS gave none of the newest comparisons an answer, and one of them failed for a reason of AWS's."""
    newest = Comparison.objects.order_by("-pk").values_list("compared_at", "status", "error_class")[
        :COMPARISONS_LOOKED_AT
    ]
    since = timezone.now() - COMPARED_WITHIN
    lately = [(status, error) for at, status, error in newest if at > since]
    errors = [error for _status, error in lately if error in OF_AWS]
    if errors and all(status == Comparison.Status.UNCHECKED for status, _error in lately):
        facts = sentences.AWS_ANSWERS_NOT(error=errors[0])
        yield FoundCondition(NoticeEvent.AWS_GONE, "aws", facts)


def _find_readers_gone() -> Iterator[FoundCondition]:
    """Yield that NOVA's processes fail at AWS, or that none reads although clients are read from AWS."""
    readers = ReaderProcess.objects.summarize()
    if readers.failing:
        facts = process_sentences.READERS_FAIL(n=readers.failing)
        yield FoundCondition(NoticeEvent.READERS_GONE, "failing", facts)
    last = readers.last_read_at
    if last and not readers.seen and all_clients().in_phases(*READS_AWS).exists():
        facts = process_sentences.READERS_ARE_GONE(ago=last)
        yield FoundCondition(NoticeEvent.READERS_GONE, "gone", facts)


def _find_duplicate() -> Iterator[FoundCondition]:
    """Yield that this database is a duplicate, or can't be known to be none."""
    why = find_write_refusal()
    # That a host differs is so of one host only: the others would tell at once that it is over.
    if why and why.key not in (own_sentences.WRITES_STOPPED.key, own_sentences.HOST_DIFFERS.key):
        yield FoundCondition(NoticeEvent.DUPLICATE, why.key, why)


def _find_unsealed() -> Iterator[FoundCondition]:
    """Yield that the audit's chain does not go on. Who keeps the task that seals from it doesn't keep this one."""
    if since := find_unsealed_since():
        facts = process_sentences.AUDIT_NOT_SEALED(ago=since)
        yield FoundCondition(NoticeEvent.AUDIT_UNSEALED, "audit", facts)


def _find_workers_gone() -> Iterator[FoundCondition]:
    seen = Worker.objects.last_seen_at()
    if seen and timezone.now() - seen > GONE_AFTER:
        facts = process_sentences.WORKERS_ARE_GONE(ago=seen)
        yield FoundCondition(NoticeEvent.WORKERS_GONE, "workers", facts)


@transaction.atomic
def _note_look() -> None:
    """Note that a worker looked; if the look before is long ago, and nobody told that, tell that no worker ran."""
    now = timezone.now()
    row, is_first = Condition.objects.select_for_update().get_or_create(
        event=LAST_LOOK, subject=LAST_LOOK
    )
    before = row.seen_at
    row.seen_at = now
    row.save(update_fields=["seen_at"])
    was_told = Condition.objects.filter(event=NoticeEvent.WORKERS_GONE).exists()
    if not is_first and not was_told and now - before > GONE_AFTER:
        facts = sentences.WORKERS_WERE_GONE(n=int((now - before).total_seconds() // 60))
        key = f"{NoticeEvent.WORKERS_GONE}:{before.isoformat()}"
        Notice.objects.record(NoticeEvent.WORKERS_GONE, facts, key=key)


def look_for_overdue_rotations() -> None:
    """Record a notice of each client whose scheduled rotation is overdue, once for each due day."""
    today = rotation_schedules.today()
    overdue = {
        pk: due for pk, due in RotationSchedule.objects.find_next_days().items() if due < today
    }
    slugs = Client.objects.filter(pk__in=overdue).values_list("pk", "slug")
    found = [
        FoundCondition(NoticeEvent.ROTATION_OVERDUE, f"{pk}:{overdue[pk]}", name=slug)
        for pk, slug in slugs
    ]
    Condition.objects.update_and_notify(
        (NoticeEvent.ROTATION_OVERDUE,), found, over_after=timedelta(0)
    )


def look_at_secret_settings() -> None:
    """Record a notice when secrets begin or cease to differ from the settings, by the newest look at each."""
    compare_looks_with_settings()
    found = []
    if number := Client.objects.filter(client_has_settings_drift()).count():
        facts = setting_sentences.SECRETS_NOT_AS_SET(n=number)
        found = [FoundCondition(NoticeEvent.SETTINGS_DIFFER, "settings", facts)]
    Condition.objects.update_and_notify(
        (NoticeEvent.SETTINGS_DIFFER,), found, over_after=timedelta(0)
    )


def look_at_audit() -> None:
    """Verify the whole audit; tell if it doesn't hold."""
    verified = verify_audit()
    found = []
    if not verified.is_sound:
        number = verified.faults.total()
        logger.error("The audit does not hold: %s faults. Run verify_audit", number)
        facts = sentences.AUDIT_DOES_NOT_HOLD(n=number)
        if verified.foreign and not number:
            facts = sentences.AUDIT_KEY_NOT_SET(keys=tuple(verified.foreign))
        found = [FoundCondition(NoticeEvent.AUDIT_BROKEN, "audit", facts)]
    Condition.objects.update_and_notify((NoticeEvent.AUDIT_BROKEN,), found, over_after=timedelta(0))
