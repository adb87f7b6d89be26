"""Sentences about the import of NOVA's legacy table: what becomes of each of its rows, and why some are left alone."""

from nova_credentials.messages import Sentence

LEGACY_NEW_CLIENT = Sentence(
    "legacy_new_client", "There is no such client: it is added, with its database login."
)
LEGACY_NEW_INACTIVE = Sentence(
    "legacy_new_inactive",
    "There is no such client: it is added, with its database login. It is inactive, as in the legacy table.",
)
LEGACY_NEW_LOGIN = Sentence(
    "legacy_new_login", "The client has no database login: it is given this one."
)
LEGACY_SAME = Sentence("legacy_same", "The newer tables hold the same values.")
LEGACY_OTHER_VALUES = Sentence(
    "legacy_other_values",
    "The newer tables hold other values: %(fields)s. Both are left as they are.",
    glue=", ",
)
LEGACY_AWS_ALONE = Sentence(
    "legacy_aws_alone",
    "NOVA reads this client from AWS: nothing is taken, and what only AWS holds is not compared.",
)
LEGACY_NEAR_SLUG = Sentence(
    "legacy_near_slug",
    "There is a client whose slug differs in case, blanks or the form of its characters only: %(slug)s. Nothing is"
    " taken.",
)
LEGACY_SEVERAL = Sentence(
    "legacy_several",
    "%(n)s rows have this slug, or one that differs in case, blanks or the form of its characters only. None is taken.",
)
LEGACY_BAD_SLUG = Sentence(
    "legacy_bad_slug", "No secret can be named after the slug: %(problem)s. Nothing is taken."
)
LEGACY_BAD_FIELDS = Sentence(
    "legacy_bad_fields",
    "The newer tables don't take what it holds: %(fields)s. Nothing is taken.",
    glue=", ",
)
LEGACY_TOO_LARGE = Sentence("legacy_too_large", "%(problem)s Nothing is taken.")

# The import
LEGACY_CHANGED = Sentence(
    "legacy_changed",
    "Nothing was taken: the legacy table or the clients were changed since you looked. Look again.",
)
LEGACY_CLIENT_BUSY = Sentence(
    "legacy_client_busy",
    "Nothing was taken: a push, a move or NOVA works on %(slug)s right now. Try again.",
)
LEGACY_DATABASE_BUSY = Sentence(
    "legacy_database_busy",
    "Nothing was taken: NOVA or somebody else writes the tables right now. Try again.",
)
LEGACY_REFUSED = Sentence("legacy_refused", "Nothing was taken: %(problem)s")
FROM_LEGACY_TABLE = Sentence("from_legacy_table", "taken from the legacy table")
