"""Looks for problems of the site anew, as `doctor` and “Check again” do, and stores what it found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from migration.core.aws_writes import learn_facts, write_guard
from migration.core.problems import (
    PROBLEMS,
    WORST_FIRST,
    Area,
    Finding,
    Look,
    Problem,
    ProblemRecord,
    Result,
    look_for,
    read_briefly,
    report_failure,
    sort_problems,
)
from migration.doctor.nova import read_stored_proofs, try_updates
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import Sentence


def list_site_problems() -> list[Problem]:
    """Return what can be wrong with the site itself, in the order of every surface."""
    return [each for each in sort_problems(PROBLEMS.values()) if each.is_of_site]


def look_at_site(problems: Iterable[Problem], *, role: str | None = None) -> list[Result]:
    """Look for these problems now, whatever that takes, and store what was found.

    Raises OperationalError where PostgreSQL can't be reached at all. `role` is the role by which NOVA connects; without
    it, the owners of NOVA's tables. What was found of a named role is not stored: the workers know of none.
    """
    connection.ensure_connection()
    with wait_briefly_for_locks():
        return _look_at_site(list(problems), role)


@contextmanager
def wait_briefly_for_locks() -> Iterator[None]:
    """Have no statement of the block wait longer for a lock than those of pages do."""
    with suppress(Error), connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1s'")
    try:
        yield
    finally:
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")


def _look_at_site(chosen: list[Problem], role: str | None) -> list[Result]:
    look = Look(role=role, briefly=True)
    if any(each.area == Area.COUNTING for each in chosen):
        # Updates that are undone.
        with suppress(Error):
            look.give(read_stored_proofs, try_updates())
    if any(each.area == Area.AWS for each in chosen):
        write_guard().forget_state()
        # Which account this process reaches, AWS tells.
        with suppress(Error, SecretsManagerError):
            learn_facts()
    results = []
    for each in chosen:
        # Each time: after an error of the database the connection may be another one.
        with wait_briefly_for_locks():
            results.append(look_for(each, look))
        if role is None and not each.of_process:
            # The tables of a site that isn't set up are missing, or its role lacks rights.
            with suppress(Error), read_briefly():
                ProblemRecord.objects.store(results[-1])
    with suppress(Error), read_briefly():
        records = ProblemRecord.objects.in_bulk()
        for number, result in enumerate(results):
            if (record := records.get(result.problem.code)) and result.is_open:
                results[number] = replace(result, began_at=record.began_at)
    return results


FIRST_RELEASE = Sentence(
    "first_release",
    "This database is the first release's: its tables wait for their upgrade, and nothing more can be said of it yet.",
)
UPGRADE_IT = Sentence(
    "upgrade_it",
    "See docs/studies/first-release.md for what comes first, then run: python manage.py migrate.",
)


def tell_of_first_release() -> Result:
    """Return what there is to say of a database that `migrate` has not upgraded yet."""
    findings = (report_failure(FIRST_RELEASE(), UPGRADE_IT()),)
    return Result(PROBLEMS["schema_behind"], findings, timezone.now())


@dataclass(frozen=True)
class Line:
    """One thing that a look found, and of which problem."""

    problem: Problem
    finding: Finding

    def to_json(self) -> dict[str, Any]:
        """Return it as `doctor --format json` prints it; `remedy` ends with the statements."""
        found = self.finding
        return {
            "check": self.problem.code,
            "ok": found.ok,
            "state": found.state.value,
            "message": str(found.message),
            "remedy": " ".join((str(found.remedy or ""), *found.statements)).strip(),
            "codes": found.message.codes,
            "statements": list(found.statements),
            "severity": self.problem.severity.value,
        }


def list_lines(results: Iterable[Result]) -> Iterator[Line]:
    """Yield first what failed, then what was not looked at, then the rest, each in the order of the results."""
    lines = [Line(each.problem, found) for each in results for found in each.findings]
    yield from sorted(lines, key=lambda line: WORST_FIRST.index(line.finding.state))
