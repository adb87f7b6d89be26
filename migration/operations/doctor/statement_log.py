"""Keeps the values that the site's statements carry out of PostgreSQL's log, and examines whether they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection

from credentials.shown_names import escape_name
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# With these no logged statement has its values beside it, no failing one either, and no error quotes the row that it
# is about. Those of extensions count where the extension is loaded: a plan can hold values too.
QUIET = {
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "debug_print_plan": "off",
    "auto_explain.log_parameter_max_length": "0",
    "auto_explain.log_verbose": "off",
    "pgaudit.log_parameter": "off",
}
# Name, wanted value, the value of this session, whether this role's next session has the wanted one, whether this role
# may set it, and the statement that does.
NOT_QUIET = """
SELECT name, value, current_setting(name), EXISTS (
    SELECT FROM pg_db_role_setting WHERE setrole = current_user::regrole AND name || '=' || value = ANY(setconfig)
        AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
), has_parameter_privilege(name, 'SET'), format(
    'ALTER ROLE %%I IN DATABASE %%I SET %%s = %%s', current_user, current_database(), name, value
)
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (name, value, n)
WHERE current_setting(name, true) <> value ORDER BY n
"""
# What has PostgreSQL log statements that don't fail, too.
LOGS_NOW = """
SELECT name || ' = ' || setting FROM pg_settings
WHERE name = 'log_statement' AND setting IN ('mod', 'all')
    OR name IN ('log_min_duration_statement', 'log_min_duration_sample', 'auto_explain.log_min_duration')
        AND setting <> '-1'
    OR name = 'log_transaction_sample_rate' AND setting <> '0'
ORDER BY name
"""


def keep_values_out_of_log() -> list[str]:
    """Set QUIET for this role's next sessions in this database as far as it may; return what a superuser has to run."""
    left = []
    with connection.cursor() as cursor:
        cursor.execute(NOT_QUIET, [list(QUIET), list(QUIET.values())])
        for _name, _wanted, _value, is_set, may_set, statement in cursor.fetchall():
            if may_set and not is_set:
                cursor.execute(statement)
            elif not is_set:
                left.append(f"{statement};")
    return left


def examine_statement_log(_asked: DoctorOptions) -> Iterator[Finding]:
    """Name the settings by which PostgreSQL's log can hold the values of the site's statements."""
    with connection.cursor() as cursor:
        cursor.execute(NOT_QUIET, [list(QUIET), list(QUIET.values())])
        loud = cursor.fetchall()
        cursor.execute(LOGS_NOW)
        logs_now = [setting for (setting,) in cursor.fetchall()]
    if not loud:
        yield report_ok(CheckName.STATEMENT_LOG, sentences.LOG_HOLDS_NO_VALUES())
        return
    settings = (*(f"{name} = {value}" for name, _wanted, value, *_rest in loud), *logs_now)
    yield report_failure(
        CheckName.STATEMENT_LOG,
        sentences.LOG_MAY_HOLD_VALUES(settings=tuple(map(escape_name, settings))),
        sentences.QUIET_THE_LOG(),
        statements=tuple(f"{statement};" for *_rest, is_set, _may, statement in loud if not is_set),
    )
