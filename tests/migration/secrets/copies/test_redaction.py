"""Redaction: which copies are replaced, by what, and everything that is left as it is."""

import json

import pytest
from psycopg.types.json import Json, Jsonb

from migration.models import Redaction
from migration.secrets.redaction import DEFAULT_COLUMNS, count_redactable, plan_redaction, redact
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, nova_connected
from tests.migration.moves.clients import change_in_aws, enter_phase
from tests.migration.secrets.copies.nova_tables import add_execution, add_step
from tests.nova_credentials.in_phases import stand

PASSWORD = "example-password-1"
POINTER = "aws-secretsmanager:nova/clients/idom (redacted by nova-admin)"


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    return pk


@pytest.fixture
def redact_copies():
    """Redacts this client's copies: {column: rows}; a dry run before it has to count the same."""

    def redact_copies(*client_ids: int, columns=DEFAULT_COLUMNS) -> dict[str, int]:
        plan = plan_redaction(client_ids=client_ids, columns=columns)
        counted = count_redactable(plan)
        done = redact(plan)
        assert counted.rows_by_client_and_column == done.rows_by_client_and_column
        return {column: number for (_, column), number in done.rows_by_client_and_column.items()}

    return redact_copies


def text_of(nova, table: str, column: str, pk: int) -> str:
    return nova.execute(
        f"SELECT {column}::text FROM public.{table} WHERE id = %s", [pk]
    ).fetchone()[0]


def test_whole_strings_in_json_are_replaced_and_the_rest_of_the_text_stays(
    nova, idom, redact_copies
):
    before = '{"b":1.50,  "a" : "example-password-1", "k": ["example-password-1 ", "\\u0065xample-password-1"]}'
    execution, *_others = [add_execution(nova, before) for _ in range(3)]
    step = add_step(
        nova, execution, input_context=json.dumps(PASSWORD), output_result=json.dumps({PASSWORD: 1})
    )

    rows = redact_copies(idom)

    assert rows == {"public.executions.result": 3, "public.chain_of_work.input_context": 1}
    assert text_of(nova, "executions", "result", execution) == (
        f'{{"b":1.50,  "a" : "{POINTER}", "k": ["example-password-1 ", "{POINTER}"]}}'
    )
    assert json.loads(text_of(nova, "chain_of_work", "input_context", step)) == POINTER
    assert json.loads(text_of(nova, "chain_of_work", "output_result", step)) == {PASSWORD: 1}
    # They are recorded without values.
    recorded = Redaction.objects.values_list("slug", "table", "column", "rows")
    assert sorted(recorded) == [
        ("idom", "public.chain_of_work", "input_context", 1),
        ("idom", "public.executions", "result", 3),
    ]


def test_executions_that_have_not_ended_for_an_hour_are_left(nova, idom, redact_copies):
    left = []
    for execution in (
        {"hours_ago": 0.9},
        {"status": "running"},
        {"status": "pending"},
        {"hours_ago": 2, "status": "paused"},
    ):
        pk = add_execution(nova, json.dumps([PASSWORD]), **execution)
        step = add_step(nova, pk, input_context=json.dumps([PASSWORD]), code_executed=PASSWORD)
        left += [("executions", "result", pk), ("chain_of_work", "input_context", step)]
    lonely = add_step(nova, None, input_context=json.dumps([PASSWORD]))
    left.append(("chain_of_work", "input_context", lonely))

    assert redact_copies(idom, columns=[*DEFAULT_COLUMNS, "chain_of_work.code_executed"]) == {}
    assert all(PASSWORD in text_of(nova, *place) for place in left)


def test_a_named_column_of_plain_text_loses_values_of_12_characters_and_more(
    nova, idom, sm, redact_copies
):
    execution = add_execution(nova, "{}", status="failed")
    nova.execute(
        "UPDATE public.executions SET error = %s", [f"no login as app/{PASSWORD}, {PASSWORD}."]
    )
    short = make_client("short")
    make_database(short, db_password_encrypted="app/example")
    enter_phase(short, Phase.AWS)

    rows = redact_copies(idom, short, columns=["executions.error"])

    assert rows == {"public.executions.error": 1}
    assert (
        text_of(nova, "executions", "error", execution) == f"no login as app/{POINTER}, {POINTER}."
    )


def test_jsonb_and_a_table_without_a_state_are_redacted_when_named(nova, idom, redact_copies):
    nova.execute("CREATE TABLE public.notes (id serial, body jsonb, brief varchar(30), plain text)")
    nova.execute(
        "INSERT INTO public.notes (body, brief) VALUES (%s, %s)",
        [Jsonb({"a": [PASSWORD, None]}), PASSWORD],
    )

    rows = redact_copies(idom, columns=["notes.body"])

    assert rows == {"public.notes.body": 1}
    assert json.loads(text_of(nova, "notes", "body", 1)) == {"a": [POINTER, None]}
    plan = plan_redaction(client_ids=[idom], columns=["notes.brief"])
    result = redact(plan)
    assert (result.rows_by_client_and_column, result.rows_left) == (
        {},
        1,
    )  # the pointer is longer than the column
    assert text_of(nova, "notes", "brief", 1) == PASSWORD


def test_clients_before_the_cutover_are_left(nova, stores, redact_copies):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    add_execution(nova, json.dumps([PASSWORD]))

    for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ):
        stand(pk, phase)
        assert redact_copies(pk) == {}
        (why,) = plan_redaction(client_ids=[pk], columns=[]).left_out
        assert why.key == "redact_phase"


def test_a_value_that_awss_current_version_no_longer_holds_is_left(nova, idom, sm, redact_copies):
    pk = add_execution(nova, json.dumps([PASSWORD, "example-newer-password"]))
    change_in_aws(sm, password="example-newer-password")

    redact_copies(idom)

    assert json.loads(text_of(nova, "executions", "result", pk)) == [PASSWORD, POINTER]


REFUSED = {
    "workflows.code": "redact_code",
    "public.code_cache.code": "redact_code",
    "client_database_credentials.db_password_encrypted": "redact_credentials",
    "client_email_credentials.email_user": "redact_credentials",
    "client_credentials.db_password": "redact_credentials",
    "clients.description": "redact_credentials",
    "nova_admin.client_aws_credentials.secret_access_key": "redact_credentials",
    "nova_admin.migration_phasechange.reason": "redact_own",
    "pg_catalog.pg_proc.prosrc": "redact_own",
    "executions.nothing": "redact_no_column",
    "nothing.nothing": "redact_no_column",
    "executions.id": "redact_type",
    "executions": "redact_name_wrong",
    "a.b.c.d": "redact_name_wrong",
    "public..x": "redact_name_wrong",
    "notes.name": "redact_key",
    "notes.twice": "redact_type",
}


def test_columns_that_are_never_redacted(nova, idom):
    nova.execute(
        "CREATE TABLE public.notes (name text UNIQUE, twice text GENERATED ALWAYS AS (repeat(name, 2)) STORED)"
    )

    plan = plan_redaction(client_ids=[idom], columns=[*REFUSED])

    assert ([m.key for m in plan.left_out], plan.columns) == ([*REFUSED.values()], [])


def test_a_table_with_a_trigger_of_novas_is_left_as_it_would_run_with_this_sites_rights(
    nova, idom, redact_copies
):
    add_execution(nova, json.dumps([PASSWORD]))
    nova.execute(
        "CREATE FUNCTION public.on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER changed BEFORE UPDATE ON public.executions FOR EACH ROW EXECUTE FUNCTION public.on_change()"
    )
    try:
        plan = plan_redaction(client_ids=[idom], columns=["executions.result"])

        assert [m.key for m in plan.left_out] == ["redact_foreign_code"]
        assert "trigger changed" in str(plan.left_out[0])
    finally:
        nova.execute("DROP FUNCTION public.on_change() CASCADE")


def test_a_trigger_that_is_made_meanwhile_stops_it(nova, idom):
    add_execution(nova, json.dumps([PASSWORD]))
    plan = plan_redaction(client_ids=[idom], columns=["executions.result"])
    nova.execute(
        "CREATE FUNCTION public.on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER changed BEFORE UPDATE ON public.executions FOR EACH ROW EXECUTE FUNCTION public.on_change()"
    )
    try:
        result = redact(plan)
    finally:
        nova.execute("DROP FUNCTION public.on_change() CASCADE")

    assert ([m.key for m in result.stop_reasons], result.rows_by_client_and_column) == (
        ["redact_foreign_code"],
        {},
    )


def test_a_row_that_nova_changes_meanwhile_keeps_novas_value(nova, idom, monkeypatch):
    from migration.secrets import redaction

    pk = add_execution(nova, json.dumps([PASSWORD]))
    plain = redaction._ColumnRedactor._replace

    def change_before(redactor, *arguments):
        nova.execute(
            "UPDATE public.executions SET result = %s WHERE id = %s", [Json([PASSWORD, "new"]), pk]
        )
        return plain(redactor, *arguments)

    monkeypatch.setattr(redaction._ColumnRedactor, "_replace", change_before)

    result = redact(plan_redaction(client_ids=[idom], columns=["executions.result"]))

    assert (result.rows_by_client_and_column, result.rows_left) == ({}, 1)
    assert json.loads(text_of(nova, "executions", "result", pk)) == [PASSWORD, "new"]


def test_a_row_that_nova_holds_is_not_waited_for(nova, idom):
    held, free = (add_execution(nova, json.dumps([PASSWORD])) for _ in range(2))
    with nova_connected() as other:
        other.execute("UPDATE public.executions SET error = 'held' WHERE id = %s", [held])

        result = redact(plan_redaction(client_ids=[idom], columns=["executions.result"]))

    assert ([*result.rows_by_client_and_column.values()], result.rows_left) == ([1], 1)
    assert PASSWORD in text_of(nova, "executions", "result", held)
    assert PASSWORD not in text_of(nova, "executions", "result", free)


def test_two_at_once_count_each_row_once(nova, idom):
    from threading import Thread

    from django.db import connection

    for _ in range(50):
        add_execution(nova, json.dumps([PASSWORD, "x" * 2000]))
    results = []

    def work() -> None:
        try:
            results.append(redact(plan_redaction(client_ids=[idom], columns=["executions.result"])))
        finally:
            connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    changed = sum(sum(result.rows_by_client_and_column.values()) for result in results)
    assert changed == 50 == sum(Redaction.objects.values_list("rows", flat=True))
    assert not nova.execute(
        "SELECT count(*) FROM public.executions WHERE result::text LIKE '%example-pass%'"
    ).fetchone()[0]
