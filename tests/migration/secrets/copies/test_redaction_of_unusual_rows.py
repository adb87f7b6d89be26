"""Redaction of rows and tables that are not as NOVA's scripts make them: nothing of NOVA's may be damaged."""

import json
import tracemalloc

import pytest

from migration.models import Redaction
from migration.secrets import redaction
from migration.secrets.redaction import plan_redaction, redact, redact_json, redact_plain
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


def test_a_child_of_a_table_is_refused_as_the_table_is(nova, idom):
    for parent, columns, refusal in (
        ("workflows", "code", "redact_code"),
        ("client_database_credentials", "db_password_encrypted", "redact_credentials"),
        ("executions", "result", "redact_no_state"),
    ):
        nova.execute(f"CREATE TABLE public.notes () INHERITS (public.{parent})")
        nova.execute("CREATE TABLE public.notes_2026 () INHERITS (public.notes)")
        try:
            plan = plan_redaction(client_ids=[idom], columns=[f"notes_2026.{columns}"])
        finally:
            nova.execute("DROP TABLE public.notes CASCADE")

        assert ([m.key for m in plan.left_out], plan.columns) == ([refusal], [])


def test_a_percent_sign_in_a_columns_name_is_part_of_the_name(nova, idom):
    nova.execute('CREATE TABLE public.notes ("a%%b" text, "a%b" text, "100%" text)')
    nova.execute("INSERT INTO public.notes VALUES (%s, 'kept', %s)", [PASSWORD, PASSWORD])

    result = redact(plan_redaction(client_ids=[idom], columns=["notes.a%%b", "notes.100%"]))

    assert [*result.rows_by_client_and_column.values()] == [1, 1]
    first, second, third = nova.execute("TABLE public.notes").fetchone()
    assert first.startswith("aws-secretsmanager:")
    assert second == "kept"
    assert third.startswith("aws-secretsmanager:")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (json.dumps({"a": "example-value\\"}), "example-value\\"),
        (json.dumps({"a": "\nxample-value-1"}), "nxample-value-1"),
        (repr("\u00e9xample-value-1\\"), "éxample-value-1\\"),
    ],
)
def test_a_value_that_is_half_of_an_escape_is_left_as_the_text_would_break(text, value):
    assert redact_plain(text, {value: "POINTER"}).text == text


def test_a_long_string_takes_no_multiple_of_its_length_in_memory():
    text = json.dumps({"a": "x" * 2_000_000, "b": PASSWORD})
    tracemalloc.start()
    try:
        redacted = redact_json(text, {PASSWORD: "POINTER"})
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert redacted.text.endswith('"b": "POINTER"}')
    assert most < 20_000_000


def test_a_value_that_a_client_before_the_cutover_has_too_is_left(nova, idom):
    other = make_client("other")
    make_database(other, db_password_encrypted=PASSWORD)
    for phase in (Phase.POSTGRES, Phase.DUAL_READ):
        enter_phase(other, phase)
        pk = add_execution(nova, json.dumps([PASSWORD, "example-app-password-2"]))

        plan = plan_redaction(client_ids=[idom], columns=["executions.result"])
        redact(plan)

        (text,) = nova.execute("SELECT result::text FROM executions WHERE id = %s", [pk]).fetchone()
        assert json.loads(text)[0] == PASSWORD
        assert json.loads(text)[1].startswith("aws-secretsmanager:")
        assert [m.key for m in plan.left_out] == ["redact_shared"]
        assert PASSWORD not in str(plan.left_out)


def test_what_is_killed_has_recorded_what_it_changed_and_the_next_one_does_the_rest(
    nova, idom, monkeypatch
):
    for _ in range(30):
        add_execution(nova, json.dumps([PASSWORD, "x" * 1500]))
    monkeypatch.setattr(redaction, "FIRST_PIECE_PAGES", 1)
    monkeypatch.setattr(redaction, "MOST_PAGES", 1)
    record, pieces = redaction._ColumnRedactor._record, []

    def record_and_die(redactor, rows):
        made = record(redactor, rows)
        pieces.append(rows)
        if len(pieces) == 3:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(redaction._ColumnRedactor, "_record", record_and_die)
        with pytest.raises(KeyboardInterrupt):
            redact(plan_redaction(client_ids=[idom], columns=["executions.result"]))

    def count(condition: str) -> int:
        return nova.execute(f"SELECT count(*) FROM executions WHERE {condition}").fetchone()[0]

    done = count("result::text NOT LIKE '%example-pass%'")
    assert 0 < done < 30
    assert sum(Redaction.objects.values_list("rows", flat=True)) == done
    redact(plan_redaction(client_ids=[idom], columns=["executions.result"]))
    assert sum(Redaction.objects.values_list("rows", flat=True)) == 30 == count("true")
