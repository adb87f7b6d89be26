"""Names the checks of a gate, and what makes a failed one pass: pages lead there."""

from __future__ import annotations

from enum import StrEnum

from migration.operations.evidence import Evidence


class CheckCode(StrEnum):
    """The code of a check, named after what is wrong where it fails."""

    PUSH_PENDING = "push_pending"
    NEVER_COMPARED = "never_compared"
    NEWEST_COMPARISON = "newest_comparison"
    COMPARISON_TOO_OLD = "comparison_too_old"
    IN_A_RUN = "in_a_run"
    WRITES_NOT_COUNTED = "writes_not_counted"
    PROOF_FAILED = "proof_failed"
    WERE_UNCOUNTED = "were_uncounted"
    READER_MET_MISMATCH = "reader_met_mismatch"
    READER_FAILED_AT_AWS = "reader_failed_at_aws"
    LOGIN_REFUSED = "aws_login_refused"
    ACCOUNT_NOT_READY = "account_not_ready"
    NAME_NOT_ALLOWED = "name_not_allowed"
    NO_DOCUMENT = "no_document"
    NO_LOGIN = "no_login"
    TOO_LARGE = "secret_too_large"
    DATABASE_IS_COPY = "database_is_copy"
    HOST_DIFFERS = "host_differs"
    WRITES_STOPPED = "writes_stopped"


class CheckFix(StrEnum):
    """The action that can make a failed check pass."""

    PUSH = "push"
    COMPARE = "compare"
    COMPARISON = "comparison"  # look at the comparison `Check.about`
    RUN = "run"  # look at the run `Check.about`
    READS = "reads"
    NOVA_TABLES = "nova_tables"  # map columns, accept objects
    READERS = "readers"
    COPIES = "copies"
    SLUG = "slug"  # change it
    LOGINS = "logins"  # add or change one
    LOGIN_TESTS = "login_tests"  # correct the login, and test it again
    ADOPT = "adopt"  # take over a secret that this site did not make
    AWS_WRITES = "aws_writes"  # claim the database, let writes go on
    CHECK_NOVA = "check_nova"  # it says what to run or to grant
    NONE = "none"  # the text says what to do outside this site


FIXES: dict[str, CheckFix] = {
    Evidence.STREAK: CheckFix.COMPARE,
    Evidence.READS: CheckFix.READS,
    Evidence.PROCESSES: CheckFix.READERS,
    Evidence.FAILURES: CheckFix.READS,
    Evidence.COPIES: CheckFix.COPIES,
}
