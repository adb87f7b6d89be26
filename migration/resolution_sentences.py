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
ADOPTED_NOT_WRITTEN = Sentence(
    "adopted_not_written", "Adopted, and not written over yet: %(names)s. %(why)s", glue=", "
)
SECRET_IN_USE = Sentence(
    "secret_in_use", "Nothing was adopted: NOVA reads the client %(slug)s by %(name)s."
)
ROWS_KEPT_IN_AWS = Sentence(
    "rows_kept_in_aws",
    "What PostgreSQL held before is kept in AWS, as the version NOVA_REPLACED.",
)
LOGINS_STAY = Sentence(
    "logins_stay", "Added by the copy, and left where they are: %(rows)s.", glue=", "
)
FORMER_VALUES_NOT_IN_AWS = Sentence(
    "former_values_not_in_aws",
    "PostgreSQL holds the former values; AWS does not yet. %(why)s",
)
UNDONE_IN_PART = Sentence(
    "undone_in_part",
    "AWS has a part of the former values already, in %(names)s, and NOVA reads that; PostgreSQL was left as it is:"
    " %(error)s Compare both stores, then copy one way.",
    glue=", ",
)
NO_COPY_TO_UNDO = Sentence(
    "no_copy_to_undo", "There is no copy of AWS to PostgreSQL that could be undone."
)
PURGED_SINCE_COPY = Sentence(
    "purged_since_copy",
    "The copy can't be undone any more: the client was purged since, so its rows hold no values, and a restore takes"
    " those of AWS. To change a value, edit its login.",
)
ROWS_WRITTEN_SINCE_COPY = Sentence(
    "rows_written_since_copy",
    "The copy can't be undone any more: PostgreSQL's rows were written since, and that would be lost.",
)
ROWS_MAY_BE_WRITTEN_SINCE_COPY = Sentence(
    "rows_may_be_written_since_copy",
    "The copy can't be undone any more: writes to PostgreSQL went uncounted since, so its rows may have changed.",
)
AWS_WRITTEN_SINCE_COPY = Sentence(
    "aws_written_since_copy",
    "The copy can't be undone any more: AWS holds something else since, and that would be lost.",
)
FORMER_VALUES_GONE = Sentence(
    "former_values_gone",
    "The copy can't be undone any more: AWS no longer keeps the former values in %(name)s.",
)
UNDOES_SOMETHING_ELSE = Sentence(
    "undoes_something_else",
    "Nothing was put back: the client or its values changed since you opened the page. Look at it again.",
)
COPIES_SOMETHING_ELSE = Sentence(
    "copies_something_else",
    "Nothing was copied: the client or its values changed since you opened the page. Look at it again.",
)
NOTHING_KNOWN_TO_DIFFER = Sentence(
    "nothing_known_to_differ", "No field of it is known to differ: check it again."
)
ACKNOWLEDGEMENT_UNDONE = Sentence("acknowledgement_undone", "%(who)s took it back.")
