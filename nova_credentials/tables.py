"""Owns the names of the tables that the reader and the site share, and when a push is pending. Knows no database."""

from nova_credentials.credential_types import CredentialType

CLIENTS = "public.clients"
CLIENT_PHASES = "nova_admin.migration_clientmigration"
CLIENT_REVISIONS = "nova_admin.credentials_clientrevision"
CLIENT_WRITES = "nova_admin.credentials_clientwrite"
READ_COUNTS = "nova_admin.migration_readcount"
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

# Whether the client `c` was written after what was last pushed; `r` is its row in CLIENT_REVISIONS, if it has one.
PUSH_PENDING = f"""
coalesce(r.pushed_revision, -1) < coalesce(r.revision, 0)
    + (SELECT count(*) FROM {CLIENT_WRITES} w WHERE w.client_id = c.id)
"""  # noqa: S608  # names of this module


def is_push_pending(*, revision: int, pushed_revision: int | None) -> bool:
    """Say the same of numbers that were read already; None: never pushed."""
    return pushed_revision is None or revision > pushed_revision
