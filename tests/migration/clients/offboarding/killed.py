"""Offboards, or brings back, in a process that is killed at a point: after a write of AWS, a statement or a commit."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from django.db import connection

from migration.clients.offboarding import (
    ALREADY_OFFBOARDED,
    NOT_OFFBOARDED,
    OFFBOARDING_BUSY,
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
)
from migration.core import aws_store
from tests.migration.logins.rotations.killed import Points, fork, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

AWS_WRITES = ("CreateSecret", "PutSecretValue", "DeleteSecret", "RestoreSecret")
ACTS: dict[str, Callable[..., object]] = {
    "offboard": offboard_client,
    "back": bring_back_as_inactive,
}


class PointsOfAnAct(Points):
    def after_call(self, model: Any, **_: object) -> None:
        if model.name in AWS_WRITES:
            self.pass_one(model.name)

    def perform(self, act: str, client_id: int) -> None:
        commit = connection._commit
        for interactive in (False, True):
            events = aws_store.secrets_manager(interactive=interactive).sm.meta.events
            events.register("after-call.secrets-manager", self.after_call)

        def commit_and_pass() -> None:
            commit()
            self.pass_one("commit")

        connection._commit = commit_and_pass
        with connection.execute_wrapper(self.after_statement):
            ACTS[act](client_id=client_id, reason="CHG-7")


def perform_and_kill(act: str, client_id: int, at: int) -> bool:
    """Act in a process that is killed at its point of this number; say whether it came so far."""
    ended = wait_for(fork(lambda: PointsOfAnAct(at).perform(act, client_id)))
    return ended == signal.SIGKILL


def perform_and_list(act: str, client_id: int) -> list[str]:
    """Act in a process that nobody kills, and return its points."""
    read, write = os.pipe()

    def perform() -> None:
        points = PointsOfAnAct(-1)
        points.perform(act, client_id)
        os.write(write, json.dumps(points.passed).encode())

    pid = fork(perform)
    os.close(write)
    with os.fdopen(read) as told:
        assert wait_for(pid) == 0
        return json.loads(told.read())


def do_again(act: str, client_id: int) -> None:
    """Once the killed process' leases are free. Killed after its last commit, there is nothing left to do."""
    deadline = time.monotonic() + 300
    while True:
        try:
            ACTS[act](client_id=client_id, reason="CHG-7")
        except OffboardingError as refusal:
            if refusal.message.key in (ALREADY_OFFBOARDED.key, NOT_OFFBOARDED.key):
                return
            if refusal.message.key != OFFBOARDING_BUSY.key or time.monotonic() > deadline:
                raise
        else:
            return
