"""Whatever runs code of the owners of NOVA's tables as the site is listed, and none of it is run to find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection

from credentials.nova_objects import NovaObject, ObjectKind, list_foreign_objects
from tests.attacks.hostile import SPRING, copied_hostile_database
from tests.attacks.test_hostile_database import migrate_with_a_trap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.hostile import Hostile

CLIENTS, LOGINS = "public.clients", "public.client_database_credentials"
NEVER = "trap.yes('it ran')"
# What NOVA's role makes, and what is listed of it: kind, name, table.
OBJECTS = {
    "a trigger": (
        ("CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS"
        f" 'BEGIN PERFORM trap.spring(''it ran''); RETURN NEW; END';"
        f" CREATE TRIGGER t BEFORE UPDATE ON {CLIENTS} FOR EACH ROW EXECUTE FUNCTION public.f()"),
        [(ObjectKind.TRIGGER, "t", CLIENTS)],
    ),
    "a trigger with the name of ours": (
        ("CREATE FUNCTION public.count_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        f" CREATE OR REPLACE TRIGGER nova_admin_count_write AFTER UPDATE ON {LOGINS} FOR EACH ROW"
        " EXECUTE FUNCTION public.count_write()"),
        [(ObjectKind.TRIGGER, "nova_admin_count_write", LOGINS)],
    ),
    "a rule": (
        f"CREATE RULE r AS ON UPDATE TO {CLIENTS} DO ALSO SELECT {NEVER}",
        [(ObjectKind.RULE, "r", CLIENTS)],
    ),
    "row security": (
        f"ALTER TABLE {CLIENTS} ENABLE ROW LEVEL SECURITY",
        [(ObjectKind.ROW_SECURITY, "", CLIENTS)],
    ),
    "a policy": (
        f"CREATE POLICY p ON {CLIENTS} USING ({NEVER})",
        [(ObjectKind.POLICY, "p", CLIENTS)],
    ),
    "a default": (
        f"ALTER TABLE {CLIENTS} ALTER is_active SET DEFAULT {NEVER}",
        [(ObjectKind.DEFAULT, "is_active", CLIENTS)],
    ),
    "a default of PostgreSQL's own that runs anything": (
        f"ALTER TABLE {CLIENTS} ALTER description SET DEFAULT query_to_xml('SELECT 1', true, true, '')::text",
        [(ObjectKind.DEFAULT, "description", CLIENTS)],
    ),
    "a default by a function with the name of one of PostgreSQL's": (
        ("CREATE FUNCTION public.now(int = 1) RETURNS timestamp LANGUAGE sql AS 'SELECT NULL::timestamp';"
        f" ALTER TABLE {CLIENTS} ALTER updated_at SET DEFAULT public.now(1)"),
        [(ObjectKind.DEFAULT, "updated_at", CLIENTS)],
    ),
    "a column with such a default": (
        f"ALTER TABLE {CLIENTS} ADD more boolean DEFAULT {NEVER}",
        [(ObjectKind.DEFAULT, "more", CLIENTS)],
    ),
    "a generated column": (
        f"ALTER TABLE {CLIENTS} ADD more text GENERATED ALWAYS AS (lower(name)) STORED",
        [(ObjectKind.GENERATED, "more", CLIENTS)],
    ),
    "a domain": (
        f"CREATE DOMAIN public.d AS text CHECK ({NEVER}); ALTER TABLE {CLIENTS} ALTER description TYPE public.d",
        [(ObjectKind.DOMAIN, "description", CLIENTS)],
    ),
    "a type of its own": (
        f"CREATE TYPE public.d AS ENUM ('a'); ALTER TABLE {CLIENTS} ADD more public.d[]",
        [(ObjectKind.DOMAIN, "more", CLIENTS)],
    ),
    "a check": (
        f"ALTER TABLE {CLIENTS} ADD CONSTRAINT c CHECK ({NEVER})",
        [(ObjectKind.CHECK, "c", CLIENTS)],
    ),
    "a check by a function of PostgreSQL's own": (
        f"ALTER TABLE {CLIENTS} ADD CONSTRAINT c CHECK (query_to_xml('SELECT 1', true, true, '') IS NOT NULL)",
        [(ObjectKind.CHECK, "c", CLIENTS)],
    ),
    "an operator of its own": (
        ("CREATE FUNCTION public.f(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        " CREATE OPERATOR public.=== (FUNCTION = public.f, LEFTARG = text, RIGHTARG = text);"
        f" ALTER TABLE {CLIENTS} ADD CONSTRAINT c CHECK (description OPERATOR(public.===) description)"),
        [(ObjectKind.CHECK, "c", CLIENTS)],
    ),
    "an index over an expression": (
        (f"CREATE FUNCTION public.f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';"
        f" CREATE INDEX i ON {CLIENTS} (public.f(name))"),
        [(ObjectKind.INDEX, "public.i", CLIENTS)],
    ),
    "a partial index": (
        f"CREATE INDEX i ON {CLIENTS} (name) WHERE {NEVER}",
        [(ObjectKind.INDEX, "public.i", CLIENTS)],
    ),
    "a child": (
        f"CREATE TABLE public.child () INHERITS ({CLIENTS})",
        [(ObjectKind.CHILD, "public.child", CLIENTS)],
    ),
    "a parent": (
        f"CREATE TABLE public.parent (name varchar(255) NOT NULL); ALTER TABLE {CLIENTS} INHERIT public.parent",
        [(ObjectKind.PARENT, "public.parent", CLIENTS)],
    ),
    "a view": (
        f"ALTER TABLE {LOGINS} RENAME TO kept; CREATE VIEW {LOGINS} AS SELECT * FROM public.kept WHERE {NEVER}",
        [(ObjectKind.RELATION, "v", LOGINS)],
    ),
    "a partitioned table": (
        (f"ALTER TABLE {LOGINS} RENAME TO kept; CREATE TABLE {LOGINS} (id int) PARTITION BY RANGE (id);"
        f" CREATE TABLE public.part PARTITION OF {LOGINS} FOR VALUES FROM (0) TO (9)"),
        [(ObjectKind.CHILD, "public.part", LOGINS), (ObjectKind.RELATION, "p", LOGINS)],
    ),
    # And what is no code of the owner's.
    "a plain check": (f"ALTER TABLE {CLIENTS} ADD CHECK (id > 0 AND name <> '')", []),
    "a plain check of a length": (
        f"ALTER TABLE {CLIENTS} ADD CHECK (char_length(name) < 999 AND lower(slug) ~ '[a-z]')",
        [],
    ),
    "a plain index over an expression": (f"CREATE INDEX i ON {CLIENTS} (lower(name))", []),
    "a plain index": (f"CREATE INDEX i ON {CLIENTS} (name, created_at DESC)", []),
    "a plain partial index": (f"CREATE INDEX i ON {CLIENTS} (name) WHERE is_active AND id > 7", []),
    "a plain column": (f"ALTER TABLE {CLIENTS} ADD more numeric(8, 2) NOT NULL DEFAULT -1.5", []),
    "another plain default": (f"ALTER TABLE {CLIENTS} ALTER description SET DEFAULT 'it''s now()'", []),
    "the time": (f"ALTER TABLE {CLIENTS} ALTER created_at SET DEFAULT CURRENT_TIMESTAMP", []),
    "another table": (f"CREATE TABLE public.other (id int REFERENCES {CLIENTS}, x boolean DEFAULT {NEVER})", []),
}  # fmt: skip


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    """A database with what NOVA's scripts made, and `migrate`."""
    with copied_hostile_database("with_a_trap", migrate_with_a_trap) as hostile:
        hostile.run(
            SPRING.format(token=hostile.token, nova=hostile.nova),
            "ALTER FUNCTION trap.yes(text) IMMUTABLE",
            "DELETE FROM public.clients",  # a new check would be tried on its rows
            role=hostile.nova,
        )
        yield hostile


def listed(hostile: Hostile, *statements: str, by: str = "", site: str = "") -> list[NovaObject]:
    """What the site's role is told while NOVA's role, or another, has made that; nothing of it stays."""
    with psycopg.connect(hostile.of("postgres")) as connection:
        connection.execute(f"SET LOCAL ROLE {by or hostile.nova}; SET LOCAL search_path = public")
        for statement in statements:
            connection.execute(statement)
        connection.execute(
            f"SET LOCAL ROLE {site or hostile.site}; SET LOCAL search_path = nova_admin, pg_temp"
        )
        found = list_foreign_objects(connection.cursor())
        connection.rollback()
    return found


def test_there_is_nothing_on_the_tables_as_novas_scripts_make_them(hostile):
    assert listed(hostile) == []


@pytest.mark.parametrize("what", OBJECTS)
def test_what_runs_code_of_the_owners_is_listed_with_its_owner(hostile, what):
    statement, expected = OBJECTS[what]

    found = listed(hostile, statement)

    assert [(each.kind, each.name, each.table) for each in found] == expected
    assert {each.owner for each in found} <= {hostile.nova}
    # To find it is not to run it. (PostgreSQL itself runs a new check or a default over the rows, as its maker.)
    assert hostile.sprung() == []


def test_a_function_and_a_domain_are_their_own_owners(hostile):
    found = listed(
        hostile,
        f"""
        CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE DOMAIN public.d AS text;
        GRANT TRIGGER ON {CLIENTS} TO {hostile.nova};
        CREATE TRIGGER t BEFORE UPDATE ON {CLIENTS} FOR EACH ROW EXECUTE FUNCTION public.f();
        ALTER TABLE {CLIENTS} ALTER description TYPE public.d;
        ALTER FUNCTION public.f() OWNER TO {hostile.reader};
        ALTER DOMAIN public.d OWNER TO {hostile.reader}
        """,
        by="postgres",
    )

    assert [(each.kind, each.owner) for each in found] == [
        (ObjectKind.DOMAIN, hostile.reader),
        (ObjectKind.TRIGGER, hostile.reader),
    ]


TABLES = [CLIENTS, LOGINS, "public.client_email_credentials"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "".join(f"ALTER TABLE {table} OWNER TO {{site}};" for table in TABLES),
            [(ObjectKind.SHARED_ROLE, table, "site") for table in sorted(TABLES)],
        ),
        (
            "ALTER ROLE {nova} SUPERUSER",
            [(ObjectKind.OWNER_IS_SUPERUSER, table, "nova") for table in sorted(TABLES)],
        ),
        ("ALTER ROLE {site} SUPERUSER", [(ObjectKind.SITE_IS_SUPERUSER, "", "site")]),
        (
            "GRANT {site} TO {nova}",
            [(ObjectKind.OWNER_IS_MEMBER, table, "nova") for table in sorted(TABLES)],
        ),
        ("GRANT {nova} TO {site}", []),  # the site may act as NOVA's role, which NOVA can't turn against it
    ],
)  # fmt: skip
def test_roles_between_which_no_boundary_exists_are_listed(hostile, statement, expected):
    roles = {"site": hostile.site, "nova": hostile.nova}

    found = listed(hostile, statement.format(**roles), by="postgres")

    assert [(each.kind, each.table, each.owner) for each in found] == [
        (kind, table, roles[owner]) for kind, table, owner in expected
    ]


def test_a_table_that_is_missing_is_left_out(hostile):
    assert listed(hostile, f"DROP TABLE {LOGINS} CASCADE") == []


def test_the_site_asks_by_its_own_connection(db):
    with connection.cursor() as cursor:
        found = list_foreign_objects(cursor)

    # The tests' own role made NOVA's tables, and is a superuser.
    kinds = {ObjectKind.SHARED_ROLE, ObjectKind.OWNER_IS_SUPERUSER, ObjectKind.SITE_IS_SUPERUSER}
    assert {each.kind for each in found} == kinds
