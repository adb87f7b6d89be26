"""Examines whether this database may write to AWS: it is no duplicate, and nobody has stopped the writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from migration.models.write_state import read_aws_write_state
from migration.operations.aws_writes import describe_who_stopped_writes, write_guard
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.doctor.sentences import SEE_AWS_WRITES
from migration.sentences import IS_NO_COPY, WRITES_NOT_STOPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


def examine_aws_writes(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the database is the one that was noted, and that nobody stopped AWS writes; reads both anew."""
    state = read_aws_write_state(connection)
    for problem, fine in (
        (write_guard().explain_refused_database(state), IS_NO_COPY()),
        (describe_who_stopped_writes(state), WRITES_NOT_STOPPED()),
    ):
        if problem:
            yield report_failure(CheckName.AWS_WRITES, problem, SEE_AWS_WRITES())
        else:
            yield report_ok(CheckName.AWS_WRITES, fine)
