"""What is tried again by itself, and how often."""

from datetime import timedelta

import pytest

from migration.core.clients import all_clients
from migration.runs import engine, items
from migration.runs.models import MANY_TRIES, Run
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from tests.factories import make_full_client, start_run
from tests.migration.runs.steering.runs import start

pytestmark = pytest.mark.usefixtures("stores")


def test_what_passes_by_itself_is_tried_again_until_it_has_passed(stores):
    run = start(6)
    stores.conditions.set(Conditions(faults=(FaultRule(fault=Fault.EXPIRED, calls=9),)))

    engine.work_on_run(run_id=run.pk)

    assert run.count_outcomes_and_matches()["created"] == 6
    assert run.items.filter(attempts__gt=0).exists()


def test_what_never_passes_fails_in_the_end(stores):
    run = start(2, tries=3)
    stores.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))

    engine.work_on_run(run_id=run.pk)

    assert set(run.items.values_list("outcome", "attempts")) == {("failed", 2)}
    run.refresh_from_db()
    assert run.state == Run.State.FINISHED


def test_it_is_tried_as_often_as_it_says_however_often_that_is(stores, monkeypatch):
    monkeypatch.setattr(items, "LONGEST_WAIT", timedelta(milliseconds=20))
    run = start(1)
    run.items.update(attempts=MANY_TRIES - 2)
    stores.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED, probability=1),)))

    engine.work_on_run(run_id=run.pk)

    assert run.items.get().attempts == MANY_TRIES - 1
    assert run.count_outcomes_and_matches()["failed"] == 1


def test_bad_data_is_not_tried_again():
    make_full_client("b d")
    run = start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())

    engine.work_on_run(run_id=run.pk)

    assert run.items.get().attempts == 0
    assert run.count_outcomes_and_matches()["failed"] == 1
