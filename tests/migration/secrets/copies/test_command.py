"""`find_copies` as an operator runs it: output, question, exit codes."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from migration.models import CopySearch, Redaction
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client
from tests.migration.moves.clients import enter_phase
from tests.migration.secrets.copies.nova_tables import add_execution

PASSWORD = "example-password-1"


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


@pytest.fixture
def find_copies(nova, capsys, monkeypatch):
    """Runs the command: (exit code, standard output, standard error)."""

    def find_copies(*arguments: str, answer: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        code = 0
        try:
            call_command("find_copies", *arguments)
        except SystemExit as end:
            code = end.code
        written = capsys.readouterr()
        return code, written.out, written.err

    return find_copies


def test_no_copy_is_exit_0_and_an_empty_list(find_copies, idom):
    assert find_copies("idom", "--format", "json")[:2] == (0, "[]\n")
    code, out, err = find_copies("--all")
    assert (code, out) == (0, "")
    assert "No copy found" in err


def test_copies_are_exit_1_and_a_list_of_places_without_a_value(find_copies, idom, nova):
    for _ in range(2):
        add_execution(nova, json.dumps([PASSWORD]))

    code, out, err = find_copies("idom", "--format", "json")

    assert (code, json.loads(out)) == (
        1, [{"slug": "idom", "table": "public.executions", "column": "result", "rows": 2}],
    )  # fmt: skip
    assert PASSWORD not in out + err
    assert find_copies("idom")[:2] == (1, "idom: public.executions.result, 2 rows\n")


def test_a_place_that_was_not_looked_at_is_exit_1_and_named_on_standard_error(
    find_copies, idom, nova
):
    nova.execute("CREATE TABLE public.notes (pickled bytea)")

    code, out, err = find_copies("--all", "--format", "json")

    assert (code, out) == (1, "[]\n")
    assert "not looked at: public.notes.pickled: its type is not searched (bytea)" in err


def test_one_question_and_y_goes_on(find_copies, idom, nova):
    add_execution(nova, json.dumps([PASSWORD]))

    code, out, err = find_copies("idom", "--redact", "--format", "json", answer="y\n")

    assert (code, out) == (0, "[]\n")
    assert "idom: public.executions.result, 1 rows can be redacted" in err
    assert err.count("[y/N]") == 1
    assert "1 rows redacted" in err
    assert PASSWORD not in err
    assert CopySearch.objects.count() == 2


def test_any_other_answer_and_a_dry_run_change_nothing(find_copies, idom, nova):
    add_execution(nova, json.dumps([PASSWORD]))

    for answer in ("", "\n", "yes please\n"):
        code, out, err = find_copies("idom", "--redact", "--format", "json", answer=answer)

        assert (code, len(json.loads(out))) == (1, 1)
        assert "Nothing was redacted." in err
        assert not Redaction.objects.exists()
    # A dry run says what would be redacted, and asks nothing.
    code, _out, err = find_copies("idom", "--redact", "--dry-run", answer="y\n")

    assert code == 1
    assert "idom: public.executions.result, 1 rows can be redacted" in err
    assert "[y/N]" not in err
    assert not Redaction.objects.exists()
    with pytest.raises(CommandError, match="--dry-run goes with --redact") as refused:
        find_copies("idom", "--dry-run")
    assert refused.value.returncode == 2


def test_where_nothing_can_be_redacted_there_is_no_question(find_copies, idom, nova):
    nova.execute("INSERT INTO public.code_cache (code) VALUES (%s)", [PASSWORD])
    make_database(make_client("early"), db_password_encrypted="another-password")

    code, _out, err = find_copies(
        "--all", "--redact", "--column", "code_cache.code", "executions.error", answer="y"
    )

    assert code == 1
    assert "[y/N]" not in err
    assert "this table holds code that is executed" in err
    assert "early is in PostgreSQL" in err


def test_wrong_use_is_exit_2(find_copies, idom):
    for arguments in (
        (),
        ("idom", "--all"),
        ("nobody",),
        ("idom", "--column", "executions.result"),
    ):
        with pytest.raises(CommandError) as error:
            find_copies(*arguments)
        assert error.value.returncode == 2
