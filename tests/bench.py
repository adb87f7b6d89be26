"""`make bench`: runs at 100 ms of round trip under AWS's quotas, beside the plan's own loop, as ratios in one run.

Prints a table and leaves it as JSON under `.local/bench`; ARGS="--write" puts it into docs/performance.md too. Exits
with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tests import factories, nova_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migration.runs.models import Run

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local" / "bench"
DOC = ROOT / "docs" / "performance.md"
# However this ends, so does what it started.
RUN_WHILE_PARENT_LIVES = (sys.executable, "-m", "nova_admin.embedded.run_while_parent_lives")
ROUND_TRIP = 0.1
QUOTA = 50
LOOP_CLIENTS = 60  # it takes as long for each: more would tell nothing more
PUSHED, COMPARED, FEW, MANY = 1000, 10_000, 1000, 20_000
SECRETS_A_READ, READERS = (
    20,
    20,
)  # as many at once as the read limit lets wait for their round trip, and more
WORKER_CLIENTS, WORKER_SECONDS = 500, 180


@dataclass(frozen=True)
class Row:
    measure: str
    reached: float
    unit: str
    must_reach: str
    holds: bool


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()

    from nova_admin.embedded import aws, postgres

    if not options.peak:
        shutil.rmtree(LOCAL / "aws", ignore_errors=True)
        server = aws.start_server(LOCAL / "aws")
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
            "NOVA_AWS_WRITES_PER_SECOND": "49",
            "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": "embedded",
        }  # fmt: skip
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        prepare()
        if options.peak:
            print(peak(options.peak))
            return
        rows = measure()
        tell(rows, write=options.write)
    if not all(row.holds for row in rows):
        sys.exit(1)


def prepare() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    settings.DEBUG = False  # in development Django keeps every statement in memory
    call_command("migrate", verbosity=0)


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


def reads_of_the_limit() -> tuple[list[Row], float]:
    """Batch reads alone, a comparison and an unchanged push of the same clients, of what the read limit lets through.

    And the clients a second of the comparison.
    """
    from django.conf import settings

    limit = settings.NOVA_AWS_READS_PER_SECOND * SECRETS_A_READ
    works = {
        "batch reads alone": read_alone,
        "compare": lambda: run("compare"),
        "push, nothing changed": lambda: run("migrate"),
    }
    rates = {name: COMPARED / seconds(work) for name, work in works.items()}
    rows = [
        Row(f"{COMPARED:,} clients at the read limit: {name}", 100 * rate / limit, "%", "≥ 95 %", rate >= 0.95 * limit)
        for name, rate in rates.items()
    ]  # fmt: skip
    return rows, rates["compare"]


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


def measure() -> list[Row]:
    add(PUSHED)
    loop, loop_reads = the_plans_loop()
    rows = []

    before = calls()
    with counted_statements() as first_statements:
        took = seconds(lambda: run("migrate"))
    rate = PUSHED / took
    made = count(before, "calls")
    throttled = count(before, "throttled") / made
    rows += [
        Row("first push of 1,000 clients, of the quota", 100 * rate / QUOTA, "%", "≥ 95 %", rate >= 0.95 * QUOTA),
        Row("first push: throttled calls", 100 * throttled, "%", "≤ 0.5 %", throttled <= 0.005),
        Row("first push, times the plan's loop", rate / loop, "×", "≥ 4.5×", rate / loop >= 4.5),
    ]  # fmt: skip

    before = calls()
    with counted_statements() as statements:
        again = PUSHED / seconds(lambda: run("migrate"))
    each = max(len(first_statements), len(statements)) / PUSHED
    writes = count(before, "calls", "CreateSecret", "PutSecretValue")
    rows += [
        Row("second push, nothing changed: write calls", writes, "", "0", writes == 0),
        Row("second push, nothing changed", again, "clients/s", "≥ 1,000", again >= 1000),
        Row("statements a client, of the two the more", each, "", "< 0.5", each < 0.5),
    ]  # fmt: skip

    conditions()
    set_rates(100_000)
    add(COMPARED - PUSHED, "more")
    run("migrate", slug__startswith="more_")
    set_rates(None)
    as_in_aws()
    at_limit, compared = reads_of_the_limit()
    faster = compared / loop_reads
    rows += [
        *at_limit,
        Row(f"compare {COMPARED:,} clients, times the plan's loop", faster, "×", "≥ 100×", faster >= 100),
    ]  # fmt: skip

    one, one_throttled = by_workers(1)
    two, two_throttled = by_workers(2)
    same, more = 100 * two / one, two_throttled - one_throttled
    rows += [
        Row("two workers, of the rate of one", same, "%", "95 to 105 %", 95 <= same <= 105),
        Row("two workers: throttled calls more than with one", more, "", "≤ 2", more <= 2),
    ]

    few, many = peak_of(FEW), peak_of(MANY)
    rows.append(
        Row("peak memory, 20,000 clients against 1,000", many / few, "×", "≤ 1.3×", many / few <= 1.3)
    )  # fmt: skip
    return rows


def by_workers(number: int) -> tuple[float, int]:
    """Clients a second between a tenth and nine tenths of a first push by so many workers, and the throttled calls."""
    from migration.core.clients import all_clients
    from migration.runs.models import Run

    prefix = f"workers{number}"
    add(WORKER_CLIENTS, prefix)
    before = calls()
    with (LOCAL / "qcluster.log").open("ab") as log:
        worker = subprocess.Popen(
            [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "manage.py", "qcluster"],
            cwd=ROOT, start_new_session=True, env=os.environ | {"NOVA_WORKERS": str(number)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        done = factories.start_run(
            kind=Run.Kind.MIGRATE, chosen=all_clients().filter(slug__startswith=f"{prefix}_")
        )
        started = at_creates(before, WORKER_CLIENTS // 10)
        ended = at_creates(before, WORKER_CLIENTS * 9 // 10)
        while done.finished_at is None:
            time.sleep(0.2)
            done.refresh_from_db()
    finally:
        worker.terminate()
        worker.wait(30)
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
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--peak", str(number)],
        cwd=ROOT, env=os.environ | {"NOVA_AWS_WRITES_PER_SECOND": "100000", "NOVA_SECRET_PREFIX": f"peak{number}"},
        capture_output=True, text=True, timeout=900, check=True,
    )  # fmt: skip
    return int(done.stdout.split()[-1])


def peak(number: int) -> int:
    """The most memory that this process ever had, once it has pushed so many clients."""
    add(number)
    assert run("migrate").count_outcomes_and_matches()["created"] == number
    return most_memory()


def most_memory() -> int:
    """Of this program alone: what `getrusage` tells begins with the memory of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def describe_machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def tell(rows: list[Row], *, write: bool) -> None:
    machine = describe_machine()
    lines = [
        "| measure | reached | must reach |",
        "|---|---|---|",
        *(
            f"| {row.measure} | {row.reached:,.2f} {row.unit}{'' if row.holds else ' **missed**'} | {row.must_reach} |"
            for row in rows
        ),
    ]
    print(f"{machine}; {ROUND_TRIP * 1000:.0f} ms of round trip, AWS's quotas")
    print("\n".join(lines))
    LOCAL.mkdir(parents=True, exist_ok=True)
    (LOCAL / "bench.json").write_text(
        json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1)
    )
    if write:
        before, _, rest = DOC.read_text().partition("<!-- table -->\n")
        after = rest.partition("<!-- end -->")[2]
        table = "\n".join([f"{machine}:", "", *lines])
        DOC.write_text(f"{before}<!-- table -->\n{table}\n<!-- end -->{after}")


if __name__ == "__main__":
    main()
