"""The SQL of the triggers that count every write to NOVA's tables, and of their functions. Knows no Django."""

from __future__ import annotations

from nova_credentials.tables import COUNT_WRITE, WRITES_ARE_COUNTED

ROW_TRIGGER_NAME = "nova_admin_count_write"
TRUNCATE_TRIGGER_NAME = "nova_admin_count_truncate"
ASK_COUNTED = "nova_admin.writes_are_counted()"
# The first release's function. It ran, with its owner's rights, code of any role that could create in `public`.
OLD_FUNCTION = "public.nova_admin_count_write()"

# On this path no other role's object can be mistaken for PostgreSQL's own. With row_security off, a policy that would
# filter rows makes the statement fail instead.
ON_A_SAFE_PATH = "SET search_path = pg_catalog, pg_temp SET row_security = off"

# The handlers undo what failed and let NOVA's statement go on. An insert waits for no lock. TRUNCATE begins a gap in
# the counting, whatever the number of clients: from that transaction's commit on nobody relies on what was counted, and
# the look of every minute counts each client once and ends the gap. It reads no other table, so it waits for none.
#
# A client that gets another slug keeps the former one as the name of its secrets (`secret_slug`), which the reader
# goes by from NOVA's commit on; one that never had a secret has no layout, and needs no such note. A slug changed
# twice keeps the first; one changed back is the client's own again. This waits while a transaction of the site holds
# the client, as NOVA's statement does for the client itself. Where NOVA limits such waits its statement fails, as
# without the note nobody could read the client. After any other error `store_lost_secret_slugs` makes up for the
# note. An id that NOVA uses again may be another client's: from then on its secrets are named by its own slug, whatever
# was noted of the former one, and `store_lost_secret_slugs` leaves it alone.
COUNT_WRITE_BODY = """
BEGIN
    BEGIN
        IF TG_OP = 'TRUNCATE' THEN
            INSERT INTO nova_admin.credentials_countinggap (proved_at, found_at) VALUES (now(), clock_timestamp());
        ELSIF TG_TABLE_NAME = 'clients' THEN
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.id, NEW.id]) AS id WHERE id IS NOT NULL;
        ELSE
            INSERT INTO nova_admin.credentials_clientwrite (client_id)
            SELECT DISTINCT id FROM unnest(ARRAY[OLD.client_id, NEW.client_id]) AS id WHERE id IS NOT NULL;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'NOVA Admin could not count this write (SQLSTATE %)', SQLSTATE;
    END;
    IF TG_TABLE_NAME = 'clients' AND TG_OP IN ('INSERT', 'UPDATE') THEN
        BEGIN
            IF TG_OP = 'INSERT' THEN
                UPDATE nova_admin.migration_clientmigration SET secret_slug = NEW.slug, other_slug = NULL
                WHERE client_id = NEW.id;
            ELSIF OLD.slug IS DISTINCT FROM NEW.slug THEN
                UPDATE nova_admin.migration_clientmigration
                SET secret_slug = nullif(coalesce(secret_slug, OLD.slug), NEW.slug)
                WHERE client_id = NEW.id AND layout IS NOT NULL;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RAISE;
        WHEN OTHERS THEN
            RAISE WARNING 'NOVA Admin could not note the former slug (SQLSTATE %)', SQLSTATE;
        END;
    END IF;
    RETURN NULL;
END
"""

# The reader calls it within its statement, which PostgreSQL plans anew each time; a function's plan is kept.
ASK_COUNTED_BODY = f"""
BEGIN
    RETURN {WRITES_ARE_COUNTED};
END
"""

# Deleted clients need no push. Clients whose writes were counted already are pushed once more, which changes nothing.
COUNT_EACH_CLIENT = (
    "INSERT INTO nova_admin.credentials_clientwrite (client_id) SELECT id FROM public.clients"
)


def make_trigger_function_sql() -> str:
    """Return the statements that create or replace the triggers' function.

    SECURITY DEFINER, since NOVA's role may have no rights on the site's tables.
    """
    return f"""
        CREATE OR REPLACE FUNCTION {COUNT_WRITE} RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {ON_A_SAFE_PATH}
        AS $function${COUNT_WRITE_BODY}$function$;
        REVOKE ALL ON FUNCTION {COUNT_WRITE} FROM PUBLIC
    """


def make_counting_check_sql(body: str = ASK_COUNTED_BODY) -> str:
    """Return the statement that creates or replaces the function which tells the reader whether writes are counted.

    SECURITY DEFINER, so that a reader's role needs no right on the tables that a later release's function reads.
    """
    return f"""
        CREATE OR REPLACE FUNCTION {ASK_COUNTED} RETURNS boolean
        LANGUAGE plpgsql STABLE SECURITY DEFINER {ON_A_SAFE_PATH}
        AS $function${body}$function$
    """


def make_triggers_sql(table: str) -> str:
    """Return the statements that put both triggers on the table, replacing any of the same names."""
    return f"""
        CREATE OR REPLACE TRIGGER {ROW_TRIGGER_NAME} AFTER INSERT OR UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION {COUNT_WRITE};
        CREATE OR REPLACE TRIGGER {TRUNCATE_TRIGGER_NAME} BEFORE TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {COUNT_WRITE}
    """
