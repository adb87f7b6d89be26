"""`make bench`: this app beside the plan's own loop, against the embedded AWS, as ratios in one run."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests import nova

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL = Path(__file__).resolve().parent.parent / ".local" / "bench"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    number = parser.parse_args().clients

    from nova_admin.embedded import aws, postgres

    shutil.rmtree(LOCAL / "aws", ignore_errors=True)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": postgres.start(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.start(LOCAL / "aws"),
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
    }
    with nova.database() as uri:
        os.environ["DATABASE_URL"] = uri
        measure(number)


def measure(number: int) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from credentials.models import Client
    from migration.models import Run, clients
    from migration.operations import running
    from migration.operations.stores import secrets_manager
    from nova_admin.embedded.management.commands.demo import add_clients

    settings.DEBUG = False  # in development Django keeps every statement in memory
    call_command("migrate", verbosity=0)
    add_clients(number)

    def plan() -> None:
        """The plan's step 3 and a read of each: create, then get, one client at a time."""
        settings.NOVA_SECRET_PREFIX = "plan/clients"
        sm = secrets_manager()
        for client in Client.objects.with_credentials():
            sm.create_client_credentials(client.slug, client.document())
        for client in Client.objects.with_credentials():
            assert sm.get_client_credentials(client.slug) == client.document()
        settings.NOVA_SECRET_PREFIX = "nova/clients"

    def run(kind: Run.Kind) -> Run:
        done = running.start(kind=kind, chosen=clients())
        running.finish_inline(done)
        return done

    def seconds(work: Callable[[], object]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    rows = [
        ("the plan's loop: create, then get", seconds(plan)),
        ("push, nothing there yet (with read-back)", seconds(lambda: run(Run.Kind.MIGRATE))),
        ("push, nothing changed", seconds(lambda: run(Run.Kind.MIGRATE))),
        ("compare", seconds(lambda: run(Run.Kind.COMPARE))),
    ]
    with connection.execute_wrapper(counter := StatementCounter()):
        matched = run(Run.Kind.MIGRATE).counts()["matched"]

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {number} clients"
    )
    print(f"{'':42} {'clients/s':>10} {'times the loop':>15}")
    for name, took in rows:
        print(f"{name:42} {number / took:10.0f} {rows[0][1] / took:15.1f}")
    print(
        f"{matched} of {number} match; {counter.statements / number:.2f} statements a client in a run"
    )


class StatementCounter:
    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute, sql, params, many, context):
        self.statements += 1
        return execute(sql, params, many, context)


if __name__ == "__main__":
    main()
