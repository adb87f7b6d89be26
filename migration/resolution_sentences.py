"""Sentences about what users do with a difference between both stores: a secret adopted, AWS copied over PostgreSQL."""

from __future__ import annotations

from nova_credentials.messages import Sentence

ADOPTED = Sentence("adopted", "Adopted: %(names)s.", glue=", ")
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
