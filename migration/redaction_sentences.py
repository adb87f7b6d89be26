"""Holds the sentences about the redaction of copies, as `sentences.py` holds the others."""

from nova_credentials.messages import Sentence

REDACT_NO_COLUMN = Sentence("redact_no_column", "%(column)s: there is no such column.")
REDACT_NAME_WRONG = Sentence(
    "redact_name_wrong", "%(column)s: name a column as TABLE.COLUMN or SCHEMA.TABLE.COLUMN."
)
REDACT_CODE = Sentence(
    "redact_code", "%(column)s: this table holds code that is executed, so it is never redacted."
)
REDACT_CREDENTIALS = Sentence(
    "redact_credentials", "%(column)s: this is a table of clients or credentials: never redacted."
)
REDACT_OWN = Sentence(
    "redact_own", "%(column)s: this is no table of NOVA's, so it is never redacted."
)
REDACT_TYPE = Sentence(
    "redact_type",
    "%(column)s: only columns of type text, varchar, json and jsonb of ordinary tables are redacted.",
)
REDACT_KEY = Sentence("redact_key", "%(column)s: it is part of a key, so it is not redacted.")
REDACT_NO_RIGHT = Sentence(
    "redact_no_right",
    "%(column)s: this site's role may not change it. Run: GRANT SELECT, UPDATE ON %(table)s TO %(role)s;",
)
REDACT_NO_STATE = Sentence(
    "redact_no_state",
    "%(column)s: the columns status and completed_at of executions are needed to know which ones have ended.",
)
REDACT_FOREIGN_CODE = Sentence(
    "redact_foreign_code",
    "%(column)s: a change of this table runs the code of %(objects)s with this site's rights, so it is not redacted.",
    glue=", ",
)
REDACT_PHASE = Sentence(
    "redact_phase", "%(slug)s is in %(phase)s: copies are redacted only from the phase AWS on."
)
REDACT_SHARED = Sentence(
    "redact_shared",
    "%(slug)s: a value is left that %(other)s has too, which is still read from PostgreSQL.",
)
REDACT_STOPPED = Sentence(
    "redact_stopped", "%(column)s: stopped, PostgreSQL refused it (SQLSTATE %(code)s)."
)
