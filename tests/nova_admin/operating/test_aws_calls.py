"""Calls to AWS are counted over all processes, and no count is lost to a database that is away for a while."""

import multiprocessing
import time

import pytest
from django.db import OperationalError, connection

from migration.clients.models import read_or_count_clients, renew_client_counts
from migration.core import counters
from migration.core.aws_store import call_counter, note_attempt, trying_permissions
from migration.core.counters import ProcessCounter
from migration.core.rate_limiter import rate_limiter
from migration.models import KeptCounts
from nova_credentials.aws.attempts import Attempt

pytestmark = pytest.mark.usefixtures("stores")


def read_calls() -> dict[str, int]:
    (calls,) = KeptCounts.objects.read_counts(KeptCounts.AWS_CALLS)
    return calls


def test_counts_of_many_processes_add_up():
    for number in range(1, 4):
        counter = ProcessCounter(KeptCounts.AWS_CALLS)
        for _ in range(number):
            counter.count({"PutSecretValue ok": 1})
        counter.count({f"PutSecretValue other{number}": 1})
        counter.store()

    assert read_calls() == {
        "PutSecretValue ok": 6,
        "PutSecretValue other1": 1,
        "PutSecretValue other2": 1,
        "PutSecretValue other3": 1,
    }


def test_a_process_that_works_on_stores_its_counts_meanwhile(monkeypatch):
    monkeypatch.setattr(counters, "STORE_EVERY_SECONDS", 0.05)
    read = Attempt("GetSecretValue", "ok", "", "")
    note_attempt(read)
    assert read_calls() == {}
    time.sleep(0.1)

    note_attempt(read)

    assert read_calls() == {"GetSecretValue ok": 2}


def test_what_the_database_did_not_take_is_stored_the_next_time(monkeypatch):
    counter = ProcessCounter(KeptCounts.AWS_CALLS)
    counter.count({"GetSecretValue ok": 1})

    def fail(_statement):
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(rate_limiter(), "run_statement", fail)
        counter.store()
    assert read_calls() == {}
    counter.store()
    counter.store()

    assert read_calls() == {"GetSecretValue ok": 1}


def test_a_page_stores_what_its_calls_counted_in_no_transaction_of_its_own(client):
    call_counter().count({"GetSecretValue ok": 1})

    client.get("/healthz")

    assert read_calls() == {"GetSecretValue ok": 1}


def test_a_fork_counts_for_itself():
    """What its parent counted, the parent stores: otherwise it would be there twice."""
    call_counter().count({"GetSecretValue ok": 1})
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    child = context.Process(target=lambda: found.put(dict(call_counter()._counts)))
    child.start()
    child.join(30)

    assert found.get(timeout=5) == {}


def test_the_counts_of_clients_are_left_alone():
    KeptCounts.objects.add_counts(connection, KeptCounts.AWS_CALLS, {"GetSecretValue ok": 1})
    renew_client_counts()

    assert read_calls() == {"GetSecretValue ok": 1}
    assert not read_or_count_clients().is_kept


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt("CreateSecret", "data", "InvalidParameterException", ""),
        Attempt("PutSecretValue", "ok", "", ""),
    ],
)
def test_a_trial_of_a_permission_is_no_line_of_the_log(attempt, caplog):
    caplog.set_level("INFO", logger="migration.core.aws_store")
    with trying_permissions():
        note_attempt(attempt)
    assert caplog.messages == []

    note_attempt(attempt)
    assert len(caplog.messages) == 1
