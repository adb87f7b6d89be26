"""The rows of plans: never all in memory at once, of one look alone, and carried over from the release before."""

import gc
import json

import psycopg
import pytest
from django.db import IntegrityError, transaction

from migration import tasks
from migration.models import PlanRow
from migration.pushes import plans
from migration.pushes.plans import export_plan_as_json
from migration.runs.models import Run, RunQuerySet, StaleRunError
from migration.runs.plans import PlannedClient
from tests.factories import make_full_client, make_many
from tests.migrated import migrate, migrated_database
from tests.migration.pages import make_plan, store_plan

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
RUN = """
INSERT INTO migration_run (kind, adopt, include_inactive, created_at)
VALUES ('migrate', false, false, now()) RETURNING id
"""
PLAN = """
INSERT INTO migration_runplan (
    adopt, overwrite, include_inactive, run_id, state, created_at, made_at, look, counts, differences
) VALUES (
    true, %(overwrite)s, true, %(run)s, %(state)s, now(), %(made)s,
    CASE WHEN %(made)s IS NOT NULL THEN gen_random_uuid() END, %(counts)s, '[]'
) RETURNING id
"""
# Of one look alone.
PLAN_ROWS = """
INSERT INTO migration_planrow (plan_id, look, client_id, plan_class, content)
SELECT id, look, (client ->> 'id')::int, client ->> 'class', client
FROM migration_runplan, jsonb_array_elements(%(rows)s) AS client WHERE id = %(plan)s
UNION ALL SELECT id, gen_random_uuid(), 9, 'new', '{}' FROM migration_runplan WHERE id = %(plan)s
"""
COUNTS = {
    "clients": 2,
    "classes": {"updated": 1, "left_alone": 1},
    "writes": {"updated": 1, "created": 1},
    "present": 3,
    "spared": 1,
}


def count_in_memory() -> int:
    gc.collect()
    return sum(type(each) is PlannedClient for each in gc.get_objects())


@pytest.mark.usefixtures("stores")
def test_the_making_of_a_plan_holds_some_of_its_clients_at_a_time(monkeypatch):
    monkeypatch.setattr(plans, "CLIENTS_AT_ONCE", 2)
    monkeypatch.setattr(plans, "BATCHES_AT_ONCE", 2)
    gc.freeze()  # to collect and count what is made from here on alone
    most = []
    monkeypatch.setattr(RunQuerySet, "record_worked_at", lambda *_: most.append(count_in_memory()))
    make_many(24, phase="postgres")

    plan = make_plan()

    assert plan.plan_rows.count() == 24
    assert len(most) == 12
    # Two that are stored, those of the batch before, as many rows beside them, and those that are looked at meanwhile.
    assert max(most) <= 10


@pytest.mark.usefixtures("stores")
def test_of_two_workers_that_make_the_same_plan_one_has_made_it():
    for slug in ("a", "b"):
        make_full_client(slug)
    plan = store_plan()

    def look_while_another_makes_it():
        for found in plans.look_at_batches(plan):
            tasks.work_on_run(plan.pk)
            yield found

    with pytest.raises(StaleRunError):
        plan.finish_planning(look_while_another_makes_it())

    plan.refresh_from_db()
    assert (plan.state, plan.plan_counts["clients"]) == (Run.State.PLANNED, 2)
    assert [client.slug for client in plan.plan_rows.list_clients()] == ["a", "b"]
    assert PlanRow.objects.count() == 2


@pytest.mark.usefixtures("stores")
def test_what_a_killed_look_left_is_no_part_of_the_plan():
    make_full_client("idom")
    plan = store_plan()

    def look_until_it_is_killed():
        yield from plans.look_at_batches(plan)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan.finish_planning(look_until_it_is_killed())
    assert (PlanRow.objects.count(), plan.plan_rows.list_clients()) == (1, [])

    tasks.work_on_run(plan.pk)

    plan.refresh_from_db()
    assert [client.slug for client in plan.plan_rows.list_clients()] == ["idom"]
    assert PlanRow.objects.count() == 1


@pytest.mark.usefixtures("stores")
def test_in_a_transaction_of_the_caller_the_error_of_the_database_comes_out_itself():
    make_full_client("idom")
    plan = store_plan()
    (found,) = plans.look_at_batches(plan)

    with pytest.raises(IntegrityError), transaction.atomic():
        plan.finish_planning([found, found])

    assert not PlanRow.objects.exists()


def test_plans_of_the_release_before_are_runs_and_plans_again(django_db_blocker):
    path = "-c search_path=nova_admin"
    with migrated_database() as uri, psycopg.connect(uri, autocommit=True, options=path) as old:
        migrate(uri, "migration", "0053")
        cursor = psycopg.ClientCursor(old)
        ((run,),) = old.execute(RUN).fetchall()

        def plant(state: str, *, made: bool = True, run=None, overwrite=False) -> int:
            values = {
                "state": state,
                "run": run,
                "overwrite": overwrite,
                "made": "now" if made else None,
                "counts": json.dumps(COUNTS if made else {}),
            }
            pk = cursor.execute(PLAN, values).fetchone()[0]
            if made:
                cursor.execute(PLAN_ROWS, {"plan": pk, "rows": json.dumps(ROWS)})
            return pk

        started, kept_no_more = plant("started", run=run), plant("started")
        ready, checking = plant("ready", overwrite=True), plant("checking")
        differs, making = plant("differs"), plant("making", made=False)
        discarded = plant("discarded")

        migrate(uri)

        runs = """
            SELECT former_plan, state, act, overwrite, override_lines, adopt, planned_at IS NOT NULL, look IS NOT NULL,
                finished_at IS NOT NULL FROM migration_run ORDER BY id
        """
        push, anew = ("push", False, [], False), (False, False, False)
        assert old.execute(runs).fetchall() == [
            (started, "running", *push, True, True, False),
            (ready, "planning", "push", True, ["overwrite"], False, *anew),
            *((pk, "planning", *push, *anew) for pk in (checking, differs, making)),
            (discarded, "discarded", *push, True, True, True),
        ]
        rows = """
            SELECT former_plan, client_id, plan_class, content FROM migration_planrow
            JOIN migration_run AS run ON run.id = run_id ORDER BY former_plan, client_id
        """
        assert old.execute(rows).fetchall() == [
            (pk, client["id"], client["class"], client)
            for pk in (started, discarded)
            for client in ROWS[::-1]
        ]
        counts = "SELECT plan_counts FROM migration_run WHERE id = %s"
        assert old.execute(counts, [run]).fetchone()[0] == COUNTS | {"only_moved": 0}

        migrate(uri, "migration", "0053")

        kept = """
            SELECT plan.id, run_id, state, overwrite, coalesce(jsonb_agg(content ORDER BY client_id)
                FILTER (WHERE content IS NOT NULL), '[]')
            FROM migration_runplan AS plan LEFT JOIN migration_planrow AS row
                ON plan_id = plan.id AND row.look = plan.look
            GROUP BY plan.id ORDER BY plan.id
        """
        assert old.execute(kept).fetchall() == [
            (started, run, "started", False, ROWS[::-1]),
            (ready, None, "making", True, []),
            *((pk, None, "making", False, []) for pk in (checking, differs, making)),
            (discarded, None, "discarded", False, ROWS[::-1]),
        ]
        assert old.execute("SELECT count(*) FROM migration_run").fetchone() == (1,)
        assert plant("making", made=False) > discarded
        assert kept_no_more


@pytest.mark.usefixtures("stores")
def test_the_file_is_written_piece_by_piece(monkeypatch):
    for slug in ("a", "b"):
        make_full_client(slug)

    pieces = list(export_plan_as_json(make_plan()))

    assert [client["slug"] for client in json.loads("".join(pieces))["clients"]] == ["a", "b"]
    assert not any('"a"' in piece and '"b"' in piece for piece in pieces)
