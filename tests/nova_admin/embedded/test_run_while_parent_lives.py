"""A command ends with its caller, and takes with it what it started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nova_admin.embedded.conftest import CHECKOUT, eventually

RUNNER = (
    "from nova_admin.embedded import run_while_parent_lives as runner;"
    " runner.STOP_SECONDS = 1; runner.main()"
)
# Starts a process of its own, says both pids, and sleeps.
FAMILY = 'sleep 600 & echo "$$ $!"; wait'
STUBBORN = f"trap '' TERM; {FAMILY}; sleep 600"
# The runner's caller, which can be killed without the test.
CALLER = (
    "import os, subprocess, sys\n"
    "subprocess.run([sys.executable, '-c', sys.argv[1], str(os.getpid()), 'sh', '-c', sys.argv[2]])"
)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", *arguments], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second of who ends between open and read
        return False


def family_of(process: subprocess.Popen[str]) -> list[int]:
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(lives, pids))
    return pids


def test_a_killed_caller_takes_the_command_with_it():
    caller = start(CALLER, RUNNER, STUBBORN)
    family = family_of(caller)
    caller.kill()
    caller.wait()
    assert eventually(lambda: not any(map(lives, family)))
    caller.stdout.close()


@pytest.mark.parametrize(
    ("number", "command", "code"),
    [(signal.SIGTERM, STUBBORN, 137), (signal.SIGINT, FAMILY, 143)],
)
def test_a_runner_that_is_told_to_end_ends_the_command(number, command, code):
    runner = start(RUNNER, str(os.getpid()), "sh", "-c", command)
    family = family_of(runner)
    runner.send_signal(number)
    runner.communicate(timeout=30)
    assert runner.returncode == code
    assert eventually(lambda: not any(map(lives, family)))


def test_a_command_that_ends_by_itself_hands_its_code_on_and_leaves_nobody():
    runner = start(RUNNER, str(os.getpid()), "sh", "-c", 'sleep 600 & echo "$$ $!"; exit 7')
    _, left = (int(pid) for pid in runner.stdout.readline().split())
    runner.communicate(timeout=30)
    assert runner.returncode == 7
    assert eventually(lambda: not lives(left))
