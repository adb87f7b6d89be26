"""Holds the sentences of this app about NOVA's tables, each with the key under which it is stored."""

from nova_credentials.messages import Sentence

# Conditions of a gate
COLUMNS_UNMAPPED = Sentence(
    "columns_unmapped",
    "NOVA added %(n)s columns that nobody has mapped: %(names)s. Say what they hold on the page NOVA's tables.",
    one="NOVA added a column that nobody has mapped: %(names)s. Say what it holds on the page NOVA's tables.",
    glue=", ",
)
COLUMNS_MAPPED = Sentence("columns_mapped", "Every column of NOVA's tables is known or mapped.")
OBJECTS_UNKNOWN = Sentence(
    "objects_unknown",
    "%(n)s objects on NOVA's tables run their owners' code, and nobody has accepted them: %(names)s.",
    one="An object on NOVA's tables runs its owner's code, and nobody has accepted it: %(names)s.",
    glue=", ",
)
OBJECTS_ACCEPTED = Sentence(
    "objects_accepted", "Every object of others on NOVA's tables was accepted as it is now."
)

# Mapping columns, accepting objects
MAPPED = Sentence("mapped", "%(column)s is mapped.")
MAPPED_AND_PUSHED = Sentence(
    "mapped_and_pushed",
    "%(column)s is mapped. The documents of %(n)s clients change: they are pushed next.",
    one="%(column)s is mapped. The document of one client changes: it is pushed next.",
)
PURGED_KEEP_VALUES = Sentence(
    "purged_keep_values",
    "%(n)s purged clients still have a value in %(column)s: %(names)s. Restore them, and purge them again once their"
    " gates are open.",
    one="A purged client still has a value in %(column)s: %(names)s. Restore it, and purge it again once its gate is"
    " open.",
    glue=", ",
)
NO_SUCH_TABLE = Sentence(
    "no_such_table", "%(name)s names none of NOVA's tables: %(tables)s.", glue=", "
)
NO_SUCH_COLUMN = Sentence(
    "no_such_column", "%(name)s is no column that NOVA added: only such a column can be mapped."
)
COLUMN_IS_GONE = Sentence("column_is_gone", "%(column)s is gone: it can only be ignored.")
ONLY_TEXT = Sentence(
    "only_text",
    "%(column)s (%(type)s) can only be ignored: secret and plain are for columns of the type text or varchar that NOVA"
    " writes itself.",
)
RESTORE_BEFORE_MAPPING = Sentence(
    "restore_before_mapping",
    "%(n)s clients have a pointer in %(column)s, as they are purged: restore them first, or their values stay in AWS"
    " alone.",
    one="One client has a pointer in %(column)s, as it is purged: restore it first, or its value stays in AWS alone.",
)
MAPPED_MEANWHILE = Sentence(
    "mapped_meanwhile", "Somebody else has mapped %(column)s meanwhile: look at it again."
)
MAPPINGS_BUSY = Sentence("mappings_busy", "A purge or a rollback is under way; try again.")
ACCEPTING_WANTS_REASON = Sentence(
    "accepting_wants_reason", "Give a reason: it is kept with your name."
)
OBJECT_CHANGED = Sentence(
    "object_changed", "The object was changed or removed meanwhile: look at it again."
)
