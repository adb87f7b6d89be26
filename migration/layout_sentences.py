"""Sentences about changes of layout: what became of a client's secrets, and why they stay as they are."""

from __future__ import annotations

from nova_credentials.messages import Sentence

LAYOUTS = {
    "client": Sentence("layout_client", "one secret per client"),
    "service": Sentence("layout_service", "one secret per service"),
}
LAYOUT_CHANGED = Sentence(
    "layout_changed",
    "NOVA now reads: %(new)s. Written too, until no reader needs them any more: %(old)s.",
    glue=", ",
)
LAYOUT_WITHOUT_SECRET = Sentence(
    "layout_without_secret", "It has no secret yet. It will get %(layout)s."
)
LAYOUT_IS_SO = Sentence("layout_is_so", "It has this layout already.")
LAYOUT_UNDER_WAY = Sentence(
    "layout_under_way",
    "A push, a move or another change of this client is under way. Its layout stays; try again.",
)
NAME_IS_MOVING = Sentence(
    "name_is_moving",
    "NOVA gave the client another slug, and secrets of the slug %(slug)s are written too until no reader needs them any"
    " more. Change the layout after that.",
)
FORMER_SECRETS_STAY_YET = Sentence(
    "former_secrets_stay_yet",
    "Its secrets move to the name of its new slug once its former ones are gone.",
)
NAME_IS_TAKEN = Sentence(
    "name_is_taken",
    "Its secrets keep their name, as AWS has another secret %(name)s, or keeps one until its deletion. NOVA reads them"
    " as before.",
)
LAYOUT_UNREAD = Sentence(
    "layout_unread", "Its layout stays, as its secret can't be read: %(error)s"
)
LAYOUT_UNWRITTEN = Sentence(
    "layout_unwritten", "Its layout stays, as the new secrets could not be written: %(error)s"
)
LAYOUT_DIFFERS = Sentence(
    "layout_differs",
    "Its layout stays: both stores differ, and somebody else wrote the current version of %(name)s."
    " Look at the mismatch and copy one way first.",
)
LAYOUT_FOREIGN = Sentence(
    "layout_foreign",
    "Its layout stays: somebody else wrote the current version of %(name)s. Restore the client and look at the mismatch"
    " first.",
)
LAYOUT_ROTATES = Sentence(
    "layout_rotates", "Its layout stays: a rotation of %(name)s is under way. Try again after it."
)
LAYOUT_WRITTEN_MEANWHILE = Sentence(
    "layout_written_meanwhile",
    "Its layout stays: somebody wrote to its secrets or moved it meanwhile. Try again.",
)
KEPT_AS_WRITTEN = Sentence(
    "kept_as_written", "%(name)s was not changed: somebody else wrote its current version."
)
KEPT_OF_ANOTHER = Sentence(
    "kept_of_another", "%(name)s stays: another client has, or had, the slug that is in its name."
)
OWN_SECRETS_LACK = Sentence(
    "own_secrets_lack",
    "Its secrets hold no login of these types, which its rows have: %(kinds)s. Push or restore them first.",
    glue=", ",
)
LAYOUT_WRITTEN_LATE = Sentence(
    "layout_written_late",
    "Somebody else wrote %(names)s in that very moment, which the new secrets lack: look at both, and change it anew.",
    glue=", ",
)
