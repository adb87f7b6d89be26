"""The SQL by which the database refuses to change the audit. Knows no Django."""

from __future__ import annotations

SCHEMA = "nova_admin"
TABLES = tuple(
    f"{SCHEMA}.migration_{name}" for name in ("auditevent", "auditlink", "auditcheckpoint")
)
FUNCTION = f"{SCHEMA}.refuse_audit_change()"
ROW_TRIGGER, TRUNCATE_TRIGGER = "nova_admin_keep_entries", "nova_admin_keep_table"
REFUSE = """
BEGIN
    RAISE EXCEPTION 'The audit is never changed or deleted: %', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
"""
# On this path no other role's object can be mistaken for PostgreSQL's own.
MAKE_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {FUNCTION} RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $function${REFUSE}$function$
"""
DROP_FUNCTION = f"DROP FUNCTION {FUNCTION} CASCADE"  # and the triggers with it
# Which of the tables the database protects: ALWAYS, so that a session can't get around it as a replica.
LIST_PROTECTED = """
SELECT tgrelid::regclass::text FROM pg_trigger
WHERE tgfoid = to_regprocedure(%s) AND tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
    AND EXISTS (SELECT FROM pg_proc WHERE pg_proc.oid = tgfoid AND prosrc = %s)
GROUP BY tgrelid HAVING bit_or(tgtype::int) = 59
"""


def make_triggers_sql(table: str) -> str:
    """Return the statements that have the database refuse UPDATE, DELETE and TRUNCATE of the table."""
    return f"""
        CREATE TRIGGER {ROW_TRIGGER} BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {FUNCTION};
        CREATE TRIGGER {TRUNCATE_TRIGGER} BEFORE TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION};
        {make_trigger_switch_sql(table, "ENABLE ALWAYS")}
    """


def make_trigger_switch_sql(table: str, switch: str) -> str:
    """Return the statements that switch the table's triggers; only its owner and superusers may run them."""
    return "; ".join(
        f"ALTER TABLE {table} {switch} TRIGGER {trigger}"
        for trigger in (ROW_TRIGGER, TRUNCATE_TRIGGER)
    )
