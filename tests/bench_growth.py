"""`make bench`, growth: what each client costs with 100,000 clients, beside the same with 10,000, in one run.

Each act runs in a process of its own over a whole site: plan, push, compare, move, count, and the pages that show all
clients. AWS is a stand-in whose calls take as long with any number of secrets (`tests/bench_aws.py`). The site of
10,000 is made twice, before and after the other, as a machine may be busy for a while: its better time counts. Exits
with 1 where a bound is missed. ARGS="--write" puts the table into docs/performance.md.

`python -m tests.bench_growth --profile ACT [--clients 10000]`: where an act's time goes, in Python and by statement.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from secrets import token_urlsafe
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil

from tests import nova_database
from tests.bench import (
    DOC,
    LOCAL,
    ROOT,
    describe_machine,
    most_memory,
    run,
    set_rates,
)
from tests.bench_aws import ARN, fill_aws, plain_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEW, MANY = 10_000, 100_000
SAMPLE = 5000
AT_MOST = 1.3
ROUNDS = 8
NO_LIMIT = 1_000_000.0
ACT_SECONDS = 1800
LIST, DASHBOARD = "/admin/credentials/client/", "/admin/"


@dataclass(frozen=True)
class Measured:
    """What an act over a whole site took: seconds, of it of a processor in Python and PostgreSQL, and the memory."""

    seconds: float
    processor: float
    megabytes: float


# The acts: each does one thing to the whole site and returns the seconds that it took.


def make_site(clients: int) -> float:
    from tests.bulk_data import make_unmoved

    set_rates(NO_LIMIT)
    return seconds(lambda: make_unmoved(clients))


def make_plan(clients: int) -> float:
    from migration.models import RunPlan
    from migration.operations import run_plans

    plan = RunPlan.request(by=None, chosen=None)
    took = seconds(lambda: run_plans.work_on_plan(plan_id=plan.pk))
    plan.refresh_from_db()
    assert plan.read_counts().classes == {"new": clients}, plan.counts
    return took


def push_some(clients: int) -> float:
    """Push the last clients for the first time: each is a call of its own, for which AWS's quota leaves 20 ms."""
    return run_over("migrate", "created", size_sample(clients), **find_sample(clients))


def fill_stores(clients: int) -> float:
    """Have AWS and the site know the secrets of all other clients too, as after their push."""
    from django.conf import settings

    from migration.models import Secret, all_clients
    from migration.operations.snapshots import read_snapshots
    from nova_credentials.document import encode_document

    began, ids = (
        time.perf_counter(),
        all_clients().filter(secrets=None).values_list("pk", flat=True),
    )
    for some in batched(list(ids), 1000):
        made = [
            (each.client_id, name, encode_document(each.document), str(uuid4()))
            for each in read_snapshots(some).values()
            for name in each.names.values()
        ]
        fill_aws(settings.AWS_ENDPOINT_URL, [row[1:] for row in made])
        Secret.objects.record(
            Secret(name=name, arn=ARN + name, version_id=version, client_id=pk)
            for pk, name, _text, version in made
        )
    return time.perf_counter() - began


def push_again(clients: int) -> float:
    return run_over("migrate", "unchanged", clients)


def compare_all(clients: int) -> float:
    return run_over("compare", "matched", clients)


def run_over(kind: str, outcome: str, number: int, **chosen: object) -> float:
    done = []
    took = seconds(lambda: done.append(run(kind, **chosen)))
    counts = done[0].count_items()
    assert counts[outcome] == number, counts
    return took


def size_sample(clients: int) -> int:
    return min(SAMPLE, clients // 2)


def find_sample(clients: int) -> dict[str, int]:
    """Return the condition of the last clients."""
    from migration.models import all_clients

    ids = all_clients().order_by("-pk").values_list("pk", flat=True)
    return {"pk__gt": ids[size_sample(clients)]}


def batched(ids: list[int], number: int) -> Iterator[list[int]]:
    for start in range(0, len(ids), number):
        yield ids[start : start + number]


def move_some(clients: int) -> float:
    """Cut the last clients over: of all moves of many it asks most. The one before it was made by hand."""
    from migration.models import ClientMigration, all_clients
    from migration.operations import runs
    from migration.operations.run_approvals import start_move_run
    from nova_credentials.phases import Phase

    def cut_over() -> None:
        chosen = all_clients().filter(**find_sample(clients))
        started = start_move_run(chosen=chosen, old=Phase.DUAL_READ, new=Phase.AWS)
        runs.finish_inline(started)

    took = seconds(cut_over)
    moved = ClientMigration.objects.filter(phase=Phase.AWS).count()
    assert moved == size_sample(clients), moved
    return took


def open_cutover(clients: int) -> float:
    """Open the page that confirms the cutover of all, and counts the evidence that each client lacks."""
    from migration.models import ClientMigration
    from nova_credentials.phases import Phase

    ClientMigration.objects.update(phase=Phase.DUAL_READ)
    return open_page("/admin/credentials/client/ready/aws/", data={}, rounds=2)


def count_clients(clients: int) -> float:
    """Count for the dashboard, as the workers do it every minute."""
    from migration.models import KeptCounts

    return min(seconds(KeptCounts.objects.renew) for _ in range(ROUNDS // 2))


def scan_tables(clients: int) -> float:
    """Have PostgreSQL read what counting can't do without, once: the limit of every count and list."""
    from django.db import connection

    def scan() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*), max(compared_at), max(pushed_at) FROM public.clients AS client"
                " LEFT JOIN migration_clientmigration AS stands ON stands.client_id = client.id"
                " LEFT JOIN credentials_clientrevision AS kept ON kept.client_id = client.id"
            )
            assert cursor.fetchone()[0] == clients

    return min(seconds(scan) for _ in range(ROUNDS))


def open_dashboard(clients: int) -> float:
    from migration.models import KeptCounts

    KeptCounts.objects.renew()
    return open_page(DASHBOARD)


def open_list(clients: int) -> float:
    return open_page(LIST)


def search_list(clients: int) -> float:
    return open_page(f"{LIST}?q=000042")


def filter_list(clients: int) -> float:
    return open_page(f"{LIST}?phase=aws&o=-2")


def open_plan(clients: int) -> float:
    from migration.models import RunPlan

    return open_page(f"/admin/migration/run/plan/{RunPlan.objects.get().pk}/")


def open_run(clients: int) -> float:
    from migration.models import Run

    return open_page(f"/admin/migration/run/{Run.objects.first().pk}/change/")


def poll_run(clients: int) -> float:
    from migration.models import Run

    return open_page(f"/admin/migration/run/{Run.objects.first().pk}/live/")


def open_page(url: str, *, data: dict[str, str] | None = None, rounds: int = ROUNDS) -> float:
    """Return the least seconds of some rounds: other work on the machine only adds."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["testserver"]
    browser = Client()
    root = User.objects.filter(username="root").first()
    browser.force_login(root or User.objects.create_superuser("root"))

    def ask() -> None:
        answer = browser.get(url) if data is None else browser.post(url, data)
        assert answer.status_code == 200, url

    return min(seconds(ask) for _ in range(rounds))


@dataclass(frozen=True)
class Act:
    """One row of the table: what is measured, and how much more of it the larger site may take."""

    name: str
    work: Callable[[int], float]
    # How much longer the whole act may take, where it is a page; otherwise it is judged by client.
    most_whole: float | None = None
    is_bounded: bool = True
    # Whether only the clients of the sample take part.
    is_sample: bool = False


ACTS = {
    "make": Act("making the clients by SQL", make_site, is_bounded=False),
    "first_list": Act("list, all in PostgreSQL", open_list, most_whole=10 * AT_MOST),
    "plan": Act("plan of a push of all", make_plan),
    "push": Act("first push of 5,000 of them", push_some, is_sample=True),
    "fill": Act("the others into AWS, by hand", fill_stores, is_bounded=False),
    "push_again": Act("push of all, nothing changed", push_again),
    "compare": Act("compare all", compare_all),
    "open_cutover": Act("page before a cutover of all", open_cutover, most_whole=10 * AT_MOST),
    "move": Act("cutover of 5,000 of them", move_some, is_sample=True),
    "count": Act("counting for the dashboard", count_clients),
    "scan": Act("PostgreSQL reads the same tables", scan_tables, is_bounded=False),
    "dashboard": Act("dashboard", open_dashboard, most_whole=1.5),
    "list": Act("list", open_list, most_whole=10 * AT_MOST),
    "search": Act("list, searched", search_list, most_whole=10 * AT_MOST),
    "filter": Act("list, filtered and sorted", filter_list, most_whole=10 * AT_MOST),
    "open_plan": Act("page of the plan", open_plan, most_whole=1.5),
    "open_run": Act("page of a run", open_run, most_whole=10 * AT_MOST),
    "poll_run": Act("its live part", poll_run, most_whole=10 * AT_MOST),
}


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    parser.add_argument("--clients", type=int, nargs="+", default=[FEW, MANY])
    parser.add_argument(
        "--once", action="store_true", help="the smaller site once, before the other"
    )
    parser.add_argument("--profile", choices=ACTS)
    parser.add_argument("--act", choices=ACTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        do_act(options.act, options.clients[0], profiles=bool(options.profile))
        return

    from nova_admin.embedded import postgres

    with ExitStack() as stack:
        endpoint = stack.enter_context(plain_aws())
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
            # Evidence takes days: the gate's facts are what costs something here.
            "NOVA_CLEAN_STREAK": "0", "NOVA_DUAL_READ_HOURS": "0", "NOVA_MIN_READS": "0",
            "NOVA_AWS_WRITES_PER_SECOND": "100000",
            "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
            "AWS_ACCESS_KEY_ID": "embedded", "AWS_SECRET_ACCESS_KEY": "embedded",
        }  # fmt: skip
        if options.profile:
            measure_site(options.clients[0], "profiled", until=options.profile)
            return
        few, many = options.clients
        first = measure_site(few, "first")
        large = measure_site(many, "large")
        again = measure_site(few, "again")
    better = {
        name: first[name] if first[name].seconds < again[name].seconds else again[name]
        for name in ACTS
    }
    if not tell(few, many, better, large, write=options.write):
        sys.exit(1)


def measure_site(clients: int, name: str, *, until: str = "") -> dict[str, Measured]:
    """Make a site and do every act to it; `until`: the last one, which is profiled."""
    found = {}
    with nova_database.database() as uri:
        environment = os.environ | {"DATABASE_URL": uri, "NOVA_SECRET_PREFIX": f"growth/{name}"}
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True, timeout=ACT_SECONDS)
        for act in ACTS:
            found[act] = measure_act(act, clients, environment, profiles=act == until)
            told = "{seconds:8.3f} s, {processor:8.3f} s of a processor, {megabytes:5.0f} MB"
            line = f"{clients:7,} {act:12} {told.format(**asdict(found[act]))}"
            print(line, file=sys.stderr, flush=True)
            if act == until:
                break
    return found


def measure_act(act: str, clients: int, environment: dict[str, str], *, profiles: bool) -> Measured:
    """Do one act in a process of its own."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tests.bench_growth",
        "--act",
        act,
        "--clients",
        str(clients),
    ]
    if profiles:
        command += ["--profile", act]
    before = seconds_of_postgres()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=ACT_SECONDS
    )  # fmt: skip
    *shown, told = done.stdout.splitlines()
    print("\n".join(shown), end="\n" if shown else "")
    took, processor, megabytes = json.loads(told)
    return Measured(took, processor + seconds_of_postgres() - before, megabytes)


def seconds_of_postgres() -> float:
    """Return the processor's seconds of PostgreSQL's processes so far, also of those that have ended."""
    pid = int((LOCAL / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    server = psutil.Process(pid)
    times = [server.cpu_times()]
    ended = times[0].children_user + times[0].children_system
    for child in server.children(recursive=True):
        try:
            times.append(child.cpu_times())
        except psutil.NoSuchProcess:  # it has ended since
            continue
    return ended + sum(each.user + each.system for each in times)


def do_act(name: str, clients: int, *, profiles: bool) -> None:
    """Do it in this process, and print what it took as the last line."""
    prepare_site()
    work = ACTS[name].work
    began = time.process_time()
    took = profile(lambda: work(clients)) if profiles else work(clients)
    print(json.dumps([took, time.process_time() - began, most_memory() / 1000]))


def prepare_site() -> None:
    import django

    django.setup()
    from django.conf import settings

    settings.DEBUG = False  # in development Django keeps every statement in memory


def profile(work: Callable[[], float]) -> float:
    """Do it in one thread, and print what took longest: functions by their own time, and statements."""
    from django.db.backends.utils import CursorWrapper

    from migration.operations import runs

    runs.BATCHES_AT_ONCE = 1
    plain, statements = CursorWrapper.execute, defaultdict(lambda: [0, 0.0])

    def timing(self, sql, params=None):
        began = time.perf_counter()
        try:
            return plain(self, sql, params)
        finally:
            counted = statements[" ".join(str(sql).split())[:150]]
            counted[0] += 1
            counted[1] += time.perf_counter() - began

    CursorWrapper.execute = timing
    profiler = cProfile.Profile()
    took = profiler.runcall(work)
    stats = pstats.Stats(profiler, stream=sys.stdout)
    stats.sort_stats("tottime").print_stats(35)
    stats.sort_stats("cumtime").print_stats("migration/|credentials/|nova_credentials/", 60)
    for sql, (number, spent) in sorted(statements.items(), key=lambda item: -item[1][1])[:25]:
        print(f"{spent:8.2f} s {number:7} times  {sql}")
    return took


def tell(
    few: int, many: int, before: dict[str, Measured], after: dict[str, Measured], *, write: bool
) -> bool:
    """Print the table and store it; say whether every bound holds."""
    holds = True
    lines = [
        f"| act | {few:,} clients | {many:,} clients | time | of a processor | must be | memory | must be |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, act in ACTS.items():
        row, is_missed = compare_sites(act, (few, before[name]), (many, after[name]))
        lines.append(row)
        holds &= not is_missed
    print(describe_machine(), *lines, sep="\n")
    LOCAL.mkdir(parents=True, exist_ok=True)
    told = {name: [asdict(before[name]), asdict(after[name])] for name in ACTS}
    (LOCAL / "growth.json").write_text(json.dumps(told, indent=1))
    if write:
        start, _, rest = DOC.read_text().partition("<!-- growth -->\n")
        end = rest.partition("<!-- end of growth -->")[2]
        table = "\n".join([f"{describe_machine()}:", "", *lines])
        DOC.write_text(f"{start}<!-- growth -->\n{table}\n<!-- end of growth -->{end}")
    return holds


def compare_sites(
    act: Act, small: tuple[int, Measured], large: tuple[int, Measured]
) -> tuple[str, bool]:
    """Return the act's row of the table, and whether it misses a bound.

    The smaller of both ratios counts: other work on the machine adds to the time, and not to that of a processor.
    """
    (few, old), (many, new) = small, large
    share = 1.0 if act.most_whole else few / many
    if act.is_sample:
        share = size_sample(few) / size_sample(many)
    took, processor = (
        new.seconds / old.seconds * share,
        new.processor / old.processor * share,
    )
    memory, most = new.megabytes / old.megabytes, act.most_whole or AT_MOST
    slow, large_one = min(took, processor) > most, memory > AT_MOST
    bounds = (f"≤ {most:g}", f"≤ {AT_MOST:g}") if act.is_bounded else ("", "")
    marks = [" **missed**" if missed and act.is_bounded else "" for missed in (slow, large_one)]
    row = (
        f"| {act.name} | {show(old, few, act)} | {show(new, many, act)} | {took:.2f} | {processor:.2f}{marks[0]}"
        f" | {bounds[0]} | {memory:.2f}{marks[1]} | {bounds[1]} |"
    )
    return row, any(marks)


def show(measured: Measured, clients: int, act: Act) -> str:
    if act.most_whole or act.work in (count_clients, scan_tables):
        return f"{measured.seconds * 1000:,.0f} ms"
    each = measured.seconds / (size_sample(clients) if act.is_sample else clients) * 1000
    return f"{each:.2f} ms a client, {measured.megabytes:.0f} MB"


if __name__ == "__main__":
    main()
