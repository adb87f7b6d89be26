"""Asks pip-audit for the advisories about the locked versions, and never calls clean what was not audited.

`python -m tests.dependencies.auditing PIP_AUDIT` (`make audit`) asks about every version in the locks, also about those
for other systems and Pythons. It exits with 0 if all were audited and none has an advisory, 1 if one has, 2
if anything was not audited.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.dependencies.locking import ROOT, lock_of, locked_versions

LISTS = ("requirements.txt", "requirements-dev.txt")
OPTIONS = ("--strict", "--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json")
TIMEOUT_SECONDS = 600
CLEAN, FOUND, NOT_AUDITED = 0, 1, 2


class NotAuditedError(Exception):
    """Says why not every version was audited."""


def pinned_versions(folder: Path) -> set[tuple[str, str]]:
    """The names and versions of all locks. Raises NotAuditedError if there are none."""
    texts = [lock_of(folder / name).read_text() for name in LISTS]
    pinned = {(locked.name, locked.version) for text in texts for locked in locked_versions(text)}
    if not pinned:
        raise NotAuditedError("The locks name no version.")
    return pinned


def rounds_of(pinned: set[tuple[str, str]]) -> list[dict[str, str]]:
    """Splits the versions so that each round names a package once, as pip-audit demands."""
    rounds: list[dict[str, str]] = []
    for name, version in sorted(pinned):
        free = next((asked for asked in rounds if name not in asked), None)
        if free is None:
            rounds.append(free := {})
        free[name] = version
    return rounds


def audit(command: list[str], asked: dict[str, str]) -> list[str]:
    """Runs pip-audit over these versions and returns a line for each advisory.

    Raises NotAuditedError if it doesn't run, doesn't end, reports an error, or leaves out a version.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in asked.items())
        file.flush()
        ended = _run([*command, *OPTIONS, "--requirement", file.name])
    said = ended.stderr.splitlines()
    # It exits with 1 where it found advisories and where it failed: then it logs an error, or crashes.
    if errors := [line for line in said if line.startswith("ERROR:")]:
        raise NotAuditedError("\n".join(errors))
    try:
        answers = {answer["name"]: answer for answer in json.loads(ended.stdout)["dependencies"]}
    except (ValueError, KeyError, TypeError):
        last = said[-1] if said else f"it ended with {ended.returncode}"
        raise NotAuditedError(f"pip-audit printed no report: {last}") from None
    if left_out := [
        f"{name} {version}"
        for name, version in asked.items()
        if answers.get(name, {}).get("version") != version or "vulns" not in answers[name]
    ]:
        raise NotAuditedError(f"pip-audit left out {', '.join(left_out)}.")
    found = [
        f"{name} {asked[name]}: {advisory['id']}, "
        f"fixed in {', '.join(advisory['fix_versions']) or 'no version'}"
        for name, answer in sorted(answers.items())
        for advisory in answer["vulns"]
    ]
    if ended.returncode != bool(found):
        raise NotAuditedError(
            f"pip-audit ended with {ended.returncode} and named {len(found)} advisories."
        )
    return found


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except OSError as error:
        raise NotAuditedError(f"pip-audit can't be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired as error:
        raise NotAuditedError(f"pip-audit did not end within {TIMEOUT_SECONDS} s.") from error


def main(command: list[str], folder: Path = ROOT) -> int:
    found: list[str] = []
    try:
        pinned = pinned_versions(folder)
        for asked in rounds_of(pinned):
            found += audit(command, asked)
    except NotAuditedError as reason:
        print(
            *found,
            reason,
            "Not audited. Whether advisories are known is unknown.",
            sep="\n",
            file=sys.stderr,
        )
        return NOT_AUDITED
    if found:
        print(
            *found,
            f"{len(found)} advisories about {len(pinned)} versions.",
            sep="\n",
            file=sys.stderr,
        )
        return FOUND
    print(f"{len(pinned)} versions audited, no advisory is known.")
    return CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["pip-audit"]))
