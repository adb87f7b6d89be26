"""Runs over a few clients."""

from migration.core.clients import all_clients
from migration.runs.models import Run
from tests.factories import make_full_client, start_run


def start(number: int = 6, **options) -> Run:
    for n in range(number):
        make_full_client(f"client-{n}")
    return start_run(kind=Run.Kind.MIGRATE, chosen=all_clients(), **options)


def left(run: Run) -> int:
    return run.items.open().count()
