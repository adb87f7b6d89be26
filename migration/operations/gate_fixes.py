"""Names what makes a failed check of a gate pass. Pages lead there."""

from __future__ import annotations

from enum import StrEnum

from migration.operations.evidence import Evidence


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
    Evidence.COPIES: CheckFix.COPIES,
}
