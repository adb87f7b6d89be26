"""The sentences that say what a run waits for."""

from nova_credentials.messages import Sentence

RUN_REQUESTED = Sentence(
    "run_requested", "Requested: it begins once somebody else has approved it."
)
RUN_PAUSED = Sentence("run_paused", "Paused. Resume it, or stop it.")
RUN_STOPPING = Sentence("run_stopping", "Stopping: workers finish their current batches.")
BATCHES_TAKE_LONG = Sentence(
    "batches_take_long", "Batches are slow: AWS answers late, or the rate is low."
)
NO_WORKER = Sentence("no_worker", "No worker is running. Start one with: manage.py qcluster")
NOT_BEGUN_NO_WORKER = Sentence(
    "not_begun_no_worker",
    "No worker is running, so nothing happens. Start one with: manage.py qcluster"
    " (or press Ctrl+C and run this command again with --inline; the run stays queued for the next worker)",
)
NOT_BEGUN = Sentence(
    "not_begun",
    "No worker has begun this run: all are busy, or the last one has just ended."
    " Then start one with: manage.py qcluster",
)
WORKER_GONE = Sentence(
    "worker_gone", "The worker is gone or busy with other runs; this run continues within a minute."
)
WORKERS_ARE_BUSY = Sentence(
    "workers_are_busy",
    "The workers are on other runs; this run continues once one of them is free.",
)
TRIED_AGAIN = Sentence(
    "tried_again",
    "%(n)s clients are tried again in %(wait)s s: %(why)s",
    one="%(n)s client is tried again in %(wait)s s: %(why)s",
)
TRIED_AGAIN_WITHOUT_REASON = Sentence(
    "tried_again_without_reason",
    "%(n)s clients are tried again in %(wait)s s.",
    one="%(n)s client is tried again in %(wait)s s.",
)
THROTTLED = Sentence("throttled", "AWS throttles (ThrottlingException); all workers slow down.")
RATE_REACHED = {
    "create": Sentence(
        "rate_reached_create", "The rate allows no more: %(rate)s new secrets a second."
    ),
    "write": Sentence("rate_reached_write", "The rate allows no more: %(rate)s updates a second."),
    "read": Sentence(
        "rate_reached_read", "The rate allows no more: %(rate)s batch reads a second."
    ),
    "login": Sentence("rate_reached_login", "The rate allows no more: %(rate)s logins a second."),
}
