"""`python -m tests.bench_copies`: the speed of `find_copies` over JSON like NOVA's, with the values of 2,000 clients.

Prints a table; exits with 1 where a bound is missed. Beside it stands PostgreSQL's own speed: the same rows, read and
thrown away.
"""

from __future__ import annotations

import os
import sys
import time
from secrets import token_urlsafe

from tests import nova_database
from tests.bench import LOCAL, most_memory

CLIENTS, VALUES = 2000, 20_000
TABLES = {"json": 150, "jsonb": 50, "text": 100}  # megabytes of text in each
MUST_REACH = 30.0
MOST_MEMORY_MB = 120  # more than before, while 300 MB are read


def main() -> None:
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
    }
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.DEBUG = False
        call_command("migrate", verbosity=0)
        if not measure():
            sys.exit(1)


def fill() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for kind, megabytes in TABLES.items():
            cursor.execute(f"CREATE TABLE public.history_{kind} (id serial, content {kind})")
            # 10 kB a row: a context with many texts, of which PostgreSQL keeps a compressed copy.
            cursor.execute(
                f"""
                INSERT INTO public.history_{kind} (content)
                SELECT jsonb_build_object('step', n, 'rows', (
                    SELECT jsonb_agg(jsonb_build_object('id', n * m, 'name', md5((n * m)::text), 'note', 'plain text'))
                    FROM generate_series(1, 130) AS m
                ))::text::{kind} FROM generate_series(1, %s) AS n
                """,
                [megabytes * 100],
            )


def measure() -> bool:
    from django.db import connection

    from migration.secrets.copies import (
        ClientValues,
        CopiedRowsScanner,
        TableReader,
        list_places,
        make_needles,
    )
    from nova_credentials.phases import Phase

    fill()
    values = [token_urlsafe(18) for _ in range(VALUES)]
    each = VALUES // CLIENTS
    clients = [
        ClientValues(pk, f"c{pk}", Phase.AWS, set(values[pk * each : (pk + 1) * each]))
        for pk in range(CLIENTS)
    ]
    with connection.cursor() as cursor:
        places = list_places(cursor)
        for number in (7, 777):
            cursor.execute(
                "UPDATE public.history_json SET content = to_json(%s::text) WHERE id = %s",
                [f"password={values[number]}", number],
            )

    def read(needles) -> tuple[int, float, int]:
        size, found, began = 0, 0, time.perf_counter()
        for table in places.tables:
            if not table.name.startswith("history_"):
                continue
            scanner = CopiedRowsScanner(needles, table.columns)
            TableReader(table, scanner, lambda _part: None).read_table()
            size += scanner.bytes_read
            found += sum(scanner.rows_found.values())
        return size, time.perf_counter() - began, found

    read(make_needles([]))  # into PostgreSQL's cache
    size, plain, _ = read(make_needles([]))
    before = most_memory()
    began = time.perf_counter()
    needles = make_needles(clients)
    building = time.perf_counter() - began
    _, took, found = read(needles)
    memory = (most_memory() - before) / 1000
    speed = size / 1e6 / took
    rows = [
        ("search for 20,000 values", speed, "MB/s", f"≥ {MUST_REACH:.0f}", speed >= MUST_REACH),
        ("the same rows read and thrown away", size / 1e6 / plain, "MB/s", "", True),
        ("of PostgreSQL's own speed", 100 * plain / took, "%", "", True),
        ("making the search of 20,000 values", building, "s", "", True),
        ("memory meanwhile", memory, "MB", f"≤ {MOST_MEMORY_MB}", memory <= MOST_MEMORY_MB),
    ]
    print("| measure | reached | must reach |\n|---|---|---|")
    for measure, reached, unit, bound, holds in rows:
        print(f"| {measure} | {reached:,.1f} {unit}{'' if holds else ' **missed**'} | {bound} |")
    assert found == 2, found
    return all(row[-1] for row in rows)


if __name__ == "__main__":
    main()
