"""Makes the site's own schema in NOVA's database, and carries a first release's tables into it from `public`."""

from __future__ import annotations

import time

from django.core.management.base import CommandError
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError
from psycopg.errors import LockNotAvailable, QueryCanceled

from credentials.nova_objects import list_foreign_objects_on
from credentials.site_schema import FOREIGN_IN_SCHEMA, OWNER_AND_CREATORS, SCHEMA
from credentials.trigger_sql import OLD_FUNCTION, make_trigger_function_sql
from migration.core.releases import list_halves
from nova_credentials.shown_names import escape_invisible
from nova_credentials.tables import NOVA_TABLES

# One try waits 50 ms for each of the site's tables at most, then 50 ms for all of NOVA's together, as NOVA's next
# statements queue behind it meanwhile.
TRIES = 20
PAUSE_SECONDS = 0.2
MOST_NAMES = 5

# The tables that the first release made in `public`. NOVA's own stay there.
CARRIED_OVER = (
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "auth_user",
    "auth_user_groups",
    "auth_user_user_permissions",
    "client_aws_credentials",
    "credentials_clientrevision",
    "credentials_clientwrite",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_q_ormq",
    "django_q_schedule",
    "django_q_task",
    "django_session",
    "migration_clientmigration",
    "migration_comparison",
    "migration_dailycomparisons",
    "migration_moverequest",
    "migration_openmismatch",
    "migration_phasechange",
    "migration_rate",
    "migration_readcount",
    "migration_resolution",
    "migration_reveal",
    "migration_rolegrant",
    "migration_run",
    "migration_runitem",
    "migration_secret",
    "migration_worker",
)
# What NOVA writes, itself or by the triggers on its tables: moved last, once NOVA's tables are locked.
WRITTEN_BY_NOVA = ("client_aws_credentials", "credentials_clientwrite")
# True only before this schema has tables: tables that somebody makes in `public` under these names later aren't ours.
IS_FIRST_RELEASE = f"""
SELECT to_regclass('{SCHEMA}.django_migrations') IS NULL
    AND to_regclass('public.django_migrations') IS NOT NULL
    AND to_regclass('public.credentials_clientwrite') IS NOT NULL
"""
# No view, which would run its owner's code.
IS_OWN_TABLE = """
SELECT FROM pg_class WHERE oid = to_regclass(%s) AND relkind = 'r' AND relowner = current_user::regrole
"""
# The tables to move: name, whether the new schema has one of that name already, whether this role owns it.
TABLES = f"""
SELECT c.relname, EXISTS (
    SELECT FROM pg_class mine WHERE mine.relnamespace = to_regnamespace('{SCHEMA}') AND mine.relname = c.relname
), c.relowner = current_user::regrole
FROM pg_class c
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind = 'r' AND c.relname = ANY(%s) ORDER BY c.relname
"""  # noqa: S608  # the name of the schema is a constant
# One row if the first release's function exists: whether it belongs to another role.
OLD_FUNCTION_IS_FOREIGN = """
SELECT proowner <> current_user::regrole FROM pg_proc WHERE oid = to_regprocedure(%s)
"""
# The function is replaced after the move, as replacing it in `public` would need the right to create there.
MOVE_OLD_FUNCTION = f"""
ALTER FUNCTION {OLD_FUNCTION} SET SCHEMA {SCHEMA};
ALTER FUNCTION {SCHEMA}.nova_admin_count_write() RENAME TO count_write;
"""
# The database's owner can make sessions of a superuser or a member begin as NOVA's role, which would own their tables.
ROLE_OF_DATABASE = """
SELECT CASE WHEN current_user <> session_user THEN (
    SELECT quote_ident(d.datname) FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid
    WHERE d.datname = current_database() AND s.setrole = 0 AND array_to_string(s.setconfig, ' ') ~ '\\mrole='
) END
"""


def create_schema_and_carry_over(cursor: CursorWrapper) -> None:
    """Make the schema where it is missing and carry over a first release's tables, all or nothing.

    Raises CommandError with the statements that somebody with more rights has to run first, and for a database that
    stands between two releases.
    """
    is_there = _require_safe_schema(cursor)
    cursor.execute(IS_FIRST_RELEASE)
    is_first_release = _fetch_value(cursor)
    _require_whole_release(cursor, "public" if is_first_release else SCHEMA)
    if not is_there:
        _make_schema(cursor)
    if is_first_release:
        _carry_over(cursor)


def _require_safe_schema(cursor: CursorWrapper) -> bool:
    """Raise CommandError where others could have this role run their code; say whether the schema is there."""
    cursor.execute(ROLE_OF_DATABASE)
    if database := _fetch_name(cursor):
        raise CommandError(
            f"A setting of the database makes every session start as another role. Run: ALTER DATABASE {database}"
            " RESET role; then run migrate again.",
            returncode=2,
        )
    cursor.execute(OWNER_AND_CREATORS, [SCHEMA])
    if row := cursor.fetchone():
        _require_ownership(cursor, *row)
    return row is not None


def _require_whole_release(cursor: CursorWrapper, schema: str) -> None:
    """Raise CommandError where only a part of the schema migrations of a file was run: the rest is gone."""
    cursor.execute(IS_OWN_TABLE, [f"{schema}.django_migrations"])
    if cursor.fetchone() is None:
        return  # a new database, or the tables' owner is asked for next
    cursor.execute(f"SELECT app, name FROM {schema}.django_migrations")  # noqa: S608  # one of two constants
    if lacking := list_halves({(app, name) for app, name in cursor.fetchall()}):
        names = ", ".join(f"{app}.{name}" for app, name in lacking[:MOST_NAMES])
        more = len(lacking) - MOST_NAMES
        raise CommandError(
            f"This database stands between two releases: it lacks {names}{f' and {more} more' if more > 0 else ''}."
            " Nothing was changed. This release takes over databases of 0.1.0, of 0.2.0, and of a build that made all"
            " former schema migrations of 0.3.0. First run migrate of 0.2.0 or of such a build"
            " (docs/studies/first-release.md).",
            returncode=2,
        )


def _require_ownership(
    cursor: CursorWrapper, owner: str, is_ours: bool, creators: str | None
) -> None:
    cursor.execute("SELECT quote_ident(current_user)")
    role = _fetch_name(cursor)
    if not is_ours:
        raise CommandError(
            f"The schema {SCHEMA} belongs to the role {escape_invisible(owner)}: connect as that role. If it was made"
            f" for this site and is still empty, run as its owner: ALTER SCHEMA {SCHEMA} OWNER TO {role};",
            returncode=2,
        )
    if creators:
        names = escape_invisible(creators)
        raise CommandError(
            f"Others may create in the schema {SCHEMA}: {names}. Run:"
            f" REVOKE CREATE ON SCHEMA {SCHEMA} FROM {names}; then run migrate again.",
            returncode=2,
        )
    cursor.execute(FOREIGN_IN_SCHEMA, [SCHEMA])
    if foreign := _fetch_name(cursor):
        raise CommandError(
            f"Other roles own objects in the schema {SCHEMA}: {foreign}. Drop those that aren't the site's."
            " Hand over those that are, such as tables of its former role, by"
            f" REASSIGN OWNED BY … TO {role}; then run migrate again.",
            returncode=2,
        )


def _make_schema(cursor: CursorWrapper) -> None:
    cursor.execute(
        "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_user)"
    )
    may_create, role = cursor.fetchone()
    if not may_create:
        raise CommandError(
            f"The site's tables need a schema of their own. Somebody who may create in this database has to run:"
            f" CREATE SCHEMA {SCHEMA} AUTHORIZATION {escape_invisible(role)}; then run migrate again.",
            returncode=2,
        )
    cursor.execute(f"CREATE SCHEMA {SCHEMA}")


def _carry_over(cursor: CursorWrapper) -> None:
    cursor.execute(TABLES, [list(CARRIED_OVER)])
    tables = cursor.fetchall()
    names = [name for name, *_rest in tables]
    if twice := [name for name, is_there_too, _owned in tables if is_there_too]:
        raise CommandError(
            f"These tables are in both {SCHEMA} and public, and only one of each can be right:"
            f" {', '.join(twice)}. Nothing was changed.",
            returncode=2,
        )
    cursor.execute(OLD_FUNCTION_IS_FOREIGN, [OLD_FUNCTION])
    function = cursor.fetchone()
    foreign = [f"TABLE public.{name}" for name, _is_there_too, owned in tables if not owned]
    if function and function[0]:
        foreign.append(f"FUNCTION {OLD_FUNCTION}")
    if foreign:
        raise CommandError(_describe_owners(foreign, cursor))
    if found := list_foreign_objects_on(
        cursor, [f"public.{name}" for name in names], counting=OLD_FUNCTION
    ):
        objects = ", ".join(
            f"{each.kind} {escape_invisible(each.name)} on {each.table}" for each in found
        )
        raise CommandError(
            f"The first release's tables carry objects that it never made and that would run with this role's rights:"
            f" {objects}. Nothing was changed. Drop them, then run migrate again."
        )
    _move_tables(names, cursor, has_function=function is not None)


def _describe_owners(foreign: list[str], cursor: CursorWrapper) -> str:
    cursor.execute("SELECT quote_ident(current_user)")
    role = _fetch_name(cursor)
    return "\n".join(
        (
            "The first release's tables belong to another role, so they can't be moved.",
            "Nothing was changed. Run as a superuser, then run migrate again:",
            *(f"ALTER {what} OWNER TO {role};" for what in foreign),
            "If the first release never ran here, don't: somebody made them to look like the site's. Drop them.",
        )
    )


def _move_tables(names: list[str], cursor: CursorWrapper, *, has_function: bool) -> None:
    """Move the tables in one message and so in one transaction: readers see all of them moved, or none."""
    # The owner of a table can have it run code as this role, so this role becomes the owner of each.
    moves = {
        name: f"ALTER TABLE public.{name} SET SCHEMA {SCHEMA};"
        f" ALTER TABLE {SCHEMA}.{name} OWNER TO CURRENT_USER;"
        for name in names
    }
    last = [moves.pop(name) for name in WRITTEN_BY_NOVA if name in moves]
    if has_function:
        # Its triggers follow the function and go on counting; NOVA's writers wait for the lock meanwhile.
        cursor.execute(
            "SELECT to_regclass(name)::text FROM unnest(%s::text[]) AS name", [[*NOVA_TABLES]]
        )
        there = [name for (name,) in cursor.fetchall() if name]
        lock = f"LOCK TABLE {', '.join(there)} IN SHARE ROW EXCLUSIVE MODE;"
        briefly = (
            f"SET LOCAL statement_timeout = '50ms'; {lock} SET LOCAL statement_timeout TO DEFAULT;"
        )
        last = [briefly, MOVE_OLD_FUNCTION, make_trigger_function_sql() + ";", *last]
    statement = " ".join(("SET LOCAL lock_timeout = '50ms';", *moves.values(), *last))
    for _attempt in range(TRIES):
        try:
            cursor.execute(statement)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | QueryCanceled):
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise CommandError(
        "The first release's tables are in use. Nothing was changed; run migrate again."
    )


def _fetch_name(cursor: CursorWrapper) -> str:
    """Return the names that the statement gave, fit to be shown; empty for none."""
    return escape_invisible(str(_fetch_value(cursor) or ""))


def _fetch_value(cursor: CursorWrapper) -> str:
    row = cursor.fetchone()
    return row[0]  # type: ignore[no-any-return]
