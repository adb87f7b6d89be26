"""pytest's side of `mutation.py`: notes what each test runs, or runs chosen tests in a given order."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path

import pytest

from tests.studies.mutation_probes import HITS

NOTES, ORDER = "MUTATION_NOTES", "MUTATION_ORDER"

hits: set[tuple[str, int]] = set()
setattr(builtins, HITS, hits)
notes: dict[str, dict[str, object]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Keep the chosen tests, in their order, after everybody else has sorted the list."""
    yield
    if file := os.environ.get(ORDER):
        by_id = {item.nodeid: item for item in items}
        items[:] = [by_id[name] for name in json.loads(Path(file).read_text()) if name in by_id]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    hits.clear()
    notes[item.nodeid] = {"seconds": 0.0}
    done = yield
    notes[item.nodeid]["lines"] = sorted(hits)
    return done


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    notes[report.nodeid]["seconds"] += report.duration


def pytest_sessionfinish() -> None:
    if file := os.environ.get(NOTES):
        Path(file).write_text(json.dumps(notes))
