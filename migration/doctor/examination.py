"""Runs the checks one after the other. What fails in one of them doesn't keep the others from being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from django.db import Error, connection
from psycopg import Error as PsycopgError
from psycopg.errors import UndefinedFunction, UndefinedTable

from migration.doctor.findings import (
    WORST_FIRST,
    CheckName,
    DoctorOptions,
    Finding,
    read_briefly,
    report_unlooked,
)
from migration.doctor.nova import (
    MIGRATE_FIRST,
    examine_boundary,
    examine_columns,
    examine_create_rights,
    examine_indexes,
    examine_objects,
    examine_owners,
    examine_pooler,
    examine_reader_grants,
    examine_schema_migrations,
    examine_site_grants,
    examine_site_schema,
    examine_statement_log,
    examine_stored_proof,
    examine_tried_updates,
    examine_triggers,
)
from migration.doctor.site import (
    NOT_ASKED_YET,
    examine_aws_writes,
    examine_aws_writes_and_account,
    examine_clocks,
    examine_copy_searches,
    examine_keys,
    examine_notice_deliveries,
    examine_other_readers,
    examine_pending_versions,
    examine_queue,
    examine_queue_without_redis,
    examine_readers,
    examine_sealing,
    examine_secret_settings,
    examine_workers,
)
from nova_credentials.messages import Sentence

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


COULD_NOT_ASK = Sentence("could_not_ask", "PostgreSQL gave no answer to this check (%(code)s).")
SEE_THE_LOG = Sentence("see_the_log", "PostgreSQL's log says why. Correct it, then check again.")


def _examine_subject(check: CheckName, asked: DoctorOptions) -> list[Finding]:
    examine = THOROUGH.get(check) if asked.thorough else None
    try:
        if examine:
            return list(examine(asked))
        if check not in READING:
            return [report_unlooked(check, NOT_ASKED_YET())]
        with read_briefly():
            return list(READING[check](asked))
    except Error as error:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        cause = error.__cause__
        code = cause.sqlstate if isinstance(cause, PsycopgError) else None
        message = COULD_NOT_ASK(code=code or type(error).__name__)
        is_missing = isinstance(cause, UndefinedTable | UndefinedFunction)
        return [report_unlooked(check, message, MIGRATE_FIRST() if is_missing else SEE_THE_LOG())]
