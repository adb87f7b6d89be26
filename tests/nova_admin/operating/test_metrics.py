"""What Prometheus is told: by a token alone, in a fixed number of queries, and never a client's name."""

from datetime import timedelta
from platform import python_version

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from credentials.models import ClientRevision, DatabaseCredential
from migration.core.aws_store import call_counter
from migration.core.clients import all_clients
from migration.core.problems import PROBLEMS, Finder, ProblemRecord, Result, report_ok
from migration.models import ClientMigration, KeptCounts, Worker
from migration.runs.models import Run
from migration.site.client_problems import ALL_AGREE
from nova_credentials import VERSION
from tests.bulk_data import make_crowd
from tests.factories import (
    make_client,
    make_database,
    make_many,
    make_reader_process,
    start_run,
    update,
)
from tests.nova_admin.operating.conftest import TOKEN

QUERIES = 23


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Each metric's values by the values of its labels, as Prometheus itself reads them."""
    return {
        sample.name: {
            tuple(s.labels.values()): s.value for s in family.samples if s.name == sample.name
        }
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_without_a_token_in_the_settings_there_is_no_such_page(client, settings, db):
    settings.NOVA_METRICS_TOKEN = ""

    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
        assert client.get("/metrics", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "sent",
    ["", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer ñ"],
    # The token is another one in each process of a test run.
    ids=["nothing", "bare", "basic", "shorter", "longer", "no ASCII"],
)
def test_who_has_not_the_token_is_told_what_is_told_of_an_address_that_is_not_there(
    client, settings, sent
):
    settings.NOVA_METRICS_TOKEN = TOKEN

    answer = client.get("/metrics", headers={"authorization": sent})

    assert answer.status_code == 404
    assert "This page does not exist" in answer.content.decode()
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("clients", [0, 50, pytest.param(2_000, marks=pytest.mark.nightly)])
def test_any_number_of_clients_costs_as_many_queries_and_has_as_many_lines(stores, scrape, clients):
    if clients:
        make_crowd(clients, comparisons_each=2)
    with CaptureQueriesContext(connection) as captured:
        text = scrape()

    assert len(captured) == QUERIES
    assert len(text.splitlines()) < 110 + len(PROBLEMS)


def test_no_client_is_named(stores, scrape):
    make_crowd(50, comparisons_each=2)
    start_run(kind=Run.Kind.COMPARE, chosen=all_clients())

    text = scrape()

    assert 'nova_clients{phase="aws"}' in text
    assert "crowd" not in text.lower()
    assert "example" not in text


def test_the_numbers_are_those_of_the_database(stores, scrape):
    Worker.objects.record_heartbeat("host:1")
    Worker.objects.create(name="host:2", seen_at=timezone.now() - timedelta(hours=1))
    make_reader_process()
    make_crowd(50, comparisons_each=2)
    run = start_run(kind=Run.Kind.COMPARE, chosen=all_clients())
    Run.objects.filter(pk=run.pk).update(worked_at=timezone.now() - timedelta(minutes=5))

    found = read(scrape())

    assert sum(found["nova_clients"].values()) == 50
    assert found["nova_clients_compared"][("mismatch",)] == 25
    assert found["nova_mismatches"][()] == 50
    assert found["nova_readers"][()] == 1
    assert found["nova_reads_total"][("match",)] == 600
    assert found["nova_runs"][("compare", "running")] == 1
    assert found["nova_run_clients"][("compare", "open")] == 50
    assert found["nova_runs_idle_seconds"][()] == pytest.approx(300, abs=30)
    assert found["nova_workers"][()] == 1
    assert found["nova_queue_tasks"][()] == 1
    assert found["nova_aws_writes_allowed"][()] == 1
    assert found["nova_writes_counted"][()] == 1


def test_the_age_of_a_push_is_that_of_the_oldest_write_that_can_be_pushed(stores, scrape):
    assert read(scrape())["nova_pushes_oldest_seconds"][()] == 0
    for slug, minutes in (("new", 1), ("old", 20)):
        pk = make_client(slug)
        ClientMigration.objects.create(client_id=pk, phase="dual_write")
        make_database(pk)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE nova_admin.credentials_clientwrite SET written_at = %s WHERE client_id = %s",
                [timezone.now() - timedelta(minutes=minutes), pk],
            )
    before = read(scrape())
    ClientRevision.objects.fold_writes()

    after = read(scrape())

    for found in (before, after):
        assert found["nova_pushes_pending"][()] == 2
        assert found["nova_pushes_oldest_seconds"][()] == pytest.approx(20 * 60, abs=30)
    # One that was refused waits for a correction: an alert of its own says so.
    old = ClientRevision.objects.get(client__slug="old")
    ClientMigration.objects.filter(client_id=old.pk).update(refused_revision=old.revision)
    found = read(scrape())
    assert (found["nova_pushes_refused"][()], found["nova_pushes_pending"][()]) == (1, 1)
    assert found["nova_pushes_oldest_seconds"][()] == pytest.approx(60, abs=30)
    call_command("push_pending", inline=True)
    assert read(scrape())["nova_pushes_oldest_seconds"][()] == 0


def test_problems_are_counted_by_code_and_what_nobody_has_looked_for_has_no_sample(stores, scrape):
    make_many(3, status="unchecked")
    found = read(scrape())["nova_problems"]

    assert (found[("unchecked",)], found[("mismatches",)]) == (3, 0)
    stored = {(code,) for code, each in PROBLEMS.items() if each.found_by != Finder.PAGE}
    assert not stored & found.keys()
    for code in stored:
        ProblemRecord.objects.store(Result(PROBLEMS[code[0]], (report_ok(ALL_AGREE()),), None))
    found = read(scrape())["nova_problems"]
    assert {found[code] for code in stored} <= {0}


def test_the_release_is_told(stores, scrape):
    assert read(scrape())["nova_build_info"] == {(python_version(), VERSION): 1}


def test_a_stop_of_writes_shows(stores, scrape):
    call_command("aws_writes", "stop", "--reason", "INC-42")

    assert read(scrape())["nova_aws_writes_allowed"][()] == 0


def test_calls_to_aws_are_counted_by_operation_and_outcome_over_all_processes(stores, scrape):
    KeptCounts.objects.add_counts(
        connection, KeptCounts.AWS_CALLS, {"CreateSecret ok": 5, "GetSecretValue throttled": 1}
    )
    make_many(1)
    update("client_database_credentials", DatabaseCredential.objects.get().pk, db_port=1)
    call_command("push_pending", inline=True)
    call_counter().store()

    found = read(scrape())["nova_aws_calls_total"]

    assert found[("CreateSecret", "ok")] == 6
    assert found[("GetSecretValue", "throttled")] == 1
    assert found[("BatchGetSecretValue", "ok")] >= 1


def test_a_database_that_is_away_is_no_half_answer(client, settings, monkeypatch, db):
    settings.NOVA_METRICS_TOKEN = TOKEN
    from django.db import OperationalError

    from nova_admin import operating

    def fail():
        raise OperationalError

    monkeypatch.setattr(operating, "load_site_numbers", fail)

    answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})

    assert (answer.status_code, answer.content) == (503, b"")
