"""A server that is just writing its control file is asked again what it is."""

from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection

from migration.core import database_identity
from migration.core.database_identity import ASK_SYSTEM, read_identity


class Busy:
    """A connection whose first questions for the system identifier fail."""

    def __init__(self, raw, times: int) -> None:
        self.raw, self.times = raw, times

    def execute(self, query: str):
        if query == ASK_SYSTEM and self.times:
            self.times -= 1
            raise psycopg.errors.InternalError_
        return self.raw.execute(query)

    def __getattr__(self, name: str):
        return getattr(self.raw, name)


@pytest.mark.parametrize(("times", "is_known"), [(0, True), (2, True), (100, False)])
def test_it_is_asked_a_few_times(db, monkeypatch, caplog, times, is_known):
    monkeypatch.setattr(database_identity, "PAUSE_SECONDS", 0)
    identity = read_identity(connection)
    busy = SimpleNamespace(
        connection=Busy(connection.connection, times), settings_dict=connection.settings_dict
    )

    again = read_identity(busy)

    assert again == (identity if is_known else None)
    assert ("InternalError_" in caplog.text) is not is_known
