"""How long a push waits, and how many secrets it writes at a time."""

import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from migration.core.clients import all_clients
from migration.core.secrets import Secret
from migration.pushes import pushes, secret_writer
from migration.pushes.pushes import push
from migration.pushes.secret_writer import (
    BatchTimeOverError,
    PendingWrite,
    PushOptions,
    SecretWriter,
)
from migration.runs import engine
from migration.runs.models import Run
from tests.factories import make_full_client


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


def test_batches_of_a_run_write_one_after_the_other_so_that_progress_moves(stores, monkeypatch):
    """All at once shared AWS's quota, and ended together after many seconds."""
    for n in range(6):
        make_full_client(f"client-{n}")
    monkeypatch.setattr(Run, "BATCH", 3)
    run, written = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()), []
    batches = dict(run.items.values_list("client_id", "batch"))
    both_may_write, prepare, write = (
        threading.Barrier(2, timeout=30),
        pushes.prepare_writer,
        SecretWriter.write_client,
    )

    def prepare_writer(*args):
        both_may_write.wait()
        return prepare(*args)

    def write_client(self, pending):
        batch = batches[pending.snapshot.client_id]
        written.append((batch, "begun"))
        write(self, pending)
        written.append((batch, "done"))

    monkeypatch.setattr(pushes, "prepare_writer", prepare_writer)
    monkeypatch.setattr(SecretWriter, "write_client", write_client)

    engine.finish_inline(run)

    first = written[0][0]
    assert [batch for batch, _what in written] == [first] * 6 + [1 - first] * 6


def test_a_batch_whose_time_is_over_before_its_turn_to_write_writes_nothing(stores, monkeypatch):
    make_full_client("client")
    monkeypatch.setattr(pushes, "BATCH_SECONDS", 0.5)
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())

    with pushes.TURN_TO_WRITE:
        engine.process_batch_if_running(run.pk, 0)

    assert run.items.open().count() == 1
    assert not Secret.objects.exists()
