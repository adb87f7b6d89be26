"""Which small defects no test finds, in the modules that must not err or in others: each is made, and tests are run.

Why neither mutmut nor cosmic-ray: the one leaves decorated functions, constants and SQL alone; the other removes no
statement, knows one command of tests for all modules, and draws no sample. Neither gives each process a database.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import accumulate, chain
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from tests.checkout import ROOT
from tests.studies import study
from tests.studies.mutation_defects import Mutation, MutationFinder
from tests.studies.mutation_workplaces import TestNote, Workplace
from tests.studies.study import Study, Table

if TYPE_CHECKING:
    from argparse import Namespace

COPIES = study.LOCAL / "mutation"
UNSEEN = Path(__file__).with_name("mutation_unseen.toml")
# The share of defects that has to be found in the modules that must not err, and in all others.
ENOUGH = {"core": 0.98, "others": 0.92}
# The quickest of the tests that run a defect's line, so many seconds of them, come before all others.
FIRST_SECONDS = 15
# Of the others' tests no more are asked: what a sign-in or the menu runs is run by thousands of them.
MOST_SECONDS = 240

READER = "tests/nova_credentials/reader"
LOST_LEASES = "tests/migration/core/test_lost_leases.py"
MOVES = (
    *("tests/migration/moves/test_move_guards.py", "tests/migration/moves"),
    *("tests/migration/moves/test_approving.py", "tests/migration/moves/evidence"),
    *("tests/migration/nova/tables", LOST_LEASES),
)
MOVE_RUNS = ("tests/migration/moves/runs", "tests/migration/campaigns/test_rollback.py")
PUSHES = (
    *("tests/migration/pushes", "tests/migration/moves/test_move_guards.py"),
    "tests/migration/nova/tables",
    *("tests/migration/core/test_version_keys.py", "tests/migration/pushes/test_saving.py"),
    "tests/test_reprs.py",
    *(
        "tests/migration/core/aws_writes/test_half_saves.py",
        "tests/migration/core/aws_writes/test_old_backups.py",
    ),
)
LAYOUTS = ("tests/migration/secrets/layouts", LOST_LEASES)
ROTATIONS = ("tests/migration/logins/rotations", LOST_LEASES, "tests/test_reprs.py")
WRITES = (
    "tests/migration/core/aws_writes",
    "tests/migration/core/test_version_keys.py",
    LOST_LEASES,
)
# Each act's plan, and what is done by it.
ACTS = ("tests/migration/runs/acts", "tests/migration/management/test_act_commands.py")
REMEDIES = "tests/migration/clients/page/test_remedies.py"
COUNTING = ("tests/credentials/counting", "tests/credentials/triggers")
# They restore backups, start servers, upgrade whole databases or open every page: too slow to be asked of each defect.
# The last is about compiled tests, and nothing is compiled there.
LEFT_OUT = {
    "tests/migration/core/aws_writes/test_copies.py",
    "tests/migration/moves/evidence/test_upgrade.py",
    f"{READER}/test_nova_worker.py",
    "tests/migration/runs/acts/test_every_act.py",
    "tests/test_compiling.py",
}
# Each module that must not err, and the tests that are to find a defect in it.
TESTS = {
    "nova_credentials/phases.py": ("tests/nova_credentials/test_phases.py",),
    "nova_credentials/document.py": (
        "tests/nova_credentials/test_document.py",
        "tests/nova_credentials/test_document_extras.py",
        "tests/nova_credentials/test_secret_names.py",
    ),
    "nova_credentials/comparison.py": (
        "tests/nova_credentials/test_comparison.py",
        "tests/nova_credentials/test_equal_texts.py",
        "tests/test_reprs.py",
    ),
    "nova_credentials/tables.py": (
        "tests/nova_credentials/test_tables.py",
        "tests/credentials/counting",
        "tests/migration/core/test_version_keys.py",
    ),
    **dict.fromkeys(
        (
            *("nova_credentials/reader/__init__.py", "nova_credentials/reader/connections.py"),
            *("nova_credentials/reader/routing.py", "nova_credentials/reader/from_postgres.py"),
            *("nova_credentials/reader/process_notes.py", "nova_credentials/reader/snapshot.py"),
            "nova_credentials/reader/from_aws.py",
        ),
        (READER,),
    ),
    "migration/clients/acts.py": (
        *("tests/migration/clients/groups", "tests/migration/clients/list/test_owners_of_many.py"),
        *ACTS,
    ),
    "migration/logins/acts.py": ("tests/migration/logins", *ACTS),
    "migration/moves/acts.py": (*MOVES, *MOVE_RUNS, *ACTS),
    "migration/pushes/acts.py": (*PUSHES, REMEDIES, *ACTS),
    "migration/runs/acts.py": (
        *ACTS,
        "tests/migration/pushes",
        *("tests/migration/moves/test_acts.py", "tests/migration/moves/evidence/test_pages.py"),
    ),
    "migration/secrets/acts.py": (
        *("tests/migration/secrets/layouts", "tests/migration/secrets/settings"),
        *("tests/migration/secrets/test_adoptions.py", REMEDIES, *ACTS),
    ),
    "migration/moves/account.py": MOVES,
    "migration/moves/rules.py": MOVES,
    "migration/moves/readiness.py": (
        *(*MOVES, "tests/migration/clients/list"),
        "tests/migration/campaigns/test_waiting.py",
    ),
    "migration/pushes/pushable.py": (
        "tests/migration/pushes/test_pushable.py",
        *("tests/migration/clients/list", "tests/migration/nova/tables/test_columns.py"),
        "tests/migration/campaigns/test_start_page.py",
        "tests/migration/moves/evidence",
    ),
    "migration/moves/gates.py": MOVES,
    "migration/moves/moves.py": (*MOVES, *MOVE_RUNS, "tests/migration/moves/test_deleting.py"),
    "migration/moves/runs.py": (*MOVE_RUNS, *MOVES, *ACTS),
    "migration/moves/approvals.py": (*MOVES, *MOVE_RUNS),
    "migration/pushes/rows_from_aws.py": (*MOVES, *MOVE_RUNS, "tests/migration/pushes"),
    "migration/pushes/pushes.py": PUSHES,
    "migration/pushes/secret_writer.py": PUSHES,
    "migration/secrets/layouts.py": LAYOUTS,
    "migration/logins/role_passwords.py": ROTATIONS,
    "migration/logins/rotations.py": ROTATIONS,
    "migration/logins/pending.py": (
        *ROTATIONS,
        "tests/migration/secrets/versions/test_pending_stages.py",
    ),
    "migration/core/aws_store.py": (*WRITES, "tests/nova_admin/operating/test_aws_calls.py"),
    "migration/core/aws_writes.py": WRITES,
    "migration/core/shared_facts.py": (
        "tests/migration/core/aws_writes/test_shared_facts.py",
        "tests/migration/core/test_releases.py",
    ),
    "credentials/triggers.py": COUNTING,
    "credentials/trigger_sql.py": COUNTING,
}


# Of the other modules, whatever daily test runs the line is to find the defect; but for these, which start processes.
OTHERS = ("nova_admin", "migration", "credentials", "nova_credentials")
SLOW_FOLDERS = {"browser", "deploy", "first_release", "law", "studies", "upgrade"}


def list_modules(area: str) -> list[str]:
    if area == "core":
        return list(TESTS)
    paths = chain(*((ROOT / package).rglob("*.py") for package in OTHERS))
    modules = sorted(str(p.relative_to(ROOT)) for p in paths if "migrations" not in p.parts)
    return [module for module in modules if module not in TESTS]


def list_mutations(module: str) -> list[Mutation]:
    return MutationFinder(module, (ROOT / module).read_bytes()).found


def list_unseen() -> dict[tuple[str, str, str, str], str]:
    """Those that no test can see, by module, line of source, old and new text, with the reason."""
    entries = tomllib.loads(UNSEEN.read_text())["mutation"]
    return {(e["module"], e["source"], e["old"], e["new"]): e["why"] for e in entries}


def identity(mutation: Mutation) -> tuple[str, str, str, str]:
    return mutation.module, mutation.source_line, mutation.old, mutation.new


def draw_sample(modules: list[str], number: int, seed: int) -> list[Mutation]:
    """Draw from every module in turn, in any order; exits where an entry of the unseen is of no use any more."""
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
    chance.shuffle(piles)
    drawn: list[Mutation] = []
    while len(drawn) < number and any(piles):
        drawn += [pile.pop() for pile in piles if pile]
    return drawn[:number]


class Laboratory:
    """Some workplaces, and what each test runs without a defect."""

    def __init__(self, number: int, modules: list[str]) -> None:
        shutil.rmtree(COPIES, ignore_errors=True)
        self.free: Queue[Workplace] = Queue()
        self.pool = ThreadPoolExecutor(number)
        places = list(self.pool.map(Workplace, [COPIES / str(n) for n in range(number)]))
        files = {file for module in modules for file in list_files(module)}
        # Whatever tests a module that must not err is asked, long ones too.
        daily = () if TESTS.keys() >= {*modules} else ("-m", "not long")
        # The largest files first, so that each workplace gets as much to do as the others.
        dealt = sorted(files, key=lambda file: -(ROOT / file).stat().st_size)
        measured = self.pool.map(
            lambda n: places[n].measure_tests(dealt[n::number], modules, *daily), range(number)
        )
        self.notes = sorted(chain(*measured), key=lambda note: note.seconds)
        for place in places:
            self.free.put(place)

    def is_found(self, mutation: Mutation) -> bool:
        """Say whether a test fails on the defect: first the quickest that run its line, then the rest of its tests.

        The rest: of a module that must not err, all its tests; of another, those that run the line.
        """
        files = list_files(mutation.module)
        tests = [note for note in self.notes if note.file in files]
        running = [note for note in tests if does_run(note, mutation)]
        first = take_seconds(running, FIRST_SECONDS)
        if mutation.module not in TESTS:
            tests = take_seconds(running, MOST_SECONDS)
        rest = [test for test in tests if test not in first]
        place = self.free.get()
        try:
            return place.is_found(mutation, first, rest)
        finally:
            self.free.put(place)


def take_seconds(tests: list[TestNote], seconds: float) -> list[TestNote]:
    """Take the first of the tests, until they take so long."""
    ends = accumulate(test.seconds for test in tests)
    return [test for test, end in zip(tests, ends, strict=True) if end - test.seconds <= seconds]


def does_run(note: TestNote, mutation: Mutation) -> bool:
    """Say whether the test runs the defect's statement, or anything of the module where that is run by an import."""
    if mutation.statement is None:
        return any(module == mutation.module for module, _line in note.lines)
    return (mutation.module, mutation.statement) in note.lines


@cache
def list_files(module: str) -> set[str]:
    """List the files with the module's tests."""
    paths = [ROOT / path for path in TESTS.get(module, ["tests"])]
    files = chain(*(path.rglob("test_*.py") if path.is_dir() else [path] for path in paths))
    names = {str(file.relative_to(ROOT)) for file in files} - LEFT_OUT
    return {name for name in names if name.split("/")[1] not in SLOW_FOLDERS}


def measure(options: Namespace) -> list[Table]:
    modules = options.only or list_modules(options.of)
    mutations = draw_sample(modules, options.number, options.seed)
    print(f"{len(mutations)} defects, seed {options.seed}", flush=True)
    laboratory = Laboratory(options.processes, list(dict.fromkeys(m.module for m in mutations)))
    print(f"{len(laboratory.notes)} tests", flush=True)
    counts: dict[str, Counter[bool]] = defaultdict(Counter)
    found = laboratory.pool.map(laboratory.is_found, mutations)
    for mutation, is_found in zip(mutations, found, strict=True):
        counts[mutation.module][is_found] += 1
        if not is_found:
            print(f"survived: {mutation}", flush=True)
    table = Table(("module", "defects", "found", "survived"))
    for module, of in counts.items():
        table.add(module, f"{of.total()}", f"{of[True]}", f"{of[False]}")
    every = sum(counts.values(), Counter())
    share = every[True] / every.total()
    of_all = table.judge(f"{every[True]} ({share:.1%})", holds=share >= ENOUGH[options.of])
    table.add("**together**", f"{every.total()}", of_all, f"{every[False]}")
    return [table]


STUDY = Study(
    measure,
    needs="hours: every defect has its module's tests run",
    options={
        "--of": {"choices": ENOUGH, "default": "core"},
        "--number": {"type": int, "default": 150},
        "--seed": {"type": int, "default": int(time.time())},
        "--processes": {"type": int, "default": 2},
        "--only": {"metavar": "MODULE", "action": "append"},
    },
)
