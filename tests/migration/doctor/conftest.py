"""A database with NOVA's role and the site's, `migrate` run on it, and `doctor` as a process of its own."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.attacks.hostile import Hostile, copied_hostile_database, hostile_database
from tests.checkout import manage
from tests.migrated import migrate


@dataclass
class Report:
    """What `doctor --format json` printed, by problem."""

    code: int
    findings: list[dict]

    def of(self, check: str) -> list[dict]:
        return [finding for finding in self.findings if finding["check"] == check]

    def states(self, check: str) -> list[str]:
        return [finding["state"] for finding in self.of(check)]

    def codes(self, check: str) -> list[str]:
        return [code for finding in self.of(check) for code in finding["codes"]]

    def statements(self, check: str) -> list[str]:
        return [line for finding in self.of(check) for line in finding["statements"]]


def run_doctor(
    hostile: Hostile,
    *arguments: str,
    role: str = "",
    command: str = "check_nova",
    **environment: str,
) -> Report:
    uri = hostile.of(role or hostile.site)
    done = manage(command, "--format", "json", *arguments, **{"DATABASE_URL": uri} | environment)
    assert done.stderr == ""
    return Report(done.returncode, json.loads(done.stdout))


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    """NOVA's tables with the rows of `nova_database`, and the site's schema, which `migrate` has not filled yet."""
    with hostile_database() as hostile:
        hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
        yield hostile


@pytest.fixture(scope="module")
def migrated() -> Iterator[Hostile]:
    """The same after `migrate`, once a module: a test puts back what it changes."""
    with copied_hostile_database("of_the_doctor", migrate_with_a_client) as hostile:
        yield hostile


def migrate_with_a_client(hostile: Hostile) -> None:
    hostile.run(f"CREATE SCHEMA nova_admin AUTHORIZATION {hostile.site}")
    hostile.run("INSERT INTO public.clients (name, slug) VALUES ('IDOM', 'idom')")
    migrate(hostile.of(hostile.site))


@pytest.fixture
def check(migrated) -> Callable[..., Report]:
    return lambda *arguments, **options: run_doctor(migrated, *arguments, **options)
