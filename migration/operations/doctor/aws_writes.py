"""Examines whether this host may write to AWS: the database is no duplicate, hosts agree, nobody stopped the writes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.db import connection

from migration.models.write_state import read_aws_write_state
from migration.operations.aws_writes import (
    describe_who_stopped_writes,
    learn_facts,
    write_guard,
)
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.doctor.process_sentences import CORRECT_THE_SETTINGS
from migration.operations.doctor.sentences import SEE_AWS_WRITES
from migration.operations.shared_facts import explain_differences
from migration.sentences import FACTS_AGREE, IS_NO_COPY, WRITES_NOT_STOPPED
from nova_credentials.aws.secrets_manager import SecretsManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


def examine_aws_writes(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that the database and what hosts share are as noted, and that nobody stopped AWS writes; reads anew."""
    state = read_aws_write_state(connection)
    for problem, fine, remedy in (
        (write_guard().explain_refused_database(state), IS_NO_COPY(), SEE_AWS_WRITES()),
        (explain_differences(state.facts), FACTS_AGREE(), CORRECT_THE_SETTINGS()),
        (describe_who_stopped_writes(state), WRITES_NOT_STOPPED(), SEE_AWS_WRITES()),
    ):
        if problem:
            yield report_failure(CheckName.AWS_WRITES, problem, remedy)
        else:
            yield report_ok(CheckName.AWS_WRITES, fine)


def examine_aws_writes_and_account(asked: DoctorOptions) -> Iterator[Finding]:
    """Check the same once AWS has told which account this process reaches, if it does."""
    with suppress(SecretsManagerError):
        learn_facts()
    yield from examine_aws_writes(asked)
