"""What pages take with 10,000 clients, beside themselves with 50: seconds and queries.

And the dashboard with 100,000 clients, beside itself with 10,000; with them the page of each act on all clients, beside
the list with the same filter. With 2,000 clients their list stands beside the list of runs. Bounds: a page twice the
time, the dashboard and an act's page one and a half times, 50 rows of clients two and a half times the list of runs, a
row 3 KB, and no page more queries.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests import nova_database
from tests.studies.study import Study, Table, set_up, use_settings

if TYPE_CHECKING:
    from argparse import Namespace

    from django.test import Client

Measured = dict[str, tuple[float, int]]

# Of many clients these pages show what the workers have counted, and so ask less.
COUNTED_BY_WORKERS = ("clients", "clients, one phase", "dashboard")
FEW, LISTED, MANY, HUGE = 50, 2_000, 10_000, 100_000
ROUNDS = 12
AT_MOST = 2.0
DASHBOARD = "/admin/"
DASHBOARD_AT_MOST = ACT_AT_MOST = 1.5
# A page of clients beside the list of runs; and what a row of it weighs.
LIST_AT_MOST, ROW_AT_MOST = 2.5, 3_000
REPORT = "/admin/migration/comparison/report/"
PAGES = {
    "dashboard": DASHBOARD,
    "clients": "/admin/credentials/client/",
    "clients, searched": "/admin/credentials/client/?q=000042",
    "comparisons": "/admin/migration/comparison/",
    "comparisons, searched": "/admin/migration/comparison/?q=crowd-000042",
    "runs": "/admin/migration/run/",
    "run": "/admin/migration/run/{run}/change/",
    "mismatch report": REPORT,
    "mismatch report, narrowed": f"{REPORT}?status=mismatch&state=open&owner=none",
    "comparison": "/admin/migration/comparison/{comparison}/change/",
    "client": "/admin/credentials/client/{client}/change/",
    "client, comparison": "/admin/credentials/client/{client}/change/?tab=comparison",
    "client, history": "/admin/credentials/client/{client}/change/?tab=history",
}
# Of the list, and of an act's page on all that it shows.
FILTERS = ("", "phase=dual_write", "q=crowd")
# With 50 clients these lists are short and with 10,000 a page is full: shown, and held to the number of queries alone.
SHORT = {
    "clients, one phase": "/admin/credentials/client/?phase=aws",
    "mismatch report, one field": f"{REPORT}?field=database.password&age=day",
    "mismatch report, matches": f"{REPORT}?status=match",
    "mismatch report, unchecked": f"{REPORT}?status=unchecked",
}


def measure(options: Namespace) -> list[Table]:
    use_settings()
    sizes = [LISTED] if options.lists else [FEW, LISTED, MANY, HUGE]
    with ExitStack() as stack:
        uris = {size: stack.enter_context(nova_database.database()) for size in sizes}
        browsers, ids = make_sites(uris)
        table = Table(("page", "took", "beside", "took", "times", "must be"))
        measure_lists(table, browsers[uris[LISTED]], uris[LISTED])
        if not options.lists:
            two = {uri: browsers[uri] for uri in (uris[FEW], uris[MANY])}
            few, many = measure_pages(two, ids)
            looks = measure_dashboards(browsers, uris[MANY], uris[HUGE])
            acts = measure_acts(browsers, uris[HUGE])
    if options.lists:
        return [table]
    beside = f"with {FEW} clients"
    for name in PAGES | SHORT:
        (_, asked_before), (_, asked) = few[name], many[name]
        as_many = asked == asked_before or (asked < asked_before and name in COUNTED_BY_WORKERS)
        most = AT_MOST if name in PAGES else None
        add_page(table, f"{name}, {MANY:,} clients", beside, few[name], many[name], most, as_many)
    before, after = looks
    name, beside = f"dashboard, {HUGE:,} clients", f"with {MANY:,}"
    add_page(table, name, beside, before, after, DASHBOARD_AT_MOST, after[1] <= before[1])
    for name, (listed, opened) in acts.items():
        add_page(table, name, "the list", (listed, 0), (opened, 0), ACT_AT_MOST, True)
    return [table]


def add_page(
    table: Table,
    name: str,
    beside: str,
    before: tuple[float, int],
    after: tuple[float, int],
    most: float | None,
    as_many_queries: bool,
) -> None:
    """Add a row: seconds, queries if they were counted, and how many times as long it took."""

    def show(took: float, queries: int) -> str:
        return f"{took * 1000:,.0f} ms" + (f", {queries} queries" if queries else "")

    times = after[0] / before[0]
    table.add(
        name,
        table.judge(show(*after), holds=as_many_queries),
        beside,
        show(*before),
        table.judge(f"{times:.2f}", holds=most is None or times <= most),
        f"≤ {most:g}" if most else "",
    )


def make_sites(uris: dict[int, str]) -> tuple[dict[str, Client], dict[str, dict[str, int]]]:
    """Fill a database with so many clients each; return by its URI a browser, and the ids that addresses need."""
    from django.conf import settings

    set_up()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from credentials.models import Client as Customer
    from migration.models import Comparison
    from migration.runs.models import Run
    from tests.bulk_data import COMPARISONS_EACH, make_crowd

    settings.ALLOWED_HOSTS = ["testserver"]
    browsers, ids = {}, {}
    for number, uri in uris.items():
        turn_to(uri)
        call_command("migrate", verbosity=0)
        make_crowd(number, comparisons_each=COMPARISONS_EACH if number < HUGE else 2)
        browsers[uri] = Client()
        browsers[uri].force_login(User.objects.create_superuser("root"))
        ids[uri] = {
            "run": Run.objects.get().pk,
            "comparison": Comparison.objects.filter(status="mismatch").first().pk,
            "client": Customer.objects.first().pk,
        }
    return browsers, ids


def measure_pages(browsers: dict[str, Client], ids: dict[str, dict[str, int]]) -> list[Measured]:
    """What each page takes with few clients, and with many: in turn, so that a busy machine is busy for both."""
    found: dict[str, Measured] = {uri: {} for uri in browsers}
    for name, url in (PAGES | SHORT).items():
        for _ in range(ROUNDS):
            for uri, browser in browsers.items():
                turn_to(uri)
                took, asked = once(browser, url.format(**ids[uri]))
                # The least: other work on the machine only adds, and so does what a process asks once in a while.
                least, fewest = found[uri].get(name, (took, asked))
                found[uri][name] = min(took, least), min(asked, fewest)
    return list(found.values())


def measure_lists(table: Table, browser: Client, uri: str) -> None:
    """Measure what 50 clients take beside the list of runs, in turn, and what a row weighs."""
    from migration.clients.models import renew_client_counts

    turn_to(uri)
    renew_client_counts()
    clients, runs, weighs = PAGES["clients"], PAGES["runs"], {}
    took: dict[str, list[float]] = {clients: [], runs: []}
    for _ in range(3 * ROUNDS):
        for url, each in took.items():
            each.append(once(browser, url)[0])
    name, listed, others = f"50 of {LISTED:,} clients", min(took[clients]), min(took[runs])
    add_page(table, name, "list of runs", (others, 0), (listed, 0), LIST_AT_MOST, True)
    for rows, at in ((50, clients), (9, f"{clients}?q=crowd-00000")):
        weighs[rows] = len(browser.get(at).content)
    row = (weighs[50] - weighs[9]) / 41
    weight = table.judge(f"{row:,.0f} bytes", holds=row <= ROW_AT_MOST)
    table.add(
        "a row of them", weight, "the page", f"{weighs[50]:,} bytes", "", f"≤ {ROW_AT_MOST:,} bytes"
    )


def measure_dashboards(browsers: dict[str, Client], *uris: str) -> list[tuple[float, int]]:
    """What the dashboard takes in each database, in turn, once the workers have counted there."""
    from migration.clients.models import renew_client_counts

    found: dict[str, tuple[float, int]] = {}
    for _ in range(ROUNDS):
        for uri in uris:
            turn_to(uri)
            renew_client_counts()
            took, asked = once(browsers[uri], DASHBOARD)
            least, fewest = found.get(uri, (took, asked))
            found[uri] = min(took, least), min(asked, fewest)
    return list(found.values())


def measure_acts(browsers: dict[str, Client], uri: str) -> dict[str, tuple[float, float]]:
    """What the list takes with a filter, and the page of an act on all that it shows, which has a plan made."""
    from migration.runs.acts import ACTS

    turn_to(uri)
    found: dict[str, tuple[float, float]] = {}
    pages = [(a.code, f) for a in ACTS.values() if a.takes_many and not a.is_quick for f in FILTERS]
    for _ in range(ROUNDS):
        for code, filters in pages:
            name = f"{code}, {filters or 'all'}"
            listed, _asked = once(browsers[uri], f"/admin/credentials/client/?{filters}")
            act = f"/admin/credentials/client/act/{code}/?all=1&{filters}"
            opened, _asked = once(browsers[uri], act)
            least = found.get(name, (listed, opened))
            found[name] = min(listed, least[0]), min(opened, least[1])
    return found


def turn_to(uri: str) -> None:
    """From now on this database is asked."""
    from django.db import connection
    from psycopg.conninfo import conninfo_to_dict

    from migration.core import aws_writes, database_identity, rate_limiter

    # A process that has reached two databases writes to AWS from neither, and the clients list says so.
    rate_limiter.rate_limiter().close()
    connection.close()
    for known in (
        *(rate_limiter._rate_limiter, aws_writes._write_guard),
        database_identity._reached_databases,
    ):
        known.cache_clear()
    connection.settings_dict["NAME"] = conninfo_to_dict(uri)["dbname"]


def once(browser: Client, url: str) -> tuple[float, int]:
    """Seconds and queries of one page."""
    from django.db import connection

    connection.ensure_connection()
    with connection.execute_wrapper(counter := StatementCounter()):
        start = time.perf_counter()
        assert browser.get(url).status_code == 200, url
        return time.perf_counter() - start, counter.statements


class StatementCounter:
    def __init__(self) -> None:
        self.statements = 0

    def __call__(self, execute, sql, params, many, context):
        self.statements += 1
        return execute(sql, params, many, context)


STUDY = Study(
    measure,
    needs="some minutes of two idle cores",
    options={"--lists": {"action": "store_true", "help": "the list of clients alone"}},
)
