"""Searches over tables whose names and types somebody chose who wants to be misread."""

import json

import pytest
from django.core.management import call_command

from tests.factories import make_full_client
from tests.migration.secrets.copies.nova_tables import novas_tables

PASSWORD = "example-password-1"
ESCAPES = "\x1b[2J\nNo copy found\u202e"
QUOTES = '"' * 63


@pytest.fixture
def nova(stores):
    with novas_tables() as connection:
        yield connection


@pytest.fixture
def hostile(nova):
    """A table, a schema and a type with such names."""
    nova.execute(f'CREATE TABLE public."{ESCAPES}" ("{ESCAPES}" text, pickled bytea)')
    nova.execute(f'INSERT INTO public."{ESCAPES}" VALUES (%s)', [PASSWORD])
    doubled = QUOTES.replace('"', '""')
    nova.execute(f'CREATE SCHEMA "{doubled}"')
    nova.execute(f'CREATE TYPE "{doubled}"."{doubled}" AS (inner_text text)')
    nova.execute(f'CREATE TABLE public.notes (odd "{doubled}"."{doubled}")')
    yield
    nova.execute(
        f'DROP TABLE public."{ESCAPES}"; DROP TABLE public.notes; DROP SCHEMA "{doubled}" CASCADE'
    )


@pytest.fixture
def find_copies(capsys):
    def find_copies(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit):
            call_command("find_copies", *arguments)
        written = capsys.readouterr()
        return written.out, written.err

    return find_copies


def test_names_steer_no_terminal_and_forge_no_line(hostile, find_copies):
    make_full_client("idom")

    out, err = find_copies("--all", "--redact")

    for text in (out, err):
        assert not [each for each in text if not (each.isprintable() or each == "\n")]
        assert "No copy found" not in text.splitlines()
    assert "public.\\x1b[2J\\nNo copy found\\u202e.\\x1b[2J" in out


def test_json_has_the_names_as_they_are(hostile, find_copies):
    make_full_client("idom")

    (found,) = json.loads(find_copies("--all", "--format", "json")[0])

    assert (found["table"], found["column"]) == (f"public.{ESCAPES}", ESCAPES)
