"""Both stores, and no time between two looks at them."""

import pytest

from migration.pushes import comparisons


@pytest.fixture(autouse=True)
def in_no_time(stores, monkeypatch) -> None:
    monkeypatch.setattr(comparisons, "RECHECK_AFTER_SECONDS", 0)
