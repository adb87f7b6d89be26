"""Makes the site's own schema in NOVA's database, and carries a first release's tables into it from `public`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import CommandError

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

SCHEMA = "nova_admin"

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
# Only before this schema has tables: whatever somebody makes in `public` under these names later is none of ours.
IS_FIRST_RELEASE = f"""
SELECT to_regclass('{SCHEMA}.django_migrations') IS NULL
    AND to_regclass('public.django_migrations') IS NOT NULL
    AND to_regclass('public.credentials_clientwrite') IS NOT NULL
"""
# Each that is there, in the way of its like in the new schema, and owned by another role.
TABLES = f"""
SELECT c.relname, EXISTS (
    SELECT FROM pg_class mine WHERE mine.relnamespace = to_regnamespace('{SCHEMA}') AND mine.relname = c.relname
), pg_has_role(c.relowner, 'USAGE')
FROM pg_class c
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind = 'r' AND c.relname = ANY(%s) ORDER BY c.relname
"""  # noqa: S608  # the name of the schema is a constant
# Its owner has to be this very role, and nobody else may make anything in it.
OWNER_AND_CREATORS = """
SELECT n.nspowner = current_user::regrole, (
    SELECT string_agg(DISTINCT coalesce(nullif(acl.grantee, 0)::regrole::text, 'PUBLIC'), ', ')
    FROM aclexplode(n.nspacl) AS acl WHERE acl.privilege_type = 'CREATE' AND acl.grantee <> n.nspowner
)
FROM pg_namespace n WHERE n.nspname = %s
"""


def prepare_schema(cursor: CursorWrapper) -> None:
    """Make the schema where it is missing and carry over a first release's tables, all or nothing.

    Raises CommandError with the statements that somebody with more rights has to run first.
    """
    _require_safe_schema(cursor)
    cursor.execute(IS_FIRST_RELEASE)
    if _value(cursor):
        _carry_over(cursor)


def _require_safe_schema(cursor: CursorWrapper) -> None:
    cursor.execute(OWNER_AND_CREATORS, [SCHEMA])
    row = cursor.fetchone()
    if row is None:
        _make_schema(cursor)
        return
    is_ours, creators = row
    cursor.execute("SELECT quote_ident(current_user)")
    role = _value(cursor)
    if not is_ours:
        raise CommandError(
            f"The schema {SCHEMA} belongs to another role. Run, as its owner or as a superuser:"
            f" ALTER SCHEMA {SCHEMA} OWNER TO {role}; then run migrate again.",
            returncode=2,
        )
    if creators:
        raise CommandError(
            f"Others may create in the schema {SCHEMA}: {creators}. Run:"
            f" REVOKE CREATE ON SCHEMA {SCHEMA} FROM {creators}; then run migrate again.",
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
            f" CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}; then run migrate again.",
            returncode=2,
        )
    cursor.execute(f"CREATE SCHEMA {SCHEMA}")


def _carry_over(cursor: CursorWrapper) -> None:
    cursor.execute(TABLES, [list(CARRIED_OVER)])
    tables = cursor.fetchall()
    if twice := [name for name, is_there_too, _owned in tables if is_there_too]:
        raise CommandError(
            f"These tables stand in both {SCHEMA} and public, and only one can be right:"
            f" {', '.join(twice)}. Nothing was changed.",
            returncode=2,
        )
    if foreign := [name for name, _is_there_too, owned in tables if not owned]:
        cursor.execute("SELECT quote_ident(current_user)")
        role = _value(cursor)
        statements = [f"ALTER TABLE public.{name} OWNER TO {role};" for name in foreign]
        raise CommandError(
            "\n".join(
                (
                    "The first release's tables belong to another role, so that they can't be carried over.",
                    "Nothing was changed. Run as a superuser, then run migrate again:",
                    *statements,
                )
            ),
        )
    # One message and so one transaction: a reader finds all of them here, or all of them there. Whoever owned a table
    # that is ours could have it run code as us, so this role owns each of them from now on.
    moves = [
        f"ALTER TABLE public.{name} SET SCHEMA {SCHEMA};"
        f" ALTER TABLE {SCHEMA}.{name} OWNER TO CURRENT_USER;"
        for name, *_rest in tables
    ]
    cursor.execute(" ".join(("SET LOCAL lock_timeout = '5s';", *moves)))


def _value(cursor: CursorWrapper) -> str:
    row = cursor.fetchone()
    return row[0]  # type: ignore[no-any-return]
