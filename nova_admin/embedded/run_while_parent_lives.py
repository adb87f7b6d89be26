"""Runs one command for as long as the process that asked for it lives, and leaves none of its processes behind.

The caller runs `python -m nova_admin.embedded.run_while_parent_lives PID COMMAND…` with its own pid, in a session of
its own, so that Ctrl-C doesn't reach it. However the caller ends, kill -9 included, the command ends soon after.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress

POLL_SECONDS = 0.5
STOP_SECONDS = 15.0


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    asked: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(name, lambda number, _: asked.append(number))
    # In a process group of its own, so that the processes it started can be ended with it.
    process = subprocess.Popen(command, process_group=0)  # noqa: S603  # the caller's own
    while not (asked or os.getppid() != parent or _has_ended(process, POLL_SECONDS)):
        pass
    process.terminate()
    _has_ended(process, STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):  # all of the group has ended
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    sys.exit(code if code >= 0 else 128 - code)  # a shell's exit code for a signal


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


if __name__ == "__main__":
    main()
