"""Pages and commands about permissions in AWS, the cost and CloudTrail, with unmistakable passwords in both stores."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from migration import tasks
from migration.core.aws_store import secrets_manager
from migration.core.pages import get_act_url
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.haystack import Haystack, everything_logged
from tests.migration.moves.clients import enter_phase
from tests.test_no_secret_escapes import add_pickles, add_tables, command, page, seed


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


def test_neither_checking_aws_nor_the_cost_nor_keys_show_or_keep_a_value(browser, settings):
    pk, haystack = seed(), Haystack()
    enter_phase(pk, Phase.AWS)
    with everything_logged(haystack):
        for arguments in (("check_aws",), ("iam_policy", "admin"), ("cost_estimate",)):
            command(haystack, *arguments)
            command(haystack, *arguments, "--format", "json")
        command(haystack, "iam_policy", "reader", "--format", "terraform")
        command(haystack, "apply_secret_settings", "--all", "--check")
        settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = "alias/nova", {"eu-west-1": ""}
        tasks.describe_secrets()
        place = reverse("admin:migration_run_secret_settings")
        page(haystack, browser, place)
        url = get_act_url("secret_settings", [pk])
        seen = browser.get(url).context["shown"]
        page(haystack, browser, url, {"confirmed": "1", "clients": seen})
        tasks.work_on_run(Run.objects.get(kind=Run.Kind.SECRET_SETTINGS).pk)
        page(haystack, browser, reverse("admin:credentials_client_versions", args=[pk]))
        checked = reverse("admin:migration_run_check_aws")
        page(haystack, browser, checked), page(haystack, browser, checked, {})
        page(haystack, browser, reverse("admin:credentials_client_aws_reads", args=[pk]))
    add_tables(haystack), add_pickles(haystack)

    assert haystack.found() == []
    # It did ask, and what it does is not left alone.
    assert "Allowed. For" in haystack.text("output of check_aws")
    assert "Allowed" in haystack.text(f"page {checked}")
    assert "ReadSecrets" in haystack.text("output of iam_policy")
    assert "Its KMS key is alias/aws/secretsmanager" in haystack.text(f"page {place}")
    assert secrets_manager().describe_secret("nova/clients/idom").kms_key == "alias/nova"
    assert "$" in haystack.text("output of cost_estimate")
    assert not [place for place in haystack.pieces if place.startswith("exception")]
