"""Declares the sentences about users: that they are kept, and who could act as whom."""

from nova_credentials.messages import Sentence

USERS_ARE_KEPT = Sentence(
    "users_are_kept",
    "%(who)s was not deleted: records name this user. Deactivate the user instead.",
)
PASSWORD_OF_PROVIDER = Sentence(
    "password_of_provider",
    "%(who)s logs in by OpenID Connect, so this account has no password. Only a superuser gives it one: whoever knows"
    " it could log in as %(who)s.",
)
REQUESTER_DEACTIVATED = Sentence(
    "requester_deactivated",
    "%(who)s, who requested it, is deactivated. Refuse the request; somebody else can request it again.",
)
COULD_ACT_AS_BOTH = Sentence(
    "could_act_as_both",
    "%(who)s changed how %(whom)s logs in %(ago)s ago, so one person could have requested and approved this. Somebody"
    " else has to approve it, or you once 24 hours have passed.",
)
