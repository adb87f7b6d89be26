"""Declares what holds for a time and is told when it begins and when it is over; finds out whether it holds now.

Each look compares what holds now with what held before, so that each is told once.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from credentials.models import Client
from migration import notice_sentences as sentences
from migration import sentences as own_sentences
from migration import setting_sentences
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import all_clients
from migration.core.comparisons import Comparison, OpenMismatch
from migration.core.notices import ClientCondition, Condition, FoundCondition, Notice, NoticeEvent
from migration.core.secrets import client_has_settings_drift
from migration.core.workers import Worker
from migration.models import rotation_schedules
from migration.models.rotation_schedules import RotationSchedule
from migration.models.rotations import Rotation, RotationOutcome
from migration.models.work_facts import OF_AWS
from migration.nova.models import ReaderProcess
from migration.operations.audit_verification import verify_audit
from migration.operations.doctor import process_sentences
from migration.secrets.models import FoundCopy, SearchedClient
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The newest comparisons that are looked at, and how old they may be.
COMPARISONS_LOOKED_AT = 200
COMPARED_WITHIN = timedelta(hours=1)
# How long workers are gone before it is told: longer than a restart.
GONE_AFTER = timedelta(minutes=5)
READS_AWS = [phase for phase in Phase if phase.reads_aws]
LAST_LOOK = "last look"
AT_ONCE = timedelta(0)

logger = logging.getLogger(__name__)


def look_at_site(*, by_worker: bool) -> None:
    """Look each minute at AWS, readers, workers, the database and the audit's chain; `by_worker`: a worker calls it."""
    finders = {
        NoticeEvent.AWS_GONE: _find_aws_gone,
        NoticeEvent.READERS_GONE: _find_readers_gone,
        NoticeEvent.DUPLICATE: _find_duplicate,
        NoticeEvent.AUDIT_UNSEALED: _find_unsealed,
    }
    # A look that fails ends before anything is stored.
    for event, found in [(event, list(find())) for event, find in finders.items()]:
        Condition.objects.update_and_notify(event, found)
    if by_worker:
        _note_look()
    # A worker is alive: what another process has told is over at once.
    gone = [] if by_worker else list(_find_workers_gone())
    Condition.objects.update_and_notify(NoticeEvent.WORKERS_GONE, gone, over_after=AT_ONCE)


def look_at_clients() -> None:
    """Look every ten minutes at what holds for clients: that is how often it is told at most, whatever a run finds."""
    for condition in CLIENT_CONDITIONS:
        Condition.objects.update_and_notify_of_clients(condition)
    differing = list(_find_settings_differ())
    Condition.objects.update_and_notify(NoticeEvent.SETTINGS_DIFFER, differing, over_after=AT_ONCE)


def look_at_audit() -> None:
    """Verify the whole audit; tell if it doesn't hold."""
    broken = list(_find_audit_broken())
    Condition.objects.update_and_notify(NoticeEvent.AUDIT_BROKEN, broken, over_after=AT_ONCE)


def _find_aws_gone() -> Iterator[FoundCondition]:
    """Yield that AWS gave none of the newest comparisons an answer, and one of them failed for a reason of AWS's."""
    newest = Comparison.objects.order_by("-pk").values_list("compared_at", "status", "error_class")[
        :COMPARISONS_LOOKED_AT
    ]
    since = timezone.now() - COMPARED_WITHIN
    lately = [(status, error) for at, status, error in newest if at > since]
    errors = [error for _status, error in lately if error in OF_AWS]
    if errors and all(status == Comparison.Status.UNCHECKED for status, _error in lately):
        yield FoundCondition("aws", sentences.AWS_ANSWERS_NOT(error=errors[0]))


def _find_readers_gone() -> Iterator[FoundCondition]:
    """Yield that NOVA's processes fail at AWS, or that none reads although clients are read from AWS."""
    readers = ReaderProcess.objects.summarize()
    if readers.failing:
        yield FoundCondition("failing", process_sentences.READERS_FAIL(n=readers.failing))
    last = readers.last_read_at
    if last and not readers.seen and all_clients().in_phases(*READS_AWS).exists():
        yield FoundCondition("gone", process_sentences.READERS_ARE_GONE(ago=last))


def _find_duplicate() -> Iterator[FoundCondition]:
    """Yield that this database is a duplicate, or can't be known to be none."""
    why = find_write_refusal()
    # That a host differs is so of one host only: the others would tell at once that it is over.
    if why and why.key not in (own_sentences.WRITES_STOPPED.key, own_sentences.HOST_DIFFERS.key):
        yield FoundCondition(why.key, why)


def _find_unsealed() -> Iterator[FoundCondition]:
    """Yield that the audit's chain does not go on. Who keeps the task that seals from it doesn't keep this one."""
    if since := find_unsealed_since():
        yield FoundCondition("audit", process_sentences.AUDIT_NOT_SEALED(ago=since))


def _find_workers_gone() -> Iterator[FoundCondition]:
    seen = Worker.objects.last_seen_at()
    if seen and timezone.now() - seen > GONE_AFTER:
        yield FoundCondition("workers", process_sentences.WORKERS_ARE_GONE(ago=seen))


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
        Notice.objects.record(NoticeEvent.WORKERS_GONE, facts, key=key, is_over=True)


def _find_settings_differ() -> Iterator[FoundCondition]:
    """Yield that secrets are not as the settings say, by the newest look at each."""
    if number := Client.objects.filter(client_has_settings_drift()).count():
        yield FoundCondition("settings", setting_sentences.SECRETS_NOT_AS_SET(n=number))


def _find_audit_broken() -> Iterator[FoundCondition]:
    verified = verify_audit()
    if verified.is_sound:
        return
    number = verified.faults.total()
    logger.error("The audit does not hold: %s faults. Run verify_audit", number)
    facts = sentences.AUDIT_DOES_NOT_HOLD(n=number)
    if verified.foreign and not number:
        facts = sentences.AUDIT_KEY_NOT_SET(keys=tuple(verified.foreign))
    yield FoundCondition("audit", facts)


def _find_mismatches() -> Iterable[str]:
    """Return the fields that differ."""
    rows = OpenMismatch.objects.order_by().values_list("client_id", "pk")
    return (f"{client_id}:{pk}" for client_id, pk in rows.iterator())


def _find_rotations(outcome: RotationOutcome) -> Iterable[str]:
    """Return the rotations that ended so, where no later one of the same login has ended."""
    rows = Rotation.objects.newest_of_login(outcome).values_list("client_id", "pk")
    return (f"{client_id}:{pk}" for client_id, pk in rows)


def _find_overdue() -> Iterable[str]:
    """Return the days that have passed on which a client's password was to be rotated."""
    days, today = RotationSchedule.objects.find_next_days(), rotation_schedules.today()
    return (f"{client_id}:{due}" for client_id, due in days.items() if due < today)


def _find_copies() -> Iterable[str]:
    """Return the columns in which the newest search of a client found copies of its secret values."""
    newest = SearchedClient.objects.newest_of_each_client().values("pk")
    with_copies = SearchedClient.objects.filter(pk__in=newest, rows_found__gt=0)
    of_newest = Exists(
        with_copies.filter(search=OuterRef("search"), client_id=OuterRef("client_id"))
    )
    rows = FoundCopy.objects.filter(of_newest).order_by()
    places = rows.values_list("client_id", "table", "column")
    return (f"{client_id}:{table}.{column}"[:100] for client_id, table, column in places)


CLIENT_CONDITIONS = (
    ClientCondition(
        "mismatch",
        NoticeEvent.MISMATCH,
        _find_mismatches,
        sentences.MISMATCHES_OPENED,
    ),
    ClientCondition(
        "rotation_stopped",
        NoticeEvent.ROTATION_FAILED,
        partial(_find_rotations, RotationOutcome.STOPPED),
        sentences.ROTATIONS_STOPPED,
    ),
    ClientCondition(
        "rotation_refused",
        NoticeEvent.ROTATION_FAILED,
        partial(_find_rotations, RotationOutcome.REFUSED),
        sentences.ROTATIONS_REFUSED,
    ),
    ClientCondition(
        "rotation_overdue",
        NoticeEvent.ROTATION_OVERDUE,
        _find_overdue,
        sentences.ROTATIONS_OVERDUE,
    ),
    ClientCondition(
        "copies_found",
        NoticeEvent.COPIES_FOUND,
        _find_copies,
        sentences.SEARCH_FOUND_COPIES,
    ),
)
