"""Names the tables whose writes are counted, and the SQL that says whether they are. Knows no Django."""

from __future__ import annotations

NOVA_TABLES = (
    "public.clients",
    "public.client_database_credentials",
    "public.client_email_credentials",
)
AWS_TABLE = "nova_admin.client_aws_credentials"
COUNTED_TABLES = (*NOVA_TABLES, AWS_TABLE)
COUNT_WRITE = "nova_admin.count_write()"

# PostgreSQL's `tgtype` of the two triggers on each table: after INSERT, UPDATE and DELETE of a row; before TRUNCATE,
# while the rows are still there.
ROW_TRIGGER = 1 + 4 + 8 + 16
TRUNCATE_TRIGGER = 2 + 32

_OIDS = ", ".join(f"(SELECT to_regclass('{table}'))" for table in COUNTED_TABLES)
# The triggers that count: on the very tables, calling the site's function, enabled, for every row and every column.
# Each name is in a SELECT of its own, so that it is looked up once and not for each trigger of the database.
COUNTING_TRIGGERS = f"""
pg_catalog.pg_trigger
WHERE tgrelid IN ({_OIDS}) AND tgfoid = (SELECT to_regprocedure('{COUNT_WRITE}'))
    AND tgtype IN ({ROW_TRIGGER}, {TRUNCATE_TRIGGER}) AND tgenabled IN ('O', 'A')
    AND tgqual IS NULL AND tgattr::text = ''
"""
# Both kinds are on all four tables; two of a kind on one table don't stand in for one that another table lacks.
TRIGGERS_COUNT = f"""
(SELECT count(DISTINCT (tgrelid, tgtype)) = {2 * len(COUNTED_TABLES)} FROM {COUNTING_TRIGGERS})
"""
# A gap is open until every client was counted once after it, and as long as the last proof failed.
NO_GAP_IS_OPEN = (
    "(NOT EXISTS (SELECT FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL))"
)
WRITES_ARE_COUNTED = f"({TRIGGERS_COUNT} AND {NO_GAP_IS_OPEN})"
