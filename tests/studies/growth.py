"""What each client costs with 100,000 clients, beside the same with 10,000: runs, pages and memory.

Each act runs in a process of its own over a whole site: plan, push, compare, move, count, and the pages that show all
clients. AWS is a stand-in whose calls take as long with any number of secrets (`plain_aws.py`). The site of 10,000 is
made twice, before and after the other, as a machine may be busy for a while: its better time counts.
"""

from __future__ import annotations

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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests import nova_database
from tests.checkout import ROOT
from tests.studies.growth_pages import (
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
from tests.studies.plain_aws import ARN, fill_aws, plain_aws
from tests.studies.pushes import set_rates
from tests.studies.study import (
    MOST_SECONDS,
    NO_EVIDENCE,
    Study,
    Table,
    call_in_process,
    read_peak,
    set_up,
    use_settings,
)
from tests.studies.took import Took, measure_least, measure_work

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from migration.runs.models import Run

FEW, MANY = 10_000, 100_000
# So many clients of a run over all of them.
SAMPLE = 3000
AT_MOST = 1.3
# Set for the children where NOVA's tables have no index on their clients.
BARE = "BENCH_GROWTH_BARE"
NO_LIMIT = 1_000_000.0


@dataclass(frozen=True)
class Measured:
    """What an act took, and the most memory that its process ever had."""

    took: Took
    megabytes: float


# The acts: each does one thing to the site and returns what that took.


def make_site(clients: int) -> Took:
    from tests.bulk_data import make_unmoved

    set_rates(NO_LIMIT)
    return measure_work(lambda: make_unmoved(clients, indexes=not os.environ.get(BARE)))


def make_plan(clients: int) -> Took:
    from migration import tasks
    from tests.migration.pages import store_plan

    plan = store_plan()
    took = measure_work(lambda: tasks.work_on_run(plan.pk))
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
    starting = measure_work(lambda: started.append(start()))
    (run,) = started
    engine.process_batch_if_running = process_batch_if_running
    working = measure_work(lambda: engine.work_on_run(run_id=run.pk, interrupted=over))
    clients, done = run.items.count(), run.items.filter(outcome=outcome).count()
    # Those that were in work when the last batch ended are done too.
    assert SAMPLE <= done == run.items.exclude(outcome="").count(), run.count_outcomes_and_matches()
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)
    return working * (SAMPLE / done) + starting * (SAMPLE / clients)


def make_history(clients: int) -> Took:
    """Give every client a history, for the pages."""
    from tests import bulk_data

    return measure_work(lambda: bulk_data.make_history(comparisons_each=2))


def make_trouble(clients: int) -> Took:
    """Have a tenth of the clients wait for their next step, and others fail, for the pages that show these."""
    from tests import bulk_data

    return measure_work(bulk_data.make_trouble)


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


def measure(options: Namespace) -> list[Table]:
    os.environ |= {BARE: "1"} if options.bare else {}
    with plain_aws() as endpoint:
        use_settings(aws=endpoint, NOVA_AWS_WRITES_PER_SECOND="100000", **NO_EVIDENCE)
        few, many = options.clients
        if options.profile:
            measure_site(few, "profiled", until=options.profile)
            return []
        first = measure_site(few, "first")
        large = measure_site(many, "large")
        again = first if options.once else measure_site(few, "again")
    columns = ("time", "of a processor", "must be", "memory", "must be")
    table = Table(("act", f"{few:,} clients", f"{many:,} clients", *columns), name="growth")
    for name, act in ACTS.items():
        if not act.prepares:
            better = min(first[name], again[name], key=lambda each: each.took)
            compare_sites(table, act, (few, better), (many, large[name]))
    return [table]


def measure_site(clients: int, name: str, *, until: str = "") -> dict[str, Measured]:
    """Make a site and do every act to it; `until`: the last one, which is profiled."""
    found = {}
    with nova_database.database() as uri:
        environment = os.environ | {"DATABASE_URL": uri, "NOVA_SECRET_PREFIX": f"growth/{name}"}
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True, timeout=MOST_SECONDS)
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
    *shown, told = call_in_process(do_act, act, clients, profiles, **environment).splitlines()
    print("\n".join(shown), end="\n" if shown else "")
    took, processor, megabytes = json.loads(told)
    return Measured(Took(took, processor), megabytes)


def do_act(name: str, clients: int, profiles: bool) -> None:
    """Do it in this process, and print what it took as the last line."""
    set_up()
    work = ACTS[name].work
    took = profile(lambda: work(clients)) if profiles else work(clients)
    print(json.dumps([took.seconds, took.processor, read_peak() / 1000]))


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


def compare_sites(
    table: Table, act: Act, small: tuple[int, Measured], large: tuple[int, Measured]
) -> None:
    """Add the act's row. The smaller of both ratios of time counts.

    Other work on the machine adds to the time, and not to that of a processor.
    """
    (few, old), (many, new) = small, large
    share = 1.0 if act.most_whole or act.is_sample else few / many
    took = new.took.seconds / old.took.seconds * share
    processor = new.took.processor / old.took.processor * share
    memory, most = new.megabytes / old.megabytes, act.most_whole or AT_MOST
    is_quick = min(took, processor) <= most or not act.is_bounded
    is_small = memory <= AT_MOST or not act.is_bounded
    table.add(
        act.name,
        show(old, few, act),
        show(new, many, act),
        f"{took:.2f}",
        table.judge(f"{processor:.2f}", holds=is_quick),
        f"≤ {most:g}" if act.is_bounded else "",
        table.judge(f"{memory:.2f}", holds=is_small),
        f"≤ {AT_MOST:g}" if act.is_bounded else "",
    )


def show(measured: Measured, clients: int, act: Act) -> str:
    if act.most_whole or act.work in (count_clients, scan_tables):
        return f"{measured.took.seconds * 1000:,.0f} ms"
    each = measured.took.seconds / (SAMPLE if act.is_sample else clients) * 1000
    return f"{each:.2f} ms a client, {measured.megabytes:.0f} MB"


STUDY = Study(
    measure,
    needs="up to half an hour of two idle cores",
    options={
        "--clients": {"type": int, "nargs": 2, "default": [FEW, MANY]},
        "--once": {"action": "store_true", "help": "the smaller site once, before the other"},
        "--bare": {
            "action": "store_true",
            "help": "NOVA's tables without the indexes of docs/run.md",
        },
        "--profile": {
            "choices": ACTS,
            "help": "where an act's time goes, in Python and by statement",
        },
    },
    writes=True,
)
