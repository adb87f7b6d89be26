"""Names that others chose steer no terminal and forge no line: in every command's text. JSON keeps them as they are."""

import io
import json
import logging

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from migration import tasks
from migration.management.base import OneLineOutput
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_invisible, escape_name
from tests.factories import make_full_client, update
from tests.migration.moves.clients import advance

# Clears the screen, begins a line, turns the order of what follows, and ends with what looks like its own escape.
NASTY = "x\x1b[2J\nforged\u202e\u05d0\x9b1m\\n"
SHOWN = r"x\x1b[2J\nforged\u202e\u05d0\x9b1m\\n"
TRICKS = ("\x1b", "\nforged", "\u202e", "\u05d0", "\x9b")


@pytest.fixture
def nasty(stores) -> int:
    """A client that is pushed; then NOVA gives it such a slug."""
    pk = make_full_client("idom")
    advance(pk, Phase.DUAL_READ)
    update("clients", pk, slug=NASTY)
    return pk


@pytest.fixture
def run(capsys):
    """Runs a command: what it printed, with its error."""

    def run(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        error = ""
        try:
            call_command(*arguments)
        except SystemExit:
            pass
        except CommandError as refused:
            output = io.StringIO()
            OneLineOutput(output).write(str(refused))  # as `manage.py` prints it
            error = output.getvalue()
        written = capsys.readouterr()
        return written.out, written.err + error

    return run


def assert_harmless(text: str) -> None:
    assert [trick for trick in TRICKS if trick in text] == []
    assert all(line.isprintable() for line in text.split("\n"))


def test_no_command_prints_a_slug_or_an_argument_raw(nasty, run):
    for arguments in (
        ("client_status",),
        ("client_status", NASTY),
        ("compare_clients", NASTY, "--inline"),
        ("migrate_clients", NASTY, "--dry-run"),
        ("migrate_clients", NASTY, "--inline"),
        ("push_pending", "--inline"),
        ("move_clients", "aws", NASTY),
        ("find_copies", NASTY),
        ("set_owner", NASTY, "--owner", NASTY),
        ("acknowledge_mismatches", NASTY, "--reason", NASTY, "--until", NASTY),
        ("acknowledge_mismatches", NASTY, "--reason", NASTY, "--until", "2099-01-01"),
        ("client_status", NASTY + "2"),
        ("client_status", "--nothing", NASTY),
        ("nova_tables", "map", f"clients.{NASTY}", "secret"),
        ("doctor", "--role", NASTY),
        ("iam_policy", "reader", "--account", NASTY),
        ("iam_policy", NASTY),
        ("cost_estimate", NASTY),
        ("move_clients", "aws", NASTY, "--by", NASTY),
        ("nova_tables", "accept", NASTY, "--reason", NASTY),
        ("aws_writes", "stop", "--reason", NASTY),
        ("claim_database", "--reason", NASTY),
    ):
        out, err = run(*arguments)

        assert out + err, arguments
        assert_harmless(out + err)


def test_a_slug_is_shown_with_everything_escaped_and_is_raw_in_json(nasty, run):
    for arguments in (
        ("client_status",),
        ("compare_clients", "--all", "--inline"),
        ("move_clients", "aws", NASTY),
    ):
        text, _err = run(*arguments)
        raw, _err = run(*arguments, "--format", "json")

        assert SHOWN in text, arguments
        assert "\x1b" not in raw
        assert "\u202e" not in raw
        assert raw.count("\n") == 1
        found = json.loads(raw)
        rows = found["items"] if isinstance(found, dict) else found
        assert [row["slug"] for row in rows] == [NASTY]


def test_tables_columns_roles_and_objects_are_shown_so_too(nasty, run):
    quoted = '"' + NASTY + '"'
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {quoted}; GRANT CREATE ON SCHEMA public TO {quoted}")
        cursor.execute(f"CREATE TABLE public.{quoted} ({quoted} text, binary_form bytea)")
        cursor.execute(f"INSERT INTO public.{quoted} VALUES ('example-password-1')")
        cursor.execute(f"ALTER TABLE public.{quoted} OWNER TO {quoted}")
        cursor.execute(
            f"CREATE FUNCTION public.{quoted}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
        )
        cursor.execute(f"ALTER FUNCTION public.{quoted}() OWNER TO {quoted}")
        cursor.execute(
            f"CREATE TRIGGER {quoted} BEFORE UPDATE ON public.clients FOR EACH ROW EXECUTE FUNCTION public.{quoted}()"
        )
        cursor.execute(f"ALTER TABLE public.clients ADD {quoted} integer")
    try:
        for arguments in (
            (
                "nova_tables",
                "accept",
            ),
            ("doctor",),
            ("doctor", "--role", NASTY),
            ("find_copies", "--all"),
            ("find_copies", "--all", "--redact", "--column", f"{NASTY}.{NASTY}"),
            ("nova_tables", "map", f"clients.{escape_name(NASTY)}", "secret"),
            ("nova_tables", "map", f"clients.{escape_name(NASTY)}", "ignore"),
            ("move_clients", "aws", NASTY),
        ):
            out, err = run(*arguments)
            assert SHOWN in out + err, arguments
            assert_harmless(out + err)
        objects, _err = run("nova_tables", "accept", "--format", "json")
        copies, _err = run("find_copies", "--all", "--format", "json")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TRIGGER {quoted} ON public.clients")
            cursor.execute(f"ALTER TABLE public.clients DROP {quoted}")
            cursor.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")

    assert NASTY in [found["name"] for found in json.loads(objects)]
    (copy,) = json.loads(copies)
    assert (copy["slug"], copy["table"], copy["column"]) == (NASTY, f"public.{NASTY}", NASTY)


def test_no_log_line_is_forged(nasty, caplog, monkeypatch):
    with caplog.at_level(logging.DEBUG):
        tasks.keep_counting()
        tasks.push_pending()
        tasks.resume_stalled_runs()

    for record in caplog.records:
        if record.name.startswith(("migration", "credentials", "nova_credentials")):
            assert NASTY not in record.getMessage()


def test_no_two_names_are_shown_alike_and_a_shown_name_stays_as_it_is():
    assert escape_name(NASTY) == SHOWN
    assert escape_invisible(SHOWN) == SHOWN
    assert len({escape_name(name) for name in ("a\n", r"a\n", r"a\\n")}) == 3
