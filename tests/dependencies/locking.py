"""Makes the locks of the lists of dependencies: every version, also of what others need, with the hashes of its files.

`python -m tests.dependencies.locking UV` (`make lock`) runs uv over the lists; with `--upgrade` it takes the newest
versions that the lists allow. `--check` fails if a lock was made of another list. It needs nothing but Python: the
set-up runs it before anything is installed.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
LISTS = (
    "requirements.txt",
    "requirements-redis.txt",
    "requirements-dev.txt",
    "requirements-tools.txt",
    "requirements-lowest.txt",
)
OLDEST_PYTHON = "3.11"
HEAD = "# Made by `make lock` of {listed}: change that, never this.\n# Made of: {digest}\n"
MADE_OF = re.compile(r"^# Made of: ([0-9a-f]{64})$", re.MULTILINE)
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


class LockedVersion(NamedTuple):
    """One version in a lock. With a marker it is installed only where that is true."""

    name: str
    version: str
    marker: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


def lock_of(listed: Path) -> Path:
    return listed.with_suffix(".lock")


def listed_lines(listed: Path) -> list[str]:
    """The requirements of a list and of the lists it includes, without their reasons."""
    lines = []
    for line in listed.read_text().splitlines():
        requirement = " ".join(re.sub(r"(^|\s)#.*", "", line).split())
        if included := re.fullmatch(r"-r (\S+)", requirement):
            lines += listed_lines(listed.parent / included[1])
        elif requirement:
            lines.append(requirement)
    return lines


def digest_of(listed: Path) -> str:
    return hashlib.sha256("\n".join(sorted(listed_lines(listed))).encode()).hexdigest()


def locked_versions(text: str) -> list[LockedVersion]:
    """The versions in the text of a lock. Of a lock that a merge left in pieces: the first of each package."""
    versions: dict[tuple[str, str], LockedVersion] = {}
    for name, version, marker in LOCKED.findall(text):
        versions.setdefault((name, marker), LockedVersion(name, version, marker))
    return list(versions.values())


def stale_locks(folder: Path) -> list[str]:
    """The names of the lists that were changed after their locks were made, or have none."""
    return [name for name in LISTS if not _is_made_of(folder / name)]


def _is_made_of(listed: Path) -> bool:
    lock = lock_of(listed)
    return lock.exists() and MADE_OF.findall(lock.read_text()) == [digest_of(listed)]


def make_lock(folder: Path, name: str, *, uv: str, constraint: str | None, upgrade: bool) -> None:
    """Writes the lock of a list, with the versions of the present lock where the list still allows them.

    Raises CalledProcessError if uv finds no versions; the present lock then stays.
    """
    listed = folder / name
    lock = lock_of(listed)
    with tempfile.TemporaryDirectory() as made_in:
        made = Path(made_in, lock.name)
        # uv keeps versions that stand in the file which it is to write, if somebody hasn't asked for newer ones.
        if lock.exists() and not upgrade:
            made.write_text("".join(f"{kept}\n" for kept in locked_versions(lock.read_text())))
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        command += [
            "--no-header",
            "--python-version",
            OLDEST_PYTHON,
            "--output-file",
            str(made),
            name,
        ]
        command += ["--constraint", constraint] if constraint else []
        subprocess.run(command, check=True, cwd=folder)
        text = HEAD.format(listed=name, digest=digest_of(listed)) + made.read_text()
    # What make sees as changed is installed again.
    if not lock.exists() or lock.read_text() != text:
        lock.write_text(text)


def make_locks(folder: Path, *, uv: str, upgrade: bool) -> None:
    """Renews the locks of all lists. What development and production share has one version."""
    production, with_redis, development, tools, lowest = LISTS
    for name, above in (
        (production, None),
        (with_redis, production),
        (development, with_redis),
        (tools, None),
        (lowest, None),
    ):
        constraint = lock_of(Path(above)).name if above else None
        make_lock(folder, name, uv=uv, constraint=constraint, upgrade=upgrade)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dependencies.locking")
    parser.add_argument("uv", nargs="?", default="uv", help="the uv that makes the locks")
    parser.add_argument("--check", action="store_true", help="only say which locks are stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = parser.parse_args()
    if options.check:
        stale = stale_locks(ROOT)
        for name in stale:
            lock = lock_of(Path(name))
            print(f"{lock} was not made of this {name}: run `make lock`.", file=sys.stderr)
        return 1 if stale else 0
    make_locks(ROOT, uv=options.uv, upgrade=options.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
