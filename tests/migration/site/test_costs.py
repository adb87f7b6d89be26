"""`cost_estimate` and its card: both layouts by the plan's two multiplications, what was counted, and the advice."""

import io
import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from migration.models import DailyComparisons, PlannedVersion, ReadCount
from migration.site.costs import advise, estimate_costs
from tests.bulk_data import make_crowd
from tests.factories import (
    count_reads,
    make_aws,
    make_client,
    make_database,
    make_email,
    make_many,
    make_user,
)

pytestmark = pytest.mark.django_db

PAGE = reverse("admin:migration_run_cost")


@pytest.fixture
def clients(settings):
    """One with all three services, one with a database alone, one without a login and one that is not active."""
    settings.NOVA_SWEEP_MINUTES = 15
    both, database = make_client("both"), make_client("database")
    make_database(both), make_database(both, label="second"), make_email(both), make_aws(both)
    make_database(database)
    make_client("nothing"), make_database(make_client("off", is_active=False))
    return {"both": both, "database": database}


@pytest.fixture
def viewer(client):
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    return client


def counted_since(**ago) -> None:
    ReadCount.objects.update(counted_since=timezone.now() - timedelta(**ago))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (0, ("keep", 1)),
        (4, ("keep", 1)),
        (5, ("keep", 2)),
        (10, ("keep", 2)),
        (11, ("keep", 3)),
        (19, ("keep", 3)),
        (20, ("either", 3)),
        (21, ("migrate", 4)),
        (100_000, ("migrate", 4)),
    ],
)
def test_the_plans_advice_follows_the_number_of_clients(number, advice):
    assert advise(number) == advice


def test_only_services_with_a_login_have_a_secret_and_every_call_is_counted(clients):
    count_reads(clients["both"], reads=1000)
    counted_since(days=10)
    PlannedVersion.objects.create(version_id="v1")

    found = estimate_costs()

    assert (found["clients"], found["with_logins"]) == (3, 2)
    assert found["calls"] == {"sweeps": 2880, "reads": 3000, "writes": 1}
    client, service = found["layouts"]
    assert (client["layout"], client["secrets"], client["calls"]) == ("client", 2, 2880 + 3001)
    assert client["dollars"] == 0.83  # 2 × 0.40 + 5,881 × 0.05 / 10,000
    assert (service["layout"], service["secrets"], service["calls"]) == ("service", 4, 2880 + 3001)
    assert service["dollars"] == 1.63
    assert (client["in_use"], service["in_use"]) == (True, False)


def test_a_sweep_of_many_clients_takes_a_call_for_each_twenty_names():
    make_crowd(50, comparisons_each=1)

    found = estimate_costs()

    others = found["calls"]["reads"] + found["calls"]["writes"]
    client, service = found["layouts"]
    assert client["calls"] - others == 2880 * 3  # 50 names
    assert service["calls"] - others == 2880 * 8  # 150 names


def test_a_replica_in_each_region_costs_as_much_as_the_secret(clients, settings):
    settings.NOVA_REPLICA_REGIONS = dict.fromkeys(("eu-west-1", "eu-west-3"), "")

    client, service = estimate_costs()["layouts"]

    assert (client["replicas"], service["replicas"]) == (4, 8)
    assert (client["dollars"], service["dollars"]) == (2.41, 4.81)


def test_the_plans_own_example_costs_what_it_says():
    """Ten clients: about $5 to $8 a month."""
    for number in range(10):
        pk = make_client(f"client-{number}")
        make_database(pk), make_email(pk)
    count_reads(pk, reads=3000)
    counted_since(days=30)

    client, service = estimate_costs()["layouts"]

    assert 4 <= client["dollars"] <= 5
    assert 8 <= service["dollars"] <= 9


@pytest.mark.parametrize(
    ("hours", "a_month", "rough"),
    [(0.1, 720_000, True), (2, 360_000, True), (24, 30_000, False), (240, 3_000, False)],
)
def test_reads_count_for_the_time_in_which_they_were_counted(clients, hours, a_month, rough):
    count_reads(clients["both"], reads=1000)
    counted_since(hours=hours)

    found = estimate_costs()

    assert found["calls"]["reads"] == pytest.approx(a_month, rel=0.001)
    assert found["counted"]["reads"] == 1000
    assert found["counted"]["reads_are_rough"] is rough


def test_the_comparisons_of_the_last_thirty_days_are_counted(db):
    today = timezone.localdate()
    for days, number in ((0, 100), (29, 50), (30, 1000)):
        DailyComparisons.objects.create(
            day=today - timedelta(days=days), status="match", number=number
        )

    assert estimate_costs()["counted"]["comparisons"] == 150


def test_without_a_client_it_costs_nothing():
    found = estimate_costs()

    assert [layout["dollars"] for layout in found["layouts"]] == [0, 0]
    assert (found["advice"], found["step"]) == ("keep", 1)
    assert found["counted"]["reads_since"] is None


def test_the_command_prints_it_for_people_and_as_json(clients, capsys):
    call_command("cost_estimate")
    printed = capsys.readouterr().out
    out = io.StringIO()
    call_command("cost_estimate", "--format", "json", stdout=out)

    assert "client (in use): 2 secrets, 0 replicas, 2,880 calls: $0.81 a month" in printed
    assert "the plan, for 3 clients: keep PostgreSQL" in printed
    assert json.loads(out.getvalue()) == json.loads(json.dumps(estimate_costs()))


def test_wrong_use_exits_with_2():
    with pytest.raises(CommandError) as error:
        call_command("cost_estimate", "--format", "yaml")

    assert error.value.returncode == 2


def test_a_viewer_sees_it(viewer, clients):
    response = viewer.get(PAGE)

    assert response.context["cost"] == estimate_costs()
    html = response.content.decode()
    assert "$0.81" in html
    assert "For 3 active clients: keep PostgreSQL" in html


def test_the_prices_beside_it_are_those_that_it_is_made_of(viewer, clients, monkeypatch):
    monkeypatch.setattr("credentials.prices.SECRET_A_MONTH", Decimal(55))
    monkeypatch.setattr("credentials.prices.TEN_THOUSAND_CALLS", Decimal(7))

    response = viewer.get(PAGE)

    assert response.context["cost"]["layouts"][0]["dollars"] == 2 * 55 + 2.02
    in_use = response.context["in_use"]
    assert (in_use["for_secrets"], in_use["for_calls"]) == (2 * 55, 2.02)
    assert "$55.00" in response.content.decode()


def test_the_card_takes_no_more_statements_for_more_clients(viewer, django_assert_max_num_queries):
    make_many(50)

    with django_assert_max_num_queries(25):
        viewer.get(PAGE)


def test_nobody_without_a_role_sees_it(client):
    client.force_login(make_user("new"))

    assert client.get(PAGE).status_code == 403
