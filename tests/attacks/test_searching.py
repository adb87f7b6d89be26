"""NOVA's role attaches its code to the tables that a search reads and a redaction changes: none of it runs."""

import json

from migration.secrets.copies import search_copies
from migration.secrets.redaction import plan_redaction, redact
from nova_credentials.phases import Phase
from tests.attacks.hostile import Hostile
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase

PASSWORD = "example-password-1"
HISTORY = f"""
CREATE TABLE public.executions (id serial PRIMARY KEY, status varchar(50), completed_at timestamp, result json,
    error text);
CREATE TABLE public.chain_of_work (id serial PRIMARY KEY, execution_id int, input_context json, output_result jsonb);
INSERT INTO public.executions (status, completed_at, result, error)
    VALUES ('completed', '2020-01-01', '["{PASSWORD}"]', '{PASSWORD}');
INSERT INTO public.chain_of_work (execution_id, input_context, output_result)
    VALUES (1, '["{PASSWORD}"]', '["{PASSWORD}"]');
"""
# Each runs when a table is read through it, or when a row of it is written.
READ_TRAPS = (
    "CREATE DOMAIN public.checked AS text CHECK (trap.yes('a domain'))",
    "CREATE TABLE public.domains (plain public.checked, list public.checked[])",
    "CREATE TABLE public.policies (plain text)",
    "CREATE POLICY watched ON public.policies USING (trap.yes('a policy'))",
    "ALTER TABLE public.policies ENABLE ROW LEVEL SECURITY",
    "CREATE VIEW public.views AS SELECT error FROM public.executions WHERE trap.yes('a view')",
    "CREATE MATERIALIZED VIEW public.made AS SELECT error FROM public.executions",
    "CREATE TYPE public.pair AS (a text, b text)",
    "CREATE FUNCTION public.told(public.pair) RETURNS text LANGUAGE sql AS 'SELECT trap.yes(''a cast'')::text'",
    "CREATE CAST (public.pair AS text) WITH FUNCTION public.told(public.pair) AS IMPLICIT",
    "CREATE TABLE public.pairs (halves public.pair)",
    "INSERT INTO public.pairs VALUES (ROW('a', 'b'))",
)
WRITE_TRAPS = {
    "chain_of_work": "CREATE TRIGGER lure BEFORE UPDATE ON public.chain_of_work FOR EACH ROW"
    " EXECUTE FUNCTION trap.on_write()",
    "rules": "CREATE RULE lure AS ON UPDATE TO public.rules DO ALSO SELECT trap.yes('a rule')",
    "checks": "ALTER TABLE public.checks ADD CHECK (trap.yes('a check')) NOT VALID",
    "indexes": "CREATE INDEX ON public.indexes (public.constant(body))",
}


def plant_in_history(hostile: Hostile) -> None:
    nova = hostile.nova
    hostile.run(HISTORY, *READ_TRAPS, role=nova)
    hostile.run(
        "CREATE FUNCTION public.constant(text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM trap.spring(''an index''); RETURN 1; END'",
        *(f"CREATE TABLE public.{name} (body text)" for name in ("rules", "checks", "indexes")),
        *(
            f"INSERT INTO public.{name} VALUES ('{PASSWORD}')"
            for name in ("rules", "checks", "indexes")
        ),
        *WRITE_TRAPS.values(),
        f"GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {hostile.site}",
        role=nova,
    )


def test_no_code_of_novas_runs_while_its_tables_are_searched_and_redacted(traps):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    plant_in_history(traps)
    columns = ["executions.result", "executions.error", "chain_of_work.input_context"]
    columns += [f"{name}.body" for name in ("rules", "checks", "indexes")]

    search = search_copies(client_ids=[pk])
    plan = plan_redaction(client_ids=[pk], columns=columns)
    result = redact(plan)

    assert traps.sprung() == []
    assert traps.gained() == []
    found = {f"{row.table}.{row.column}" for row in search.found_copies.all()}
    assert found >= {
        "public.executions.result",
        "public.chain_of_work.output_result",
        "public.rules.body",
    }
    reasons = {place.place: place.reason for place in search.unsearched_places.all()}
    assert reasons["public.policies"] == "row_security"
    assert reasons["public.pairs.halves"] == "type"
    assert reasons["public.made"] == "materialized_view"
    assert {column for _, column in result.rows_by_client_and_column} == {
        "public.executions.result",
        "public.executions.error",
    }
    assert [m.key for m in plan.left_out] == ["redact_foreign_code"] * 4
    kept = traps.ask("SELECT input_context::text FROM public.chain_of_work")
    assert kept == [(json.dumps([PASSWORD]),)]
