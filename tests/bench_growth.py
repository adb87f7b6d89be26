"""`make bench`, growth: what each client costs with 100,000 clients, beside the same with 10,000, in one run.

Each act runs in a process of its own over a whole site: plan, push, compare, move, count, and the pages that show all
clients. AWS is a stand-in whose calls take as long with any number of secrets (`tests/bench_aws.py`). The site of
10,000 is made twice, before and after the other, as a machine may be busy for a while: its better time counts. Exits
with 1 where a bound is missed. ARGS="--write" puts the table into docs/studies/growth.md.

`python -m tests.bench_growth --profile ACT [--clients 10000]`: where an act's time goes, in Python and by statement.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import json
import os
import pstats
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests import nova_database
from tests.bench import (
    LOCAL,
    ROOT,
    describe_machine,
    most_memory,
    set_rates,
)
from tests.bench_aws import ARN, fill_aws, plain_aws
from tests.bench_growth_pages import (
    filter_blocked,
    filter_list,
    filter_waiting,
    open_cutover,
    open_dashboard,
    open_failures,
    open_filters,
    open_list,
    open_plan,
    open_run,
    poll_run,
    put_into_group,
    search_list,
    take_out_of_group,
)
from tests.bench_took import Took, measure, measure_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from migration.runs.models import Run

FEW, MANY = 10_000, 100_000
DOC = ROOT / "docs" / "studies" / "growth.md"
# So many clients of a run over all of them.
SAMPLE = 3000
AT_MOST = 1.3
# Set for the children where NOVA's tables have no index on their clients.
BARE = "BENCH_GROWTH_BARE"
NO_LIMIT = 1_000_000.0
ACT_SECONDS = 1800


@dataclass(frozen=True)
class Measured:
    """What an act took, and the most memory that its process ever had."""

    took: Took
    megabytes: float


# The acts: each does one thing to the site and returns what that took.


def make_site(clients: int) -> Took:
    from tests.bulk_data import make_unmoved

    set_rates(NO_LIMIT)
    return measure(lambda: make_unmoved(clients, indexes=not os.environ.get(BARE)))


def make_plan(clients: int) -> Took:
    from migration import tasks
    from tests.migration.pages import store_plan

    plan = store_plan()
    took = measure(lambda: tasks.work_on_run(plan.pk))
    plan.refresh_from_db()
    assert plan.read_plan_counts().classes == {"new": clients}, plan.plan_counts
    return took


def push_some(clients: int) -> Took:
    """Push for the first time: each client is a call of its own, for which AWS's quota leaves 20 ms."""
    return run_some("migrate", "created")


def fill_stores(clients: int) -> Took:
    """Have AWS and the site know the secrets of the next clients too, as after their push."""
    from django.conf import settings

    from migration.core.clients import all_clients
    from migration.core.snapshots import read_snapshots
    from migration.models import Secret
    from nova_credentials.document import encode_document

    ids = all_clients().filter(secrets=None).order_by("pk")
    made = [
        (each.client_id, name, encode_document(each.document), str(uuid4()))
        for each in read_snapshots(ids.values_list("pk", flat=True)[: SAMPLE // 2]).values()
        for name in each.names.values()
    ]
    fill_aws(settings.AWS_ENDPOINT_URL, [row[1:] for row in made])
    Secret.objects.record(
        Secret(name=name, arn=ARN + name, version_id=version, client_id=pk)
        for pk, name, _text, version in made
    )
    return Took(0, 0)


def push_again(clients: int) -> Took:
    return run_some("migrate", "unchanged", more=0.15)


def compare_some(clients: int) -> Took:
    return run_some("compare", "compared", more=0.3)


def run_some(kind: str, outcome: str, *, more: float = 0.0) -> Took:
    """Do the first batches of a run over all; return what SAMPLE clients took, with their share of the start."""
    from migration.core.clients import all_clients
    from migration.runs.models import Run

    return do_first_batches(lambda: Run.start(kind=kind, chosen=all_clients()), outcome, more=more)


def do_first_batches(start: Callable[[], Run], outcome: str, *, more: float = 0.0) -> Took:
    """Start the run and do the batches of SAMPLE clients; of a share more, where the next act needs them."""
    from migration.runs import engine
    from migration.runs.models import Run

    plain, over, numbers = engine.process_batch_if_running, threading.Event(), itertools.count(1)

    def process_batch_if_running(*batch: Any) -> bool:
        done = plain(*batch)
        if next(numbers) >= SAMPLE * (1 + more) // Run.BATCH:
            over.set()
        return done

    started: list[Run] = []
    starting = measure(lambda: started.append(start()))
    (run,) = started
    engine.process_batch_if_running = process_batch_if_running
    working = measure(lambda: engine.work_on_run(run_id=run.pk, interrupted=over))
    clients, done = run.items.count(), run.items.filter(outcome=outcome).count()
    # Those that were in work when the last batch ended are done too.
    assert SAMPLE <= done == run.items.exclude(outcome="").count(), run.count_outcomes_and_matches()
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)
    return working * (SAMPLE / done) + starting * (SAMPLE / clients)


def make_history(clients: int) -> Took:
    """Give every client a history, for the pages."""
    from tests import bulk_data

    return measure(lambda: bulk_data.make_history(comparisons_each=2))


def make_trouble(clients: int) -> Took:
    """Have a tenth of the clients wait for their next step, and others fail, for the pages that show these."""
    from tests import bulk_data

    return measure(bulk_data.make_trouble)


def move_some(clients: int) -> Took:
    """Cut over: of all moves of many it asks most. The one before it is made by hand."""
    from migration.core.clients import all_clients
    from migration.models import ClientMigration
    from migration.moves.approvals import start_move_run
    from nova_credentials.phases import Phase

    ClientMigration.objects.all()._give_rows(all_clients().values_list("pk", flat=True))
    ClientMigration.objects.update(phase=Phase.DUAL_READ)
    old, new = Phase.DUAL_READ, Phase.AWS
    return do_first_batches(lambda: start_move_run(chosen=all_clients(), old=old, new=new), "moved")


def count_clients(clients: int) -> Took:
    """Count for the dashboard, as the workers do it every minute."""
    from migration.clients.models import SiteCounts

    return measure_least(SiteCounts.count_now)


def scan_tables(clients: int) -> Took:
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

    return measure_least(scan)


@dataclass(frozen=True)
class Act:
    """One row of the table: what is measured, and how much more of it the larger site may take."""

    name: str
    work: Callable[[int], Took]
    # How much longer the whole act may take, where it is a page; otherwise it is judged by client.
    most_whole: float | None = None
    is_bounded: bool = True
    # Whether it is done to the first SAMPLE clients of all; and whether it only prepares what comes next.
    is_sample: bool = False
    prepares: bool = False


ACTS = {
    "make": Act("making the clients by SQL", make_site, prepares=True),
    "first_list": Act("list, all in PostgreSQL", open_list, most_whole=10 * AT_MOST),
    "plan": Act("plan of a push of all", make_plan),
    "push": Act("first push", push_some, is_sample=True),
    "fill": Act("more secrets, by hand", fill_stores, prepares=True),
    "push_again": Act("push, nothing changed", push_again, is_sample=True),
    "compare": Act("compare", compare_some, is_sample=True),
    "move": Act("cutover", move_some, is_sample=True),
    "history": Act("a history by SQL", make_history, prepares=True),
    "open_cutover": Act("page before a cutover of all", open_cutover, most_whole=10 * AT_MOST),
    "trouble": Act("failures by SQL", make_trouble, prepares=True),
    "count": Act("counting for the dashboard", count_clients),
    "scan": Act("PostgreSQL reads the same tables", scan_tables, is_bounded=False),
    "dashboard": Act("dashboard", open_dashboard, most_whole=1.5),
    "list": Act("list", open_list, most_whole=10 * AT_MOST),
    "open_filters": Act("filters of the list, opened", open_filters, most_whole=10 * AT_MOST),
    "search": Act("list, searched", search_list, most_whole=10 * AT_MOST),
    "filter": Act("list, filtered and sorted", filter_list, most_whole=10 * AT_MOST),
    "blocked": Act("list, blocked clients", filter_blocked, most_whole=10 * AT_MOST),
    "waits": Act("list, clients that wait", filter_waiting, most_whole=10 * AT_MOST),
    "failures": Act("page of failures", open_failures, most_whole=10 * AT_MOST),
    "group": Act("all put into a group", put_into_group),
    "ungroup": Act("all taken out of it", take_out_of_group),
    "open_plan": Act("page of the plan", open_plan, most_whole=1.5),
    "open_run": Act("page of a run", open_run, most_whole=10 * AT_MOST),
    "poll_run": Act("its live part", poll_run, most_whole=10 * AT_MOST),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/studies/growth.md too")
    parser.add_argument("--clients", type=int, nargs="+", default=[FEW, MANY])
    parser.add_argument(
        "--once", action="store_true", help="the smaller site once, before the other"
    )
    parser.add_argument(
        "--bare", action="store_true", help="NOVA's tables without the indexes of docs/run.md"
    )
    parser.add_argument("--profile", choices=ACTS)
    parser.add_argument("--act", choices=ACTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act:
        do_act(options.act, options.clients[0], profiles=bool(options.profile))
        return

    from nova_admin.embedded import postgres

    os.environ |= {BARE: "1"} if options.bare else {}
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
        again = first if options.once else measure_site(few, "again")
    better = {name: min(first[name], again[name], key=lambda each: each.took) for name in ACTS}
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
            took, memory = found[act].took, found[act].megabytes
            line = (
                f"{took.seconds:9.3f} s, {took.processor:9.3f} s of a processor, {memory:5.0f} MB"
            )
            print(f"{clients:7,} {act:12} {line}", file=sys.stderr, flush=True)
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
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=ACT_SECONDS
    )  # fmt: skip
    *shown, told = done.stdout.splitlines()
    print("\n".join(shown), end="\n" if shown else "")
    took, processor, megabytes = json.loads(told)
    return Measured(Took(took, processor), megabytes)


def do_act(name: str, clients: int, *, profiles: bool) -> None:
    """Do it in this process, and print what it took as the last line."""
    prepare_site()
    work = ACTS[name].work
    took = profile(lambda: work(clients)) if profiles else work(clients)
    print(json.dumps([took.seconds, took.processor, most_memory() / 1000]))


def prepare_site() -> None:
    import django

    django.setup()
    from django.conf import settings

    settings.DEBUG = False  # in development Django keeps every statement in memory


def profile(work: Callable[[], Took]) -> Took:
    """Do it in one thread, and print what took longest: functions by their own time, and statements."""
    from django.db.backends.utils import CursorWrapper

    from migration.pushes import plans
    from migration.runs import engine
    from nova_credentials.aws.context_threads import ContextThreads

    engine.BATCHES_AT_ONCE = 1
    plans._look_at_some_at_once = map
    ContextThreads.map = lambda _threads, work, items: map(work, items)
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
        if act.prepares:
            continue
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
    share = 1.0 if act.most_whole or act.is_sample else few / many
    took, processor = (
        new.took.seconds / old.took.seconds * share,
        new.took.processor / old.took.processor * share,
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
        return f"{measured.took.seconds * 1000:,.0f} ms"
    each = measured.took.seconds / (SAMPLE if act.is_sample else clients) * 1000
    return f"{each:.2f} ms a client, {measured.megabytes:.0f} MB"


if __name__ == "__main__":
    main()
