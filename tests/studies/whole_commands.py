"""Whole commands over all clients, with their reports, beside a bare loop of batch reads and the first release's own.

Each is a process of its own, timed from its start to its end. First by two workers at 100 ms of round trip under the
site's limits, over clients of which nothing changed, with the stand-in of `plain_aws.py` for AWS. The loop, in a
process of its own too, reads the same secrets, 20 a call, as the site's limiter lets it; it is timed without its start.
Then without any limit, in one process: a first push, the same again, and a comparison, with few clients and with many,
beside the first release's own commands. All ratios are from one run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, rmtree
from typing import TYPE_CHECKING
from uuid import uuid4

from tests import nova_database
from tests.checkout import ROOT
from tests.studies import pages, pushes, study
from tests.studies.plain_aws import ARN, fill_aws, plain_aws, set_round_trip
from tests.studies.pushes import ROUND_TRIP
from tests.studies.study import (
    LOCAL,
    MOST_SECONDS,
    Study,
    Table,
    call_in_process,
    read_peak,
    use_settings,
)

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

NO_LIMIT = 1_000_000.0
MIGRATE, COMPARE = ("migrate_clients", "--all"), ("compare_clients", "--all")
# The least share of the bare loop that a whole command by two workers may reach.
BY_WORKERS = 0.93
# And without limits, in one process, of what the first release reaches: it made 517 clients a second at a first push
# and 1,187 where nothing changed, where 450 and 1,100 are asked for.
FIRST, AGAIN = 450 / 517, 1100 / 1187
MOST_GROWTH = 1.3


@dataclass(frozen=True)
class Done:
    """What a command took, and the most memory that its process ever had."""

    seconds: float
    megabytes: float
    counts: dict[str, int]


def measure(options: Namespace) -> list[Table]:
    with plain_aws() as endpoint:
        # No sweep of the schedule's is meant to come between.
        settings = {
            "DJANGO_SETTINGS_MODULE": "tests.studies.bench_settings",
            "NOVA_SWEEP_MINUTES": "1440",
        }
        use_settings(aws=endpoint, **settings)
        study.set_up()
        if options.profile:
            profile(options.profile, options.clients, memory=options.memory)
            return []
        table = Table()
        measure_by_workers(table, options.clients)
        measure_in_one_process(table, options.few, options.many)
        return [table]


@contextmanager
def site(clients: int) -> Iterator[None]:
    """A database of its own with so many clients, none of them in AWS yet, under a prefix of its own."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from tests.bulk_data import make_unmoved

    server = os.environ["DATABASE_URL"]
    with nova_database.database() as uri:
        os.environ |= {"DATABASE_URL": uri, "NOVA_SECRET_PREFIX": f"study/{clients}"}
        settings.NOVA_SECRET_PREFIX = f"study/{clients}"
        pages.turn_to(uri)
        call_command("migrate", verbosity=0)
        make_unmoved(clients, indexes=True)
        try:
            yield
        finally:
            connection.close()
            os.environ["DATABASE_URL"] = server


def fill_stores() -> None:
    """Have AWS and the site know all clients' secrets, as some minutes after a first push of all."""
    from django.conf import settings
    from django.utils import timezone

    from credentials.models import ClientRevision
    from migration.core.clients import all_clients
    from migration.core.snapshots import read_snapshots
    from migration.models import ClientMigration, Comparison, Run, Secret
    from migration.pushes.comparisons import make_unsaved_match
    from migration.pushes.known_values import note_written_rows, select_clients_to_note
    from migration.runs.items import Outcome
    from nova_credentials.document import encode_document
    from nova_credentials.phases import Phase

    all_ids = all_clients().values_list("pk", flat=True)
    ClientMigration.objects.bulk_create(
        (ClientMigration(pk=pk) for pk in all_ids), ignore_conflicts=True
    )
    ClientMigration.objects.update(phase=Phase.DUAL_WRITE)
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    ids = list(all_clients().order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), 1000):
        found = read_snapshots(ids[start : start + 1000])
        made = [
            (each.client_id, name, encode_document(each.require_document()), str(uuid4()))
            for each in found.values()
            for name in each.names.values()
        ]
        fill_aws(settings.AWS_ENDPOINT_URL, [row[1:] for row in made])
        Secret.objects.record(
            Secret(name=name, arn=ARN + name, version_id=version, client_id=pk)
            for pk, name, _text, version in made
        )
        ClientRevision.objects.record_pushed((pk, each.revision) for pk, each in found.items())
        Comparison.objects.record(
            (make_unsaved_match(each, run=run) for each in found.values()), read_back=True
        )
    run.items.update(outcome=Outcome.CREATED, finished_at=timezone.now())
    run.finish_if_done()
    # The workers do this within minutes.
    while select_clients_to_note().exists():
        note_written_rows()
    analyze()


def analyze() -> None:
    """Do what PostgreSQL's autovacuum does within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def measure_by_workers(table: Table, clients: int) -> None:
    with site(clients), workers():
        fill_stores()
        set_round_trip(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"], ROUND_TRIP)
        loop_rate(clients)  # the limiter has found AWS's rate before anything is timed
        loop = loop_rate(clients)
        table.add_measure(f"bare loop, {clients:,} clients, 100 ms", loop, "clients/s")
        for command, outcome in ((MIGRATE, "unchanged"), (COMPARE, "matched")):
            rate = clients / do(*command, expects={outcome: clients}).seconds
            measured = f"`{' '.join(command)}`, nothing changed, two workers, of the bare loop"
            bound, holds = f"≥ {BY_WORKERS:.0%}", rate >= BY_WORKERS * loop
            table.add_measure(measured, 100 * rate / loop, "%", bound, holds=holds)
        set_round_trip(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"], 0)


@contextmanager
def workers() -> Iterator[None]:
    """Have two workers at work, once they have seen the schedule."""
    from migration.models import Worker

    with study.workers(2):
        until = time.monotonic() + 60
        while not Worker.objects.taking_tasks().exists():
            if time.monotonic() > until:
                raise SystemExit("no worker has come")
            time.sleep(0.5)
        time.sleep(5)
        yield


def measure_in_one_process(table: Table, few: int, many: int) -> None:
    """First push and second, without limits; the rates are those of the many clients."""
    done = {}
    for clients in (few, many):
        with site(clients):
            pushes.set_rates(NO_LIMIT)
            done[clients] = do_three(clients)
    first_release = do_by_first_release(many)
    for name, share in (("first push", FIRST), ("nothing changed", AGAIN), ("compare", AGAIN)):
        rate, before = many / done[many][name].seconds, many / first_release[name].seconds
        measured = f"whole command, {name}, {many:,} clients, no limit"
        table.add_measure(measured, rate, "clients/s")
        measured += f", of the first release's {before:,.0f} clients/s"
        bound, holds = f"≥ {share:.0%}", rate >= share * before
        table.add_measure(measured, 100 * rate / before, "%", bound, holds=holds)
    for name, large in done[many].items():
        growth = large.megabytes / done[few][name].megabytes
        measured = (
            f"peak memory, {name}, {many:,} clients ({large.megabytes:.0f} MB) against {few:,}"
        )
        bound, holds = f"≤ {MOST_GROWTH}×", growth <= MOST_GROWTH
        table.add_measure(measured, growth, "×", bound, holds=holds)


def do_three(clients: int, *, root: Path = ROOT) -> dict[str, Done]:
    """Do a first push, the same again, and a comparison of all, by the site in `root`."""
    done = {}
    for name, command, outcome in (
        ("first push", MIGRATE, "created"),
        ("nothing changed", MIGRATE, "unchanged"),
        ("compare", COMPARE, "matched"),
    ):
        done[name] = do(*command, "--inline", expects={outcome: clients}, root=root)
        analyze()
    return done


def do_by_first_release(clients: int) -> dict[str, Done]:
    """Do the three by the first release, over as many clients in a database of its own."""
    from django.db import connection

    from tests.bulk_data import UNMOVED

    root, kept = LOCAL / "first_release", dict(os.environ)
    rmtree(root, ignore_errors=True)
    with tarfile.open(ROOT / "tests/first_release/site.tar.xz") as packed:
        packed.extractall(root, filter="data")
    copy(ROOT / "tests/studies/bench_settings.py", root)
    with nova_database.database() as uri:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "DATABASE_URL": uri,
            "NOVA_SECRET_PREFIX": "study/first",
            "NOVA_AWS_WRITES_PER_SECOND": str(int(NO_LIMIT)),
            "NOVA_AWS_READS_PER_SECOND": str(int(NO_LIMIT)),
        }
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=root, env=os.environ, check=True, timeout=MOST_SECONDS)
        pages.turn_to(uri)
        with connection.cursor() as cursor:
            for table in ("client_database_credentials", "client_email_credentials"):
                cursor.execute(f"CREATE INDEX ON public.{table} (client_id)")
            cursor.execute(UNMOVED, {"clients": clients})
        analyze()
        try:
            return do_three(clients, root=root)
        finally:
            connection.close()
            os.environ.clear()
            os.environ.update(kept)


def do(name: str, *arguments: str, expects: dict[str, int], root: Path = ROOT) -> Done:
    """Run the command to its end, its report as JSON; it has to have done what is expected."""
    report = LOCAL / "report.json"
    with report.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "manage.py", name, *arguments, "--format", "json"],
            cwd=root, env=os.environ, stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        most = 0
        while process.poll() is None:
            most = max(most, read_peak(str(process.pid)))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
    told = json.loads(report.read_text())
    counts = {each: told[each] for each in expects}
    if process.returncode or counts != expects or len(told["items"]) != told["clients"]:
        raise SystemExit(f"{name} exits with {process.returncode}: {counts}")
    print(f"{name} {' '.join(arguments)}: {seconds:.1f} s, {most / 1000:.0f} MB", file=sys.stderr)
    return Done(seconds, most / 1000, counts)


def loop_rate(clients: int) -> float:
    seconds = float(call_in_process(time_loop).split()[-1])
    print(f"bare loop: {seconds:.1f} s", file=sys.stderr)
    return clients / seconds


def time_loop() -> None:
    study.set_up()
    print(pushes.seconds(pushes.read_alone))


def profile(what: str, clients: int, *, memory: bool) -> None:
    """Do one command without limits in this process, and print where its time, or its memory, goes."""
    import io

    from django.core.management import call_command

    from tests.studies import growth

    def work() -> None:
        command = COMPARE if what == "compare" else MIGRATE
        call_command(*command, "--inline", "--format", "json", stdout=io.StringIO())

    with site(clients):
        pushes.set_rates(NO_LIMIT)
        if what != "first":
            fill_stores()
        if memory:
            import tracemalloc

            tracemalloc.start(8)
            work()
            for line in tracemalloc.take_snapshot().statistics("lineno")[:30]:
                print(line)
            print(
                "now and at most:",
                [f"{each / 1e6:.1f} MB" for each in tracemalloc.get_traced_memory()],
            )
        else:
            began = time.perf_counter()
            growth.profile(work)
            print(
                f"{clients / (time.perf_counter() - began):.0f} clients a second, profiled, in one thread"
            )


STUDY = Study(
    measure,
    needs="up to half an hour of two idle cores",
    options={
        "--clients": {"type": int, "default": 80_000, "help": "by two workers"},
        "--few": {"type": int, "default": 5_000, "help": "in one process"},
        "--many": {"type": int, "default": 50_000, "help": "in one process"},
        "--profile": {
            "choices": ["first", "again", "compare"],
            "help": "where the time of one command without limits goes, by function and by statement",
        },
        "--memory": {
            "action": "store_true",
            "help": "with --profile: what of its memory is held at the end, by line",
        },
    },
)
