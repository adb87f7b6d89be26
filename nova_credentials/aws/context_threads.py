"""Makes threads that know for which request they work, as their callers do."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ContextThreads(ThreadPoolExecutor):
    """Runs each call in a copy of its caller's context: the names in the log, and who acts in the audit."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        return super().submit(partial(copy_context().run, fn, *args, **kwargs))
