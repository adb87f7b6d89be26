"""A site made by deploy/build.sh in a plain folder, as the image has it."""

import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, TIMEOUT_SECONDS

TOKEN = secrets.token_urlsafe(64)


@pytest.fixture(scope="session")
def built_site(tmp_path_factory) -> Path:
    """The folder. Its environment is the one of the tests: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "venv").symlink_to(sys.prefix)
    build = [ROOT / "deploy" / "build.sh", folder]
    # Whatever the settings of the machine are, the build needs none.
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        build, env=kept, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own reader of rules."""
    found = shutil.which("promtool")
    if found is None:
        missing = "there is no promtool (apt-get install promtool)"
        if os.environ.get("REQUIRE_PROMTOOL"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def list_files(folder: Path) -> dict[str, int]:
    """Every file of the site, and when it was written."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "venv"]
        found |= {str(Path(parent, name)): Path(parent, name).stat().st_mtime_ns for name in names}
    return found
