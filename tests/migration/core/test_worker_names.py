"""Workers have their own names, live by PostgreSQL's clock whatever their host's says, and must do something."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import Task

from migration.core.problems import Look
from migration.doctor import site as doctor
from migration.doctor.site import _compare_workers
from migration.models import Worker

pytestmark = pytest.mark.django_db


def test_workers_of_two_hosts_that_were_given_one_name_are_counted_apart():
    """Containers have the same process ids too: before, two of them were one worker, alive while either was."""
    names = [Worker.objects.record_start("site:7") for _host in range(3)]

    assert names == ["site:7", "site:7.2", "site:7.3"]
    assert Worker.objects.alive().count() == 3


def test_the_name_of_one_that_is_gone_is_taken_again():
    long_ago = timezone.now() - timedelta(hours=1)
    Worker.objects.create(name="site:7", started_at=long_ago, seen_at=long_ago)

    assert Worker.objects.record_start("site:7") == "site:7"

    worker = Worker.objects.get()
    assert timezone.now() - worker.started_at < timedelta(minutes=1)
    assert list(Worker.objects.alive()) == [worker]


@pytest.mark.parametrize(
    ("hours", "code"), [(2, "host_clock_ahead"), (-2, "host_clock_behind"), (0, None)]
)
def test_a_host_whose_clock_is_off_is_alive_and_named(monkeypatch, hours, code):
    now = timezone.now()
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: now + timedelta(hours=hours))
        for worker in ("north:1", "north:2"):
            Worker.objects.record_start(worker)
            Worker.objects.record_heartbeat(worker)

    assert Worker.objects.alive().count() == 2
    found = list(_compare_workers())
    assert [finding.message.codes for finding in found] == ([[code]] if code else [])
    for finding in found:
        assert "north" in str(finding.message)
        assert "7,200 seconds" in str(finding.message)


def find_codes() -> list[str]:
    return [code for finding in doctor.find_idle_workers(Look()) for code in finding.message.codes]


def end_task(minutes: int) -> None:
    at = timezone.now() - timedelta(minutes=minutes)
    Task.objects.create(id=f"{minutes:032}", name="x", func="x", started=at, stopped=at)


def test_workers_that_are_alive_and_end_no_task_are_told():
    long_ago = timezone.now() - timedelta(minutes=11)
    Worker.objects.create(name="north:1", started_at=long_ago, release="0.2.0")
    assert find_codes() == ["workers_do_nothing"]

    end_task(12)
    assert find_codes() == ["workers_do_nothing"]

    end_task(9)
    assert find_codes() == ["workers_are_alive"]


def test_workers_that_have_just_begun_are_given_time():
    end_task(60)
    Worker.objects.record_start("north:1")

    assert find_codes() == ["workers_are_alive"]
