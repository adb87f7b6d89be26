"""Judges whether clients may take their next step, from the database alone: AWS is asked at the step itself.

`ready_clients.py` selects in SQL those for which nothing is found here; a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from credentials.nova_columns import NovaSchemaError
from migration import list_sentences, sentences
from migration.operations.gate_facts import GateFacts
from migration.operations.gate_fixes import CheckCode
from migration.operations.gates import Check, database_checks
from migration.operations.snapshots import read_snapshots_for_page
from nova_credentials import document as documents
from nova_credentials.phases import MOVES, Move, Phase
from nova_credentials.tables import is_push_pending

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.messages import Message

# The phase after each phase.
NEXT_PHASE = {
    old: new
    for (old, new), kind in MOVES.items()
    if kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
}


@dataclass(frozen=True)
class NextStep:
    """The phase that a client enters next, and the checks of that move that fail now."""

    new: Phase | None  # None: it is in the last phase
    shut: tuple[Check, ...] = ()

    @property
    def is_ready(self) -> bool:
        return self.new is not None and not self.shut


@dataclass(frozen=True)
class _Standing:
    """A client as `database_checks` needs it."""

    client_id: int
    push_pending: bool


def judge_next_steps(clients: Sequence[Any], site: GateFacts | None = None) -> dict[int, NextStep]:
    """Return client id -> its next step; the number of queries is the same for any number of clients.

    The clients have their phase and revisions (`with_phase`, `with_revision`, `with_refused_revision`). `site` holds
    what is the same for all clients, where that was read already.
    """
    facts = GateFacts([client.pk for client in clients])
    facts.read_all(site)
    first = [client.pk for client in clients if client.phase == Phase.POSTGRES]
    problems = list_first_push_problems(first) if first else {}
    return {client.pk: _judge_client(client, facts, problems.get(client.pk)) for client in clients}


def _judge_client(client: Any, facts: GateFacts, problem: Check | None) -> NextStep:
    new = NEXT_PHASE.get(Phase(client.phase))
    if new is None:
        return NextStep(None)
    pending = is_push_pending(revision=client.revision, pushed_revision=client.pushed_revision)
    shut = [
        check
        for check in database_checks(_Standing(client.pk, pending), new, facts)
        if not check.passed
    ]
    if problem:
        shut.insert(0, problem)
    if new == Phase.DUAL_WRITE and not client.is_active:
        text = sentences.NOT_PUSHED_INACTIVE()
        shut.insert(0, Check(text.key, False, text))
    if client.refused_revision is not None and client.refused_revision == client.revision:
        text = list_sentences.LAST_PUSH_REFUSED()
        shut.insert(0, Check(text.key, False, text))
    return NextStep(new, tuple(shut))


def list_first_push_problems(client_ids: Collection[int]) -> dict[int, Check]:
    """Return client id -> why its rows can't become a secret, for those for which they can't."""
    try:
        snapshots = read_snapshots_for_page(client_ids)
    except NovaSchemaError as error:
        return {pk: _as_check(error.message) for pk in client_ids}
    found = ((pk, _find_document_problem(snapshot)) for pk, snapshot in snapshots.items())
    return {pk: _as_check(problem) for pk, problem in found if problem}


def _as_check(problem: Message) -> Check:
    return Check(CheckCode.NO_DOCUMENT, False, problem)


def _find_document_problem(snapshot: ClientSnapshot) -> Message | None:
    if snapshot.document is None:
        return snapshot.problem
    if not snapshot.has_credentials:
        return sentences.NO_LOGIN()
    return documents.size_problem(
        snapshot.document,
        snapshot.secret_slug,
        prefix=settings.NOVA_SECRET_PREFIX,
        layout=snapshot.layout,
    )
