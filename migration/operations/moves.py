"""Moves: one client, one step, under its lock. Forward through a gate; back without one, and never to older values.

A move takes place in one transaction: whatever ends it before leaves the client where it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from credentials.copying import copy_document, is_purged, named, put_pointers
from credentials.counting import CountingGap
from credentials.models import Client, ClientRevision, RowsBusyError
from credentials.refusals import RefusedByDatabaseError, database_refusals
from credentials.triggers import writes_are_counted
from migration import sentences
from migration.models import (
    PUSHED,
    ClientMigration,
    Comparison,
    MoveRequest,
    Secret,
    check_reason,
)
from migration.operations.comparisons import comparison_of, read_secrets
from migration.operations.deletions import schedule_deletion_of
from migration.operations.gates import Check, ShutGate, needs_approval, require_open
from migration.operations.keys import version_keys
from migration.operations.pushes import keep_replaced, push
from migration.operations.stores import (
    AwsCopy,
    Rows,
    locked,
    locked_client,
    locked_rows,
    read_aws,
    read_rows,
    secret_names_by_type,
    secrets_manager,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.comparison import are_equal
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, in_a_row
from nova_credentials.phases import Phase, StalePhase, check_move

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

LOCK_WAIT_SECONDS = 5.0
# What keeps a store from being read or written, in words without a value.
REFUSALS = (SecretsManagerError, DocumentError, RowsBusyError, RefusedByDatabaseError)
# A document that a rollback replaces is kept in AWS under this stage.
REPLACED_STAGE = "NOVA_REPLACED"


@dataclass(frozen=True)
class Moved:
    """A move that took place, and what is to be said of it."""

    slug: str
    old: Phase
    new: Phase
    message: Message | None = None


@dataclass(frozen=True)
class Request:
    """Who wants a client moved, where, and why."""

    rows: Rows
    new: Phase
    by: User | None
    reason: str
    note: Message | None
    schedule_deletion: bool
    approves: MoveRequest | None

    def shut(self, *reasons: Message) -> ShutGate:
        return ShutGate(self.rows.slug, self.new, [Check(why.key, False, why) for why in reasons])

    def take_place(self, note: Message | None = None) -> None:
        """Changes the phase, unless somebody else did; within the transaction that made it right."""
        rows = self.rows
        moved = ClientMigration.objects.move(
            [rows.client_id],
            rows.phase,
            self.new,
            by=self.by,
            reason=self.reason,
            note=in_a_row(self.note, note),
        )
        if not moved:
            stands = ClientMigration.objects.get(pk=rows.client_id)
            raise StalePhase(rows.slug, rows.phase, Phase(stands.phase))
        self._settle()

    def _settle(self) -> None:
        """What was asked for is done with the move, or fails by it; cancelled meanwhile, there is no move."""
        asked = MoveRequest.objects.filter(client_id=self.rows.client_id)
        if self.approves:
            this = asked.filter(pk=self.approves.pk)
            if not this.settle(MoveRequest.State.DONE, by=self.by):
                raise self.shut(sentences.NOTHING_ASKED_FOR())
        elsewhere = sentences.MOVED_MEANWHILE(phase=self.new.label)
        asked.settle(MoveRequest.State.FAILED, by=self.by, reasons=[elsewhere])


def move(
    *,
    client_id: int,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    note: Message | None = None,
    seen: Phase | None = None,
    schedule_deletion: bool = False,
    approves: MoveRequest | None = None,
) -> Moved:
    """Moves one client one step; `seen` is the phase in which whoever asks believes it to be.

    `schedule_deletion`: back in `postgres`, its secrets are to be deleted after the recovery window.
    `reason` is what somebody typed, `note` what is ours to say of the move.
    `approves` is the request that `by` approves with it.

    Raises `Client.DoesNotExist`, `IllegalMove`, `StalePhase`, `ReasonError`, or `ShutGate` with all that is in the way.
    """
    check_reason(reason)
    with locked([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        rows = read_rows([client_id]).get(client_id)
        if rows is None:
            raise Client.DoesNotExist
        if seen is not None and seen != rows.phase:
            raise StalePhase(rows.slug, seen, rows.phase)
        kind = check_move(rows.slug, rows.phase, new)
        deletes = schedule_deletion and new == Phase.POSTGRES
        request = Request(rows, new, by, reason, note, deletes, approves)
        if needs_approval(kind) and approves is None:
            raise request.shut(sentences.NEEDS_APPROVAL())
        if not held:
            raise request.shut(sentences.MOVE_UNDER_WAY())
        try:
            message = WAYS[rows.phase, new](request)
        except REFUSALS as error:
            raise request.shut(error.message) from None
        if request.schedule_deletion:
            message = schedule_deletion_of(rows)
    return Moved(rows.slug, rows.phase, new, message)


@contextmanager
def rows_held(client_id: int) -> Iterator[Rows]:
    """A transaction in which nobody else can write the client's rows: what they hold now.

    Raises `RowsBusyError` where NOVA doesn't let go of them, `RefusedByDatabaseError` and `Client.DoesNotExist`.
    """
    with database_refusals(), transaction.atomic(durable=True):
        if Client.objects.revision_for_update(client_id) is None:
            raise Client.DoesNotExist
        yield locked_rows(client_id)


@contextmanager
def _rows_unchanged(request: Request) -> Iterator[Rows]:
    """The rows, held, as they were when the move began to look at them."""
    with rows_held(request.rows.client_id) as now:
        if not now.as_before(request.rows):
            raise request.shut(sentences.NOVA_WROTE())
        yield now


def _start_dual_write(request: Request) -> Message | None:
    rows = request.rows
    (pushed,) = push(client_ids=[rows.client_id], someone_waits=True)
    if pushed.outcome not in PUSHED:
        raise request.shut(pushed.why)
    with transaction.atomic():
        request.take_place()
    return pushed.message


def _cut_over(request: Request) -> Message:
    _agreed(request)
    return sentences.READS_AWS()


def _agreed(request: Request) -> None:
    """Moves where the gate is open and both stores hold the same at the moment of the move."""
    rows = request.rows
    require_open(rows, request.new)
    _require_match(request)
    with _rows_unchanged(request):
        request.take_place()


def _require_match(request: Request) -> None:
    rows = request.rows
    found = read_secrets([rows], sm=secrets_manager(someone_waits=True))
    comparison = comparison_of(rows, found, run=None)
    Comparison.objects.record([comparison])
    if comparison.status != Comparison.Status.MATCH:
        result = comparison.message or comparison.result
        raise request.shut(sentences.COMPARED_JUST_NOW(result=result))


def _step_back(request: Request) -> None:
    """PostgreSQL has every confirmed write: it has been the authority all along."""
    with transaction.atomic():
        if request.schedule_deletion:
            # Whoever takes it to dual write again finds a push pending, which takes the secrets back.
            ClientRevision.objects.filter(pk=request.rows.client_id).update(pushed_revision=None)
        request.take_place(sentences.TO_BE_DELETED() if request.schedule_deletion else None)


def _roll_back(request: Request) -> Message | None:
    """To dual read, with what AWS holds in PostgreSQL; where AWS can't be read, with PostgreSQL's warm copy."""
    rows = request.rows
    try:
        found = read_aws(rows, sm=secrets_manager(someone_waits=True))
    except (SecretsManagerError, DocumentError) as error:
        return _back_to_dual_read(request, sentences.AWS_UNREAD(error=error.message))
    if are_equal(rows.document, found.document):
        return _back_to_dual_read(request)
    keys = version_keys()
    ours = all(keys.is_ours(*version) for version in found.versions.items())
    if rows.push_pending and ours:
        return _back_to_dual_read(request, sentences.NEWER_IN_POSTGRES())
    try:
        return _bring_back(request, found)
    except RefusedByDatabaseError as error:
        return _back_to_dual_read(request, sentences.NOT_COPIED(error=error.message))


def _back_to_dual_read(request: Request, note: Message | None = None) -> Message | None:
    with transaction.atomic():
        request.take_place(note)
    return note


def _bring_back(request: Request, found: AwsCopy) -> Message | None:
    uncounted = written_uncounted(request.rows.client_id)
    try:
        keep_in_aws(request.rows, uncounted=uncounted)
    except SecretsManagerError as error:
        raise request.shut(sentences.REPLACED_NOT_KEPT(error=error.message)) from None
    with _rows_unchanged(request) as now:
        lacking = copy_to_rows(now, found)
        alone = sentences.ONLY_IN_POSTGRES(rows=tuple(lacking)) if lacking else None
        kept = sentences.KEPT_AS_UNCOUNTED() if uncounted else None
        note = in_a_row(sentences.COPIED_TO_POSTGRES(), alone, kept)
        request.take_place(note)
    return note


def written_uncounted(client_id: int) -> bool:
    """Say whether NOVA may have written its rows, since it came to its phase, in a way that nobody counted."""
    stands = ClientMigration.objects.filter(pk=client_id).first()
    since = stands.phase_changed_at if stands else None
    return not writes_are_counted() or CountingGap.objects.since(since).exists()


def keep_in_aws(rows: Rows, *, uncounted: bool) -> None:
    """Keep rows that AWS may never have had there, before they are replaced, under a stage that nobody else reads."""
    if rows.push_pending or uncounted:
        keep_replaced(rows, stage=REPLACED_STAGE)


def copy_to_rows(rows: Rows, found: AwsCopy) -> list[Message]:
    """Makes the rows hold AWS's document, within a transaction that holds them; answers with what AWS lacks."""
    lacking = copy_document(locked_client(rows.client_id), found.document)
    _record_as_pushed(rows.client_id, found)
    return lacking


def _record_as_pushed(client_id: int, found: AwsCopy) -> None:
    """Where the rows now hold what AWS holds, nothing is to be pushed."""
    now = locked_rows(client_id)
    if are_equal(now.document, found.document):
        Secret.objects.record(found.secrets(client_id))
        ClientRevision.objects.record_pushed([(client_id, now.revision)])


def _purge(request: Request) -> Message:
    rows = request.rows
    require_open(rows, Phase.PURGED)
    found = read_aws(rows, sm=secrets_manager(someone_waits=True))
    with _rows_unchanged(request) as now:
        if not are_equal(now.document, found.document):
            raise request.shut(sentences.STORES_DIFFER())
        put_pointers(locked_client(rows.client_id), secret_names_by_type(rows))
        ClientRevision.objects.record_pushed(
            [(rows.client_id, locked_rows(rows.client_id).revision)]
        )
        request.take_place()
    return sentences.ONLY_IN_AWS()


def _restore(request: Request) -> Message:
    rows = request.rows
    found = read_aws(rows, sm=secrets_manager(someone_waits=True))
    with _rows_unchanged(request):
        # What NOVA wrote since the purge, whole rows or a host alone, is what AWS lacks: it stays, and is pushed.
        client = locked_client(rows.client_id)
        kept = [row for of_kind in client.rows().values() for row in of_kind if not is_purged(row)]
        pending = rows.push_pending or written_uncounted(rows.client_id)
        copy_document(client, found.document, wanted=is_purged, secrets_alone=pending)
        left = [
            named(row)
            for of_kind in locked_client(rows.client_id).rows().values()
            for row in of_kind
            if is_purged(row)
        ]
        if left:
            raise request.shut(sentences.NO_VALUE_IN_AWS(rows=tuple(left)))
        _record_as_pushed(rows.client_id, found)
        request.take_place()
    if kept or pending:
        return sentences.RESTORED_ALL_BUT_NEWER()
    return sentences.RESTORED()


WAYS: dict[tuple[Phase, Phase], Callable[[Request], Message | None]] = {
    (Phase.POSTGRES, Phase.DUAL_WRITE): _start_dual_write,
    (Phase.DUAL_WRITE, Phase.DUAL_READ): _agreed,
    (Phase.DUAL_READ, Phase.AWS): _cut_over,
    (Phase.AWS, Phase.PURGED): _purge,
    (Phase.PURGED, Phase.AWS): _restore,
    (Phase.AWS, Phase.DUAL_READ): _roll_back,
    (Phase.DUAL_READ, Phase.DUAL_WRITE): _step_back,
    (Phase.DUAL_WRITE, Phase.POSTGRES): _step_back,
}
