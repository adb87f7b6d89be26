"""Holds the sentences of client groups: why a name or a group is refused."""

from nova_credentials.messages import Sentence

GROUP_NAME_MISSING = Sentence("group_name_missing", "Nothing was changed: give the group a name.")
GROUP_NAME_TOO_LONG = Sentence(
    "group_name_too_long",
    "Nothing was changed: a group's name has up to %(most)s characters, this one has %(n)s.",
)
GROUP_NAME_NOT_SHOWN = Sentence(
    "group_name_not_shown",
    "Nothing was changed: the name has characters that can't be seen. Type it again.",
)
GROUP_NAME_TAKEN = Sentence(
    "group_name_taken",
    "Nothing was changed: there is a group %(name)s already, in capital letters or not.",
)
GROUP_IS_GONE = Sentence(
    "group_is_gone", "Nothing was changed: the group %(name)s has been deleted since."
)
GROUP_NOT_CHOSEN = Sentence(
    "group_not_chosen", "Nothing was changed: choose a group, or type the name of a new one."
)
GROUP_FIRST_NOT_FIT = Sentence(
    "group_first_not_fit",
    "Nothing was changed: of the %(n)s chosen clients you can take the first 1 to %(n)s. Type a whole number.",
)
GROUP_CHOSEN_TWICE = Sentence(
    "group_chosen_twice", "Nothing was changed: choose a group or type a new name, not both."
)
