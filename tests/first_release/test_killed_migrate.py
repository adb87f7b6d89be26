"""A `migrate` that is killed again and again, in the middle of transactions, ends where a whole one does."""

from __future__ import annotations

import signal

import pytest

# Ends itself by SIGKILL behind its so many-th statement that changes something.
KILLED = r"""
import os, re, signal
from django.core.management import call_command
from django.db import connection
left = %d
changes = re.compile(r"\s*(ALTER|CREATE|DROP|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
def count(execute, sql, params, many, context):
    global left
    answer = execute(sql, params, many, context)
    left -= bool(changes.match(str(sql)))
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
with connection.execute_wrapper(count):
    call_command("migrate", verbosity=0)
"""
# Each goes on where the one before was killed: in the first steps, in many schema migrations, and behind them all.
STATEMENTS = (1, 4, 25, 60, 90, 120, 150, 180, 30)
SCHEMA = """
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod) || attnotnull::text
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'nova_admin'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'default', adrelid::regclass::text, attname::text, pg_get_expr(adbin, adrelid)
FROM pg_attrdef JOIN pg_class ON pg_class.oid = adrelid JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE relnamespace = 'nova_admin'::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'nova_admin'::regnamespace
UNION ALL SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'nova_admin'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', proname::text, '', prosrc FROM pg_proc WHERE pronamespace = 'nova_admin'::regnamespace
UNION ALL SELECT 'schema migration', app, name, count(*)::text FROM nova_admin.django_migrations GROUP BY 2, 3
UNION ALL SELECT 'schedule', name, func, '' FROM nova_admin.django_q_schedule
UNION ALL SELECT 'role', name, '', count(*)::text
FROM nova_admin.auth_group g JOIN nova_admin.auth_group_permissions p ON p.group_id = g.id GROUP BY 2
UNION ALL SELECT 'version keys', '', '', count(*)::text FROM nova_admin.migration_versionkey
"""


@pytest.mark.nightly
def test_a_migrate_that_is_killed_is_run_again_and_ends_as_if_nothing_had_been(
    first, migrated_first
):
    first.own()
    killed = 0
    for number in STATEMENTS:
        done = first.manage("shell", "-v", "0", "-c", KILLED % number)
        assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
        killed += done.returncode != 0
    done = first.migrate()

    assert done.returncode == 0, done.stderr
    assert killed >= len(STATEMENTS) - 2
    assert {*first.ask(SCHEMA)} ^ {*migrated_first.ask(SCHEMA)} == set()
