"""What is open, since when, and the counts of a day: they follow from the comparisons as they are recorded."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from threading import Barrier, BrokenBarrierError

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.core.comparisons import COMPARISON_EVENT, DailyComparisonsQuerySet
from migration.models import (
    AuditEvent,
    ClientComment,
    ClientMigration,
    ClientOwner,
    Comparison,
    DailyComparisons,
    OpenMismatch,
)
from migration.pushes.comparisons import MISSING_IN_AWS
from tests.explained import count_rows_read
from tests.factories import make_client, make_comparison

pytestmark = pytest.mark.django_db

PASSWORD = {
    "path": "database.password",
    "kind": "different",
    "hint": "blank",
    "expected": "0a1b2c3d",
    "actual": "4e5f6071",
    "expected_length": "9-16",
    "actual_length": "17-32",
}
HOST = PASSWORD | {"path": "database.host", "kind": "extra", "hint": ""}


def ago(**span) -> object:
    return timezone.now() - timedelta(**span)


def found(client_id: int, *fields: dict, **more) -> Comparison:
    return make_comparison(client_id, "mismatch", mismatches=list(fields), **more)


def paths(client_id: int) -> list[str]:
    return list(OpenMismatch.objects.filter(client_id=client_id).values_list("path", flat=True))


def test_a_field_is_open_from_the_first_comparison_that_found_it():
    pk = make_client("idom")
    first, last = ago(hours=3), ago(minutes=1)
    found(pk, PASSWORD, compared_at=first)
    newest = found(pk, PASSWORD | {"kind": "type", "hint": "type"}, HOST, compared_at=last)

    host, password = OpenMismatch.objects.all()

    assert (password.first_seen_at, password.last_seen_at, password.times) == (first, last, 2)
    assert (password.kind, password.hint, password.comparison) == ("type", "type", newest)
    assert (host.first_seen_at, host.last_seen_at, host.times) == (last, last, 1)


def test_a_field_is_closed_by_a_comparison_that_does_not_find_it():
    pk, other = make_client("idom"), make_client("other")
    found(pk, PASSWORD, HOST), found(other, HOST)

    found(pk, HOST)
    assert paths(pk) == ["database.host"]
    make_comparison(pk, "match")

    assert paths(pk) == []
    assert paths(other) == ["database.host"]


def test_what_could_not_be_checked_opens_nothing_and_closes_nothing():
    pk = make_client("idom")
    found(pk, PASSWORD)

    make_comparison(pk, "unchecked")

    row = OpenMismatch.objects.with_acknowledged_and_unchecked().get()
    assert (row.path, row.times, row.newest_comparison_is_unchecked) == (
        "database.password",
        1,
        True,
    )


def test_a_comparison_that_is_not_its_clients_newest_opens_and_closes_nothing():
    pk = make_client("idom")
    older = Comparison.objects.bulk_create([Comparison(client_id=pk, slug="idom", status="match")])[
        0
    ]
    found(pk, PASSWORD)

    OpenMismatch.objects.open_and_close([older.pk])

    assert paths(pk) == ["database.password"]


def test_the_newest_result_stands_beside_the_phase_and_an_older_one_does_not_replace_it():
    pk = make_client("idom")
    make_comparison(make_client("other"), "match")  # whose number the older one gets
    newest = found(pk, PASSWORD)
    ClientMigration.objects.filter(pk=pk).update(clean_streak=7)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('migration_comparison_id_seq', %s, false)", [newest.pk - 1])
    Comparison.objects.filter(pk=newest.pk - 1).delete()

    make_comparison(pk, "match")

    stands = ClientMigration.objects.get(pk=pk)
    assert (stands.comparison, stands.comparison_status) == (newest, "mismatch")
    assert (stands.compared_at, stands.clean_streak) == (newest.compared_at, 7)


@pytest.mark.parametrize(
    ("status", "kind"), [("missing_in_aws", "missing"), ("missing_in_postgres", "extra")]
)
def test_a_client_that_is_missing_whole_has_one_row_without_a_field(status, kind):
    make_comparison(make_client("idom"), status)

    row = OpenMismatch.objects.get()

    assert (row.path, row.kind) == ("", kind)


def test_comparisons_are_counted_by_day_and_result():
    a, b = make_client("a"), make_client("b")
    make_comparison(a, "match"), make_comparison(b, "match"), make_comparison(a, "unchecked")
    make_comparison(b, "match", compared_at=ago(days=1))

    today = timezone.localdate()
    assert set(DailyComparisons.objects.values_list("day", "status", "number")) == {
        (today, "match", 2),
        (today, "unchecked", 1),
        (today - timedelta(days=1), "match", 1),
    }


def test_the_counts_of_a_day_stay_when_its_comparisons_are_forgotten():
    pk = make_client("idom")
    make_comparison(pk, "match", compared_at=ago(days=40)), make_comparison(pk, "match")

    Comparison.objects.forget_old()

    assert Comparison.objects.count() == 1
    assert DailyComparisons.objects.count() == 2


def test_the_comparison_that_an_open_mismatch_shows_is_not_forgotten():
    pk = make_client("idom")
    shown = found(pk, PASSWORD, compared_at=ago(days=40))
    make_comparison(pk, "unchecked")

    Comparison.objects.forget_old()

    assert OpenMismatch.objects.get().comparison == shown


def test_what_is_open_at_a_client_that_is_gone_is_forgotten():
    pk = make_client("idom")
    found(pk, PASSWORD)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])
    assert not OpenMismatch.objects.exclude_deleted_clients().exists()

    Comparison.objects.forget_old()

    assert not OpenMismatch.objects.exists()


def test_a_batch_is_recorded_in_as_many_statements_as_one_comparison():
    def statements(number: int) -> int:
        rows = [
            Comparison(client_id=make_client(f"{number}-{n}"), slug="x", status="mismatch", mismatches=[HOST])
            for n in range(number)
        ]  # fmt: skip
        with CaptureQueriesContext(connection) as captured:
            Comparison.objects.record(rows)
        return len(captured)

    assert statements(100) == statements(1)


def told(pk: int) -> list[str]:
    events = AuditEvent.objects.filter(code=COMPARISON_EVENT, client_id=pk, slug="idom")
    return [str(event.message) for event in events.order_by("pk")]


def test_a_result_is_told_where_it_is_another_than_the_one_before():
    pk, other = make_client("idom"), make_client("other")
    four = [PASSWORD | {"path": f"database.{name}"} for name in ("host", "name", "port", "user")]

    for status, fields in (
        ("match", []),  # as a first result it is no news
        ("unchecked", []),
        ("match", []),
        ("mismatch", [PASSWORD]),
        ("mismatch", [PASSWORD]),
        ("unchecked", []),
        ("mismatch", [PASSWORD]),
        ("mismatch", four),
        ("unchecked", []),
        ("missing_in_aws", []),
        ("match", []),
        ("match", []),
    ):
        make_comparison(pk, status, mismatches=fields, slug="idom")
        make_comparison(other, "match")

    assert told(pk) == [
        "1 field differs: database.password.",
        "4 fields differ: database.host, database.name, database.port, ….",
        "Missing in AWS",
        "Both stores hold the same values.",
    ]
    assert AuditEvent.objects.filter(code=COMPARISON_EVENT).count() == 4


def test_a_first_result_that_differs_and_one_that_was_overwritten_are_told_in_order():
    pk = make_client("idom")
    before, after = (
        Comparison(client_id=pk, slug="idom", status=status, mismatches=fields, message=message)
        for status, fields, message in (
            ("missing_in_aws", [], MISSING_IN_AWS(names=("nova/clients/idom",))),
            ("match", [], None),
        )
    )

    Comparison.objects.record_in_turn([before], [after], read_back=True)

    first = "AWS has no value under nova/clients/idom."
    assert told(pk) == [first, "Both stores hold the same values."]


def test_results_are_looked_up_client_by_client_in_a_table_that_nobody_analyzed():
    pks = [make_client(f"client-{n}") for n in range(1000)]

    def record(clients: list[int]) -> None:
        Comparison.objects.record(
            [Comparison(client_id=pk, slug="x", status="match") for pk in clients]
        )

    record(pks)

    # Once all rows, for those that are new.
    assert count_rows_read("migration_comparison", lambda: record(pks[:20])) <= 1100


@pytest.mark.django_db(transaction=True)
def test_workers_that_record_at_once_wait_for_each_other_and_lose_no_count():
    ids = [make_client(f"c{n}") for n in range(20)]

    def record(order: list[int]) -> None:
        try:
            for _ in range(5):
                Comparison.objects.record(
                    Comparison(client_id=pk, slug="x", status="mismatch", mismatches=[HOST])
                    for pk in order
                )
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(record, [ids, ids[::-1]]))

    assert DailyComparisons.objects.get().number == 200
    # One that another worker's newer comparison has overtaken tells nothing of what differs now.
    times = list(OpenMismatch.objects.values_list("times", flat=True))
    assert len(times) == 20
    assert all(5 <= number <= 10 for number in times)
    # As they wait for each other, each client's first result alone is told.
    assert AuditEvent.objects.filter(code=COMPARISON_EVENT).count() == 20
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.clients CASCADE")


@pytest.mark.django_db(transaction=True)
def test_pushes_that_overwrite_what_differs_do_not_block_each_other_for_ever(monkeypatch):
    """Each records what it overwrote, then what it read back: results of two kinds, here in either order."""
    clients = make_client("first"), make_client("second")
    both_have_counted, count_up = Barrier(2), DailyComparisonsQuerySet.count_up

    def count_and_meet(self, comparison_ids: list[int]) -> None:
        count_up(self, comparison_ids)
        with suppress(
            BrokenBarrierError
        ):  # the other one waits for the end of this one's transaction
            both_have_counted.wait(timeout=1)

    def record(client_id: int, *statuses: str) -> None:
        batches = [
            [Comparison(client_id=client_id, slug="x", status=status)] for status in statuses
        ]
        try:
            Comparison.objects.record_in_turn(*batches)
        finally:
            connection.close()

    monkeypatch.setattr(DailyComparisonsQuerySet, "count_up", count_and_meet)
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(record, clients, ("match", "mismatch"), ("mismatch", "match")))

    counted = dict(DailyComparisons.objects.values_list("status", "number"))
    assert counted == {"match": 2, "mismatch": 2}
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.clients CASCADE")


def test_whoever_was_to_look_at_a_mismatch_becomes_the_owner_of_its_client_or_is_named_in_a_comment():
    """As `migrate` carries it over: the owner stays, else the one with the most fields is it."""
    maria, pepe = (User.objects.create(username=name) for name in ("maria", "pepe"))
    alone, shared, owned, nobodys = (
        make_client(slug) for slug in ("alone", "shared", "owned", "no")
    )
    for pk in (alone, shared, owned, nobodys):
        found(pk, PASSWORD, HOST, HOST | {"path": "email.user"})
    ClientOwner.objects.create(client_id=owned, owner=maria)
    rows = {(row.client_id, row.path): row.pk for row in OpenMismatch.objects.all()}
    paths = sorted(path for pk, path in rows if pk == shared)
    assigned = {(alone, paths[0]): pepe, (owned, paths[0]): pepe, (owned, paths[1]): maria}
    assigned |= {(shared, paths[0]): maria, (shared, paths[1]): pepe, (shared, paths[2]): pepe}
    migration = import_module("migration.migrations.0059_notices_and_problems")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "ALTER TABLE migration_openmismatch ADD assignee_id integer REFERENCES auth_user"
        )
        for field, user in assigned.items():
            update = "UPDATE migration_openmismatch SET assignee_id = %s WHERE id = %s"
            cursor.execute(update, [user.pk, rows[field]])

        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(migration.OWNERS), cursor.execute(migration.OTHERS)
        cursor.execute("ALTER TABLE migration_openmismatch DROP assignee_id")

    owners = dict(ClientOwner.objects.values_list("client", "owner__username"))
    assert owners == {alone: "pepe", shared: "pepe", owned: "maria"}
    comments = {row.client_id: row for row in ClientComment.objects.all()}
    assert comments.keys() == {shared, owned}
    assert comments[shared].text.endswith(f"were assigned to maria: {paths[0]}.")
    assert comments[owned].text.endswith(f"were assigned to pepe: {paths[0]}.")
    assert (comments[owned].by, comments[owned].by_name) == (None, "NOVA Admin")
