"""How long NOVA waits while each released version is upgraded to this one, with 100,000 clients, and taken back.

NOVA reads and writes all the while. A statement may wait 100 ms for locks, and every write is to be counted once.
Beside the longest statement stands the longest of a while without an upgrade.
"""

from __future__ import annotations

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
from tests.studies import study
from tests.studies.study import Study, Table, use_settings
from tests.studies.upgrade_nova import Nova, Work
from tests.studies.upgrade_waits import Watch, add_up_waits
from tests.upgrade.databases import RELEASES, fill

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

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


def measure(options: Namespace) -> list[Table]:
    server = postgres.start_server(study.LOCAL / "upgrade", keep=False)
    # The first release's audit is signed by this key.
    keys = {"SECRET_KEY": SECRET_KEY, "NOVA_FINGERPRINT_KEY": token_urlsafe(64)}
    use_settings(DATABASE_URL=server, **keys)
    columns = ("took", "statements of NOVA", "waits for locks", "longest", "longest statement")
    table = Table((f"{options.clients:,} clients", *columns, "without an upgrade"))
    for release in [options.only] if options.only else RELEASES:
        load, site = RELEASES[release]
        with nova_database.database() as uri:
            load(uri)
            fill(uri, site, options.clients)
            is_first = site == "public"
            name, back = f"from {release}", "back to it"
            add_result(table, watch_nova(name, uri, migrate, site=site, with_package=not is_first))
            if is_first:
                to = {"site": "nova_admin", "to": "public"}
                add_result(table, watch_nova(back, uri, go_back_to_first, **to))
    return [table]


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


def watch_nova(
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


def add_result(table: Table, each: Result) -> None:
    table.add(
        each.name,
        table.judge(f"{each.seconds:.0f} s", holds=not each.problems),
        f"{each.statements:,}",
        f"{len(each.waits)}",
        f"{max(each.waits, default=0):.0f} ms",
        f"{each.longest_ms:.0f} ms",
        f"{each.longest_before_ms:.0f} ms",
    )
    for problem in each.problems:
        print(f"{each.name}: {problem}", file=sys.stderr)


STUDY = Study(
    measure,
    needs="some minutes",
    options={
        "--clients": {"type": int, "default": 100_000},
        "--only": {"choices": RELEASES, "help": "from this release alone"},
    },
)
