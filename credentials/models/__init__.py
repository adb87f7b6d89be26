"""NOVA's credential tables, this app's own beside them, and the count of writes to them. Knows no phase.

NOVA's tables are not managed: no schema migration may alter them. The first schema migration makes them where they are
missing. Their names carry their schema, quoted so that Django leaves them alone; each other table is in the site's own.
"""

from credentials.models.clients import (
    Client,
    ClientQuerySet,
    RowsBusyError,
    RowsChangedError,
    read_rows,
)
from credentials.models.columns import (
    AcceptedObject,
    ColumnMapping,
    ColumnUse,
    NovaColumn,
    list_document_columns,
    list_mapped_secret_columns,
    lock_mappings,
    lock_mappings_shared,
    quote_name_for_parametrized_sql,
    read_columns_and_mappings,
    read_extras_into,
    write_extra,
)
from credentials.models.counting import (
    ClientRevision,
    ClientRevisionQuerySet,
    ClientWrite,
    CountingGap,
    CountingProof,
    CountingTriggers,
    ProofOutcome,
)
from credentials.models.credentials import (
    CREDENTIAL_MODELS,
    NAMED_ROWS,
    ROW_NAMES,
    AwsCredential,
    Credential,
    DatabaseCredential,
    EmailCredential,
    NaiveUTCDateTimeField,
    find_row_names,
    name_rows,
    save_columns,
    write_changed_values,
)

__all__ = [
    "CREDENTIAL_MODELS",
    "NAMED_ROWS",
    "ROW_NAMES",
    "AcceptedObject",
    "AwsCredential",
    "Client",
    "ClientQuerySet",
    "ClientRevision",
    "ClientRevisionQuerySet",
    "ClientWrite",
    "ColumnMapping",
    "ColumnUse",
    "CountingGap",
    "CountingProof",
    "CountingTriggers",
    "Credential",
    "DatabaseCredential",
    "EmailCredential",
    "NaiveUTCDateTimeField",
    "NovaColumn",
    "ProofOutcome",
    "RowsBusyError",
    "RowsChangedError",
    "find_row_names",
    "list_document_columns",
    "list_mapped_secret_columns",
    "lock_mappings",
    "lock_mappings_shared",
    "name_rows",
    "quote_name_for_parametrized_sql",
    "read_columns_and_mappings",
    "read_extras_into",
    "read_rows",
    "save_columns",
    "write_changed_values",
    "write_extra",
]
