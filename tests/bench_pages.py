"""`python -m tests.bench_pages`: each page with 10,000 clients and 100,000 comparisons beside the same with 50 clients."""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

from tests import nova
from tests.bench import LOCAL

if TYPE_CHECKING:
    from django.test import Client

FEW, MANY = 50, 10_000
ROUNDS = 15
AT_MOST = 2.0
REPORT = "/admin/migration/comparison/report/"
PAGES = {
    "dashboard": "/admin/",
    "clients": "/admin/credentials/client/",
    "clients, searched": "/admin/credentials/client/?q=000042",
    "clients, one phase": "/admin/credentials/client/?phase=aws",
    "comparisons": "/admin/migration/comparison/",
    "comparisons, searched": "/admin/migration/comparison/?q=crowd-000042",
    "runs": "/admin/migration/run/",
    "run": "/admin/migration/run/{run}/change/",
    "mismatch report": REPORT,
    "mismatch report, by field": f"{REPORT}?field=database.password&age=day&owner=none",
    "mismatch report, by status": f"{REPORT}?status=mismatch&state=open",
    "mismatch report, matches": f"{REPORT}?status=match",
    "mismatch report, unchecked": f"{REPORT}?status=unchecked",
    "comparison": "/admin/migration/comparison/{comparison}/change/",
    "client": "/admin/credentials/client/{client}/change/",
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
    measured = []
    for number in (FEW, MANY):
        with nova.database() as uri:
            os.environ["DATABASE_URL"] = uri
            measured.append(measure(number))
    few, many = measured
    print(f"{'':30} {f'{FEW} clients':>20} {f'{MANY:,} clients':>20} {'times':>7}")
    slow = []
    for name in PAGES:
        (before, asked_before), (after, asked) = few[name], many[name]
        print(
            f"{name:30} {before * 1000:7.0f} ms {asked_before:3} queries"
            f" {after * 1000:7.0f} ms {asked:3} queries {after / before:7.2f}"
        )
        if after / before > AT_MOST or asked != asked_before:
            slow.append(name)
    if slow:
        sys.exit(f"more than {AT_MOST} times as long, or more queries: {', '.join(slow)}")


def measure(number: int) -> dict[str, tuple[float, int]]:
    """Seconds (the median) and queries of each page, with so many clients."""
    import django
    from django.conf import settings

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from credentials.models import Client as Customer
    from migration.models import Comparison, Run
    from tests.crowd import make_crowd

    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["testserver"]
    connection.close()
    connection.settings_dict["NAME"] = (
        os.environ["DATABASE_URL"].rpartition("/")[2].partition("?")[0]
    )
    call_command("migrate", verbosity=0)
    make_crowd(number)
    browser = Client()
    browser.force_login(User.objects.create_superuser("root"))
    ids = {
        "run": Run.objects.get().pk,
        "comparison": Comparison.objects.filter(status="mismatch").first().pk,
        "client": Customer.objects.first().pk,
    }
    return {name: times(browser, url.format(**ids)) for name, url in PAGES.items()}


def times(browser: Client, url: str) -> tuple[float, int]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(url).status_code == 200, url
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        browser.get(url)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), len(captured)


if __name__ == "__main__":
    main()
