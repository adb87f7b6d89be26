"""How fast `find_copies` searches JSON like NOVA's for the values of 2,000 clients.

Beside it stands PostgreSQL's own speed: the same rows, read and thrown away.
"""

from __future__ import annotations

import time
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tests.studies.study import Study, Table, migrated_site, read_peak, use_settings

if TYPE_CHECKING:
    from argparse import Namespace

CLIENTS, VALUES = 2000, 20_000
TABLES = {"json": 150, "jsonb": 50, "text": 100}  # megabytes of text in each
MUST_REACH = 30.0
MOST_MEMORY_MB = 120  # more than before, while 300 MB are read


def measure(options: Namespace) -> list[Table]:
    use_settings()
    with migrated_site():
        return [measure_search()]


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


def measure_search() -> Table:
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
    before = read_peak()
    began = time.perf_counter()
    needles = make_needles(clients)
    building = time.perf_counter() - began
    _, took, found = read(needles)
    memory = (read_peak() - before) / 1000
    speed = size / 1e6 / took
    table = Table()
    tell = table.add_measure
    tell(
        "search for 20,000 values", speed, "MB/s", f"≥ {MUST_REACH:.0f}", holds=speed >= MUST_REACH
    )
    tell("the same rows read and thrown away", size / 1e6 / plain, "MB/s")
    tell("of PostgreSQL's own speed", 100 * plain / took, "%")
    tell("making the search of 20,000 values", building, "s")
    tell("memory meanwhile", memory, "MB", f"≤ {MOST_MEMORY_MB}", holds=memory <= MOST_MEMORY_MB)
    assert found == 2, found
    return table


STUDY = Study(measure, needs="some minutes")
