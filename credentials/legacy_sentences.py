"""Holds what can be said of NOVA's legacy table, each sentence with the key under which it is stored."""

from nova_credentials.messages import Sentence

LEGACY_NO_PLAIN_TABLE = Sentence(
    "legacy_no_plain_table",
    "%(table)s is no ordinary table, or has row security: to read it could run somebody else's code. Nothing was read.",
)
LEGACY_COLUMNS_LACK = Sentence(
    "legacy_columns_lack",
    "%(table)s lacks columns that a login needs: %(columns)s.",
    glue=", ",
)
LEGACY_COLUMNS_SHUT = Sentence(
    "legacy_columns_shut",
    "This site may not read these columns of %(table)s: %(columns)s. Run: GRANT SELECT ON %(table)s TO the role of this"
    " site.",
    glue=", ",
)
LEGACY_COLUMNS_RETYPED = Sentence(
    "legacy_columns_retyped",
    "These columns of %(table)s have types that this release doesn't read: %(columns)s.",
    glue=", ",
)
LEGACY_BUSY = Sentence("legacy_busy", "Somebody has locked %(table)s; try again.")
