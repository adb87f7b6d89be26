"""`make bench`, commands: `migrate_clients --all` and `compare_clients --all` whole, beside a bare loop of batch reads.

Each is a process of its own, timed from its start to its end, its report of all clients included. First by two workers
at 100 ms of round trip under the site's limits, over clients of which nothing changed, with the stand-in of
`tests/bench_aws.py` for AWS. The loop, in a process of its own too, reads the same secrets, 20 a call, as the site's
limiter lets it; it is timed without its start. Then without any limit, in one process: a first push, the same again,
and a comparison, with few clients and with many, beside the first release's own commands. All ratios are from one run.
Exits with 1 where a bound is missed.

`python -m tests.bench_commands --clients 5000 --few 500 --many 5000`: a quick look. `--profile first|again|compare
--clients 3000`: where the time of one command without limits goes, by function and by statement; `--memory` what of its
memory is held at the end, by line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from shutil import copy, rmtree
from typing import TYPE_CHECKING
from uuid import uuid4

from tests import bench, nova_database
from tests.bench import LOCAL, ROOT, ROUND_TRIP, Row
from tests.bench_aws import ARN, fill_aws, plain_aws, set_round_trip

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_LIMIT = 1_000_000.0
MOST_SECONDS = 1800
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


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--clients", type=int, default=40_000, help="by two workers")
    parser.add_argument("--few", type=int, default=5_000, help="in one process")
    parser.add_argument("--many", type=int, default=50_000, help="in one process")
    parser.add_argument("--profile", choices=["first", "again", "compare"])
    parser.add_argument("--memory", action="store_true", help="with --profile: by tracemalloc")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        time_loop()
        return

    from nova_admin.embedded import postgres

    with plain_aws() as endpoint:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tests.bench_settings",
            "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
            # No sweep of the schedule's is meant to come between.
            "NOVA_SWEEP_MINUTES": "1440",
            "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
            "AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded",
        }  # fmt: skip
        import django

        django.setup()
        if options.profile:
            profile(options.profile, options.clients, memory=options.memory)
            return
        rows = measure_by_workers(options.clients)
        rows += measure_in_one_process(options.few, options.many)
    print(bench.describe_machine())
    print("| measure | reached | must reach |", "|---|---|---|", sep="\n")
    for row in rows:
        missed = "" if row.holds else " **missed**"
        print(f"| {row.measure} | {row.reached:,.2f} {row.unit}{missed} | {row.must_reach} |")
    if not all(row.holds for row in rows):
        sys.exit(1)


@contextmanager
def site(clients: int) -> Iterator[None]:
    """A database of its own with so many clients, none of them in AWS yet, under a prefix of its own."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    from tests import bench_pages
    from tests.bulk_data import make_unmoved

    server = os.environ["DATABASE_URL"]
    with nova_database.database() as uri:
        os.environ |= {"DATABASE_URL": uri, "NOVA_SECRET_PREFIX": f"bench/{clients}"}
        settings.NOVA_SECRET_PREFIX = f"bench/{clients}"
        bench_pages.turn_to(uri)
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


def measure_by_workers(clients: int) -> list[Row]:
    with site(clients), workers():
        fill_stores()
        set_round_trip(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"], ROUND_TRIP)
        loop = loop_rate(clients)
        rates = {
            " ".join(command): clients / do(*command, expects={outcome: clients}).seconds
            for command, outcome in ((MIGRATE, "unchanged"), (COMPARE, "matched"))
        }
        set_round_trip(os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"], 0)
    rows = [Row(f"bare loop, {clients:,} clients, 100 ms", loop, "clients/s", "", holds=True)]
    for name, rate in rates.items():
        share = 100 * rate / loop
        measure = f"`{name}`, nothing changed, two workers, of the bare loop"
        rows.append(Row(measure, share, "%", f"≥ {BY_WORKERS:.0%}", rate >= BY_WORKERS * loop))
    return rows


@contextmanager
def workers() -> Iterator[None]:
    """Have two workers at work, once they have seen the schedule."""
    from migration.models import Worker

    with (LOCAL / "qcluster.log").open("ab") as log:
        command = [*bench.RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "manage.py"]
        process = subprocess.Popen(
            [*command, "qcluster"], cwd=ROOT, start_new_session=True,
            env=os.environ | {"NOVA_WORKERS": "2"}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            until = time.monotonic() + 60
            while not Worker.objects.taking_tasks().exists():
                if time.monotonic() > until:
                    raise SystemExit("no worker has come")
                time.sleep(0.5)
            time.sleep(5)
            yield
        finally:
            process.terminate()
            process.wait(30)


def measure_in_one_process(few: int, many: int) -> list[Row]:
    """First push and second, without limits; the rates are those of the many clients."""
    rows, done = [], {}
    for clients in (few, many):
        with site(clients):
            bench.set_rates(NO_LIMIT)
            done[clients] = do_three(clients)
    first_release = do_by_first_release(many)
    for name, share in (("first push", FIRST), ("nothing changed", AGAIN), ("compare", AGAIN)):
        rate, before = many / done[many][name].seconds, many / first_release[name].seconds
        measure = f"whole command, {name}, {many:,} clients, no limit"
        rows += [
            Row(measure, rate, "clients/s", "", holds=True),
            Row(f"{measure}, of the first release's {before:,.0f} clients/s", 100 * rate / before,
                "%", f"≥ {share:.0%}", rate >= share * before),
        ]  # fmt: skip
    for name, large in done[many].items():
        growth = large.megabytes / done[few][name].megabytes
        measure = (
            f"peak memory, {name}, {many:,} clients ({large.megabytes:.0f} MB) against {few:,}"
        )
        rows.append(
            Row(measure, growth, "×", f"≤ {MOST_GROWTH}×", growth <= MOST_GROWTH)
        )  # fmt: skip
    return rows


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

    from tests import bench_pages
    from tests.bulk_data import UNMOVED

    root, kept = LOCAL / "first_release", dict(os.environ)
    rmtree(root, ignore_errors=True)
    with tarfile.open(ROOT / "tests/first_release/site.tar.xz") as packed:
        packed.extractall(root, filter="data")
    copy(ROOT / "tests/bench_settings.py", root)
    with nova_database.database() as uri:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "bench_settings",
            "DATABASE_URL": uri,
            "NOVA_SECRET_PREFIX": "bench/first",
            "NOVA_AWS_WRITES_PER_SECOND": str(int(NO_LIMIT)),
            "NOVA_AWS_READS_PER_SECOND": str(int(NO_LIMIT)),
        }
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=root, env=os.environ, check=True, timeout=MOST_SECONDS)
        bench_pages.turn_to(uri)
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
            most = max(most, read_peak(process.pid))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
    told = json.loads(report.read_text())
    counts = {each: told[each] for each in expects}
    if process.returncode or counts != expects or len(told["items"]) != told["clients"]:
        raise SystemExit(f"{name} exits with {process.returncode}: {counts}")
    print(f"{name} {' '.join(arguments)}: {seconds:.1f} s, {most / 1000:.0f} MB", file=sys.stderr)
    return Done(seconds, most / 1000, counts)


def read_peak(pid: int) -> int:
    """Return the most kilobytes that the process had until now; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def loop_rate(clients: int) -> float:
    command = [sys.executable, "-m", "tests.bench_commands", "--loop"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True, timeout=MOST_SECONDS
    )  # fmt: skip
    seconds = float(done.stdout.split()[-1])
    print(f"bare loop: {seconds:.1f} s", file=sys.stderr)
    return clients / seconds


def time_loop() -> None:
    import django

    django.setup()
    print(bench.seconds(bench.read_alone))


def profile(what: str, clients: int, *, memory: bool) -> None:
    """Do one command without limits in this process, and print where its time, or its memory, goes."""
    import io

    from django.core.management import call_command

    from tests import bench_growth

    def work() -> None:
        command = COMPARE if what == "compare" else MIGRATE
        call_command(*command, "--inline", "--format", "json", stdout=io.StringIO())

    with site(clients):
        bench.set_rates(NO_LIMIT)
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
            bench_growth.profile(work)
            print(
                f"{clients / (time.perf_counter() - began):.0f} clients a second, profiled, in one thread"
            )


if __name__ == "__main__":
    main()
