"""An owner for thousands of clients: in parts that memory holds, all of them or none, two people at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection

from credentials.models import Client, clients
from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientOwner
from tests.factories import make_full_client, make_in_role, make_many, make_user
from tests.memory import measure_peak
from tests.migration.pages import act_page, press_act

pytestmark = pytest.mark.django_db


@pytest.fixture
def small_parts(monkeypatch) -> int:
    """How many clients are in memory at once."""
    monkeypatch.setattr(clients, "CLIENTS_AT_ONCE", 10)
    return 10


def test_they_get_an_owner_and_lose_it_in_parts_and_where_one_fails_nobody_has_another(
    small_parts, monkeypatch
):
    make_many(25)
    olga, paco = make_user("olga"), make_user("paco")
    everybody = sorted(all_clients().values_list("pk", flat=True))

    assert ClientOwner.objects.set_owner(all_clients(), olga, by=olga) == everybody
    assert ClientOwner.objects.set_owner(all_clients(), olga, by=olga) == []
    insert_already_signed, parts = AuditEvent.objects.insert_already_signed, []

    def fail_second_time(events):
        parts.append(len(events))
        insert_already_signed(events)
        if len(parts) == 2:
            raise OperationalError("the connection is gone")

    with monkeypatch.context() as patched:
        patched.setattr(AuditEvent.objects, "insert_already_signed", fail_second_time)
        with pytest.raises(OperationalError):
            ClientOwner.objects.set_owner(all_clients(), paco)
    assert parts == [10, 10]
    assert ClientOwner.objects.filter(owner=olga).count() == 25
    assert AuditEvent.objects.filter(code="owner").count() == 25
    assert ClientOwner.objects.set_owner(all_clients(), None, by=olga) == everybody
    assert not ClientOwner.objects.exists()
    assert AuditEvent.objects.filter(code="owner").count() == 50


def test_a_part_is_in_memory_and_not_every_client(monkeypatch):
    monkeypatch.setattr(clients, "CLIENTS_AT_ONCE", 100)
    make_many(800)
    olga = make_user("olga")
    some = all_clients().filter(slug__in=[f"many-{n}" for n in range(100)])

    def measure(chosen) -> int:
        return measure_peak(lambda: ClientOwner.objects.set_owner(chosen, olga))

    measure(some.filter(slug="many-1"))  # imports and caches
    few = measure(some)
    # Of each client its id stays, which is returned.
    assert measure(all_clients()) < few + 800 * 200


@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_wait_for_each_other_and_one_of_them_has_all(monkeypatch):
    monkeypatch.setattr(clients, "CLIENTS_AT_ONCE", 100)
    make_many(250)  # of few, the first would be done before the other begins
    people = [make_user("olga"), make_user("paco")]
    ClientOwner.objects.set_owner(all_clients().filter(slug__endswith="0"), people[0])
    start = threading.Barrier(2)

    def take_all(who) -> int:
        start.wait(10)
        try:
            return len(ClientOwner.objects.set_owner(all_clients().order_by("-pk"), who, by=who))
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        changed = list(threads.map(take_all, people))

    assert ClientOwner.objects.values("owner").distinct().count() == 1
    assert ClientOwner.objects.count() == 250
    assert 250 in changed


@pytest.mark.django_db(transaction=True)
def test_two_people_with_other_selections_never_wait_for_each_other_in_a_circle(
    small_parts, monkeypatch
):
    """Before, one had the first client and wanted the last, the other the last and wanted the first."""
    make_many(20)
    pks = sorted(all_clients().values_list("pk", flat=True))
    first, last = pks[0], pks[15]
    olga, paco = make_user("olga"), make_user("paco")
    ClientOwner.objects.set_owner(all_clients().filter(pk=last), make_user("vera"))
    has_first, may_go_on = threading.Event(), threading.Event()

    def wait_after_first_part(events):
        insert_already_signed(events)
        if threading.current_thread().name.startswith("all"):
            has_first.set()
            may_go_on.wait(0.5)

    insert_already_signed = AuditEvent.objects.insert_already_signed
    monkeypatch.setattr(AuditEvent.objects, "insert_already_signed", wait_after_first_part)

    def give(chosen, owner) -> int:
        try:
            return len(ClientOwner.objects.set_owner(chosen, owner))
        finally:
            connection.close()

    with (
        ThreadPoolExecutor(1, thread_name_prefix="all") as one,
        ThreadPoolExecutor(1, thread_name_prefix="two") as another,
    ):
        of_all = one.submit(give, all_clients(), olga)
        assert has_first.wait(10)
        of_two = another.submit(give, all_clients().filter(pk__in=[first, last]), paco)
        assert (of_all.result(60), of_two.result(60)) == (20, 2)

    assert ClientOwner.objects.filter(owner=paco).count() == 2
    assert ClientOwner.objects.filter(owner=olga).count() == 18


def test_the_page_gives_those_that_it_showed_an_owner(client):
    olga = make_in_role("olga", "Operator")
    client.force_login(olga)
    pks = [make_full_client(slug) for slug in ("a", "b", "c")]
    page = client.get(act_page("set_owner", *pks))
    Client.objects.filter(pk=pks[2]).update(slug="renamed")

    press_act(client, act_page("set_owner", *pks), page, owner="olga")

    assert dict(ClientOwner.objects.values_list("client__slug", "owner__username")) == {
        "a": "olga", "b": "olga", "renamed": "olga",
    }  # fmt: skip
    assert client.get(act_page("set_owner", *pks)).context["form"].initial["owner"] == "olga"
