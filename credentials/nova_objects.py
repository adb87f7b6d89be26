"""Lists the objects on NOVA's tables that run their owners' code as the role that uses a table. Reads catalogues only.

Nothing can keep the owner of a table from having a trigger, a rule, a policy, a domain or a default run as the role
that uses the table, nor a superuser from anything: `doctor` shows what is there, and somebody has to accept each
object as it is defined now before a client is cut over or purged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from django.db.backends.utils import CursorWrapper

from nova_credentials.tables import COUNT_WRITE, NOVA_TABLES


class ObjectKind(StrEnum):
    """A kind of object, by PostgreSQL's own name for it."""

    TRIGGER = "trigger"
    RULE = "rule"
    POLICY = "policy"
    ROW_SECURITY = "row security"
    DEFAULT = "default"
    GENERATED = "generated column"
    DOMAIN = "domain"
    CHECK = "check"
    INDEX = "index"
    CHILD = "child table"
    PARENT = "parent table"
    RELATION = "relation"
    SHARED_ROLE = "shared role"
    OWNER_IS_SUPERUSER = "owner is a superuser"
    SITE_IS_SUPERUSER = "site is a superuser"
    OWNER_IS_MEMBER = "owner may act as the site"


# These say between which roles there is no boundary: nobody can accept that away, and no gate asks.
ROLE_KINDS = (
    ObjectKind.SHARED_ROLE,
    ObjectKind.OWNER_IS_SUPERUSER,
    ObjectKind.SITE_IS_SUPERUSER,
    ObjectKind.OWNER_IS_MEMBER,
)


@dataclass(frozen=True, order=True)
class NovaObject:
    """One object, the table it is on, and the role that can change what it runs."""

    kind: ObjectKind
    name: str
    table: str
    owner: str
    # With the functions that it names, but not those that these call.
    definition: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """Return a text that is another one after any change of the object, its owner or its definition."""
        parts = (self.kind, self.name, self.table, self.owner, self.definition)
        # Encoded as Python quotes them, so that no two objects have the same text.
        return hashlib.sha256(repr(tuple(map(str, parts))).encode()).hexdigest()


# Only tables that exist. `name` is the table's as the site writes it. A trigger's owner is that of its function.
TABLES = """
WITH nova AS (
    SELECT name, to_regclass(name) AS id FROM unnest(%(tables)s::text[]) AS name WHERE to_regclass(name) IS NOT NULL
), owned AS (
    SELECT nova.name, nova.id, c.relkind, c.relrowsecurity, c.relowner,
        pg_get_userbyid(c.relowner)::text AS owner
    FROM nova JOIN pg_class c ON c.oid = nova.id
)
"""
# Each part says of its objects kind, name, table, owner and definition, and where pg_depend knows what they depend on.
# The functions, with their bodies and owners, that an object of a catalogue depends on.
FUNCTIONS = """(
    SELECT string_agg(concat(
        p.oid::regprocedure, ' ', pg_get_userbyid(p.proowner), ' ',
        CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END
    ), ' ' ORDER BY p.oid::regprocedure::text)
    FROM pg_depend named JOIN pg_proc p ON named.refclassid = 'pg_proc'::regclass AND p.oid = named.refobjid
    WHERE named.classid = {catalogue} AND named.objid = {id}
)"""
# A trigger runs its function. Internal triggers are PostgreSQL's own, for foreign keys.
TRIGGERS = """
SELECT 'trigger', t.tgname::text, o.name, pg_get_userbyid(f.proowner)::text,
    concat(pg_get_triggerdef(t.oid), t.tgenabled, pg_get_functiondef(f.oid)), 'pg_trigger'::regclass, t.oid
FROM owned o JOIN pg_trigger t ON t.tgrelid = o.id JOIN pg_proc f ON f.oid = t.tgfoid
WHERE NOT t.tgisinternal AND (t.tgfoid IS DISTINCT FROM to_regprocedure(%(function)s) OR t.tgqual IS NOT NULL)
"""
RULES = """
SELECT 'rule', r.rulename::text, o.name, o.owner,
    concat(pg_get_ruledef(r.oid), r.ev_enabled), 'pg_rewrite'::regclass, r.oid
FROM owned o JOIN pg_rewrite r ON r.ev_class = o.id
WHERE r.rulename <> '_RETURN'
"""
POLICIES = """
SELECT 'policy', p.polname::text, o.name, o.owner,
    concat(p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), ' ',
        pg_get_expr(p.polwithcheck, p.polrelid)), 'pg_policy'::regclass, p.oid
FROM owned o JOIN pg_policy p ON p.polrelid = o.id
UNION ALL SELECT 'row security', '', name, owner, '', NULL, NULL FROM owned WHERE relrowsecurity
"""
# A default is harmless if it is a constant, a sequence's next value or the time (PLAIN_DEFAULT).
COLUMNS = f"""
SELECT CASE WHEN a.attgenerated <> '' THEN 'generated column' ELSE 'default' END, a.attname::text, o.name, o.owner,
    pg_get_expr(d.adbin, d.adrelid), 'pg_attrdef'::regclass, d.oid
FROM owned o JOIN pg_attribute a ON a.attrelid = o.id AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_attrdef d ON d.adrelid = o.id AND d.adnum = a.attnum
WHERE a.attgenerated <> '' OR pg_get_expr(d.adbin, d.adrelid) !~ %(plain_default)s
UNION ALL
SELECT 'domain', a.attname::text, o.name, pg_get_userbyid(t.typowner)::text,
    concat(format_type(t.oid, NULL), t.typtype, t.typinput, t.typdefault, (
        SELECT string_agg(concat(
            pg_get_constraintdef(k.oid), {FUNCTIONS.format(catalogue="'pg_constraint'::regclass", id="k.oid")}
        ), ' ' ORDER BY k.conname)
        FROM pg_constraint k WHERE k.contypid = t.oid
    )), NULL, NULL
FROM owned o JOIN pg_attribute a ON a.attrelid = o.id AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
WHERE t.typnamespace <> 'pg_catalog'::regnamespace
"""  # noqa: S608  # its parts are constants
# PostgreSQL's own operators and immutable functions do no harm. Its other functions can: query_to_xml runs any
# statement. Functions that aren't PostgreSQL's own are found in pg_depend.
CALLS = r"""(EXISTS (
    SELECT FROM regexp_matches({expressions}, '\{{FUNCEXPR :funcid (\d+)', 'g') AS found (id)
        JOIN pg_proc f ON f.oid = found.id[1]::oid
    WHERE f.provolatile <> 'i' OR f.pronamespace <> 'pg_catalog'::regnamespace
) OR EXISTS (
    SELECT FROM pg_depend used WHERE used.classid = '{catalogue}'::regclass AND used.objid = {id} AND used.refclassid
        IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass, 'pg_opclass'::regclass)
))"""
CHECKS = f"""
SELECT 'check', k.conname::text, o.name, o.owner, pg_get_constraintdef(k.oid), 'pg_constraint'::regclass, k.oid
FROM owned o JOIN pg_constraint k ON k.conrelid = o.id
WHERE k.contype = 'c' AND {CALLS.format(expressions="k.conbin::text", catalogue="pg_constraint", id="k.oid")}
UNION ALL
SELECT 'index', i.indexrelid::regclass::text, o.name, o.owner,
    pg_get_indexdef(i.indexrelid), 'pg_class'::regclass, i.indexrelid
FROM owned o JOIN pg_index i ON i.indrelid = o.id
WHERE {CALLS.format(expressions="concat(i.indexprs, i.indpred)", catalogue="pg_class", id="i.indexrelid")}
"""  # noqa: S608  # its parts are constants
RELATIONS = """
SELECT 'child table', i.inhrelid::regclass::text, o.name, pg_get_userbyid(c.relowner)::text,
    concat(c.relkind, pg_get_expr(c.relpartbound, c.oid)), NULL, NULL
FROM owned o JOIN pg_inherits i ON i.inhparent = o.id JOIN pg_class c ON c.oid = i.inhrelid
UNION ALL
SELECT 'parent table', i.inhparent::regclass::text, o.name, pg_get_userbyid(c.relowner)::text, c.relkind::text,
    NULL, NULL
FROM owned o JOIN pg_inherits i ON i.inhrelid = o.id JOIN pg_class c ON c.oid = i.inhparent
UNION ALL
SELECT 'relation', relkind::text, name, owner, CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(id) END, NULL, NULL
FROM owned WHERE relkind <> 'r'
"""
ROLES = """
SELECT 'shared role', '', name, owner, '', NULL, NULL FROM owned WHERE relowner = current_user::regrole
UNION ALL
SELECT 'owner is a superuser', '', o.name, o.owner, '', NULL, NULL
FROM owned o JOIN pg_roles r ON r.oid = o.relowner WHERE r.rolsuper
UNION ALL
SELECT 'site is a superuser', '', '', current_user::text, '', NULL, NULL
FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL
SELECT 'owner may act as the site', '', o.name, o.owner, '', NULL, NULL
FROM owned o JOIN pg_roles r ON r.oid = o.relowner
WHERE o.relowner <> current_user::regrole AND NOT r.rolsuper AND pg_has_role(o.relowner, current_user, 'MEMBER')
"""
ON_TABLES = (TRIGGERS, RULES, POLICIES, COLUMNS, CHECKS, RELATIONS)
# In one place for all: PostgreSQL plans this statement for longer than it runs it.
DEFINITION = f"concat(definition, {FUNCTIONS.format(catalogue='catalogue', id='object_id')})"
PLAIN_DEFAULT = (
    r"^(nextval\('[^']*'::regclass\)|(now|statement_timestamp)\(\)|CURRENT_TIMESTAMP|true|false"
    r"|NULL(::[a-z ]+(\(\d+\))?)?|-?\d+(\.\d+)?|\(-\d+\)"
    r"|'([^']|'')*'::[a-z ]+(\(\d+\))?(::[a-z ]+(\(\d+\))?)?)$"
)


def list_foreign_objects(cursor: CursorWrapper) -> list[NovaObject]:
    """Return the objects on NOVA's tables that neither NOVA's own scripts nor this site put there, sorted."""
    return _query_objects(cursor, (*ON_TABLES, ROLES), NOVA_TABLES, COUNT_WRITE)


def list_foreign_objects_on(
    cursor: CursorWrapper, tables: Iterable[str], *, counting: str
) -> list[NovaObject]:
    """Return foreign objects on these tables, roles left out; `counting`: the own triggers' function."""
    return _query_objects(cursor, ON_TABLES, tables, counting)


def _query_objects(
    cursor: CursorWrapper, parts: Iterable[str], tables: Iterable[str], counting: str
) -> list[NovaObject]:
    values: dict[str, str | list[str]] = {
        "tables": list(tables),
        "function": counting,
        "plain_default": PLAIN_DEFAULT,
    }
    found = " UNION ALL ".join(parts)
    statement = f"""
        {TABLES} SELECT kind, name, on_table, owner, {DEFINITION}
        FROM ({found}) AS found (kind, name, on_table, owner, definition, catalogue, object_id)
    """  # noqa: S608  # its parts are constants
    cursor.execute(statement, values)
    return sorted(
        NovaObject(ObjectKind(kind), name, table, owner, definition)
        for kind, name, table, owner, definition in cursor.fetchall()
    )
