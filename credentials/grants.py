"""Owns the rights that NOVA's reader and this site need, and finds those that a role lacks.

`migrate` prints the reader's afterwards, `doctor` both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper

from credentials.site_schema import SCHEMA
from credentials.trigger_sql import ASK_COUNTED
from nova_credentials.shown_names import escape_invisible
from nova_credentials.tables import (
    AWS_TABLE,
    CLIENT_PHASES,
    CLIENT_REVISIONS,
    CLIENT_WRITES,
    DATABASE_SCHEMAS,
    NOVA_TABLES,
    READ_COUNTS,
    READER_PROCESSES,
)

# Django's, or psycopg's own where there are no settings yet.
Cursor: TypeAlias = CursorWrapper | psycopg.Cursor[Any]


class GrantedObjectKind(StrEnum):
    """The kind of object that a right is on, as GRANT writes it."""

    SCHEMA = "SCHEMA"
    TABLE = "TABLE"
    FUNCTION = "FUNCTION"
    SEQUENCE = "SEQUENCE"


@dataclass(frozen=True)
class Right:
    """One privilege on one object."""

    privilege: str
    kind: GrantedObjectKind
    name: str


@dataclass(frozen=True)
class CheckedRights:
    """The rights that a role lacks, and those on objects that don't exist yet."""

    lacking: tuple[Right, ...]
    without_object: tuple[Right, ...]


# A new table of the reader's is one line here; docs/nova.md lists the same, and a test compares them.
READER_RIGHTS = (
    Right("USAGE", GrantedObjectKind.SCHEMA, "public"),
    *(
        Right("SELECT", GrantedObjectKind.TABLE, table)
        for table in (*NOVA_TABLES, DATABASE_SCHEMAS)
    ),
    Right("USAGE", GrantedObjectKind.SCHEMA, SCHEMA),
    *(
        Right("SELECT", GrantedObjectKind.TABLE, table)
        for table in (AWS_TABLE, CLIENT_PHASES, CLIENT_REVISIONS, CLIENT_WRITES)
    ),
    Right("EXECUTE", GrantedObjectKind.FUNCTION, ASK_COUNTED),
    *(
        Right(privilege, GrantedObjectKind.TABLE, table)
        for table in (READ_COUNTS, READER_PROCESSES)
        for privilege in ("SELECT", "INSERT", "UPDATE")
    ),
)

# The site's rights on NOVA's tables: forms and moves write them, TRIGGER is for counting, REFERENCES for its own
# table of AWS logins.
SITE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "REFERENCES", "TRIGGER")
SEQUENCES = """
SELECT pg_get_serial_sequence(name, 'id') FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n)
WHERE to_regclass(name) IS NOT NULL AND pg_get_serial_sequence(name, 'id') IS NOT NULL ORDER BY n
"""
# NOVA may have none, and `migrate` doesn't make it.
OPTIONAL = (DATABASE_SCHEMAS,)
# NULL where the object does not exist.
HELD = """
SELECT CASE kind
    WHEN 'SCHEMA' THEN has_schema_privilege(%(role)s::name, to_regnamespace(object)::oid, privilege)
    WHEN 'TABLE' THEN has_table_privilege(%(role)s::name, to_regclass(object)::oid, privilege)
    WHEN 'SEQUENCE' THEN has_sequence_privilege(%(role)s::name, to_regclass(object)::oid, privilege)
    WHEN 'FUNCTION' THEN has_function_privilege(%(role)s::name, to_regprocedure(object)::oid, privilege)
END
FROM unnest(%(kinds)s::text[], %(objects)s::text[], %(privileges)s::text[])
    WITH ORDINALITY AS rights (kind, object, privilege, n)
ORDER BY n
"""
# NOVA connects as the role that made its tables. The site's own role needs no grants.
FOREIGN_OWNERS = """
SELECT DISTINCT r.rolname::text
FROM unnest(%s::text[]) AS name JOIN pg_class c ON c.oid = to_regclass(name) JOIN pg_roles r ON r.oid = c.relowner
WHERE r.oid <> current_user::regrole
ORDER BY 1
"""
# Rights on the site's tables, also those that come from PUBLIC or a group.
HELD_IN_SCHEMA = """
SELECT p.privilege, format('%%I.%%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN unnest(ARRAY[
        'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'
    ]) AS p (privilege)
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm')
    AND has_table_privilege(%(role)s::name, c.oid, p.privilege)
ORDER BY 2, 1
"""


def list_other_roles_owning_tables(cursor: Cursor) -> list[str]:
    """Return the roles that own NOVA's tables, without the site's own."""
    cursor.execute(FOREIGN_OWNERS, [list(NOVA_TABLES)])
    return [role for (role,) in cursor.fetchall()]


def list_needed_site_rights(cursor: Cursor) -> list[Right]:
    """Return the rights that the site needs on NOVA's tables and on the sequences of their ids."""
    cursor.execute(SEQUENCES, [list(NOVA_TABLES)])
    return [
        *(
            Right(p, GrantedObjectKind.TABLE, table)
            for table in NOVA_TABLES
            for p in SITE_PRIVILEGES
        ),
        *(Right("USAGE", GrantedObjectKind.SEQUENCE, name) for (name,) in cursor.fetchall()),
    ]


def find_lacking_rights(
    cursor: Cursor, role: str, rights: Sequence[Right] = READER_RIGHTS
) -> CheckedRights:
    """Return those of the rights, the reader's if none are given, that the role lacks. The role has to exist."""
    values: dict[str, str | list[str]] = {
        "role": role,
        "kinds": [right.kind.value for right in rights],
        "objects": [right.name for right in rights],
        "privileges": [right.privilege for right in rights],
    }
    cursor.execute(HELD, values)
    held = [answer for (answer,) in cursor.fetchall()]
    answers = list(zip(rights, held, strict=True))
    return CheckedRights(
        lacking=tuple(right for right, is_held in answers if is_held is False),
        without_object=tuple(
            right for right, is_held in answers if is_held is None and right.name not in OPTIONAL
        ),
    )


def list_unneeded_reader_rights(cursor: Cursor, role: str) -> list[Right]:
    """Return the role's rights on the site's tables that the reader doesn't need."""
    cursor.execute(HELD_IN_SCHEMA, {"role": role, "schema": SCHEMA})
    held = [
        Right(privilege, GrantedObjectKind.TABLE, name) for privilege, name in cursor.fetchall()
    ]
    return [right for right in held if right not in READER_RIGHTS]


def make_grants(rights: Iterable[Right], role: str, *, revoke: bool = False) -> tuple[str, ...]:
    """Return the statements that grant these rights, or take them away; `role` is quoted (`quote_role`)."""
    privileges: dict[tuple[GrantedObjectKind, str], list[str]] = {}
    for right in rights:
        privileges.setdefault((right.kind, right.name), []).append(right.privilege)
    objects: dict[tuple[GrantedObjectKind, str], list[str]] = {}
    for (kind, name), of_object in privileges.items():
        objects.setdefault((kind, ", ".join(of_object)), []).append(name)
    statements = []
    for (kind, granted), names in objects.items():
        on = f"{granted} ON {kind} {', '.join(names)}"
        statements.append(f"REVOKE {on} FROM {role};" if revoke else f"GRANT {on} TO {role};")
    return tuple(statements)


def quote_role(cursor: Cursor, role: str) -> str:
    """Return the role's name as PostgreSQL's statements need it."""
    cursor.execute("SELECT quote_ident(%s)", [role])
    row = cursor.fetchone()
    return str(row[0]) if row else ""


def print_grants_reader_lacks(*, verbosity: int = 1, **_: object) -> None:
    """Print after `migrate` what to grant to the owner of NOVA's tables, if that is another role and lacks some."""
    if not verbosity:
        return
    lines = []
    with connection.cursor() as cursor:
        for role in list_other_roles_owning_tables(cursor):
            checked = find_lacking_rights(cursor, role)
            # While some tables aren't there, `migrate` was run backwards or is not complete.
            if checked.lacking and not checked.without_object:
                lines.append(
                    f"NOVA's reader, connected as {role}, lacks rights. To let it read through the site's tables, run:"
                )
                grants = make_grants(checked.lacking, quote_role(cursor, role))
                lines += [f"    {grant}" for grant in grants]
    if lines:
        sys.stderr.write("".join(f"{escape_invisible(line)}\n" for line in lines))
