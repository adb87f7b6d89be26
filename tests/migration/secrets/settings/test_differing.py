"""The clients whose secrets differ: their number on the dashboard, the list it leads to, the notice, check_nova."""

import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from migration import tasks
from migration.core import aws_store
from migration.core.clients import VIEW_CHECKS, VIEW_RUNS, all_clients
from migration.core.notices import NoticeEvent
from migration.core.problems import Look, ProblemRecord, list_results
from migration.models import AuditEvent, RunItem, Secret
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.engine import ItemFailedError
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.settings import apply_settings, describe_settings
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_in_role, make_user
from tests.migration.moves.clients import NAME, enter_phase_together
from tests.migration.secrets.settings.findings import find_states
from tests.migration.site.notices.test_events import told
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
CLIENTS = reverse("admin:credentials_client_changelist")
PAGE = reverse("admin:migration_run_secret_settings")


@pytest.fixture
def clients() -> dict[str, int]:
    pks = {slug: make_full_client(slug) for slug in ("acme", "idom", "other")}
    enter_phase_together([*pks.values()], Phase.DUAL_READ)
    return pks


@pytest.fixture
def viewer(client):
    client.force_login(make_in_role("vera", "Viewer"))
    return client


def listed(browser) -> set[str]:
    with pages_left_out():
        rows = browser.get(f"{CLIENTS}?settings=differ").context_data["cl"].result_list
    return {row.slug for row in rows}


def counted() -> list[int]:
    (found,) = list_results(Look(), only=["secrets_differ"])
    assert all("?settings=differ" in each.url for each in found.failed)
    return [each.count for each in found.failed]


def start() -> Run:
    return Run.start(
        kind=Run.Kind.SECRET_SETTINGS,
        chosen=all_clients(),
        tries=60,
        secret_settings=describe_settings(),
    )


def test_the_dashboards_number_leads_to_exactly_these_clients(clients, settings, viewer):
    tasks.describe_secrets()
    assert (counted(), listed(viewer)) == ([], set())
    settings.NOVA_KMS_KEY_ID = KEY
    apply_settings(client_id=clients["acme"], wanted=describe_settings())
    before = newest_look()

    tasks.describe_secrets()  # after a restart with other settings: what is kept is compared anew

    assert newest_look() == before
    assert (counted(), listed(viewer)) == ([2], {"idom", "other"})
    shown = viewer.get(reverse("admin:index")).content.decode()
    assert "clients have secrets whose tags, description, KMS key or replicas" in shown
    page = viewer.get(f"{CLIENTS}?settings=differ").content.decode()
    assert "Differ from the settings" in page
    # Somebody does one by hand, and NOVA renames and deletes the others.
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.clients SET slug = 'renamed' WHERE slug = 'idom'")
    assert (counted(), listed(viewer)) == ([2], {"renamed", "other"})
    assert apply_settings(client_id=clients["idom"], wanted=describe_settings())[0] == "updated"
    assert (counted(), listed(viewer)) == ([1], {"other"})
    apply_settings(client_id=clients["other"], wanted=describe_settings())
    assert (counted(), listed(viewer)) == ([], set())


def test_who_may_not_list_clients_is_led_to_the_page_of_keys_and_regions_alone(
    clients, settings, client
):
    tasks.describe_secrets()
    settings.NOVA_KMS_KEY_ID = KEY
    tasks.describe_secrets()
    client.force_login(make_user("narrow", VIEW_CHECKS, VIEW_RUNS))

    lines = client.get(reverse("admin:index")).context["attention"]
    (line,) = [line for line in lines if line.code == "secrets_differ"]
    opened = client.get(reverse("admin:migration_run_health")).context["open"]
    (button,) = [action for found, action, *_ in opened if found.problem.code == "secrets_differ"]

    assert line.url == ""
    assert line.action.url == PAGE
    assert button.url == PAGE


def newest_look() -> datetime:
    return Secret.objects.latest("described_at").described_at


def look() -> None:
    """Look as the workers do a minute later."""
    ProblemRecord.objects.update(looked_at=None)
    tasks.send_notices()


def test_what_differs_is_told_once_and_that_it_is_over(clients, settings):
    tasks.describe_secrets()
    settings.NOVA_KMS_KEY_ID = KEY
    for _again in range(2):
        tasks.describe_secrets()
        look()
    (text,) = told(NoticeEvent.SETTINGS_DIFFER)
    assert text.startswith("3 clients have secrets whose tags, description, KMS key or replicas")

    engine.work_on_run(run_id=start().pk)
    look()

    assert told(NoticeEvent.SETTINGS_DIFFER)[1].startswith("This is over")
    assert find_states() == ["ok"]


def test_a_failure_is_over_once_the_settings_are_what_they_were(clients, settings, aws):
    tasks.describe_secrets()
    settings.NOVA_KMS_KEY_ID = KEY
    rule = FaultRule(fault=Fault.KMS, operations=("UpdateSecret",))
    aws.conditions.set(Conditions(faults=(rule,)))
    run = start()
    Run.objects.update(tries=1)
    engine.work_on_run(run_id=run.pk)
    aws.conditions.clear()
    failed = RunItem.objects.needing_attention()
    assert failed.count() == 3
    settings.NOVA_KMS_KEY_ID = ""
    tasks.describe_secrets()
    assert failed.count() == 3  # nobody has looked since

    Secret.objects.update(described_at=timezone.now() - timedelta(days=2))
    tasks.describe_secrets()
    assert failed.count() == 3  # nor read
    compare(client_ids=list(clients.values()))

    assert failed.count() == 0


def test_a_failure_stays_for_as_long_as_a_secret_differs(clients, settings, aws):
    settings.NOVA_KMS_KEY_ID = KEY
    rule = FaultRule(fault=Fault.KMS, operations=("UpdateSecret",))
    aws.conditions.set(Conditions(faults=(rule,)))
    run = start()
    Run.objects.update(tries=1)
    engine.work_on_run(run_id=run.pk)
    aws.conditions.clear()
    Secret.objects.update(described_at=None)
    tasks.describe_secrets()
    compare(client_ids=list(clients.values()))

    assert RunItem.objects.needing_attention().count() == 3
    engine.work_on_run(run_id=start().pk)
    assert not RunItem.objects.needing_attention().exists()


def test_two_runs_of_the_same_clients_at_once_end_in_the_same(clients, settings):
    settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = KEY, {"eu-west-1": ""}
    started = [start(), start()]

    def work(run: Run) -> None:
        engine.work_on_run(run_id=run.pk)
        connection.close()

    threads = [threading.Thread(target=work, args=(run,)) for run in started]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    outcomes = RunItem.objects.values_list("outcome", flat=True)
    assert sorted(outcomes) == ["unchanged"] * 3 + ["updated"] * 3
    assert AuditEvent.objects.filter(code="secret_settings").count() == 3
    assert [r.region for r in aws_store.secrets_manager().describe_secret(NAME).replicas] == [
        "eu-west-1"
    ]


def test_the_audit_learns_at_the_next_try_what_aws_took_without_an_answer(clients, settings, aws):
    settings.NOVA_KMS_KEY_ID = KEY
    for slug, fault, then in (
        ("idom", Fault.LOST, Outcome.UNCHANGED),
        ("acme", Fault.DENIED, Outcome.UPDATED),
        ("other", Fault.KMS, Outcome.UPDATED),
    ):
        rule = FaultRule(fault=fault, operations=("UpdateSecret",))
        aws.conditions.set(Conditions(faults=(rule,)))
        with pytest.raises(ItemFailedError):
            apply_settings(client_id=clients[slug], wanted=describe_settings())
        aws.conditions.clear()
        entries = AuditEvent.objects.filter(code="secret_settings", slug=slug)
        assert not entries.exists()

        assert apply_settings(client_id=clients[slug], wanted=describe_settings())[0] == then

        (entry,) = entries
        assert KEY in str(entry.message)
        assert not Secret.objects.exclude(begun=None).exists()


def test_a_viewer_sees_who_differs_and_starts_and_retries_nothing(clients, settings, viewer):
    run = start()
    Run.objects.update(state=Run.State.PAUSED)
    assert viewer.get(reverse("admin:migration_run_secret_settings")).status_code == 200
    for act in ("resume", "stop", "retry"):
        address = reverse("admin:migration_run_steer", args=[run.pk])
        assert viewer.post(address, {"act": act}).status_code == 403
    assert Run.objects.get().state == Run.State.PAUSED
