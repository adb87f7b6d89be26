"""Sentences about resolving the mismatches of many clients at once."""

from nova_credentials.messages import Sentence

NOTHING_KNOWN_TO_DIFFER = Sentence(
    "nothing_known_to_differ", "No field of it is known to differ: check it again."
)
ACKNOWLEDGEMENT_UNDONE = Sentence("acknowledgement_undone", "%(who)s took it back.")
