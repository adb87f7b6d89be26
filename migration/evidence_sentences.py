"""Holds the sentences about evidence and its override, as `sentences.py` holds the others."""

from nova_credentials.messages import Sentence

EVIDENCE = {
    "streak": Sentence("evidence_streak", "matching comparisons"),
    "time": Sentence("evidence_time", "time in the phase"),
    "reads": Sentence("evidence_reads", "reads by NOVA"),
    "processes": Sentence("evidence_processes", "NOVA processes seen"),
    "failures": Sentence("evidence_failures", "no failure at AWS"),
    "copies": Sentence("evidence_copies", "search for copies"),
}
SECONDS = Sentence("seconds", "%(n)s seconds", one="%(n)s second")
MINUTES = Sentence("minutes", "%(n)s minutes", one="%(n)s minute")
HOURS = Sentence("hours", "%(n)s hours", one="%(n)s hour")
DAYS = Sentence("days", "%(n)s days", one="%(n)s day")
TIME_IN_PHASE = Sentence("time_in_phase", "In the phase %(phase)s for %(age)s; needed: %(wanted)s.")
STREAK_APART = Sentence("streak_apart", "%(n)s, at least %(time)s apart")
TOO_FEW_READS = Sentence(
    "too_few_reads", "NOVA's reader: %(n)s of %(wanted)s reads since dual read began."
)
READS_IN_DUAL_READ = Sentence(
    "reads_in_dual_read",
    "NOVA's reader: %(n)s reads since dual read began found both stores equal.",
    one="NOVA's reader: %(n)s read since dual read began found both stores equal.",
)
ANSWERED_BY_AWS = Sentence(
    "answered_by_aws", "NOVA's reader: its last read answered by AWS was %(ago)s ago."
)
NOT_ANSWERED_BY_AWS = Sentence(
    "not_answered_by_aws",
    "NOVA's reader: no read in the last day was answered by AWS since this phase began.",
)
INACTIVE_CLIENT = Sentence(
    "inactive_client",
    "%(reads)s NOVA reads no inactive client: make it active, or have this line overridden with a reason.",
)
READER_PROCESSES = Sentence(
    "reader_processes",
    "%(n)s NOVA processes that read with this package were seen in the last hour.",
    one="%(n)s NOVA process that reads with this package was seen in the last hour.",
)
NO_READER_PROCESS = Sentence(
    "no_reader_process",
    "No NOVA process that reads with this package was seen in the last hour.",
)
COPIES_NOT_SEARCHED = Sentence(
    "copies_not_searched",
    "Nobody has looked for copies of its secret values in NOVA's database since this phase began.",
)
NO_COPIES_FOUND = Sentence(
    "no_copies_found",
    "NOVA's database held no copy of its secret values %(ago)s ago, and nothing was left unlooked at.",
)
COPIES_FOUND = Sentence(
    "copies_found",
    "On %(when)s rows with a copy of its secret values: %(n)s; places that were not looked at: %(places)s.",
)
SWITCHED_OFF = Sentence("switched_off", "Switched off (%(setting)s=0): %(what)s.")
SHUT_BY_THESE_FACTS = Sentence(
    "shut_by_these_facts", "The gate is shut, and nobody can override this: %(what)s"
)
EVIDENCE_MISSING_TOO = Sentence(
    "evidence_missing_too", "Evidence is missing too: %(what)s.", glue=", "
)
SHUT_BY_EVIDENCE = Sentence(
    "shut_by_evidence",
    "The gate is shut because nothing proves yet that NOVA can work from AWS alone; missing: %(what)s.",
    glue=", ",
)
MAY_NOT_OVERRIDE = Sentence(
    "may_not_override", "%(who)s has no permission to override missing evidence."
)
OVERRIDDEN = Sentence("overridden", "Missing evidence was overridden: %(lines)s")
OVERRIDES = Sentence("overrides", "The request overrides missing evidence: %(lines)s")
READER_MET_MISMATCH = Sentence(
    # The 30 minutes are FRESH; a test fails where they differ.
    "reader_met_mismatch",
    "NOVA's reader found a mismatch %(ago)s ago; this passes 30 minutes after the last one.",
)
READER_MET_NONE = Sentence("reader_met_none", "NOVA's reader found no mismatch recently.")
READER_FAILED_AT_AWS = Sentence(
    # The 30 minutes are FRESH; a test fails where they differ.
    "reader_failed_at_aws",
    "NOVA's reader could not read it from AWS %(ago)s ago (%(cause)s); this passes 30 minutes after the last failure,"
    " or after %(n)s good reads.",
)
# By `AwsFailure`.
FAILURE_CAUSES = {
    "permission": Sentence("failure_permission", "No permission, or no AWS credentials"),
    "throttled": Sentence("failure_throttled", "AWS limits the rate"),
    "unavailable": Sentence("failure_unavailable", "AWS gave no usable answer"),
    "conflict": Sentence("failure_conflict", "The secret is missing, or its state forbids reading"),
    "data": Sentence("failure_data", "AWS refuses the request"),
    "late": Sentence("failure_late", "AWS answered too late"),
    "no_document": Sentence("failure_no_document", "The secret holds no valid document"),
    "unexpected": Sentence("failure_unexpected", "Unexpected error: NOVA's log shows which"),
}
FAILURE_CAUSE_UNKNOWN = Sentence(
    "failure_cause_unknown", "an earlier release of the package doesn't say why"
)
READER_FAILED_NEVER = Sentence(
    "reader_failed_never", "NOVA's reader had no failure at AWS recently."
)
