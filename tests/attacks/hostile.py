"""NOVA's role as an attacker: everything that it may create to stand in the way of what other roles' statements call.

Whatever of it runs writes a line into PostgreSQL's own log, with the role it ran as: a rollback doesn't take that back,
and a read-only transaction doesn't forbid it.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from tests import nova_database
from tests.templates import RUN, hand_over, make_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOVA_TABLES = "public.clients, public.client_database_credentials, public.client_email_credentials"

# Types that a value in a statement of ours can have; what is polymorphic in pg_catalog is made for each of them.
VALUES = (
    *("bool", "int2", "int4", "int8", "oid", "float8", "numeric", "text", "varchar", "bpchar", "name"),
    *("date", "time", "timestamp", "timestamptz", "interval", "json", "jsonb", "bytea", "uuid", "inet"),
    *("regclass", "regrole", '"char"'),
)  # fmt: skip
ONE_VALUE = {"anyelement", "anynonarray", "anycompatible", "anycompatiblenonarray", '"any"'}
MANY_VALUES = {"anyarray", "anycompatiblearray"}
# An exact match beats the conversion that pg_catalog's own function would need.
ALIKE = {
    "text": ("text", "varchar", "name"),
    "name": ("name", "varchar"),
    "int2": ("int2", "int4", "int8"),
    "int4": ("int4", "int2", "oid"),
    "int8": ("int8", "int4", "int2"),
    "oid": ("oid", "int4", "regclass"),
    "float4": ("float4", "float8"),
    "float8": ("float8", "int4", "int8", "numeric"),
    "numeric": ("numeric", "int4", "int8"),
    "timestamp": ("timestamp", "timestamptz", "date"),
    "timestamptz": ("timestamptz", "timestamp", "date"),
    "jsonb": ("jsonb", "json", "text"),
    "json": ("json", "jsonb"),
}
ROUTINES = """
SELECT p.prokind, quote_ident(p.proname), p.proretset, format_type(p.prorettype, NULL), p.prorettype::regtype::text,
    ARRAY(SELECT CASE WHEN t.typname ~ '^_' THEN e.typname || '[]' WHEN t.typname = 'char' THEN '"char"'
                      WHEN t.typname = 'any' THEN '"any"' ELSE t.typname::text END
          FROM unnest(p.proargtypes) WITH ORDINALITY AS a (id, n) JOIN pg_type t ON t.oid = a.id
          LEFT JOIN pg_type e ON e.oid = t.typelem ORDER BY n),
    p.provariadic <> 0
FROM pg_proc p JOIN pg_type r ON r.oid = p.prorettype
WHERE p.pronamespace = 'pg_catalog'::regnamespace
    AND (r.typtype <> 'p' OR r.typname IN ('void') OR r.typname LIKE 'any%')
    AND NOT EXISTS (
        SELECT FROM unnest(p.proargtypes) AS a (id) JOIN pg_type t ON t.oid = a.id
        WHERE t.typtype = 'p' AND t.typname NOT IN ('any', 'anyarray', 'anycompatible', 'anycompatiblearray',
            'anycompatiblenonarray', 'anyelement', 'anynonarray')
    )
"""
OPERATORS = """
SELECT o.oprname, coalesce(l.typname, ''), r.typname, coalesce(res.typname, 'bool')
FROM pg_operator o LEFT JOIN pg_type l ON l.oid = o.oprleft JOIN pg_type r ON r.oid = o.oprright
    LEFT JOIN pg_type res ON res.oid = o.oprresult
WHERE o.oprnamespace = 'pg_catalog'::regnamespace
    AND (r.typtype <> 'p' OR r.typname LIKE 'any%')
"""
# What each trap does: it tells as whom it ran, and takes what it can get.
SPRING = """
CREATE OR REPLACE FUNCTION trap.spring(what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $trap$
BEGIN
    RAISE LOG 'TRAP {token} ran as % in a session of %: %', current_user, session_user, what;
    BEGIN
        EXECUTE 'ALTER ROLE {nova} SUPERUSER';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE $$INSERT INTO nova_admin.auth_user (username, password, first_name, last_name, email, is_superuser,
            is_staff, is_active, date_joined) VALUES ('intruder', '', '', '', '', true, true, true, now())$$;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    BEGIN
        EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA nova_admin TO {nova}';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
END $trap$
"""
# Each statement by itself: what can't be made (a name of the parser's, a pair of types that is there) is left out.
PLANT = """
CREATE PROCEDURE trap.plant(statements text[]) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $plant$
DECLARE statement text;
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        BEGIN EXECUTE statement; EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
END $plant$
"""
YES = """
CREATE FUNCTION trap.yes(what text) RETURNS boolean LANGUAGE plpgsql AS
'BEGIN PERFORM trap.spring(what); RETURN true; END'
"""
ON_WRITE = """
CREATE FUNCTION trap.on_write() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM trap.spring(TG_TABLE_NAME::pg_catalog.text); RETURN NEW; END'
"""
RELATIONS = """
SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')
"""
OURS = """
SELECT c.relname,
    string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'nova_admin'::regnamespace AND c.relkind = 'r' GROUP BY c.relname
"""
# What a worker or a login of the site would take for its own.
BAIT = """
INSERT INTO {schema}.auth_user (id, username, password, is_superuser, is_staff, is_active)
    VALUES (1, 'intruder', '', true, true, true);
INSERT INTO {schema}.django_q_schedule (id, name, func, schedule_type, repeats, next_run)
    VALUES (1, 'bait', 'os.system', 'I', -1, '2020-01-01');
INSERT INTO {schema}.migration_clientmigration (client_id, phase)
    SELECT n, 'purged' FROM generate_series(1, 100) AS n;
"""


@dataclass
class Hostile:
    """A database that NOVA's role owns, and the roles in it; `uri` is a superuser's."""

    uri: str
    token: str

    @property
    def nova(self) -> str:
        return f"nova_{self.token}"

    @property
    def site(self) -> str:
        return f"site_{self.token}"

    @property
    def reader(self) -> str:
        return f"reader_{self.token}"

    def of(self, role: str) -> str:
        # The tests' own superuser must not step into a trap.
        path = {"options": "-c search_path=pg_catalog"} if role == "postgres" else {}
        return make_conninfo(self.uri, user=role, **path)

    def run(self, *statements: str, role: str = "postgres") -> None:
        """Each in a transaction of its own."""
        with psycopg.connect(self.of(role), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str, *values: object, role: str = "postgres") -> list[tuple[object, ...]]:
        with psycopg.connect(self.of(role), autocommit=True) as connection:
            return connection.execute(query, values or None).fetchall()

    def sprung(self, *, by_nova: bool = False) -> list[str]:
        """What of NOVA's ran as another role, once each; `by_nova`: as NOVA's own."""
        (folder,) = self.ask("SHOW data_directory")[0]
        log = Path(str(folder)).with_name("log").read_text("utf-8", errors="replace")
        lines = re.findall(rf"TRAP {self.token} ran as (\S+) (.*)", log)
        return sorted({f"{role} {line}" for role, line in lines if (role == self.nova) == by_nova})

    def gained(self) -> list[tuple[object, ...]]:
        """Superusers, rights and accounts that NOVA's role has and should not have."""
        return [
            *self.ask("SELECT rolname FROM pg_roles WHERE rolname = %s AND rolsuper", self.nova),
            *self.ask("SELECT username FROM nova_admin.auth_user WHERE username = 'intruder'"),
            *self.ask(
                "SELECT relname FROM pg_class WHERE relnamespace = 'nova_admin'::regnamespace"
                " AND relkind = 'r' AND has_table_privilege(%s, oid, 'SELECT')",
                self.nova,
            ),
        ]


@contextmanager
def hostile_database() -> Iterator[Hostile]:
    """NOVA's role has made its tables in a database of its own; the site's role has the rights that it asks for."""
    with roles_of(token := uuid4().hex[:12]), nova_database.database() as uri:
        hostile = Hostile(uri, token)
        make_tables(hostile)
        yield hostile


@contextmanager
def copied_hostile_database(what: str, fill: Callable[[Hostile], None]) -> Iterator[Hostile]:
    """A copy of what `fill` made of a hostile database once in the run; its roles are its own."""
    of_the_run = f"{os.environ[RUN]}_{what}"
    template = make_once(what, lambda uri: fill_as_roles(Hostile(uri, of_the_run), fill))
    with roles_of(token := uuid4().hex[:12]), nova_database.database(template) as uri:
        hostile, before = Hostile(uri, token), Hostile(uri, of_the_run)
        give_database(hostile)
        for kind in ("nova", "site", "reader"):
            hand_over(uri, getattr(before, kind), getattr(hostile, kind))
        grant_to_site(hostile)
        yield hostile


def fill_as_roles(hostile: Hostile, fill: Callable[[Hostile], None]) -> None:
    make_roles(hostile.token)
    make_tables(hostile)
    fill(hostile)


@contextmanager
def roles_of(token: str) -> Iterator[None]:
    try:
        make_roles(token)
        yield
    finally:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
            for kind in ("nova", "site", "reader"):
                server.execute(f"DROP ROLE IF EXISTS {kind}_{token}")


def make_roles(token: str) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        for kind in ("nova", "site", "reader"):
            server.execute(f"CREATE ROLE {kind}_{token} LOGIN")


def make_tables(hostile: Hostile) -> None:
    give_database(hostile)
    hostile.run(*nova_database.TABLES, role=hostile.nova)
    grant_to_site(hostile)


def give_database(hostile: Hostile) -> None:
    name = psycopg.conninfo.conninfo_to_dict(hostile.uri)["dbname"]
    hostile.run(
        f"ALTER DATABASE {name} OWNER TO {hostile.nova}",
        f"GRANT ALL ON SCHEMA public TO {hostile.nova}",
    )


def grant_to_site(hostile: Hostile) -> None:
    hostile.run(
        f"GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER ON {NOVA_TABLES} TO {hostile.site}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {hostile.site}",
        role=hostile.nova,
    )


def plant(hostile: Hostile) -> int:
    """Make the traps in `public`; answers how many functions and operators there are."""
    with psycopg.connect(hostile.of(hostile.nova), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA trap")
        connection.execute("GRANT USAGE ON SCHEMA trap TO PUBLIC")
        for statement in (
            SPRING.format(token=hostile.token, nova=hostile.nova),
            YES,
            ON_WRITE,
            PLANT,
        ):
            connection.execute(statement)
        statements = [
            *_routines(connection.execute(ROUTINES).fetchall()),
            *_operators(connection.execute(OPERATORS).fetchall()),
            *_types(),
            *(
                f"CREATE VIEW public.{name} AS SELECT * FROM pg_catalog.{name} WHERE trap.yes('view {name}')"
                for (name,) in connection.execute(RELATIONS)
            ),
        ]
        connection.execute("CALL trap.plant(%s)", [statements])
        of_public = (
            "SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)"
            " + (SELECT count(*) FROM pg_operator WHERE oprnamespace = 'public'::regnamespace)"
        )
        return int(connection.execute(of_public).fetchone()[0])


def plant_tables(hostile: Hostile) -> None:
    """Tables with the names and columns of the site's, in `public` and where PostgreSQL's default path looks first."""
    tables = hostile.ask(OURS)
    for schema in ("public", hostile.site):
        hostile.run(
            f"CREATE SCHEMA IF NOT EXISTS {schema}",
            f"GRANT USAGE ON SCHEMA {schema} TO PUBLIC",
            *(f"CREATE TABLE {schema}.{name} ({columns})" for name, columns in tables),
            BAIT.format(schema=schema),
            *(
                f"CREATE TRIGGER lure BEFORE INSERT OR UPDATE OR DELETE ON {schema}.{name}"
                " FOR EACH ROW EXECUTE FUNCTION trap.on_write()"
                for name, _ in tables
            ),
            *(
                f"ALTER TABLE {schema}.{name} ENABLE ROW LEVEL SECURITY;"
                f" CREATE POLICY lure ON {schema}.{name} USING (trap.yes('policy of {name}'));"
                f" GRANT ALL ON {schema}.{name} TO PUBLIC"
                for name, _ in tables
            ),
            role=hostile.nova,
        )


def _routines(rows: list[tuple[str, str, bool, str, str, list[str], bool]]) -> Iterator[str]:
    made = set()
    for kind, name, is_set, result, _, arguments, variadic in rows:
        shapes = (
            [arguments[:-1] + arguments[-1:] * n for n in (1, 2, 3)] if variadic else [arguments]
        )
        for value, types in (found for shape in shapes for found in _variants(shape)):
            given = ", ".join(types)
            if (name, given) in made:
                continue
            made.add((name, given))
            if kind == "a":
                step = ", ".join(("pg_catalog.int8", *types))
                yield (
                    f"CREATE OR REPLACE FUNCTION trap.step({step}) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS"
                    f" $t$BEGIN PERFORM trap.spring('aggregate'); RETURN 1; END$t$"
                )
                yield (
                    f"CREATE AGGREGATE public.{name}({given or '*'}) (SFUNC = trap.step, STYPE = pg_catalog.int8)"
                )
                continue
            returned = {
                **dict.fromkeys(ONE_VALUE, value),
                **dict.fromkeys(MANY_VALUES, f"{value}[]"),
            }
            answer = "" if is_set or result == "void" else " NULL"
            yield (
                f"CREATE FUNCTION public.{name}({given}) RETURNS {'SETOF ' if is_set else ''}"
                f"{returned.get(result, result)} LANGUAGE plpgsql AS"
                f" $t$BEGIN PERFORM trap.spring('{name}({given})'); RETURN{answer}; END$t$"
            )


def _operators(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    made = set()
    for name, left, right, result in rows:
        sides = [_written(side) for side in (left, right) if side]
        for value, types in _variants(sides):
            if (name, types) in made:
                continue
            made.add((name, types))
            function = f"trap.operator_{len(made)}"
            returned = {
                **dict.fromkeys(ONE_VALUE, value),
                **dict.fromkeys(MANY_VALUES, f"{value}[]"),
            }
            given = ", ".join(types)
            yield (
                f"CREATE FUNCTION {function}({given}) RETURNS {returned.get(_written(result), _written(result))}"
                f" LANGUAGE plpgsql AS $t$BEGIN PERFORM trap.spring('{name} ({given})'); RETURN NULL; END$t$"
            )
            arguments = zip(("LEFTARG", "RIGHTARG")[2 - len(types) :], types, strict=True)
            yield (
                f"CREATE OPERATOR public.{name} (FUNCTION = {function}, "
                + ", ".join(f"{side} = {type_}" for side, type_ in arguments)
                + ")"
            )


def _types() -> Iterator[str]:
    """Domains with the names of PostgreSQL's types; a type to which others convert unasked."""
    for name in VALUES:
        yield f"CREATE DOMAIN public.{name} AS pg_catalog.{name} CHECK (trap.yes('a type'))"
    yield "CREATE TYPE public.lure AS (a pg_catalog.int4)"
    for name in ("varchar", "text", "int4", "int8", "bool", "jsonb", "timestamptz"):
        yield (
            f"CREATE FUNCTION trap.to_lure(pg_catalog.{name}) RETURNS public.lure LANGUAGE plpgsql AS"
            " $t$BEGIN PERFORM trap.spring('a cast'); RETURN NULL; END$t$"
        )
        yield (
            f"CREATE CAST (pg_catalog.{name} AS public.lure) WITH FUNCTION trap.to_lure(pg_catalog.{name}) AS IMPLICIT"
        )
    for name in ("lower", "upper", "unnest", "coalesce", "length"):
        yield (
            f"CREATE FUNCTION public.{name}(public.lure) RETURNS pg_catalog.text LANGUAGE plpgsql AS"
            " $t$BEGIN PERFORM trap.spring('lure'); RETURN NULL; END$t$"
        )


def _variants(arguments: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each list of types that is more exact than pg_catalog's for some call, with what stands for a polymorphic one."""
    if any(name in ONE_VALUE | MANY_VALUES for name in arguments):
        for value in VALUES:
            known = {
                **dict.fromkeys(ONE_VALUE, (value,)),
                **dict.fromkeys(MANY_VALUES, (f"{value}[]",)),
            }
            for types in product(
                *(known.get(name) or ALIKE.get(name, (name,)) for name in arguments)
            ):
                yield value, types
        return
    alike = [ALIKE.get(name, (name,)) for name in arguments]
    if len(arguments) <= 2:
        yield from (("", types) for types in product(*alike))
        return
    for number in range(max(map(len, alike))):
        yield "", tuple(types[min(number, len(types) - 1)] for types in alike)


def _written(type_name: str) -> str:
    """The name of a type in `pg_type`, as a statement has to write it."""
    if type_name.startswith("_"):
        return f"{type_name[1:]}[]"
    return f'"{type_name}"' if type_name in {"char", "any"} else type_name
