"""Examines whether somebody still reads the credential tables past the package: NOVA's old helper, most likely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone
from psycopg import sql

from credentials.shown_names import escape_name
from migration.nova.models import SEEN_WITHIN, OtherStatement
from migration.nova.readers import UnseenReason, read_other_statements
from migration.operations.doctor import process_sentences
from migration.operations.doctor.findings import (
    CheckName,
    FindingState,
    report_failure,
    report_ok,
    report_unlooked,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.nova.models import OtherStatementCount
    from migration.nova.readers import StatementReport
    from migration.operations.doctor.findings import DoctorOptions, Finding

# One program can make thousands of statements; nobody reads so many lines.
MOST_STATEMENTS = 20


def examine_other_readers(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name each statement of others that reads a credential table, and say what can't be known of them.

    One that was not called for an hour, as far as the workers know, is no failure: PostgreSQL counts it for ever.
    """
    seen = read_other_statements()
    if seen.unseen_reason:
        yield _explain_unseen(seen)
    if seen.unseen_reason not in (None, UnseenReason.NOT_ALLOWED):
        return
    known = {(row.role, row.statement_id): row for row in OtherStatement.objects.all()}
    judged = [
        _judge(count, known.get((count.role, count.statement_id))) for count in seen.statements
    ]
    named = [finding for finding in judged if finding]
    yield from named[:MOST_STATEMENTS]
    if len(named) > MOST_STATEMENTS:
        left = named[MOST_STATEMENTS:]
        message = process_sentences.MORE_OTHER_READS(n=len(left))
        is_failed = any(finding.state == FindingState.FAILED for finding in left)
        report = report_failure if is_failed else report_unlooked
        yield report(CheckName.OTHER_READERS, message, process_sentences.REPLACE_THE_HELPER())
    if named:
        return
    if judged:
        yield report_ok(
            CheckName.OTHER_READERS, process_sentences.OTHERS_HAVE_STOPPED(n=len(judged))
        )
    elif not seen.unseen_reason:
        yield report_ok(CheckName.OTHER_READERS, process_sentences.NO_OTHER_READS())


def _judge(count: OtherStatementCount, before: OtherStatement | None) -> Finding | None:
    """Report one statement; None for one that was not called in the last hour."""
    now = timezone.now()
    role = escape_name(count.role)
    called_at = before.called_at if before else None
    if before and before.calls != count.calls:
        called_at = now
    if called_at and now - called_at < SEEN_WITHIN:
        message = process_sentences.OTHER_READS(
            role=role, tables=count.tables, n=count.calls, ago=called_at
        )
        return report_failure(
            CheckName.OTHER_READERS, message, process_sentences.REPLACE_THE_HELPER()
        )
    if before is None or now - before.first_noticed_at < SEEN_WITHIN:
        message = process_sentences.OTHER_HAS_READ(role=role, tables=count.tables, n=count.calls)
        return report_unlooked(CheckName.OTHER_READERS, message, process_sentences.WAIT_AN_HOUR())
    return None


def _explain_unseen(report: StatementReport) -> Finding:
    check = CheckName.OTHER_READERS
    match report.unseen_reason:
        case UnseenReason.NOT_INSTALLED | UnseenReason.NOT_CREATED as reason:
            is_loaded = reason == UnseenReason.NOT_CREATED
            remedy = (
                process_sentences.CREATE_STATISTICS
                if is_loaded
                else process_sentences.INSTALL_STATISTICS
            )
            return report_unlooked(
                check,
                process_sentences.OTHER_READS_NOT_COUNTED(),
                remedy(),
                statements=("CREATE EXTENSION pg_stat_statements;",),
            )
        case UnseenReason.NOT_ALLOWED:
            role = sql.Identifier(report.own_role).as_string(None)
            return report_unlooked(
                check,
                process_sentences.OTHER_READS_HIDDEN(),
                process_sentences.GRANT_STATISTICS(),
                statements=(f"GRANT pg_read_all_stats TO {role};",),
            )
    return report_unlooked(check, process_sentences.OTHER_READS_NOT_READABLE())
