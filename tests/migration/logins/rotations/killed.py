"""Rotates in a process that is killed at a point: after AWS took a write, after a statement, after a commit."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connection, connections

from migration.core import aws_store, leases
from migration.logins.rotations import go_on_with_rotation, rotate_database
from tests.migration.logins.rotations.conftest import open_plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migration.logins.attempts import DatabaseLogin

PATIENCE_SECONDS = 300
AWS_WRITES = ("PutSecretValue", "UpdateSecretVersionStage", "CreateSecret", "RestoreSecret")
PASSWORD_SET = "password set"
STATEMENT_WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


def fork(function: Callable[[], object]) -> int:
    """Run the function in a new process, which tidies nothing up, and return its id."""
    if pid := os.fork():
        return pid
    try:
        # The parent's connection is the parent's: it is left behind, not closed.
        connections["default"].connection = None
        leases._of_thread.__dict__.clear()
        function()
        os._exit(0)
    except BaseException:  # noqa: BLE001  # nothing of the parent's may go on in it
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


def wait_for(pid: int) -> int:
    """Return how the process ended: 0, or the number of the signal; fails where it failed or takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the process does not end")


class Points:
    """Names the points of this process, and kills it at the one that was chosen."""

    def __init__(self, chosen: int) -> None:
        self.chosen, self.passed = chosen, []

    def pass_one(self, name: str) -> None:
        if len(self.passed) == self.chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)

    def after_call(self, model: Any, **_: object) -> None:
        if model.name in AWS_WRITES:
            self.pass_one(model.name)

    def after_statement(self, execute, statement, params, many, context) -> object:
        done = execute(statement, params, many, context)
        # Within a transaction the statement is gone with the process.
        if statement.lstrip().startswith(STATEMENT_WRITES) and not connection.in_atomic_block:
            self.pass_one("statement")
        return done

    @contextmanager
    def open_login(self, login: DatabaseLogin) -> Iterator[psycopg.Connection]:
        with open_plainly(login) as opened:
            execute = opened.execute

            def run(statement, *args: object) -> object:
                done = execute(statement, *args)
                if isinstance(statement, psycopg.sql.Composed):  # it changes the password
                    self.pass_one(PASSWORD_SET)
                return done

            opened.execute = run
            yield opened

    def rotate(self, client_id: int) -> None:
        commit = connection._commit
        for interactive in (False, True):
            events = aws_store.secrets_manager(interactive=interactive).sm.meta.events
            events.register("after-call.secrets-manager", self.after_call)

        def commit_and_pass() -> None:
            commit()
            self.pass_one("commit")

        connection._commit = commit_and_pass
        with connection.execute_wrapper(self.after_statement):
            rotate_database(client_id=client_id, open_login=self.open_login)


def rotate_and_kill(client_id: int, at: int) -> bool:
    """Rotate in a process that is killed at its point of this number; say whether it came so far."""
    return wait_for(fork(lambda: Points(at).rotate(client_id))) == signal.SIGKILL


def rotate_and_list(client_id: int) -> list[str]:
    """Rotate in a process that nobody kills, and return its points."""
    read, write = os.pipe()

    def rotate() -> None:
        points = Points(-1)
        points.rotate(client_id)
        os.write(write, json.dumps(points.passed).encode())

    pid = fork(rotate)
    os.close(write)
    with os.fdopen(read) as told:
        assert wait_for(pid) == 0
        return json.loads(told.read())


def go_on(client_id: int) -> Any:
    """What the minute's task does, once the killed process' leases are free."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if rotation := go_on_with_rotation(client_id=client_id, open_login=open_plainly):
            return rotation
        from migration.models import Rotation

        if Rotation.objects.find_unfinished(client_id) is None:
            return None
        time.sleep(0.01)
    raise AssertionError("the lease does not come free")
