"""A step of the installation that PostgreSQL refuses: how often it is tried, and what it says."""

import pytest
from django.core.management.base import CommandError

from credentials import triggers
from credentials.triggers import StepNotDone
from tests.credentials.counting.statements import MAIL, TRIGGER_FUNCTION, execute


@pytest.fixture
def pauses(db, monkeypatch) -> list[float]:
    made = []
    monkeypatch.setattr(triggers.time, "sleep", made.append)
    return made


def fail_with(condition: str) -> str:
    return f"DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{condition}'; END$$"


@pytest.mark.parametrize("condition", ["lock_not_available", "deadlock_detected"])
def test_a_table_in_use_is_tried_fifteen_times_for_three_seconds(pauses, condition):
    refused = triggers._run_step(fail_with(condition), "the table", grant="a right")

    assert refused == [StepNotDone("the table is in use; run migrate again")]
    assert pauses == [0.2] * 15


@pytest.mark.parametrize(
    ("condition", "refusal"),
    [
        (
            "foreign_key_violation",
            StepNotDone(
                "the table has rows of clients that are gone (delete them; run migrate again)"
            ),
        ),
        ("insufficient_privilege", StepNotDone("the table: this role lacks the right", "a right")),
    ],
)
def test_what_no_second_try_would_change_is_tried_once(pauses, condition, refusal):
    assert triggers._run_step(fail_with(condition), "the table", grant="a right") == [refusal]
    assert pauses == []


def test_another_error_is_told_by_its_class(pauses):
    (refusal,) = triggers._run_step(fail_with("out_of_memory"), "the table", grant="a right")

    assert refusal.why == "the table: OutOfMemory (SQLSTATE 53200)"
    assert refusal.grant == ""
    assert pauses == []


# What `migrate` prints


@pytest.mark.parametrize(
    ("missing", "refused", "verbosity", "printed"),
    [
        ([], [], 1, ""),
        (["public.clients"], [], 0, ""),
        (["public.clients"], [], 1, "Made, because they were missing: public.clients."),
        ([], [StepNotDone("the table is in use")], 0, ""),
        (
            [],
            [StepNotDone("the table is in use")],
            1,
            "not counted everywhere: the table is in use.",
        ),
        ([], [StepNotDone("no right", "TRIGGER ON x")], 1, "To count them: GRANT TRIGGER ON x TO "),
    ],
)
def test_migrate_prints_what_it_made_and_what_is_refused_unless_it_is_to_be_quiet(
    db, monkeypatch, capsys, missing, refused, verbosity, printed
):
    monkeypatch.setattr(triggers, "_missing", missing)
    monkeypatch.setattr(triggers, "ensure_writes_are_counted", lambda **_: refused)

    triggers.install_triggers(verbosity=verbosity)

    said = capsys.readouterr().err
    assert printed in said
    assert bool(said) == bool(printed)


def test_a_table_is_said_to_be_made_once(db, capsys, monkeypatch):
    """`flush` sends the signal that `migrate` sends at its end, and not the one before."""
    monkeypatch.setattr(triggers, "_missing", ["public.clients"])
    triggers.install_triggers(verbosity=1)
    assert "Made" in capsys.readouterr().err

    triggers.install_triggers(verbosity=1)

    assert capsys.readouterr().err == ""


# The first release's function


@pytest.fixture
def old_function(db) -> None:
    execute(TRIGGER_FUNCTION.format("nova_admin_count_write", "BEGIN RETURN NULL; END"))


def call_old_function(table: str) -> None:
    execute(
        f"CREATE OR REPLACE TRIGGER nova_admin_count_write AFTER UPDATE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION public.nova_admin_count_write()"
    )


@pytest.mark.usefixtures("old_function")
def test_a_function_that_a_counted_table_still_calls_stays_and_migrate_fails():
    call_old_function(MAIL)

    with pytest.raises(CommandError, match="could not be replaced call it") as failed:
        triggers._drop_old_function()

    assert failed.value.returncode == 1
    assert execute("SELECT to_regprocedure('public.nova_admin_count_write()') IS NULL") == [
        (False,)
    ]


@pytest.mark.usefixtures("old_function")
def test_a_function_that_another_table_calls_is_told_with_what_to_run():
    """NOVA has made a table anew, and kept the old one with its trigger."""
    execute("CREATE TABLE public.client_email_credentials_old (id int)")
    call_old_function("public.client_email_credentials_old")

    with pytest.raises(CommandError, match=r"DROP FUNCTION \S+ CASCADE; then run") as failed:
        triggers._drop_old_function()

    assert failed.value.returncode == 1
