"""What `doctor` says of a database in order, and of one in which something is broken: it always answers."""

import psycopg
import pytest

from tests.checkout import manage
from tests.migration.doctor.conftest import run_doctor

NEW_TABLES = """
CREATE TABLE public.clients_new (LIKE public.clients INCLUDING ALL);
INSERT INTO public.clients_new SELECT * FROM public.clients;
ALTER TABLE public.clients RENAME TO clients_old;
ALTER TABLE public.clients_new RENAME TO clients
"""
UNDO = "DROP TABLE public.clients; ALTER TABLE public.clients_old RENAME TO clients"


def test_of_a_database_in_order_every_check_of_it_is_ok_and_what_nobody_looked_at_is_never(
    migrated, check
):
    found = check()

    for name in (
        *("schema_open", "schema_behind", "others_may_create", "tables_missing", "roles_not_apart"),
        *("writes_uncounted", "site_lacks_rights", "counting_unproved", "columns_unknown"),
        *("objects_unknown", "pooler"),
    ):
        assert set(found.states(name)) == {"ok"}, name
    assert "updates_are_counted" in found.codes("counting_unproved")
    assert found.codes("roles_not_apart") == ["roles_are_apart"]
    (public, database) = found.of("others_may_create")
    assert migrated.nova in public["message"]
    assert migrated.nova in database["message"]
    assert migrated.reader not in public["message"]

    assert found.codes("copies_found") == ["copies_not_looked_for"]
    assert found.codes("readers_gone") == ["reader_never_read"]
    assert found.states("copies_found") == found.states("readers_gone") == ["not_looked_at"]

    keys = {"check", "ok", "state", "message", "remedy", "codes", "statements", "severity"}
    assert {frozenset(finding) for finding in found.findings} == {frozenset(keys)}
    assert found.code == 1
    for finding in found.findings:
        assert finding["ok"] == (finding["state"] == "ok")
        assert finding["ok"] or finding["remedy"], finding["check"]

    # Nothing of NOVA's ran in the site meanwhile.
    assert migrated.sprung() == []
    rows = migrated.ask("SELECT name, slug FROM public.clients")
    assert rows == [("IDOM", "idom")]


def test_before_the_first_migrate_it_says_to_run_it_and_ends_without_an_error(hostile):
    found = run_doctor(hostile)

    assert found.code == 1
    assert found.states("schema_open") == ["ok"]
    assert found.codes("schema_behind") == ["not_migrated"]
    assert found.codes("writes_uncounted") == ["triggers_are_missing"]
    assert found.states("counting_unproved") == found.states("workers_idle") == ["not_looked_at"]
    assert "migrate" in found.of("workers_idle")[0]["remedy"]


def test_a_schema_of_novas_role_is_named_with_its_owner_and_one_that_lacks_with_what_makes_it(
    hostile,
):
    hostile.run(f"ALTER SCHEMA nova_admin OWNER TO {hostile.nova}")
    found = run_doctor(hostile, "--only", "schema_open")
    assert found.codes("schema_open") == ["schema_is_foreign"]
    assert hostile.nova in found.of("schema_open")[0]["message"]

    hostile.run("DROP SCHEMA nova_admin")
    found = run_doctor(hostile, "--only", "schema_open")
    assert found.codes("schema_open") == ["schema_is_missing"]
    (statement,) = found.statements("schema_open")
    hostile.run(statement)
    assert run_doctor(hostile, "--only", "schema_open").states("schema_open") == ["ok"]


def test_whoever_else_may_create_in_the_schema_is_named_with_what_to_run(migrated, check):
    migrated.run(f"GRANT CREATE ON SCHEMA nova_admin TO {migrated.nova}")

    found = check("--only", "schema_open")

    assert found.codes("schema_open") == ["others_may_create"]
    migrated.run(*found.statements("schema_open"), role=migrated.site)
    assert check("--only", "schema_open").states("schema_open") == ["ok"]


def test_objects_of_another_role_in_the_schema_are_named(migrated, check):
    migrated.run(
        "CREATE TABLE nova_admin.bait ()",
        f"ALTER TABLE nova_admin.bait OWNER TO {migrated.nova}",
    )
    try:
        found = check("--only", "schema_open")
    finally:
        migrated.run("DROP TABLE nova_admin.bait")

    assert found.codes("schema_open") == ["foreign_objects"]
    assert f"bait ({migrated.nova})" in found.of("schema_open")[0]["message"]


def test_a_missing_trigger_is_told_and_the_proof_fails_on_its_table(migrated, check):
    migrated.run("DROP TRIGGER nova_admin_count_write ON public.clients", role=migrated.nova)

    found = check("--only", "writes_uncounted", "counting_unproved")

    assert found.codes("writes_uncounted") == ["triggers_are_missing"]
    assert "public.clients." in found.of("writes_uncounted")[0]["message"]
    assert found.codes("counting_unproved") == ["update_was_not_counted"]
    # As every hour: a failed proof begins a gap.
    gaps = "SELECT count(*) FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL"
    assert migrated.ask(gaps) == [(1,)]
    mend(migrated)
    assert check("--only", "writes_uncounted", "counting_unproved").codes("writes_uncounted") == [
        "triggers_count"
    ]


def mend(hostile) -> None:
    done = manage("migrate", DATABASE_URL=hostile.of(hostile.site))
    assert done.returncode == 0, done.stderr


def test_a_trigger_that_swallows_updates_is_found_by_the_proof_alone(migrated, check):
    migrated.run(
        "CREATE RULE swallow AS ON UPDATE TO public.clients DO INSTEAD NOTHING", role=migrated.nova
    )

    found = check("--only", "counting_unproved", "objects_unknown")

    migrated.run("DROP RULE swallow ON public.clients", role=migrated.nova)
    assert found.codes("counting_unproved") == ["update_was_not_counted"]
    assert found.codes("objects_unknown") == ["objects_unknown"]
    message = found.of("objects_unknown")[0]["message"]
    assert "rule swallow" in message
    assert migrated.nova in message
    assert (
        check("--only", "counting_unproved", "objects_unknown").codes("counting_unproved")[0]
        == "updates_are_counted"
    )
    mend(migrated)


def test_another_body_of_the_triggers_function_is_told(migrated, check):
    migrated.run(
        "CREATE OR REPLACE FUNCTION nova_admin.count_write() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NULL; END'",
        role=migrated.site,
    )

    found = check("--only", "writes_uncounted")

    mend(migrated)
    assert found.codes("writes_uncounted") == ["function_is_another"]


def test_an_open_gap_is_told(migrated, check):
    migrated.run("INSERT INTO nova_admin.credentials_countinggap (found_at) VALUES (now())")

    found = check("--only", "writes_uncounted")

    migrated.run("DELETE FROM nova_admin.credentials_countinggap")
    assert found.codes("writes_uncounted") == ["gap_is_open"]


def test_a_table_that_nova_made_anew_is_not_counted(migrated, check):
    migrated.run(NEW_TABLES, role=migrated.nova)
    try:
        found = check("--only", "writes_uncounted")
    finally:
        migrated.run(UNDO, role=migrated.nova)
        mend(migrated)

    assert found.codes("writes_uncounted") == ["triggers_are_missing"]


def test_a_column_that_nova_added_or_renamed_is_named(migrated, check):
    table = "public.client_database_credentials"
    migrated.run(
        f"ALTER TABLE {table} ADD oauth_refresh_token text",
        f"ALTER TABLE {table} RENAME label TO tag",
        role=migrated.nova,
    )
    try:
        found = check("--only", "columns_unknown")
    finally:
        migrated.run(
            f"ALTER TABLE {table} RENAME tag TO label",
            f"ALTER TABLE {table} DROP oauth_refresh_token",
            role=migrated.nova,
        )

    assert set(found.codes("columns_unknown")) == {"column_added", "column_missing"}
    told = " ".join(finding["message"] for finding in found.of("columns_unknown"))
    assert "oauth_refresh_token" in told
    assert "tag" in told
    remedies = {each["codes"][0]: each["remedy"] for each in found.of("columns_unknown")}
    assert "what it is for" in remedies["column_added"]
    assert remedies["column_missing"].startswith("Ask NOVA's developers to do so.")


def test_a_table_of_novas_that_is_gone_is_named_and_the_rest_is_checked(hostile):
    hostile.run("DROP TABLE public.client_email_credentials")

    found = run_doctor(hostile, "--only", "tables_missing", "columns_unknown")

    assert "table_is_missing" in found.codes("tables_missing")
    assert found.states("columns_unknown") == [
        "not_looked_at"
    ]  # before `migrate` nothing can be mapped


def test_thousands_of_objects_are_one_line(migrated, check):
    rules = "; ".join(
        f"CREATE RULE r{n} AS ON DELETE TO public.clients DO ALSO NOTHING" for n in range(60)
    )
    migrated.run(rules, role=migrated.nova)

    found = check("--only", "objects_unknown")

    migrated.run("; ".join(f"DROP RULE r{n} ON public.clients" for n in range(60)))
    assert found.codes("objects_unknown") == ["objects_unknown"]
    assert "60 objects" in found.of("objects_unknown")[0]["message"]


def test_a_table_that_somebody_has_locked_is_told_and_keeps_nobody_waiting(migrated, check):
    with psycopg.connect(migrated.of("postgres")) as holder:
        holder.execute("LOCK TABLE nova_admin.migration_worker, public.clients")
        found = check(
            *("--only", "workers_idle", "no_worker", "counting_unproved", "writes_uncounted")
        )

    assert found.states("workers_idle") == ["not_looked_at"]
    assert "55P03" in found.of("workers_idle")[0]["message"]
    assert found.states("no_worker") == ["not_looked_at"]
    assert "tables_are_busy" in found.codes("counting_unproved")
    assert found.states("writes_uncounted") == ["ok"]


def test_a_role_without_any_right_is_answered_all_the_same(migrated):
    found = run_doctor(migrated, role=migrated.reader)

    assert found.code == 1
    assert found.states("schema_open") == ["failed"]
    assert set(found.states("workers_idle")) == {"not_looked_at"}


def test_where_postgresql_is_away_it_is_one_line_and_exit_2():
    done = manage("doctor", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "The database does not answer" in done.stderr


@pytest.mark.parametrize("role", ["unknown", "", "a\tb"])
def test_a_role_that_does_not_exist_is_one_line_and_exit_2(migrated, role):
    done = manage("doctor", "--role", role, DATABASE_URL=migrated.of(migrated.site))

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "PostgreSQL has no role" in done.stderr


@pytest.mark.parametrize(("command", "code"), [("doctor", "nonsense"), ("check_nova", "clocks")])
def test_a_problem_that_it_does_not_know_is_one_line_and_exit_2(migrated, command, code):
    done = manage(command, "--only", code, DATABASE_URL=migrated.of(migrated.site))

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert code in done.stderr


def test_it_looks_for_the_named_problems_alone_and_exits_with_0_where_they_are_ok(migrated, check):
    found = check("--only", "schema_behind", "roles_not_apart")

    assert {each["check"] for each in found.findings} == {"schema_behind", "roles_not_apart"}
    assert found.code == 0


def test_what_it_found_is_stored_unless_a_role_is_named(migrated, check):
    records = "SELECT code FROM nova_admin.migration_problemrecord WHERE code = 'roles_not_apart'"
    migrated.run("DELETE FROM nova_admin.migration_problemrecord")

    check("--only", "roles_not_apart", "--role", migrated.reader)
    assert migrated.ask(records) == []
    check("--only", "roles_not_apart")
    assert migrated.ask(records) == [("roles_not_apart",)]


def test_as_text_each_statement_is_a_line_of_its_own_and_a_name_steers_no_terminal(migrated):
    name = '"\x1b[2J\nok: boundary"'
    migrated.run(f"CREATE RULE {name} AS ON DELETE TO public.clients DO ALSO NOTHING")
    try:
        done = manage("check_nova", DATABASE_URL=migrated.of(migrated.site))
    finally:
        migrated.run(f"DROP RULE {name} ON public.clients")

    lines = done.stdout.splitlines()
    grant = f"        GRANT USAGE ON SCHEMA nova_admin TO {migrated.nova};"
    assert grant in lines
    assert any(line.startswith("FAILED: reader_lacks_rights: ") for line in lines)
    assert "not looked at" in lines[-1]
    assert "\\x1b[2J\\nok: boundary" in done.stdout
    assert "\x1b" not in done.stdout
