"""`python -m tests.bench_pages`: each page with 10,000 clients and 100,000 comparisons, beside itself with 50 clients.

And the dashboard with 100,000 clients, beside itself with 10,000; with them the page of each act on all clients, beside
the list with the same filter. With 2,000 clients their list stands beside the list of runs; `--lists` measures these
alone. In one run, as ratios. Exits with 1 where a page takes more than twice the time, the dashboard or an act's page
more than one and a half times, 50 rows of clients more than two and a half times the list of runs, a row more than
3 KB, or a page more queries.
"""

from __future__ import annotations

import os
import sys
import time
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tests import nova_database
from tests.bench import LOCAL

if TYPE_CHECKING:
    from django.test import Client

Measured = dict[str, tuple[float, int]]

LISTS_OF_CLIENTS = ("clients", "clients, one phase")
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


def main() -> None:
    from nova_admin.embedded import postgres

    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
    }
    if "--lists" in sys.argv:
        with nova_database.database() as uri:
            os.environ["DATABASE_URL"] = uri
            browsers, _ids = make_sites({LISTED: uri})
            if slow := measure_lists(browsers[uri], uri):
                sys.exit(f"takes too long, or weighs too much: {', '.join(slow)}")
        return
    with (
        nova_database.database() as few_uri,
        nova_database.database() as listed_uri,
        nova_database.database() as many_uri,
        nova_database.database() as huge_uri,
    ):
        os.environ["DATABASE_URL"] = few_uri
        uris = {FEW: few_uri, LISTED: listed_uri, MANY: many_uri, HUGE: huge_uri}
        browsers, ids = make_sites(uris)
        slow = measure_lists(browsers[listed_uri], listed_uri)
        few, many = measure_pages({uri: browsers[uri] for uri in (few_uri, many_uri)}, ids)
        looks = measure_dashboards(browsers, many_uri, huge_uri)
        acts = measure_acts(browsers, huge_uri)
    print(f"{'':30} {f'{FEW} clients':>20} {f'{MANY:,} clients':>20} {'times':>7}")
    for name in PAGES | SHORT:
        (before, asked_before), (after, asked) = few[name], many[name]
        print(
            f"{name:30} {before * 1000:7.0f} ms {asked_before:3} queries"
            f" {after * 1000:7.0f} ms {asked:3} queries {after / before:7.2f}"
        )
        # Of so many the workers count what the list's chips say.
        fewer = name in LISTS_OF_CLIENTS
        if (
            asked > asked_before
            or (asked < asked_before and not fewer)
            or (name in PAGES and after / before > AT_MOST)
        ):
            slow.append(name)
    (before, asked_before), (after, asked) = looks
    print(
        f"dashboard with {MANY:,} clients {before * 1000:.0f} ms, {asked_before} queries;"
        f" with {HUGE:,} {after * 1000:.0f} ms, {asked} queries: {after / before:.2f} times"
    )
    if asked > asked_before or after / before > DASHBOARD_AT_MOST:
        slow.append(f"dashboard with {HUGE:,} clients")
    for name, (listed, opened) in acts.items():
        print(
            f"{name:42} list {listed * 1000:7.0f} ms, act {opened * 1000:7.0f} ms {opened / listed:7.2f}"
        )
        if opened / listed > ACT_AT_MOST:
            slow.append(f"{name} with {HUGE:,} clients")
    if slow:
        sys.exit(f"takes too long, or more queries: {', '.join(slow)}")


def make_sites(uris: dict[int, str]) -> tuple[dict[str, Client], dict[str, dict[str, int]]]:
    """Fill a database with so many clients each; return by its URI a browser, and the ids that addresses need."""
    import django
    from django.conf import settings

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from credentials.models import Client as Customer
    from migration.models import Comparison
    from migration.runs.models import Run
    from tests.bulk_data import COMPARISONS_EACH, make_crowd

    settings.DEBUG = False  # in development Django keeps every statement in memory
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


def measure_lists(browser: Client, uri: str) -> list[str]:
    """Print what 50 clients take beside the list of runs, in turn, and what a row weighs; return what is too much."""
    from migration.clients.models import renew_client_counts

    turn_to(uri)
    renew_client_counts()
    clients, runs, weighs, slow = PAGES["clients"], PAGES["runs"], {}, []
    took: dict[str, list[float]] = {clients: [], runs: []}
    for _ in range(3 * ROUNDS):
        for url, each in took.items():
            each.append(once(browser, url)[0])
    listed, others = min(took[clients]), min(took[runs])
    for rows, at in ((50, clients), (9, f"{clients}?q=crowd-00000")):
        weighs[rows] = len(browser.get(at).content)
    row = (weighs[50] - weighs[9]) / 41
    print(
        f"50 of {LISTED:,} clients {listed * 1000:.0f} ms, list of runs {others * 1000:.0f} ms:"
        f" {listed / others:.2f} times; a page {weighs[50]:,} bytes, a row {row:,.0f}"
    )
    if listed / others > LIST_AT_MOST:
        slow.append("list of clients beside the list of runs")
    if row > ROW_AT_MOST:
        slow.append("a row of the list of clients")
    return slow


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


if __name__ == "__main__":
    main()
