"""What a command shows of its run: a bar and a table on a terminal, one object for programs, and what Ctrl-C leaves."""

import io
import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from migration.core.clients import all_clients
from migration.management import base, progress
from migration.management.base import OneLineOutput, RunCommand
from migration.management.progress import (
    BATCHES_END_FIRST,
    ProgressDisplay,
    iterate_items,
    print_item_table,
)
from migration.pushes import pushes
from migration.runs import engine
from migration.runs.items import RUN_INTERRUPTED, Outcome
from migration.runs.models import Run
from nova_admin.embedded.conditions import Conditions
from tests.checkout import manage_on_terminal
from tests.factories import make_client, make_full_client, nova_uri
from tests.migration.pages import DIFFERENT, close, make_run

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
STEERS = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z]|[\r\n])+")


def read_lines(written: str) -> list[str]:
    """The lines in what was written to a terminal, each time that they were drawn."""
    return [line.rstrip() for line in STEERS.sub("\n", COLOURS.sub("", written)).splitlines()]


class Screen(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        return [line for line in read_lines(self.getvalue()) if line]


@pytest.fixture(params=[60, 200])
def columns(request, monkeypatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TERM", "xterm")
    return request.param


def make_progress():
    run = make_run(8)
    close(run, 2, Outcome.COMPARED, comparison_status="mismatch")
    close(run, 1, Outcome.FAILED, error_class="data")
    close(run, 2, Outcome.FAILED, error_class="permission")
    return progress.reread_progress(run)


def test_a_bar_has_its_facts_beside_it_and_no_line_is_wider_than_the_terminal(db, columns):
    screen, now = Screen(), make_progress()
    with ProgressDisplay(OneLineOutput(screen)) as display:
        display.show(now, waits_for=RUN_INTERRUPTED(), remark=BATCHES_END_FIRST(id="7"))
        drawn = screen.lines

    assert "━" in drawn[0]
    assert max(map(len, drawn)) <= columns
    words = " ".join(" ".join(line.strip("━╸╺ ") for line in drawn).split())
    assert "5 of 8 clients (62 %)" in words
    assert "3 failed (2 permission, 1 data), 2 differ" in words
    assert f"Waiting: {RUN_INTERRUPTED()}. {BATCHES_END_FIRST(id='7')}" in words
    # The cursor is seen all the time: the process may be ended without a last word.
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")


def test_the_log_goes_above_the_bar(db, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    try:
        with ProgressDisplay(OneLineOutput(screen)) as display:
            display.show(make_progress())
            logging.getLogger("migration").warning("something [red]went[/red] wrong")
        logging.getLogger("migration").warning("afterwards")
    finally:
        logging.getLogger().removeHandler(handler)

    assert "something [red]went[/red] wrong" in screen.lines
    assert screen.lines[-1] == "afterwards"


@pytest.mark.parametrize("dumb", ["dumb", "unknown"])
def test_a_terminal_that_can_only_print_gets_lines(db, monkeypatch, dumb):
    monkeypatch.setenv("TERM", dumb)
    screen, now = Screen(), make_progress()

    with ProgressDisplay(OneLineOutput(screen)) as display:
        display.show(now)

    assert screen.getvalue().startswith("Migration ")
    assert "\x1b" not in screen.getvalue()


def test_names_of_others_are_text_in_bar_and_table(columns):
    screen = Screen()
    items = [
        {"slug": name, "outcome": "failed", "error_class": "data", "message": f"{name} is bad"}
        for name in ("[bold]x[/bold]", "\x1b[2Jy", ":smile:", "abc\u202egnp")
    ]

    print_item_table(screen, items)

    text = " ".join(screen.lines)
    for shown in ("[bold]x[/bold]", "\\x1b[2Jy", ":smile:", "\\u202e"):
        assert shown in text
    assert "\x1b[2J" not in screen.getvalue()


def test_a_table_fits_the_terminal_and_ends_with_what_needs_attention(columns):
    screen = Screen()
    items = [
        {"slug": "bad", "status": "unchecked", "error_class": "permission", "message": "Denied. " * 30},
        {"slug": "l" * 90, "status": "mismatch", "error_class": "", "message": "", "mismatches": [DIFFERENT]},
        {"slug": "good", "status": "match", "error_class": "", "message": ""},
        {"slug": "宽" * 40, "status": "skipped", "error_class": "", "message": "No credentials."},
    ]  # fmt: skip

    print_item_table(screen, items)

    from rich.cells import cell_len

    assert max(map(cell_len, screen.lines)) <= columns
    assert screen.lines[0].split() == ["Client", "Outcome", "Error", "Message"] or columns == 60
    order = [line.split()[1] for line in screen.lines if len(line.split()) > 1]
    found = [word for word in order if word in ("match", "skipped", "mismatch", "unchecked")]
    assert found == ["match", "skipped", "mismatch", "unchecked"]
    assert (
        "database.password: different (blank)" in " ".join(" ".join(screen.lines).split())
        or columns == 60
    )


def test_of_many_items_only_those_that_need_attention_are_in_the_table(db, columns, monkeypatch):
    monkeypatch.setattr(base, "ITEMS_AT_ONCE", 2)
    run, screen = make_run(6), Screen()
    close(run, 3, Outcome.UNCHANGED)
    close(run, 3, Outcome.FAILED, error_class="data")
    command = RunCommand()
    command.stdout = OneLineOutput(screen)

    command.print_items_as_text(iterate_items(run))

    lines = [words for line in screen.lines if len(words := line.split()) > 1]
    assert [words[1] for words in lines] == [
        *["unchanged"] * 3, "failed", "Outcome", *(["failed"] * 2)
    ]  # fmt: skip


def test_on_a_terminal_a_command_ends_with_a_table_and_its_counts(stores, columns):
    make_full_client("idom"), make_client("empty")
    out, err = Screen(), Screen()

    call_command("migrate_clients", "--all", "--inline", stdout=out, stderr=err)

    run = Run.objects.get()
    rows = [line.split() for line in out.lines]
    assert ["idom", "created"] in rows
    assert rows.index(["idom", "created"]) < rows.index(["empty", "skipped", "No", "credentials."])
    assert out.lines[-1] == f"{run.pk} run, 2 clients, 1 created, 1 skipped, 1 matched"


def test_with_json_standard_output_holds_the_object_alone_though_both_are_terminals(
    stores, monkeypatch
):
    make_full_client("idom")
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    stores.conditions.set(Conditions(round_trip_seconds=0.1))
    out, err = Screen(), Screen()

    call_command("migrate_clients", "--all", "--inline", "--format", "json", stdout=out, stderr=err)

    assert json.loads(out.getvalue())["created"] == 1
    assert "\x1b" not in out.getvalue()
    assert "0 of 1 clients (0 %)" in " ".join(err.lines)


@pytest.fixture(autouse=True)
def listen_to_ctrl_c() -> Iterator[None]:
    """A test run in the background ignores it, and a command that finds it ignored leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def small_batches(monkeypatch) -> None:
    monkeypatch.setattr(Run, "BATCH", 2)
    monkeypatch.setattr(engine, "BATCHES_AT_ONCE", 1)


def press_ctrl_c_in_the_first_batch(monkeypatch) -> None:
    push, pressed = pushes.push, []

    def pushing(**how):
        if not pressed:
            pressed.append(signal.raise_signal(signal.SIGINT))
        return push(**how)

    monkeypatch.setattr(pushes, "push", pushing)


@pytest.mark.usefixtures("small_batches", "stores")
def test_ctrl_c_ends_the_batch_in_work_and_says_what_is_done_and_how_to_go_on(monkeypatch, capsys):
    for n in range(6):
        make_full_client(f"client-{n}")
    press_ctrl_c_in_the_first_batch(monkeypatch)
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(CommandError) as left:
        call_command("migrate_clients", "--all", "--inline", "--format", "json")

    run = Run.objects.get()
    assert left.value.returncode == 130
    assert str(left.value) == (
        f"Migration {run.pk} is stopped: 2 of 6 clients are done (0 failed), 4 are not."
        f" To continue: manage.py run resume {run.pk} --inline"
    )
    assert run.state == Run.State.STOPPED
    assert run.items.never_begun().count() == 4
    assert [item.message for item in run.items.never_begun()] == [RUN_INTERRUPTED()] * 4
    assert signal.getsignal(signal.SIGINT) == before
    assert capsys.readouterr().out == ""

    call_command(*re.search(r"(run) (resume) (\d+) (--inline)", str(left.value)).groups())

    assert all_clients().in_phases("dual_write").count() == 6
    assert capsys.readouterr().out.endswith(f"{run.pk} run, 6 clients, 6 created, 6 matched\n")


@pytest.mark.usefixtures("stores")
def test_ctrl_c_in_the_last_batch_loses_nothing_and_is_no_interruption(monkeypatch, capsys):
    make_full_client("idom")
    press_ctrl_c_in_the_first_batch(monkeypatch)

    call_command("migrate_clients", "--all", "--inline")

    assert Run.objects.get().state == Run.State.FINISHED


@pytest.mark.usefixtures("stores")
def test_a_thread_that_shows_the_progress_survives_a_database_that_is_away(monkeypatch):
    make_full_client("idom")
    looked = threading.Event()

    def fail_to_measure(_run):
        looked.set()
        raise OperationalError

    monkeypatch.setattr(progress, "reread_progress", fail_to_measure)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.01)
    push = pushes.push
    monkeypatch.setattr(pushes, "push", lambda **how: looked.wait(10) and push(**how))

    call_command("migrate_clients", "--all", "--inline", stdout=io.StringIO(), stderr=Screen())

    assert Run.objects.get().state == Run.State.FINISHED


def test_on_a_real_terminal_the_second_ctrl_c_ends_the_process_at_once(stores):
    make_full_client("idom")
    stores.conditions.set(Conditions(round_trip_seconds=20))
    given = ("migrate_clients", "--all", "--inline")
    with manage_on_terminal(*given, columns=60, DATABASE_URL=nova_uri()) as terminal:
        terminal.wait_for("0 of 1 clients")
        terminal.press(b"\x03")
        terminal.wait_for("finishing the current batches")
        assert terminal.process.is_alive()

        terminal.press(b"\x03")
        terminal.process.join(5)

        assert terminal.process.exitcode == -signal.SIGINT
    assert max(map(len, read_lines(terminal.screen))) <= 60
    # Neither done nor lost: workers go on with it, or `run resume`.
    run = Run.objects.get()
    assert (run.state, run.items.open().count()) == (Run.State.RUNNING, 1)
    stores.conditions.clear()
    call_command("run", "resume", str(run.pk), "--inline", stdout=io.StringIO())
    assert run.items.get().outcome == Outcome.CREATED
