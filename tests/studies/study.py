"""What every study is made of: its declaration, its table, a site of its own, and processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from tests import nova_database
from tests.checkout import ROOT
from tests.hosts import RUN_WHILE_PARENT_LIVES

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator

LOCAL = ROOT / ".local" / "studies"
RESULTS = ROOT / "docs" / "studies" / "results.md"
NOBODY = "http://127.0.0.1:1"
MOST_SECONDS = 1800
# Evidence takes days; the facts of the gate are asked for all the same.
NO_EVIDENCE = {"NOVA_CLEAN_STREAK": "0", "NOVA_DUAL_READ_HOURS": "0", "NOVA_MIN_READS": "0"}


@dataclass(frozen=True)
class Study:
    """Declared by its module as STUDY. The module's name is its own, its first line says what it finds out."""

    # Returns the tables that it printed. A missed bound in one of them makes the study fail.
    measure: Callable[[Namespace], Iterable[Table]]
    needs: str  # how long it takes on two cores that are free, and what else it wants
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # as argparse takes them
    # Whether it has tables in docs/studies/results.md, which `--write` makes anew.
    writes: bool = False


@dataclass
class Table:
    """A study's table, each row printed once it is there.

    With a name it stands in results.md, between `<!-- NAME -->` and `<!-- end of NAME -->`, below the machine. Where a
    part of it can be measured alone, `every` has how each row begins, in order: a row that wasn't measured stays.
    """

    columns: tuple[str, ...] = ("measure", "reached", "must reach")
    name: str = ""
    every: tuple[str, ...] = ()
    rows: list[str] = field(default_factory=list)
    holds: bool = True

    def __post_init__(self) -> None:
        print(f"\n{self.head}", flush=True)

    @property
    def head(self) -> str:
        return f"{make_row(self.columns)}\n|{'---|' * len(self.columns)}"

    def add(self, *cells: str) -> None:
        self.rows.append(make_row(cells))
        print(self.rows[-1], flush=True)

    def add_measure(
        self, measure: str, reached: float, unit: str, bound: str = "", *, holds: bool = True
    ) -> None:
        self.add(measure, self.judge(f"{reached:,.2f} {unit}", holds=holds), bound)

    def judge(self, reached: str, *, holds: bool) -> str:
        """Return the text of a cell, marked where its bound is missed."""
        self.holds &= holds
        return reached if holds else f"{reached} **missed**"

    def put_into(self, text: str) -> str:
        """Return the page with this table in place of the one of its name."""
        start, end = f"<!-- {self.name} -->\n", f"\n<!-- end of {self.name} -->"
        before, _, rest = text.partition(start)
        old, _, after = rest.partition(end)
        rows, machine = self.rows, f"{describe_machine()}:\n\n"
        if self.every:
            known = {row.split(" | ")[0]: row for row in [*old.splitlines()[2:], *rows]}
            rows, machine = [known[key] for each in self.every if (key := f"| {each}") in known], ""
        return "".join([before, start, machine, "\n".join([self.head, *rows]), end, after])


def make_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def describe_machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def use_settings(*, aws: str = NOBODY, access_key: str = "embedded", **more: str) -> None:
    """Have this process and its children be a site in development, with the studies' PostgreSQL and this AWS."""
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws,
        "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": "embedded",
    } | more  # fmt: skip
    if "DATABASE_URL" not in more:
        os.environ["DATABASE_URL"] = postgres.start_server(LOCAL / "postgres")


def use_embedded_aws(**more: str) -> None:
    """Do the same with an embedded AWS that is empty."""
    import shutil

    from nova_admin.embedded import aws

    shutil.rmtree(LOCAL / "aws", ignore_errors=True)
    server = aws.start_server(LOCAL / "aws")
    use_settings(aws=server.endpoint, access_key=server.access_key, **more)


@contextmanager
def migrated_site() -> Iterator[str]:
    """Set Django up on a database of its own, in which NOVA's tables are empty; give its URI."""
    from django.core.management import call_command

    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        set_up()
        call_command("migrate", verbosity=0)
        yield uri


def set_up() -> None:
    import django
    from django.conf import settings

    django.setup()
    settings.DEBUG = False  # in development Django keeps every statement in memory


def call_in_process(function: Callable[..., None], *arguments: object, **environment: str) -> str:
    """Call a module's function in a process of its own, and return what it printed."""
    name = function.__name__
    code = f"from {function.__module__} import {name}; {name}(*{arguments!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.PIPE, text=True, check=True, timeout=MOST_SECONDS,
    )  # fmt: skip
    return done.stdout


@contextmanager
def workers(number: int) -> Iterator[None]:
    """Have so many workers at work, as a `qcluster` that ends with the block, and with this process."""
    command = [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "manage.py", "qcluster"]
    with (LOCAL / "qcluster.log").open("ab") as log:
        runner = subprocess.Popen(
            command, cwd=ROOT, start_new_session=True, stdout=log, stderr=log,
            env=os.environ | {"NOVA_WORKERS": str(number)},
        )  # fmt: skip
    try:
        yield
    finally:
        runner.terminate()
        runner.wait(30)


def read_peak(process: str = "self") -> int:
    """Return the most kilobytes that the process had until now; 0 once it has ended.

    What `getrusage` tells begins with the memory of the process that started it.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
