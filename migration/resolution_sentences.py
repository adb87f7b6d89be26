"""Sentences about what users do with differences between both stores: secrets adopted, copies made, many at once."""

from __future__ import annotations

from nova_credentials.messages import Sentence

ADOPTED = Sentence("adopted", "Adopted: %(names)s.", glue=", ")
NOTHING_TO_ADOPT = Sentence(
    "nothing_to_adopt", "Nothing was adopted: the client has no secret that somebody else made."
)
SECRET_CHANGED_SINCE = Sentence(
    "secret_changed_since",
    "Nothing was adopted: somebody wrote to the secret since you opened the page. Look at it again.",
)
ROWS_KEPT_IN_AWS = Sentence(
    "rows_kept_in_aws",
    "What PostgreSQL held before is kept in AWS, as the version NOVA_REPLACED.",
)
COPIES_SOMETHING_ELSE = Sentence(
    "copies_something_else",
    "Nothing was copied: the client or its values changed since you opened the page. Look at it again.",
)
NOTHING_KNOWN_TO_DIFFER = Sentence(
    "nothing_known_to_differ", "No field of it is known to differ: check it again."
)
ACKNOWLEDGEMENT_UNDONE = Sentence("acknowledgement_undone", "%(who)s took it back.")
