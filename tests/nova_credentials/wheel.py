"""Builds the wheel that NOVA installs, from this checkout and without a network."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.checkout import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into the folder and return its path."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("nova_credentials-*.whl")
    return wheel
