"""What goes wrong in the middle of an act: its process is killed, AWS fails, somebody else acts between two steps.

A step is a statement to PostgreSQL or a call of AWS, of the process that acts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session
from django.db import connection, connections

from migration.core import aws_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.law.environment import World

STATEMENT_WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")
CALL_WRITES = (b"Create", b"Put", b"Update", b"Tag", b"Restore", b"Delete", b"Remove", b"Replicate")


class What(StrEnum):
    """What goes wrong, or who comes in between."""

    KILLED = "killed"  # before a step that writes, or between AWS's having taken one and its answer
    DOWN = "AWS is down from a call on"
    THROTTLED = "AWS throttles from a call on"
    LOST = "a call's answer is lost, and AWS is down after it"
    LOST_ONCE = "a call's answer is lost, and the next try passes"
    NOVA_WRITES = "NOVA writes"
    TRIGGERS_GO = "NOVA switches the triggers off and writes"
    NOVA_COMMITS = "NOVA commits what it wrote before the act"
    NOVA_READS = "NOVA reads"
    NOVA_RENAMES = "NOVA gives the client another slug"
    SECRETS_FOLLOW = "the schedule moves its secrets to the name of its slug"
    COLLEAGUE_SAVES = "a colleague saves"
    COLLEAGUE_MOVES_ON = "a colleague moves it on"
    COLLEAGUE_MOVES_BACK = "a colleague moves it back"
    WORKER_PUSHES = "a worker pushes"
    CAMPAIGN_GOES_FURTHER = "the schedule takes a campaign further"
    COLLEAGUE_CHANGES_LAYOUT = "a colleague changes the layout"
    COLLEAGUE_OFFBOARDS = "a colleague offboards it and brings it back"
    CONSOLE_WRITES = "somebody writes in AWS"


LOST = (What.LOST, What.LOST_ONCE)
AWS_FAILS = (What.DOWN, What.THROTTLED, *LOST)


@dataclass(frozen=True)
class Interruption:
    """One thing that happens once; `at` which step, writing step or call is as its kind says."""

    what: What
    at: int


class Killed(BaseException):
    """The process has ended: nothing catches this."""


class Stage:
    """Where acts are played, each with at most one interruption."""

    def __init__(self, world: World, actors: dict[What, Callable[[World], None]]) -> None:
        self.world, self.actors = world, actors
        self.interruption: Interruption | None = None
        self.died = False
        self._http = URLLib3Session()
        # Others act in a thread of their own, which keeps its connection: making one takes longer than most acts.
        self._others = ThreadPoolExecutor(1)
        self._events = [
            aws_store.secrets_manager(interactive=interactive).sm.meta.events
            for interactive in (False, True)
        ]
        for events in self._events:
            events.register_first("before-send.*.*", self._before_a_call)

    def close(self) -> None:
        self._others.submit(connections.close_all).result()  # those of that thread
        self._others.shutdown()
        self._http.close()
        for events in self._events:
            events.unregister("before-send.*.*", self._before_a_call)

    @contextmanager
    def play(self, interruption: Interruption | None) -> Iterator[None]:
        """Ends quietly where the act was killed, with its connection gone as the process' would be."""
        self.steps = self.writes = self.calls = 0
        self.interruption, self.died = interruption, False
        self.answer_was_lost = bool(interruption and interruption.what in LOST)
        self.aws_failed = bool(interruption and interruption.what in AWS_FAILS)
        self.said_by_others: list[BaseException] = []
        self.process = connections["default"]  # this thread's
        self.process.ensure_connection()
        try:
            with connection.execute_wrapper(self._before_a_statement):
                yield
        except BaseException:
            if not self.died:
                raise
            connection.close()
        finally:
            self.interruption = None
        if self.said_by_others:
            raise self.said_by_others[0]

    def _before_a_statement(self, execute, statement, params, many, context):
        self._step(writes=statement.lstrip().startswith(STATEMENT_WRITES))
        return execute(statement, params, many, context)

    def _before_a_call(self, request, **_) -> AWSResponse | None:
        """botocore's hook: what it returns is taken for AWS's answer; None lets the request go there."""
        writes = request.headers["X-Amz-Target"].rpartition(b".")[2].startswith(CALL_WRITES)
        self._step(writes=writes)
        if writes and self._ends_here():
            self._http.send(request)
            self._end()
        return self._fail(request)

    def _step(self, *, writes: bool) -> None:
        if self.interruption is None:
            return
        now, self.steps = self.steps, self.steps + 1
        if self.interruption.what in self.actors and self.interruption.at == now:
            self._let(self.actors[self.interruption.what])
        elif writes and self._ends_here():
            self._end()

    def _ends_here(self) -> bool:
        if self.interruption is None or self.interruption.what != What.KILLED:
            return False
        now, self.writes = self.writes, self.writes + 1
        return now == self.interruption.at

    def _fail(self, request) -> AWSResponse | None:
        if self.interruption is None or self.interruption.what not in AWS_FAILS:
            return None
        what, since = self.interruption.what, self.calls - self.interruption.at
        self.calls += 1
        if since < 0 or (what == What.LOST_ONCE and since > 0):
            return None
        if what in LOST and since == 0:
            self._http.send(request)
        if what == What.THROTTLED:
            return AWSResponse(request.url, 400, {}, _Throttled())
        raise ConnectionClosedError(endpoint_url=request.url)

    def _let(self, actor: Callable[[World], None]) -> None:
        """Has somebody else act meanwhile, with a connection of their own."""
        self.interruption = None
        self._others.submit(self._act, actor).result()

    def _act(self, actor: Callable[[World], None]) -> None:
        try:
            actor(self.world)
        except BaseException as error:  # noqa: BLE001  # raised once the act is over
            self.said_by_others.append(error)
            connection.close()

    def _end(self) -> None:
        """The process' connection goes first, so that none of its code can tidy up."""
        self.died, self.interruption = True, None
        raw = self.process.connection
        if raw is not None and not raw.closed:
            pid = raw.info.backend_pid
            raw.close()
            self.world.nova.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        raise Killed


class _Throttled:
    def stream(self, *_, **__) -> Iterator[bytes]:
        yield b'{"__type": "ThrottlingException", "Message": "Rate exceeded"}'
