"""What a database of the first release holds becomes messages, whole and in English; and text again on the way back."""

import psycopg
import pytest

from tests.migrated import migrate, migrated_database

LONG = "known and agreed " * 4_000
OLD = """
INSERT INTO migration_comparison (client_id, slug, status, error_class, message, mismatches, revision, compared_at)
    VALUES
    (1, 'idom', 'missing_in_aws', '', 'AWS has no value under nova/clients/idom.', '[]', 0, now()),
    (1, 'idom', 'match', '', '', '[]', 0, now());
INSERT INTO migration_run (kind, adopt, include_inactive, created_at) VALUES ('push', false, false, now());
INSERT INTO migration_runitem (run_id, client_id, slug, batch, outcome, error_class, message, comparison_status)
    SELECT id, 1, 'idom', 0, 'skipped', '', 'Inactive.', '' FROM migration_run;
INSERT INTO migration_resolution (client_id, slug, kind, reason, message, mismatches, resolved_at)
    VALUES (1, 'idom', 'check', %(long)s, 'Mismatch', '[]', now());
INSERT INTO migration_phasechange (client_id, slug, old, new, reason, changed_at) VALUES
    (1, 'idom', 'dual_read', 'aws', 'CHG-1 (asked for by ana) "Inactive."', now()),
    (1, 'idom', 'aws', 'dual_read', '', now());
INSERT INTO migration_moverequest (client_id, slug, old, new, state, reasons, reason, requested_at)
    VALUES (1, 'idom', 'dual_read', 'aws', 'waiting', '["Push 3 has it.", "Mismatch."]', %(long)s, now());
INSERT INTO migration_reveal (client_id, slug, kind, credential_id, field, username, reason, address, revealed_at)
    VALUES (1, 'idom', 'email', 1, 'email_password', 'ana', 'CHG-2', '', now());
"""
TABLES = {
    "migration_comparison": "message",
    "migration_runitem": "message",
    "migration_resolution": "message, reason",
    "migration_phasechange": "reason",
    "migration_moverequest": "reasons, reason",
    "migration_reveal": "reason",
}


def of_stored_text(text: str) -> dict:
    return {"key": "", "values": {}, "text": text}


def stored(connection: psycopg.Connection) -> dict[str, list[tuple]]:
    return {
        table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()
        for table, columns in TABLES.items()
    }


@pytest.fixture(scope="module")
def uri():
    with migrated_database() as uri:
        migrate(uri, "migration", "0006")
        yield uri


@pytest.mark.nightly
def test_old_sentences_are_carried_over_whole_and_back(uri):
    path = "-c search_path=nova_admin"
    with psycopg.connect(uri, autocommit=True, options=path) as connection:
        cursor = psycopg.ClientCursor(connection)
        cursor.execute(OLD, {"long": LONG})
        before = stored(connection)

        migrate(uri, "migration", "0008")
        found = stored(connection)
        notes = connection.execute("SELECT note FROM migration_phasechange ORDER BY id").fetchall()

        assert found == before | {
            "migration_comparison": [
                (of_stored_text("AWS has no value under nova/clients/idom."),),
                (None,),
            ],
            "migration_runitem": [(of_stored_text("Inactive."),)],
            "migration_resolution": [(of_stored_text("Mismatch"), LONG)],
            "migration_phasechange": [("",), ("",)],
            "migration_moverequest": [
                ([of_stored_text("Push 3 has it."), of_stored_text("Mismatch.")], LONG)
            ],
        }
        assert notes == [(of_stored_text('CHG-1 (asked for by ana) "Inactive."'),), (None,)]
        # A row with a longer reason may still be decided; a new one is refused.
        connection.execute("UPDATE migration_moverequest SET state = 'cancelled'")
        connection.execute("UPDATE migration_resolution SET by_id = NULL")
        for table in ("resolution", "moverequest", "reveal", "phasechange"):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(
                    f"INSERT INTO migration_{table} SELECT (r).* FROM (SELECT jsonb_populate_record("
                    f"known, jsonb_build_object('id', 1000, 'reason', %s::text)) AS r FROM migration_{table} AS known"
                    " LIMIT 1) AS copied",
                    ["x" * 501],
                )
        connection.execute("UPDATE migration_moverequest SET state = 'waiting'")

        migrate(uri, "migration", "0006")
        assert stored(connection) == before
