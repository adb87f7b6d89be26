"""Sentences about what a push overwrites or leaves alone, and about the plan that tells so before."""

from nova_credentials.messages import Sentence

LEFT_ALONE = Sentence(
    "left_alone",
    "Left alone: both stores differ, and the current version of %(name)s (%(version)s) is one that somebody else"
    " wrote. Look at the mismatch and copy one way, or migrate it again with --overwrite.",
)
LEFT_TO_AWS = Sentence(
    "left_to_aws",
    "Left alone: both stores differ, and the current version of %(name)s (%(version)s) is one that somebody else"
    " wrote. In this phase AWS decides: look at the mismatch and copy one way.",
)
OVERWROTE = Sentence(
    "overwrote",
    "Overwrote %(name)s: version %(version)s by somebody else, kept as previous.",
)
WOULD_OVERWRITE = Sentence(
    "would_overwrite", "Overwrites %(name)s: version %(version)s by somebody else."
)
NOT_LOOKED_AT = Sentence("not_looked_at", "Not looked at: AWS could not be reached.")
PLAN_IN_OTHER_STATE = Sentence("plan_in_other_state", "Nothing was done: plan %(id)s is %(state)s.")
