"""The doctor's sentences about the indexes of NOVA's tables."""

from nova_credentials.messages import Sentence

CLIENTS_ARE_INDEXED = Sentence(
    "clients_are_indexed", "Each of NOVA's credential tables has an index of its clients."
)
NO_INDEX_IS_NEEDED = Sentence(
    "no_index_is_needed",
    "These tables have no index of their clients: %(tables)s. With as few clients as there are, none is needed.",
    glue=", ",
)
CLIENTS_ARE_NOT_INDEXED = Sentence(
    "clients_are_not_indexed",
    "These tables have no index of their clients: %(tables)s. With as many clients as there are, a comparison and a"
    " move take nearly twice as long without one, and NOVA reads a client more slowly.",
    glue=", ",
)
MAKE_THE_INDEXES = Sentence(
    "make_the_indexes",
    "Advised, not required. Have the owner of the tables run this once, outside a transaction (docs/scaling.md):",
)
