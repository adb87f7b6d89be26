"""Knows who acts now, from where, and in which request or run, for the audit. Reads no table."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The name in place of a user's, where nobody is known to have asked for it.
SYSTEM = "system"
WORKER_COMMAND = "qcluster"


def make_correlation() -> str:
    """Return a new name by which the entries of one request or process belong together."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where: an address, or a command or worker with its host."""

    origin: str
    correlation: str = field(default_factory=make_correlation)
    # Called only if an entry is written: it may ask the database.
    find_name: Callable[[], str] = lambda: SYSTEM


_actor: ContextVar[Actor | None] = ContextVar("audit_actor", default=None)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Have entries that are written within the block name this actor."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def current_actor() -> Actor:
    """Return who acts now; where nobody was named, this process."""
    return _actor.get() or _process_actor(os.getpid())


def process_origin() -> str:
    """Return what this process is and on which host: `worker on nova-1`, `command verify_audit on nova-1`."""
    return _process_actor(os.getpid()).origin


@lru_cache(maxsize=1)
def _process_actor(_pid: int) -> Actor:
    name = Path(sys.argv[0]).name if sys.argv else ""
    command = sys.argv[1] if name == "manage.py" and len(sys.argv) > 1 else ""
    what = f"command {command}" if command else name or "process"
    if command == WORKER_COMMAND:
        what = "worker"
    return Actor(f"{what} on {settings.NOVA_HOST_NAME}")
