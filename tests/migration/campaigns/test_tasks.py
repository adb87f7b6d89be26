"""What the schedule and the workers do for campaigns, and what becomes of one while they can't."""

from django.db import connection
from django_q.models import OrmQ, Schedule
from redis.exceptions import ConnectionError as RedisIsDown

from migration import tasks
from migration.core.aws_writes import start_aws_writes, stop_aws_writes, write_guard
from migration.models import Campaign
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.migration.campaigns.taken import (
    begin,
    differ,
    make_group,
    members,
    outcomes,
    phases,
    stand,
    steps,
    take,
    work,
)

COPIED = """
INSERT INTO nova_admin.migration_databaseclaim (system_identifier, database_oid, place, aws, reason)
SELECT system_identifier, 1, place, '', '' FROM nova_admin.migration_databaseclaim
"""


def queued() -> int:
    return OrmQ.objects.count()


def minutes_pass() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE migration_run SET worked_at = worked_at - interval '2 minutes'")


def test_the_schedule_takes_each_campaign_further_and_queues_its_run():
    tasks.ensure_schedules()
    assert Schedule.objects.filter(func="migration.tasks.take_campaigns_further").exists()
    first, second = (begin(make_group(name, 1)) for name in ("north", "south"))

    tasks.take_campaigns_further()

    assert (queued(), len(steps(first)), len(steps(second))) == (2, 1, 1)
    tasks.take_campaigns_further()
    assert (queued(), Run.objects.count()) == (2, 2)


def test_a_worker_that_ends_a_run_takes_its_campaign_further_at_once():
    group = make_group("north", 1)
    campaign = begin(group, goal=Phase.DUAL_READ)
    tasks.take_campaigns_further()

    for _ in range(3):
        for run in Run.objects.filter(finished_at=None):
            tasks.work_on_run(run.pk)

    assert (phases(group), stand(campaign)) == ([Phase.DUAL_READ], (Campaign.State.FINISHED, []))


def test_a_run_that_no_queue_took_is_queued_once_it_is_back(monkeypatch):
    campaign = begin(make_group("north", 1))

    def refuse(*_, **__):
        raise RedisIsDown

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "async_task", refuse)
        patch.setattr(tasks, "QUEUE_ERRORS", (RedisIsDown,))
        tasks.take_campaigns_further(), tasks.take_campaigns_further()
    assert (queued(), len(steps(campaign))) == (0, 1)
    minutes_pass()

    tasks.resume_stalled_runs()

    assert queued() == 1


def test_a_process_killed_before_it_queued_the_run_loses_nothing():
    campaign = begin(make_group("north", 1))
    take(campaign)  # committed, and then nothing
    minutes_pass()

    tasks.take_campaigns_further()
    assert queued() == 0
    tasks.resume_stalled_runs()

    assert (queued(), len(steps(campaign))) == (1, 1)


def test_a_full_queue_is_given_one_run_of_each_campaign_and_no_more(monkeypatch):
    monkeypatch.setattr(tasks, "MANY_TASKS", 1)
    begin(make_group("north", 1))
    for _minute in range(5):
        tasks.take_campaigns_further(), tasks.resume_stalled_runs()
        minutes_pass()

    assert queued() == 1


def test_a_run_of_which_only_the_end_is_missing_is_ended_by_the_schedule_too():
    group = make_group("north", 1)
    run = work(take(begin(group)))
    Run.objects.update(finished_at=None, state=Run.State.RUNNING)
    minutes_pass()

    tasks.resume_stalled_runs()

    run.refresh_from_db()
    assert (run.state, run.finished_at is None) == (Run.State.FINISHED, False)


def stop_the_writes() -> None:
    stop_aws_writes(reason="Somebody looks")


def make_a_copy() -> None:
    with connection.cursor() as cursor:
        cursor.execute(COPIED)
    write_guard().forget_state()


def claim_it_again() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM nova_admin.migration_databaseclaim WHERE database_oid = 1")
    write_guard().forget_state()


def test_while_the_site_may_not_write_to_aws_it_waits_and_nobody_is_refused():
    group = make_group("north", 1, Phase.DUAL_READ)
    campaign, run = begin(group), None
    for hold, release in ((stop_the_writes, start_aws_writes), (make_a_copy, claim_it_again)):
        hold()
        run = take(campaign) or run

        work(run)
        assert (outcomes(run), take(campaign)) == ({"north-0": ""}, None)
        assert stand(campaign) == (Campaign.State.RUNNING, [])
        release()

    work(run)

    assert phases(group) == [Phase.AWS]


def test_while_aws_writes_are_stopped_the_rule_stops_it_and_rolls_back():
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group, soak_minutes=60, rolls_back=True)
    work(take(campaign))
    differ(members(group)[0])
    stop_the_writes()

    work(take(campaign))

    assert (stand(campaign)[0], phases(group)) == (
        Campaign.State.STOPPED, [Phase.AWS, Phase.DUAL_READ],
    )  # fmt: skip
