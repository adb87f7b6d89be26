"""Processes of their own, as workers are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def work_on(run_id: int, environment: dict[str, str]) -> None:
    """Work on the run until there is nothing more that may be done."""
    os.environ |= environment
    import django

    django.setup()
    from migration.runs import engine

    engine.work_on_run(run_id=run_id)


def serve(orders: Connection, environment: dict[str, str]) -> None:
    """Push a client for each id that is received and say what became of it, until None is received.

    A lost connection is a failed try, as for a worker: the next one connects anew.
    """
    os.environ |= environment
    import django

    django.setup()
    from django.db import DatabaseError, connection

    from migration.pushes.pushes import push

    while (client_id := orders.recv()) is not None:
        answer: tuple[Any, ...]
        try:
            (result,) = push(client_ids=[client_id])
            answer = (str(result.outcome), result.message.key if result.message else "")
        except DatabaseError as error:
            connection.close()
            answer = ("lost", type(error).__name__)
        orders.send(answer)
