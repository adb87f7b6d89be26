"""Holds the sentences of the clients list: what keeps a client from its next step, and who looks after it."""

from nova_credentials.messages import Sentence

LAST_PUSH_REFUSED = Sentence(
    "last_push_refused", "These values were refused at the last push: see the last error."
)
# In the audit
OWNER_SET = Sentence("owner_set", "%(name)s looks after the client now.")
OWNER_TAKEN = Sentence("owner_taken", "Nobody looks after the client now.")
