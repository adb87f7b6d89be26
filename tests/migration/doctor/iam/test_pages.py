"""The pages: what AWS permits with the policies, and who read a client's secrets."""

import json
import re

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from migration.core.problems import Look, list_results
from migration.models import ReadCount, Reveal, Secret
from migration.pushes.pushes import push
from tests.factories import make_client, make_full_client, make_user

PAGE = reverse("admin:migration_run_check_aws")


@pytest.fixture
def as_role(stores, client):
    def as_role(role: str):
        user = make_user(role.lower())
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return as_role


def policies_on(response) -> dict[str, dict]:
    return {policy["role"]: json.loads(policy["text"]) for policy in response.context["policies"]}


def test_a_viewer_sees_the_policies_and_asks_nothing(as_role, aws):
    push(client_ids=[make_full_client("idom")])
    viewer = as_role("Viewer")
    before = aws.conditions.report()["calls"]

    response = viewer.get(PAGE)

    assert policies_on(response).keys() == {"reader", "admin", "rotation"}
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nova/clients/*"
    assert policies_on(response)["reader"]["Statement"][0]["Resource"] == [arn]
    assert b"Check permissions</" not in response.content
    assert aws.conditions.report()["calls"] == before
    assert viewer.post(PAGE).status_code == 403


def test_before_the_first_push_the_account_is_asked_for(as_role):
    operator = as_role("Operator")

    response = operator.get(PAGE)

    assert policies_on(response) == {}
    assert "The AWS account is not known yet" in response.content.decode()
    named = operator.get(PAGE, {"account": "210987654321"})
    assert ":210987654321:" in str(policies_on(named)["reader"])
    wrong = operator.get(PAGE, {"account": "<b>12"})
    assert "An AWS account has 12 digits" in wrong.content.decode()
    assert "<b>12" not in wrong.content.decode()


def test_an_operator_has_aws_asked(as_role):
    push(client_ids=[make_full_client("idom")])

    response = as_role("Operator").post(PAGE)

    states = {each.permission.action: each.state.value for each in response.context["findings"]}
    assert states["secretsmanager:PutSecretValue"] == "ok"
    # Health tells the same from now on.
    (newest,) = list_results(Look(), anew=(), only=["aws_permissions"])
    assert newest.findings == response.context["newest"].findings
    assert newest.state == "ok"


# --- Who read them


def reads_page(pk: int) -> str:
    return reverse("admin:credentials_client_aws_reads", args=[pk])


def test_the_queries_name_the_clients_secrets_and_the_readers_that_are_known(as_role):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    arn = Secret.objects.get().arn

    found = as_role("Viewer").get(reads_page(pk)).context["found"]

    assert "contains(CloudTrailEvent, '\"'\"'nova/clients/idom'\"'\"')" in found["command"]
    named = re.findall(r"'([^']+)'", found["sql"].partition(" IN (")[2])
    assert named == sorted(["nova/clients/idom", arn, arn[:-7]])


def test_unknown_readers_are_those_that_name_themselves_otherwise(as_role):
    strangers = as_role("Viewer").get(reads_page(make_client("idom"))).context["strangers"]

    assert "NOT LIKE '% nova-admin%'" in strangers
    assert "NOT LIKE '% nova-reader%'" in strangers
    assert "LIKE '%nova/clients/%'" in strangers


def test_what_is_on_record_here_stands_beside_it(as_role):
    pk = make_full_client("idom")
    viewer = as_role("Viewer")
    assert "None." in viewer.get(reads_page(pk)).content.decode()
    Reveal.objects.create(
        client_id=pk, slug="idom", kind="database", credential_id=1, field="db_password",
        username="maria", reason="INC-42",
    )  # fmt: skip
    ReadCount.objects.create(client_id=pk, reads=41, last_read_at=timezone.now())

    text = viewer.get(reads_page(pk)).content.decode()

    assert "maria" in text
    assert "INC-42" in text
    assert "41 reads" in text
    assert "auditevent" not in text  # a viewer may not see the audit


def test_a_client_without_a_legal_name_has_no_query(stores, client):
    client.force_login(User.objects.create_superuser("root"))
    pk = make_client('it\'s "one" ñ')

    response = client.get(reads_page(pk))

    assert response.context["found"] is None
    assert "so AWS has none of it" in response.content.decode()
    assert "FROM EVENT_DATA_STORE_ID" not in response.content.decode()


def test_the_page_is_found_from_the_clients_secrets(as_role):
    pk = make_full_client("idom")

    url = reverse("admin:credentials_client_change", args=[pk])
    page = as_role("Viewer").get(url, {"tab": "comparison"})

    assert reads_page(pk) in page.content.decode()
