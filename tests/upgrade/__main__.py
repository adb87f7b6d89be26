"""`make upgrade`: upgrades each released version with 100,000 clients, and goes back, while NOVA reads and writes.

Prints how long NOVA's statements waited for locks, and the longest time that one took, beside the same without an
upgrade. Exits with 1 where one waited longer than 100 ms, or a write was not counted. ARGS="--clients 2000": fewer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING

import psycopg

from nova_admin.embedded import postgres
from tests import nova_database
from tests.checkout import ROOT
from tests.first_release.back import go_back
from tests.first_release.load import SECRET_KEY
from tests.upgrade.databases import RELEASES, fill
from tests.upgrade.nova import Nova, Work
from tests.upgrade.waits import Watch, add_up_waits

if TYPE_CHECKING:
    from collections.abc import Callable

LOCAL = ROOT / ".local" / "upgrade"
MOST_MS = 100
BASELINE_SECONDS = 10
# Conditions that did not become problems.
CONDITIONS_LEFT = """
SELECT event FROM nova_admin.migration_condition WHERE event IN ('aws_gone', 'readers_gone', 'audit_unsealed')
"""
# Of the clients that NOVA writes and that are there all the time.
COUNTED = """
SELECT c.id, count(w.id) FROM public.clients c LEFT JOIN {}.credentials_clientwrite w ON w.client_id = c.id
WHERE c.slug ~ '^many-000' GROUP BY 1
"""


@dataclass
class Result:
    """What NOVA noticed of one upgrade."""

    name: str
    seconds: float = 0.0
    statements: int = 0
    waits: list[float] = field(default_factory=list)
    longest_ms: float = 0.0
    longest_before_ms: float = 0.0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--only", choices=RELEASES, help="from this release alone")
    asked = parser.parse_args()
    clients = asked.clients
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1",
        "LOG_LEVEL": "ERROR",
        "SECRET_KEY": SECRET_KEY,
        "NOVA_FINGERPRINT_KEY": token_urlsafe(64),
        "DATABASE_URL": postgres.start_server(LOCAL, keep=False),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1",
    }
    results = []
    for release in [asked.only] if asked.only else RELEASES:
        load, site = RELEASES[release]
        with nova_database.database() as uri:
            load(uri)
            fill(uri, site, clients)
            is_first = site == "public"
            results.append(
                measure(f"from {release}", uri, migrate, site=site, with_package=not is_first)
            )
            if is_first:
                results.append(
                    measure("back to it", uri, go_back_to_first, site="nova_admin", to="public")
                )
    print_results(results, clients)
    if any(result.problems for result in results):
        sys.exit(1)


def migrate(uri: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--no-color", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": uri},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])


def go_back_to_first(uri: str) -> None:
    go_back(uri, lambda *arguments: migrate(uri, *arguments[1:]))


def measure(
    name: str,
    uri: str,
    upgrade: Callable[[str], None],
    *,
    site: str,
    to: str = "nova_admin",
    with_package: bool = False,
) -> Result:
    """Let NOVA work for a while, then upgrade while it works; return what it noticed."""
    result = Result(name)
    before = Nova(uri, with_package=with_package)
    time.sleep(BASELINE_SECONDS)
    result.longest_before_ms = longest_ms(before.end())
    counted = count_writes(uri, site)
    nova = Nova(uri, with_package=with_package)
    watch, begun, is_done = Watch(uri), time.monotonic(), False
    try:
        upgrade(uri)
        is_done = True
    except (RuntimeError, TimeoutError, psycopg.Error) as error:
        result.problems.append(repr(error))
    result.seconds = time.monotonic() - begun
    waits, works = watch.end(), nova.end()
    result.statements = sum(work.statements for work in works)
    result.longest_ms = longest_ms(works)
    result.waits = add_up_waits(waits, works)
    result.problems += [f"{work.name}: {work.error}" for work in works if work.error]
    if (longest := max(result.waits, default=0)) > MOST_MS:
        result.problems.append(f"a statement of NOVA's waited {longest:.0f} ms")
    if not is_done:
        return result  # its tables may be where they were
    result.problems += find_uncounted(works, counted, count_writes(uri, to))
    if to == "nova_admin":
        result.problems += find_lost_conditions(uri)
    return result


def longest_ms(works: list[Work]) -> float:
    return max(work.longest for work in works) * 1000


def count_writes(uri: str, site: str) -> Counter[int]:
    """Return how many writes are counted of each client that NOVA writes."""
    with psycopg.connect(uri) as there:
        return Counter(dict(there.execute(COUNTED.format(site)).fetchall()))


def find_uncounted(works: list[Work], before: Counter[int], after: Counter[int]) -> list[str]:
    """Say if not every write was counted once. An upgrade may count each client once more, and then all of them."""
    made = Counter[int]()
    for work in works:
        made.update(work.writes)
    more = {after[pk] - before[pk] - made[pk] for pk in before}
    return [] if more in ({0}, {1}) else [f"writes were not counted once: {sorted(more)}"]


def find_lost_conditions(uri: str) -> list[str]:
    """Say which conditions that were told before the upgrade are no open problems after it."""
    with psycopg.connect(uri) as there:
        return [f"still a condition: {event}" for (event,) in there.execute(CONDITIONS_LEFT)]


def print_results(results: list[Result], clients: int) -> None:
    print(f"{clients:,} clients\n")
    print(
        "| | took | statements of NOVA | waits for locks | longest | longest statement | without an upgrade |"
    )
    print("|---|---|---|---|---|---|---|")
    for each in results:
        print(
            f"| {each.name} | {each.seconds:.0f} s | {each.statements:,} | {len(each.waits)}"
            f" | {max(each.waits, default=0):.0f} ms | {each.longest_ms:.0f} ms | {each.longest_before_ms:.0f} ms |"
        )
    for each in results:
        for problem in each.problems:
            print(f"{each.name}: {problem}", file=sys.stderr)


if __name__ == "__main__":
    main()
