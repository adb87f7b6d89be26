"""The rate that all workers share: turns follow each other, whoever takes them, and give way when AWS throttles."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.utils import timezone

from migration.core.rate_limiter import PriorityLimiter, RateLimiter
from migration.core.rates import AHEAD_SECONDS, BURST_SECONDS
from migration.models import Rate
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError

CREATE = Rate.Kind.CREATE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def limiter():
    made = RateLimiter()
    yield made
    made.close()


def reserve(seconds: float = 0.2):
    return Rate.objects.reserve(connection, CREATE, seconds=seconds)


def set_row(**columns) -> None:
    Rate.objects.update_or_create(kind=CREATE, defaults=columns)


def test_turns_follow_each_other_without_a_gap_or_an_overlap(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 10

    turns = [reserve(0.5) for _ in range(4)]

    assert [turn.number for turn in turns] == [5] * 4
    # Each block takes half a second; what the statements took is the difference.
    starts = [turn.starts_in - turns[0].starts_in for turn in turns]
    assert starts == pytest.approx([0, 0.5, 1, 1.5], abs=0.2)


def test_what_was_not_used_is_made_up_for_within_a_bound(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 10
    with connection.cursor() as cursor:
        reserve()
        cursor.execute("UPDATE nova_admin.migration_rate SET next_at = now() - interval '1 hour'")

    assert reserve().starts_in == pytest.approx(-BURST_SECONDS, abs=0.05)


@pytest.mark.parametrize(("rate", "number"), [(1, 1), (5, 1), (100, 20)])
def test_a_block_holds_at_least_one_turn(rate, number):
    set_row(per_second=rate)

    assert reserve(0.2).number == number


def test_a_rate_set_on_a_page_counts_from_the_next_block_on(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 10
    assert reserve().per_second == pytest.approx(10)

    Rate.objects.set_rates({CREATE: 25.0})
    assert reserve().per_second == pytest.approx(25)

    Rate.objects.set_rates({CREATE: None})
    assert reserve().per_second == pytest.approx(10)


def test_many_at_once_take_each_turn_once(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 1000
    barrier = threading.Barrier(8)

    def take(_number):
        own = connection.copy()
        own.inc_thread_sharing()
        barrier.wait(10)
        taken = [Rate.objects.reserve(own, CREATE, seconds=0.1).number for _ in range(25)]
        own.close()
        return sum(taken)

    before = reserve(0)
    with ThreadPoolExecutor(8) as threads:
        taken = sum(threads.map(take, range(8)))
    after = reserve(0)

    assert taken == 8 * 25 * 100
    assert after.starts_in - before.starts_in == pytest.approx(taken / 1000, rel=0.2)


def test_throttling_slows_all_workers_once_a_second_and_passes(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 100
    reserve()
    for _ in range(5):  # of one second
        Rate.objects.record_throttled(connection, CREATE)

    slowed = reserve().per_second

    assert slowed == pytest.approx(80, rel=0.05)
    assert Rate.objects.get(kind=CREATE).throttled == 5
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE nova_admin.migration_rate SET throttled_at = now() - interval '2 seconds'"
        )
        assert reserve().per_second == pytest.approx(90, rel=0.05)
        cursor.execute(
            "UPDATE nova_admin.migration_rate SET throttled_at = now() - interval '1 minute'"
        )
    assert reserve().per_second == pytest.approx(100)


def test_throttling_never_stops_all_calls():
    reserve()
    with connection.cursor() as cursor:
        for _ in range(40):
            Rate.objects.record_throttled(connection, CREATE)
            cursor.execute(
                "UPDATE nova_admin.migration_rate SET throttled_at = now() - interval '1001 ms'"
            )

    assert reserve().per_second > 0


def test_turns_of_one_kind_cost_the_others_nothing(settings, limiter):
    settings.NOVA_AWS_WRITES_PER_SECOND = 1
    set_row(next_at="2999-01-01T00:00Z")

    limiter.wait("PutSecretValue")
    limiter.wait("GetSecretValue")

    assert set(Rate.objects.values_list("kind", flat=True)) == {"create", "write"}


def test_a_process_takes_its_turns_in_blocks(settings, limiter, monkeypatch):
    settings.NOVA_AWS_WRITES_PER_SECOND = 1000
    seen = []
    plain = RateLimiter._reserve_turns
    monkeypatch.setattr(
        RateLimiter,
        "_reserve_turns",
        lambda self, kind, **how: seen.append(kind) or plain(self, kind, **how),
    )

    # On a slow machine turns would go by unused.
    still = SimpleNamespace(monotonic=lambda: 1000.0, sleep=lambda _: None)
    monkeypatch.setattr("migration.core.rate_limiter.time", still)

    for _ in range(200):
        limiter.wait("CreateSecret")

    assert len(seen) == 1  # 1000/s for 0.2 s


def test_a_page_takes_its_turn_without_waiting_for_it(limiter):
    due = timezone.now() + timedelta(seconds=50)
    set_row(per_second=1, next_at=due)

    PriorityLimiter(limiter).wait("CreateSecret")  # would wait for 50 s

    assert Rate.objects.get(kind=CREATE).next_at == due + timedelta(seconds=1)
    assert timezone.now() < due


def test_a_clock_that_was_set_back_holds_up_calls_for_a_minute_at_most(settings):
    settings.NOVA_AWS_WRITES_PER_SECOND = 10
    hour = timezone.now() + timedelta(hours=1)
    set_row(next_at=hour, share=0.5, throttled_at=hour)

    turns = reserve(0.2)

    assert turns.starts_in <= AHEAD_SECONDS
    # Nothing of the rate came back in an hour that is yet to come, and nothing was lost.
    assert turns.per_second == pytest.approx(5)
    Rate.objects.record_throttled(connection, CREATE)
    assert Rate.objects.get(kind=CREATE).throttled_at < hour
    assert reserve().per_second == pytest.approx(4, rel=0.05)


def test_threads_that_wait_reserve_one_turn_ahead_so_that_a_new_rate_counts_at_once(
    limiter, monkeypatch
):
    set_row(per_second=0.5)
    reserved, release = [], threading.Event()
    plain = RateLimiter._reserve_turns
    monkeypatch.setattr(
        RateLimiter,
        "_reserve_turns",
        lambda self, kind, **how: reserved.append(1) or plain(self, kind, **how),
    )
    monkeypatch.setattr("migration.core.rate_limiter.time.sleep", lambda _: release.wait(30))

    threads = [threading.Thread(target=limiter.wait, args=["CreateSecret"]) for _ in range(30)]
    for thread in threads:
        thread.start()
    threads[-1].join(0.5)  # time enough for each to reserve its own, if it did
    ahead = len(reserved)
    release.set()
    for thread in threads:
        thread.join(30)

    assert ahead == 1
    assert len(reserved) == 30


def test_turns_are_found_again_after_postgresql_dropped_the_connection(limiter):
    limiter.wait("CreateSecret")
    pid = limiter._connection.connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    limiter._turns.clear()

    limiter.wait("CreateSecret")

    assert limiter._connection.connection.info.backend_pid != pid


class Recorder:
    def __init__(self):
        self.asked, self.refused = [], []
        self.wait, self.throttled = self.asked.append, self.refused.append


def test_every_attempt_waits_for_a_turn_and_throttling_is_told(aws):
    pacer = Recorder()
    sm = SecretsManager(endpoint_url=aws.endpoint, pacer=pacer)
    aws.conditions.set(Conditions(faults=(FaultRule(fault=Fault.THROTTLED, calls=2),)))

    sm.create_secret("nova/clients/idom", "{}", slug="idom")

    assert pacer.asked == ["CreateSecret"] * 3
    assert pacer.refused == ["CreateSecret"] * 2


def test_other_failures_slow_nobody(aws):
    pacer = Recorder()
    sm = SecretsManager(endpoint_url=aws.endpoint, pacer=pacer)
    aws.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED, calls=1),)))

    with pytest.raises(SecretsManagerError) as raised:
        sm.create_secret("nova/clients/idom", "{}", slug="idom")

    assert raised.value.error_class == ErrorClass.PERMISSION
    assert pacer.refused == []
