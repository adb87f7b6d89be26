"""How near pushes and comparisons come to AWS's quotas, at 100 ms of round trip, beside the plan's own loop.

That loop creates and then gets one client's secret at a time. All figures are ratios of one run.
"""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests import factories
from tests.studies.study import (
    Study,
    Table,
    call_in_process,
    migrated_site,
    read_peak,
    use_embedded_aws,
    workers,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from migration.runs.models import Run

ROUND_TRIP = 0.1
QUOTA = 50
LOOP_CLIENTS = 60  # it takes as long for each: more would tell nothing more
PUSHED, COMPARED, FEW, MANY = 1000, 10_000, 1000, 20_000
# As many readers at once as the read limit lets wait for their round trip, and more.
SECRETS_A_READ, READERS = 20, 20
WORKER_CLIENTS, WORKER_SECONDS = 500, 180


def measure(options: Namespace) -> list[Table]:
    use_embedded_aws(NOVA_AWS_WRITES_PER_SECOND="49")
    with migrated_site():
        return [measure_all()]


def conditions(**terms: object) -> None:
    from nova_admin.embedded.conditions import Conditions
    from nova_admin.embedded.conditions_api import set_conditions

    set_conditions(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"], Conditions(**terms))


def as_in_aws() -> None:
    conditions(round_trip_seconds=ROUND_TRIP, quota_scale=1)


def calls() -> dict[str, dict[str, int]]:
    """So far, by operation."""
    from nova_admin.embedded import conditions_api

    return conditions_api.get_conditions(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"])["calls"]


def count(before: dict[str, dict[str, int]], what: str, *operations: str) -> int:
    """How many calls more than before."""
    now = calls()
    return sum(
        now[name][what] - before.get(name, {}).get(what, 0)
        for name in now
        if not operations or name in operations
    )


def seconds(work: Callable[[], object]) -> float:
    gc.collect()  # or what is timed would clear up after what ran before it
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(kind: str, **chosen: object) -> Run:
    from migration.core.clients import all_clients
    from migration.runs import engine
    from migration.runs.models import Run

    done = Run.start(kind=kind, chosen=all_clients().filter(**chosen))
    engine.finish_inline(done)
    return done


def add(number: int, prefix: str = "demo") -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO public.clients (name, slug)
                SELECT 'Bench ' || n, %s || '_' || n FROM generate_series(1, %s) AS n RETURNING id
            )
            INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
            SELECT id, 'db.example.test', 'app', 'app', 'example-password-' || id FROM made
            """,
            [prefix, number],
        )


def set_rates(rate: float | None) -> None:
    from migration.models import Rate

    Rate.objects.set_rates(dict.fromkeys(Rate.Kind, rate))


def the_plans_loop() -> tuple[float, float]:
    """Clients a second of the plan's step 3, one client at a time: create, then get; and of the gets alone."""
    from django.conf import settings

    from credentials.models import Client
    from nova_credentials.aws import ClientSecretsManager

    as_in_aws()
    sm = ClientSecretsManager(prefix="plan/clients", endpoint_url=settings.AWS_ENDPOINT_URL)
    chosen = list(Client.objects.all()[:LOOP_CLIENTS])

    def create() -> None:
        for client in chosen:
            sm.create_client_credentials(client.slug, client.build_document())

    def get() -> None:
        for client in chosen:
            assert sm.get_client_credentials(client.slug) == client.build_document()

    creating, getting = seconds(create), seconds(get)
    return LOOP_CLIENTS / (creating + getting), LOOP_CLIENTS / getting


def read_alone() -> None:
    """Every client's secret by BatchGetSecretValue under the site's own limit, and nothing else."""
    from migration.core.aws_store import secret_names, secrets_manager
    from migration.core.clients import all_clients
    from nova_credentials.aws.secrets_manager import SecretValue

    sm = secrets_manager()
    slugs = all_clients().order_by("pk").values_list("slug", flat=True)
    names = [name for slug in slugs for name in secret_names(slug).values()]

    def read(start: int) -> None:
        found = sm.batch_get(names[start : start + SECRETS_A_READ])
        assert all(isinstance(value, SecretValue) for value in found.values())

    with ThreadPoolExecutor(READERS) as threads:
        list(threads.map(read, range(0, len(names), SECRETS_A_READ)))


def measure_at_limit(table: Table) -> float:
    """Measure batch reads alone, a comparison and an unchanged push, of what the read limit lets through.

    Returns the clients a second of the comparison.
    """
    from django.conf import settings

    limit = settings.NOVA_AWS_READS_PER_SECOND * SECRETS_A_READ
    works = {
        "batch reads alone": read_alone,
        "compare": lambda: run("compare"),
        "push, nothing changed": lambda: run("migrate"),
    }
    rates = {name: COMPARED / seconds(work) for name, work in works.items()}
    for name, rate in rates.items():
        measured, share = f"{COMPARED:,} clients at the read limit: {name}", 100 * rate / limit
        table.add_measure(measured, share, "%", "≥ 95 %", holds=rate >= 0.95 * limit)
    return rates["compare"]


@contextmanager
def counted_statements() -> Iterator[list[None]]:
    """One element a statement, of every thread."""
    from django.db.backends.utils import CursorWrapper

    plain, statements = CursorWrapper.execute, []

    def counting(self, *args, **kwargs):
        statements.append(None)
        return plain(self, *args, **kwargs)

    CursorWrapper.execute = counting
    try:
        yield statements
    finally:
        CursorWrapper.execute = plain


def measure_all() -> Table:
    add(PUSHED)
    loop, loop_reads = the_plans_loop()
    table = Table(name="pushes")
    tell = table.add_measure

    before = calls()
    with counted_statements() as first_statements:
        took = seconds(lambda: run("migrate"))
    rate = PUSHED / took
    throttled = count(before, "throttled") / count(before, "calls")
    tell(
        "first push of 1,000 clients, of the quota",
        100 * rate / QUOTA,
        "%",
        "≥ 95 %",
        holds=rate >= 0.95 * QUOTA,
    )
    tell("first push: throttled calls", 100 * throttled, "%", "≤ 0.5 %", holds=throttled <= 0.005)
    tell("first push, times the plan's loop", rate / loop, "×", "≥ 4.5×", holds=rate / loop >= 4.5)

    before = calls()
    with counted_statements() as statements:
        again = PUSHED / seconds(lambda: run("migrate"))
    each = max(len(first_statements), len(statements)) / PUSHED
    writes = count(before, "calls", "CreateSecret", "PutSecretValue")
    tell("second push, nothing changed: write calls", writes, "", "0", holds=writes == 0)
    tell("second push, nothing changed", again, "clients/s", "≥ 1,000", holds=again >= 1000)
    tell("statements a client, of the two the more", each, "", "< 0.5", holds=each < 0.5)

    conditions()
    set_rates(100_000)
    add(COMPARED - PUSHED, "more")
    run("migrate", slug__startswith="more_")
    set_rates(None)
    as_in_aws()
    faster = measure_at_limit(table) / loop_reads
    tell(
        f"compare {COMPARED:,} clients, times the plan's loop",
        faster,
        "×",
        "≥ 100×",
        holds=faster >= 100,
    )

    one, one_throttled = by_workers(1)
    two, two_throttled = by_workers(2)
    same, more = 100 * two / one, two_throttled - one_throttled
    tell("two workers, of the rate of one", same, "%", "95 to 105 %", holds=95 <= same <= 105)
    tell("two workers: throttled calls more than with one", more, "", "≤ 2", holds=more <= 2)

    few, many = peak_of(FEW), peak_of(MANY)
    grown = many / few
    tell("peak memory, 20,000 clients against 1,000", grown, "×", "≤ 1.3×", holds=grown <= 1.3)
    return table


def by_workers(number: int) -> tuple[float, int]:
    """Clients a second between a tenth and nine tenths of a first push by so many workers, and the throttled calls."""
    from migration.core.clients import all_clients
    from migration.runs.models import Run

    prefix = f"workers{number}"
    add(WORKER_CLIENTS, prefix)
    before = calls()
    with workers(number):
        done = factories.start_run(
            kind=Run.Kind.MIGRATE, chosen=all_clients().filter(slug__startswith=f"{prefix}_")
        )
        started = at_creates(before, WORKER_CLIENTS // 10)
        ended = at_creates(before, WORKER_CLIENTS * 9 // 10)
        while done.finished_at is None:
            time.sleep(0.2)
            done.refresh_from_db()
    rate = (ended[1] - started[1]) / (ended[0] - started[0])
    return rate, count(before, "throttled")


def at_creates(before: dict[str, dict[str, int]], number: int) -> tuple[float, int]:
    """When AWS has had so many creates, and how many it has had by then."""
    deadline = time.monotonic() + WORKER_SECONDS
    while (made := count(before, "calls", "CreateSecret")) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"the workers took longer than {WORKER_SECONDS} s")
        time.sleep(0.05)
    return time.monotonic(), made


def peak_of(number: int) -> int:
    """Kilobytes, in a process of its own."""
    conditions()
    settings = {"NOVA_AWS_WRITES_PER_SECOND": "100000", "NOVA_SECRET_PREFIX": f"peak{number}"}
    return int(call_in_process(push_many, number, **settings).split()[-1])


def push_many(number: int) -> None:
    """Print the most memory that this process ever had, once it has pushed so many clients."""
    with migrated_site():
        add(number)
        assert run("migrate").count_outcomes_and_matches()["created"] == number
        print(read_peak())


STUDY = Study(measure, needs="some minutes of two idle cores", writes=True)
