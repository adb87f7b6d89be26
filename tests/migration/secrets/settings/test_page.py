"""The page says beforehand what a run would do, and starts it; a client's page and check_nova say what differs."""

from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from migration import tasks
from migration.core import aws_store
from migration.core.pages import get_act_url
from migration.models import Secret
from migration.pushes.pushes import push
from migration.runs.models import Run
from migration.secrets.layouts import follow_new_slugs
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.moves.clients import NAME, enter_phase_together
from tests.migration.secrets.settings.findings import find_states

pytestmark = pytest.mark.usefixtures("stores")

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
PAGE = reverse("admin:migration_run_secret_settings")


@pytest.fixture
def clients() -> list[int]:
    pks = [make_full_client(slug) for slug in ("acme", "idom")]
    enter_phase_together(pks, Phase.DUAL_READ)
    return pks


@pytest.fixture
def operator(client):
    permissions = ("migration.add_run", "migration.view_run", "credentials.view_client")
    client.force_login(make_user("ada", *permissions))
    return client


def open_act(browser):
    """The page of the act over the clients that the page of key and regions names."""
    page = browser.get(PAGE)
    return browser.post(page.context["act_url"], {"clients": page.context["ids"]})


def apply(browser, act, **options):
    sent = {"confirmed": "1", "clients": act.context["shown"]}
    return browser.post(act.request["PATH_INFO"], sent, **options)


def findings() -> list[str]:
    return find_states()


def test_it_says_what_will_be_made_and_removed_then_a_run_does_it(operator, clients, settings):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-3": ""}
    tasks.describe_secrets()
    apply(operator, open_act(operator))
    tasks.work_on_run(Run.objects.get().pk)
    settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = KEY, {"eu-west-1": "alias/nova"}

    shown = operator.get(PAGE).content.decode()

    assert "2 secrets get the KMS key of the settings." in shown
    assert "2 replicas are created in eu-west-1." in shown
    assert "2 replicas in eu-west-3." in shown
    assert "a month more" not in shown  # as many go as come
    assert "First give NOVA" in shown
    assert findings() == ["failed"]
    assert "Apply to 2 clients…" in shown

    act = open_act(operator)
    assert act.context["number"] == 2
    assert "2 replicas are created in eu-west-1." in act.context["sums"]
    assert Run.objects.count() == 1
    said = apply(operator, act, follow=True).content.decode()
    run = Run.objects.latest("pk")
    assert f"Key and regions {run.pk}" in said
    tasks.work_on_run(run.pk)

    assert set(run.items.values_list("outcome", flat=True)) == {"updated"}
    there = aws_store.secrets_manager().describe_secret(NAME)
    assert (there.kms_key, [each.region for each in there.replicas]) == (KEY, ["eu-west-1"])
    assert "No secret differs from the settings." in operator.get(PAGE).content.decode()
    assert findings() == ["ok"]
    apply(operator, act)
    assert Run.objects.count() == 2


def test_what_was_not_looked_at_is_part_of_the_run_and_called_so_after_a_while(operator, clients):
    shown = operator.get(PAGE).content.decode()

    assert "2 secrets are not checked yet" in shown
    assert "Apply to 2 clients" in shown
    assert findings() == ["ok"]
    Secret.objects.update(seen_at=timezone.now() - timedelta(hours=3))
    assert findings() == ["not_looked_at"]


def test_a_secret_that_moved_to_another_slug_is_no_longer_counted_under_the_former(
    operator, clients, settings
):
    tasks.describe_secrets()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.clients SET slug = 'renamed' WHERE slug = 'idom'")
    settings.NOVA_KMS_KEY_ID = KEY

    assert "nova/clients/idom" in operator.get(PAGE).content.decode()
    follow_new_slugs(seconds=60)
    tasks.describe_secrets()

    assert "nova/clients/idom" not in operator.get(PAGE).content.decode()


def test_what_a_replica_costs_stands_before_the_button(operator, clients, settings):
    settings.NOVA_REPLICA_REGIONS = {"eu-west-3": ""}
    tasks.describe_secrets()

    assert "$0.80 a month more, for replicas." in open_act(operator).context["sums"]


def test_who_opened_it_before_a_restart_with_other_settings_starts_nothing(
    operator, clients, settings
):
    before = open_act(operator)
    settings.NOVA_REPLICA_REGIONS = {}

    apply(operator, before)

    assert not Run.objects.exists()


def test_of_the_selected_clients_those_that_are_as_they_should_be_have_nothing_to_do(
    operator, clients, settings
):
    tasks.describe_secrets()

    page = operator.get(get_act_url("secret_settings", clients))

    numbers = {each["verdict"]: each["number"] for each in page.context["groups"]}
    assert numbers == {"will": 0, "nothing": 2}


def test_who_may_only_view_sees_it_and_starts_nothing(client, clients):
    client.force_login(make_user("viewer", "migration.view_run", "credentials.view_client"))

    shown = client.get(PAGE)

    assert "Apply to" not in shown.content.decode()
    sent = {"clients": shown.context["ids"]}
    assert client.post(shown.context["act_url"], sent).status_code == 403
    client.force_login(make_user("nobody"))
    assert client.get(PAGE).status_code == 403


def test_a_clients_page_shows_its_key_its_replicas_and_what_differs(operator, clients, settings):
    settings.NOVA_KMS_KEY_ID = KEY
    page = reverse("admin:credentials_client_versions", args=[clients[1]])

    shown = operator.get(page).content.decode()

    assert f"Its KMS key is alias/aws/secretsmanager, and should be {KEY}." in shown
    assert PAGE in shown
    (pushed,) = push(client_ids=[make_full_client("new")])
    assert pushed.outcome == "created"
    new = reverse("admin:credentials_client_versions", args=[pushed.client_id])
    shown = operator.get(new).content.decode()
    assert f"<code>{KEY}</code>" in shown
    assert "Differs" not in shown


@pytest.mark.parametrize("number", [1, 50])
def test_the_page_asks_as_often_for_many_clients_as_for_one(
    operator, number, django_assert_max_num_queries
):
    for n in range(number):
        pk = make_full_client(f"client-{n}")
        Secret.objects.create(
            name=f"nova/clients/client-{n}", client_id=pk, arn="x", version_id="v"
        )

    with django_assert_max_num_queries(12):
        operator.get(PAGE)
