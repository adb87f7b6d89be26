"""How long a push waits, and how many secrets it writes at a time."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from migration.pushes import pushes, secret_writer
from migration.pushes.pushes import push
from migration.pushes.secret_writer import (
    BatchTimeOverError,
    PendingWrite,
    PushOptions,
    SecretWriter,
)


@pytest.mark.parametrize(
    ("asked", "seconds", "is_page"),
    [({}, 30, False), ({"interactive": False}, 30, False), ({"interactive": True}, 1, True)],
)
def test_a_page_waits_a_second_for_a_client_and_a_worker_thirty(
    stores, monkeypatch, asked, seconds, is_page
):
    waits, managers = [], []

    @contextmanager
    def hold(client_ids, *, wait_seconds):
        waits.append(wait_seconds)
        yield set(client_ids)

    monkeypatch.setattr(pushes, "hold_client_locks", hold)
    monkeypatch.setattr(
        pushes, "secrets_manager", lambda *, interactive: managers.append(interactive)
    )

    assert push(client_ids=[], **asked) == []
    assert (waits, managers) == ([seconds], [is_page])


@pytest.mark.parametrize(("now", "is_postponed"), [(100.0, False), (100.1, True)])
def test_no_client_is_begun_after_the_time_and_one_is_at_its_end(monkeypatch, now, is_postponed):
    monkeypatch.setattr(secret_writer, "time", SimpleNamespace(monotonic=lambda: now))
    writer = SecretWriter(None, {}, None, PushOptions(overwrite=False, until=100.0))
    pending = PendingWrite(None)

    writer.write_client(pending)

    assert isinstance(pending.error, BatchTimeOverError) == is_postponed
