"""`python -m tests.bench_reader`: the reader's reads side by side, AWS taking 20 ms, and its import: as ratios.

ARGS="--write" puts the table of imports into docs/performance.md. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tests import nova_database
from tests.bench import LOCAL
from tests.checkout import ROOT

if TYPE_CHECKING:
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
DOC = ROOT / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    options = parser.parse_args()
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",  # until the slow one is there
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
    }
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        if not all([reads(), imports(write=options.write)]):
            sys.exit(1)


def imports(*, write: bool) -> bool:
    """Measure what each import takes, all taking turns; print it, and say whether the bounds hold."""
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
    lines, is_well = [], True
    for name, (milliseconds, megabytes) in found.items():
        of_psycopg2 = milliseconds / found["psycopg2"][0], megabytes / found["psycopg2"][1]
        most = OF_PSYCOPG2_AT_MOST.get(name)
        is_well = is_well and (most is None or max(of_psycopg2) <= most)
        lines.append(
            f"| {name} | {milliseconds:.0f} ms | {of_psycopg2[0]:.2f} | {megabytes:.1f} MB | {of_psycopg2[1]:.2f}"
            f" | {f'≤ {most:g}' if most else ''} |"
        )
    table = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}:\n\n"
        "| a process imports | time of a processor | times psycopg2 | memory | times psycopg2 | both must be |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(lines)
    )
    print(table)
    if write:
        before, _, rest = DOC.read_text().partition("<!-- imports -->\n")
        after = rest.partition("<!-- end of imports -->")[2]
        DOC.write_text(f"{before}<!-- imports -->\n{table}\n<!-- end of imports -->{after}")
    return is_well


def reads() -> bool:
    """Measures and prints; answers whether both bounds hold. Needs Django, its tables, and DATABASE_URL."""
    from django.conf import settings

    from nova_admin.embedded.aws import AwsServer

    before = settings.AWS_ENDPOINT_URL
    with AwsServer(wrap=slow) as server:
        use_aws(server.endpoint)
        took = measure()
    use_aws(before)
    return report(took)


def use_aws(endpoint: str) -> None:
    """Sends this site and boto3 there."""
    from django.conf import settings

    settings.AWS_ENDPOINT_URL = os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = endpoint


def slow(app):
    def answer(environ, start_response):
        time.sleep(LATENCY_SECONDS)
        return app(environ, start_response)

    return answer


def measure() -> dict[str, float]:
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


def report(took: dict[str, float]) -> bool:
    aws = took["AWS after cutover, uncached"]
    slower = max(took["AWS alone"], took["PostgreSQL, uncached"])
    cheaper, dual = aws / took["cached"], took["dual read, uncached"] / slower
    print(f"{'a read of one client':42} {'ms':>10} {'times cached':>15}")
    for name, seconds in took.items():
        print(f"{name:42} {seconds * 1000:10.4f} {seconds / took['cached']:15.0f}")
    print(
        f"a cached read is {cheaper:.0f} times cheaper than one from AWS (at least {CACHED_AT_LEAST})"
    )
    print(f"a dual read takes {dual:.2f} times the slower of its two (at most {DUAL_AT_MOST})")
    return cheaper >= CACHED_AT_LEAST and dual <= DUAL_AT_MOST


if __name__ == "__main__":
    main()
