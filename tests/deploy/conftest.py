"""A site made by deploy/build.sh in a plain folder, as the image has it."""

import fcntl
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.settings import SCRATCH

TOKEN = secrets.token_urlsafe(64)


# Makes environments that are the one of the tests: nothing is downloaded. Each install is a line in $INSTALLS, and
# waits while there is a file $HELD. With $QUICK neither static files, modules nor the package are made ready.
MAKER = f"""#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {sys.executable} "$@"; fi
mkdir -p "$3/bin"
cat > "$3/bin/python" <<'END'
#!/bin/sh
case "$1 $2 $3$QUICK" in
"-m pip install"*)
    echo "$@" >> "$INSTALLS"
    while [ -e "$HELD" ]; do sleep 0.05; done
    exit ;;
"manage.py collectstatic --noinputyes") mkdir staticfiles; exit ;;
"-m compileall -qyes") exit ;;
"-m pip wheelyes") mkdir wheels; exit ;;
esac
exec {sys.executable} "$@"
END
chmod +x "$3/bin/python"
"""


@dataclass
class Builder:
    """Runs deploy/build.sh, without a setting of this machine and without a download."""

    scratch: Path
    quick: bool = True

    def __post_init__(self) -> None:
        self.scratch.mkdir()
        maker = self.scratch / "python"
        maker.write_text(MAKER)
        maker.chmod(0o755)
        self.installs, self.held = self.scratch / "installs", self.scratch / "held"
        self.installs.touch()
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        ours = {"PYTHON": maker, "INSTALLS": self.installs, "HELD": self.held}
        # The site is run by whoever runs the tests, whose interpreter may be where only they get to.
        ours["NOVA_USER"] = pwd.getpwuid(os.geteuid()).pw_name
        quick = {"QUICK": "yes"} if self.quick else {}
        self.environment = kept | quick | {name: str(path) for name, path in ours.items()}

    def start(self, folder: Path | str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [ROOT / "deploy/build.sh", folder], env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def build(self, folder: Path | str, **environment: str) -> tuple[int, str]:
        """Build to the end; return exit code and what was said."""
        process = self.start(folder, **environment)
        said = "".join(process.communicate(timeout=TIMEOUT_SECONDS))
        return process.returncode, re.sub(r"Built: .*, with Python 3\.\d+\.\w+\.\n$", "", said)


@pytest.fixture(scope="session")
def built_site(testrun_uid, tmp_path_factory) -> Path:
    """Made once, whichever process of the run asks first; a run that ended before may have left one."""
    folder = SCRATCH / f"site-{testrun_uid}"
    with (SCRATCH / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in SCRATCH.glob("site-*"):
                shutil.rmtree(old)
            builder = Builder(tmp_path_factory.mktemp("builder") / "x", quick=False)
            assert builder.build(folder) == (0, "")
    return folder


@pytest.fixture
def builder(tmp_path) -> Builder:
    return Builder(tmp_path / "builder")


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
        folders[:] = [name for name in folders if not name.startswith("venv")]
        found |= {str(Path(parent, name)): Path(parent, name).stat().st_mtime_ns for name in names}
    return found
