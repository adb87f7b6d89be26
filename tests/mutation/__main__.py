"""`make mutation`: puts one small defect after the other into the modules that must not err, and lists what tests miss.

Why neither mutmut nor cosmic-ray: the one leaves decorated functions, constants and SQL alone; the other removes no
statement, knows one command of tests for all modules, and draws no sample. Neither gives each process a database.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from nova_admin.embedded import postgres
from tests.checkout import ROOT
from tests.mutation.defects import Mutation, MutationFinder

if TYPE_CHECKING:
    from collections.abc import Iterator

COPIES = ROOT / ".local" / "mutation"
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "staticfiles")
UNSEEN = Path(__file__).with_name("unseen.toml")
SERVER_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# A defect that makes the tests so much slower is found too.
PATIENCE, PATIENCE_SECONDS = 4, 30
LONGEST_SECONDS = 1200
ENOUGH = 0.97
TESTS_FAILED = (1, 2)  # pytest's exit codes; 2: a module could not be imported

READER = "tests/nova_credentials/reader"
MOVES = (
    *("tests/migration/test_move_guards.py", "tests/migration/moves"),
    "tests/migration/test_approving.py",
)
PUSHES = (
    *("tests/migration/pushes", "tests/migration/test_move_guards.py"),
    "tests/migration/test_version_keys.py",
)
COUNTING = ("tests/credentials/counting", "tests/credentials/triggers")
# Each module, and the tests that are to find a defect in it, the quickest first.
TESTS = {
    "nova_credentials/phases.py": ("tests/nova_credentials/test_phases.py",),
    "nova_credentials/document.py": ("tests/nova_credentials/test_document.py",),
    "nova_credentials/comparison.py": ("tests/nova_credentials/test_comparison.py",),
    "nova_credentials/reader/routing.py": (
        f"{READER}/test_cache.py",
        f"{READER}/test_stores.py",
        READER,
    ),
    "nova_credentials/reader/from_postgres.py": (
        f"{READER}/test_counts.py",
        f"{READER}/test_postgres_fails.py",
        READER,
    ),
    "nova_credentials/reader/process_notes.py": (f"{READER}/test_process_notes.py",),
    "nova_credentials/reader/snapshot.py": (
        f"{READER}/test_process_notes.py",
        f"{READER}/test_postgres_fails.py",
        READER,
    ),
    "nova_credentials/reader/from_aws.py": (f"{READER}/test_aws_fails.py", READER),
    "migration/operations/gates.py": MOVES,
    "migration/operations/moves.py": MOVES,
    "migration/operations/rows_from_aws.py": MOVES,
    "migration/operations/pushes.py": PUSHES,
    "migration/operations/secret_writer.py": PUSHES,
    "credentials/triggers.py": COUNTING,
    "credentials/trigger_sql.py": COUNTING,
}


def list_mutations(module: str) -> list[Mutation]:
    return MutationFinder(module, (ROOT / module).read_bytes()).found


def list_unseen() -> dict[tuple[str, str, str, str], str]:
    """Those that no test can see, by module, line of source, old and new text, with the reason."""
    entries = tomllib.loads(UNSEEN.read_text())["mutation"]
    return {(e["module"], e["source"], e["old"], e["new"]): e["why"] for e in entries}


def identity(mutation: Mutation) -> tuple[str, str, str, str]:
    return mutation.module, mutation.source_line, mutation.old, mutation.new


def draw_sample(modules: list[str], number: int, seed: int) -> list[Mutation]:
    """Draw from every module in turn; exits where an entry of the unseen is of no use any more."""
    unseen = list_unseen()
    everything = {module: list_mutations(module) for module in modules}
    known = {identity(mutation) for found in everything.values() for mutation in found}
    if useless := [key for key in unseen if key[0] in modules and key not in known]:
        sys.exit(f"{UNSEEN.name} names what is not there any more: {useless}")
    chance = random.Random(seed)
    piles = [
        chance.sample(seen, len(seen))
        for found in everything.values()
        if (seen := [mutation for mutation in found if identity(mutation) not in unseen])
    ]
    drawn: list[Mutation] = []
    while len(drawn) < number and any(piles):
        drawn += [pile.pop() for pile in piles if pile]
    return drawn[:number]


class Workplaces:
    """Copies of the checkout, each with a PostgreSQL of its own; a copy is used by one run of tests at a time."""

    def __init__(self, number: int) -> None:
        shutil.rmtree(COPIES, ignore_errors=True)
        self.free: Queue[Path] = Queue()
        self.seconds: dict[str, float] = {}
        for n in range(number):
            copy = COPIES / str(n)
            shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
            # Who keeps it running here saves each run of tests its start.
            postgres.start_server(copy / ".local" / "test" / "postgres", settings=SERVER_SETTINGS)
            self.free.put(copy)

    def measure(self, module: str) -> None:
        """Note how long the module's tests take without a defect; exits where they fail."""
        copy, started = self.free.get(), time.monotonic()
        done = run_tests(copy, module, LONGEST_SECONDS)
        self.seconds[module] = time.monotonic() - started
        self.free.put(copy)
        if done is None or done.returncode:
            sys.exit(f"The tests of {module} fail without a defect: {done and done.stdout}")

    def is_found(self, mutation: Mutation) -> bool:
        patience = PATIENCE * self.seconds[mutation.module] + PATIENCE_SECONDS
        copy = self.free.get()
        file = copy / mutation.module
        source = file.read_bytes()
        try:
            file.write_bytes(mutation.apply_to(source))
            done = run_tests(copy, mutation.module, patience)
        finally:
            file.write_bytes(source)
            self.free.put(copy)
        if done and done.returncode not in (0, *TESTS_FAILED):
            raise SystemExit(f"{mutation}: {done.stdout}{done.stderr}")
        return done is None or done.returncode in TESTS_FAILED


def run_tests(copy: Path, module: str, seconds: float) -> subprocess.CompletedProcess[str] | None:
    """Run the module's tests up to the first that fails; None where they are not done after so many seconds."""
    options = ("-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider")
    try:
        return subprocess.run(
            [sys.executable, "-m", "pytest", *options, *TESTS[module]],
            cwd=copy, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None


def report(mutations: Iterator[tuple[Mutation, bool]]) -> float:
    """Print each that survives and a table; return the share that was found."""
    counts: dict[str, Counter[bool]] = defaultdict(Counter)
    for mutation, is_found in mutations:
        counts[mutation.module][is_found] += 1
        if not is_found:
            print(f"survived: {mutation}", flush=True)
    print("\n| module | defects | found | survived |\n|---|---|---|---|")
    for module, of in counts.items():
        print(f"| {module} | {of.total()} | {of[True]} | {of[False]} |")
    every = sum(counts.values(), Counter())
    share = every[True] / every.total()
    print(f"| **together** | {every.total()} | {every[True]} ({share:.1%}) | {every[False]} |")
    return share


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutation", description=__doc__)
    parser.add_argument("--number", type=int, default=150)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=TESTS, action="append")
    options = parser.parse_args()
    modules = options.only or list(TESTS)
    mutations = draw_sample(modules, options.number, options.seed)
    print(f"{len(mutations)} defects, seed {options.seed}", flush=True)
    places = Workplaces(options.processes)
    with ThreadPoolExecutor(options.processes) as pool:
        list(pool.map(places.measure, dict.fromkeys(m.module for m in mutations)))
        share = report(zip(mutations, pool.map(places.is_found, mutations), strict=True))
    sys.exit(0 if share >= ENOUGH else 1)


if __name__ == "__main__":
    main()
