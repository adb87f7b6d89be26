"""Sentences about the end of a client: why it can't leave or come back, and what became of its secrets."""

from nova_credentials.messages import Sentence

IS_OFFBOARDED = Sentence(
    "is_offboarded",
    "%(slug)s was offboarded, or is about to be. Bring it back first: What is left of this client, or"
    " manage.py offboard_client %(slug)s --back.",
)

# Why it stays
OFFBOARDING_BUSY = Sentence(
    "offboarding_busy", "A push, a move or a save of this client is under way. Try again."
)
OFFBOARDING_ACTIVE = Sentence(
    "offboarding_active",
    "The client is active: NOVA may read it at any moment. Deactivate it first.",
)
OFFBOARDING_READ = Sentence(
    "offboarding_read",
    "NOVA's reader still read this client in the last %(n)s days, the last time %(ago)s ago. Acknowledge it if you know"
    " that nothing needs it any more.",
)
OFFBOARDING_IN_RUN = Sentence("offboarding_in_run", "%(run)s still has this client to do.")
OFFBOARDING_ROTATES = Sentence(
    "offboarding_rotates",
    "A rotation of this client is not finished. The workers go on with it every minute; wait for its end.",
)
OFFBOARDING_LAYOUT = Sentence(
    "offboarding_layout",
    "A change of this client's layout was interrupted. Do it again, or wait until what it left is taken away.",
)
OFFBOARDING_APPROVAL = Sentence(
    "offboarding_approval",
    "Its rows hold values, and a purge needs somebody else's approval here. Purge the client first, then offboard it.",
)
OFFBOARDING_ROWS = Sentence(
    "offboarding_rows",
    "These rows hold values that were written after the purge, and AWS may lack them: %(rows)s. Restore the client, and"
    " purge it again.",
    glue=", ",
)
OFFBOARDING_NOT_PUSHED = Sentence(
    "offboarding_not_pushed", "Its rows could not be pushed, so they keep their values: %(reason)s"
)
OFFBOARDING_DIFFERS = Sentence(
    "offboarding_differs",
    "Both stores differ, or NOVA wrote the rows meanwhile, so the rows keep their values. Compare the client, or try"
    " again.",
)
OFFBOARDING_REFUSED = Sentence("offboarding_refused", "%(slug)s stays: %(reasons)s")
ALREADY_OFFBOARDED = Sentence("already_offboarded", "%(slug)s is offboarded already.")
OFFBOARDING_STOPPED = Sentence(
    "offboarding_stopped",
    "The client is not offboarded yet: %(error)s Nothing is lost. Offboard it again to go on, or bring it back.",
)
OFFBOARDING_WOKEN = Sentence(
    "offboarding_woken", "Somebody made the client active meanwhile: deactivate it first."
)
MOVED_TO_LEAVE = Sentence("moved_to_leave", "Offboarding.")
MOVED_TO_COME_BACK = Sentence("moved_to_come_back", "Brought back after its offboarding.")

# What became of the secrets
SECRET_KEPT_NOT_OURS = Sentence("secret_kept_not_ours", "%(name)s stays: somebody else made it.")
SECRET_GOES_ON = Sentence(
    "secret_goes_on", "%(name)s will be deleted on %(day)s, and can be brought back until then."
)
NO_SECRET_LEFT = Sentence("no_secret_left", "AWS holds no secret of the client.")

# The way back
NOT_OFFBOARDED = Sentence("not_offboarded", "%(slug)s is not offboarded.")
BACK_REFUSED = Sentence("back_refused", "%(slug)s does not come back: %(reasons)s")
VALUES_ARE_GONE = Sentence(
    "values_are_gone",
    "AWS no longer holds %(names)s: the time in which it could be brought back is over, and the values are gone."
    " The rows keep pointers. Enter new logins as those of a new client.",
    glue=", ",
)
BACK_NOT_FINISHED = Sentence(
    "back_not_finished",
    "The client is not back yet: %(error)s Nothing is lost. Bring it back again to go on.",
)
CAME_BACK = Sentence(
    "came_back",
    "%(slug)s is back in %(phase)s. It is inactive: NOVA reads it once somebody makes it active.",
)
