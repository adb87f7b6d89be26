"""Holds the sentences of imports: what is wrong with a file or one of its lines. None quotes a cell but the slug."""

from nova_credentials.messages import Sentence

# The file as a whole
IMPORT_NO_FILE = Sentence("import_no_file", "No file was sent: choose a CSV file.")
IMPORT_FILE_EMPTY = Sentence(
    "import_file_empty",
    "The file is empty. Its first line names the columns, each further line is a client.",
)
IMPORT_FILE_TOO_LARGE = Sentence(
    "import_file_too_large",
    "The file has %(n)s bytes, and up to %(most)s are read at once. Divide it, and import one part after the other.",
)
IMPORT_TOO_MANY_LINES = Sentence(
    "import_too_many_lines",
    "The file has more than %(most)s lines. Divide it, and import one part after the other.",
)
IMPORT_NOT_DECODED = Sentence(
    "import_not_decoded",
    "The file says that it is %(encoding)s, and it is not. Save it as “CSV UTF-8”.",
)
IMPORT_NO_ENCODING = Sentence(
    "import_no_encoding",
    "The file is neither UTF-8 nor Windows-1252: its letters can't be told. Save it as “CSV UTF-8”.",
)
IMPORT_READ_AS_CP1252 = Sentence(
    "import_read_as_cp1252",
    "The file is not UTF-8. It was read as Windows-1252, as Excel saves it: if a secret has letters beyond a to z, save"
    " the file as “CSV UTF-8” instead.",
)
IMPORT_NUL_IN_FIRST_LINE = Sentence(
    "import_nul_in_first_line",
    "The first line holds NULs: this is no CSV file, or one in UTF-16 that doesn't say so. Save it as “CSV UTF-8”.",
)
IMPORT_MALFORMED = Sentence(
    "import_malformed",
    "The file can't be read from line %(line)s on: a quotation mark is missing or superfluous, or a cell has more than"
    " %(most)s characters.",
)
IMPORT_NO_SLUG_COLUMN = Sentence(
    "import_no_slug_column",
    "The first line names no column “slug”. It has to name the columns: begin with the template.",
)
IMPORT_COLUMNS_UNKNOWN = Sentence(
    "import_columns_unknown",
    "There is no column %(columns)s. Correct its name in the first line, or take the column out of the file.",
    glue=", ",
)
IMPORT_COLUMN_UNNAMED = Sentence(
    "import_column_unnamed",
    "The first line names no column in its place %(place)s. Name it, or take the column out of the file.",
)
IMPORT_COLUMNS_TWICE = Sentence(
    "import_columns_twice",
    "The first line names these columns twice: %(columns)s. Leave one of each.",
    glue=", ",
)
IMPORT_NO_LINES = Sentence(
    "import_no_lines", "The file has no line below the names of the columns: there is no client."
)

# One line
IMPORT_LINE_TOO_SHORT = Sentence(
    "import_line_too_short",
    "It has %(n)s cells, and the first line names %(most)s columns. A comma may be missing, or a quotation mark.",
)
IMPORT_LINE_TOO_LONG = Sentence(
    "import_line_too_long",
    "It has %(n)s cells, and the first line names %(most)s columns. Put a cell with a comma into quotation marks.",
)
IMPORT_NUL_IN_CELL = Sentence(
    "import_nul_in_cell", "%(column)s holds a NUL, which no table can store. Take it out."
)
IMPORT_CELL_REFUSED = Sentence("import_cell_refused", "%(column)s: %(problem)s")
IMPORT_SLUG_MISSING = Sentence("import_slug_missing", "The slug is missing.")
IMPORT_SLUG_LIKE_OTHER = Sentence(
    "import_slug_like_other",
    "There is a client %(slug)s, whose slug differs in capital letters only. Write its slug so, or add this client on"
    " the page.",
)
IMPORT_SLUG_TWICE = Sentence(
    "import_slug_twice",
    "The slug stands in line %(line)s already. A further line of a client adds logins: it needs a label.",
)
IMPORT_LABEL_TWICE = Sentence(
    "import_label_twice",
    "Line %(line)s has a login of this type with this label already.",
)
IMPORT_TOO_MANY_LOGINS = Sentence(
    "import_too_many_logins", "A client has at most %(most)s logins of one type by an import."
)
IMPORT_TOO_MANY_GROUPS = Sentence(
    "import_too_many_groups", "A client is put into at most %(most)s groups by an import."
)
IMPORT_SAYS_OTHERWISE = Sentence(
    "import_says_otherwise",
    "%(column)s is another one than in line %(line)s, of the same client. Leave it empty in further lines.",
)
IMPORT_NAME_MISSING = Sentence("import_name_missing", "A new client needs a name.")
IMPORT_LOGIN_MISSING = Sentence(
    "import_login_missing", "A new client needs at least one login: fill in its columns."
)
IMPORT_CELLS_MISSING = Sentence(
    "import_cells_missing", "A new login needs these cells too: %(columns)s.", glue=", "
)
IMPORT_NO_PRIMARY = Sentence(
    "import_no_primary",
    "The client has no primary login of this type (%(kind)s): its first one is in a line without a label.",
)
IMPORT_PRIMARY_UNCLEAR = Sentence(
    "import_primary_unclear",
    "NOVA's table doesn't say which login of this type (%(kind)s) is the primary one. Correct it on the client's page.",
)
IMPORT_LABEL_UNCLEAR = Sentence(
    "import_label_unclear",
    "The client has several logins of this type (%(kind)s) with this label. Change them on its page.",
)
IMPORT_SECRET_NEEDED = Sentence(
    "import_secret_needed",
    "The secret would be sent elsewhere, as these change: %(columns)s. Fill in %(secret)s too.",
    glue=", ",
)
IMPORT_AWS_DECIDES = Sentence(
    "import_aws_decides",
    "The client is in the phase %(phase)s, in which a change goes to AWS first. Change it on its page; an import sets"
    " only its groups.",
)

# The import as a whole
IMPORT_LINES_WRONG = Sentence(
    "import_lines_wrong",
    "Nothing was imported: %(n)s lines are wrong. Correct them in the file.",
    one="Nothing was imported: %(n)s line is wrong. Correct it in the file.",
)
IMPORT_OTHER_FILE = Sentence(
    "import_other_file",
    "Nothing was imported: this is not the file that was previewed, or it was changed since. Its preview is below.",
)
IMPORT_OTHER_PLAN = Sentence(
    "import_other_plan",
    "Nothing was imported: clients of this file were changed since the preview. Look at the new preview.",
)
IMPORT_BUSY = Sentence(
    "import_busy", "NOVA or somebody else writes the same clients or groups right now; try again."
)
IMPORT_REFUSED = Sentence("import_refused", "Nothing was imported: %(problem)s")
