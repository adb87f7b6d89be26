"""What a command shows of work that is no run: the plan of `--dry-run`, and a few moves made in its own process."""

import io
import json
import threading

import pytest
from django.core.management import call_command

from migration.management import progress
from migration.management.base import OneLineOutput
from migration.management.progress import CountedWork, describe_progress, show_work
from nova_admin.embedded.conditions import Conditions
from tests.factories import make_full_client
from tests.migration.management.test_run_display import Screen

MOVES = ("move_clients", "dual_write", "idom", "acme")
PLAN = ("migrate_clients", "--all", "--dry-run")


@pytest.fixture
def slow(stores, monkeypatch) -> None:
    """Two clients, and an AWS that takes a tenth of a second for each call."""
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    make_full_client("idom"), make_full_client("acme")
    stores.conditions.set(Conditions(round_trip_seconds=0.1))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (PLAN, "Plan: 0 of 2 clients (0 %)"),
        (MOVES, "Moves to dual_write: 0 of 2 clients (0 %)"),
        (MOVES, "Moves to dual_write: 1 of 2 clients (50 %)"),
    ],
)
def test_on_a_terminal_there_is_a_bar_while_it_lasts(slow, monkeypatch, command, shown):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    out, err = io.StringIO(), Screen()

    call_command(*command, "--format", "json", stdout=out, stderr=err)

    assert shown in " ".join(err.lines)
    assert json.loads(out.getvalue())


@pytest.mark.parametrize(
    ("command", "begins"), [(PLAN, "Plan: 0 of 2"), (MOVES, "Moves to dual_write: ")]
)
def test_elsewhere_there_are_lines_and_each_says_something_new(slow, command, begins):
    out, err = io.StringIO(), io.StringIO()

    call_command(*command, "--format", "json", stdout=out, stderr=err)

    lines = err.getvalue().splitlines()
    assert lines[0].startswith(begins)
    assert all(line.startswith(begins.split(":")[0]) for line in lines)
    assert len(lines) == len(set(lines))
    assert json.loads(out.getvalue())


@pytest.mark.parametrize("command", [PLAN, MOVES])
def test_what_is_over_before_a_second_says_nothing_but_its_result(stores, command):
    make_full_client("idom"), make_full_client("acme")
    err = io.StringIO()

    call_command(*command, stdout=io.StringIO(), stderr=err)

    assert err.getvalue() == ""


def test_an_error_in_the_work_ends_the_display():
    before = set(threading.enumerate())

    with pytest.raises(ZeroDivisionError), show_work(OneLineOutput(io.StringIO()), "Plan", 2):
        _ = 1 / 0

    assert set(threading.enumerate()) <= before


def test_the_line_has_the_rate_and_the_time_left(monkeypatch):
    monkeypatch.setattr("migration.management.progress.time.monotonic", lambda: 110.0)
    work = CountedWork("Plan", 2_000, began_at=100.0, done=500)

    assert describe_progress(work) == (
        "Plan: 500 of 2,000 clients (25 %), 50.0/s, about 30 seconds left"
    )
    assert describe_progress(CountedWork("Plan", 0, 100.0)) == "Plan: 0 of 0 clients (100 %)"
