"""What a process brings upon itself, by many threads or by a cold start, is no failure of AWS."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import connection

from migration.models import ReadCount
from nova_credentials.aws import SecretsManagerError
from nova_credentials.phases import Phase
from nova_credentials.reader import from_aws, process_notes
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import TIMEOUT_SECONDS as WATCHDOG_SECONDS
from tests.nova_credentials.reader.questions import counts, in_time

PASSWORD = "example-password-1"


def read_in_threads(reader, slugs: list[str]) -> list[str]:
    """The passwords that one thread for each slug reads, all at once."""
    ready = threading.Barrier(len(slugs))

    def read(slug: str) -> str:
        ready.wait(WATCHDOG_SECONDS)
        return reader.get_credential(slug, "database").db_password

    with ThreadPoolExecutor(len(slugs)) as pool:
        return list(pool.map(read, slugs))


def slow_down(reader, seconds: float) -> list[int]:
    """Have AWS take so long for each answer; returns for each call how many were under way with it."""
    under_way: set[int] = set()
    asked: list[int] = []

    def wait(**_):
        under_way.add(threading.get_ident())
        asked.append(len(under_way))
        time.sleep(seconds)
        under_way.remove(threading.get_ident())

    reader._aws._get_manager().sm.meta.events.register("before-send.secrets-manager", wait)
    return asked


def congested(pk: int) -> int:
    return ReadCount.objects.get(pk=pk).congested_reads


def test_threads_that_miss_the_same_client_at_once_share_one_call(make_reader):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader = make_reader(cache_seconds=30, timeout=30)
    asked = slow_down(reader, 0.3)

    assert read_in_threads(reader, ["idom"] * 24) == [PASSWORD] * 24

    assert len(asked) == 1
    assert counts(pk)[3] == 0


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])
def test_who_wants_no_cached_value_takes_none_that_another_thread_began_to_read(
    make_reader, phase, monkeypatch
):
    bring(make_full_client("idom"), phase)
    reader = make_reader(cache_seconds=30, timeout=30)
    reader._aws._get_manager()
    read, begun, go_on = reader._aws.read_document, threading.Event(), threading.Event()

    def wait_first(*of):
        if not begun.is_set():
            begun.set()
            go_on.wait(WATCHDOG_SECONDS)
        return read(*of)

    monkeypatch.setattr(reader._aws, "read_document", wait_first)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(reader.get_credential, "idom", "database")
        assert begun.wait(WATCHDOG_SECONDS)
        anew = in_time(lambda: reader.get_credential("idom", "database", refresh=True))
        assert not first.done()
        go_on.set()
        assert first.result(WATCHDOG_SECONDS).db_password == anew.db_password == PASSWORD


def test_an_error_that_is_the_other_threads_own_is_not_shared(make_reader, monkeypatch):
    bring(make_full_client("idom"), Phase.AWS)
    reader = make_reader(cache_seconds=30, timeout=30)
    read, waits, begun = reader._read_stores, threading.Event(), threading.Event()
    wait_for_other = reader._wait_for_other

    def fail_first(*of):
        if begun.is_set():
            return read(*of)
        begun.set()
        assert waits.wait(WATCHDOG_SECONDS)
        raise KeyboardInterrupt

    def tell(*of):
        waits.set()
        return wait_for_other(*of)

    monkeypatch.setattr(reader, "_read_stores", fail_first)
    monkeypatch.setattr(reader, "_wait_for_other", tell)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reader.get_credential, "idom", "database")
        assert begun.wait(WATCHDOG_SECONDS)
        second = pool.submit(reader.get_credential, "idom", "database")
        assert second.result(WATCHDOG_SECONDS).db_password == PASSWORD
        with pytest.raises(KeyboardInterrupt):
            first.result(WATCHDOG_SECONDS)


def test_more_readers_than_threads_wait_for_one(make_reader, monkeypatch):
    slugs = [f"client-{number}" for number in range(6)]
    pks = [make_full_client(slug) for slug in slugs]
    for pk in pks:
        bring(pk, Phase.DUAL_READ)
    monkeypatch.setattr(from_aws, "THREADS", 2)
    reader = make_reader(timeout=30)
    asked = slow_down(reader, 0.1)

    for times in (1, 2):
        assert read_in_threads(reader, slugs) == [PASSWORD] * 6
        assert {counts(pk) for pk in pks} == {(times, times, 0, 0)}

    assert (len(asked), max(asked)) == (12, 2)


def test_who_gets_no_thread_in_time_is_counted_apart(make_reader, monkeypatch, caplog):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    monkeypatch.setattr(from_aws, "THREADS", 0)
    reader = make_reader(timeout=0.05)

    for _ in range(2):
        assert reader.get_credential("idom", "database").db_password == PASSWORD

    row = ReadCount.objects.get(pk=pk)
    assert (*counts(pk), row.congested_reads) == (0, 0, 0, 0, 2)
    assert row.last_read_at is not None
    assert row.last_failure_at is row.last_answer_at is None
    (warning,) = [r for r in caplog.records if r.name.startswith("nova_credentials")]
    assert "too busy" in warning.getMessage()
    assert not reader._aws._waiting


def test_a_cold_start_is_no_failure_of_aws(make_reader, monkeypatch):
    """Forty threads begin while boto3 is being imported, and AWS needs nearly the whole limit."""
    slugs = [f"client-{number}" for number in range(4)]
    pks = [make_full_client(slug) for slug in slugs]
    for pk in pks:
        bring(pk, Phase.DUAL_READ)
    reader, make = make_reader(cache_seconds=30, timeout=1), from_aws.SecretsManager

    def make_slowly(*of, **how):
        time.sleep(0.5)
        sm = make(*of, **how)
        sm.sm.meta.events.register("before-send.secrets-manager", lambda **_: time.sleep(0.95))
        return sm

    monkeypatch.setattr(from_aws, "SecretsManager", make_slowly)

    assert read_in_threads(reader, slugs * 10) == [PASSWORD] * 40

    assert {counts(pk)[3] for pk in pks} == {0}
    assert sum(map(congested, pks)) == 0


def test_a_client_of_aws_that_never_comes_holds_nobody_for_ever(make_reader, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader, make, let_go = make_reader(timeout=30), from_aws.SecretsManager, threading.Event()

    def hang(*of, **how):
        let_go.wait(WATCHDOG_SECONDS)
        return make(*of, **how)

    monkeypatch.setattr(from_aws, "SecretsManager", hang)
    monkeypatch.setattr(from_aws, "CLIENT_SECONDS", 0.05)

    read = lambda: reader.get_credential("idom", "database")  # noqa: E731
    assert in_time(read).db_password == PASSWORD
    assert (*counts(pk), congested(pk)) == (0, 0, 0, 0, 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nova_admin.migration_clientmigration SET phase = 'aws'")
    with pytest.raises(SecretsManagerError, match="too busy"):
        in_time(read)
    assert (*counts(pk), congested(pk)) == (0, 0, 0, 0, 2)

    let_go.set()
    reader._aws._making.result(WATCHDOG_SECONDS)
    assert in_time(read).db_password == PASSWORD


def test_a_client_of_aws_that_could_not_be_made_is_made_at_the_next_read(make_reader, monkeypatch):
    bring(make_full_client("idom"), Phase.AWS)
    reader, make, broken = make_reader(timeout=30), from_aws.SecretsManager, [True]

    def fail_once(*of, **how):
        if broken:
            raise RuntimeError(broken.pop())
        return make(*of, **how)

    monkeypatch.setattr(from_aws, "SecretsManager", fail_once)

    with pytest.raises(RuntimeError):
        reader.get_credential("idom", "database")
    assert reader.get_credential("idom", "database").db_password == PASSWORD


def test_a_client_of_aws_is_made_where_no_thread_can_start(make_reader, monkeypatch):
    bring(make_full_client("idom"), Phase.AWS)
    reader = make_reader(timeout=30)

    def start(**_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(from_aws, "threading", SimpleNamespace(Thread=start))

    assert reader.get_credential("idom", "database").db_password == PASSWORD


def test_of_each_cause_one_warning_a_minute_says_how_many_there_were(monkeypatch, caplog):
    now = [1000.0]
    monkeypatch.setattr(process_notes.time, "monotonic", lambda: now[0])
    warnings = process_notes.RareWarnings(process_notes.logger)

    for seconds, cause in ((0, "late"), (1, "late"), (2, "busy"), (59.9, "late"), (60, "late")):
        now[0] = 1000 + seconds
        warnings.warn(cause, "%s", cause)

    assert [r.getMessage() for r in caplog.records] == [
        "late",
        "busy",
        "late (3 such reads since the last warning)",
    ]
