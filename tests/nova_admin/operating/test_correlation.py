"""One name leads from a request to its tasks and to their calls of AWS."""

import json
import logging
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from credentials.models import Client
from migration.core.correlation import correlating, current_correlation, read_or_make_correlation
from migration.models import AuditEvent
from nova_admin.trusted_proxies import TrustedProxies
from nova_credentials.aws.context_threads import ContextThreads
from tests.factories import make_client, make_database
from tests.haystack import at_levels
from tests.migration.pages import act_page
from tests.nova_admin.operating.watched import run_queued_tasks, written_log

NAME = "6f1c2c9e-5f0e-4b43-9d58-6d0d5b8b3e11"
CALLS = "migration.core.aws_store"


@pytest.fixture
def behind_proxy(settings) -> None:
    settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse("127.0.0.1")


@pytest.mark.parametrize("sent", [NAME, NAME.upper(), NAME.replace("-", "")])
def test_a_request_has_the_name_that_a_trusted_proxy_gave_it(client, behind_proxy, sent):
    assert client.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"] == NAME


@pytest.mark.parametrize(
    "sent",
    ["", "1", "MARKER-ONE", f"{{{NAME}}}", f"urn:uuid:{NAME}", f"{NAME}\n", f"{NAME}0", "-" * 36],
)
def test_what_is_no_uuid_is_never_repeated(client, behind_proxy, sent):
    first, second = (
        client.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"] for _ in range(2)
    )

    assert first != second
    assert str(UUID(first)) == first


def test_nobody_else_names_a_request(client):
    """The audit's entries bear the name: who could choose it could put an act beside another's."""
    assert client.get("/healthz", headers={"X-Request-ID": NAME})["X-Request-ID"] != NAME


def test_a_name_ends_with_its_request(client, behind_proxy):
    client.get("/healthz", headers={"X-Request-ID": NAME})

    assert current_correlation() == ""


def test_the_audit_bears_the_name_of_the_request(client, behind_proxy, stores):
    client.force_login(User.objects.create_superuser("root"))

    url = reverse("admin:migration_run_stop_writes")
    client.post(url, {"reason": "INC-42"}, headers={"X-Request-ID": NAME})

    assert AuditEvent.objects.filter(correlation=NAME).exists()


def test_a_request_leads_to_its_tasks_and_to_the_calls_that_they_make(client, behind_proxy, stores):
    client.force_login(User.objects.create_superuser("root"))
    for slug in ("one", "two"):
        make_database(make_client(slug))
    chosen = list(Client.objects.values_list("pk", flat=True))
    sent = {"action": "compare_selected", "_selected_action": chosen}
    address = reverse("admin:credentials_client_changelist")
    push = act_page("push", *chosen)
    shown = {"confirmed": "1", "clients": client.get(push).context["shown"]}

    with written_log() as (_lines, objects), at_levels({CALLS: logging.DEBUG}):
        client.post(push, shown, headers={"X-Request-ID": NAME})
        client.post(address, sent, headers={"X-Request-ID": NAME})
        run_queued_tasks()

    entries = [json.loads(line) for line in objects.getvalue().splitlines()]
    calls = [entry for entry in entries if entry["logger"] == CALLS]
    operations = {entry["message"].split()[1].rstrip(",") for entry in calls}
    assert {"CreateSecret", "BatchGetSecretValue"} <= operations
    assert {entry.get("correlation") for entry in calls} == {NAME}
    # By AWS's own name of the call, CloudTrail has it too.
    assert all(UUID(entry["message"].split("request ")[1]) for entry in calls)


def test_threads_work_under_the_name_of_who_began_them():
    with ContextThreads(4) as threads:
        with correlating(NAME):
            inside = list(threads.map(lambda _: current_correlation(), range(20)))
        outside = list(threads.map(lambda _: current_correlation(), range(20)))

    assert inside == [NAME] * 20
    assert outside == [""] * 20


def test_a_name_of_somebody_else_is_read_or_replaced():
    assert read_or_make_correlation(NAME.replace("-", "")) == NAME
    assert read_or_make_correlation(None) != read_or_make_correlation(None)
