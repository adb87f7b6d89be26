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
ROW_LEFT_OUT = Sentence(
    "row_left_out",
    "A trigger of NOVA's tables left a row out without an error. Have it corrected first.",
)
NOVA_IS_WRITING = Sentence(
    "nova_is_writing", "NOVA is writing this client's rows right now; try again."
)

# The changes that NOVA made to its tables, by their code
COLUMN_CHANGES = {
    "column_added": Sentence(
        "column_added",
        "NOVA added the column %(table)s.%(column)s (%(type)s): say what it holds. On the page NOVA's tables, or:"
        " manage.py map_column %(table)s.%(column)s secret, plain or ignore.",
    ),
    "column_missing": Sentence(
        "column_missing",
        "The column %(table)s.%(column)s is gone: this release can't work without it. Give NOVA's table the column back"
        " under this name.",
    ),
    "column_renamed": Sentence(
        "column_renamed",
        "The column %(table)s.%(column)s is gone, and %(new)s is new there: it was probably renamed. Give it its old"
        " name back.",
    ),
    "column_retyped": Sentence(
        "column_retyped",
        "The column %(table)s.%(column)s has the type %(type)s now, which this release can't read as before. Give it"
        " its old type back.",
    ),
    "table_missing": Sentence(
        "table_missing", "The table %(table)s is gone. Give NOVA's database the table back."
    ),
    "mapped_column_missing": Sentence(
        "mapped_column_missing",
        "The mapped column %(table)s.%(column)s is gone. Give it back, or if nobody needs its values any more:"
        " manage.py map_column %(table)s.%(column)s ignore.",
    ),
    "mapped_column_retyped": Sentence(
        "mapped_column_retyped",
        "The mapped column %(table)s.%(column)s has the type %(type)s now, and only text can be mapped. Give it its old"
        " type back, or: manage.py map_column %(table)s.%(column)s ignore.",
    ),
    "column_widened": Sentence(
        "column_widened",
        "The column %(table)s.%(column)s is wider now (%(type)s). Nothing has to be done; the site's forms keep the old"
        " limit.",
    ),
    "column_narrowed": Sentence(
        "column_narrowed",
        "The column %(table)s.%(column)s is narrower now (%(type)s). Nothing has to be done; values that no longer fit"
        " are refused when they are saved.",
    ),
    "column_nullable": Sentence(
        "column_nullable",
        "The column %(table)s.%(column)s may be NULL now. Nothing has to be done; a client with NULL there is not"
        " pushed.",
    ),
}
POINTER_TOO_LONG = Sentence(
    "pointer_too_long",
    "%(column)s holds at most %(most)s characters, and the pointer to the secret needs %(n)s: widen the column.",
)
CLIENT_ROW = Sentence("client_row", "client %(id)s")
