"""The rows of plans: never all in memory at once, of one look alone, and carried over from the release before."""

import gc
import json

import psycopg
import pytest

from migration import tasks
from migration.models import PlanRow, RunPlan
from migration.pushes import plans
from migration.pushes.plans import export_plan_as_json
from migration.runs.plans import PlanInOtherStateError, PlannedClient
from tests.factories import make_full_client, make_many
from tests.migrated import migrate, migrated_database

ROWS = [
    {
        "id": 7, "slug": "idom", "phase": "dual_write", "revision": 3, "class": "updated", "outcome": "updated",
        "error_class": "", "message": None, "replaced": [], "versions": {"a": "1", "b": "2"},
        "writes": {"a": "updated", "b": "created"},
    },
    {
        "id": 5, "slug": "acme", "phase": "dual_write", "revision": 1, "class": "left_alone", "outcome": "skipped",
        "error_class": "", "message": {"key": "left_alone", "values": {"name": "c", "version": "3"}},
        "replaced": [], "versions": {"c": "3"}, "writes": {},
    },
]  # fmt: skip
PLANS = """
INSERT INTO migration_runplan (adopt, overwrite, include_inactive, state, created_at, made_at, rows, differences)
VALUES (false, false, false, 'ready', now(), now(), %s, '[]'), (false, false, false, 'making', now(), NULL, '[]', '[]')
RETURNING id
"""


def make_plan() -> RunPlan:
    plan = RunPlan.store_request(by=None, chosen=None)
    tasks.work_on_plan(plan.pk)
    plan.refresh_from_db()
    return plan


def count_in_memory() -> int:
    gc.collect()
    return sum(type(each) is PlannedClient for each in gc.get_objects())


@pytest.mark.usefixtures("stores")
def test_the_making_of_a_plan_holds_some_of_its_clients_at_a_time(monkeypatch):
    monkeypatch.setattr(plans, "CLIENTS_AT_ONCE", 2)
    monkeypatch.setattr(plans, "BATCHES_AT_ONCE", 2)
    before, most = count_in_memory(), []
    monkeypatch.setattr(
        RunPlan, "record_worked_at", lambda _: most.append(count_in_memory() - before)
    )
    make_many(24, phase="postgres")

    plan = make_plan()

    assert plan.rows.count() == 24
    assert len(most) == 12
    # Two that are stored, those of the batch before, as many rows beside them, and those that are looked at meanwhile.
    assert max(most) <= 10


@pytest.mark.usefixtures("stores")
def test_of_two_workers_that_make_the_same_plan_one_has_made_it():
    for slug in ("a", "b"):
        make_full_client(slug)
    plan = RunPlan.store_request(by=None, chosen=None)

    def look_while_another_makes_it():
        for found in plans.look_at_batches(plan):
            tasks.work_on_plan(plan.pk)
            yield found

    with pytest.raises(PlanInOtherStateError):
        plan.finish_making(look_while_another_makes_it())

    plan.refresh_from_db()
    assert (plan.state, plan.counts["clients"]) == (RunPlan.State.READY, 2)
    assert [client.slug for client in plan.rows.list_clients()] == ["a", "b"]
    assert PlanRow.objects.count() == 2


@pytest.mark.usefixtures("stores")
def test_what_a_killed_look_left_is_no_part_of_the_plan():
    make_full_client("idom")
    plan = RunPlan.store_request(by=None, chosen=None)

    def look_until_it_is_killed():
        yield from plans.look_at_batches(plan)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.finish_making(look_until_it_is_killed())
    assert (PlanRow.objects.count(), plan.rows.list_clients()) == (1, [])

    tasks.work_on_plan(plan.pk)

    plan.refresh_from_db()
    assert [client.slug for client in plan.rows.list_clients()] == ["idom"]
    assert PlanRow.objects.count() == 1


def test_plans_of_the_release_before_are_carried_over_and_back():
    path = "-c search_path=nova_admin"
    with migrated_database() as uri, psycopg.connect(uri, autocommit=True, options=path) as old:
        migrate(uri, "migration", "0040")
        cursor = psycopg.ClientCursor(old)
        made, open_plan = [pk for (pk,) in cursor.execute(PLANS, [json.dumps(ROWS)]).fetchall()]

        migrate(uri)

        counts = "SELECT id, counts, look IS NOT NULL FROM migration_runplan ORDER BY id"
        assert old.execute(counts).fetchall() == [
            (
                made,
                {
                    "clients": 2,
                    "classes": {"updated": 1, "left_alone": 1},
                    "writes": {"updated": 1, "created": 1},
                    "present": 3,
                    "spared": 1,
                },
                True,
            ),
            (open_plan, {}, False),
        ]
        rows = "SELECT plan_id, client_id, plan_class, content FROM migration_planrow ORDER BY id"
        assert old.execute(rows).fetchall() == [
            (made, 5, "left_alone", ROWS[1]),
            (made, 7, "updated", ROWS[0]),
        ]

        migrate(uri, "migration", "0040")

        kept = "SELECT rows FROM migration_runplan ORDER BY id"
        assert old.execute(kept).fetchall() == [(ROWS[::-1],), ([],)]


@pytest.mark.usefixtures("stores")
def test_the_file_is_written_piece_by_piece(monkeypatch):
    for slug in ("a", "b"):
        make_full_client(slug)

    pieces = list(export_plan_as_json(make_plan()))

    assert [client["slug"] for client in json.loads("".join(pieces))["clients"]] == ["a", "b"]
    assert not any('"a"' in piece and '"b"' in piece for piece in pieces)
