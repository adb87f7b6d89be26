"""Whether this database may write to AWS, as the doctor tells it."""

CLAIMS = "nova_admin.migration_databaseclaim"
STOP = "INSERT INTO nova_admin.migration_writestop (reason) VALUES ('INC-42')"


def test_the_database_that_was_noted_may_write(check):
    assert check().codes("aws_writes") == ["is_no_copy", "facts_agree", "writes_not_stopped"]


def test_a_copy_is_told(migrated, check):
    migrated.run(f"UPDATE {CLAIMS} SET database_oid = database_oid + 1")
    try:
        found = check()
    finally:
        migrated.run(f"UPDATE {CLAIMS} SET database_oid = database_oid - 1")

    assert found.codes("aws_writes") == ["database_is_copy", "facts_agree", "writes_not_stopped"]
    assert found.states("aws_writes") == ["failed", "ok", "ok"]


def test_writes_that_somebody_stopped_are_told(migrated, check):
    migrated.run(STOP)
    try:
        found = check()
    finally:
        migrated.run("DELETE FROM nova_admin.migration_writestop")

    assert found.states("aws_writes") == ["failed", "ok", "ok"]
