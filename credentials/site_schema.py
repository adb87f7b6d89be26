"""Owns the name of the site's schema and the SQL that tells whose it is. Knows no Django.

`migrate` refuses a schema that isn't the site's alone, and `doctor` names what is wrong with it.
"""

SCHEMA = "nova_admin"

# The owner of the schema has to be this role, and nobody else may create in it.
OWNER_AND_CREATORS = """
SELECT n.nspowner::regrole::text, n.nspowner = current_user::regrole, (
    SELECT string_agg(DISTINCT coalesce(nullif(acl.grantee, 0)::regrole::text, 'PUBLIC'), ', ')
    FROM aclexplode(n.nspacl) AS acl WHERE acl.privilege_type = 'CREATE' AND acl.grantee <> n.nspowner
)
FROM pg_namespace n WHERE n.nspname = %s
"""
# The site's statements would find objects that another role made in the schema, also once the schema is the site's.
FOREIGN_IN_SCHEMA = """
SELECT string_agg(DISTINCT made.name || ' (' || pg_get_userbyid(made.owner) || ')', ', ')
FROM (
    SELECT relnamespace, relname::text, relowner FROM pg_class
    UNION ALL SELECT pronamespace, proname::text, proowner FROM pg_proc
    UNION ALL SELECT typnamespace, typname::text, typowner FROM pg_type
    UNION ALL SELECT oprnamespace, oprname::text, oprowner FROM pg_operator
    UNION ALL SELECT opcnamespace, opcname::text, opcowner FROM pg_opclass
    UNION ALL SELECT collnamespace, collname::text, collowner FROM pg_collation
    UNION ALL SELECT connamespace, conname::text, conowner FROM pg_conversion
) AS made (schema, name, owner)
WHERE made.schema = to_regnamespace(%s) AND made.owner <> current_user::regrole
"""
