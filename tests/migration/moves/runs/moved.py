"""Clients in a phase, and runs that move them."""

from collections.abc import Callable

from migration.core.clients import all_clients
from migration.moves.approvals import start_move_run
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase_together


def make_clients(number: int, phase: Phase) -> list[int]:
    """Clients in the phase, compared in it."""
    pks = [make_full_client(f"client-{n}") for n in range(number)]
    enter_phase_together(pks, phase)
    if phase != Phase.POSTGRES:
        compare(client_ids=pks)
    return pks


def start(old: Phase, new: Phase, **options) -> Run:
    return start_move_run(chosen=all_clients(), old=old, new=new, **options)


def move_all(old: Phase, new: Phase, **options) -> Run:
    run = start(old, new, **options)
    engine.finish_inline(run)
    return run


def outcomes(run: Run) -> dict[str, str]:
    return dict(run.items.values_list("slug", "outcome"))


def codes_of(run: Run, slug: str) -> list[str]:
    message = run.items.get(slug=slug).message
    return message.codes if message else []


def once(does: Callable[[], object], then: Callable) -> Callable:
    """A function that has something happen before it is called the first time."""
    left = [does]

    def call(*arguments, **options):
        if left:
            left.pop()()
        return then(*arguments, **options)

    return call
