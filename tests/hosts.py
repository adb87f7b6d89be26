"""Hosts of workers: each a `qcluster` with a name of its own, in a process group of its own that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nova_admin.embedded import run_while_parent_lives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
# However the caller ends, so does what it started.
RUN_WHILE_PARENT_LIVES = (sys.executable, "-m", run_while_parent_lives.__name__)


def kill_group(runner: subprocess.Popen[bytes]) -> None:
    """End by SIGKILL, all at once, the processes that `run_while_parent_lives` runs: as a host that goes."""
    children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
    (group,) = children.read_text().split()
    os.killpg(int(group), signal.SIGKILL)
    runner.wait(10)


@contextmanager
def running_host(name: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A host of this name, which ends with the block, and with this process."""
    settings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings", "NOVA_HOST_NAME": name}
    runner = subprocess.Popen(
        [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "manage.py", "qcluster"],
        cwd=ROOT, env=os.environ | settings | environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield runner
    finally:
        runner.terminate()
        runner.wait(SECONDS)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
