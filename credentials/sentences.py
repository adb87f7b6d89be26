"""The sentences of this app, each with the key under which it is stored."""

from nova_credentials.messages import Sentence

# The name of one credential row, by its type
ROWS = {
    "database": Sentence("row_database", "database login %(id)s"),
    "email": Sentence("row_email", "mail login %(id)s"),
    "aws": Sentence("row_aws", "AWS login %(id)s"),
}
POINTER_IN_ROW = Sentence(
    "pointer_in_row", "%(row)s holds a pointer (%(pointer)s…) instead of a secret."
)
SEVERAL_ROWS_PRIMARY = Sentence(
    "several_rows_primary",
    "%(slug)s: %(n)s %(kind)s rows are primary (ids %(ids)s); keep one primary.",
)
NO_ROW_IN_AWS = Sentence("no_row_in_aws", "AWS holds no %(row)s of %(slug)s.")
REFUSED_BY_DATABASE = Sentence(
    "refused_by_database", "NOVA's table refused the change (SQLSTATE %(code)s)."
)
NOVA_IS_WRITING = Sentence(
    "nova_is_writing", "NOVA is writing this client's rows right now; try again."
)
