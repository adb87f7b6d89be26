"""Holds the sentences of the audit: what was done, without who did it, and never with a secret value."""

from nova_credentials.messages import Sentence

# Clients and their credentials
FIELDS_OF_CLIENT = Sentence("fields_of_client", "client: %(fields)s")
LOGIN_ADDED = Sentence("login_added", "%(row)s added: %(fields)s")
LOGIN_CHANGED = Sentence("login_changed", "%(row)s: %(fields)s")
CLIENT_ADDED = Sentence("client_added", "Added a client: %(changes)s.", glue="; ")
CLIENT_SAVED = Sentence("client_saved", "Changed %(changes)s.", glue="; ")
CLIENT_ACTIVATED = Sentence("client_activated", "Activated the client.")
CLIENT_DEACTIVATED = Sentence("client_deactivated", "Deactivated the client.")
IMPORTED_CLIENTS = Sentence(
    "imported_clients",
    "Imported clients: %(new)s new, %(changed)s changed, %(unchanged)s as they were.",
)
SAVE_REFUSED = Sentence("save_refused", "A save was refused: %(why)s")
WRITTEN_VERSION = Sentence("written_version", "%(name)s (version %(version)s)")
PUSHED = Sentence("pushed", "Wrote to AWS: %(secrets)s.", glue=", ")
PUSHED_IN_PART = Sentence(
    "pushed_in_part", "Wrote to AWS: %(secrets)s. Then it failed: %(error)s", glue=", "
)
REVEALED = Sentence("revealed", "Revealed %(field)s of %(row)s.")
REVEAL_REFUSED = Sentence("reveal_refused", "Revealing %(field)s of %(row)s was refused: %(why)s")
WRONG_PASSWORD = Sentence("wrong_password", "the password was wrong.")

# Moves
MOVED = Sentence("moved", "Moved from %(old)s to %(new)s.")
EVIDENCE_OVERRIDDEN = Sentence(
    "evidence_overridden", "Moved to %(new)s without evidence: %(lines)s"
)
GATE_PASSED = Sentence("gate_passed", "The gate to %(new)s let it pass: %(lines)s")
LINE_OVERRIDDEN = Sentence("line_overridden", "Overridden: %(line)s")
MOVE_REFUSED = Sentence("move_refused", "The move to %(new)s was refused: %(reasons)s")
REQUESTED = Sentence("requested", "Requested the move from %(old)s to %(new)s.")
APPROVED = Sentence("approved", "Approved what %(who)s requested: %(old)s to %(new)s.")
APPROVAL_REFUSED = Sentence("approval_refused", "The approval was refused: %(why)s")
CANCELLED_REQUEST = Sentence(
    "cancelled_request", "Cancelled what %(who)s requested: %(old)s to %(new)s."
)
SECRETS_WERE_MOVED = Sentence(
    "secrets_were_moved",
    "Its secrets have the name of its new slug: moved from %(old)s to %(new)s. The former ones are written too until no"
    " reader needs them any more.",
)
SECRETS_ADOPTED = Sentence(
    "secrets_adopted", "Adopted secrets of somebody else: %(secrets)s.", glue="; "
)
ADOPTED_SECRET = Sentence("adopted_secret", "%(name)s (%(owner)s)")
LAYOUT_WAS_CHANGED = Sentence("layout_was_changed", "Changed its layout: %(new)s, not %(old)s.")
OTHER_SECRETS_LEFT = Sentence(
    "other_secrets_left", "Nobody reads the secrets of its other layout any more: %(result)s"
)
DELETION_SCHEDULED = Sentence("deletion_scheduled", "Deletion of its secrets: %(result)s")
OFFBOARDING_BEGUN = Sentence(
    "offboarding_begun", "Began to offboard the client. It was in %(phase)s."
)
OFFBOARDED = Sentence("offboarded", "The client is offboarded. %(result)s")
COMING_BACK = Sentence("coming_back", "Began to bring the client back.")
BROUGHT_BACK = Sentence("brought_back", "The client is back in %(phase)s, inactive as before.")

# Mismatches, runs, copies
RESOLUTIONS = {
    "check": Sentence("resolution_check", "Compared both stores again."),
    "to_aws": Sentence("resolution_to_aws", "Copied PostgreSQL to AWS."),
    "to_postgres": Sentence("resolution_to_postgres", "Copied AWS to PostgreSQL."),
    "acknowledge": Sentence("resolution_acknowledge", "Acknowledged the mismatches."),
    "to_former": Sentence(
        "resolution_to_former", "Undid a copy: put the former values back into PostgreSQL."
    ),
    "to_version": Sentence("resolution_to_version", "Restored a former version of a secret."),
}
ACKNOWLEDGEMENT_WITHDRAWN = Sentence(
    "acknowledgement_withdrawn", "Took back an acknowledgement of mismatches."
)
# Releases before 0.3.0 wrote these three, when a mismatch had somebody of its own who was to look at it.
ASSIGNED = Sentence(
    "assigned",
    "Assigned %(n)s fields that differ to %(name)s: %(fields)s.",
    one="Assigned the field that differs to %(name)s: %(fields)s.",
    glue=", ",
)
UNASSIGNED = Sentence(
    "unassigned",
    "Assigned %(n)s fields that differ to nobody: %(fields)s.",
    one="Assigned the field that differs to nobody: %(fields)s.",
    glue=", ",
)
WHOLE_SECRET = Sentence("whole_secret", "the whole secret")
RUN_STARTED = Sentence("run_started", "Started %(run)s.")
PLAN_REQUESTED = Sentence("plan_requested", "Had plan %(id)s made.")
PLAN_STARTED = Sentence("plan_started", "Started a run from plan %(id)s.")
PLAN_DISCARDED = Sentence("plan_discarded", "Discarded plan %(id)s.")
MOVES_STARTED = Sentence(
    "moves_started",
    "Started %(run)s: %(n)s clients from %(old)s to %(new)s.",
    one="Started %(run)s: %(n)s client from %(old)s to %(new)s.",
)
MOVES_REQUESTED = Sentence(
    "moves_requested",
    "Requested %(run)s: %(n)s clients from %(old)s to %(new)s.",
    one="Requested %(run)s: %(n)s client from %(old)s to %(new)s.",
)
OVERRIDE_ASKED_FOR = Sentence(
    "override_asked_for", "Asked that %(run)s moves clients although evidence is missing."
)
MOVES_APPROVED = Sentence("moves_approved", "Approved %(run)s, which %(who)s requested.")
MOVES_CANCELLED = Sentence("moves_cancelled", "Cancelled %(run)s, which %(who)s requested.")
RUN_STEERED = Sentence("run_steered", "Set %(run)s to: %(state)s.")
CAMPAIGN_STARTED = Sentence(
    "campaign_started", "Started %(campaign)s to %(goal)s: %(groups)s.", glue=", "
)
CAMPAIGN_REQUESTED = Sentence(
    "campaign_requested", "Requested %(campaign)s to %(goal)s: %(groups)s.", glue=", "
)
CAMPAIGN_APPROVED = Sentence("campaign_approved", "Approved %(campaign)s, which %(who)s requested.")
CAMPAIGN_STEERED = Sentence("campaign_steered", "Set %(campaign)s to: %(state)s.")
CAMPAIGN_STOPPED = Sentence("campaign_stopped", "%(campaign)s stopped by itself: %(why)s")
GOES_ON_WITHOUT = Sentence(
    "goes_on_without",
    "%(campaign)s goes on without %(n)s clients that held it up.",
    one="%(campaign)s goes on without %(n)s client that held it up.",
)
LEFT_OUT_OF_CAMPAIGN = Sentence(
    "left_out_of_campaign",
    "Left out: %(campaign)s was held up by the client, and goes on without it.",
)
WAVE_BEGUN = Sentence(
    "wave_begun",
    "%(campaign)s began %(wave)s with %(n)s clients.",
    one="%(campaign)s began %(wave)s with %(n)s client.",
)
REDACTED = Sentence(
    "redacted",
    "Replaced secret values by pointers in %(n)s rows of %(column)s.",
    one="Replaced secret values by pointers in %(n)s row of %(column)s.",
)

# The site
CLAIMED = Sentence(
    "claimed", "Claimed %(place)s as the database that writes to AWS; noted was %(noted)s."
)
FACTS_CLAIMED = Sentence(
    "facts_claimed", "Noted what all hosts share as this host has it: %(facts)s.", glue="; "
)
KEY_ROTATED = Sentence(
    "key_rotated", "Noted that all hosts share another %(key)s now: %(new)s, formerly %(old)s."
)
NOTHING = Sentence("nothing", "nothing")
STOPPED_WRITES = Sentence("stopped_writes", "Stopped all AWS writes.")
STARTED_WRITES = Sentence("started_writes", "Started AWS writes again.")
COLUMN_MAPPED = Sentence("column_mapped", "Mapped %(column)s as: %(use)s.")
OBJECT_ACCEPTED = Sentence("object_accepted", "Accepted %(object)s.")
LOGGED_IN = Sentence("logged_in", "Logged in.")
LOGGED_OUT = Sentence("logged_out", "Logged out.")
LOGIN_REFUSED = Sentence("login_refused", "A login was refused.")
REFUSED_AGAIN = Sentence(
    "refused_again",
    "Refused %(n)s more times within the minute that began at %(at)s.",
    one="Refused once more within the minute that began at %(at)s.",
)
LET_IN = Sentence("let_in", "Ended the lock of %(name)s at %(address)s.")
ADDRESS_LET_IN = Sentence("address_let_in", "Ended the lock of the address %(address)s.")
PAGE_REFUSED = Sentence("page_refused", "Refused: %(method)s %(page)s.")
USER_ADDED = Sentence("user_added", "Added the user %(name)s.")
USER_CHANGED = Sentence("user_changed", "Changed the user %(name)s: %(fields)s.")
USER_RENAMED = Sentence(
    "user_renamed", "Renamed the user %(old)s to %(name)s; changed: %(fields)s."
)
USER_DELETED = Sentence("user_deleted", "Deleted the user %(name)s.")
GROUP_ADDED = Sentence("group_added", "Added the group %(name)s.")
GROUP_CHANGED = Sentence("group_changed", "Changed the group %(name)s: %(fields)s.")
GROUP_RENAMED = Sentence(
    "group_renamed", "Renamed the group %(old)s to %(name)s; changed: %(fields)s."
)
GROUP_DELETED = Sentence("group_deleted", "Deleted the group %(name)s.")
GIVEN = Sentence("given", "%(owner)s was given: %(names)s.", glue=", ")
TAKEN = Sentence("taken", "%(owner)s lost: %(names)s.", glue=", ")
EVERYTHING = Sentence("everything", "all that there were")
OF_USER = Sentence("of_user", "The user %(name)s")
OF_GROUP = Sentence("of_group", "The group %(name)s")
CLIENT_GROUP_ADDED = Sentence("client_group_added", "Added the client group %(name)s.")
CLIENT_GROUP_RENAMED = Sentence(
    "client_group_renamed", "Renamed the client group %(old)s to %(name)s."
)
CLIENT_GROUP_DELETED = Sentence(
    "client_group_deleted",
    "Deleted the client group %(name)s with %(n)s clients.",
    one="Deleted the client group %(name)s with %(n)s client.",
)
PUT_INTO_CLIENT_GROUP = Sentence(
    "put_into_client_group", "Put the client into the client group %(name)s."
)
TAKEN_OUT_OF_CLIENT_GROUP = Sentence(
    "taken_out_of_client_group", "Took the client out of the client group %(name)s."
)
STARTED = Sentence("started", "Started with %(settings)s.", glue=", ")

# The audit itself
CUTOVER_EXPORTED = Sentence(
    "cutover_exported", "Exported its audit entries up to the cutover at %(at)s."
)
# Entries up to release 0.2.0 hold these two.
CERTIFICATE_MADE = Sentence("certificate_made", "Made a certificate of the cutover at %(at)s.")
CERTIFICATE_DOWNLOADED = Sentence(
    "certificate_downloaded", "Downloaded the certificate of the cutover made at %(at)s."
)
EXPORTED = Sentence("exported", "Exported audit entries as %(format)s: %(filters)s.")
ALL_ENTRIES = Sentence("all_entries", "all of them")
TRIMMED = Sentence(
    "trimmed",
    "Let go of the entries up to %(position)s, from before %(day)s; they are in the file %(sha256)s.",
)
AUDIT_NOT_SOUND = Sentence(
    "audit_not_sound", "The audit is not sound: %(fault)s. Run verify_audit."
)
NO_OLD_ENTRY = Sentence("no_old_entry", "No entry in the chain is that old.")
AUDIT_IN_USE = Sentence(
    "audit_in_use", "The audit is in use. Run it again: it goes on where it was."
)
AUDIT_NOT_OWNED = Sentence(
    "audit_not_owned", "This role doesn't own the audit's tables, so it can't delete."
)
