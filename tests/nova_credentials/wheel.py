"""Builds the wheel that NOVA installs, from this checkout and without a network."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.checkout import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into the folder as `pip install .` does, and return its path."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, *offline, "--wheel-dir", str(folder), "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob(f"nova_credentials-{VERSION}-*.whl")
    return wheel
