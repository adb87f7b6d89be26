"""Holds the sentences about comments on clients. None of them holds what was typed."""

from nova_credentials.messages import Sentence

COMMENT_MISSING = Sentence("comment_missing", "Nothing was added: type a comment first.")
COMMENT_TOO_LONG = Sentence(
    "comment_too_long",
    "Nothing was added: a comment has at most %(most)s characters, and this one has %(n)s.",
)
COMMENT_HOLDS_SECRET = Sentence(
    "comment_holds_secret",
    "Nothing was added: the comment holds a secret value of this client. Everybody who sees the client would read it.",
)
# In the audit
COMMENT_LEFT = Sentence("comment_left", "Left comment %(id)s.")
COMMENT_TAKEN_BACK = Sentence(
    "comment_taken_back", "Took back comment %(id)s, which %(who)s left at %(at)s."
)
COMMENT_REFUSED = Sentence(
    "comment_refused", "A comment was refused: it held a secret value of the client."
)
