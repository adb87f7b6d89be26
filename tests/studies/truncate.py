"""How long TRUNCATE keeps NOVA's exclusive lock with the trigger that counts it.

Empties a credential table of 50,000 clients with and without the trigger, in turn; the least of each counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from tests.studies.study import Study, Table, migrated_site, use_settings

if TYPE_CHECKING:
    from argparse import Namespace

CLIENTS, ROUNDS = 50_000, 4
MOST_TIMES, MOST_SECONDS = 10, 0.5
TABLE = "public.client_database_credentials"
MAKE_CLIENTS = "INSERT INTO public.clients (name, slug) SELECT n::text, n::text FROM generate_series(1, %s) AS n"
MAKE_LOGINS = f"""
INSERT INTO {TABLE} (client_id, db_host, db_name, db_user, db_password_encrypted)
SELECT id, 'db.example.test', 'app', 'app', 'example-password' FROM public.clients
"""
# Every client has a revision, as after its first push.
PUSHED = """
INSERT INTO nova_admin.credentials_clientrevision (client_id, revision, pushed_revision)
SELECT id, 2, 2 FROM public.clients ON CONFLICT DO NOTHING
"""


def empty_table(connection: psycopg.Connection, *, counted: bool) -> float:
    """Return the seconds from the statement's begin, which takes the lock, to the end of its transaction."""
    switch = "ENABLE" if counted else "DISABLE"
    connection.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER nova_admin_count_write")
    connection.execute(MAKE_LOGINS)
    connection.execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER nova_admin_count_write")
    connection.execute(f"ALTER TABLE {TABLE} {switch} TRIGGER nova_admin_count_truncate")
    connection.execute("CHECKPOINT")
    began = time.perf_counter()
    connection.execute(f"TRUNCATE {TABLE} CASCADE")
    return time.perf_counter() - began


def measure(options: Namespace) -> list[Table]:
    use_settings()
    with migrated_site() as uri, psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(MAKE_CLIENTS, [CLIENTS])
        connection.execute(PUSHED)
        took = [
            (empty_table(connection, counted=False), empty_table(connection, counted=True))
            for _ in range(ROUNDS)
        ]
    without, counted = map(min, zip(*took, strict=True))
    times, most_ms = counted / without, MOST_SECONDS * 1000
    table = Table()
    name = f"TRUNCATE of {CLIENTS:,} clients' rows"
    table.add_measure(f"{name}, without the trigger", without * 1000, "ms")
    table.add_measure(
        f"{name}, with it", counted * 1000, "ms", f"≤ {most_ms:g}", holds=counted <= MOST_SECONDS
    )
    table.add_measure(
        "with the trigger, times without", times, "×", f"≤ {MOST_TIMES}×", holds=times <= MOST_TIMES
    )
    return [table]


STUDY = Study(measure, needs="a minute or two")
