"""`python -m tests.bench_reader`: the reader's reads side by side, AWS taking 20 ms, and its import: as ratios."""

from __future__ import annotations

import os
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
# psycopg2, which NOVA's helper imports, takes about a quarter of it.
IMPORT_AT_MOST = 0.6


def main() -> None:
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
        if not all([reads(), imports()]):
            sys.exit(1)


def imports() -> bool:
    """Measures and prints what importing the reader takes beside psycopg; answers whether the bound holds."""
    modules = ("nova_credentials.reader", "psycopg")
    took: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(IMPORTS):
        for module in modules:
            code = f"import time; s = time.perf_counter(); import {module}; print(time.perf_counter() - s)"
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True
            )
            took[module].append(float(done.stdout))
    reader, psycopg = (statistics.median(took[module]) for module in modules)
    print(
        f"importing the reader takes {reader / psycopg:.2f} times importing psycopg (at most {IMPORT_AT_MOST})"
    )
    return reader <= IMPORT_AT_MOST * psycopg


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
