"""`cost_estimate` and its page: both layouts, what was counted, the alternatives and the plan's rule."""

import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client
from migration.models import DailyComparisons, PlannedVersion, ReadCount, Usage
from migration.reports.costs import (
    CostAssumptions,
    MigrationAdvice,
    advise_aws_or_postgres,
    count_aws_use_of_last_month,
    estimate_costs,
)
from tests.factories import (
    count_reads,
    make_aws,
    make_client,
    make_database,
    make_email,
    make_many,
    make_reader_process,
    make_user,
)

PAGE = reverse("admin:migration_run_cost")
PLAIN = CostAssumptions(sweep_minutes=15, cache_seconds=30)


def estimate(*, clients=100, holders=100, services=150, reads=0, **assumed):
    since = timezone.now() - timedelta(days=30)
    usage = Usage(clients, holders, services, reads, since if reads else None)
    return estimate_costs(usage, replace(PLAIN, **assumed))


@pytest.fixture
def two_clients(db) -> None:
    """One with all three services, one with a database alone, one without a login."""
    both, database = make_client("both"), make_client("database")
    make_database(both), make_email(both), make_aws(both), make_database(database)
    make_client("nothing")


def run(*arguments: str) -> dict:
    out = io.StringIO()
    call_command("cost_estimate", "--format", "json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_a_secret_costs_forty_cents_and_only_services_with_a_login_have_one():
    client, service = estimate().costs

    assert (client.secrets, service.secrets) == (100, 150)
    assert (client.secret_dollars, service.secret_dollars) == (Decimal(40), Decimal(60))
    # 2,880 sweeps; 100 names and 300 names, 20 a call
    assert (client.sweep_calls, service.sweep_calls) == (2880 * 5, 2880 * 15)
    assert client.total_dollars == Decimal("40.07")
    assert service.total_dollars == Decimal("60.22")


def test_a_replica_in_each_region_costs_as_much_as_the_secret():
    client, service = estimate(replica_regions=2).costs

    assert (client.replicas, service.replicas) == (200, 300)
    assert (client.secret_dollars, service.secret_dollars) == (Decimal(120), Decimal(180))
    assert client.sweep_calls == 2880 * 5  # the first region alone is asked


def test_a_longer_time_between_sweeps_makes_fewer_calls():
    assert [cost.sweep_calls for cost in estimate(sweep_minutes=60).costs] == [720 * 5, 720 * 15]


@pytest.mark.parametrize(
    ("assumed", "reads"),
    [
        ({"reads_a_day": 10}, 10 * 30 * 100),
        # One process, a month of 2,592,000 s: at most one read of each client in 30 s.
        ({"reads_a_day": 1_000_000}, 86_400 * 100),
        ({"reads_a_day": 1_000_000, "processes": 3}, 3 * 86_400 * 100),
        ({"reads_a_day": 1_000_000, "cache_seconds": 300}, 8_640 * 100),
        ({"reads_a_day": 1_000, "cache_seconds": 0}, 1_000 * 30 * 100),
        ({"reads_a_day": 0}, 0),
    ],
)
def test_the_cache_bounds_the_reads(assumed, reads):
    assert [cost.read_calls for cost in estimate(**assumed).costs] == [reads, reads]


@pytest.mark.parametrize(("cache", "reads"), [(30, 600), (15, 1200), (60, 600), (0, 600)])
def test_counted_reads_grow_at_most_with_a_shorter_cache(cache, reads):
    assert estimate(reads=600, cache_seconds=cache).reads_a_month == reads


@pytest.mark.parametrize(
    ("hours", "reads", "rough"),
    [
        (0.1, 720_000, True),
        (2, 360_000, True),
        (23, 31_304, True),
        (24, 30_000, False),
        (240, 3_000, False),
    ],
)
def test_reads_count_for_the_time_in_which_they_were_counted(hours, reads, rough):
    usage = Usage(1, 1, 1, 1000, timezone.now() - timedelta(hours=hours))

    found = estimate_costs(usage, PLAIN)

    assert found.reads_a_month == pytest.approx(reads, rel=0.001)
    assert (found.is_rough, found.hours_of_counted_reads) == (rough, int(hours))
    assert not estimate_costs(usage, replace(PLAIN, reads_a_day=10)).is_rough


def test_a_key_of_your_own_costs_in_each_region_and_for_each_value():
    client, service = estimate(own_key=True, replica_regions=1, writes_a_month=50).costs

    assert (client.keys, service.keys) == (2, 2)
    assert client.key_requests == 2880 * 100 + 50
    assert client.kms_dollars == Decimal("2.86")  # 2 + 288,050 × 0.03 / 10,000
    assert service.key_requests == 2880 * 150 + 50
    assert [cost.kms_dollars for cost in estimate().costs] == [0, 0]


@pytest.mark.parametrize(
    ("clients", "advice"),
    [
        (0, MigrationAdvice.KEEP),
        (19, MigrationAdvice.KEEP),
        (20, MigrationAdvice.EITHER),
        (21, MigrationAdvice.MIGRATE),
    ],
)
def test_the_plans_rule(clients, advice):
    assert advise_aws_or_postgres(clients) == advice


def test_the_plans_own_example_costs_what_it_says():
    """Ten clients: about $5 to $8 a month."""
    client, service = estimate(clients=10, holders=10, services=20, reads=3000).costs

    assert Decimal(4) <= client.total_dollars <= Decimal(5)
    assert Decimal(8) <= service.total_dollars <= Decimal(9)


def test_what_the_site_counted_stands_beside_it(db, settings):
    today = timezone.localdate()
    for days, number in ((0, 100), (29, 50), (30, 1000)):
        DailyComparisons.objects.create(
            day=today - timedelta(days=days), status="match", number=number
        )
    PlannedVersion.objects.create(version_id="v1")
    ReadCount.objects.create(client_id=1, reads=600)
    ReadCount.objects.update(counted_since=timezone.now() - timedelta(days=60))
    ReadCount.objects.create(client_id=2, reads=40), ReadCount.objects.create(client_id=3)

    found = count_aws_use_of_last_month()

    assert (found.comparisons, found.writes, found.clients_read) == (150, 1, 2)
    assert found.reads == 300 + 40
    assert found.compare_calls == 8
    assert found.calls == 8 + 1 + 340
    settings.NOVA_SECRET_LAYOUT = "service"
    assert count_aws_use_of_last_month().compare_calls == 23


def test_what_the_site_counted_is_added_up_by_the_database(db):
    """A row comes back for each statement, and not for each client."""
    ahead = timezone.now() + timedelta(days=1)  # by a clock that was wrong
    ReadCount.objects.bulk_create(
        ReadCount(client_id=pk, reads=3, counted_since=ahead) for pk in range(1, 101)
    )
    rows = []

    def note_rows(execute, sql, params, many, context):
        done = execute(sql, params, many, context)
        rows.append(context["cursor"].rowcount)
        return done

    with connection.execute_wrapper(note_rows):
        found = count_aws_use_of_last_month()

    assert (found.reads, found.clients_read) == (300, 100)
    assert max(rows) == 1


@pytest.mark.usefixtures("two_clients")
def test_the_command_prints_all_of_it():
    found = run("--replica-regions", "1")

    assert (found["clients"], found["with_logins"], found["advice"]) == (3, 2, "keep")
    client, service = found["layouts"]
    assert (client["layout"], client["secrets"], client["replicas"]) == ("client", 2, 2)
    assert (service["layout"], service["secrets"], service["replicas"]) == ("service", 4, 4)
    assert client["dollars"]["total"] == 1.61
    assert client["in_use"]
    assert not service["in_use"]
    prices = {
        each["key"]: (each["dollars_least"], each["dollars_most"]) for each in found["alternatives"]
    }
    assert prices == {"novas_postgres": (0, 0), "railway": (7, 7), "vault": (50, 150)}
    assert found["prices"]["secret_a_month"] == 0.4
    assert found["prices"]["read"] == "2026-09-20"
    assert found["counted"]["calls"] == 0


@pytest.mark.usefixtures("two_clients")
def test_the_processes_of_nova_are_those_that_read_lately():
    assert run()["assumptions"]["processes"] == 1
    for number in range(3):
        make_reader_process(host=f"nova-{number}", last_read_at=timezone.now())

    assert run()["assumptions"]["processes"] == 3
    assert run("--processes", "7")["assumptions"]["processes"] == 7


@pytest.mark.usefixtures("two_clients")
def test_as_text_for_people():
    out = io.StringIO()

    call_command("cost_estimate", stdout=out)

    printed = out.getvalue()
    assert "client (in use): 2 secrets, 0 replicas" in printed
    assert "instead: HashiCorp Vault, run by yourself: $50 to $150 a month" in printed
    assert "the plan, for 3 clients: keep PostgreSQL" in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sweep-minutes", "0"),
        ("--cache-seconds", "-1"),
        ("--cache-seconds", "nan"),
        ("--cache-seconds", "inf"),
        ("--reads-a-day", "nan"),
        ("--processes", "0"),
        ("--replica-regions", "-1"),
        ("--replica-regions", "x"),
        ("--format", "yaml"),
    ],
)
def test_wrong_use_exits_with_2(db, arguments):
    with pytest.raises(CommandError) as error:
        call_command("cost_estimate", *arguments)

    assert error.value.returncode == 2


# --- The page


@pytest.fixture
def viewer(db, client):
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    return client


@pytest.mark.usefixtures("two_clients")
def test_a_viewer_sees_the_cost(viewer):
    response = viewer.get(PAGE)

    text = response.content.decode()
    assert [cost.secrets for cost in response.context["plan"].costs] == [2, 4]
    for said in (
        "HashiCorp Vault",
        "$50 to $150 a month",
        "For 3 active clients: keep PostgreSQL",
        "$1.61",
    ):
        assert said in text


@pytest.mark.usefixtures("two_clients")
def test_other_numbers_are_in_the_address(viewer):
    plan = viewer.get(PAGE, {"replica_regions": "2", "own_key": "on"}).context["plan"]

    assert [(cost.replicas, cost.keys) for cost in plan.costs] == [(4, 3), (8, 3)]


@pytest.mark.usefixtures("two_clients")
def test_each_field_says_what_it_is_if_it_stays_empty(viewer, settings):
    settings.NOVA_SWEEP_MINUTES, settings.NOVA_CACHE_SECONDS = 17, 41

    text = viewer.get(PAGE, {"sweep_minutes": "", "processes": "3"}).content.decode()

    for said in (
        "Empty: 17, as NOVA_SWEEP_MINUTES is set",
        "Empty: 41, as NOVA_CACHE_SECONDS is set",
        "Empty: 0, as NOVA_REPLICA_REGIONS is set",
        "Empty: as many as NOVA&#x27;s reader has counted",
        "Empty: 1, as many as read in the last hour",
        'placeholder="17"',
        "a comparison every 17 min",
    ):
        assert said in text


@pytest.mark.usefixtures("two_clients")
def test_reads_that_were_counted_for_some_hours_are_called_a_rough_guess(viewer, capsys):
    count_reads(Client.objects.earliest("pk").pk, reads=10)
    ReadCount.objects.update(counted_since=timezone.now() - timedelta(hours=3, minutes=10))

    assert "counted for 3 hours only" in viewer.get(PAGE).content.decode()
    assert "counted for" not in viewer.get(PAGE, {"reads_a_day": "5"}).content.decode()
    call_command("cost_estimate")
    assert "counted for 3 hours only" in capsys.readouterr().out
    assert run()["assumptions"]["reads_counted_hours"] == 3


@pytest.mark.parametrize("name", ["cost", "notices", "check_nova", "check_aws", "aws_writes"])
def test_a_page_of_the_site_stands_under_its_own_name_and_not_under_runs(client, db, name, stores):
    client.force_login(User.objects.create_superuser("root"))

    html = client.get(reverse(f"admin:migration_run_{name}")).content.decode()

    path = html[html.index("<h1") : html.index("</h1>")]
    title = html[html.index("<title>") + 7 : html.index("</title>")].split("|")[0]
    assert "Runs" not in path
    assert title.strip() in path


@pytest.mark.usefixtures("two_clients")
@pytest.mark.parametrize(
    "given",
    [
        {"sweep_minutes": "0"},
        {"sweep_minutes": "x"},
        {"cache_seconds": "nan"},
        {"cache_seconds": "inf"},
        {"processes": "9" * 5000},
        {"reads_a_day": "-1"},
    ],
)
def test_what_is_no_number_is_said_and_not_counted_with(viewer, given):
    response = viewer.get(PAGE, given)

    (name,) = given
    assert response.status_code == 200
    assert response.context["form"].errors.keys() == {name}
    assert 'role="alert"' in response.content.decode()
    assert [cost.secrets for cost in response.context["plan"].costs] == [2, 4]


def test_it_takes_no_more_statements_for_more_clients(viewer, django_assert_max_num_queries):
    make_many(50)

    with django_assert_max_num_queries(25):
        viewer.get(PAGE)


def test_nobody_without_a_role_sees_it(db, client):
    client.force_login(make_user("new"))

    assert client.get(PAGE).status_code == 403
