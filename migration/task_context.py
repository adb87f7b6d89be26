"""Gives a task the name of the request that queued it, and a failed one a result that holds no value."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack

from credentials.shown_names import escape_invisible
from migration.core.correlation import (
    correlating,
    current_correlation,
    describe_error,
    read_or_make_correlation,
)

# The entry of a task's package; django-q hands on what it doesn't know.
ENTRY = "correlation"
# Of a task's name: somebody who may write into the queue chooses it.
LONGEST_NAME = 200

logger = logging.getLogger(__name__)


class TaskContext:
    """The one task that this worker process does now. The methods are called by django-q's signals."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._name = self._failure = ""

    def begin_task(self, task: dict[str, object], **_: object) -> None:
        """Have what is logged bear the request's name; a task of the schedule has a name of its own."""
        self._name, self._failure = escape_invisible(str(task.get("name"))[:LONGEST_NAME]), ""
        self._stack.enter_context(
            correlating(read_or_make_correlation(task.get(ENTRY) or task.get("id")))
        )

    def report(self) -> None:
        """Log the exception that is being handled, and keep a text of it without values.

        django-q calls this where a task failed. `replace_failed_result_and_end` stores that text as the task's result,
        in place of the whole text, which django-q would store.
        """
        error = sys.exception()
        if error is not None:
            self._failure = f"{describe_error(error)} [{current_correlation()}]"
            logger.error("Task %s failed", self._name, exc_info=error)

    def replace_failed_result_and_end(self, task: dict[str, object], **_: object) -> None:
        """Replace the result of a task that failed, before it is stored and logged."""
        if "result" in task and not task.get("success"):
            task["result"] = self._failure or "The task failed"
        self._stack.close()


def attach_correlation(task: dict[str, object], **_: object) -> None:
    """Put the correlation id of the request or task into a task that it queues."""
    if name := current_correlation():
        task[ENTRY] = name


task_context = TaskContext()
