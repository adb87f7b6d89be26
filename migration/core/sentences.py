"""Holds the sentences that several drawers say."""

from nova_credentials.messages import Sentence

# Why a client is not pushed, unless somebody asks for inactive ones.
NOT_PUSHED_INACTIVE = Sentence("not_pushed_inactive", "Inactive.")
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
# Entries up to release 0.2.0 hold these two.
CERTIFICATE_MADE = Sentence("certificate_made", "Made a certificate of the cutover at %(at)s.")
CERTIFICATE_DOWNLOADED = Sentence(
    "certificate_downloaded", "Downloaded the certificate of the cutover made at %(at)s."
)
# What was asked for one client, up to release 0.2.0.
MOVE_REQUESTED = Sentence("requested", "Requested the move from %(old)s to %(new)s.")
MOVE_REQUESTED_TO_WAIT = Sentence(
    "requested_to_wait",
    "Requested the move from %(old)s to %(new)s. It can't be made yet: %(reasons)s",
)
APPROVED = Sentence("approved", "Approved what %(who)s requested: %(old)s to %(new)s.")
CANCELLED_REQUEST = Sentence(
    "cancelled_request", "Cancelled what %(who)s requested: %(old)s to %(new)s."
)
REQUEST_OVER = Sentence("request_over", "This request is closed already: %(state)s, by %(who)s.")
REQUEST_REQUESTED = Sentence("request_requested", "Requested")
REQUEST_WAITING = Sentence("request_waiting", "Waiting")
REQUEST_DONE = Sentence("request_done", "Done")
REQUEST_IS_FAILED = Sentence("request_failed", "Failed")
REQUEST_CANCELLED = Sentence("request_cancelled", "Cancelled")
SOMEBODY = Sentence("somebody", "somebody")
LOGIN_OUTCOMES = {
    "works": Sentence("login_works", "the login works"),
    "refused": Sentence("login_was_refused", "the server refuses user or password"),
    "no_database": Sentence("login_no_database", "the server has no database of this name"),
    "pooler": Sentence(
        "login_refused_by_pooler",
        "the pooler (PgBouncer) there refuses user or password, or can't check them: what it knows of the user may be"
        " out of date",
    ),
    "unreachable": Sentence(
        "login_unreachable", "no server answers there, or it takes no logins now"
    ),
    "no_such_host": Sentence("login_no_such_host", "the host has no address: check its name"),
    "tls_problem": Sentence(
        "login_tls_problem", "no connection with TLS and a valid certificate can be made"
    ),
    "timed_out": Sentence("login_timed_out", "the server did not answer in time"),
    "not_allowed": Sentence("login_not_allowed", "logins are not sent to the address of this host"),
    "unsafe": Sentence(
        "login_unsafe", "the server asks for no password, or asks for it in clear text"
    ),
    "unexpected": Sentence("login_unexpected", "the server's answers are not understood"),
    "not_testable": Sentence(
        "login_not_testable", "host, user or secret are missing, or can't be sent"
    ),
}
LOGINS_NOT_REACHED = Sentence("logins_not_reached", "%(results)s.", glue="; ")
IS_OFFBOARDED = Sentence(
    "is_offboarded",
    "%(slug)s is offboarded, or being offboarded. Bring it back first on its page, or by manage.py "
    "offboard_client %(slug)s --back.",
)
CLIENT_LEFT_ALONE = Sentence(
    "left_alone",
    "Left alone: both stores differ, and someone else wrote the current version of %(name)s (%(version)s). Check "
    "the mismatch and copy one way, or push again with overwriting.",
)
LEFT_TO_AWS = Sentence(
    "left_to_aws",
    "Left alone: both stores differ, and someone else wrote the current version of %(name)s (%(version)s). Check "
    "the mismatch and copy one way.",
)
NO_WORKER = Sentence(
    "no_worker",
    "No worker is taking tasks. Health says why; if none is running, start one: manage.py qcluster",
)
NOVA_WROTE = Sentence("nova_wrote", "NOVA has just written this client's rows. Try again.")
ASK_BY_COMMAND = Sentence(
    "ask_by_command",
    "A second person has to approve this move: request it with --by USER --reason TEXT.",
)
MAY_NOT_ASK = Sentence("may_not_ask", "%(who)s may not request it.")
HOST_DIFFERS = Sentence(
    "host_differs",
    "This host differs from what all hosts share, so it writes nothing to AWS and takes no tasks: %(facts)s.",
    glue="; ",
)
WRITTEN_SINCE_BACKUP = Sentence(
    "written_since_backup",
    "The current version of %(name)s is one that this site wrote and that this database does not know: the tables are"
    " older than AWS. Compare, then copy one way.",
)
PUSH_TAKES_TOO_LONG = Sentence(
    "push_takes_too_long", "Another push or move of this client is taking too long."
)
NOT_OURS = Sentence(
    "not_ours",
    "%(name)s already exists, and this site did not write it. Adopt it, or change the client's slug.",
)
FOREIGN_VERSION = Sentence(
    "foreign_version",
    "The current version of %(name)s is one that somebody else wrote, and in this phase AWS decides."
    " Compare, then copy one way.",
)
RUN_WITHDRAWN = Sentence("run_withdrawn", "The request was withdrawn or refused.")
CLIENT_NOT_THERE = Sentence("client_not_there", "The client no longer exists.")
