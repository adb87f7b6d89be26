"""Holds the sentences of the audit: what was done, without who did it, and never with a secret value."""

from nova_credentials.messages import Sentence

# Clients and their credentials
FIELDS_OF_CLIENT = Sentence("audit_fields_of_client", "client: %(fields)s")
LOGIN_ADDED = Sentence("audit_login_added", "%(type)s login %(id)s added: %(fields)s")
LOGIN_CHANGED = Sentence("audit_login_changed", "%(type)s login %(id)s: %(fields)s")
CLIENT_ADDED = Sentence("audit_client_added", "Added a client: %(changes)s.", glue="; ")
CLIENT_SAVED = Sentence("audit_client_saved", "Changed %(changes)s.", glue="; ")
SAVE_REFUSED = Sentence("audit_save_refused", "A save was refused: %(why)s")
PUSHED = Sentence("audit_pushed", "Wrote to AWS: %(secrets)s.", glue=", ")
PUSHED_IN_PART = Sentence(
    "audit_pushed_in_part", "Wrote to AWS: %(secrets)s. Then it failed: %(error)s", glue=", "
)
REVEALED = Sentence("audit_revealed", "Revealed %(field)s of %(type)s login %(id)s.")
REVEAL_REFUSED = Sentence(
    "audit_reveal_refused", "Revealing %(field)s of %(type)s login %(id)s was refused: %(why)s"
)
WRONG_PASSWORD = Sentence("audit_wrong_password", "the password was wrong.")

# Moves
MOVED = Sentence("audit_moved", "Moved from %(old)s to %(new)s.")
OVERRIDDEN = Sentence("audit_overridden", "Moved to %(new)s without evidence: %(lines)s")
MOVE_REFUSED = Sentence("audit_move_refused", "The move to %(new)s was refused: %(reasons)s")
REQUESTED = Sentence("audit_requested", "Requested the move from %(old)s to %(new)s.")
APPROVED = Sentence("audit_approved", "Approved what %(who)s requested: %(old)s to %(new)s.")
APPROVAL_REFUSED = Sentence("audit_approval_refused", "The approval was refused: %(why)s")
REQUEST_CANCELLED = Sentence(
    "audit_request_cancelled", "Cancelled what %(who)s requested: %(old)s to %(new)s."
)
DELETION_SCHEDULED = Sentence("audit_deletion_scheduled", "Deletion of its secrets: %(result)s")

# Mismatches, runs, copies
RESOLUTIONS = {
    "check": Sentence("audit_resolution_check", "Compared both stores again."),
    "to_aws": Sentence("audit_resolution_to_aws", "Copied PostgreSQL to AWS."),
    "to_postgres": Sentence("audit_resolution_to_postgres", "Copied AWS to PostgreSQL."),
    "acknowledge": Sentence("audit_resolution_acknowledge", "Acknowledged the mismatches."),
}
RUN_STARTED = Sentence("audit_run_started", "Started %(run)s.")
RUN_STEERED = Sentence("audit_run_steered", "Set %(run)s to: %(state)s.")
REDACTED = Sentence(
    "audit_redacted",
    "Replaced secret values by pointers in %(n)s rows of %(column)s.",
    one="Replaced secret values by pointers in %(n)s row of %(column)s.",
)

# The site
CLAIMED = Sentence(
    "audit_claimed", "Claimed %(place)s as the database that writes to AWS; noted was %(noted)s."
)
NOTHING = Sentence("audit_nothing", "nothing")
WRITES_STOPPED = Sentence("audit_writes_stopped", "Stopped all AWS writes.")
WRITES_STARTED = Sentence("audit_writes_started", "Started AWS writes again.")
COLUMN_MAPPED = Sentence("audit_column_mapped", "Mapped %(column)s as: %(use)s.")
OBJECT_ACCEPTED = Sentence("audit_object_accepted", "Accepted %(object)s.")
LOGGED_IN = Sentence("audit_logged_in", "Logged in.")
LOGGED_OUT = Sentence("audit_logged_out", "Logged out.")
LOGIN_REFUSED = Sentence("audit_login_refused", "A login was refused.")
PAGE_REFUSED = Sentence("audit_page_refused", "Refused: %(method)s %(page)s.")
USER_ADDED = Sentence("audit_user_added", "Added the user %(name)s.")
USER_CHANGED = Sentence("audit_user_changed", "Changed the user %(name)s: %(fields)s.")
USER_DELETED = Sentence("audit_user_deleted", "Deleted the user %(name)s.")
GROUP_ADDED = Sentence("audit_group_added", "Added the group %(name)s.")
GROUP_CHANGED = Sentence("audit_group_changed", "Changed the group %(name)s: %(fields)s.")
GROUP_DELETED = Sentence("audit_group_deleted", "Deleted the group %(name)s.")
GIVEN = Sentence("audit_given", "%(owner)s was given: %(names)s.", glue=", ")
TAKEN = Sentence("audit_taken", "%(owner)s lost: %(names)s.", glue=", ")
EVERYTHING = Sentence("audit_everything", "all that there were")
OF_USER = Sentence("audit_of_user", "The user %(name)s")
OF_GROUP = Sentence("audit_of_group", "The group %(name)s")
STARTED = Sentence("audit_started", "Started with %(settings)s.", glue=", ")

# The audit itself
EXPORTED = Sentence("audit_exported", "Exported audit entries as %(format)s: %(filters)s.")
ALL_ENTRIES = Sentence("audit_all_entries", "all of them")
TRIMMED = Sentence(
    "audit_trimmed",
    "Let go of the entries up to %(position)s, from before %(day)s; they are in the file %(sha256)s.",
)
