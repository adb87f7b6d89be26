"""Copies of the checkout, each with a PostgreSQL of its own, in which tests are run on code with a defect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nova_admin.embedded import postgres
from tests.checkout import ROOT
from tests.scratch import FOLDER, SERVER_SETTINGS
from tests.studies.mutation_plugin import NOTES, ORDER
from tests.studies.mutation_probes import add_probes
from tests.templates import claim_copy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.studies.mutation_defects import Mutation

# Of what is hidden, tests read .env.example alone; an .env is the site's.
NOT_COPIED = shutil.ignore_patterns(".[!e]*", ".env", "__pycache__", "staticfiles")
TEST_DATABASE, KEPT_DATABASE = "test_postgres", "kept_by_mutation"
# What `migrate` takes from these is in the database, so each defect in them gets one of its own.
MADE_BY_MIGRATE = ("credentials/triggers.py", "credentials/trigger_sql.py")
# A defect that makes the tests so much slower is found too.
PATIENCE, PATIENCE_SECONDS = 4, 30
# On a slow machine, measuring took longer than a quarter of an hour. Only what hangs is ended.
LONGEST_SECONDS = 3600
TESTS_FAILED = (1, 2, 4)  # pytest's exit codes; 2 and 4: something could not be imported


@dataclass(frozen=True)
class TestNote:
    """What is known of a test: how long it takes, and the lines of the mutated modules that it runs."""

    name: str
    seconds: float
    lines: frozenset[tuple[str, int]]

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


class Workplace:
    """One copy of the checkout and its server; one run of tests at a time."""

    def __init__(self, copy: Path) -> None:
        self.copy, self.folder = copy, copy / ".local" / "test"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        # Who keeps it running here saves each run of tests its start.
        self.uri = postgres.start_server(self.folder / "postgres", settings=SERVER_SETTINGS)
        self.is_kept = False

    def measure_tests(
        self, files: Iterable[str], modules: Iterable[str], *options: str
    ) -> list[TestNote]:
        """Run the tests without a defect, and keep the database that `migrate` made; exits where they fail."""
        originals = {self.copy / module: (self.copy / module).read_bytes() for module in modules}
        notes = self.copy / ".local" / "notes.json"
        try:
            for module in modules:
                path = self.copy / module
                path.write_text(add_probes(module, path.read_text()))
            done = self.run_tests(
                *("--reuse-db", "--create-db", *options, *files),
                seconds=LONGEST_SECONDS,
                **{NOTES: str(notes)},
            )
        finally:
            for path, source in originals.items():
                path.write_bytes(source)
        if done is None:
            sys.exit(
                f"Without a defect, tests took more than {LONGEST_SECONDS} s: is the machine busy?"
            )
        if done.returncode:
            sys.exit(f"Tests fail without a defect: {done.stdout}")
        self.keep_database()
        return [
            TestNote(name, note["seconds"], frozenset(map(tuple, note["lines"])))
            for name, note in json.loads(notes.read_text()).items()
        ]

    def keep_database(self) -> None:
        """Keep a copy of the tests' database."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            found = connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", [TEST_DATABASE]
            )
            self.is_kept = found.fetchone() is not None  # there is none where no test needed it
            if self.is_kept:
                connection.execute(compose("CREATE DATABASE {kept} TEMPLATE {name}"))

    def renew_database(self, *, empty: bool) -> None:
        """Put back the kept database, whatever a run of tests left; `empty`: the run is to make one by `migrate`."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(compose("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            if not self.is_kept or empty:
                return
            connection.execute(compose("CREATE DATABASE {name} TEMPLATE {kept}"))
        claim_copy(make_conninfo(self.uri, dbname=TEST_DATABASE))

    def is_found(self, mutation: Mutation, *parts: list[TestNote]) -> bool:
        """Make the defect, and run one part of the tests after the other until one fails."""
        file = self.copy / mutation.module
        source = file.read_bytes()
        try:
            file.write_bytes(mutation.apply_to(source))
            return any(self.do_tests_fail(mutation, tests) for tests in parts if tests)
        finally:
            file.write_bytes(source)

    def do_tests_fail(self, mutation: Mutation, tests: list[TestNote]) -> bool:
        is_own = mutation.module in MADE_BY_MIGRATE
        self.renew_database(empty=is_own)
        order = self.copy / ".local" / "order.json"
        order.write_text(json.dumps([test.name for test in tests]))
        files = dict.fromkeys(test.file for test in tests)
        done = self.run_tests(
            *(() if is_own else ("--reuse-db",)),
            *("-x", *files),
            seconds=PATIENCE * sum(test.seconds for test in tests) + PATIENCE_SECONDS,
            **{ORDER: str(order)},
        )
        if done and done.returncode not in (0, *TESTS_FAILED):
            raise SystemExit(f"{mutation}: {done.stdout}{done.stderr}")
        return done is None or done.returncode in TESTS_FAILED

    def run_tests(
        self, *options: str, seconds: float, **environment: str
    ) -> subprocess.CompletedProcess[str] | None:
        """Run tests in the copy; None where they are not done after so many seconds."""
        plugins = (
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.studies.mutation_plugin",
        )
        # A defect and its undoing may bear one time and one size: compiled code would be taken for the other's.
        fixed = {"PYTHONDONTWRITEBYTECODE": "1", FOLDER: str(self.folder)}
        environment = os.environ | fixed | environment
        try:
            return subprocess.run(
                [sys.executable, "-m", "pytest", "-q", *plugins, *options],
                cwd=self.copy, capture_output=True, text=True, check=False, timeout=seconds,
                env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None


def compose(statement: str) -> sql.Composed:
    return sql.SQL(statement).format(
        name=sql.Identifier(TEST_DATABASE), kept=sql.Identifier(KEPT_DATABASE)
    )
