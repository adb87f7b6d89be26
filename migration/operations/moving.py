"""Moves: one client, one step, under its lock. Forward through a gate; back without one, and never to older values.

A move takes place in one transaction: whatever ends it before leaves the client where it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from credentials.copying import (
    RefusedByDatabaseError,
    copy_document,
    is_purged,
    named,
    put_pointers,
)
from credentials.counting import CountingGap
from credentials.models import Client, ClientRevision, RowsBusyError
from credentials.told import in_english
from credentials.triggers import writes_are_counted
from migration.models import PUSHED, ClientMigration, Comparison, MoveRequest, Secret
from migration.operations.comparing import comparison_of, same
from migration.operations.deleting import schedule_deletion_of
from migration.operations.gates import ShutGate, needs_approval, require_open
from migration.operations.pushing import keep_replaced, push
from migration.operations.stores import (
    AwsCopy,
    Rows,
    is_our_version,
    locked,
    locked_client,
    locked_rows,
    read_aws,
    read_rows,
    secret_names_by_kind,
    secrets_manager,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.messages import say as _
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
    message: str = ""


@dataclass(frozen=True)
class Request:
    """Who wants a client moved, where, and why."""

    rows: Rows
    new: Phase
    by: User | None
    reason: str
    schedule_deletion: bool
    approves: MoveRequest | None

    def shut(self, *reasons: str) -> ShutGate:
        return ShutGate(self.rows.slug, self.new, list(reasons))

    def take_place(self, note: str = "") -> None:
        """Changes the phase, unless somebody else did; within the transaction that made it right."""
        rows = self.rows
        reason = " ".join(filter(None, (self.reason, note)))
        moved = ClientMigration.objects.move(
            [rows.client_id], rows.phase, self.new, by=self.by, reason=reason
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
                raise self.shut(_("What was asked for is no longer open."))
        elsewhere = _("The client was moved to %(phase)s meanwhile.") % {"phase": self.new.label}
        asked.settle(MoveRequest.State.FAILED, by=self.by, reasons=[elsewhere])


def move(
    *,
    client_id: int,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    seen: Phase | None = None,
    schedule_deletion: bool = False,
    approves: MoveRequest | None = None,
) -> Moved:
    """Moves one client one step; `seen` is the phase in which whoever asks believes it to be.

    `schedule_deletion`: back in `postgres`, its secrets are to be deleted after the recovery window.
    `approves` is the request that `by` approves with it.

    Raises `Client.DoesNotExist`, `IllegalMove`, `StalePhase`, or `ShutGate` with everything that is in the way.
    """
    with locked([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        rows = read_rows([client_id]).get(client_id)
        if rows is None:
            raise Client.DoesNotExist
        if seen is not None and seen != rows.phase:
            raise StalePhase(rows.slug, seen, rows.phase)
        kind = check_move(rows.slug, rows.phase, new)
        deletes = schedule_deletion and new == Phase.POSTGRES
        request = Request(rows, new, by, reason, deletes, approves)
        if needs_approval(kind) and approves is None:
            raise request.shut(_("A second person has to approve it: ask for it first."))
        if not held:
            raise request.shut(_("A push or another move of it is under way."))
        try:
            message = WAYS[rows.phase, new](request)
        except REFUSALS as error:
            raise request.shut(str(error)) from None
        if request.schedule_deletion:
            message = schedule_deletion_of(rows)
    return Moved(rows.slug, rows.phase, new, message)


@contextmanager
def rows_held(client_id: int) -> Iterator[Rows]:
    """A transaction in which nobody else can write the client's rows: what they hold now.

    Raises `RowsBusyError` where NOVA doesn't let go of them, and `Client.DoesNotExist`.
    """
    with transaction.atomic(durable=True):
        if Client.objects.revision_for_update(client_id) is None:
            raise Client.DoesNotExist
        yield locked_rows(client_id)


@contextmanager
def _rows_unchanged(request: Request) -> Iterator[Rows]:
    """The rows, held, as they were when the move began to look at them."""
    with rows_held(request.rows.client_id) as now:
        if not now.as_before(request.rows):
            raise request.shut(_("NOVA wrote its rows just now; try again."))
        yield now


def _start_dual_write(request: Request) -> str:
    rows = request.rows
    (pushed,) = push(client_ids=[rows.client_id], someone_waits=True)
    if pushed.outcome not in PUSHED:
        raise request.shut(pushed.message)
    with transaction.atomic():
        request.take_place()
    return pushed.message


def _cut_over(request: Request) -> str:
    _agreed(request)
    return _("From now NOVA reads it from AWS. PostgreSQL is kept warm.")


def _agreed(request: Request) -> str:
    """Moves where the gate is open and both stores hold the same at the moment of the move."""
    rows = request.rows
    require_open(rows, request.new)
    _require_match(request)
    with _rows_unchanged(request):
        request.take_place()
    return ""


def _require_match(request: Request) -> None:
    rows = request.rows
    found = secrets_manager(someone_waits=True).batch_get(rows.names.values())
    comparison = comparison_of(rows, found, run=None)
    Comparison.objects.record([comparison])
    if comparison.status != Comparison.Status.MATCH:
        result = comparison.message or in_english(comparison.get_status_display)
        raise request.shut(_("Compared just now: %(result)s") % {"result": result})


def _step_back(request: Request) -> str:
    """PostgreSQL has every confirmed write: it has been the authority all along."""
    with transaction.atomic():
        if request.schedule_deletion:
            # Whoever takes it to dual write again finds a push pending, which takes the secrets back.
            ClientRevision.objects.filter(pk=request.rows.client_id).update(pushed_revision=None)
        request.take_place(_("Its secret is to be deleted.") if request.schedule_deletion else "")
    return ""


def _roll_back(request: Request) -> str:
    """To dual read, with what AWS holds in PostgreSQL; where AWS can't be read, with PostgreSQL's warm copy."""
    rows = request.rows
    try:
        found = read_aws(rows, sm=secrets_manager(someone_waits=True))
    except (SecretsManagerError, DocumentError) as error:
        note = _("AWS could not be read, so PostgreSQL's copy is unchecked: %(error)s")
        return _back_to_dual_read(request, note % {"error": error})
    if same(rows.document, found.document):
        return _back_to_dual_read(request)
    ours = all(is_our_version(*version) for version in found.versions.items())
    if rows.push_pending and ours:
        return _back_to_dual_read(
            request, _("PostgreSQL holds a newer write, which is pushed next.")
        )
    try:
        return _bring_back(request, found)
    except RefusedByDatabaseError as error:
        note = _("PostgreSQL can't hold what AWS holds, and keeps its own copy: %(error)s")
        return _back_to_dual_read(request, note % {"error": error})


def _back_to_dual_read(request: Request, note: str = "") -> str:
    with transaction.atomic():
        request.take_place(note)
    return note


def _bring_back(request: Request, found: AwsCopy) -> str:
    uncounted = written_uncounted(request.rows.client_id)
    try:
        keep_in_aws(request.rows, uncounted=uncounted)
    except SecretsManagerError as error:
        note = _(
            "PostgreSQL and AWS were both changed, and PostgreSQL's values can't be kept: %(error)s"
        )
        raise request.shut(note % {"error": error}) from None
    with _rows_unchanged(request) as now:
        lacking = copy_to_rows(now, found)
        note = _("AWS was changed directly: its values were copied to PostgreSQL.")
        alone = _("PostgreSQL alone has %(rows)s; left as it was.") % {"rows": ", ".join(lacking)}
        note += f" {alone}" if lacking else ""
        if uncounted:
            note += " " + _(
                "NOVA's writes were not counted all the time: what PostgreSQL held is kept in AWS under NOVA_REPLACED."
            )
        request.take_place(note)
    return note


def written_uncounted(client_id: int) -> bool:
    """Say whether NOVA may have written its rows, since it came to its phase, in a way that nobody counted."""
    stands = ClientMigration.objects.filter(pk=client_id).first()
    since = stands.phase_changed_at if stands else None
    return not writes_are_counted() or CountingGap.objects.since(since).exists()


def keep_in_aws(rows: Rows, *, uncounted: bool) -> None:
    """Keep rows that AWS may never have had there, before they are replaced, under a stage that nobody else reads."""
    if (rows.push_pending or uncounted) and rows.document is not None:
        keep_replaced(rows, stage=REPLACED_STAGE)


def copy_to_rows(rows: Rows, found: AwsCopy) -> list[str]:
    """Makes the rows hold AWS's document, within a transaction that holds them; answers with what AWS lacks."""
    lacking = copy_document(locked_client(rows.client_id), found.document)
    _record_as_pushed(rows.client_id, found)
    return lacking


def _record_as_pushed(client_id: int, found: AwsCopy) -> None:
    """Where the rows now hold what AWS holds, nothing is to be pushed."""
    now = locked_rows(client_id)
    if same(now.document, found.document):
        Secret.objects.record(found.secrets(client_id))
        ClientRevision.objects.record_pushed([(client_id, now.revision)])


def _purge(request: Request) -> str:
    rows = request.rows
    require_open(rows, Phase.PURGED)
    found = read_aws(rows, sm=secrets_manager(someone_waits=True))
    with _rows_unchanged(request) as now:
        if not same(now.document, found.document):
            raise request.shut(_("Read just now, the two stores differ."))
        put_pointers(locked_client(rows.client_id), secret_names_by_kind(rows))
        ClientRevision.objects.record_pushed(
            [(rows.client_id, locked_rows(rows.client_id).revision)]
        )
        request.take_place()
    return _("AWS alone holds its secret values.")


def _restore(request: Request) -> str:
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
            raise request.shut(_("AWS holds no value for %(rows)s.") % {"rows": ", ".join(left)})
        _record_as_pushed(rows.client_id, found)
        request.take_place()
    if kept or pending:
        return _("What NOVA wrote since the purge was kept, and is pushed next.")
    return _("PostgreSQL holds its secret values again.")


WAYS: dict[tuple[Phase, Phase], Callable[[Request], str]] = {
    (Phase.POSTGRES, Phase.DUAL_WRITE): _start_dual_write,
    (Phase.DUAL_WRITE, Phase.DUAL_READ): _agreed,
    (Phase.DUAL_READ, Phase.AWS): _cut_over,
    (Phase.AWS, Phase.PURGED): _purge,
    (Phase.PURGED, Phase.AWS): _restore,
    (Phase.AWS, Phase.DUAL_READ): _roll_back,
    (Phase.DUAL_READ, Phase.DUAL_WRITE): _step_back,
    (Phase.DUAL_WRITE, Phase.POSTGRES): _step_back,
}
