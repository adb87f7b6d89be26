"""Holds the sentences of this app, each with the key under which it is stored. The labels are those of the models."""

from nova_credentials.messages import Sentence

# Labels
STATUSES = {
    "match": Sentence("status_match", "Match"),
    "mismatch": Sentence("status_mismatch", "Mismatch"),
    "missing_in_aws": Sentence("status_missing_in_aws", "Missing in AWS"),
    "missing_in_postgres": Sentence("status_missing_in_postgres", "Missing in PostgreSQL"),
    "unchecked": Sentence("status_unchecked", "Could not check"),
}
OUTCOMES = {
    "created": Sentence("outcome_created", "Created"),
    "updated": Sentence("outcome_updated", "Updated"),
    "unchanged": Sentence("outcome_unchanged", "Unchanged"),
    "restored": Sentence("outcome_restored", "Restored"),
    "compared": Sentence("outcome_compared", "Compared"),
    "skipped": Sentence("outcome_skipped", "Skipped"),
    "failed": Sentence("outcome_failed", "Failed"),
    "moved": Sentence("outcome_moved", "Moved"),
    "refused": Sentence("outcome_refused", "Refused"),
    "tested": Sentence("outcome_tested", "Logins work"),
}
REQUEST_STATES = {
    "requested": Sentence("request_requested", "Requested"),
    "waiting": Sentence("request_waiting", "Waiting"),
    "done": Sentence("request_done", "Done"),
    "failed": Sentence("request_failed", "Failed"),
    "cancelled": Sentence("request_cancelled", "Cancelled"),
}
RUNS = {
    "migrate": Sentence("run_migrate", "Migration %(id)s"),
    "push": Sentence("run_push", "Push %(id)s"),
    "compare": Sentence("run_compare", "Comparison %(id)s"),
    "move": Sentence("run_move", "Move run %(id)s"),
    "layout": Sentence("run_layout", "Change of layout %(id)s"),
    "test_logins": Sentence("run_test_logins", "Login tests %(id)s"),
    "rotate": Sentence("run_rotate", "Rotation %(id)s"),
    "secret_settings": Sentence("run_secret_settings", "Key and regions %(id)s"),
    "to_aws": Sentence("run_to_aws", "Copies to AWS %(id)s"),
    "to_postgres": Sentence("run_to_postgres", "Copies to PostgreSQL %(id)s"),
}

# Conditions of a gate
PUSH_PENDING = Sentence(
    "push_pending", "A push is pending: the client's newest values are not in AWS yet."
)
NO_PUSH_PENDING = Sentence("no_push_pending", "No push is pending.")
NEVER_COMPARED = Sentence("never_compared", "It was never compared: compare it first.")
NEWEST_COMPARISON = Sentence("newest_comparison", "Newest comparison: %(result)s, %(ago)s ago.")
COMPARISON_TOO_OLD = Sentence(
    "comparison_too_old", "The newest comparison is older than %(n)s minutes: compare again."
)
CLEAN_STREAK = Sentence(
    "clean_streak",
    "%(n)s comparisons in a row matched since this phase began; needed: %(wanted)s.",
    one="%(n)s comparison in a row matched since this phase began; needed: %(wanted)s.",
)
IN_A_RUN = Sentence("in_a_run", "This client is still waiting in %(run)s.")
IN_NO_RUN = Sentence("in_no_run", "No run is working on this client.")
WRITES_NOT_COUNTED = Sentence(
    "writes_not_counted",
    "Writes to this client's rows are not counted: a trigger is missing. Run manage.py migrate: it says what to grant.",
)
PROOF_FAILED = Sentence(
    "proof_failed",
    "A test update of %(tables)s was not counted (it was undone): look for a rule or a trigger there.",
)
WERE_UNCOUNTED = Sentence(
    "were_uncounted",
    "Writes were not counted for a time: every client has to be pushed again first.",
)
WRITES_COUNTED = Sentence("writes_counted", "Every write to this client's rows is counted.")
ACCOUNT_NOT_READY = Sentence("account_not_ready", "The AWS account is not ready: %(error)s")
ACCOUNT_READY = Sentence("account_ready", "The AWS account has the permissions for this.")
GATE_IS_SHUT = Sentence("gate_is_shut", "%(slug)s can't move to %(new)s yet: %(reasons)s")

# What a first push wants
NAME_NOT_ALLOWED = Sentence(
    "name_not_allowed", "The secret's name is not valid, change the slug: %(why)s."
)
NAME_ALLOWED = Sentence("name_allowed", "The secret's name is valid.")
NO_LOGIN = Sentence("no_login", "It has no login yet: add one.")
HAS_LOGINS = Sentence("has_logins", "It has %(n)s logins.", one="It has %(n)s login.")
NOT_TOO_LARGE = Sentence("not_too_large", "The credentials fit into a secret.")

# Refusals of a move
NEEDS_APPROVAL = Sentence(
    "needs_approval", "A second person has to approve this move: request it first."
)
MOVE_UNDER_WAY = Sentence(
    "move_under_way", "A push or another move of this client is under way; try again."
)
NOVA_WROTE = Sentence("nova_wrote", "NOVA has just written this client's rows; try again.")
COMPARED_JUST_NOW = Sentence("compared_just_now", "Compared just now: %(result)s")
STORES_DIFFER = Sentence("stores_differ", "Both stores were read just now, and they differ.")
NO_VALUE_IN_AWS = Sentence("no_value_in_aws", "AWS holds no value for %(rows)s.", glue=", ")
REPLACED_NOT_KEPT = Sentence(
    "replaced_not_kept",
    "PostgreSQL and AWS were both changed, and PostgreSQL's values could not be kept in AWS: %(error)s",
)
NOTHING_ASKED_FOR = Sentence("nothing_asked_for", "The request is no longer open.")
CLIENT_GONE = Sentence("client_gone", "The client no longer exists.")

# What became of a move
READS_AWS = Sentence(
    "reads_aws", "From now NOVA reads it from AWS. PostgreSQL keeps receiving every write."
)
ONLY_IN_AWS = Sentence("only_in_aws", "Only AWS holds the secret values now.")
RESTORED = Sentence("restored", "PostgreSQL holds its secret values again.")
RESTORED_ALL_BUT_NEWER = Sentence(
    "restored_all_but_newer", "NOVA's writes since the purge were kept, and are pushed next."
)
AWS_UNREAD = Sentence(
    "aws_unread", "AWS could not be read, so PostgreSQL's values were not checked: %(error)s"
)
NEWER_IN_POSTGRES = Sentence(
    "newer_in_postgres", "PostgreSQL holds a newer value, which is pushed next."
)
NOT_COPIED = Sentence(
    "not_copied", "PostgreSQL can't store AWS's values, and keeps its own: %(error)s"
)
COPIED_TO_POSTGRES = Sentence(
    "copied_to_postgres", "AWS was changed directly: its values were copied to PostgreSQL."
)
KEPT_AS_UNCOUNTED = Sentence(
    "kept_as_uncounted",
    "Some writes of NOVA may not have been counted: PostgreSQL's values are kept in AWS under the stage NOVA_REPLACED.",
)
ONLY_IN_POSTGRES = Sentence(
    "only_in_postgres", "Only PostgreSQL has %(rows)s; not changed.", glue=", "
)
MOVED_BY_RUN = Sentence("moved_by_run", "Part of %(run)s.")
ASKED_FOR_BY = Sentence("asked_for_by", "Requested by %(who)s.")
MOVED_MEANWHILE = Sentence("moved_meanwhile", "The client was moved to %(phase)s meanwhile.")

# The deletion of a client's secrets
TO_BE_DELETED = Sentence("to_be_deleted", "Deletion of its secret was requested.")
NO_SECRET = Sentence("no_secret", "The client has no secret to delete.")
DELETED_ON = Sentence(
    "deleted_on", "%(name)s is deleted on %(day)s; until then it can be restored."
)
DELETED_ALREADY = Sentence("deleted_already", "The deletion of %(name)s was scheduled already.")
KEPT_IN_USE = Sentence(
    "kept_in_use", "%(name)s was kept: its client is there again, or somebody works on it."
)
KEPT_NOT_OURS = Sentence("kept_not_ours", "%(name)s was not changed: it is not ours.")
KEPT_MOVED_ON = Sentence(
    "kept_moved_on", "%(name)s was not changed: the client was moved meanwhile."
)
KEPT_AFTER_ERROR = Sentence("kept_after_error", "%(name)s was not changed: %(error)s")

# Requests
AT_ONCE = Sentence("at_once", "This move needs no approval: make it directly.")
ASKED_ALREADY = Sentence(
    "asked_already",
    "%(slug)s has an open request already: it has to be approved or cancelled first.",
)
OWN_REQUEST = Sentence(
    "own_request", "The person who requested it can't approve it: somebody else has to."
)
OTHER_REQUEST_SHOWN = Sentence(
    "other_request_shown",
    "Nothing was approved: this isn't the request that the page showed. Look at it again.",
)
OTHER_NUMBER_SHOWN = Sentence(
    "other_number_shown",
    "Nothing was approved: the page showed %(shown)s, and now it would be %(n)s clients. Look at it again.",
    one="Nothing was approved: the page showed %(shown)s, and now it would be %(n)s client. Look at it again.",
)
OTHER_CLIENTS_SHOWN = Sentence(
    "other_clients_shown",
    "Nothing was approved: some of the %(n)s clients are others than the page showed, or renamed. Look at it again.",
    one="Nothing was approved: the client is another than the page showed, or renamed. Look at it again.",
)
REQUEST_OVER = Sentence("request_over", "This request is closed already: %(state)s, by %(who)s.")
SOMEBODY = Sentence("somebody", "somebody")
ASKED_FOR = Sentence("asked_for", "Requested (request %(id)s): somebody else has to approve it.")
ASK_BY_COMMAND = Sentence(
    "ask_by_command",
    "A second person has to approve this move: request it with --by USER --reason TEXT.",
)
MOVES_ASKED_FOR = Sentence(
    "moves_asked_for", "Requested (%(run)s): somebody else has to approve it."
)
RUN_NOT_REQUESTED = Sentence(
    "run_not_requested", "%(run)s is not waiting for an approval: it is %(state)s."
)
MAY_NOT_ASK = Sentence("may_not_ask", "%(who)s has no permission to request it.")
REASON_TOO_LONG = Sentence(
    "reason_too_long",
    "Nothing was done: the reason has %(n)s characters. Shorten it to %(most)s.",
)
REASON_NOT_STORABLE = Sentence(
    "reason_not_storable",
    "Nothing was done: the reason contains a character that can't be stored. Remove it.",
)
REASON_MISSING = Sentence("reason_missing", "Nothing was done: type a reason.")

# Whether this site may write to AWS
WRITES_STOPPED = Sentence(
    "writes_stopped",
    "%(who)s stopped all AWS writes %(ago)s ago. What waits is pushed once somebody starts them again.",
)
SOMEBODY_UNNAMED = Sentence("somebody_unnamed", "Somebody")
UNKNOWN = Sentence("unknown", "unknown")
AWS_IDENTITY = Sentence("aws_identity", "account %(account)s, key %(key)s")
WRITES_NOT_STOPPED = Sentence("writes_not_stopped", "AWS writes are not stopped.")
DATABASE_IS_COPY = Sentence(
    "database_is_copy",
    "This database is a duplicate, so nothing is written to AWS: it is reached as %(this)s and noted itself as"
    " %(noted)s. If it is the one that writes from now on, claim it.",
)
DATABASE_IS_THE_ONE = Sentence(
    "database_is_the_one", "This database is the one that writes to AWS: %(this)s."
)
DATABASE_NOT_NOTED = Sentence(
    "database_not_noted",
    "This database has not noted what it is, so nothing is written to AWS. Run manage.py migrate, or claim it.",
)
DATABASE_UNKNOWN = Sentence(
    "database_unknown", "This database did not say which one it is, so nothing is written to AWS."
)
DATABASE_CHANGED = Sentence(
    "database_changed",
    "This process began with another database than %(this)s, so it writes nothing to AWS. Find out why, then"
    " restart it.",
)
HOST_DIFFERS = Sentence(
    "host_differs",
    "This host differs from what all hosts share, so it writes nothing to AWS and takes no tasks: %(facts)s.",
    glue="; ",
)
FACT_DIFFERS = Sentence("fact_differs", "%(fact)s is %(here)s here, and %(noted)s is noted")
NO_KNOWN_SECRET = Sentence("no_known_secret", "one that has none of the newest secrets")
FACTS_AGREE = Sentence("facts_agree", "This host has what is noted for all hosts.")
CLIENTS_ARE_READ = Sentence(
    "clients_are_read",
    "NOVA reads %(n)s clients from AWS, whose secrets would not be found any more: %(facts)s. Move them back to"
    " dual_write first (docs/aws-writes.md).",
    glue="; ",
    one="NOVA reads %(n)s client from AWS, whose secrets would not be found any more: %(facts)s. Move it back to"
    " dual_write first (docs/aws-writes.md).",
)
RELEASE_IS_OLDER = Sentence(
    "release_is_older",
    "This process runs an older release than the database's schema, so it takes no new tasks. It doesn't know:"
    " %(names)s.",
    glue=", ",
)
RELEASE_IS_NEWER = Sentence(
    "release_is_newer",
    "This process runs a newer release than the database's schema, so it takes no tasks until migrate has run. Missing:"
    " %(names)s.",
    glue=", ",
)
VERSIONS_UNPROVED = Sentence(
    "versions_unproved",
    "None of %(n)s known versions in AWS was made with a version key of this database, so all count as somebody else's:"
    " its rows are missing, or migrate ran with another SECRET_KEY than the first release.",
    one="The one known version in AWS was not made with a version key of this database, so it counts as somebody"
    " else's: its row is missing, or migrate ran with another SECRET_KEY than the first release.",
)
IS_NO_COPY = Sentence("is_no_copy", "This database is the one that writes to AWS.")
WRITTEN_SINCE_BACKUP = Sentence(
    "written_since_backup",
    "The current version of %(name)s is one that this site wrote and that this database does not know: the tables are"
    " older than AWS. Compare, then copy one way.",
)

# Comparisons
NO_DOCUMENT = Sentence("no_document", "%(name)s does not hold a valid document.")
MISSING_IN_AWS = Sentence("missing_in_aws", "AWS has no value under %(names)s.", glue=" or ")
MISSING_IN_POSTGRES = Sentence(
    "missing_in_postgres", "The tables hold no credential of this client."
)
SCHEDULED_FOR_DELETION = Sentence("scheduled_for_deletion", "%(name)s is scheduled for deletion.")
NOTHING_TO_COMPARE = Sentence("nothing_to_compare", "Nothing to compare in either store.")

# Pushes
PUSH_TAKES_TOO_LONG = Sentence(
    "push_takes_too_long", "Another push or move of this client is taking too long."
)
NAME_IS_ANOTHERS = Sentence(
    "name_is_anothers",
    "The name %(name)s is still that of the secrets of the client %(slug)s, to which NOVA gave another slug: nothing is"
    " written there. It is free once AWS has deleted them.",
)
NOT_OURS = Sentence(
    "not_ours",
    "%(name)s exists already and is not ours: nothing in this database shows that this site wrote it for this client."
    " Adopt it, or change the client's slug.",
)
# Behind NOT_OURS: whose it is, as far as that is known.
OWNED_BY_CLIENT = Sentence("owned_by_client", "It is the secret of the client %(slug)s.")
OWNED_BY_DELETED_CLIENT = Sentence(
    "owned_by_deleted_client",
    "It is the secret of a client that NOVA has deleted since (its id was %(id)s).",
)
TAGGED_AS = Sentence("tagged_as", "Its tags say: %(tags)s.", glue=", ")
NOT_TAGGED = Sentence("not_tagged", "No tag says whose it is.")
NOT_CREATED = Sentence(
    "not_created",
    "AWS has no secret %(name)s any more, and in this phase AWS decides: no push makes it anew."
    " Take it back in AWS, or roll the client back to dual read.",
)
FOREIGN_VERSION = Sentence(
    "foreign_version",
    "The current version of %(name)s is one that somebody else wrote, and in this phase AWS decides."
    " Compare, then copy one way.",
)
POSTPONED = Sentence("postponed", "It waited too long for the rate limit; the run tries it again.")
NOT_PUSHED_PURGED = Sentence(
    "not_pushed_purged", "Purged: the tables hold pointers, AWS holds the values."
)
NOT_PUSHED_BACK = Sentence("not_pushed_back", "The client was moved back to PostgreSQL meanwhile.")
NOT_PUSHED_INACTIVE = Sentence("not_pushed_inactive", "Inactive.")
NOT_PUSHED_EMPTY = Sentence("not_pushed_empty", "No credentials.")
READ_BACK_DIFFERS = Sentence(
    "read_back_differs", "The secret was read back and differs from what was written."
)

# Resolutions, reveals and saves
NO_COMPARISON = Sentence("no_comparison", "There is nothing to compare.")
TRY_AGAIN_LATER = Sentence(
    "try_again_later", "A push or a move of this client is under way; try again."
)
NEWER_WOULD_BE_LOST = Sentence(
    "newer_would_be_lost",
    "A push is pending: PostgreSQL holds a newer value, and copying would lose it.",
)
NEWER_MAY_BE_LOST = Sentence(
    "newer_may_be_lost",
    "NOVA's writes are not counted now: PostgreSQL may hold a newer value, and copying would lose it.",
)
NOT_IN_AWS = Sentence("not_in_aws", "AWS has no %(rows)s: not changed.", glue=", ")
NO_MISMATCH = Sentence("no_mismatch", "There is no mismatch to acknowledge.")
COMPARED_SINCE = Sentence(
    "compared_since", "A newer comparison found other differences. Look at them first."
)
RESTORE_FIRST = Sentence(
    "restore_first", "It is purged: the tables hold pointers. Restore it first."
)
AWS_NOT_READ = Sentence("aws_not_read", "AWS could not be read: %(error)s")
SAVE_UNDER_WAY = Sentence(
    "save_under_way",
    "Nothing was saved: a push or a move of this client is under way. Try again.",
)
NOTHING_SAVED = Sentence("nothing_saved", "Nothing was saved: %(error)s")
NOTHING_CONFIRMED = Sentence(
    "nothing_confirmed",
    "Nothing was saved: %(error)s If AWS stored it all the same, the next comparison shows a mismatch.",
)
SAVED_IN_PART = Sentence(
    "saved_in_part",
    "AWS has a part of it already, in %(names)s, and NOVA reads that; nothing else was saved: %(error)s Save it again.",
    glue=", ",
)
SAVED_NOT_PUSHED = Sentence(
    "saved_not_pushed", "Saved; the push to AWS is pending and will be retried: %(reason)s"
)

# Runs, and what they wait for
RUN_IN_OTHER_STATE = Sentence(
    "run_in_other_state", "%(run)s is %(state)s; it can't become %(wanted)s."
)
RUN_INTERRUPTED = Sentence("run_interrupted", "The run was interrupted.")
RUN_STOPPED = Sentence("run_stopped", "The run was stopped.")
RUN_WITHDRAWN = Sentence("run_withdrawn", "The request was withdrawn or refused.")
RUN_CANT_GO_ON = Sentence(
    "run_cant_go_on",
    "%(run)s can't go on: its request was withdrawn or refused. Request the moves again.",
)
CLIENT_NOT_THERE = Sentence("client_not_there", "The client no longer exists.")
UNEXPECTED_ERROR = Sentence(
    "unexpected_error", "Unexpected error %(code)s: the worker's log shows where."
)
