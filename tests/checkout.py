"""The checkout, and `manage.py` in it, run in a process of its own."""

import fcntl
import gc
import multiprocessing
import os
import runpy
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests import warm_site

ROOT = Path(__file__).resolve().parent.parent
# Ends what hangs; a slow machine takes six times the seconds of a usual one.
TIMEOUT_SECONDS = 600
# What every command imports of others before it reads a setting: two thirds of the time that a process takes to start.
IMPORTED_BEFORE = (
    *("ahocorasick_rs", "asyncio", "boto3", "botocore.client", "cryptography.fernet", "environ"),
    *("cryptography.x509", "jwt", "logging.config", "multiprocessing.queues", "psutil", "psycopg"),
    *("multiprocessing.sharedctypes", "picklefield.fields", "python_ipware", "requests"),
    *("smtplib", "whitenoise.middleware", "nova_credentials.aws", "nova_credentials.comparison"),
    "tests.checkout",
    *(
        f"django.{name}"
        for name in (
            *("conf.urls.i18n", "contrib.admin.options", "contrib.admin.templatetags.admin_list"),
            *("contrib.admin.templatetags.admin_modify", "contrib.admin.views.main"),
            *("contrib.auth.hashers", "contrib.auth.management", "contrib.auth.tokens"),
            *("contrib.auth.password_validation"),
            *("contrib.messages.middleware", "contrib.postgres.fields", "core.management"),
            *("contrib.sessions.middleware", "contrib.staticfiles.finders", "core.serializers"),
            *("core.management.commands.migrate", "db.backends.postgresql.base", "forms"),
            *("middleware.common", "middleware.locale", "middleware.security", "views.debug"),
            *("template.backends.django", "template.loader_tags", "template.loaders.cached"),
            *("template.loaders.app_directories", "views.generic"),
        )
    ),
)
forking = multiprocessing.get_context("forkserver")
forking.set_forkserver_preload(list(IMPORTED_BEFORE))


def manage(*arguments: str, **environment: str) -> CompletedProcess[str]:
    """Runs `manage.py` as a person would, in a process of its own, forked from one that has imported it."""
    command = ["manage.py", *arguments]
    settings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings"}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "stdout"), Path(folder, "stderr")
        surroundings = dict(os.environ) | settings | environment
        code = run_forked(command, surroundings, *written)
        if code is None:
            raise TimeoutError(f"{command} takes longer than {TIMEOUT_SECONDS} s")
        return CompletedProcess(command, code, *(file.read_text() for file in written))


def run_forked(command: list[str], surroundings: dict[str, str], *written: Path) -> int | None:
    """Run it in a process that is killed where it takes too long; return its exit code."""
    args = (command, surroundings, *written)
    if warm_site.fits(surroundings):
        warm_site.start_site(forking, in_production=not surroundings.get("DEBUG"))
        return warm_site.run(surroundings, (run_command, args, TIMEOUT_SECONDS))
    process = forking.Process(target=run_command, args=args, daemon=True)
    process.start()
    process.join(TIMEOUT_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


@dataclass
class Terminal:
    """A terminal and the command that runs on it: what it wrote so far, and its keyboard."""

    keyboard: int
    process: BaseProcess
    screen: str = ""

    def wait_for(self, text: str) -> None:
        """Wait until the command has written the text."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            assert self.process.is_alive(), self.screen
            if select.select([self.keyboard], [], [], 0.05)[0]:
                self.screen += os.read(self.keyboard, 65536).decode(errors="replace")

    def press(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)


@contextmanager
def manage_on_terminal(*arguments: str, columns: int, **environment: str) -> Iterator[Terminal]:
    """Runs `manage.py` in a process of its own, with a terminal that has so many columns."""
    settings = {"DJANGO_SETTINGS_MODULE": "nova_admin.settings", "TERM": "xterm"}
    keyboard, screen = os.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = forking.Process(
        target=run_command_on_terminal,
        args=(
            ["manage.py", *arguments],
            # Where this names a size, the terminal's own isn't asked.
            {**os.environ, **settings, "COLUMNS": str(columns), **environment},
            os.ttyname(screen),
        ),
        daemon=True,
    )
    process.start()
    try:
        yield Terminal(keyboard, process)
    finally:
        process.kill()
        process.join()
        os.close(keyboard)
        os.close(screen)


def run_command_on_terminal(command: list[str], environment: dict[str, str], name: str) -> None:
    """Becomes the command, on the terminal of this name, whose Ctrl-C reaches it."""
    os.setsid()
    terminal = os.open(name, os.O_RDWR)  # the first one that a session opens is its own
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    sys.stdin = os.fdopen(0)  # multiprocessing gave it another file
    become_command(command, environment)


def run_command(command: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    """Becomes the command: its own environment, working directory and output."""
    for number, file in ((1, out), (2, err)):
        with file.open("a") as opened:
            os.dup2(opened.fileno(), number)
    subprocess.run = partial(run_child, subprocess.run, out, err)
    become_command(command, environment)


def run_child(
    run: Callable[..., CompletedProcess[str]],
    out: Path,
    err: Path,
    command: list[str],
    **options: Any,
) -> CompletedProcess[str]:
    """Runs what the command starts: where that is `manage.py` again, it is forked too."""
    environment = options.get("env", {})
    is_manage = command[:2] == [sys.executable, str(ROOT / "manage.py")]
    is_up = (not environment.get("DEBUG")) in warm_site.ADDRESSES
    if not (is_manage and is_up and warm_site.fits(environment)):
        return run(command, **options)
    with tempfile.NamedTemporaryFile("r") as told:
        written = Path(told.name) if options.get("stdout") else out, err
        args = (command[1:], environment, *written)
        code = warm_site.run(environment, (run_command, args, TIMEOUT_SECONDS))
        return CompletedProcess(command, code, told.read())


def become_command(command: list[str], environment: dict[str, str]) -> None:
    # Looking for garbage is a fifth of `migrate`'s time, and the process ends soon.
    gc.disable()
    # A test run in the background ignores it, and what it starts would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv, sys.path[0] = command, str(ROOT)
    runpy.run_path("manage.py", run_name="__main__")
