"""Holds the sentences of the clients list: what keeps a client from its next step, and who looks after it."""

from nova_credentials.messages import Sentence

LAST_PUSH_REFUSED = Sentence(
    "last_push_refused", "These values were refused at the last push: see the last error."
)
# In the audit
OWNER_SET = Sentence("owner_set", "%(name)s looks after the client now.")
OWNER_TAKEN = Sentence("owner_taken", "Nobody looks after the client now.")

# Saved views
VIEW_NAME_NOT_FIT = Sentence(
    "view_name_not_fit",
    "Nothing was saved: give the view a name of up to %(most)s characters that can be seen.",
)
NOTHING_TO_SAVE = Sentence("nothing_to_save", "Nothing was saved: choose a filter or search first.")
VIEW_TOO_LONG = Sentence("view_too_long", "Nothing was saved: the search is too long.")
TOO_MANY_VIEWS = Sentence(
    "too_many_views", "Nothing was saved: you have %(n)s views already. Delete one first."
)
