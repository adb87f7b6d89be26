"""The doctor's sentences about notices. They name hosts, and no address of a webhook."""

from nova_credentials.messages import Sentence

NOTICES_REACH = Sentence(
    "notices_reach",
    "Notices are set to reach %(n)s recipients, and none of them fails.",
    one="Notices are set to reach one recipient, and it does not fail.",
)
NOTICES_REACH_NOBODY = Sentence(
    "notices_reach_nobody",
    "Notices are set to reach nobody (NOVA_NOTIFY_URLS, NOVA_NOTIFY_EMAILS).",
)
SET_WHOM_NOTICES_REACH = Sentence(
    "set_whom_notices_reach",
    "Set one of them, and start the site and its workers anew: otherwise nobody hears when a campaign stops, when both"
    " stores differ, or when AWS does not answer. docs/notices.md has more.",
)
NOTICES_FAIL = Sentence(
    "notices_fail", "The newest notice to %(host)s (%(way)s) failed: %(problem)s."
)
NOTICES_WAIT = Sentence(
    "notices_wait",
    "%(n)s notices to %(host)s (%(way)s) have been waiting, the oldest for %(ago)s.",
    one="A notice to %(host)s (%(way)s) has been waiting for %(ago)s.",
)
SEE_THE_NOTICES = Sentence(
    "see_the_notices",
    "The page “Notices” has a test. docs/notices.md says what each problem means; a worker has to run.",
)
