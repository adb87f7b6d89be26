"""Whether this database may write to AWS, as the doctor tells it."""

from tests.migration.doctor.conftest import Report

CLAIMS = "nova_admin.migration_databaseclaim"
STOP = "INSERT INTO nova_admin.migration_writestop (reason) VALUES ('INC-42')"
PROBLEMS = ("duplicate", "host_differs", "writes_stopped")


def look(check) -> Report:
    return check("--only", *PROBLEMS, command="doctor")


def test_the_database_that_was_noted_may_write(check):
    found = look(check)

    assert [found.codes(each) for each in PROBLEMS] == [
        ["is_no_copy"],
        ["facts_agree"],
        ["writes_not_stopped"],
    ]
    assert found.code == 0


def test_a_copy_is_told(migrated, check):
    migrated.run(f"UPDATE {CLAIMS} SET database_oid = database_oid + 1")
    try:
        found = look(check)
    finally:
        migrated.run(f"UPDATE {CLAIMS} SET database_oid = database_oid - 1")

    assert found.codes("duplicate") == ["database_is_copy"]
    assert [*map(found.states, PROBLEMS)] == [["failed"], ["ok"], ["ok"]]


def test_writes_that_somebody_stopped_are_told(migrated, check):
    migrated.run(STOP)
    try:
        found = look(check)
    finally:
        migrated.run("DELETE FROM nova_admin.migration_writestop")

    assert [*map(found.states, PROBLEMS)] == [["ok"], ["ok"], ["failed"]]
