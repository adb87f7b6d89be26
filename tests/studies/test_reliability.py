"""The study of reliability: a short row of it, by a real worker, and where its rows stand in the results."""

import subprocess
import sys

import pytest

from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.studies.reliability import COLUMNS, NAMED, SCENARIOS
from tests.studies.study import RESULTS, Table


@pytest.mark.nightly
def test_a_migration_whose_tasks_are_delivered_three_times_comes_to_its_end():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.studies", "reliability"),
            *("--only", "twice", "--clients", "12"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 matches, one secret each" in done.stdout


def test_a_row_takes_the_place_of_the_one_of_the_same_fault_and_leaves_the_others():
    def put(*rows: str) -> str:
        return Table(COLUMNS, **NAMED, rows=[*rows]).put_into(text)

    text, first, last = RESULTS.read_text(), SCENARIOS[0], SCENARIOS[-1]
    new = f"| {first.what} | 7 | – | – | – | 7 matches, one secret each |"

    before, after = text.splitlines(), put(new).splitlines()

    assert len(before) == len(after)
    assert [row for row in after if row not in before] == [new]
    assert put(*[row for row in before if row.startswith(f"| {first.what} |")]) == put() == text
    assert f"| {last.what} |" in put(f"| {last.what} | 7 |")


def test_the_results_have_a_row_for_every_fault():
    rows = [line for line in RESULTS.read_text().splitlines() if line.startswith("| ")]

    assert [s.name for s in SCENARIOS if not any(r.startswith(f"| {s.what} |") for r in rows)] == []
