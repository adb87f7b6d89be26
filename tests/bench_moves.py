"""`make bench`, moves: 5,000 clients forward, cut over and rolled back at 100 ms of round trip under AWS's quotas.

Exits with 1 where a move of many is slower than 300 clients a second, or asks AWS more often than its quotas allow.
"""

from __future__ import annotations

import os
import shutil
import sys
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tests import bench, nova_database

if TYPE_CHECKING:
    from nova_credentials.phases import Phase

CLIENTS = 5000
MUST_REACH = 300
LOCAL = bench.ROOT / ".local" / "bench"


def main() -> None:
    from nova_admin.embedded import aws, postgres

    shutil.rmtree(LOCAL / "aws", ignore_errors=True)
    server = aws.start_server(LOCAL / "aws")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DEBUG": "1", "LOG_LEVEL": "ERROR", "SECRET_KEY": token_urlsafe(64),
        # Evidence takes days: the gate's facts are what costs something here.
        "NOVA_CLEAN_STREAK": "0", "NOVA_DUAL_READ_HOURS": "0", "NOVA_MIN_READS": "0",
        "DATABASE_URL": postgres.start_server(LOCAL / "postgres"),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": "embedded",
    }  # fmt: skip
    with nova_database.database() as uri:
        os.environ["DATABASE_URL"] = uri
        bench.prepare()
        slow = measure()
    sys.exit(1 if slow else 0)


def measure() -> bool:
    """Print a row for each move; True where one misses a bound."""
    from nova_credentials.phases import Phase

    bench.conditions()
    bench.set_rates(100_000)
    bench.add(CLIENTS)
    bench.run("migrate")
    bench.set_rates(None)
    bench.as_in_aws()
    misses = False
    print(f"| move of {CLIENTS:,} clients | clients/s | calls a client | throttled | must reach |")
    print("|---|---|---|---|---|")
    for old, new in (
        (Phase.DUAL_WRITE, Phase.DUAL_READ),
        (Phase.DUAL_READ, Phase.AWS),
        (Phase.AWS, Phase.DUAL_READ),
    ):
        before = bench.calls()
        rate = CLIENTS / bench.seconds(lambda old=old, new=new: move_all(old, new))
        calls, throttled = bench.count(before, "calls"), bench.count(before, "throttled")
        missed = rate < MUST_REACH or throttled > 0.005 * calls
        misses |= missed
        print(
            f"| {old} to {new} | {rate:,.0f}{' **missed**' if missed else ''} | {calls / CLIENTS:.3f} | {throttled} |"
            f" ≥ {MUST_REACH}/s |"
        )
    return misses


def move_all(old: Phase, new: Phase) -> None:
    from migration.core.clients import all_clients
    from migration.moves.approvals import start_move_run
    from migration.runs import engine

    run = start_move_run(chosen=all_clients(), old=old, new=new)
    engine.finish_inline(run)
    counts = run.count_outcomes_and_matches()
    if counts["moved"] != CLIENTS:
        first = run.items.exclude(outcome="moved").first()
        raise SystemExit(f"{counts}: {first and first.message}")


if __name__ == "__main__":
    main()
