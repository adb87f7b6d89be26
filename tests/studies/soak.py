"""Whether the law holds over many random lives of a client, from each phase on.

`make test` lives the same few lives each time, by the same test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.studies.study import Study, Table

if TYPE_CHECKING:
    from argparse import Namespace


def measure(options: Namespace) -> list[Table]:
    """Run the law's test, a process for each phase."""
    command = [sys.executable, "-m", "pytest", "-n", str(len(Phase)), "tests/law/test_law.py"]
    lives = {"NOVA_SOAK": str(options.lives)}
    done = subprocess.run(
        [*command, "-k", "the_law_holds"], cwd=ROOT, env=os.environ | lives, check=False
    )
    table = Table()
    held = done.returncode == 0
    lived = table.judge(f"{options.lives:,}", holds=held)
    table.add("random lives from each phase on", lived, "all keep the law")
    return [table]


STUDY = Study(
    measure,
    needs="as long as the lives that it is asked for",
    options={"--lives": {"type": int, "default": 1000, "help": "from each phase on"}},
)
