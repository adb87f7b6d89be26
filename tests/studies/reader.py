"""What a read of one client takes from each store and the cache, with 20 ms of round trip; what the import takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.checkout import ROOT
from tests.studies.study import Study, Table, migrated_site, use_settings

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

LATENCY_SECONDS = 0.02
ROUNDS = 200
CACHED_READS = 1000  # in one measurement: one alone takes about as long as looking at the clock
CACHED_AT_LEAST = 200
DUAL_AT_MOST = 1.2
IMPORTS = 15
# What a process of NOVA's imports, beside what NOVA's helper imports: psycopg2.
IMPORTED = {
    "psycopg2": "import psycopg2",
    "psycopg": "import psycopg",
    "the reader": "from nova_credentials.reader import *",
    "the reader and its first read": "import nova_credentials.reader.routing",
    "the reader, its first read and its AWS client": (
        "import nova_credentials.reader.routing; from nova_credentials.aws import SecretsManager; SecretsManager()"
    ),
}
OF_PSYCOPG2_AT_MOST = {"the reader": 1.0}
MEASURE_IMPORT = """
import time
def read_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
memory, start = read_memory(), time.process_time()
{statement}
print(time.process_time() - start, read_memory() - memory)
"""


def measure(options: Namespace) -> list[Table]:
    use_settings()  # until the slow one is there, no AWS
    with migrated_site():
        return [compare_reads(), compare_imports()]


def compare_imports() -> Table:
    """Measure what each import takes, all taking turns."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in IMPORTED}
    for _ in range(IMPORTS):
        for name, statement in IMPORTED.items():
            code = MEASURE_IMPORT.format(statement=statement)
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True
            )
            seconds, kilobytes = map(float, done.stdout.split())
            took[name].append((seconds * 1000, kilobytes / 1024))
    found = {
        name: [statistics.median(each) for each in zip(*rounds, strict=True)]
        for name, rounds in took.items()
    }
    columns = ("time of a processor", "times psycopg2", "memory", "times psycopg2", "both must be")
    table = Table(("a process imports", *columns), name="imports")
    for name, (milliseconds, megabytes) in found.items():
        slower, larger = milliseconds / found["psycopg2"][0], megabytes / found["psycopg2"][1]
        most = OF_PSYCOPG2_AT_MOST.get(name)
        table.add(
            name,
            f"{milliseconds:.0f} ms",
            table.judge(f"{slower:.2f}", holds=most is None or slower <= most),
            f"{megabytes:.1f} MB",
            table.judge(f"{larger:.2f}", holds=most is None or larger <= most),
            f"≤ {most:g}" if most else "",
        )
    return table


def compare_reads() -> Table:
    from django.conf import settings

    from nova_admin.embedded.aws import AwsServer

    before = settings.AWS_ENDPOINT_URL
    with AwsServer(wrap=slow) as server:
        use_aws(server.endpoint)
        took = measure_reads()
    use_aws(before)
    table = Table()
    for name, seconds in took.items():
        table.add_measure(f"a read of one client: {name}", seconds * 1e6, "µs")
    aws = took["AWS after cutover, uncached"]
    slower = max(took["AWS alone"], took["PostgreSQL, uncached"])
    cheaper, dual = aws / took["cached"], took["dual read, uncached"] / slower
    name, bound = "a read from AWS, times a cached one", f"≥ {CACHED_AT_LEAST}×"
    table.add_measure(name, cheaper, "×", bound, holds=cheaper >= CACHED_AT_LEAST)
    name, bound = "a dual read, times the slower of its two", f"≤ {DUAL_AT_MOST}×"
    table.add_measure(name, dual, "×", bound, holds=dual <= DUAL_AT_MOST)
    return table


def use_aws(endpoint: str) -> None:
    """Sends this site and boto3 there."""
    from django.conf import settings

    settings.AWS_ENDPOINT_URL = os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = endpoint


def slow(app):
    def answer(environ, start_response):
        time.sleep(LATENCY_SECONDS)
        return app(environ, start_response)

    return answer


def measure_reads() -> dict[str, float]:
    """The median seconds of each read, the kinds taking turns."""
    from migration.models import ClientMigration
    from migration.pushes.pushes import push
    from nova_credentials.aws import ClientSecretsManager
    from nova_credentials.phases import Phase
    from nova_credentials.reader.routing import Reader
    from tests.factories import make_full_client

    for phase in (Phase.POSTGRES, Phase.DUAL_READ, Phase.AWS):
        pk = make_full_client(f"bench-{phase}")
        push(client_ids=[pk])
        ClientMigration.objects.filter(pk=pk).update(phase=phase)
    reader = Reader(os.environ["DATABASE_URL"], cache_seconds=3600, timeout=30)

    def uncached(phase: Phase) -> None:
        reader.get_credential(f"bench-{phase}", "database", refresh=True)

    def cached() -> None:
        for _ in range(CACHED_READS):
            reader.get_credential("bench-aws", "database")

    kinds: dict[str, Callable[[], object]] = {
        "AWS alone": partial(ClientSecretsManager().get_client_credentials, "bench-aws"),
        "PostgreSQL, uncached": partial(uncached, Phase.POSTGRES),
        "dual read, uncached": partial(uncached, Phase.DUAL_READ),
        "AWS after cutover, uncached": partial(uncached, Phase.AWS),
        "cached": cached,
    }
    for work in kinds.values():
        work()  # connections are opened, phases known
    took: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, work in kinds.items():
            start = time.perf_counter()
            work()
            took[name].append(time.perf_counter() - start)
    reader.close()
    medians = {name: statistics.median(times) for name, times in took.items()}
    return medians | {"cached": medians["cached"] / CACHED_READS}


STUDY = Study(measure, needs="a minute or two", writes=True)
