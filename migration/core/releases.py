"""Knows the schema migrations of this release by the names under which databases have them recorded. Knows no table."""

from collections.abc import Set
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules

APPS = ("credentials", "migration")
# App and name.
RecordedName = tuple[str, str]


@lru_cache(maxsize=1)
def _read_files() -> tuple[frozenset[RecordedName], ...]:
    """Return the names of each file: those that it replaces, which alone are recorded, or else its own."""
    return tuple(
        frozenset(module.Migration.replaces) or frozenset({(app, found.name)})
        for app in APPS
        for found in iter_modules(import_module(f"{app}.migrations").__path__)
        for module in [import_module(f"{app}.migrations.{found.name}")]
    )


def known_migrations() -> frozenset[RecordedName]:
    """Return the schema migrations that this release knows, as they were when this was first called."""
    return frozenset().union(*_read_files())


def list_halves(applied: Set[RecordedName]) -> list[RecordedName]:
    """Return which names of a file are not applied, although others of it are: a database between two releases."""
    halves = (names - applied for names in _read_files() if names & applied)
    return sorted(frozenset().union(*halves))
