"""The shortest of `make reliability`: real workers, all faults at once, and one worker killed."""

import subprocess
import sys

from tests.checkout import ROOT


def test_two_workers_of_which_one_is_killed_bring_a_migration_to_its_end():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.reliability"),
            *("--only", "two-workers", "--clients", "120"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 matches, one secret each" in done.stdout
