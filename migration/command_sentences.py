"""Holds what commands say about the run that they wait for."""

from nova_credentials.messages import Sentence

RUN_GOES_ON = Sentence(
    "run_goes_on",
    "%(run)s goes on with the workers: %(done)s of %(total)s clients are done (%(failed)s failed), %(rest)s are not."
    " Wait for it again: manage.py resume_run %(id)s (with --inline this process works on it too).",
)
RUN_CUT_SHORT = Sentence(
    "run_cut_short",
    "%(run)s is stopped: %(done)s of %(total)s clients are done (%(failed)s failed), %(rest)s are not."
    " Go on with the rest: manage.py resume_run %(id)s --inline",
)
BATCHES_END_FIRST = Sentence(
    "batches_end_first",
    "Interrupted: the batches in work are finished first. Press Ctrl+C again to end at once."
    " Then go on with: manage.py resume_run %(id)s --inline",
)
RUN_HAS_NO_REST = Sentence("run_has_no_rest", "%(run)s is finished: nothing is left to go on with.")
RUN_FAILED_ARE_LEFT = Sentence(
    "run_failed_are_left",
    "%(run)s is finished: no client is left to go on with, but %(n)s failed. Try them again with --failed.",
    one="%(run)s is finished: no client is left to go on with, but one failed. Try it again with --failed.",
)
RUN_REFUSED_ARE_LEFT = Sentence(
    "run_refused_are_left",
    "%(run)s is finished: no client is left to go on with, but %(n)s were refused. Try them again with --failed.",
    one="%(run)s is finished: no client is left to go on with, but one was refused. Try it again with --failed.",
)
RUN_WAITS = Sentence("run_waits", "%(run)s waits, and workers go on with it. %(why)s")
NO_PROGRESS = Sentence(
    "no_progress",
    "%(run)s has made no progress for %(seconds)s s; it stays queued."
    " Is a worker running? Start one with: manage.py qcluster",
)
QUEUE_NOT_REACHED = Sentence(
    "queue_not_reached", "The task queue cannot be reached: the run starts once it is back."
)
