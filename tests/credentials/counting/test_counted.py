"""When a table's writes count as counted."""

import pytest

from credentials.models import CountingGap
from credentials.triggers import (
    ensure_writes_are_counted,
    find_is_counted_by_table,
    writes_are_counted,
)
from nova_credentials.tables import COUNTED_TABLES
from tests.credentials.counting.statements import MAIL, NOT_COUNTED, asked_in_sql, execute

pytestmark = pytest.mark.usefixtures("stores")


@pytest.mark.parametrize("obstacle", NOT_COUNTED)
def test_a_trigger_counts_only_on_the_very_table_enabled_and_for_every_write(idom, obstacle):
    assert find_is_counted_by_table() == dict.fromkeys(COUNTED_TABLES, True)
    assert writes_are_counted()
    assert asked_in_sql()

    execute(NOT_COUNTED[obstacle])
    assert find_is_counted_by_table() == dict.fromkeys(COUNTED_TABLES, True) | {MAIL: False}
    assert not writes_are_counted()
    assert not asked_in_sql()

    assert ensure_writes_are_counted() == []

    assert writes_are_counted()
    assert asked_in_sql()


def test_an_always_enabled_trigger_under_another_name_counts_too():
    execute(f"ALTER TRIGGER nova_admin_count_write ON {MAIL} RENAME TO other")
    execute(f"ALTER TABLE {MAIL} ENABLE ALWAYS TRIGGER other")
    try:
        assert ensure_writes_are_counted() == []
        assert writes_are_counted()
        there = "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE 'nova_admin%%'"
        assert execute(there, MAIL) == [("nova_admin_count_truncate",)]
    finally:
        execute(f"DROP TRIGGER other ON {MAIL}")


def test_a_table_that_is_gone_is_not_counted():
    execute(f"ALTER TABLE {MAIL} RENAME TO client_email_credentials_old")

    assert find_is_counted_by_table()[MAIL] is False
    assert not asked_in_sql()
    assert [refusal.why for refusal in ensure_writes_are_counted()] == [
        f"{MAIL}: UndefinedTable (SQLSTATE 42P01)"
    ]
    assert CountingGap.objects.open().exists()
