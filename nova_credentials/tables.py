"""Owns the names of the tables that the reader and the site share, and two rules in SQL. Knows no database.

The rules: when a push is pending, and whether every write to the credential tables is counted.
"""

from nova_credentials.credential_types import CredentialType

# A key of `client_database_schemas`: a table of the database that the client's workflows use.
TableName = str

CLIENTS = "public.clients"
CLIENT_PHASES = "nova_admin.migration_clientmigration"
CLIENT_REVISIONS = "nova_admin.credentials_clientrevision"
CLIENT_WRITES = "nova_admin.credentials_clientwrite"
DATABASE_SCHEMAS = "public.client_database_schemas"
READ_COUNTS = "nova_admin.migration_readcount"
READER_PROCESSES = "nova_admin.migration_readerprocess"
CREDENTIALS = {
    CredentialType.DATABASE: "public.client_database_credentials",
    CredentialType.EMAIL: "public.client_email_credentials",
    CredentialType.AWS: "nova_admin.client_aws_credentials",
}

# An attribute of a credential -> its column, where it has another name. NOVA never encrypted these.
COLUMNS = {
    "db_password": "db_password_encrypted",
    "email_password": "email_password_encrypted",
}

# How often the client `c` was written; `r` is its row in CLIENT_REVISIONS, if it has one.
REVISION = (
    f"coalesce(r.revision, 0) + (SELECT count(*) FROM {CLIENT_WRITES} w WHERE w.client_id = c.id)"
)
# True where it was written since its last push.
PUSH_PENDING = f"coalesce(r.pushed_revision, -1) < {REVISION}"


def is_push_pending(*, revision: int, pushed_revision: int | None) -> bool:
    """Say whether a push is pending, as PUSH_PENDING does in SQL; `pushed_revision` None: never pushed."""
    return pushed_revision is None or revision > pushed_revision


# The table of NOVA's first helper, if there is one.
LEGACY_CREDENTIALS = "public.client_credentials"

# In every statement of the package and the site that reads a credential table. It stands behind the first word: there
# pg_stat_statements keeps it, in every release of PostgreSQL.
STATEMENT_MARK = "/* nova_credentials */"

AWS_TABLE = CREDENTIALS[CredentialType.AWS]
COUNTED_TABLES = (CLIENTS, *CREDENTIALS.values())
NOVA_TABLES = tuple(table for table in COUNTED_TABLES if table != AWS_TABLE)
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
# Identifies the triggers, each with the transaction that last changed it: it is another one where a trigger was off.
TRIGGER_IDENTITIES = "string_agg(oid::text || ':' || xmin::text, ' ' ORDER BY oid)"
SEEN_IDENTITIES = "(SELECT identities FROM nova_admin.credentials_countingtriggers)"
# True where both kinds of trigger are on all four tables, unchanged since they were last looked at. DISTINCT, as two
# of a kind on one table don't make up for one that another table lacks.
TRIGGERS_COUNT = f"""
(SELECT count(DISTINCT (tgrelid, tgtype)) = {2 * len(COUNTED_TABLES)}
    AND coalesce({TRIGGER_IDENTITIES} = {SEEN_IDENTITIES}, true) FROM {COUNTING_TRIGGERS})
"""
# A gap stays open until every client was counted once after it, and while the newest proof fails.
NO_GAP_IS_OPEN = (
    "(NOT EXISTS (SELECT FROM nova_admin.credentials_countinggap WHERE ended_at IS NULL))"
)
WRITES_ARE_COUNTED = f"({TRIGGERS_COUNT} AND {NO_GAP_IS_OPEN})"
