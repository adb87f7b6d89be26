"""`python -m tests.bench_truncate`: how long TRUNCATE keeps NOVA's exclusive lock with the trigger that counts it.

Empties a credential table of 50,000 clients with and without the trigger, in turn, and exits with 1 where the least
that it took with it is more than ten times the least without, or more than half a second.
"""

from __future__ import annotations

import os
import sys
import time
from secrets import token_urlsafe

import psycopg

from tests import nova_database
from tests.bench import LOCAL, prepare

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


def measure(connection: psycopg.Connection, *, counted: bool) -> float:
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


def main() -> None:
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded",
    }  # fmt: skip
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        prepare()
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute(MAKE_CLIENTS, [CLIENTS])
            connection.execute(PUSHED)
            took = [
                (measure(connection, counted=False), measure(connection, counted=True))
                for _ in range(ROUNDS)
            ]
    without, counted = map(min, zip(*took, strict=True))
    times = counted / without
    print(f"TRUNCATE of {CLIENTS:,} clients' rows: {without * 1000:.1f} ms without the trigger,")
    print(f"{counted * 1000:.1f} ms with it, {times:.1f} times (at most {MOST_TIMES})")
    if times > MOST_TIMES or counted > MOST_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
