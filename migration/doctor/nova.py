"""The problems of the database: uncounted writes, who has which rights, the site's schema, the log, the pooler."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias

import psycopg
from django.core.management.base import CommandError
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.grants import (
    find_lacking_rights,
    list_needed_site_rights,
    list_other_roles_owning_tables,
    list_unneeded_reader_rights,
    make_grants,
    quote_role,
)
from credentials.models import CountingGap, CountingProof, ProofOutcome
from credentials.site_schema import FOREIGN_IN_SCHEMA, OWNER_AND_CREATORS, SCHEMA
from credentials.triggers import (
    find_is_counted_by_table,
    functions_are_current,
    prove_counting,
    writes_are_counted,
)
from migration.core.clients import all_clients
from migration.core.problems import (
    MIGRATE_FIRST,
    Area,
    Finder,
    Finding,
    FindingState,
    Look,
    Severity,
    problem,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.core.releases import list_halves
from migration.core.text import shorten_list
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import CLIENTS, COUNTED_TABLES, NOVA_TABLES

# Said of several problems
TAKE_THE_RIGHT_AWAY = Sentence(
    "take_the_right_away", "Take the right away, as the owner or as a superuser:"
)

# Whether every write to NOVA's tables is counted: by the catalogue, and by updates that are undone

# The workers prove it every hour; one that is late by as much is not at work.
PROOF_IS_OLD_AFTER = timedelta(hours=2)

TRIGGERS_COUNT = Sentence(
    "triggers_count", "The triggers are on all four tables, unchanged, and count every write."
)
TRIGGERS_ARE_MISSING = Sentence(
    "triggers_are_missing", "Writes are not counted on %(tables)s.", glue=", "
)
FUNCTION_IS_ANOTHER = Sentence(
    "function_is_another", "The triggers' function is not this release's."
)
GAP_IS_OPEN = Sentence(
    "gap_is_open", "Writes may have gone uncounted; noticed %(ago)s ago, not mended yet."
)
TRIGGERS_WERE_CHANGED = Sentence(
    "triggers_were_changed",
    "Somebody changed the triggers: writes may have gone uncounted meanwhile.",
)
WORKERS_MEND_IT = Sentence(
    "workers_mend_it",
    "The workers mend it within a minute or two, if no other check stands in the way.",
)


@problem(
    "writes_uncounted",
    _("Triggers that count writes"),
    Area.COUNTING,
    severity=Severity.CRITICAL,
    shuts_gates=True,
)
def find_uncounted_writes(_look: Look) -> Iterator[Finding]:
    """Check that the triggers are on the very tables and call this release's function, and that no gap is open."""
    uncounted = tuple(table for table, counted in find_is_counted_by_table().items() if not counted)
    if uncounted:
        yield report_failure(
            TRIGGERS_ARE_MISSING(tables=uncounted),
            MIGRATE_FIRST(),
        )
    elif not functions_are_current():
        yield report_failure(FUNCTION_IS_ANOTHER(), MIGRATE_FIRST())
    elif not writes_are_counted():
        gap = CountingGap.objects.open().order_by("found_at").first()
        yield report_failure(
            GAP_IS_OPEN(ago=gap.found_at) if gap else TRIGGERS_WERE_CHANGED(),
            WORKERS_MEND_IT(),
        )
    else:
        yield report_ok(TRIGGERS_COUNT())


NEVER_PROVED = Sentence("never_proved", "Not yet tested on all tables.")
PROOF_IS_OLD = Sentence("proof_is_old", "The newest proof is %(ago)s old.")
PROVE_IT = Sentence(
    "prove_it",
    "Press “Check again”, or run python manage.py doctor; workers do it every hour.",
)


@dataclass(frozen=True)
class CountingProofs:
    """What came of the newest update of each table that was tried and undone."""

    outcomes: Mapping[str, ProofOutcome]
    tried_at: datetime | None


def read_stored_proofs() -> CountingProofs:
    """Return the newest proofs of the workers, as who only looks must try nothing."""
    proofs = list(CountingProof.objects.all())
    return CountingProofs(
        {proof.table: ProofOutcome(proof.outcome) for proof in proofs},
        min((proof.tried_at for proof in proofs), default=None),
    )


def try_updates() -> CountingProofs:
    """Try an update on each table and undo it; begin a gap if one was not counted."""
    return CountingProofs(prove_counting(), timezone.now())


@problem(
    "counting_unproved",
    _("Proof that writes are counted"),
    Area.COUNTING,
    severity=Severity.CRITICAL,
    shuts_gates=True,
)
def find_unproved_counting(look: Look) -> Iterator[Finding]:
    """Report the newest proof: that of the workers, unless the look has tried it."""
    proofs = look.read(read_stored_proofs)
    if proofs.tried_at is None or len(proofs.outcomes) < len(COUNTED_TABLES):
        yield report_unlooked(NEVER_PROVED(), PROVE_IT())
        return
    found = list(_report_outcomes(proofs.outcomes))
    if timezone.now() - proofs.tried_at > PROOF_IS_OLD_AFTER and all(each.ok for each in found):
        found = [report_unlooked(PROOF_IS_OLD(ago=proofs.tried_at), PROVE_IT())]
    yield from found


UPDATES_ARE_COUNTED = Sentence(
    "updates_are_counted", "A test update was counted on %(tables)s.", glue=", "
)
TABLES_ARE_EMPTY = Sentence(
    "tables_are_empty", "No row to try an update on, and none to miss: %(tables)s.", glue=", "
)
UPDATE_WAS_NOT_COUNTED = Sentence(
    "update_was_not_counted",
    "A test update was not counted on %(tables)s.",
    glue=", ",
)
LOOK_FOR_THE_CAUSE = Sentence(
    "look_for_the_cause",
    "Check for a missing UPDATE right, a rule or another trigger on these tables.",
)
TABLES_ARE_BUSY = Sentence(
    "tables_are_busy", "In use, so no update could be tried: %(tables)s.", glue=", "
)
TRY_AGAIN = Sentence("try_again", "Check again in a moment.")


def _report_outcomes(outcomes: Mapping[str, ProofOutcome]) -> Iterator[Finding]:
    by_outcome = {
        outcome: tuple(table for table, each in outcomes.items() if each == outcome)
        for outcome in ProofOutcome
    }
    if failed := by_outcome[ProofOutcome.FAILED]:
        yield report_failure(
            UPDATE_WAS_NOT_COUNTED(tables=failed),
            LOOK_FOR_THE_CAUSE(),
        )
    if busy := by_outcome[ProofOutcome.BUSY]:
        yield report_unlooked(TABLES_ARE_BUSY(tables=busy), TRY_AGAIN())
    if not failed and not busy:
        holds, empty = by_outcome[ProofOutcome.HOLDS], by_outcome[ProofOutcome.EMPTY]
        if holds:
            message = UPDATES_ARE_COUNTED(tables=holds)
            yield report_ok(message)
        if empty:
            # Nothing can be updated there, so nothing goes uncounted; the triggers are looked at above.
            yield report_ok(TABLES_ARE_EMPTY(tables=empty))


# Indexes of clients on NOVA's credential tables, which are advised where clients are many

# With fewer, PostgreSQL reads a whole table in a few milliseconds.
MANY_CLIENTS = 20_000
WITHOUT_INDEX = """
SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n)
WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass(name) AND attname = 'client_id' AND indisvalid AND indpred IS NULL
)
ORDER BY n
"""

CLIENTS_ARE_INDEXED = Sentence(
    "clients_are_indexed", "Each of NOVA's credential tables has an index of its clients."
)
NO_INDEX_IS_NEEDED = Sentence(
    "no_index_is_needed",
    "These tables have no index of their clients: %(tables)s. With as few clients as there are, none is needed.",
    glue=", ",
)
CLIENTS_ARE_NOT_INDEXED = Sentence(
    "clients_are_not_indexed",
    "These tables have no index of their clients: %(tables)s. With as many clients as there are, a comparison and a"
    " move take nearly twice as long without one, and NOVA reads a client more slowly.",
    glue=", ",
)
MAKE_THE_INDEXES = Sentence(
    "make_the_indexes",
    "Recommended. As the owner of the tables, run this once, outside a transaction (docs/run.md):",
)


@problem(
    "indexes_missing",
    _("Indexes of NOVA's tables"),
    Area.DATABASE,
)
def find_missing_indexes(_look: Look) -> Iterator[Finding]:
    """Advise the indexes that are missing, with what makes them: only the tables' owner can."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_INDEX, [[table for table in NOVA_TABLES if table != CLIENTS]])
        tables = tuple(name for (name,) in cursor.fetchall())
    if not tables:
        yield report_ok(CLIENTS_ARE_INDEXED())
    elif all_clients().count() < MANY_CLIENTS:
        yield report_ok(NO_INDEX_IS_NEEDED(tables=tables))
    else:
        # The site works as it is: it is advice, and no failure.
        yield Finding(
            FindingState.OK,
            CLIENTS_ARE_NOT_INDEXED(tables=tables),
            MAKE_THE_INDEXES(),
            tuple(f"CREATE INDEX CONCURRENTLY ON {table} (client_id);" for table in tables),
        )


# Who owns NOVA's tables, and whether they are there

OWNERS = """
SELECT name, pg_get_userbyid(c.relowner)::text
FROM unnest(%s::text[]) WITH ORDINALITY AS tables (name, n) LEFT JOIN pg_class c ON c.oid = to_regclass(name)
ORDER BY n
"""

OWNED_BY = Sentence("owned_by", "%(owner)s owns %(tables)s.", glue=", ")
TABLE_IS_MISSING = Sentence("table_is_missing", "NOVA's table %(table)s does not exist.")


@problem(
    "tables_missing",
    _("Owners of NOVA's tables"),
    Area.DATABASE,
)
def find_missing_tables(_look: Look) -> Iterator[Finding]:
    """Name the owner of each of NOVA's tables, and the tables that are missing."""
    with connection.cursor() as cursor:
        cursor.execute(OWNERS, [list(NOVA_TABLES)])
        owners = cursor.fetchall()
    tables_by_owner: dict[str, list[str]] = {}
    for table, owner in owners:
        if owner is None:
            yield report_failure(TABLE_IS_MISSING(table=table), MIGRATE_FIRST())
        else:
            tables_by_owner.setdefault(owner, []).append(table)
    for owner, tables in tables_by_owner.items():
        message = OWNED_BY(tables=tuple(tables), owner=escape_name(owner))
        yield report_ok(message)


# Who may create objects where

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
EVERYBODY_MAY_CREATE = Sentence(
    "everybody_may_create",
    "Every role may create objects in %(place)s, which could interfere with NOVA's statements.",
)
SOME_MAY_CREATE = Sentence(
    "some_may_create",
    "In %(place)s these roles may create, besides superusers: %(roles)s. The site looks for nothing of theirs.",
    glue=", ",
)
NOBODY_MAY_CREATE = Sentence("nobody_may_create", "In %(place)s nobody but superusers may create.")


@problem(
    "others_may_create",
    _("Right to create objects"),
    Area.DATABASE,
)
def find_creators(_look: Look) -> Iterator[Finding]:
    """Name who may create objects in `public`, and schemas in the database (see also `find_open_schema`)."""
    with connection.cursor() as cursor:
        cursor.execute(CREATORS)
        places = cursor.fetchall()
    for place, everybody, roles in places:
        if everybody:
            yield report_failure(
                EVERYBODY_MAY_CREATE(place=escape_name(place)),
                TAKE_THE_RIGHT_AWAY(),
                statements=(f"REVOKE CREATE ON {place} FROM PUBLIC;",),
            )
        else:
            message = (
                SOME_MAY_CREATE(place=escape_name(place), roles=tuple(map(escape_name, roles)))
                if roles
                else NOBODY_MAY_CREATE(place=escape_name(place))
            )
            yield report_ok(message)


# Whether a boundary exists between NOVA and the site

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

SAME_ROLE = Sentence(
    "same_role",
    "NOVA and this site share the database role %(role)s: anyone with NOVA's database password can change this site's"
    " phases, users and audit.",
)
NOVA_IS_SUPERUSER = Sentence(
    "nova_is_superuser",
    "NOVA's database role %(role)s is a superuser: anyone with NOVA's database password can change this site's phases,"
    " users and audit.",
)
NOVA_IS_MEMBER = Sentence(
    "nova_is_member",
    "NOVA's database role %(role)s is a member of the site's role %(site)s and can act as it.",
)
NOVA_MAKES_MEMBERS = Sentence(
    "nova_makes_members",
    "NOVA's database role %(role)s has CREATEROLE: on this PostgreSQL it can make itself a member of the site's role"
    " %(site)s.",
)
NOVA_HAS_POWERS = Sentence(
    "nova_has_powers",
    "NOVA's database role %(role)s is a member of %(powers)s, so it can reach the site's tables.",
)


NO_NOVA_TABLES = Sentence(
    "no_nova_tables", "NOVA's tables do not exist, so nobody knows NOVA's role."
)
ROLES_ARE_APART = Sentence(
    "roles_are_apart",
    "NOVA's role %(role)s can't act as the site's role %(site)s.",
)
SITE_IS_SUPERUSER = Sentence(
    "site_is_superuser",
    "The site's role %(role)s is a superuser: a trigger that someone adds to NOVA's tables runs with all its rights.",
)
MAKE_A_ROLE = Sentence(
    "make_a_role",
    "Create separate roles for NOVA and this site, neither of them a superuser (docs/start.md).",
)


@problem(
    "roles_not_apart",
    _("Separate database roles"),
    Area.DATABASE,
    title_of_wrong=_("NOVA and this site don't have separate database roles"),
)
def find_roles_not_apart(look: Look) -> Iterator[Finding]:
    """Check that no role of NOVA's can do whatever the site can."""
    with connection.cursor() as cursor:
        cursor.execute(THE_SITES_ROLE)
        own_name, site_is_superuser = cursor.fetchone()
        cursor.execute(
            NOVA_ROLES, {"role": look.role, "tables": list(NOVA_TABLES), "powers": list(POWERS)}
        )
        roles = cursor.fetchall()
    site = escape_name(own_name)
    for name, is_ours, is_superuser, is_member, makes_members, powers in roles:
        role, missing = escape_name(name), None
        if is_ours:
            missing = SAME_ROLE(role=role)
        elif is_superuser:
            missing = NOVA_IS_SUPERUSER(role=role)
        elif is_member:
            missing = NOVA_IS_MEMBER(role=role, site=site)
        elif makes_members:
            missing = NOVA_MAKES_MEMBERS(role=role, site=site)
        elif powers:
            missing = NOVA_HAS_POWERS(role=role, powers=powers)
        if missing:
            yield report_failure(missing, MAKE_A_ROLE())
        else:
            yield report_ok(ROLES_ARE_APART(role=role, site=site))
    if site_is_superuser:
        yield report_failure(SITE_IS_SUPERUSER(role=site), MAKE_A_ROLE())
    if not roles:
        yield report_failure(NO_NOVA_TABLES(), MIGRATE_FIRST())


def role_exists(role: str) -> bool:
    """Say whether PostgreSQL knows this role."""
    if "\0" in role:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])
        return bool(cursor.fetchone()[0])


# Rights: the site's on NOVA's tables, and those of the role by which NOVA's reader connects

# Such a role has rights on every table, which no REVOKE on a table takes away; `find_roles_not_apart` tells so.
HAS_ALL_RIGHTS = """
SELECT bool_or(pg_has_role(%s::name, r.oid, 'MEMBER')) FROM pg_roles r
WHERE r.oid = current_user::regrole OR r.rolname IN ('pg_read_all_data', 'pg_write_all_data')
"""

SITE_HAS_RIGHTS = Sentence(
    "site_has_rights", "%(role)s has the rights that the site needs on NOVA's tables."
)
SITE_LACKS_RIGHTS = Sentence(
    "site_lacks_rights",
    "%(role)s is missing %(n)s rights that the site needs on NOVA's tables.",
    one="%(role)s is missing %(n)s right that the site needs on NOVA's tables.",
)
GRANT_AS_OWNER = Sentence(
    "grant_as_owner",
    "Run, as the owner of NOVA's tables or as a superuser, and then python manage.py migrate:",
)


@problem(
    "site_lacks_rights",
    _("The site's database rights"),
    Area.DATABASE,
)
def find_lacking_site_rights(_look: Look) -> Iterator[Finding]:
    """Check that the site's role lacks no right on NOVA's tables; `find_missing_tables` tells of missing tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user::text, quote_ident(current_user)")
        role, quoted = cursor.fetchone()
        lacking = find_lacking_rights(cursor, role, list_needed_site_rights(cursor)).lacking
    if lacking:
        yield report_failure(
            SITE_LACKS_RIGHTS(role=escape_name(role), n=len(lacking)),
            GRANT_AS_OWNER(),
            statements=make_grants(lacking, quoted),
        )
    else:
        yield report_ok(SITE_HAS_RIGHTS(role=escape_name(role)))


NO_OTHER_ROLE = Sentence(
    "no_other_role",
    "NOVA's tables belong to the site's own role, so the role by which NOVA connects is not known. The site's role"
    " needs no grants.",
)
EXAMINE_ROLE = "python manage.py doctor --role ROLE"
NAME_THE_ROLE = Sentence(
    "name_the_role",
    "If NOVA connects as another role, name it on the page Health, or run, with its name:",
)


@problem(
    "reader_lacks_rights",
    _("The reader's database rights"),
    Area.NOVA,
)
def find_wrong_reader_rights(look: Look) -> Iterator[Finding]:
    """Compare the rights of the named role, or of the owners of NOVA's tables, with those that the reader needs."""
    with connection.cursor() as cursor:
        roles = [look.role] if look.role else list_other_roles_owning_tables(cursor)
        found = [finding for role in roles for finding in _examine_role(cursor, role)]
    yield from found
    if not roles:
        yield report_unlooked(NO_OTHER_ROLE(), NAME_THE_ROLE(), statements=(EXAMINE_ROLE,))


RIGHTS_ARE_RIGHT = Sentence(
    "rights_are_right",
    "%(role)s has only the rights that NOVA's reader needs.",
)
RIGHTS_OF_EVERYTHING = Sentence(
    "rights_of_everything",
    "%(role)s has the rights that NOVA's reader needs, and full rights on the site's tables.",
)
RIGHTS_ARE_LACKING = Sentence(
    "rights_are_lacking",
    "%(role)s is missing %(n)s rights that NOVA's reader needs.",
    one="%(role)s is missing %(n)s right that NOVA's reader needs.",
)
GRANT_THEM = Sentence("grant_them", "Run, as the site's role or as a superuser:")
NOTHING_TO_GRANT_ON = Sentence(
    "nothing_to_grant_on",
    "These do not exist yet, so nobody can have rights on them: %(objects)s.",
    glue=", ",
)
RIGHTS_TOO_MANY = Sentence(
    "rights_too_many",
    "%(role)s has %(n)s rights on the site's tables that NOVA's reader doesn't need.",
    one="%(role)s has %(n)s right on the site's tables that NOVA's reader doesn't need.",
)
REVOKE_THEM = Sentence("revoke_them", "Take them away, as the site's role or as a superuser:")


def _examine_role(cursor: CursorWrapper, role: str) -> Iterator[Finding]:
    checked, quoted = find_lacking_rights(cursor, role), quote_role(cursor, role)
    if checked.lacking:
        yield report_failure(
            RIGHTS_ARE_LACKING(role=escape_name(role), n=len(checked.lacking)),
            GRANT_THEM(),
            statements=make_grants(checked.lacking, quoted),
        )
    if checked.without_object:
        yield report_unlooked(
            NOTHING_TO_GRANT_ON(
                objects=tuple(
                    dict.fromkeys(escape_name(right.name) for right in checked.without_object)
                )
            ),
            MIGRATE_FIRST(),
        )
    cursor.execute(HAS_ALL_RIGHTS, [role])
    (has_all,) = cursor.fetchone()
    others = [] if has_all else list_unneeded_reader_rights(cursor, role)
    if others:
        yield report_failure(
            RIGHTS_TOO_MANY(role=escape_name(role), n=len(others)),
            REVOKE_THEM(),
            statements=make_grants(others, f"{quoted}, PUBLIC", revoke=True),
        )
    if not (checked.lacking or checked.without_object or others):
        right = RIGHTS_OF_EVERYTHING if has_all else RIGHTS_ARE_RIGHT
        yield report_ok(right(role=escape_name(role)))


# The site's own schema: whether it exists, whose it is, and whether its tables are this release's

# Of a schema full of another role's objects.
MOST_NAMES = 20
ROLE_AND_RIGHT = (
    "SELECT quote_ident(current_user), has_database_privilege(current_database(), 'CREATE')"
)

SCHEMA_IS_OURS = Sentence(
    "schema_is_ours",
    "The schema %(schema)s belongs to the site's role %(role)s, and nobody else may create in it.",
)
SCHEMA_IS_MISSING = Sentence("schema_is_missing", "The schema %(schema)s does not exist.")
MAKE_THE_SCHEMA = Sentence(
    "make_the_schema",
    "Somebody who may create in this database has to run this; then run python manage.py migrate:",
)


@problem(
    "schema_open",
    _("Rights on the site's schema"),
    Area.DATABASE,
)
def find_open_schema(_look: Look) -> Iterator[Finding]:
    """Check that the schema exists, belongs to the site's role, and is nobody else's to create in."""
    with connection.cursor() as cursor:
        cursor.execute(ROLE_AND_RIGHT)
        role, may_create = cursor.fetchone()
        cursor.execute(OWNER_AND_CREATORS, [SCHEMA])
        row = cursor.fetchone()
        if row is None:
            missing = SCHEMA_IS_MISSING(schema=SCHEMA)
            make = f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {role};"
            yield (
                report_failure(missing, MIGRATE_FIRST())
                if may_create
                else report_failure(missing, MAKE_THE_SCHEMA(), statements=(make,))
            )
            return
        found = list(_list_schema_problems(cursor, role, *row))
    yield from found or [report_ok(SCHEMA_IS_OURS(schema=SCHEMA, role=escape_name(role)))]


SCHEMA_IS_FOREIGN = Sentence(
    "schema_is_foreign",
    "The schema %(schema)s belongs to %(owner)s, and the site connects as %(role)s.",
)
CONNECT_AS_OWNER = Sentence(
    "connect_as_owner",
    "Let the site connect as %(owner)s. If the schema was made for this site, hand it over, as its owner:",
)
OTHERS_MAY_CREATE = Sentence(
    "others_may_create",
    "Others may create in the schema %(schema)s: %(roles)s. Their objects could be mistaken for the site's.",
)
FOREIGN_OBJECTS = Sentence(
    "foreign_objects", "Other roles own objects in the schema %(schema)s: %(objects)s.", glue=", "
)
DROP_OR_HAND_OVER = Sentence(
    "drop_or_hand_over",
    "Drop those that aren't the site's. Hand over those that are (REASSIGN OWNED BY … TO …).",
)


def _list_schema_problems(
    cursor: CursorWrapper, role: str, owner: str, is_ours: bool, creators: str | None
) -> Iterator[Finding]:
    if not is_ours:
        yield report_failure(
            SCHEMA_IS_FOREIGN(schema=SCHEMA, owner=escape_name(owner), role=escape_name(role)),
            CONNECT_AS_OWNER(owner=escape_name(owner)),
            statements=(f"ALTER SCHEMA {SCHEMA} OWNER TO {role};",),
        )
        return  # everything in it is the other role's
    if creators:
        yield report_failure(
            OTHERS_MAY_CREATE(schema=SCHEMA, roles=escape_name(creators)),
            TAKE_THE_RIGHT_AWAY(),
            statements=(f"REVOKE CREATE ON SCHEMA {SCHEMA} FROM {creators};",),
        )
    cursor.execute(FOREIGN_IN_SCHEMA, [SCHEMA])
    if foreign := cursor.fetchone()[0]:
        yield report_failure(
            FOREIGN_OBJECTS(
                schema=SCHEMA, objects=shorten_list(escape_name(foreign).split(", "), MOST_NAMES)
            ),
            DROP_OR_HAND_OVER(),
        )


NOT_MIGRATED = Sentence(
    "not_migrated",
    "%(n)s schema migrations of this release have not run.",
    one="%(n)s schema migration of this release has not run.",
)
MIGRATED = Sentence("migrated", "All schema migrations have run.")


@problem(
    "schema_behind",
    _("The site's tables"),
    Area.DATABASE,
    unready=True,
)
def find_schema_behind(_look: Look) -> Iterator[Finding]:
    """Check that `migrate` of this release has run. `find_release_skew` tells of a newer one."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    # Django leaves out of its plan what is applied in part.
    halves = list_halves(executor.loader.applied_migrations.keys())
    if number := len(plan) + len(halves):
        yield report_failure(NOT_MIGRATED(n=number), MIGRATE_FIRST())
    else:
        yield report_ok(MIGRATED())


# The values that the site's statements carry: kept out of PostgreSQL's log

# With these no logged statement has its values beside it, no failing one either, and no error quotes the row that it
# is about. Those of extensions count where the extension is loaded: a plan can hold values too.
QUIET_LOG = {
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "debug_print_plan": "off",
    "auto_explain.log_parameter_max_length": "0",
    "auto_explain.log_verbose": "off",
    "pgaudit.log_parameter": "off",
}
# Name, wanted value, the value of this session, whether this role's next session has the wanted one, whether this role
# may set it, and the statement that does.
NOT_QUIET = """
SELECT name, value, current_setting(name), EXISTS (
    SELECT FROM pg_db_role_setting WHERE setrole = current_user::regrole AND name || '=' || value = ANY(setconfig)
        AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
), has_parameter_privilege(name, 'SET'), format(
    'ALTER ROLE %%I IN DATABASE %%I SET %%s = %%s', current_user, current_database(), name, value
)
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (name, value, n)
WHERE current_setting(name, true) <> value ORDER BY n
"""
# What has PostgreSQL log statements that don't fail, too.
LOGS_NOW = """
SELECT name || ' = ' || setting FROM pg_settings
WHERE name = 'log_statement' AND setting IN ('mod', 'all')
    OR name IN ('log_min_duration_statement', 'log_min_duration_sample', 'auto_explain.log_min_duration')
        AND setting <> '-1'
    OR name = 'log_transaction_sample_rate' AND setting <> '0'
ORDER BY name
"""


def keep_values_out_of_log() -> list[str]:
    """Set QUIET_LOG for this role's next sessions in this database where it may; return what a superuser has to run."""
    left = []
    with connection.cursor() as cursor:
        cursor.execute(NOT_QUIET, [list(QUIET_LOG), list(QUIET_LOG.values())])
        for _name, _wanted, _value, is_set, may_set, statement in cursor.fetchall():
            if may_set and not is_set:
                cursor.execute(statement)
            elif not is_set:
                left.append(f"{statement};")
    return left


LOG_HOLDS_NO_VALUES = Sentence(
    "log_holds_no_values", "PostgreSQL's log holds no value of the site's statements."
)
LOG_MAY_HOLD_VALUES = Sentence(
    "log_may_hold_values",
    "PostgreSQL's log may hold values of the site's statements, secrets too: %(settings)s.",
    glue=", ",
)
QUIET_THE_LOG = Sentence(
    "quiet_the_log",
    "Run what stands here as a superuser (docs/start.md), then start the site and its workers anew:",
)


@problem(
    "values_in_log",
    _("Secret values in PostgreSQL's log"),
    Area.DATABASE,
)
def find_values_in_log(_look: Look) -> Iterator[Finding]:
    """Name the settings by which PostgreSQL's log can hold the values of the site's statements."""
    with connection.cursor() as cursor:
        cursor.execute(NOT_QUIET, [list(QUIET_LOG), list(QUIET_LOG.values())])
        loud = cursor.fetchall()
        cursor.execute(LOGS_NOW)
        logs_now = [setting for (setting,) in cursor.fetchall()]
    if not loud:
        yield report_ok(LOG_HOLDS_NO_VALUES())
        return
    settings = (*(f"{name} = {value}" for name, _wanted, value, *_rest in loud), *logs_now)
    yield report_failure(
        LOG_MAY_HOLD_VALUES(settings=tuple(map(escape_name, settings))),
        QUIET_THE_LOG(),
        statements=tuple(f"{statement};" for *_rest, is_set, _may, statement in loud if not is_set),
    )


# A pooler that gives each transaction another backend: the site's locks, which last a session, don't hold there
#
# Connections of its own are opened, past Django: a pooler that has no room must not make anybody wait.

Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

CONNECTIONS, STATEMENTS = 4, 20
GIVE_UP_SECONDS = 5.0
# Named with their schema: these connections have the role's own search_path.
BACKEND = "SELECT pg_catalog.pg_backend_pid()"
LOCK = "SELECT pg_catalog.pg_try_advisory_lock(%s::pg_catalog.int4, %s::pg_catalog.int4)"
UNLOCK = "SELECT pg_catalog.pg_advisory_unlock(%s::pg_catalog.int4, %s::pg_catalog.int4)"
# The first half of the key; the second is another one each time.
PROBE_LOCK = 0x4E4F5650


class BackendSharing(StrEnum):
    """Says whether each connection of the site has a backend of its own, or a pooler shares backends out."""

    OWN_BACKENDS = "own backends"
    SHARED_BACKENDS = "shared backends"
    UNKNOWN = "unknown"  # the connections could not be opened in time


BACKENDS_ARE_OWN = Sentence(
    "backends_are_own",
    "Each of %(n)s connections kept a PostgreSQL process of its own, and a lock its holder, over %(statements)s"
    " statements.",
)
BACKENDS_ARE_SHARED = Sentence(
    "backends_are_shared",
    "A pooler in transaction mode, such as PgBouncer, is in front of PostgreSQL. The site's locks don't hold "
    "there, so two pushes of one client could overwrite each other.",
)
CONNECT_DIRECTLY = Sentence(
    "connect_directly",
    "Point the site's DATABASE_URL at PostgreSQL itself, or at a pool in session mode. NOVA's reader may use any pool.",
)
NO_FURTHER_CONNECTIONS = Sentence(
    "no_further_connections", "%(n)s more connections could not be tested in time."
)
MAKE_ROOM = Sentence("make_room", "One worker needs six. Raise max_connections, or the pool size.")


@problem(
    "pooler",
    _("Connection pooler"),
    Area.DATABASE,
    found_by=Finder.DOCTOR,
    every=timedelta(days=1),
)
def find_shared_backends(_look: Look) -> Iterator[Finding]:
    """Check that each connection has a backend of its own for as long as it lasts."""
    match find_backend_sharing(connection.get_connection_params()):
        case BackendSharing.OWN_BACKENDS:
            yield report_ok(BACKENDS_ARE_OWN(n=CONNECTIONS, statements=STATEMENTS))
        case BackendSharing.SHARED_BACKENDS:
            yield report_failure(BACKENDS_ARE_SHARED(), CONNECT_DIRECTLY())
        case BackendSharing.UNKNOWN:
            yield report_unlooked(
                NO_FURTHER_CONNECTIONS(n=CONNECTIONS),
                MAKE_ROOM(),
            )


def find_backend_sharing(connection_parameters: Mapping[str, Any]) -> BackendSharing:
    """Try on CONNECTIONS connections whether a pooler shares backends; takes twice GIVE_UP_SECONDS at most."""
    parameters = {
        name: value
        for name, value in connection_parameters.items()
        if name not in ("context", "cursor_factory")  # of connections that aren't asynchronous
    }
    # In a thread of its own, as this one may have a loop that runs.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, _try_in_time(parameters)).result()


@cache
def require_own_backends() -> None:
    """Raise CommandError (exit 2) where connections share backends; go on where that could not be tried.

    Tries it once a process: a pooler is not put in between while a process runs.
    """
    if refusal := find_pooler_refusal():
        raise CommandError(str(refusal), returncode=2)


def find_pooler_refusal() -> Message | None:
    """Say why no process of the site may work over this database's connections, and what to do; None if it may."""
    if find_backend_sharing(connection.get_connection_params()) != BackendSharing.SHARED_BACKENDS:
        return None
    return in_a_row(BACKENDS_ARE_SHARED(), CONNECT_DIRECTLY())


async def _try_in_time(parameters: Mapping[str, Any]) -> BackendSharing:
    async with AsyncExitStack() as opened:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                sessions = []
                for _number in range(CONNECTIONS):
                    session = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
                    opened.push_async_callback(session.close)
                    sessions.append(session)
                return await _try_sessions(sessions)
        except (psycopg.Error, TimeoutError):
            return BackendSharing.UNKNOWN


async def _try_sessions(sessions: list[Session]) -> BackendSharing:
    """Ask the connections by turns: first who serves them, then whether the first one's lock is the first one's."""
    # Before a lock is taken, as a shared backend would keep it.
    backends = [await _fetch_value(session, BACKEND) for session in sessions]
    for number in range(STATEMENTS):
        turn = number % CONNECTIONS
        if await _fetch_value(sessions[turn], BACKEND) != backends[turn]:
            return BackendSharing.SHARED_BACKENDS
    if len(set(backends)) < CONNECTIONS:
        return BackendSharing.SHARED_BACKENDS
    return await _try_lock(sessions)


async def _try_lock(sessions: list[Session]) -> BackendSharing:
    holder, *others = sessions
    key = secrets.randbits(31)
    if not await _fetch_value(holder, LOCK, PROBE_LOCK, key):
        return BackendSharing.SHARED_BACKENDS
    for number in range(STATEMENTS):
        other = others[number % len(others)]
        if await _fetch_value(other, LOCK, PROBE_LOCK, key):
            await _fetch_value(other, UNLOCK, PROBE_LOCK, key)
            return BackendSharing.SHARED_BACKENDS
    held = await _fetch_value(holder, UNLOCK, PROBE_LOCK, key)
    return BackendSharing.OWN_BACKENDS if held else BackendSharing.SHARED_BACKENDS


async def _fetch_value(session: Session, query: str, *values: int) -> object:
    cursor = await session.execute(query.encode(), values or None)
    row = await cursor.fetchone()
    return row[0] if row else None
