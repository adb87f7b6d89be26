"""The way back to the first release, as docs/studies/first-release.md has it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from tests.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = (
    ("migrate", "migration", "0006_first_release"),
    ("migrate", "credentials", "0002_first_release"),
)
SCRIPT = ROOT / "deploy" / "back_to_first_release.sql"
TRIES = 50
IN_USE = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.DeadlockDetected,
)


def go_back(uri: str, manage: Callable[..., object]) -> None:
    """Take the steps by `manage`, then run the script as the role of the URI, again while a table is in use."""
    for step in STEPS:
        manage(*step)
    for _attempt in range(TRIES):
        try:
            run_script(uri)
        except IN_USE:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("a table stays in use")


def run_script(uri: str) -> None:
    """Run it as psql does: statement by statement, in one transaction."""
    before, body, after = SCRIPT.read_text().partition("CREATE OR REPLACE FUNCTION")
    function, end, rest = (body + after).partition("$$;\n")
    statements = [*before.split(";\n"), function + end, *rest.split(";\n")]
    with psycopg.connect(uri) as connection:
        for statement in filter(str.strip, statements):
            connection.execute(statement)
