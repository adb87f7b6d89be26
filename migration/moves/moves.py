"""Moves clients by one step, under their leases: one of a page, or a batch of a run, by the same steps.

Forward through a gate; back without one, and never to older values. A phase changes in one transaction: whatever fails
before it leaves its client where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.db import transaction

from credentials.models import Client, ClientRevision, ColumnUse
from credentials.nova_columns import NovaSchemaError, read_nova_columns
from credentials.pointers import replace_secrets_by_pointers
from credentials.refusals import RefusedByDatabaseError
from migration.core.audit import REFUSAL_EVENT, require_storable_reason
from migration.core.aws_store import (
    AwsCopy,
    list_versions_since_backup,
    make_aws_copy,
    read_aws,
    secret_names_by_type,
    secrets_manager,
)
from migration.core.aws_writes import explain_differences_after_reading
from migration.core.clients import ClientMigration, PlannedChange
from migration.core.comparisons import Comparison
from migration.core.keys import load_version_keys
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.refused_acts import record_refusal
from migration.core.sentences import IS_OFFBOARDED, NOVA_WROTE
from migration.core.shared_facts import FACTS, PLACE
from migration.core.snapshots import (
    ClientSnapshot,
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.moves.account import KmsAnswers
from migration.moves.gates import (
    Override,
    ShutGate,
    ask_account,
    needs_approval,
    require_aws_writes_allowed,
    require_open,
)
from migration.moves.rules import Ask, Check, check_aws_writes, judge_gates
from migration.pushes.comparisons import (
    compare_with_document,
    make_unsaved_comparison,
    make_unsaved_match,
    read_secrets,
)
from migration.pushes.known_values import note_values_before_purge
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import (
    STORE_ERRORS,
    back_up_rows_to_aws,
    copy_aws_to_rows,
    hold_rows,
    hold_rows_if_all_free,
    may_have_uncounted_writes,
    record_as_pushed_if_equal,
    restore_purged_rows,
)
from migration.pushes.secret_writer import RefusedBySiteError
from migration.runs.items import PUSHED
from migration.runs.models import Run, StaleRunError
from migration.secrets.deletions import schedule_secret_deletion
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.client_secrets import join_answers
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
)
from nova_credentials.comparison import are_equal
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import MOVES, Phase, StalePhase, check_move

LOCK_WAIT_SECONDS = 5.0
# Lock the rows of no more clients at once, so that NOVA's writers wait for some milliseconds only.
LOCKED_AT_ONCE = 20
# No client is pushed later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0

OVERRIDDEN = Sentence("overridden", "Missing evidence was overridden: %(lines)s")


@dataclass(frozen=True)
class MoveResult:
    """A move that was made, and the message about it."""

    slug: str
    old: Phase
    new: Phase
    message: Message | None = None
    overridden: tuple[Check, ...] = ()

    @property
    def message_about_overridden(self) -> Message | None:
        """Name the evidence that was overridden; None where none was."""
        lines = tuple(check.text for check in self.overridden)
        return OVERRIDDEN(lines=lines) if lines else None

    @property
    def message_with_overridden(self) -> Message | None:
        """Return the message, with the evidence that was overridden."""
        return in_a_row(self.message, self.message_about_overridden)


@dataclass(frozen=True)
class MoveOrder:
    """Says what is asked for of each client of a batch: from which phase to which, by whom and why."""

    old: Phase
    new: Phase
    by: User | None = None
    reason: str = ""  # the text that the user typed
    note: Message | None = None  # this site's own message about the move
    # Back in `postgres`, the secrets are to be deleted after the recovery window.
    schedule_deletion: bool = False
    # Nobody looks on: no store is preferred, and a client that differs is left.
    only_where_equal: bool = False
    override: Override | None = None
    # Client id -> the kinds of evidence that its plan saw it lack; None where nothing was planned.
    overridden: Mapping[int, frozenset[str]] | None = None
    # The requested run of one client that `by` approves with its move.
    approves: Run | None = None
    # The run of which the moves are a part: nobody waits for them.
    run: Run | None = None
    # Remembers what AWS said of the account's rights, also for the other clients of the run.
    answers: KmsAnswers = field(default_factory=KmsAnswers, repr=False)

    @property
    def sm(self) -> SecretsManager:
        """Return the client of Secrets Manager: somebody waits for the move of a page, and nobody for a run's."""
        return secrets_manager(interactive=self.run is None)

    def find_override(self, client_id: int) -> Override | None:
        """Return the override of one client: of the evidence that its plan, where there is one, saw it lack."""
        if self.override is None or self.overridden is None:
            return self.override
        return self.override.narrow(self.overridden.get(client_id, frozenset()))


LINE_OVERRIDDEN = Sentence("line_overridden", "Overridden: %(line)s")
COMPARED_JUST_NOW = Sentence("compared_just_now", "Compared just now: %(result)s")


@dataclass(frozen=True)
class MoveAttempt:
    """Holds one client of a batch, as it was read, and what its gate said of it."""

    order: MoveOrder
    snapshot: ClientSnapshot
    # Both by `require_open_gate`.
    overridden: list[Check] = field(default_factory=list)
    gate: list[Message] = field(default_factory=list)

    @property
    def client_id(self) -> int:
        return self.snapshot.client_id

    def require_open_gate(self, checks: list[Check]) -> None:
        """Raise `ShutGate` unless each of these checks passes or is overridden."""
        order, override = self.order, self.order.find_override(self.client_id)
        self.overridden[:] = require_open(self.snapshot, order.new, checks, override=override)
        self.gate[:] = [
            LINE_OVERRIDDEN(line=check.text) if check in self.overridden else check.text
            for check in checks
        ]

    def make_shut_gate(self, *reasons: Message, error_class: str = "") -> ShutGate:
        """Make the error that refuses the move for these reasons; `error_class`: the class of the store's error."""
        shut = [Check(why.codes[0], False, why, error_class=error_class) for why in reasons]
        return ShutGate(self.snapshot.slug, self.order.new, shut)

    def plan_change(self, note: Message | None) -> PlannedChange:
        """Return what is stored with the move: its note followed by `note`, the overridden checks, and the gate."""
        overridden = tuple(check.text for check in self.overridden)
        return PlannedChange(in_a_row(self.order.note, note), overridden, tuple(self.gate))

    def is_unchanged(self, now: ClientSnapshot | None) -> bool:
        """Say whether nobody wrote the client's rows since they were read. `now`: as they are, locked."""
        return now is not None and now.has_same_rows_as(self.snapshot)


# Why a client was not moved.
Refusal = ShutGate | StalePhase | Client.DoesNotExist
# Client id -> what is said of it.
Told = Mapping[int, Message | None]

NOTHING_ASKED_FOR = Sentence("nothing_asked_for", "The request is no longer open.")
MOVED_MEANWHILE = Sentence("moved_meanwhile", "The client was moved to %(phase)s meanwhile.")


class MoveBatch:
    """Moves clients together, judges each by itself, and notes what has become of each.

    A batch of a run waits for nobody: whatever is no plain case is `left`, to be moved alone. A batch of one client
    alone waits for NOVA's writers, and copies rows.
    """

    def __init__(
        self, order: MoveOrder, snapshots: Collection[ClientSnapshot], *, is_alone: bool
    ) -> None:
        self.order, self.is_alone = order, is_alone
        self.attempts = {each.client_id: MoveAttempt(order, each) for each in snapshots}
        self.moved: dict[int, MoveResult] = {}
        self.refused: dict[int, Refusal] = {}
        self.left: list[int] = []
        # A run comes back to these: there was no time left to push them.
        self.postponed: list[int] = []
        self.comparisons: dict[int, Comparison] = {}

    def list_open(self) -> list[MoveAttempt]:
        """Return the attempts of which nothing has become yet."""
        settled = {*self.moved, *self.refused, *self.left, *self.postponed}
        return [attempt for pk, attempt in self.attempts.items() if pk not in settled]

    def refuse(self, attempt: MoveAttempt, *reasons: Message, error_class: str = "") -> None:
        """Refuse to move the client, for these reasons."""
        refusal = attempt.make_shut_gate(*reasons, error_class=error_class)
        self.refused[attempt.client_id] = refusal

    def refuse_all_where(self, *reasons: Message | None) -> None:
        """Refuse every client that is open for these reasons, if there are some."""
        if told := [why for why in reasons if why]:
            for attempt in self.list_open():
                self.refuse(attempt, *told)

    def leave(self, attempts: Iterable[MoveAttempt]) -> None:
        """Leave these clients to be moved alone."""
        self.left += [attempt.client_id for attempt in attempts]

    def commit(self, attempts: Sequence[MoveAttempt], notes: Told | None = None) -> set[int]:
        """Change the phases, within the caller's transaction; return the ids of the clients that were moved.

        `notes` are stored with the moves. Raises `LeaseLostError`; of a client alone also `StalePhase`, or `ShutGate`
        where the request that its move approves is gone.
        """
        if not attempts:
            return set()
        refuse_lost_client_locks()
        order = self.order
        moved = ClientMigration.objects.change_phases(
            {
                each.client_id: each.plan_change((notes or {}).get(each.client_id))
                for each in attempts
            },
            order.old,
            order.new,
            by=order.by,
            reason=order.reason,
            run=order.run or order.approves,
            override_reason=order.override.reason if order.override else "",
        )
        if self.is_alone and not moved:
            (attempt,) = attempts
            present = ClientMigration.objects.get(pk=attempt.client_id).phase
            raise StalePhase(attempt.snapshot.slug, order.old, Phase(present))
        if order.approves and order.by:
            try:
                order.approves.approve(by=order.by, is_done=True)
            except StaleRunError:  # it was cancelled meanwhile
                raise attempts[0].make_shut_gate(NOTHING_ASKED_FOR()) from None
        # Whatever else was requested for the clients can't be done any more.
        why = MOVED_MEANWHILE(phase=order.new.label)
        Run.objects.close_requests(moved, why, by=order.by, now_in=order.new)
        return moved

    def settle(
        self, attempts: Iterable[MoveAttempt], moved: Collection[int], told: Told | None = None
    ) -> None:
        """Note which of these clients were moved, and what is said of each; the others are left."""
        for attempt in attempts:
            pk = attempt.client_id
            if pk not in moved:
                self.leave([attempt])
                continue
            self.moved[pk] = MoveResult(
                attempt.snapshot.slug,
                self.order.old,
                self.order.new,
                (told or {}).get(pk),
                tuple(attempt.overridden),
            )

    def move_unheld(
        self,
        attempts: Sequence[MoveAttempt],
        told: Told | None = None,
        *,
        notes: Told | None = None,
    ) -> None:
        """Move these clients in one transaction, whatever NOVA writes meanwhile."""
        with transaction.atomic():
            moved = self.commit(attempts, notes)
        self.settle(attempts, moved, told)

    def move_while_unchanged(
        self, attempts: Sequence[MoveAttempt], told: Told | None = None
    ) -> None:
        """Move the clients whose rows nobody has written since they were read, while these are locked.

        Of several locked at once, none is moved where NOVA holds one's rows.
        """
        for start in range(0, len(attempts), LOCKED_AT_ONCE):
            some = attempts[start : start + LOCKED_AT_ONCE]
            self.settle(some, self._commit_unchanged(some), told)

    def _commit_unchanged(self, attempts: Sequence[MoveAttempt]) -> set[int]:
        if self.is_alone:
            with hold_unchanged_rows(attempts[0]):
                return self.commit(attempts)
        try:
            with hold_rows_if_all_free([each.client_id for each in attempts]) as now:
                return self.commit([e for e in attempts if e.is_unchanged(now.get(e.client_id))])
        except RefusedByDatabaseError:
            return set()


NEEDS_APPROVAL = Sentence(
    "needs_approval", "A second person has to approve this move: request it first."
)
MOVE_UNDER_WAY = Sentence(
    "move_under_way", "A push or another move of this client is in progress. Try again."
)


def move(
    *,
    client_id: int,
    new: Phase,
    by: User | None = None,
    reason: str = "",
    note: Message | None = None,
    seen: Phase | None = None,
    schedule_deletion: bool = False,
    approves: Run | None = None,
    override: Override | None = None,
) -> MoveResult:
    """Move one client by one step, while somebody waits; the parameters are those of `MoveOrder`.

    `seen` is the phase that the user saw: in another one nothing is moved. `override` lets missing evidence pass, and
    is recorded where it does.

    Returns the move, with the missing evidence that was let pass. Raises `Client.DoesNotExist`, `IllegalMove`,
    `StalePhase`, `ReasonError`, or `ShutGate` with every failing check.
    """
    require_storable_reason(reason)
    if override:
        require_storable_reason(override.reason)
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        try:
            snapshot = read_snapshot(client_id, seen=seen)
        except NovaSchemaError as error:
            raise make_gate_shut_by_schema(f"{client_id}", new, error) from None
        check_move(snapshot.slug, snapshot.phase, new)
        order = MoveOrder(
            snapshot.phase,
            new,
            by=by,
            reason=reason,
            note=note,
            schedule_deletion=schedule_deletion,
            approves=approves,
            override=override,
            answers=KmsAnswers(tries_each_secret=True),
        )
        batch = MoveBatch(order, [snapshot], is_alone=True)
        move_batch(batch, held)
        if refusal := batch.refused.get(client_id):
            _record_refused_move(batch.attempts[client_id], refusal)
            raise refusal
    return batch.moved[client_id]


def make_gate_shut_by_schema(slug: str, new: Phase, error: NovaSchemaError) -> ShutGate:
    """Make the error that refuses a move where NOVA's tables lack what the client's rows are read by."""
    return ShutGate(slug, new, [Check(why.key, False, why) for why in error.message.parts])


def move_batch(batch: MoveBatch, held: Collection[int]) -> None:
    """Move the clients of the batch; `held` are those whose leases the caller holds, until this ends.

    Raises what no client can be refused for.
    """
    order = batch.order
    approved = order.approves or (order.run and order.run.approved_by_name)
    for attempt in batch.list_open():
        if needs_approval(MOVES[order.old, order.new]) and not approved:
            batch.refuse(attempt, NEEDS_APPROVAL())
        elif attempt.client_id not in held:
            # Whatever its phase: an earlier try may have moved it, which is looked up under the lease.
            batch.refuse(attempt, MOVE_UNDER_WAY())
        elif attempt.snapshot.phase != order.old:
            stale = StalePhase(attempt.snapshot.slug, order.old, attempt.snapshot.phase)
            batch.refused[attempt.client_id] = stale
        elif attempt.snapshot.is_leaving_or_left:
            batch.refuse(attempt, IS_OFFBOARDED(slug=attempt.snapshot.slug))
    opened = batch.list_open()
    if not opened:
        return
    try:
        STEPS[order.old, order.new](batch)
    except (ShutGate, StalePhase, Client.DoesNotExist) as refusal:
        if not batch.is_alone:
            raise
        batch.refused[opened[0].client_id] = refusal
    except STORE_ERRORS as error:
        if not batch.is_alone:
            raise
        batch.refuse(opened[0], error.message, error_class=getattr(error, "error_class", ""))


@contextmanager
def hold_unchanged_rows(attempt: MoveAttempt) -> Iterator[ClientSnapshot]:
    """Lock the client's rows; raises `ShutGate` where NOVA wrote them since they were read."""
    with hold_rows(attempt.client_id) as now:
        if not attempt.is_unchanged(now):
            raise attempt.make_shut_gate(NOVA_WROTE())
        yield now


def start_dual_write(batch: MoveBatch) -> None:
    """Push the clients, and move those that were read back equal."""
    batch.refuse_all_where(*(check.text for check in check_aws_writes() if not check.passed))
    opened, run = {each.client_id: each for each in batch.list_open()}, batch.order.run
    if not opened:
        return
    results = push(
        client_ids=opened.keys(),
        run=run,
        # Who names one client means it, also an inactive one; no run takes it along.
        include_inactive=run is None,
        interactive=run is None,
        seconds=BATCH_SECONDS if run else None,
    )
    for pk in opened.keys() - {result.client_id for result in results}:
        batch.refused[pk] = Client.DoesNotExist()  # NOVA has just deleted it
    told: dict[int, Message | None] = {}
    for result in results:
        pk = result.client_id
        if result.comparison:
            batch.comparisons[pk] = result.comparison
        if result.postponed and run:  # a page does not come back to it
            batch.postponed.append(pk)
        elif result.outcome in PUSHED:
            told[pk] = result.message
        else:
            batch.refuse(opened[pk], result.summary_message, error_class=result.error_class)
    batch.move_unheld([opened[pk] for pk in told], told)


READS_AWS = Sentence(
    "reads_aws", "NOVA now reads it from AWS. PostgreSQL keeps receiving every write."
)


def move_where_equal(batch: MoveBatch) -> None:
    """Move the clients whose gate is open and whose stores are equal, while their rows stay as they were read."""
    order, snapshots = batch.order, [attempt.snapshot for attempt in batch.list_open()]
    found = read_secrets(snapshots, sm=order.sm)
    batch.refuse_all_where(explain_differences_after_reading(FACTS))
    if not batch.list_open():
        return
    order.answers.note_read(found)
    # The move to AWS wants the right to write: a page tries it with each secret, a run once a KMS key. Those of whom it
    # tries again alone it knows already.
    if order.new == Phase.AWS and not batch.is_alone:
        names = [name for each in snapshots for name in each.names.values()]
        order.answers.read_keys_of_secrets(names, sm=order.sm)
    # After AWS has answered, which may take long: the gates are judged as of now.
    compare_unchecked(batch, snapshots, found)
    refuse_where_gate_is_shut(batch)
    compare_and_refuse_differing(batch, found)
    message = READS_AWS() if order.new == Phase.AWS else None
    equal = batch.list_open()
    batch.move_while_unchanged(equal, {attempt.client_id: message for attempt in equal})


def compare_unchecked(
    batch: MoveBatch, snapshots: Sequence[ClientSnapshot], found: Answers
) -> None:
    """Store a new comparison of each client whose newest is unchecked.

    It was an earlier try of this run, or a sweep at a moment in which AWS failed, and says nothing about the client; it
    would keep the gate shut until the next sweep.
    """
    rows = ClientMigration.objects.filter(pk__in=[each.client_id for each in snapshots])
    unchecked = rows.filter(comparison_status=Comparison.Status.UNCHECKED)
    ids, run = set(unchecked.values_list("pk", flat=True)), batch.order.run
    again = [each for each in snapshots if each.client_id in ids]
    if again:
        Comparison.objects.record([make_unsaved_comparison(each, found, run=run) for each in again])


def refuse_where_gate_is_shut(batch: MoveBatch) -> None:
    """Refuse the clients whose gate is shut, with every check that fails."""
    opened = batch.list_open()
    checks = judge_gates_of_attempts(opened, batch.order)
    for attempt in opened:
        try:
            attempt.require_open_gate(checks[attempt.client_id])
        except ShutGate as refusal:
            batch.refused[attempt.client_id] = refusal


def judge_gates_of_attempts(
    attempts: Sequence[MoveAttempt], order: MoveOrder
) -> dict[int, list[Check]]:
    """Return client id -> every line of its gate. AWS answers first, which may take long: the others are as of now."""
    accounts = {
        each.client_id: ask_account(each.snapshot, order.new, order.answers) for each in attempts
    }
    judged = judge_gates(Ask(list(accounts), run=order.run), order.new)
    return {pk: [*judged[pk], *account] for pk, account in accounts.items()}


def compare_and_refuse_differing(batch: MoveBatch, found: Answers) -> None:
    """Store a comparison of each client, and refuse those that don't match."""
    run = batch.order.run
    for attempt in batch.list_open():
        compared = make_unsaved_comparison(attempt.snapshot, found, run=run)
        batch.comparisons[attempt.client_id] = compared
    Comparison.objects.record([batch.comparisons[each.client_id] for each in batch.list_open()])
    for attempt in batch.list_open():
        compared = batch.comparisons[attempt.client_id]
        if compared.status != Comparison.Status.MATCH:
            why = COMPARED_JUST_NOW(result=compared.message or compared.status_message)
            batch.refuse(attempt, why, error_class=compared.error_class)


TO_BE_DELETED = Sentence("to_be_deleted", "Deletion of its secret was requested.")


def step_back(batch: MoveBatch) -> None:
    """Move back; nothing is copied, as PostgreSQL has been the authority and has every confirmed write."""
    attempts, order = batch.list_open(), batch.order
    deletes = order.schedule_deletion and order.new == Phase.POSTGRES
    if deletes and not batch.is_alone:
        # AWS is asked several times for each: meanwhile the others can be saved, and their run paused.
        batch.leave(attempts)
        return
    note = TO_BE_DELETED() if deletes else None
    with transaction.atomic():
        moved = batch.commit(attempts, {attempt.client_id: note for attempt in attempts})
        if deletes:
            # If they are moved to dual write again, the pending push takes the secrets back from their deletion.
            ClientRevision.objects.filter(pk__in=moved).update(pushed_revision=None)
    told = {}
    if deletes:
        for attempt in attempts:
            if attempt.client_id in moved:
                told[attempt.client_id] = schedule_secret_deletion(attempt.snapshot)
    batch.settle(attempts, moved, told)


AWS_UNREAD = Sentence(
    "aws_unread", "AWS could not be read, so PostgreSQL's values were not checked: %(error)s"
)
# Why the automatic rollback leaves a client
LEFT_UNREAD = Sentence("left_unread", "Not rolled back: AWS could not be read. %(error)s")
LEFT_DIFFERING = Sentence(
    "left_differing",
    "Not rolled back: both stores differ. Look at the mismatch, then roll it back by hand.",
)


def roll_back(batch: MoveBatch) -> None:
    """Move back to dual read and copy AWS's document to PostgreSQL; if AWS can't be read, PostgreSQL's copy stays."""
    only_where_equal, copies = batch.order.only_where_equal, read_copies(batch)
    batch.refuse_all_where(explain_differences_after_reading(PLACE))
    plain: list[MoveAttempt] = []
    notes: dict[int, Message | None] = {}
    for attempt in batch.list_open():
        found = find_difference(attempt.snapshot, copies[attempt.client_id])
        if found is None:
            plain.append(attempt)
        elif only_where_equal and isinstance(found, SecretsManagerError):
            why = LEFT_UNREAD(error=found.message)
            batch.refuse(attempt, why, error_class=found.error_class)
        elif only_where_equal:
            batch.refuse(attempt, LEFT_DIFFERING())
        elif not batch.is_alone and not is_aws_down(found):
            batch.leave([attempt])
        elif isinstance(found, AwsCopy):
            _roll_back_differing(batch, attempt, found)
        else:
            notes[attempt.client_id] = AWS_UNREAD(error=found.message)
            plain.append(attempt)
    if only_where_equal:
        batch.move_while_unchanged(plain)
    else:
        batch.move_unheld(plain, notes, notes=notes)


# Holds what AWS has of a client, or the error with which it could not be read.
Found = AwsCopy | SecretsManagerError | DocumentError


def read_copies(batch: MoveBatch) -> dict[int, Found]:
    """Read what AWS holds of each client: of many at once, of one alone as NOVA's reader does.

    The call for many secrets has a permission and a rate of its own: where it fails, AWS may still give each by itself.
    """
    sm, snapshots = batch.order.sm, [attempt.snapshot for attempt in batch.list_open()]
    names = [name for each in snapshots for name in each.names.values()]
    answers = {} if batch.is_alone else sm.batch_get(names)
    copies: dict[int, Found] = {}
    for each in snapshots:
        try:
            copies[each.client_id] = (
                read_aws(each, sm=sm)
                if batch.is_alone
                else make_aws_copy(each, join_answers(each.names, answers, layout=each.layout))
            )
        except (SecretsManagerError, DocumentError) as error:
            copies[each.client_id] = error
    return copies


def find_difference(snapshot: ClientSnapshot, found: Found) -> Found | None:
    """Return what was `found` in AWS, or why it is not known; None where it is what the rows hold."""
    if isinstance(found, AwsCopy) and are_equal(snapshot.document, found.document):
        return None
    return found


def is_aws_down(found: Found) -> bool:
    """Say whether AWS gave no usable answer: it would give none to each client alone either, and take long."""
    return isinstance(found, SecretsManagerError) and found.error_class == ErrorClass.UNAVAILABLE


NEWER_IN_POSTGRES = Sentence(
    "newer_in_postgres", "PostgreSQL holds a newer value, which is pushed next."
)
NOT_COPIED = Sentence(
    "not_copied", "PostgreSQL can't store AWS's values, and keeps its own: %(error)s"
)


def _roll_back_differing(batch: MoveBatch, attempt: MoveAttempt, found: AwsCopy) -> None:
    keys = load_version_keys()
    ours = all(keys.is_ours(*version) for version in found.version_ids.items())
    note: Message | None = NEWER_IN_POSTGRES()
    if not attempt.snapshot.push_pending or not ours or list_versions_since_backup(found):
        try:
            _copy_to_rows_and_move(batch, attempt, found)
        except RefusedByDatabaseError as error:
            note = NOT_COPIED(error=error.message)
        else:
            return
    notes = {attempt.client_id: note}
    batch.move_unheld([attempt], notes, notes=notes)


REPLACED_NOT_KEPT = Sentence(
    "replaced_not_kept",
    "PostgreSQL and AWS were both changed, and PostgreSQL's values could not be kept in AWS: %(error)s",
)
COPIED_TO_POSTGRES = Sentence(
    "copied_to_postgres", "AWS was changed directly: its values were copied to PostgreSQL."
)
KEPT_AS_UNCOUNTED = Sentence(
    "kept_as_uncounted",
    "Some writes of NOVA may not have been counted: PostgreSQL's values are kept in AWS under the stage NOVA_REPLACED.",
)
ONLY_IN_POSTGRES = Sentence(
    "only_in_postgres", "Only PostgreSQL has %(rows)s; not changed.", glue=", "
)


def _copy_to_rows_and_move(batch: MoveBatch, attempt: MoveAttempt, found: AwsCopy) -> None:
    """Copy AWS's document into the rows, and move the client in the same transaction."""
    uncounted = may_have_uncounted_writes(attempt.client_id)
    try:
        back_up_rows_to_aws(attempt.snapshot, found, always=uncounted)
    except (SecretsManagerError, RefusedBySiteError) as error:
        why = REPLACED_NOT_KEPT(error=error.message)
        raise attempt.make_shut_gate(why, error_class=error.error_class) from None
    with hold_unchanged_rows(attempt) as now:
        lacking = copy_aws_to_rows(now, found)
        extra = ONLY_IN_POSTGRES(rows=tuple(lacking)) if lacking else None
        kept = KEPT_AS_UNCOUNTED() if uncounted else None
        notes = {attempt.client_id: in_a_row(COPIED_TO_POSTGRES(), extra, kept)}
        moved = batch.commit([attempt], notes)
    batch.settle([attempt], moved, notes)


STORES_DIFFER = Sentence("stores_differ", "Both stores were just read, and they differ.")
ONLY_IN_AWS = Sentence("only_in_aws", "Only AWS holds the secret values now.")


def purge(batch: MoveBatch) -> None:
    """Replace the client's secret values in PostgreSQL by pointers to its secrets."""
    (attempt,) = batch.list_open()
    snapshot, order = attempt.snapshot, batch.order
    attempt.require_open_gate(judge_gates_of_attempts([attempt], order)[snapshot.client_id])
    found = read_aws(snapshot, sm=order.sm)
    require_aws_writes_allowed(snapshot.slug, order.new)
    with hold_unchanged_rows(attempt) as now:
        if not are_equal(now.document, found.document):
            raise attempt.make_shut_gate(STORES_DIFFER())
        client = reread_locked_client(snapshot.client_id)
        note_values_before_purge(client)
        replace_secrets_by_pointers(client, secret_names_by_type(snapshot))
        ClientRevision.objects.record_pushed(
            [(snapshot.client_id, reread_locked_snapshot(snapshot.client_id).revision)]
        )
        seen = make_unsaved_match(now, run=order.run)
        moved = batch.commit([attempt])
    # Pages say when both stores were last seen to be equal; as it was before the move, no gate counts it.
    Comparison.objects.record([seen])
    batch.settle([attempt], moved, {snapshot.client_id: ONLY_IN_AWS()})


NO_VALUE_IN_AWS = Sentence("no_value_in_aws", "AWS holds no value for %(rows)s.", glue=", ")
RESTORED = Sentence("restored", "PostgreSQL holds its secret values again.")
RESTORED_ALL_BUT_NEWER = Sentence(
    "restored_all_but_newer", "NOVA's writes since the purge were kept, and are pushed next."
)


def restore(batch: MoveBatch) -> None:
    """Copy AWS's values into the client's purged rows."""
    (attempt,) = batch.list_open()
    snapshot = attempt.snapshot
    found = read_aws(snapshot, sm=batch.order.sm)
    # What was read in another account, region or prefix is no value of NOVA's.
    if why := explain_differences_after_reading(PLACE):
        raise attempt.make_shut_gate(why)
    with hold_unchanged_rows(attempt):
        _require_secret_columns(attempt)
        pending = snapshot.push_pending or may_have_uncounted_writes(snapshot.client_id)
        kept, without_value = restore_purged_rows(snapshot.client_id, found, secrets_alone=pending)
        if without_value:
            rows = tuple(row.make_row_name_message() for row in without_value)
            raise attempt.make_shut_gate(NO_VALUE_IN_AWS(rows=rows))
        record_as_pushed_if_equal(snapshot.client_id, found)
        after = reread_locked_snapshot(snapshot.client_id)
        seen = compare_with_document(after, found.document)
        moved = batch.commit([attempt])
    # What NOVA wrote since the purge differs until it is pushed.
    if seen.status == Comparison.Status.MATCH:
        Comparison.objects.record([seen])
    # After an upgrade each client waits to be compared once, whether NOVA wrote or not.
    is_newer = (kept or pending) and seen.status != Comparison.Status.MATCH
    told = RESTORED_ALL_BUT_NEWER() if is_newer else RESTORED()
    batch.settle([attempt], moved, {snapshot.client_id: told})


def _require_secret_columns(attempt: MoveAttempt) -> None:
    """Raise `ShutGate` where a secret column is gone: if NOVA renamed it, its pointers would stay there."""
    found = read_nova_columns()
    lost = {(c.table, c.name) for c in found.columns if c.use == ColumnUse.SECRET and not c.is_text}
    if reasons := [each.message for each in found.breaking if (each.table, each.column) in lost]:
        raise attempt.make_shut_gate(*reasons)


# How each move is made.
STEPS: dict[tuple[Phase, Phase], Callable[[MoveBatch], None]] = {
    (Phase.POSTGRES, Phase.DUAL_WRITE): start_dual_write,
    (Phase.DUAL_WRITE, Phase.DUAL_READ): move_where_equal,
    (Phase.DUAL_READ, Phase.AWS): move_where_equal,
    (Phase.AWS, Phase.PURGED): purge,
    (Phase.PURGED, Phase.AWS): restore,
    (Phase.AWS, Phase.DUAL_READ): roll_back,
    (Phase.DUAL_READ, Phase.DUAL_WRITE): step_back,
    (Phase.DUAL_WRITE, Phase.POSTGRES): step_back,
}
# They take one client at a time, as each has a transaction of its own in which its rows are held.
ALONE = {(Phase.AWS, Phase.PURGED), (Phase.PURGED, Phase.AWS)}


MOVE_REFUSED = Sentence("move_refused", "The move to %(new)s was refused: %(reasons)s")


def _record_refused_move(attempt: MoveAttempt, refusal: Refusal) -> None:
    """Record why a client was not moved, with every reason; of one that was gone before its gate was asked, nothing."""
    if isinstance(refusal, Client.DoesNotExist):
        return
    why = refusal.reasons if isinstance(refusal, ShutGate) else [refusal.message]
    order, snapshot = attempt.order, attempt.snapshot
    record_refusal(
        REFUSAL_EVENT,
        MOVE_REFUSED(new=order.new.label, reasons=tuple(why)),
        kind=("move", order.new, snapshot.client_id),
        by=order.by,
        client_id=snapshot.client_id,
        slug=snapshot.slug,
        reason=order.reason,
    )
