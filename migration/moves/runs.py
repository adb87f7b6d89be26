"""Moves the clients of a run, a batch at a time: what they have in common is read and stored once.

Each client is judged by itself, under its lease, as `moves.move` does it. What is no plain case is left to `move`:
copying rows, deleting secrets, purging and restoring, and whatever changed while the batch was at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import cast

from django.db import transaction

from credentials.models import Client
from credentials.refusals import RefusedByDatabaseError
from migration.core.aws_store import make_aws_copy, secrets_manager
from migration.core.aws_writes import (
    DATABASE_CHANGED,
    DATABASE_IS_COPY,
    DATABASE_NOT_NOTED,
    DATABASE_UNKNOWN,
    WRITES_STOPPED,
    explain_differences_after_reading,
)
from migration.core.clients import ClientMigration, PhaseChange
from migration.core.comparisons import Comparison
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.sentences import CLIENT_NOT_THERE, HOST_DIFFERS, NOVA_WROTE
from migration.core.shared_facts import FACTS, PLACE
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.moves.account import KmsAnswers
from migration.moves.evidence import GateFacts
from migration.moves.gates import Check, Override, ShutGate, needs_approval
from migration.moves.moves import (
    AWS_UNREAD,
    LOCK_WAIT_SECONDS,
    MOVE_UNDER_WAY,
    MOVED_MEANWHILE,
    NEEDS_APPROVAL,
    READS_AWS,
    TO_BE_DELETED,
    MoveAttempt,
    MoveResult,
    move,
)
from migration.pushes.comparisons import make_unsaved_comparison, read_secrets
from migration.pushes.pushes import MOVED_BY_RUN, push
from migration.pushes.rows_from_aws import hold_rows_if_all_free
from migration.runs.acts import read_overridden_of_run
from migration.runs.engine import ItemsToRetry, works_on
from migration.runs.items import PUSHED, TRANSIENT, Outcome, RunItem
from migration.runs.models import PlannedMoves, Run
from migration.secrets.deletions import schedule_secret_deletion
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.client_secrets import join_answers
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError, SecretValue
from nova_credentials.comparison import are_equal
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import IllegalMove, Phase, StalePhase

Messages = Mapping[int, Message | None]

# So many clients' rows are locked at once: NOVA's writers wait for some milliseconds.
LOCKED_AT_ONCE = 20
# No move is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# Refusals that pass by themselves: somebody else was at the client.
PASSING = {MOVE_UNDER_WAY.key, NOVA_WROTE.key, "nova_is_writing"}
# The whole run waits while one of these holds, and no client of it is refused.
HOLDING = {
    sentence.key
    for sentence in (
        WRITES_STOPPED,
        DATABASE_IS_COPY,
        DATABASE_NOT_NOTED,
        DATABASE_UNKNOWN,
        DATABASE_CHANGED,
        HOST_DIFFERS,
    )
}


@lru_cache(maxsize=16)
def get_kms_answers(_run_id: int, _steered_at: datetime | None) -> KmsAnswers:
    """Return which KMS keys this process has found the account may use since somebody last steered the run."""
    return KmsAnswers()


def make_override(run: Run, moves: PlannedMoves) -> Override | None:
    """Return the override of the run, in the name of who started it; None where that user is gone."""
    is_gone = bool(run.by_name) and run.by is None
    if not moves.override_reason or is_gone:
        return None
    return Override(moves.override_reason, run.by, kinds=frozenset(moves.override_lines))


def narrow_override(override: Override | None, kinds: frozenset[str]) -> Override | None:
    """Return the override of these kinds of evidence alone, of those that it is of; None where none is left."""
    if override is None:
        return None
    left = override.kinds & kinds
    return replace(override, kinds=left) if left else None


def find_override(run: Run, moves: PlannedMoves, client_id: int) -> Override | None:
    """Return the override of one client of the run: of the evidence that its plan, where there is one, saw it lack."""
    override = make_override(run, moves)
    overridden = read_overridden_of_run(run, [client_id]) if override else None
    if overridden is None:
        return override
    return narrow_override(override, overridden.get(client_id, frozenset()))


ASKED_FOR_BY = Sentence("asked_for_by", "Requested by %(who)s.")


class MoveBatch:
    """One batch of a run of moves: who moves in it and why, and which outcome each of its clients has."""

    def __init__(self, run: Run, moves: PlannedMoves, items: dict[int, RunItem]) -> None:
        self.run, self.moves, self.items = run, moves, items
        # Who approved it moves, as with a single request.
        self.by = run.approved_by or run.by
        asked = ASKED_FOR_BY(who=run.by_name) if run.approved_by_name else None
        self.note = in_a_row(asked, MOVED_BY_RUN(run=run.name_message))
        self.override = make_override(run, moves)
        self.overridden = read_overridden_of_run(run, list(items)) if self.override else None
        self.answers = get_kms_answers(run.pk, run.steered_at).begin_batch_without_refusals()
        # Clients that no other is moved together with
        self.one_by_one: list[int] = []

    def make_attempt(self, snapshot: ClientSnapshot) -> MoveAttempt:
        return MoveAttempt(
            snapshot=snapshot,
            new=self.moves.new,
            by=self.by,
            reason=self.moves.reason,
            note=self.note,
            schedule_deletion=self.moves.schedule_deletion,
            approves=None,
            override=self.find_override(snapshot.client_id),
            answers=self.answers,
            run=self.run,
        )

    def find_override(self, client_id: int) -> Override | None:
        """Return the override of one client: of the evidence that its plan, where there is one, saw it lack."""
        if self.overridden is None:
            return self.override
        return narrow_override(self.override, self.overridden.get(client_id, frozenset()))

    def read_moves_made(self) -> dict[int, PhaseChange]:
        """Return client id -> the move that this run has made of it, before its worker was killed."""
        made = PhaseChange.objects.filter(run=self.run, client_id__in=list(self.items))
        return {change.client_id: change for change in made}

    def change_phases(
        self, attempts: Collection[MoveAttempt], notes: Mapping[int, Message | None] | None = None
    ) -> set[int]:
        """Change the phases, within the caller's transaction; return the ids of the clients that were moved.

        Raises `LeaseLostError`.
        """
        if not attempts:
            return set()
        refuse_lost_client_locks()
        planned = {
            each.snapshot.client_id: each.plan_change((notes or {}).get(each.snapshot.client_id))
            for each in attempts
        }
        moved = ClientMigration.objects.change_phases(
            planned,
            self.moves.old,
            self.moves.new,
            by=self.by,
            reason=self.moves.reason,
            run=self.run,
            override_reason=self.moves.override_reason,
        )
        why = MOVED_MEANWHILE(phase=self.moves.new.label)
        Run.objects.close_requests(moved, why, by=self.by, now_in=self.moves.new)
        return moved

    def record_move(self, client_id: int, moved: MoveResult) -> None:
        """Set the outcome MOVED and what is said of the move on the client's item; the run stores it with its batch."""
        item = self.items[client_id]
        item.outcome, item.error_class = Outcome.MOVED, ""
        item.message = moved.message_with_overridden

    def skip(self, client_id: int, why: Message) -> None:
        """Set the outcome SKIPPED and this message on the client's item."""
        self.items[client_id].outcome, self.items[client_id].message = Outcome.SKIPPED, why

    def refuse(self, client_id: int, *reasons: Message, error_class: str = "") -> None:
        """Refuse the move, or leave the item to be tried again where the reasons pass by themselves."""
        shut = [Check(each.key, False, each, error_class=error_class) for each in reasons]
        item = self.items[client_id]
        self.refuse_gate(client_id, ShutGate(item.slug, self.moves.new, shut))

    def refuse_gate(self, client_id: int, refusal: ShutGate) -> None:
        """Refuse the move as its gate is shut, or leave the item to be tried again."""
        item, keys = self.items[client_id], {reason.key for reason in refusal.reasons}
        item.outcome, item.error_class = Outcome.REFUSED, refusal.error_class
        item.message = in_a_row(*refusal.reasons)
        may_pass = all(
            check.error_class in TRANSIENT or check.text.key in PASSING for check in refusal.shut
        )
        if keys & HOLDING:
            item.set_next_try_now()
        elif may_pass and item.attempts + 1 < self.run.tries:
            item.set_next_try()


@works_on(Run.Kind.MOVE)
def process_move_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Move the client of each item, or give the item the reasons why not; none is tried again by itself.

    Can be repeated after a kill.
    """
    moves = cast("PlannedMoves", run.moves)
    until = time.monotonic() + BATCH_SECONDS
    batch = MoveBatch(run, moves, items)
    with hold_client_locks(items, wait_seconds=LOCK_WAIT_SECONDS) as held:
        for pk in items.keys() - held:
            batch.refuse(pk, MOVE_UNDER_WAY())
        attempts = pick_moves_and_settle_others(batch, held)
        if attempts:
            TOGETHER.get((moves.old, moves.new), leave_to_one_by_one)(batch, attempts)
    move_one_by_one(batch, until=until)
    return []


def pick_moves_and_settle_others(
    batch: MoveBatch, client_ids: Collection[int]
) -> list[MoveAttempt]:
    """Return the moves to make of these clients, whose leases are held; the others have their outcome."""
    moves, made, snapshots = batch.moves, batch.read_moves_made(), read_snapshots(client_ids)
    attempts = []
    for pk in sorted(client_ids):
        snapshot = snapshots.get(pk)
        if pk in made:
            finish_earlier_move(batch, made[pk], snapshot)
        elif snapshot is None:
            batch.skip(pk, CLIENT_NOT_THERE())
        elif snapshot.phase != moves.old:
            batch.refuse(pk, StalePhase(snapshot.slug, moves.old, snapshot.phase).message)
        elif needs_approval(moves.kind) and not batch.run.approved_by_name:
            batch.refuse(pk, NEEDS_APPROVAL())
        else:
            attempts.append(batch.make_attempt(snapshot))
    return attempts


def finish_earlier_move(
    batch: MoveBatch, change: PhaseChange, snapshot: ClientSnapshot | None
) -> None:
    """Set the outcome of a client that an earlier try moved; schedule its secrets' deletion if still due."""
    item = batch.items[change.client_id]
    item.outcome, item.message = Outcome.MOVED, change.note
    codes = change.note.codes if change.note else []
    if codes[-1:] == [TO_BE_DELETED.key] and snapshot and snapshot.phase == change.new:
        item.message = schedule_secret_deletion(snapshot)


def leave_to_one_by_one(batch: MoveBatch, attempts: Collection[MoveAttempt]) -> None:
    """Leave these clients to `move_one_by_one`."""
    batch.one_by_one += [attempt.snapshot.client_id for attempt in attempts]


def move_one_by_one(batch: MoveBatch, *, until: float) -> None:
    """Move the clients that are left, each as somebody would on its page; stops where the run is paused or stopped."""
    moves = batch.moves
    for pk in batch.one_by_one:
        if time.monotonic() > until or not Run.objects.is_running(batch.run.pk):
            batch.items[pk].set_next_try_now()
            continue
        try:
            moved = move(
                client_id=pk,
                new=moves.new,
                seen=moves.old,
                by=batch.by,
                reason=moves.reason,
                note=batch.note,
                schedule_deletion=moves.schedule_deletion,
                override=batch.find_override(pk),
                answers=batch.answers,
                run=batch.run,
            )
        except ShutGate as refusal:
            batch.refuse_gate(pk, refusal)
        except (StalePhase, IllegalMove) as refusal:
            batch.refuse(pk, refusal.message)
        except Client.DoesNotExist:
            batch.skip(pk, CLIENT_NOT_THERE())
        else:
            batch.record_move(pk, moved)


def commit_moves(
    batch: MoveBatch,
    attempts: Sequence[MoveAttempt],
    *,
    messages: Messages,
    with_moves: bool = False,
) -> None:
    """Change the phases in one transaction; `messages` go into items and, if `with_moves`, into the moves too."""
    with transaction.atomic():
        moved = batch.change_phases(attempts, messages if with_moves else None)
    record_moved_and_leave_others(batch, attempts, moved, messages)


def record_moved_and_leave_others(
    batch: MoveBatch, attempts: Sequence[MoveAttempt], moved: Collection[int], messages: Messages
) -> None:
    """Give the items of the moved clients their outcome, and leave the other clients to `move_one_by_one`."""
    for attempt in attempts:
        pk = attempt.snapshot.client_id
        if pk in moved:
            batch.record_move(pk, attempt.make_move_result(messages.get(pk)))
        else:
            leave_to_one_by_one(batch, [attempt])


def push_and_move(batch: MoveBatch, attempts: Sequence[MoveAttempt]) -> None:
    """Push the clients, and move those that were read back equal."""
    by_pk = {attempt.snapshot.client_id: attempt for attempt in attempts}
    told: dict[int, Message | None] = {}
    for result in push(client_ids=by_pk.keys(), run=batch.run, seconds=BATCH_SECONDS):
        pk, item = result.client_id, batch.items[result.client_id]
        item.comparison_status = result.comparison.status if result.comparison else ""
        if result.postponed:
            item.set_next_try_now()
        elif result.outcome in PUSHED:
            told[pk] = result.message
        else:
            batch.refuse(pk, result.summary_message, error_class=result.error_class)
    commit_moves(batch, [by_pk[pk] for pk in told], messages=told)


def move_where_equal(batch: MoveBatch, attempts: Sequence[MoveAttempt]) -> None:
    """Move the clients whose gate is open and whose stores are equal, while their rows stay as they were read."""
    snapshots = [attempt.snapshot for attempt in attempts]
    sm = secrets_manager()
    found = read_secrets(snapshots, sm=sm)
    if refuse_where_host_differs(batch, attempts, in_facts=FACTS):
        return
    batch.answers.secrets_read = frozenset(
        name for name, answer in found.items() if isinstance(answer, SecretValue)
    )
    if batch.moves.new == Phase.AWS:  # it wants the right to write, which is tried once a KMS key
        batch.answers.read_keys_of_secrets(
            [n for each in snapshots for n in each.names.values()], sm=sm
        )
    # After AWS has answered, which may take long: the gate is judged as of now.
    facts = compare_unchecked_and_read_facts(batch, snapshots, found)
    passed = [attempt for attempt in attempts if pass_gate(batch, attempt, facts)]
    equal = compare_moves(batch, passed, found)
    message = READS_AWS() if batch.moves.new == Phase.AWS else None
    told = {attempt.snapshot.client_id: message for attempt in equal}
    for start in range(0, len(equal), LOCKED_AT_ONCE):
        some = equal[start : start + LOCKED_AT_ONCE]
        record_moved_and_leave_others(batch, some, commit_unchanged(batch, some), told)


def refuse_where_host_differs(
    batch: MoveBatch, attempts: Sequence[MoveAttempt], *, in_facts: Collection[str]
) -> bool:
    """Refuse these clients, and say so, where this host may have read other secrets than theirs."""
    why = explain_differences_after_reading(in_facts)
    if why:
        for attempt in attempts:
            batch.refuse(attempt.snapshot.client_id, why)
    return why is not None


def compare_unchecked_and_read_facts(
    batch: MoveBatch, snapshots: Sequence[ClientSnapshot], found: Answers
) -> GateFacts:
    """Read what the gates need. Where a client's newest comparison is unchecked, store a new one first.

    It was an earlier try of this run, or a sweep at a moment in which AWS failed, and says nothing about the client; it
    would keep the gate shut until the next sweep.
    """
    client_ids = [each.client_id for each in snapshots]
    facts = GateFacts(client_ids, run=batch.run)
    unchecked = {
        pk
        for pk, client_migration in facts.client_migrations.items()
        if (newest := client_migration.comparison) and newest.status == Comparison.Status.UNCHECKED
    }
    if not unchecked:
        return facts
    again = [each for each in snapshots if each.client_id in unchecked]
    Comparison.objects.record(
        [make_unsaved_comparison(each, found, run=batch.run) for each in again]
    )
    return GateFacts(client_ids, run=batch.run)


def pass_gate(batch: MoveBatch, attempt: MoveAttempt, facts: GateFacts) -> bool:
    """Say whether the client's gate is open; where it is shut, the client is refused."""
    try:
        attempt.require_open_gate(facts)
    except ShutGate as refusal:
        batch.refuse_gate(attempt.snapshot.client_id, refusal)
        return False
    return True


def compare_moves(
    batch: MoveBatch, attempts: Sequence[MoveAttempt], found: Answers
) -> list[MoveAttempt]:
    """Store a comparison of each client and return those that match; the others are refused."""
    comparisons = [
        make_unsaved_comparison(each.snapshot, found, run=batch.run) for each in attempts
    ]
    Comparison.objects.record(comparisons)
    equal = []
    for attempt, comparison in zip(attempts, comparisons, strict=True):
        pk = attempt.snapshot.client_id
        batch.items[pk].comparison_status = comparison.status
        if refusal := attempt.find_refusal_after_comparing(comparison):
            batch.refuse_gate(pk, refusal)
        else:
            equal.append(attempt)
    return equal


def commit_unchanged(batch: MoveBatch, attempts: Sequence[MoveAttempt]) -> set[int]:
    """Move the clients whose rows NOVA hasn't written; none if it holds one's rows. Return the ids of the moved."""
    try:
        with hold_rows_if_all_free([attempt.snapshot.client_id for attempt in attempts]) as now:
            return batch.change_phases([each for each in attempts if is_unchanged(each, now)])
    except RefusedByDatabaseError:
        return set()


def is_unchanged(attempt: MoveAttempt, now: Mapping[int, ClientSnapshot]) -> bool:
    """Say whether nobody wrote the client's rows since the batch read them."""
    snapshot = attempt.snapshot
    locked = now.get(snapshot.client_id)
    return locked is not None and locked.has_same_rows_as(snapshot)


def move_back_before_cutover(batch: MoveBatch, attempts: Sequence[MoveAttempt]) -> None:
    """Move the clients back. PostgreSQL has been the authority: nothing is copied."""
    if batch.moves.schedule_deletion:
        leave_to_one_by_one(batch, attempts)
    else:
        commit_moves(batch, attempts, messages={})


def roll_back(batch: MoveBatch, attempts: Sequence[MoveAttempt]) -> None:
    """Roll back where the stores are equal, or AWS is down (not by `only_where_equal`); leave or refuse others."""
    names = [name for attempt in attempts for name in attempt.snapshot.names.values()]
    found = secrets_manager().batch_get(names)
    if refuse_where_host_differs(batch, attempts, in_facts=PLACE):
        return
    if batch.moves.only_where_equal:
        roll_back_where_equal(batch, attempts, found)
        return
    told: dict[int, Message | None] = {}
    plain: list[MoveAttempt] = []
    others: list[MoveAttempt] = []
    for attempt in attempts:
        snapshot = attempt.snapshot
        try:
            is_plain = is_equal_in_aws(snapshot, found)
        except SecretsManagerError as error:
            is_plain = error.error_class == ErrorClass.UNAVAILABLE
            told[snapshot.client_id] = AWS_UNREAD(error=error.message)
        (plain if is_plain else others).append(attempt)
    commit_moves(batch, plain, messages=told, with_moves=True)
    leave_to_one_by_one(batch, others)


def is_equal_in_aws(snapshot: ClientSnapshot, found: Answers) -> bool:
    """Say whether AWS holds what the rows hold; raises `SecretsManagerError` where it can't be read."""
    secrets = join_answers(snapshot.names, found, layout=snapshot.layout)
    try:
        return are_equal(snapshot.document, make_aws_copy(snapshot, secrets).document)
    except DocumentError:
        return False


# Why the automatic rollback leaves a client
LEFT_UNREAD = Sentence("left_unread", "Not rolled back: AWS could not be read. %(error)s")
LEFT_DIFFERING = Sentence(
    "left_differing",
    "Not rolled back: both stores differ. Look at the mismatch, then roll it back by hand.",
)


def roll_back_where_equal(
    batch: MoveBatch, attempts: Sequence[MoveAttempt], found: Answers
) -> None:
    """Roll back the clients of which AWS holds what the rows hold, while these are locked; the others are refused.

    Leaves nobody to `move_one_by_one`: nobody looks on, so nothing is copied and no store is preferred.
    """
    equal = []
    for attempt in attempts:
        pk = attempt.snapshot.client_id
        try:
            if is_equal_in_aws(attempt.snapshot, found):
                equal.append(attempt)
            else:
                batch.refuse(pk, LEFT_DIFFERING())
        except SecretsManagerError as error:
            why = LEFT_UNREAD(error=error.message)
            batch.refuse(pk, why, error_class=error.error_class)
    for start in range(0, len(equal), LOCKED_AT_ONCE):
        some = equal[start : start + LOCKED_AT_ONCE]
        moved = commit_unchanged(batch, some)
        for attempt in some:
            pk = attempt.snapshot.client_id
            # Where NOVA holds the rows of one client, none of them was moved.
            if pk in moved or commit_unchanged(batch, [attempt]):
                batch.record_move(pk, attempt.make_move_result(None))
            else:
                batch.refuse(pk, NOVA_WROTE())


# The moves that the clients of a batch make together; the others are made one by one.
TOGETHER: dict[tuple[Phase, Phase], Callable[[MoveBatch, Sequence[MoveAttempt]], None]] = {
    (Phase.POSTGRES, Phase.DUAL_WRITE): push_and_move,
    (Phase.DUAL_WRITE, Phase.DUAL_READ): move_where_equal,
    (Phase.DUAL_READ, Phase.AWS): move_where_equal,
    (Phase.AWS, Phase.DUAL_READ): roll_back,
    (Phase.DUAL_READ, Phase.DUAL_WRITE): move_back_before_cutover,
    (Phase.DUAL_WRITE, Phase.POSTGRES): move_back_before_cutover,
}
