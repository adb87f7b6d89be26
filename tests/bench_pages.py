"""`python -m tests.bench_pages`: each page with 10,000 clients and 100,000 comparisons, beside itself with 50 clients.

In one run, as ratios. Exits with 1 where a page takes more than twice the time, or more queries.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from tests import nova
from tests.bench import LOCAL, StatementCounter

if TYPE_CHECKING:
    from django.test import Client

Measured = dict[str, tuple[float, int]]

FEW, MANY = 50, 10_000
ROUNDS = 25
AT_MOST = 2.0
REPORT = "/admin/migration/comparison/report/"
PAGES = {
    "dashboard": "/admin/",
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
}
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
        "DATABASE_URL": postgres.start(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
    }
    with nova.database() as uri:
        os.environ["DATABASE_URL"] = uri
        few, many = compared()
    print(f"{'':30} {f'{FEW} clients':>20} {f'{MANY:,} clients':>20} {'times':>7}")
    slow = []
    for name in PAGES | SHORT:
        (before, asked_before), (after, asked) = few[name], many[name]
        print(
            f"{name:30} {before * 1000:7.0f} ms {asked_before:3} queries"
            f" {after * 1000:7.0f} ms {asked:3} queries {after / before:7.2f}"
        )
        if asked != asked_before or (name in PAGES and after / before > AT_MOST):
            slow.append(name)
    if slow:
        sys.exit(f"more than {AT_MOST} times as long, or more queries: {', '.join(slow)}")


def compared() -> list[Measured]:
    """What each page takes with few clients, then with many."""
    import django
    from django.conf import settings

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    from tests.crowd import forget_crowd, make_crowd

    settings.DEBUG = False  # in development Django keeps every statement in memory
    settings.ALLOWED_HOSTS = ["testserver"]
    call_command("migrate", verbosity=0)
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    measured = []
    for number in (FEW, MANY):
        forget_crowd()
        make_crowd(number)
        measured.append(measure(browser))
    return measured


def measure(browser: Client) -> Measured:
    """Seconds (the least: other work on the machine only adds) and queries of each page."""
    from credentials.models import Client as Customer
    from migration.models import Comparison, Run

    ids = {
        "run": Run.objects.get().pk,
        "comparison": Comparison.objects.filter(status="mismatch").first().pk,
        "client": Customer.objects.first().pk,
    }
    return {name: times(browser, url.format(**ids)) for name, url in (PAGES | SHORT).items()}


def times(browser: Client, url: str) -> tuple[float, int]:
    from django.db import connection

    browser.get(url)
    with connection.execute_wrapper(counter := StatementCounter()):
        assert browser.get(url).status_code == 200, url
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        browser.get(url)
        seconds.append(time.perf_counter() - start)
    return min(seconds), counter.statements


if __name__ == "__main__":
    main()
