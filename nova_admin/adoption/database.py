"""Owns what `adopt` makes in NOVA's database before `migrate`: the site's role, schema and rights. Undoes just that.

It knows no password: of one that is to be made it is given the verifier. Needs no settings of the site.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import errors, sql

from credentials.grants import (
    READER_RIGHTS,
    GrantedObjectKind,
    Right,
    find_lacking_rights,
    list_needed_site_rights,
    make_grants,
    quote_role,
)
from credentials.site_schema import SCHEMA
from credentials.trigger_sql import ASK_COUNTED, OLD_FUNCTION
from migration.core.write_state import DatabaseIdentity
from migration.doctor.nova import POWERS, QUIET_LOG
from nova_admin.database.schema import CARRIED_OVER, IS_FIRST_RELEASE
from nova_credentials.tables import COUNT_WRITE, NOVA_TABLES

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
PLACEHOLDER = "'…'"
# What others than the database's administrator may not give; the site works without it.
SERVER_RIGHTS = (Right("EXECUTE", GrantedObjectKind.FUNCTION, "pg_catalog.pg_control_system()"),)
PUBLIC_USAGE = Right("USAGE", GrantedObjectKind.SCHEMA, "public")
# A whole preparation waits so long for each table of the site, and is tried again that often.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '10s'"
TRIES, PAUSE_SECONDS = 20, 0.2
CONNECT_SECONDS = 10
# What PostgreSQL says where this role may not do it, or what it needs is left over too: the role, the schema.
NOT_LET = (
    errors.InsufficientPrivilege,
    errors.UndefinedObject,
    errors.InvalidSchemaName,
    errors.InvalidParameterValue,
)
# By this key a note says that adopt made the role.
ROLE_KEY = "ROLE"
# Nothing that NOVA's roles made is taken for PostgreSQL's own.
SAFE_PATH = "SET search_path = pg_catalog, pg_temp"

DESCRIBE = """
SELECT current_user::text, r.rolsuper, current_database()::text, current_setting('server_version'), pg_is_in_recovery(),
    current_setting('server_version_num')::int >= 160000
FROM pg_roles r WHERE r.oid = current_user::regrole
"""
# NOVA's tables: which are missing, who owns the others, and whether this role may act as their owner.
OWNERS = """
SELECT array_agg(name) FILTER (WHERE c.oid IS NULL), array_agg(DISTINCT pg_get_userbyid(c.relowner)::text)
    FILTER (WHERE c.oid IS NOT NULL), coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), true)
FROM unnest(%s::text[]) AS name LEFT JOIN pg_class c ON c.oid = to_regclass(name)
"""
# A role that is there: what it may beyond what the site's should.
ROLE = """
SELECT array_remove(ARRAY[
    CASE WHEN rolsuper THEN 'is a superuser' END, CASE WHEN NOT rolcanlogin THEN 'may not log in' END,
    CASE WHEN rolcreaterole THEN 'has CREATEROLE' END, CASE WHEN rolcreatedb THEN 'has CREATEDB' END,
    CASE WHEN rolreplication THEN 'has REPLICATION' END, CASE WHEN rolbypassrls THEN 'has BYPASSRLS' END,
    CASE WHEN rolvaliduntil < now() THEN 'has a password that is not valid any more' END,
    'is a member of ' || (
        SELECT string_agg(quote_ident(p.rolname), ', ' ORDER BY p.rolname) FROM pg_roles p
        WHERE NOT r.rolsuper AND p.rolname = ANY(%(unfit)s) AND pg_has_role(r.oid, p.oid, 'MEMBER')
    )
], NULL)
FROM pg_roles r WHERE rolname = %(role)s
"""
SCHEMA_OWNER = "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = %s"
# Names are looked for in catalogues: PostgreSQL finds none by itself in a schema that this role may not use.
IN_SCHEMA = """
SELECT format('%%s.%%s', %(schema)s::text, name) FROM (
    SELECT relnamespace, relname::text FROM pg_class UNION ALL SELECT pronamespace, proname || '()' FROM pg_proc
) AS found (schema, name) WHERE schema = to_regnamespace(%(schema)s)
"""
MAY_READ_NOTED = """
SELECT coalesce(bool_or(
    has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT')
), false) FROM pg_class WHERE relname = 'migration_databaseclaim' AND relnamespace = to_regnamespace('nova_admin')
"""
NOTED = """
SELECT system_identifier::text, database_oid::bigint FROM nova_admin.migration_databaseclaim ORDER BY id DESC LIMIT 1
"""
OWN_IDENTITY = """
SELECT oid::bigint, has_function_privilege('pg_control_system()', 'EXECUTE') FROM pg_database
WHERE datname = current_database()
"""
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
# The number of the advisory lock that adopt and uninstall hold; `migrate` has another.
TURN = 0x6E6F7662
# What else the role needs or should have: a key, whether it is there, whether the site needs it, the statement, its way
# back, and the value that a setting has for this role now. `held_by` is the role, or PUBLIC for one that isn't there.
OTHER_RIGHTS = """
WITH site AS (
    SELECT %(role)s::text AS role, (SELECT oid FROM pg_roles WHERE rolname = %(role)s) AS id, oid AS here, datname
    FROM pg_database WHERE datname = current_database()
)
SELECT 'CONNECT', has_database_privilege(%(held_by)s::name, here, 'CONNECT'), true,
    format('GRANT CONNECT ON DATABASE %%I TO %%I;', datname, role),
    format('REVOKE CONNECT ON DATABASE %%I FROM %%I;', datname, role), NULL
FROM site
UNION ALL
SELECT 'pg_read_all_stats', id IS NOT NULL AND pg_has_role(id, 'pg_read_all_stats', 'MEMBER'), false,
    format('GRANT pg_read_all_stats TO %%I;', role), format('REVOKE pg_read_all_stats FROM %%I;', role), NULL
FROM site
UNION ALL
SELECT 'SET ' || name, coalesce(own.value = wanted.value, false), false,
    format('ALTER ROLE %%I IN DATABASE %%I SET %%s = %%s;', role, datname, name, wanted.value),
    format('ALTER ROLE %%I IN DATABASE %%I RESET %%s;', role, datname, name), own.value
FROM site CROSS JOIN unnest(%(names)s::text[], %(values)s::text[]) AS wanted (name, value) LEFT JOIN LATERAL (
    SELECT substr(each, length(name) + 2) FROM pg_db_role_setting, unnest(setconfig) AS each
    WHERE setrole = id AND setdatabase = here AND starts_with(each, name || '=')
) AS own (value) ON true
WHERE starts_with(name, 'log_') OR current_setting(name, true) <> wanted.value
"""
# Who has had the site's tables: the owner of its schema, or of a first release's tables in `public`.
FIRST_RELEASES_OWNER = """
SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass('public.credentials_clientwrite')
"""
# All that the former owner has of the site's; a sequence of a column goes with its table.
HAND_OVER = """
WITH site AS (SELECT %(role)s::text AS role, (SELECT oid FROM pg_roles WHERE rolname = %(former)s) AS former)
SELECT statement FROM site, LATERAL (
    SELECT 1 AS n, format('ALTER SCHEMA %%I OWNER TO %%I;', nspname, role) AS statement FROM pg_namespace
    WHERE nspname = %(schema)s AND nspowner = former
    UNION ALL
    SELECT 2, format('ALTER %%s %%s OWNER TO %%I;',
        CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass, role)
    FROM pg_class c WHERE relowner = former AND relkind IN ('r', 'p', 'S', 'v') AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('a', 'i') AND relkind = 'S'
    ) AND (relnamespace = to_regnamespace(%(schema)s)
        OR relnamespace = 'public'::regnamespace AND relname = ANY(%(carried_over)s))
    UNION ALL
    SELECT 3, format('ALTER ROUTINE %%s OWNER TO %%I;', p.oid::regprocedure, role) FROM pg_proc p
    WHERE proowner = former AND (pronamespace = to_regnamespace(%(schema)s) OR p.oid = to_regprocedure(%(function)s))
) AS owned ORDER BY n, statement
"""
HAS_SITE = """
SELECT EXISTS (
    SELECT FROM pg_class WHERE relname IN ('django_migrations', 'credentials_clientwrite')
        AND relnamespace IN (to_regnamespace('nova_admin'), 'public'::regnamespace)
    GROUP BY relnamespace HAVING count(*) = 2
)
"""
# What would run code of others as whoever has the site's tables, or as the site's role for everybody.
CODE_OF_OTHERS = """
SELECT DISTINCT pg_describe_object(classid, objid, 0) FROM (
    SELECT 'pg_trigger'::regclass, t.oid, tgrelid, tgfoid FROM pg_trigger t WHERE NOT tgisinternal
    UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, adrelid, refobjid FROM pg_attrdef d JOIN pg_depend
        ON classid = 'pg_attrdef'::regclass AND objid = d.oid AND refclassid = 'pg_proc'::regclass
    UNION ALL SELECT 'pg_constraint'::regclass, k.oid, conrelid, refobjid FROM pg_constraint k JOIN pg_depend
        ON classid = 'pg_constraint'::regclass AND objid = k.oid AND refclassid = 'pg_proc'::regclass
    UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class, NULL FROM pg_rewrite
    UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid, NULL FROM pg_policy
) AS found (classid, objid, relation, function) JOIN pg_class c ON c.oid = relation
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND NOT EXISTS (
    SELECT FROM pg_proc p WHERE p.oid = function
        AND pronamespace IN (to_regnamespace(%(schema)s), 'pg_catalog'::regnamespace)
)
UNION ALL
SELECT pg_describe_object('pg_proc'::regclass, oid, 0) FROM pg_proc
WHERE pronamespace = to_regnamespace(%(schema)s) AND prosecdef
    AND oid NOT IN (SELECT coalesce(to_regprocedure(name), 0) FROM unnest(%(functions)s::text[]) AS name)
ORDER BY 1
"""
NOTE = "SELECT obj_description(to_regnamespace(%s), 'pg_namespace')"


class RefusedError(Exception):
    """Nothing was done: this database, or this role, can't be adopted with. The text says why, and what to do."""


@dataclass(frozen=True)
class NovaDatabase:
    """What a connection reaches, and as whom."""

    role: str
    is_superuser: bool
    name: str
    version: str
    in_recovery: bool
    separates_set: bool  # from PostgreSQL 16 on membership and SET ROLE are two things
    owners: tuple[str, ...] = ()  # of NOVA's tables


@dataclass
class Prepared:
    """What was done, or would be, for the site's role; and what this role may not do."""

    done: list[str] = field(default_factory=list)
    left_needed: list[str] = field(default_factory=list)
    left_advised: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[str]:
        return [*self.left_needed, *self.left_advised]


def connect(uri: str) -> Connection:
    """Open a connection on which nothing of NOVA's roles is mistaken for PostgreSQL's own; raises psycopg.Error."""
    connection = psycopg.connect(uri, autocommit=True, connect_timeout=CONNECT_SECONDS)
    connection.execute(SAFE_PATH)
    return connection


@contextmanager
def hold_turn(connection: Connection) -> Iterator[None]:
    """Keep another adopt, or uninstall, off this database meanwhile; raises RefusedError where one is at work."""
    if not fetch_row(connection, "SELECT pg_try_advisory_lock(%s)", [TURN])[0]:
        raise RefusedError(
            "Another adopt or uninstall is at work on this database. Wait for its end."
        )
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [TURN])


def make_verifier(connection: Connection, role: str, password: str) -> str:
    """Return what the server is told of the password, which is never sent to it."""
    return connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()


def require_original(connection: Connection, site_uri: str) -> None:
    """Raise RefusedError on a duplicate of the database that a site noted; asks as the site, where it can."""
    asked = connection
    with suppress(psycopg.OperationalError):  # a password that is wrong is told later
        asked = connect(site_uri) if site_uri else connection
    try:
        noted = asked.execute(NOTED).fetchone() if fetch_row(asked, MAY_READ_NOTED)[0] else None
    finally:
        if asked is not connection:
            asked.close()
    if noted is None:
        return
    oid, may_ask = fetch_row(connection, OWN_IDENTITY)
    system = fetch_row(connection, SYSTEM)[0] if may_ask else ""
    if not DatabaseIdentity(system, oid, "").is_same_database(
        DatabaseIdentity(noted[0], noted[1], "")
    ):
        raise RefusedError(
            "This database is a duplicate: the site in it belongs to another one, and writes nothing to AWS from here."
            " As the site: manage.py claim_database makes it the one that writes, manage.py uninstall removes the site."
        )


def describe_database(connection: Connection) -> NovaDatabase:
    """Say what the connection reaches; raises RefusedError where it isn't NOVA's database, as whom owns its tables."""
    found = fetch_row(connection, DESCRIBE)
    missing, owners, may_act = fetch_row(connection, OWNERS, [list(NOVA_TABLES)])
    database = replace(NovaDatabase(*found), owners=tuple(owners or ()))
    if database.in_recovery:
        raise RefusedError(
            "This server is a replica, which takes no changes. Point DATABASE_URL at the primary server."
        )
    if missing:
        raise RefusedError(
            f"This database lacks tables of NOVA's: {', '.join(missing)}. Point DATABASE_URL at NOVA's own database,"
            " or have NOVA make them first."
        )
    if not may_act:
        raise RefusedError(
            f"{database.role} neither owns NOVA's tables nor is a superuser: {', '.join(database.owners)} owns them."
            " Give a DATABASE_URL of the owner's or of a superuser's."
        )
    return database


def find_present_role(connection: Connection) -> str:
    """Return the role that has the site's tables: of its schema, or of a first release's in `public`; "" for none."""
    row = connection.execute(SCHEMA_OWNER, [SCHEMA]).fetchone()
    if row is None and fetch_row(connection, IS_FIRST_RELEASE)[0]:
        row = connection.execute(FIRST_RELEASES_OWNER).fetchone()
    return str(row[0]) if row else ""


def has_site(connection: Connection) -> bool:
    """Say whether a site's tables are there, of whatever release."""
    return bool(fetch_row(connection, HAS_SITE)[0])


def require_sound_site(connection: Connection) -> None:
    """Raise RefusedError where what NOVA's role is to hand over is no site's, or has code of others in it."""
    if not has_site(connection):
        if connection.execute(IN_SCHEMA, {"schema": SCHEMA}).fetchone():
            raise RefusedError(
                f"NOVA's role has a schema {SCHEMA} with objects, and no site is in it: somebody made them to look like"
                f" the site's. DROP SCHEMA {SCHEMA} CASCADE; then run adopt again."
            )
        return
    values = {"schema": SCHEMA, "functions": [COUNT_WRITE, ASK_COUNTED]}
    if found := [what for (what,) in connection.execute(CODE_OF_OTHERS, values).fetchall()]:
        raise RefusedError(
            f"In the schema {SCHEMA} this is not the site's, and would run as its role: {', '.join(found)}. Drop it;"
            " then run adopt again."
        )


def require_fit_role(
    connection: Connection, database: NovaDatabase, role: str, *, present: str, shared: bool
) -> bool:
    """Say whether the site's role is there; raises RefusedError where another has the site, or it may too much.

    `present` has the site's tables: NOVA's own roles hand them over, and no other.
    """
    novas = (database.role, *database.owners)
    if present not in ("", role, *novas):
        raise RefusedError(
            f"The site is there, and its tables belong to the role {present}: name it by --site-role, without"
            " --shared-role, or hand them over first."
        )
    if shared:
        return True
    if role in novas:
        raise RefusedError(
            f"{role} is NOVA's own role. Name another one by --site-role, or say --shared-role if both are to keep it."
        )
    row = connection.execute(ROLE, {"role": role, "unfit": [*POWERS, *novas]}).fetchone()
    if row and row[0]:
        raise RefusedError(
            f"The role {role} is there and {', '.join(row[0])}. Name another one by --site-role, or take that away."
        )
    return row is not None


def prepare(
    connection: Connection,
    database: NovaDatabase,
    role: str,
    *,
    verifier: str,
    former: str = "",
    keep: bool,
) -> Prepared:
    """Give the site's role what it lacks, in one transaction, and undo it all again unless `keep`.

    So a plan is what PostgreSQL lets this role do, in any of its releases. Raises RefusedError where a table is in use.
    """
    for attempt in range(TRIES):
        time.sleep(PAUSE_SECONDS if attempt else 0)
        try:
            with connection.transaction(force_rollback=not keep):
                connection.execute(LOCK_TIMEOUT)
                return _Preparation(connection, database, role, verifier).run(former)
        except (errors.LockNotAvailable, errors.QueryCanceled):
            continue
    raise RefusedError(
        "Tables of the site are in use. Stop the site and its workers, then try again."
    )


class _Preparation:
    """One try, within a transaction: what PostgreSQL refuses is left over."""

    def __init__(
        self, connection: Connection, database: NovaDatabase, role: str, verifier: str
    ) -> None:
        self.connection, self.database, self.role, self.verifier = (
            connection,
            database,
            role,
            verifier,
        )
        self.cursor, self.prepared = connection.cursor(), Prepared()
        self.quoted = quote_role(self.cursor, role)

    def run(self, former: str) -> Prepared:
        there = was_there = role_exists(self.connection, self.role)
        if not there:
            there = self._do(f"CREATE ROLE {self.quoted} LOGIN PASSWORD {PLACEHOLDER};")
        # Nobody has granted anything to a role that isn't there.
        held_by = self.role if there else "public"
        has_schema = self.connection.execute(SCHEMA_OWNER, [SCHEMA]).fetchone() is not None
        rights = find_missing_rights(self.connection, held_by)
        others = [
            row
            for row in find_other_rights(self.connection, self.role, held_by)
            if not row.is_there
        ]
        keys = dict.fromkeys(map(name_right, rights)) | {each.key: each.former for each in others}
        note = read_note(self.connection) or {}
        # Of a role that adopt made, all goes: nothing else has to be noted.
        new = (
            {ROLE_KEY: None} if not was_there else {k: v for k, v in keys.items() if k not in note}
        )
        new = {} if ROLE_KEY in note else new
        with self._membership(needed=bool(former or new or not has_schema)):
            self._make_schema(former, is_there=has_schema)
            for each in (True, False):
                lacking = [right for right in rights if (right not in SERVER_RIGHTS) == each]
                statements = [
                    *make_grants(lacking, self.quoted),
                    *(o.statement for o in others if o.is_needed == each),
                ]
                for statement in statements:
                    self._do(statement, is_needed=each)
            if new:
                noted = quote(self.connection, json.dumps(note | new))
                self._do(f"COMMENT ON SCHEMA {SCHEMA} IS {noted};", is_needed=False, as_site=True)
        return self.prepared

    def _make_schema(self, former: str, *, is_there: bool) -> None:
        if not is_there:
            self._do(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {self.quoted};")
        if not former:
            return
        values = {"role": self.role, "former": former, "schema": SCHEMA}
        values |= {"function": OLD_FUNCTION}
        self.cursor.execute(HAND_OVER, {**values, "carried_over": list(CARRIED_OVER)})
        for (statement,) in self.cursor.fetchall():
            self._do(statement)
        # Who had everything as the owner has nothing now, and NOVA reads meanwhile.
        found = self.cursor.execute(IN_SCHEMA, {"schema": SCHEMA}).fetchall()
        names = {SCHEMA, *(name for (name,) in found)}
        rights = [right for right in READER_RIGHTS if right.name in names]
        for owner in self.database.owners:
            for statement in make_grants(rights, quote_role(self.cursor, owner)):
                self._do(statement, as_site=True)

    @contextmanager
    def _membership(self, *, needed: bool) -> Iterator[None]:
        """Let a role that is no superuser act as the site's meanwhile, if it may: else it can't give it a schema."""
        apart = self.role != self.database.role and not self.database.is_superuser
        if not (needed and apart and not self._may_act_as_site()):
            yield
            return
        member = self._do(f"GRANT {self.quoted} TO CURRENT_USER;")
        yield
        if member:
            self._do(f"REVOKE {self.quoted} FROM CURRENT_USER;")
        else:
            self.prepared.left_needed.remove(f"GRANT {self.quoted} TO CURRENT_USER;")

    def _may_act_as_site(self) -> bool:
        if not role_exists(self.connection, self.role):
            return False
        how = "SET" if self.database.separates_set else "MEMBER"
        return bool(fetch_row(self.connection, "SELECT pg_has_role(%s, %s)", [self.role, how])[0])

    def _do(self, statement: str, *, is_needed: bool = True, as_site: bool = False) -> bool:
        """Run it in a savepoint; say whether it was let, and note it as left over otherwise."""
        run = statement
        if statement.startswith("CREATE ROLE"):
            run = statement.replace(PLACEHOLDER, quote(self.connection, self.verifier))
        if as_site and self.role != self.database.role:
            run = f"SET LOCAL ROLE {self.quoted}; {run} SET LOCAL ROLE NONE;"
        try:
            with self.connection.transaction():
                self.connection.execute(run.encode())
        except NOT_LET:
            (self.prepared.left_needed if is_needed else self.prepared.left_advised).append(
                statement
            )
            return False
        self.prepared.done.append(statement)
        return True


@dataclass(frozen=True)
class OtherRight:
    """What the role needs or should have beside rights on tables; `former` is what a setting is now."""

    key: str
    is_there: bool
    is_needed: bool
    statement: str
    undo: str
    former: str | None


def find_missing_rights(connection: Connection, held_by: str) -> list[Right]:
    """Return the rights on NOVA's tables, and on the server's functions, that this role lacks."""
    rights = list_rights(connection)
    return list(find_lacking_rights(connection.cursor(), held_by, rights).lacking)


def list_rights(connection: Connection) -> list[Right]:
    return [PUBLIC_USAGE, *list_needed_site_rights(connection.cursor()), *SERVER_RIGHTS]


def find_other_rights(connection: Connection, role: str, held_by: str) -> list[OtherRight]:
    """Return what else the role has or should have."""
    values = {
        "role": role,
        "held_by": held_by,
        "names": list(QUIET_LOG),
        "values": list(QUIET_LOG.values()),
    }
    return [OtherRight(*row) for row in connection.execute(OTHER_RIGHTS, values).fetchall()]


def name_right(right: Right) -> str:
    return f"{right.privilege} ON {right.kind} {right.name}"


def read_note(connection: Connection) -> dict[str, str | None] | None:
    """Return what adopt found missing and made, as it noted it beside the schema; None where it noted nothing.

    The site's role can write it: so it chooses among what this release itself would undo, and is never a statement.
    """
    text = fetch_row(connection, NOTE, [SCHEMA])[0]
    try:
        note = json.loads(text or "")
    except ValueError:
        return None
    return note if isinstance(note, dict) else None


def list_undoing(
    connection: Connection, role: str, note: dict[str, str | None] | None, *, is_novas: bool
) -> list[str]:
    """Return the statements by which the owner of NOVA's tables takes back what adopt gave; the last may drop the role.

    Without a note its rights on NOVA's tables and its settings go, and the role stays: nobody knows who made it.
    `is_novas`: the role is NOVA's own too.
    """
    cursor, rights = connection.cursor(), list_rights(connection)
    quoted = quote_role(cursor, role)

    def goes(key: str) -> bool:
        if note is None:
            return key.startswith("SET ") or (" ON " in key and not is_novas)
        return ROLE_KEY in note or key in note

    lacking = find_lacking_rights(cursor, role, rights).lacking
    # What PUBLIC has is none of the role's.
    own = [
        right
        for right in find_lacking_rights(cursor, "public", rights).lacking
        if right not in lacking
    ]
    statements = list(
        make_grants([each for each in own if goes(name_right(each))], quoted, revoke=True)
    )
    others = (find_other_rights(connection, role, held_by) for held_by in (role, "public"))
    for other, of_public in zip(*others, strict=True):
        if (
            other.is_there
            and goes(other.key)
            and not (other.key == "CONNECT" and of_public.is_there)
        ):
            former = (note or {}).get(other.key)
            put_back = (
                f"{other.statement.rpartition(' = ')[0]} = {quote(connection, former or '')};"
            )
            statements.append(other.undo if former is None else put_back)
    if note is not None and ROLE_KEY in note and not is_novas:
        statements.append(f"DROP ROLE {quoted};")
    return statements


def undo(connection: Connection, statements: Sequence[str]) -> list[str]:
    """Run the statements in one transaction; return those that this role may not run, or that others still need."""
    left = []
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        for statement in statements:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except (*NOT_LET, errors.DependentObjectsStillExist):
                left.append(statement)
    return left


def quote(connection: Connection, text: str) -> str:
    """Return the text as PostgreSQL's statements hold it."""
    return sql.Literal(text).as_string(connection)


def role_exists(connection: Connection, role: str) -> bool:
    return bool(
        fetch_row(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])[0]
    )


def fetch_row(
    connection: Connection, query: LiteralString, values: Sequence[object] = ()
) -> tuple[Any, ...]:
    """Return the one row of the query."""
    row = connection.execute(query, values or None).fetchone()
    assert row is not None  # noqa: S101  # every query here has one
    return row
