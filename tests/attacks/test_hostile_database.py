"""NOVA's role owns the database: what it can put in the way of `migrate`, and of the site's connections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.attacks.hostile import (
    BAIT,
    SPRING,
    YES,
    Hostile,
    copied_hostile_database,
    hostile_database,
)
from tests.checkout import manage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

# What a bait of the first release's is made of.
FIRST_RELEASE = """
CREATE TABLE {schema}.django_migrations (id int, app text, name text, applied timestamptz);
CREATE TABLE {schema}.credentials_clientwrite (id int, client_id int);
CREATE TABLE {schema}.auth_user
    (id int, username text, password text, is_superuser bool, is_staff bool, is_active bool);
CREATE TABLE {schema}.django_q_schedule
    (id int, name text, func text, schedule_type text, repeats int, next_run timestamptz);
CREATE TABLE {schema}.migration_clientmigration (client_id int, phase text);
"""


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_database() as hostile:
        make_traps(hostile)
        yield hostile


def make_traps(hostile: Hostile) -> None:
    hostile.run(
        "CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC",
        SPRING.format(token=hostile.token, nova=hostile.nova),
        YES,
        role=hostile.nova,
    )


def migrate(hostile: Hostile, role: str = "") -> subprocess.CompletedProcess[str]:
    return manage("migrate", "--no-color", DATABASE_URL=hostile.of(role or hostile.site))


def is_accepted(hostile: Hostile) -> bool:
    """Say whether `migrate` finds nothing in the way any more, by the plan that it prints, in a fourth of the time."""
    done = manage("migrate", "--plan", "--no-color", DATABASE_URL=hostile.of(hostile.site))
    return done.returncode == 0


def make_schema(hostile: Hostile) -> None:
    hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")


def refused(hostile: Hostile, *words: str, code: int = 2) -> str:
    """It ends so, in one line or a few, with these words; nothing was made, and nothing of NOVA's ran."""
    tables = "SELECT oid::regclass::text, relowner FROM pg_class WHERE relkind = 'r' ORDER BY 1"
    before = hostile.ask(tables)

    done = migrate(hostile)

    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert hostile.ask(tables) == before
    assert hostile.sprung() == []
    return done.stderr


def test_a_schema_that_novas_role_made_first_is_refused_with_what_to_run(hostile):
    hostile.run("CREATE SCHEMA nova_admin", role=hostile.nova)

    refused(hostile, f"ALTER SCHEMA nova_admin OWNER TO {hostile.site};")

    hostile.run(f"ALTER SCHEMA nova_admin OWNER TO {hostile.site}")
    assert is_accepted(hostile)


TRAPS_IN_THE_SCHEMA = {
    "a function": "CREATE FUNCTION nova_admin.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT trap.yes($1)::text'",
    "an operator": "CREATE FUNCTION trap.f(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT trap.yes($1)';"
    " CREATE OPERATOR nova_admin.= (FUNCTION = trap.f, LEFTARG = varchar, RIGHTARG = varchar)",
    "a table": "CREATE TABLE nova_admin.auth_user (id int, is_superuser bool DEFAULT true)",
    "a view": "CREATE VIEW nova_admin.django_migrations AS SELECT 1 AS id",
    "a type": "CREATE DOMAIN nova_admin.jsonb AS text",
}


def test_what_novas_role_left_in_the_schema_is_refused_once_the_schema_is_the_sites(hostile):
    for trap in TRAPS_IN_THE_SCHEMA.values():
        hostile.run("CREATE SCHEMA nova_admin", trap, role=hostile.nova)
        hostile.run(f"ALTER SCHEMA nova_admin OWNER TO {hostile.site}")

        refused(hostile, "Other roles own objects in the schema nova_admin", f"({hostile.nova})")

        hostile.run("DROP SCHEMA nova_admin CASCADE")
    make_schema(hostile)
    assert is_accepted(hostile)


def test_a_schema_in_which_others_may_create_is_refused_with_what_to_run(hostile):
    make_schema(hostile)
    for role in (hostile.nova, "PUBLIC"):
        hostile.run(f"GRANT CREATE ON SCHEMA nova_admin TO {role}")

        told = refused(hostile, f"REVOKE CREATE ON SCHEMA nova_admin FROM {role};")

        statement = told.partition("Run: ")[2].partition(";")[0]
        hostile.run(statement, role=hostile.site)
    assert is_accepted(hostile)


def test_without_the_right_to_make_the_schema_it_says_what_to_run(hostile):
    told = refused(hostile, f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site};")

    hostile.run(told.partition("has to run: ")[2].partition(";")[0])
    assert is_accepted(hostile)


def bait(hostile: Hostile) -> None:
    """Tables that look like a first release's, with a superuser and a schedule in them."""
    hostile.run(
        FIRST_RELEASE.format(schema="public"), BAIT.format(schema="public"), role=hostile.nova
    )


def test_tables_that_novas_role_made_to_be_carried_over_are_not(hostile):
    bait(hostile)
    make_schema(hostile)

    refused(
        hostile,
        "belong to another role",
        f"ALTER TABLE public.auth_user OWNER TO {hostile.site};",
        "If the first release never ran here",
        code=1,
    )


def test_nor_by_a_site_that_is_a_superuser_or_a_member_of_novas_role(hostile):
    bait(hostile)
    make_schema(hostile)
    for right in (
        f"ALTER ROLE {hostile.site} SUPERUSER",
        f"GRANT {hostile.nova} TO {hostile.site}",
    ):
        hostile.run(right)
        refused(hostile, "belong to another role", code=1)
        hostile.run(f"ALTER ROLE {hostile.site} NOSUPERUSER")


ON_CARRIED_TABLES = {
    "domain": "CREATE DOMAIN public.d AS text; ALTER TABLE public.auth_user ALTER username TYPE public.d",
    "trigger": "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN PERFORM trap.yes(''x''); RETURN NEW; END';"
    " CREATE TRIGGER t BEFORE INSERT ON public.auth_user FOR EACH ROW EXECUTE FUNCTION public.f()",
    "rule": "CREATE RULE t AS ON INSERT TO public.auth_user DO ALSO SELECT trap.yes('x')",
    "policy": "CREATE POLICY t ON public.auth_user USING (trap.yes('x'))",
    "default": "ALTER TABLE public.auth_user ALTER is_staff SET DEFAULT trap.yes('x')",
    "check": "ALTER TABLE public.auth_user ADD CONSTRAINT t CHECK (trap.yes(username)) NOT VALID",
    "index": "CREATE FUNCTION public.i(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
    " CREATE INDEX t ON public.auth_user (public.i(username))",
}


def test_code_on_tables_that_were_given_to_the_site_is_found_before_they_are_carried(hostile):
    bait(hostile)
    make_schema(hostile)
    hostile.run(*ON_CARRIED_TABLES.values(), role=hostile.nova)
    for table in ("django_migrations", "credentials_clientwrite", "auth_user", "django_q_schedule"):
        hostile.run(f"ALTER TABLE public.{table} OWNER TO {hostile.site}")
    hostile.run(f"ALTER TABLE public.migration_clientmigration OWNER TO {hostile.site}")

    told = refused(hostile, "objects that it never made", code=1)

    for kind in ON_CARRIED_TABLES:
        assert re.search(rf"\b{kind} \S+ on public\.auth_user", told), (kind, told)


def test_settings_of_the_database_change_nothing_for_the_site(hostile):
    name = hostile.ask("SELECT quote_ident(current_database())")[0][0]
    hostile.run(
        f"ALTER DATABASE {name} SET search_path = public, trap",
        f"ALTER DATABASE {name} SET row_security = on",
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'",
        f"ALTER DATABASE {name} SET standard_conforming_strings = off",
        f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'",
        role=hostile.nova,
    )
    make_schema(hostile)

    assert migrate(hostile).returncode == 0

    shown = manage(
        "shell",
        "-c",
        "from django.db import connection\n"
        "for c in (connection, connection.copy()):\n"
        "    with c.cursor() as cursor:\n"
        "        for name in ('search_path', 'row_security', 'client_encoding'):\n"
        "            cursor.execute(f'SHOW {name}'); print(cursor.fetchone()[0])\n"
        "        cursor.execute('SELECT %s', ['a\\\\\\'b']); print(cursor.fetchone()[0])\n"
        "    c.close()\n",
        DATABASE_URL=hostile.of(hostile.site),
    )
    lines = [line for line in shown.stdout.splitlines() if line and "imported" not in line]
    assert lines == ["nova_admin, pg_temp", "off", "UTF8", "a\\'b"] * 2
    assert hostile.sprung() == []


def test_a_role_that_the_database_sets_gets_nothing_of_a_superusers_migrate(hostile):
    name = hostile.ask("SELECT quote_ident(current_database())")[0][0]
    hostile.run(f"ALTER ROLE {hostile.site} SUPERUSER")
    hostile.run(f"ALTER DATABASE {name} SET role = '{hostile.nova}'", role=hostile.nova)

    done = migrate(hostile)

    assert done.returncode == 2
    assert f"ALTER DATABASE {name} RESET role;" in done.stderr
    hostile.run(f"ALTER DATABASE {name} RESET role", role=hostile.nova)
    assert hostile.ask("SELECT to_regnamespace('nova_admin')") == [(None,)]
    assert is_accepted(hostile)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE {db} SET session_preload_libraries = 'x'",
        "ALTER DATABASE {db} SET session_replication_role = replica",
        "ALTER ROLE {site} SET search_path = public",
        "ALTER ROLE {site} IN DATABASE {db} SET search_path = public",
        "ALTER ROLE {nova} SUPERUSER",
        "GRANT {site} TO {nova}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {site} IN SCHEMA nova_admin GRANT ALL ON TABLES TO {nova}",
        "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION trap.event()",
        "ALTER SCHEMA nova_admin RENAME TO other",
        "DROP SCHEMA nova_admin CASCADE",
        "GRANT ALL ON SCHEMA nova_admin TO {nova}",
        "CREATE TABLE nova_admin.t ()",
        (
            "CREATE TRIGGER t AFTER UPDATE ON public.clients FOR EACH ROW WHEN (trap.yes('x'))"
            " EXECUTE FUNCTION nova_admin.count_write()"
        ),
    ],
)
def test_what_only_a_superuser_or_the_site_may_do_is_refused_by_postgresql(migrated, statement):
    hostile = migrated
    names = {"db": hostile.ask("SELECT quote_ident(current_database())")[0][0]}
    names |= {"site": hostile.site, "nova": hostile.nova}

    with psycopg.connect(hostile.of(hostile.nova)) as connection:
        if "EVENT TRIGGER" in statement:
            connection.execute(
                "CREATE FUNCTION trap.event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
            )
        with pytest.raises(
            (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidParameterValue)
        ):
            connection.execute(statement.format(**names))
        connection.rollback()


@pytest.fixture(scope="module")
def migrated() -> Iterator[Hostile]:
    with copied_hostile_database("with_a_trap", migrate_with_a_trap) as hostile:
        hostile.run(SPRING.format(token=hostile.token, nova=hostile.nova), role=hostile.nova)
        yield hostile


def migrate_with_a_trap(hostile: Hostile) -> None:
    make_traps(hostile)
    make_schema(hostile)
    hostile.run("INSERT INTO public.clients (name, slug) VALUES ('A', 'a')", role=hostile.nova)
    done = migrate(hostile)
    assert done.returncode == 0, done.stderr


POLICY = (
    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    "CREATE POLICY lure ON {table} USING (trap.yes('policy')) WITH CHECK (trap.yes('policy'))",
)
NO_POLICY = (
    "DROP POLICY lure ON {table}",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
)


@pytest.fixture
def with_policies(migrated) -> Iterator[Hostile]:
    tables = ("public.clients", "public.client_email_credentials")
    migrated.run(
        *(line.format(table=table) for table in tables for line in POLICY), role=migrated.nova
    )
    yield migrated
    migrated.run(
        *(line.format(table=table) for table in tables for line in NO_POLICY), role=migrated.nova
    )


def test_a_policy_on_novas_tables_fails_our_statement_and_never_runs(with_policies):
    for command in (
        ("client_status",),
        ("compare_clients", "--all", "--inline"),
        ("push_pending", "--inline"),
    ):
        done = manage(*command, DATABASE_URL=with_policies.of(with_policies.site))

        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "lacks a right in the database" in done.stderr
    assert with_policies.sprung() == []


def test_nor_does_it_run_within_the_trigger_where_nova_truncates(with_policies):
    hostile = with_policies
    truncate = "TRUNCATE public.client_database_credentials, public.client_database_schemas"
    hostile.run(f"SET row_security = on; {truncate}", role=hostile.nova)

    assert hostile.ask("SELECT NOT nova_admin.writes_are_counted()") == [(True,)]
    assert hostile.sprung() == []
    assert hostile.gained() == []
