"""Examines roles: who may create objects where, and whether a boundary exists between NOVA and the site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from credentials.shown_names import escape_name
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from nova_credentials.tables import NOVA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding
    from nova_credentials.messages import Message

# Superusers may create everywhere and are left out. 'public' as the name of a role means everybody.
CREATORS = """
SELECT 'SCHEMA public', has_schema_privilege('public', n.oid, 'CREATE'), ARRAY(
    SELECT quote_ident(r.rolname) FROM pg_roles r
    WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND has_schema_privilege(r.oid, n.oid, 'CREATE') ORDER BY 1
) FROM pg_namespace n WHERE n.nspname = 'public'
UNION ALL
SELECT 'DATABASE ' || quote_ident(d.datname), has_database_privilege('public', d.oid, 'CREATE'), ARRAY(
    SELECT quote_ident(r.rolname) FROM pg_roles r
    WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND has_database_privilege(r.oid, d.oid, 'CREATE') ORDER BY 1
) FROM pg_database d WHERE d.datname = current_database()
"""
# Whoever is a member of one of these can read or write every table, or become a superuser by the server's files.
POWERS = (
    *("pg_read_all_data", "pg_write_all_data"),
    *("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program"),
)
# The owners of NOVA's tables and the role that was named. Before PostgreSQL 16 a role with CREATEROLE can make itself
# a member of any role but a superuser.
NOVA_ROLES = """
SELECT r.rolname::text, r.oid = current_user::regrole, r.rolsuper, pg_has_role(r.oid, current_user, 'MEMBER'),
    r.rolcreaterole AND current_setting('server_version_num')::int < 160000,
    array_to_string(ARRAY(
        SELECT p.rolname FROM pg_roles p
        WHERE p.rolname = ANY(%(powers)s) AND pg_has_role(r.oid, p.oid, 'MEMBER') ORDER BY 1
    ), ', ')
FROM pg_roles r
WHERE r.rolname = %(role)s OR r.oid IN (
    SELECT c.relowner FROM unnest(%(tables)s::text[]) AS name JOIN pg_class c ON c.oid = to_regclass(name)
)
ORDER BY 1
"""
THE_SITES_ROLE = "SELECT rolname::text, rolsuper FROM pg_roles WHERE oid = current_user::regrole"


def role_exists(role: str) -> bool:
    """Say whether PostgreSQL knows this role."""
    if "\0" in role:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])
        return bool(cursor.fetchone()[0])


def examine_create_rights(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name who may create objects in `public`, and schemas in the database (see also `examine_site_schema`)."""
    with connection.cursor() as cursor:
        cursor.execute(CREATORS)
        places = cursor.fetchall()
    for place, everybody, roles in places:
        if everybody:
            yield report_failure(
                CheckName.CREATE_RIGHTS,
                sentences.EVERYBODY_MAY_CREATE(place=escape_name(place)),
                sentences.TAKE_THE_RIGHT_AWAY(),
                statements=(f"REVOKE CREATE ON {place} FROM PUBLIC;",),
            )
        else:
            message = (
                sentences.SOME_MAY_CREATE(
                    place=escape_name(place), roles=tuple(map(escape_name, roles))
                )
                if roles
                else sentences.NOBODY_MAY_CREATE(place=escape_name(place))
            )
            yield report_ok(CheckName.CREATE_RIGHTS, message)


@dataclass(frozen=True)
class NovaRole:
    """A role by which NOVA may connect, and by what it could do as the site does."""

    name: str
    is_ours: bool
    is_superuser: bool
    is_member: bool
    makes_members: bool
    powers: str

    @property
    def shown_name(self) -> str:
        return escape_name(self.name)

    def describe_missing_boundary(self, site: str) -> Message | None:
        """Say why no boundary exists between this role and the site's, as it is shown; None where there is one."""
        if self.is_ours:
            return sentences.SAME_ROLE(role=self.shown_name)
        if self.is_superuser:
            return sentences.NOVA_IS_SUPERUSER(role=self.shown_name)
        if self.is_member:
            return sentences.NOVA_IS_MEMBER(role=self.shown_name, site=site)
        if self.makes_members:
            return sentences.NOVA_MAKES_MEMBERS(role=self.shown_name, site=site)
        if self.powers:
            return sentences.NOVA_HAS_POWERS(role=self.shown_name, powers=self.powers)
        return None


def examine_boundary(asked: DoctorOptions) -> Iterator[Finding]:
    """Check that no role of NOVA's can do whatever the site can."""
    with connection.cursor() as cursor:
        cursor.execute(THE_SITES_ROLE)
        own_name, site_is_superuser = cursor.fetchone()
        cursor.execute(
            NOVA_ROLES, {"role": asked.role, "tables": list(NOVA_TABLES), "powers": list(POWERS)}
        )
        roles = [NovaRole(*row) for row in cursor.fetchall()]
    site = escape_name(own_name)
    for role in roles:
        if missing := role.describe_missing_boundary(site):
            yield report_failure(CheckName.BOUNDARY, missing, sentences.MAKE_A_ROLE())
        else:
            yield report_ok(
                CheckName.BOUNDARY, sentences.ROLES_ARE_APART(role=role.shown_name, site=site)
            )
    if site_is_superuser:
        yield report_failure(
            CheckName.BOUNDARY, sentences.SITE_IS_SUPERUSER(role=site), sentences.MAKE_A_ROLE()
        )
    if not roles:
        yield report_failure(
            CheckName.BOUNDARY, sentences.NO_NOVA_TABLES(), sentences.MIGRATE_FIRST()
        )
