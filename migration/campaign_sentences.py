"""Holds the sentences of campaigns: why one can't be started, why it stopped by itself, and what it waits for."""

from nova_credentials.messages import Sentence

CAMPAIGN = Sentence("campaign", "Campaign %(id)s")
WAVE = Sentence("wave", "wave %(number)s (%(group)s)")
# Of a group that is called so.
WAVE_OF_THAT_NAME = Sentence("wave_of_that_name", "wave %(number)s")
# The same of a campaign that takes a group in several waves.
WAVE_PART = Sentence("wave_part", "wave %(number)s, part %(part)s (%(group)s)")
PART_OF_WAVE_OF_THAT_NAME = Sentence("part_of_wave_of_that_name", "wave %(number)s, part %(part)s")

# Why a campaign is refused
NO_GROUPS = Sentence("no_groups", "Nothing was started: choose at least one group.")
GROUP_TWICE = Sentence("group_twice", "Nothing was started: %(group)s is listed more than once.")
GROUP_NOT_THERE = Sentence(
    "group_not_there", "Nothing was started: the group %(group)s has been deleted since."
)
GROUP_TAKEN = Sentence(
    "group_taken",
    "Nothing was started: %(campaign)s, which is not over, takes %(group)s. Cancel that one first.",
)
GOAL_NOT_POSSIBLE = Sentence(
    "goal_not_possible",
    "Nothing was started: a campaign takes clients to dual write, dual read or AWS, not to %(phase)s.",
)
LIMIT_TOO_LOW = Sentence(
    "limit_too_low",
    "Nothing was started: a limit of the stop rule is 1 or more, the size and the soak time 0 or more.",
)
LIMIT_TOO_HIGH = Sentence(
    "limit_too_high", "Nothing was started: %(number)s is more than can be stored."
)
SOAKS_TOO_SHORT = Sentence(
    "soaks_too_short",
    "Nothing was started: the gate to AWS wants %(wanted)s in dual read, and the campaign would try it after %(soak)s."
    " Every client would be refused. Make the soak time longer.",
)
HALF_THE_HOURS = Sentence(
    "half_the_hours",
    "Nothing was started: give both ends of the hours of the day, or neither.",
)
CAMPAIGN_IN_OTHER_STATE = Sentence(
    "campaign_in_other_state", "Nothing was done: %(campaign)s is %(state)s."
)
RUN_STILL_IN_WORK = Sentence(
    "run_still_in_work",
    "Nothing was done: %(run)s is still in work, and may leave more clients. Try again once it has ended.",
)
OTHERS_ARE_STUCK = Sentence(
    "others_are_stuck",
    "Nothing was done: other clients hold it up now, %(n)s of them. Look at them again.",
    one="Nothing was done: another client holds it up now. Look at it again.",
)

# Why a campaign stopped by itself
MISMATCHES_REACHED = Sentence(
    "mismatches_reached",
    "In %(wave)s %(n)s clients differ; the campaign stops at %(limit)s.",
    one="In %(wave)s %(n)s client differs; the campaign stops at %(limit)s.",
)
FAILED_READS_REACHED = Sentence(
    "failed_reads_reached",
    "In %(wave)s %(n)s reads by NOVA failed at AWS; the campaign stops at %(limit)s.",
    one="In %(wave)s %(n)s read by NOVA failed at AWS; the campaign stops at %(limit)s.",
)
REFUSALS_REACHED = Sentence(
    "refusals_reached",
    "In %(wave)s the moves of at least %(n)s clients were refused when it stopped; the campaign stops at %(limit)s.",
    one="In %(wave)s the move of at least %(n)s client was refused when it stopped; the campaign stops at %(limit)s.",
)
RUN_WAS_STOPPED = Sentence(
    "run_was_stopped", "%(run)s of %(wave)s was stopped; the campaign stops with it."
)
NOBODY_TO_ASK = Sentence(
    "nobody_to_ask",
    "Its cutover needs an approval now, and no user asked for it. Cancel it, and start another in a user's name.",
)
CAMPAIGN_GROUP_IS_GONE = Sentence("campaign_group_is_gone", "The group of %(wave)s was deleted.")
ROLLS_BACK = Sentence(
    "rolls_back",
    "Its clients that are read from AWS are rolled back, each where AWS can be read and holds what PostgreSQL holds.",
)
STOPPED_BY = Sentence("stopped_by", "%(who)s stopped it.")
STOPPED_BY_COMMAND = Sentence("stopped_by_command", "Somebody stopped it by command.")

# What else happened to it
WENT_ON_BY = Sentence("went_on_by", "%(who)s had it go on.")
WENT_ON = Sentence("went_on", "It went on.")
ASKED_AGAIN_BY = Sentence("asked_again_by", "%(who)s had it go on; it waits for an approval.")
HAS_FINISHED = Sentence("has_finished", "It finished.")
WAS_CANCELLED_BY = Sentence("was_cancelled_by", "%(who)s cancelled it.")
WAS_CANCELLED = Sentence("was_cancelled", "It was cancelled by command.")

# Why the automatic rollback leaves a client
LEFT_UNREAD = Sentence("left_unread", "Not rolled back: AWS could not be read. %(error)s")
LEFT_DIFFERING = Sentence(
    "left_differing",
    "Not rolled back: both stores differ. Look at the mismatch, then roll it back by hand.",
)

# What a campaign waits for
WAITS_FOR_APPROVAL = Sentence(
    "waits_for_approval", "Requested: it begins once somebody else has approved it."
)
WAITS_FOR_RUN = Sentence("waits_for_run", "%(run)s of %(wave)s is in work.")
WAITS_FOR_PAUSED_RUN = Sentence(
    "waits_for_paused_run", "%(run)s of %(wave)s is paused. Resume it, or stop it."
)
WAITS_FOR_REQUESTED_RUN = Sentence(
    "waits_for_requested_run",
    "%(run)s of %(wave)s waits for an approval: somebody wants its refused clients tried again.",
)
WAITS_FOR_ROLLBACK = Sentence(
    "waits_for_rollback", "The rollback of %(wave)s begins once its moves have ended."
)
SOAKS = Sentence("soaks", "%(wave)s soaks until %(until)s.")
WAITS_FOR_HOURS = Sentence(
    "waits_for_hours", "The next step begins between %(begin)s and %(end)s (%(zone)s)."
)
SOAKED_AND_WAITS = Sentence(
    "soaked_and_waits",
    "%(wave)s has soaked; it waits for %(n)s clients, until %(until)s at the latest: %(kept)s.",
    one="%(wave)s has soaked; it waits for %(n)s client, until %(until)s at the latest: %(kept)s.",
    glue=", ",
)
BEGUN_AND_WAITS = Sentence(
    "begun_and_waits",
    "%(wave)s has begun; it waits for %(n)s clients, until %(until)s at the latest: %(kept)s.",
    one="%(wave)s has begun; it waits for %(n)s client, until %(until)s at the latest: %(kept)s.",
    glue=", ",
)
# Why these clients wait: the parts that are named in the two sentences above
KEPT_IN_A_RUN = Sentence("kept_in_a_run", "%(n)s in a run")
KEPT_PUSH_PENDING = Sentence(
    "kept_push_pending",
    "%(n)s whose push to AWS is pending",
)
KEPT_NEVER_COMPARED = Sentence("kept_never_compared", "%(n)s not compared yet")
KEPT_TOO_OLD = Sentence("kept_too_old", "%(n)s whose newest comparison is too old")
KEPT_FEW_MATCHES = Sentence(
    "kept_few_matches",
    "%(n)s with too few matches in a row so far (needed: %(wanted)s)",
)
KEPT_SHORT_TIME = Sentence(
    "kept_short_time",
    "%(n)s not long enough in the phase yet (needed: %(wanted)s)",
)
KEPT_FEW_READS = Sentence(
    "kept_few_reads", "%(n)s with too few reads by NOVA so far (needed: %(wanted)s)"
)
KEPT_BY_READER = Sentence(
    "kept_by_reader",
    "%(n)s of which NOVA's reader met a mismatch or a failure in the last %(wanted)s",
)
STEP_IS_DUE = Sentence(
    "step_is_due",
    "The next step has been due for %(since)s; the workers look each minute whether it may begin.",
)

# How long it usually takes until it is there what a step waits for
USUAL_COMPARISON = Sentence(
    "usual_comparison",
    "Usually it is a matter of minutes: the workers compare every client each %(n)s minutes.",
    one="Usually it is a matter of minutes: the workers compare every client each minute.",
)
USUAL_STREAK = Sentence(
    "usual_streak",
    "Each comparison that matches counts: the workers make one each %(n)s minutes.",
    one="Each comparison that matches counts: the workers make one each minute.",
)
USUAL_PUSH = Sentence("usual_push", "Usually a push is made within a minute.")
USUAL_RUN = Sentence("usual_run", "Usually a run takes some minutes.")
USUAL_READER = Sentence(
    "usual_reader",
    "After a mismatch or a failure that NOVA's reader met, %(wanted)s have to pass without another; after a failure,"
    " some good reads do as well.",
)
USUAL_READS = Sentence("usual_reads", "NOVA's reads are counted as NOVA serves these clients.")
