"""Client groups as rows: names, members, two people at once, and what NOVA's deletions leave of them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from credentials.models import clients
from migration.core.clients import all_clients
from migration.core.groups import (
    GROUP_NAME_MISSING,
    GROUP_NAME_NOT_SHOWN,
    GROUP_NAME_TOO_LONG,
    ClientGroupError,
    parse_group_name,
)
from migration.models import AuditEvent, ClientGroup, ClientMigration, GroupMember
from nova_credentials.phases import Phase
from tests.factories import make_client, make_many
from tests.memory import measure_peak

pytestmark = pytest.mark.django_db


def put(name: str, *slugs: str) -> ClientGroup:
    group = ClientGroup.objects.get_or_add(name)
    group.put_clients(all_clients().filter(slug__in=slugs))
    return group


def slugs_of(group: ClientGroup) -> list[str]:
    return sorted(all_clients().in_group(group.pk).values_list("slug", flat=True))


@pytest.fixture
def entries():
    """What was recorded since, as (who, slug, words)."""
    before = {*AuditEvent.objects.values_list("pk", flat=True)}
    return lambda: [
        (event.who, event.slug, str(event.message))
        for event in AuditEvent.objects.exclude(pk__in=before).order_by("pk")
    ]


@pytest.mark.parametrize(
    ("typed", "name"),
    [(" wave\t 1\n", "wave 1"), ("Espan\u0303a", "España"), ("x" * 100, "x" * 100)],
)
def test_a_name_is_one_line(typed, name):
    assert parse_group_name(typed) == name


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", GROUP_NAME_MISSING),
        (" \n\u3000", GROUP_NAME_MISSING),
        ("x" * 101, GROUP_NAME_TOO_LONG),
        ("a\0b", GROUP_NAME_NOT_SHOWN),
        ("a\u202eb", GROUP_NAME_NOT_SHOWN),
        ("a\ud800", GROUP_NAME_NOT_SHOWN),
    ],
)
def test_a_name_that_is_none_is_refused(typed, why):
    with pytest.raises(ClientGroupError) as refusal:
        ClientGroup.objects.get_or_add(typed)

    assert refusal.value.message.key == why.key
    assert ClientGroup.objects.find_by_name(typed) is None


@pytest.mark.parametrize("other", ["wave españa", "WAVE ESPAÑA", " Wave  España "])
def test_capital_letters_make_no_other_group(other):
    group = ClientGroup.objects.get_or_add("Wave España")

    assert ClientGroup.objects.get_or_add(other) == group
    with pytest.raises(ClientGroupError, match="already"):
        ClientGroup(name=other).store_new()
    assert group.name == "Wave España"


@pytest.mark.parametrize("letter", ["ΐ", "ß", "İ"])
def test_the_longest_name_is_stored_however_many_letters_its_small_ones_are(letter):
    assert ClientGroup.objects.get_or_add(letter * 100).pk


def test_every_change_is_in_the_audit_with_names_and_only_what_changed(entries):
    idom = make_client("idom")
    make_client("acme")
    group = put("wave 1", "idom")
    put("Wave 1", "idom", "acme")
    taken = group.remove_clients(all_clients().filter(slug__in=["idom", "none"]))
    group.rename("Wave 1", by=None), group.rename("wave 2"), group.rename("wave 2")
    group.delete_group()

    assert taken == [idom]
    assert [(slug, words) for _, slug, words in entries()] == [
        ("", "Added the group wave 1."),
        ("idom", "Put the client into the group wave 1."),
        ("acme", "Put the client into the group wave 1."),
        ("idom", "Took the client out of the group wave 1."),
        ("", "Renamed the group wave 1 to Wave 1."),
        ("", "Renamed the group Wave 1 to wave 2."),
        ("", "Deleted the group wave 2 with 1 client."),
    ]
    assert not GroupMember.objects.exists()
    assert all_clients().count() == 2


def test_a_client_that_nova_deletes_is_in_no_way_held_back_and_not_counted():
    group = put("wave 1", *(slug for slug in ("idom", "acme") if make_client(slug)))

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'idom'")

    counted = ClientGroup.objects.with_counts().get()
    assert (counted.number, counted.in_postgres, slugs_of(group)) == (1, 1, ["acme"])
    group.delete_group()
    assert str(AuditEvent.objects.latest("pk").message).endswith("with 1 client.")


def test_the_clients_of_each_phase_are_counted():
    slugs = ["a", "b", "c", "d"]
    ids = [make_client(slug) for slug in slugs]
    for pk, phase in zip(ids, (Phase.POSTGRES, Phase.DUAL_READ, Phase.AWS), strict=False):
        ClientMigration.objects.create(client_id=pk, phase=phase)
    put("all", *slugs), put("some", "a", "c"), put("none")

    counted = {group.name: group for group in ClientGroup.objects.with_counts()}

    assert [counted[name].number for name in ("all", "some", "none")] == [4, 2, 0]
    phases = [f"in_{phase}" for phase in Phase]
    assert [getattr(counted["all"], phase) for phase in phases] == [2, 0, 1, 1, 0]
    assert [getattr(counted["some"], phase) for phase in phases] == [1, 0, 0, 1, 0]


def test_many_clients_take_no_more_statements_than_one():
    make_many(20)
    group = ClientGroup.objects.get_or_add("wave 1")
    one = all_clients().filter(slug="many-1")

    def count_statements(act, chosen) -> int:
        with CaptureQueriesContext(connection) as captured:
            act(chosen)
        return len(captured)

    first = count_statements(group.put_clients, one), count_statements(group.remove_clients, one)
    everybody = (
        count_statements(group.put_clients, all_clients()),
        group.members.count(),
        count_statements(group.remove_clients, all_clients()),
    )

    assert everybody == (first[0], 20, first[1])
    assert not group.members.exists()
    assert AuditEvent.objects.filter(code="client_group", slug="many-20").count() == 2


def test_many_are_put_in_and_taken_out_in_parts_and_where_one_fails_nothing_stays(
    monkeypatch, entries
):
    monkeypatch.setattr(clients, "CLIENTS_AT_ONCE", 10)
    make_many(25)
    group, other = ClientGroup.objects.get_or_add("wave 1"), put("other", "many-1")
    insert_already_signed, parts = AuditEvent.objects.insert_already_signed, []

    def fail_second_time(events):
        parts.append(len(events))
        insert_already_signed(events)
        if len(parts) == 2:
            raise OperationalError("the connection is gone")

    def fail(act) -> None:
        parts.clear()
        members, recorded = group.members.count(), entries()
        with monkeypatch.context() as patched:
            patched.setattr(AuditEvent.objects, "insert_already_signed", fail_second_time)
            with pytest.raises(OperationalError):
                act(all_clients())
        assert parts == [10, 10]
        assert (group.members.count(), entries()) == (members, recorded)

    fail(group.put_clients)
    assert len(group.put_clients(all_clients())) == 25
    fail(group.remove_clients)
    # Those that it has are chosen by what is taken away.
    assert len(group.remove_clients(all_clients().in_group(group.pk))) == 25
    assert not group.members.exists()
    assert slugs_of(other) == ["many-1"]


def test_a_part_is_in_memory_and_not_every_client(monkeypatch):
    monkeypatch.setattr(clients, "CLIENTS_AT_ONCE", 100)
    make_many(800)
    group = ClientGroup.objects.get_or_add("wave 1")
    some = all_clients().filter(slug__in=[f"many-{n}" for n in range(100)])

    def measure(act, chosen) -> int:
        return measure_peak(lambda: act(chosen))

    for act in (group.put_clients, group.remove_clients):
        measure(act, some.filter(slug="many-1"))  # imports and caches
        few = measure(act, some)
        # Of each client its slug stays, which is returned.
        assert measure(act, all_clients()) < few + 800 * 200
        group.put_clients(all_clients())


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_make_one_group_and_no_duplicate(entries):
    make_many(30)
    start = threading.Barrier(2)

    def group_everybody(reverse: bool) -> int:
        start.wait(10)
        try:
            group = ClientGroup.objects.get_or_add("WAVE 1" if reverse else "wave 1")
            return len(group.put_clients(all_clients().order_by("-pk" if reverse else "pk")))
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        added = sorted(threads.map(group_everybody, [False, True]))

    assert added == [0, 30]
    assert (ClientGroup.objects.count(), GroupMember.objects.count()) == (1, 30)
    assert len(entries()) == 31


@pytest.mark.django_db(transaction=True)
def test_who_makes_a_group_that_somebody_has_just_made_gets_that_one(monkeypatch):
    first = ClientGroup.objects.get_or_add("wave 1")
    monkeypatch.setattr(type(ClientGroup.objects.all()), "find_by_name", lambda *_: None)

    with transaction.atomic():  # as a page is: the refusal of the second row undoes nothing else
        assert ClientGroup.objects.get_or_add("Wave 1") == first


@pytest.mark.parametrize("act", ["put_clients", "remove_clients", "rename", "delete_group"])
def test_of_a_group_that_is_gone_that_is_said(act):
    make_client("idom")
    group = ClientGroup.objects.get_or_add("wave 1")
    ClientGroup.objects.all().delete()
    given = {"rename": ["wave 2"], "delete_group": []}.get(act, [all_clients()])

    with pytest.raises(ClientGroupError, match="has been deleted since"):
        getattr(group, act)(*given)


def test_a_name_that_another_group_has_is_given_to_none():
    other, group = (ClientGroup.objects.get_or_add(name) for name in ("Spain", "wave 1"))

    with pytest.raises(ClientGroupError, match="there is a group SPAIN already"):
        group.rename("SPAIN")

    assert sorted(ClientGroup.objects.values_list("name", flat=True)) == ["Spain", "wave 1"]
    assert other.name == "Spain"
