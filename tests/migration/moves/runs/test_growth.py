"""What a batch reads: as many rows in a run of 20,000 clients as in a small one, also before PostgreSQL knows of it."""

import pytest
from django.db import connection

from migration.models import ClientMigration, PhaseChange, RunItem
from migration.moves.rules import Ask
from migration.moves.runs import read_moves_made
from migration.runs.engine import CANDIDATE_BATCHES, lock_free_batch, skip_free_items_of_stopped_run
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.explained import count_rows_read

CLIENTS = 20_000


@pytest.fixture
def run(db) -> Run:
    """A run of moves that has moved half of its clients; PostgreSQL has statistics of an earlier one alone."""
    make_run(Run.BATCH)
    analyze(True)
    return make_run(CLIENTS)


def make_run(clients: int) -> Run:
    run = Run.objects.create(kind=Run.Kind.MOVE, move_from=Phase.DUAL_READ, move_to=Phase.AWS)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO migration_runitem
                (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status)
            SELECT %s, 'move', n, 'c' || n, n / 100, CASE WHEN n <= %s THEN 'moved' ELSE '' END, '', ''
            FROM generate_series(1, %s) AS n
            """,
            [run.pk, clients // 2, clients],
        )
        cursor.execute(
            """
            INSERT INTO migration_phasechange (client_id, slug, old, new, reason, run_id, changed_at)
            SELECT n, 'c' || n, 'dual_read', 'aws', '', %s, now() FROM generate_series(1, %s) AS n
            """,
            [run.pk, clients // 2],
        )
    return run


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_batch_reads_what_is_its_own_alone(run, is_analyzed):
    analyze(is_analyzed)
    clients = range(CLIENTS // 2 - 49, CLIENTS // 2 - 49 + Run.BATCH)
    ask = Ask(range(CLIENTS - Run.BATCH, CLIENTS), run=run)
    items = run.items.due_now().filter(batch=150)

    def claim() -> None:
        with lock_free_batch(run.pk) as batch:
            assert batch == CLIENTS // 2 // Run.BATCH

    moves, table = PhaseChange._meta.db_table, RunItem._meta.db_table
    assert count_rows_read(moves, lambda: read_moves_made(run, clients)) <= Run.BATCH
    assert count_rows_read(table, lambda: ask.open_write_items) <= 2 * Run.BATCH
    assert 0 < count_rows_read(table, claim) <= 2 * CANDIDATE_BATCHES
    assert count_rows_read(table, lambda: list(items)) <= Run.BATCH

    Run.objects.filter(pk=run.pk).update(state=Run.State.STOPPED)
    read = count_rows_read(moves, lambda: skip_free_items_of_stopped_run(run))
    assert read <= CLIENTS // 2 + Run.BATCH
    assert not run.items.open().exists()


@pytest.fixture
def begun(run) -> int:
    """The id of a comparison that has just begun; PostgreSQL has statistics of tables in which no item is open."""
    with connection.cursor() as cursor:
        # Its index of open items is new, and empty as PostgreSQL looks.
        cursor.execute("TRUNCATE migration_runitem")
        cursor.execute(
            """
            INSERT INTO migration_runitem (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status,
                finished_at)
            SELECT %s, 'move', n, 'c' || n, n / 100, 'moved', '', '', now() FROM generate_series(1, %s) AS n
            """,
            [run.pk, CLIENTS],
        )
        analyze(True)
        cursor.execute(
            """
            WITH begun AS (
                INSERT INTO migration_run (kind, adopt, include_inactive, created_at)
                VALUES ('compare', false, false, now()) RETURNING id
            )
            INSERT INTO migration_runitem (run_id, act, client_id, slug, batch, outcome, error_class, comparison_status)
            SELECT begun.id, 'compare', n, 'c' || n, n / 100, '', '', '' FROM begun, generate_series(1, %s) AS n
            RETURNING run_id
            """,
            [CLIENTS],
        )
        (pk,) = cursor.fetchone()
    return pk


def test_a_batch_of_a_run_that_has_just_begun_reads_and_stores_what_is_its_own_alone(begun):
    items: list[RunItem] = []
    table = RunItem._meta.db_table

    def claim() -> None:
        with lock_free_batch(begun) as batch:
            assert batch == 0

    def load() -> None:
        items.extend(RunItem.objects.due_now().filter(run_id=begun, batch=7))

    def store() -> None:
        for item in items:
            item.outcome = "matched"
        RunItem.objects.record(items)

    assert 0 < count_rows_read(table, claim) <= 2 * CANDIDATE_BATCHES
    Run.objects.filter(pk=begun).update(kind=Run.Kind.MIGRATE)
    ask, found = Ask(range(1, Run.BATCH + 1)), list[RunItem]()
    read = count_rows_read(table, lambda: found.extend(ask.open_write_items.values()))
    assert 0 < read <= 2 * Run.BATCH
    assert len(found) == Run.BATCH

    assert count_rows_read(table, load) == Run.BATCH == len(items)
    assert 0 < count_rows_read(table, store) <= 2 * Run.BATCH
    assert RunItem.objects.filter(run_id=begun, outcome="matched").count() == Run.BATCH


def test_a_batch_locks_its_own_clients_though_all_have_just_come_into_the_phase(db):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO migration_clientmigration (client_id, phase)"
            " SELECT n, 'postgres' FROM generate_series(1, %s) AS n",
            [CLIENTS],
        )
        cursor.execute("ANALYZE")
    ClientMigration.objects.update(phase=Phase.DUAL_READ)
    ids = list(range(1, Run.BATCH + 1))

    read = count_rows_read(
        ClientMigration._meta.db_table,
        lambda: ClientMigration.objects.change_phase(ids, Phase.DUAL_READ, Phase.AWS),
    )

    # There are no such clients, and it reads no others.
    assert read <= 2 * Run.BATCH


def analyze(is_analyzed: bool) -> None:
    if is_analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
