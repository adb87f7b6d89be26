"""Works on runs of moves: which clients of a batch are moved together, which alone, and what each item says of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import cast

from credentials.models import Client
from credentials.nova_columns import NovaSchemaError
from credentials.prices import SECRETS_A_CALL
from migration.core.aws_writes import (
    DATABASE_CHANGED,
    DATABASE_IS_COPY,
    DATABASE_NOT_NOTED,
    DATABASE_UNKNOWN,
    WRITES_STOPPED,
)
from migration.core.clients import PhaseChange
from migration.core.leases import hold_client_locks
from migration.core.sentences import CLIENT_NOT_THERE, HOST_DIFFERS, NOVA_WROTE
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.moves.account import KmsAnswers
from migration.moves.gates import Override, ShutGate
from migration.moves.moves import (
    ALONE,
    BATCH_SECONDS,
    LOCK_WAIT_SECONDS,
    MOVE_UNDER_WAY,
    TO_BE_DELETED,
    MoveBatch,
    MoveOrder,
    Refusal,
    make_gate_shut_by_schema,
    move_batch,
)
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs.acts import read_overridden_of_run
from migration.runs.engine import ItemsToRetry, works_on
from migration.runs.items import TRANSIENT, Outcome, RunItem
from migration.runs.models import PlannedMoves, Run
from migration.secrets.deletions import schedule_secret_deletion
from nova_credentials.messages import Sentence, in_a_row

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


def find_override(run: Run, moves: PlannedMoves, client_id: int) -> Override | None:
    """Return the override of one client of the run (`MoveOrder.find_override`)."""
    return make_move_order(run, moves, [client_id]).find_override(client_id)


ASKED_FOR_BY = Sentence("asked_for_by", "Requested by %(who)s.")


def make_move_order(run: Run, moves: PlannedMoves, client_ids: list[int]) -> MoveOrder:
    """Return what the run asks for of these clients: who moves them, why, and what its plan saw each lack."""
    asked = ASKED_FOR_BY(who=run.by_name) if run.approved_by_name else None
    override = make_override(run, moves)
    return MoveOrder(
        moves.old,
        moves.new,
        # Who approved it moves, as with a single request.
        by=run.approved_by or run.by,
        reason=moves.reason,
        note=in_a_row(asked, MOVED_BY_RUN(run=run.name_message)),
        schedule_deletion=moves.schedule_deletion,
        only_where_equal=moves.only_where_equal,
        override=override,
        overridden=read_overridden_of_run(run, client_ids) if override else None,
        run=run,
    )


@works_on(Run.Kind.MOVE, together=SECRETS_A_CALL)
def process_move_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Move the client of each item, or give the item the reasons why not; none is tried again by itself.

    Can be repeated after a kill.
    """
    moves = cast("PlannedMoves", run.moves)
    until = time.monotonic() + BATCH_SECONDS
    order = replace(
        make_move_order(run, moves, list(items)),
        answers=get_kms_answers(run.pk, run.steered_at).begin_batch_without_refusals(),
    )
    alone = list(items)
    if (moves.old, moves.new) not in ALONE:
        alone = move_items(order, items, is_alone=False)
    for pk in alone:
        if time.monotonic() > until or not Run.objects.is_running(run.pk):
            items[pk].set_next_try_now()
            continue
        try:
            move_items(order, {pk: items[pk]}, is_alone=True)
        except NovaSchemaError as error:
            # Refused alone: others of the batch may have been moved before NOVA changed its tables.
            refuse_item(run, items[pk], make_gate_shut_by_schema(items[pk].slug, moves.new, error))
    return []


def move_items(order: MoveOrder, items: Mapping[int, RunItem], *, is_alone: bool) -> list[int]:
    """Move the clients of these items; return the ids of those that are left, to be moved alone."""
    run = cast("Run", order.run)
    with hold_client_locks(items, wait_seconds=LOCK_WAIT_SECONDS) as held:
        made, snapshots = read_moves_made(run, held), read_snapshots(items)
        for pk, change in made.items():
            finish_earlier_move(items[pk], change, snapshots.get(pk))
        waiting = [each for pk, each in snapshots.items() if pk not in made]
        batch = MoveBatch(order, waiting, is_alone=is_alone)
        move_batch(batch, held)
    for pk, item in items.items():
        if pk in batch.moved:
            item.outcome, item.error_class = Outcome.MOVED, ""
            item.message = batch.moved[pk].message_with_overridden
        elif pk in batch.refused:
            refuse_item(run, item, batch.refused[pk])
        elif pk in batch.postponed:
            item.set_next_try_now()
        elif pk not in snapshots and pk not in made:
            item.outcome, item.message = Outcome.SKIPPED, CLIENT_NOT_THERE()
        comparison = batch.comparisons.get(pk)
        item.comparison_status = comparison.status if comparison else ""
    return batch.left


def read_moves_made(run: Run, client_ids: Collection[int]) -> dict[int, PhaseChange]:
    """Return client id -> the move that the run has made of it, before its worker was killed."""
    made = PhaseChange.objects.filter(run=run, client_id__in=client_ids)
    return {change.client_id: change for change in made}


def finish_earlier_move(
    item: RunItem, change: PhaseChange, snapshot: ClientSnapshot | None
) -> None:
    """Set the outcome of a client that an earlier try moved; schedule its secrets' deletion if still due."""
    item.outcome, item.message = Outcome.MOVED, change.note
    codes = change.note.codes if change.note else []
    if codes[-1:] == [TO_BE_DELETED.key] and snapshot and snapshot.phase == change.new:
        item.message = schedule_secret_deletion(snapshot)


def refuse_item(run: Run, item: RunItem, refusal: Refusal) -> None:
    """Give the item the reasons why its client was not moved, or leave it to be tried again."""
    if isinstance(refusal, Client.DoesNotExist):
        item.outcome, item.message = Outcome.SKIPPED, CLIENT_NOT_THERE()
        return
    item.outcome, item.error_class = Outcome.REFUSED, ""
    if not isinstance(refusal, ShutGate):
        item.message = refusal.message
        return
    item.error_class = refusal.error_class
    item.message = in_a_row(*refusal.reasons)
    may_pass = all(
        check.error_class in TRANSIENT or check.text.key in PASSING for check in refusal.shut
    )
    if HOLDING & {reason.key for reason in refusal.reasons}:
        item.set_next_try_now()
    elif may_pass and item.attempts + 1 < run.tries:
        item.set_next_try()
