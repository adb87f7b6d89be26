"""Carries the name of a request from its page to its tasks and to the calls of AWS that both make, for the log.

It is a UUID and never a part of anything else, so a log can show it. Reads no setting and no table.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

# `UUID` itself also takes braces, prefixes and hyphens anywhere.
_FORM = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)

_correlation: ContextVar[str] = ContextVar("correlation", default="")


def current_correlation() -> str:
    """Return the name of the request or task that this thread works for, or nothing."""
    return _correlation.get()


@contextmanager
def correlating(name: str) -> Iterator[None]:
    """Have what is logged within the block bear this name."""
    token = _correlation.set(name)
    try:
        yield
    finally:
        _correlation.reset(token)


def read_or_make_correlation(text: object) -> str:
    """Return the name that somebody else gave, where it is a UUID; a new one for anything else."""
    found = isinstance(text, str) and _FORM.fullmatch(text)
    return str(UUID(found[0]) if found else uuid4())
