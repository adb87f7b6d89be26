"""Runs the checks one after the other. What fails in one of them doesn't keep the others from being made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import Error, connection
from psycopg import Error as PsycopgError
from psycopg.errors import UndefinedFunction, UndefinedTable

from migration.operations.doctor import sentences
from migration.operations.doctor.aws_writes import (
    examine_aws_writes,
    examine_aws_writes_and_account,
)
from migration.operations.doctor.brief_reads import read_briefly
from migration.operations.doctor.clocks import examine_clocks
from migration.operations.doctor.columns import examine_columns
from migration.operations.doctor.copies import examine_copy_searches
from migration.operations.doctor.counting import (
    examine_stored_proof,
    examine_tried_updates,
    examine_triggers,
)
from migration.operations.doctor.findings import (
    CheckName,
    DoctorOptions,
    FindingState,
    report_unlooked,
)
from migration.operations.doctor.grants import examine_reader_grants, examine_site_grants
from migration.operations.doctor.indexes import examine_indexes
from migration.operations.doctor.keys import examine_keys
from migration.operations.doctor.notices import examine_notice_deliveries
from migration.operations.doctor.objects import examine_objects
from migration.operations.doctor.other_readers import examine_other_readers
from migration.operations.doctor.owners import examine_owners
from migration.operations.doctor.pooler import examine_pooler
from migration.operations.doctor.queue import examine_queue, examine_queue_without_redis
from migration.operations.doctor.readers import examine_readers
from migration.operations.doctor.roles import examine_boundary, examine_create_rights
from migration.operations.doctor.schema import examine_schema_migrations, examine_site_schema
from migration.operations.doctor.secret_settings import examine_secret_settings
from migration.operations.doctor.stages import examine_pending_versions
from migration.operations.doctor.statement_log import examine_statement_log
from migration.operations.doctor.workers import examine_sealing, examine_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from migration.operations.doctor.findings import Finding

    Examination = Callable[[DoctorOptions], Iterable[Finding]]

# Each reads the database in a transaction of its own. A new check is one line here.
READING: Mapping[CheckName, Examination] = {
    CheckName.SCHEMA: examine_site_schema,
    CheckName.SCHEMA_MIGRATIONS: examine_schema_migrations,
    CheckName.AWS_WRITES: examine_aws_writes,
    CheckName.KEYS: examine_keys,
    CheckName.CREATE_RIGHTS: examine_create_rights,
    CheckName.OWNERS: examine_owners,
    CheckName.BOUNDARY: examine_boundary,
    CheckName.SITE_GRANTS: examine_site_grants,
    CheckName.READER_GRANTS: examine_reader_grants,
    CheckName.STATEMENT_LOG: examine_statement_log,
    CheckName.TRIGGERS: examine_triggers,
    CheckName.COUNTING_PROOF: examine_stored_proof,
    CheckName.COLUMNS: examine_columns,
    CheckName.INDEXES: examine_indexes,
    CheckName.NOVA_OBJECTS: examine_objects,
    CheckName.READERS: examine_readers,
    CheckName.OTHER_READERS: examine_other_readers,
    CheckName.WORKERS: examine_workers,
    CheckName.QUEUE: examine_queue_without_redis,
    CheckName.COPIES: examine_copy_searches,
    CheckName.NOTICES: examine_notice_deliveries,
    CheckName.AUDIT: examine_sealing,
    CheckName.SECRET_SETTINGS: examine_secret_settings,
}
# These do more than read the database: they try updates that are undone, connect anew, or ask AWS or Redis.
THOROUGH: Mapping[CheckName, Examination] = {
    CheckName.AWS_WRITES: examine_aws_writes_and_account,
    CheckName.COUNTING_PROOF: examine_tried_updates,
    CheckName.POOLER: examine_pooler,
    CheckName.QUEUE: examine_queue,
    CheckName.STAGES: examine_pending_versions,
    CheckName.CLOCKS: examine_clocks,
}
WORST_FIRST = (FindingState.FAILED, FindingState.NOT_LOOKED_AT, FindingState.OK)


def examine_nova(*, role: str | None = None, thorough: bool = True) -> list[Finding]:
    """Make every check; raises OperationalError where PostgreSQL can't be reached at all.

    Returns first what failed, then what was not looked at, then the rest, each in the order of `CheckName`.
    `role` is the role by which NOVA connects; without it, the owners of NOVA's tables. Unless `thorough`, the checks
    that do more than read the database are not made, and are reported so.
    """
    connection.ensure_connection()
    asked = DoctorOptions(role, thorough)
    findings = [finding for check in CheckName for finding in _examine_subject(check, asked)]
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.state))


def _examine_subject(check: CheckName, asked: DoctorOptions) -> list[Finding]:
    examine = THOROUGH.get(check) if asked.thorough else None
    try:
        if examine:
            return list(examine(asked))
        if check not in READING:
            return [report_unlooked(check, sentences.NOT_ASKED_YET())]
        with read_briefly():
            return list(READING[check](asked))
    except Error as error:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        return [_report_error(check, error)]


def _report_error(check: CheckName, error: Error) -> Finding:
    cause = error.__cause__
    code = cause.sqlstate if isinstance(cause, PsycopgError) else None
    missing = isinstance(cause, UndefinedTable | UndefinedFunction)
    return report_unlooked(
        check,
        sentences.COULD_NOT_ASK(code=code or type(error).__name__),
        sentences.MIGRATE_FIRST() if missing else sentences.SEE_THE_LOG(),
    )
