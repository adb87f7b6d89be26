"""Hands a host's tasks to its workers so that one which is killed or hangs while it waits keeps none from the others.

multiprocessing's own queue has a waiting worker hold its lock, and a killed process never gives that back: the host's
other workers would live, and do nothing.
"""

from __future__ import annotations

import fcntl
import tempfile
import threading
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any

from django_q.queues import Queue

if TYPE_CHECKING:
    from types import TracebackType


class KillSafeQueue(Queue):  # type: ignore[misc]  # django-q has no types
    """django-q's queue between one host's processes, not its broker; a killed worker leaves it usable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = LockAcrossForks()
        # The turn comes first: between processes nothing is left for multiprocessing's lock to do.
        self._rlock = threading.Lock()

    def get(self) -> Any:
        """Wait for something, and take it. The lock is held only while it is taken."""
        while True:
            self._poll(None)
            # Another may have been quicker.
            with self._turn, suppress(Empty):
                return super().get(timeout=0)


class LockAcrossForks:
    """A lock that the process that made it or one of its children holds; the kernel frees it if that one ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the processes live

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
