"""Works on a run of key and regions in a process that is killed: after a write of AWS, a statement or a commit."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from django.db import connection

from migration.core import aws_store
from migration.runs import engine
from tests.migration.logins.rotations.killed import Points, fork, wait_for

AWS_WRITES = (
    *("TagResource", "UpdateSecret", "RemoveRegionsFromReplication"),
    "ReplicateSecretToRegions",
)


class PointsOfARun(Points):
    def after_call(self, model: Any, **_: object) -> None:
        if model.name in AWS_WRITES:
            self.pass_one(model.name)

    def work(self, run_id: int) -> None:
        commit = connection._commit
        events = aws_store.secrets_manager().sm.meta.events
        events.register("after-call.secrets-manager", self.after_call)

        def commit_and_pass() -> None:
            commit()
            self.pass_one("commit")

        connection._commit = commit_and_pass
        with connection.execute_wrapper(self.after_statement):
            engine.work_on_run(run_id=run_id)


def work_and_kill(run_id: int, at: int) -> bool:
    """Work in a process that is killed at its point of this number; say whether it came so far."""
    return wait_for(fork(lambda: PointsOfARun(at).work(run_id))) == signal.SIGKILL


def work_and_list(run_id: int) -> list[str]:
    """Work in a process that nobody kills, and return its points."""
    read, write = os.pipe()

    def work() -> None:
        points = PointsOfARun(-1)
        points.work(run_id)
        os.write(write, json.dumps(points.passed).encode())

    pid = fork(work)
    os.close(write)
    with os.fdopen(read) as told:
        assert wait_for(pid) == 0
        return json.loads(told.read())
