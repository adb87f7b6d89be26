"""How many clients a second are moved, cut over and rolled back, at 100 ms of round trip under AWS's quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.studies import pushes
from tests.studies.study import NO_EVIDENCE, Study, Table, migrated_site, use_embedded_aws

if TYPE_CHECKING:
    from argparse import Namespace

    from nova_credentials.phases import Phase

MUST_REACH = 300


def measure(options: Namespace) -> list[Table]:
    use_embedded_aws(**NO_EVIDENCE)
    with migrated_site():
        return [measure_moves(options.clients)]


def measure_moves(clients: int) -> Table:
    from nova_credentials.phases import Phase

    pushes.conditions()
    pushes.set_rates(100_000)
    pushes.add(clients)
    pushes.run("migrate")
    pushes.set_rates(None)
    pushes.as_in_aws()
    columns = ("clients/s", "calls a client", "throttled", "must reach")
    table = Table((f"move of {clients:,} clients", *columns), name="moves")
    for old, new in (
        (Phase.DUAL_WRITE, Phase.DUAL_READ),
        (Phase.DUAL_READ, Phase.AWS),
        (Phase.AWS, Phase.DUAL_READ),
    ):
        before = pushes.calls()
        rate = clients / pushes.seconds(lambda old=old, new=new: move_all(clients, old, new))
        calls, throttled = (pushes.count(before, what) for what in ("calls", "throttled"))
        reached = table.judge(
            f"{rate:,.0f}", holds=rate >= MUST_REACH and throttled <= 0.005 * calls
        )
        each = f"{calls / clients:.3f}"
        table.add(f"{old} to {new}", reached, each, f"{throttled}", f"≥ {MUST_REACH}/s")
    return table


def move_all(clients: int, old: Phase, new: Phase) -> None:
    from migration.core.clients import all_clients
    from migration.moves.approvals import start_move_run
    from migration.runs import engine

    run = start_move_run(chosen=all_clients(), old=old, new=new)
    engine.finish_inline(run)
    counts = run.count_outcomes_and_matches()
    if counts["moved"] != clients:
        first = run.items.exclude(outcome="moved").first()
        raise SystemExit(f"{counts}: {first and first.message}")


STUDY = Study(
    measure,
    needs="some minutes of two idle cores",
    options={"--clients": {"type": int, "default": 5000}},
    writes=True,
)
