"""A site that is upgraded takes no count from before as evidence."""

import psycopg
import pytest

from tests.migrated import migrate, migrated_database

OLD = """
INSERT INTO public.clients (id, name, slug) VALUES (1, 'A', 'a'), (2, 'B', 'b');
INSERT INTO migration_clientmigration (client_id, phase, clean_streak) VALUES (1, 'dual_read', 7), (2, 'aws', 3);
INSERT INTO migration_readcount (client_id, reads, matches, mismatches, aws_failures) VALUES (1, 100, 90, 4, 6);
"""


@pytest.mark.nightly
def test_streaks_and_reads_before_the_upgrade_are_no_evidence_and_it_can_be_undone():
    with migrated_database() as uri:
        migrate(uri, "migration", "0052")
        path = "-c search_path=nova_admin"
        with psycopg.connect(uri, autocommit=True, options=path) as connection:
            connection.execute(OLD)

            migrate(uri, "migration", "0053")

            rows = connection.execute(
                "SELECT clean_streak, reads_at_entry FROM migration_clientmigration ORDER BY client_id"
            ).fetchall()
            counts = {"reads": 100, "matches": 90, "mismatches": 4, "aws_failures": 6}
            assert rows == [(0, counts), (0, {})]
            connection.execute("UPDATE migration_readcount SET reads = 101, aws_failures = 7")
            noted = connection.execute(
                "SELECT last_failure_at, last_answer_at FROM migration_readcount"
            )
            ((failure, answer),) = noted.fetchall()
            assert failure is not None
            assert answer is None

            migrate(uri, "migration", "0052")
            connection.execute("UPDATE migration_readcount SET reads = 102")


def test_times_that_nobody_can_read_do_not_stop_the_upgrade():
    with migrated_database() as uri:
        migrate(uri, "migration", "0052")
        path = "-c search_path=nova_admin"
        with psycopg.connect(uri, autocommit=True, options=path) as connection:
            connection.execute(
                "INSERT INTO migration_readcount (client_id, last_read_at)"
                " VALUES (1, 'infinity'), (2, NULL), (3, now())"
            )

            migrate(uri, "migration", "0053")

            kept = connection.execute("SELECT client_id FROM migration_readcount ORDER BY 1")
            assert kept.fetchall() == [(2,), (3,)]
