"""Holds the sentences of notices: what a mail or a webhook tells. Names are in them, never a value."""

from nova_credentials.messages import Sentence

# What holds for some clients
MISMATCHES_OPENED = Sentence(
    "mismatches_opened",
    "%(n)s more fields differ between PostgreSQL and AWS. Clients: %(names)s",
    glue=", ",
    one="One more field differs between PostgreSQL and AWS. Client: %(names)s",
)
ROTATIONS_STOPPED = Sentence(
    "rotations_stopped",
    "%(n)s rotations stopped, and somebody has to look which secret is valid: %(names)s",
    glue=", ",
    one="A rotation stopped, and somebody has to look which secret is valid: %(names)s",
)
ROTATIONS_REFUSED = Sentence(
    "rotations_refused",
    "%(n)s rotations failed, and changed nothing: %(names)s",
    glue=", ",
    one="A rotation failed, and changed nothing: %(names)s",
)
ROTATIONS_OVERDUE = Sentence(
    "rotations_overdue",
    "The database passwords of %(n)s more clients are overdue for their rotation: %(names)s",
    glue=", ",
    one="The database password of one more client is overdue for its rotation: %(names)s",
)
SEARCH_FOUND_COPIES = Sentence(
    "search_found_copies",
    "A search found copies of secret values in %(n)s more places. Clients: %(names)s",
    glue=", ",
    one="A search found a copy of secret values in one more place. Client: %(names)s",
)
OVER_FOR_CLIENTS = Sentence(
    "over_for_clients",
    "This is over for %(n)s clients: %(names)s",
    glue=", ",
    one="This is over for one client: %(names)s",
)

# Runs and campaigns
RUN_ENDED = Sentence(
    "run_ended",
    "%(run)s has finished: %(n)s clients, %(failed)s failed, %(refused)s refused, %(differ)s differ.",
    one="%(run)s has finished: one client, %(failed)s failed, %(refused)s refused, %(differ)s differs.",
)
RUN_ENDED_BY_STOP = Sentence(
    "run_ended_by_stop",
    "%(run)s was stopped: %(n)s clients, %(left)s not begun, %(failed)s failed, %(refused)s refused,"
    " %(differ)s differ.",
    one="%(run)s was stopped: one client, %(left)s not begun, %(failed)s failed, %(refused)s refused,"
    " %(differ)s differs.",
)

# What somebody did: `what` is the audit's own sentence
NOTICE_OF_ACT = Sentence("notice_of_act", "%(who)s: %(what)s")
NOTICE_OF_ACT_ON_CLIENT = Sentence("notice_of_act_on_client", "%(who)s, client %(slug)s: %(what)s")

# What holds for a time
AWS_ANSWERS_NOT = Sentence(
    "aws_answers_not",
    "AWS has not answered in any of the newest comparisons (%(error)s): nothing can be pushed or compared.",
)
WORKERS_WERE_GONE = Sentence(
    "workers_were_gone",
    "No worker was running for %(n)s minutes: nothing was pushed or compared. Workers run again.",
)
AUDIT_DOES_NOT_HOLD = Sentence(
    "audit_does_not_hold",
    "The audit is not as this site wrote it: %(n)s faults. Run verify_audit and keep what it prints.",
    one="The audit is not as this site wrote it: one fault. Run verify_audit and keep what it prints.",
)
AUDIT_KEY_NOT_SET = Sentence(
    "audit_key_not_set",
    "The audit can't be verified: entries name keys that are not set on this host (%(keys)s). Run verify_audit.",
    glue=", ",
)
IS_OVER = Sentence("is_over", "This is over; it began %(ago)s ago: %(what)s")

# The text of a mail, and its end
NOTICE_TEST = Sentence(
    "notice_test", "%(who)s sent this notice to see whether notices get here. Nothing has happened."
)
SENT_BY_SITE = Sentence(
    "sent_by_site",
    "NOVA Admin (%(site)s) sent this. Its page “Notices” says what is told, and to whom.",
)
NOTICES_SET = Sentence(
    "notices_set",
    "Set what is told by mail (%(mail)s) and by webhook (%(webhook)s).",
    glue=", ",
)
NO_EVENT = Sentence("no_event", "nothing")
