"""The key and the regions of secrets: what a run will do is read first, wide; then it does it."""

import pytest
from playwright.sync_api import expect

from migration import tasks
from migration.core.aws_store import secrets_manager
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.browser.axe import violations
from tests.browser.keyboard import WIDTH, fits, press
from tests.factories import make_full_client
from tests.migration.moves.clients import NAME, enter_phase_together

pytestmark = pytest.mark.browser

KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_what_a_run_will_do_is_read_and_then_it_does_it(visit, stores, settings):
    pks = [make_full_client(slug) for slug in ("acme", "idom")]
    enter_phase_together(pks, Phase.AWS)
    settings.NOVA_KMS_KEY_ID = KEY
    settings.NOVA_REPLICA_REGIONS = {"eu-west-1": "alias/nova"}
    tasks.describe_secrets()
    page = visit("/admin/migration/run/settings/", viewport=WIDTH)

    press(page.get_by_role("link", name="Key and regions").last)
    expect(page.get_by_text("2 secrets get the KMS key of the settings.")).to_be_visible()
    expect(page.get_by_text("2 replicas are created in eu-west-1.")).to_be_visible()
    expect(page.get_by_text("$0.80 a month more, for replicas.")).to_be_visible()
    expect(page.get_by_text("Its KMS key is alias/aws/secretsmanager").first).to_be_visible()
    assert (violations(page), fits(page)) == ([], True)
    press(page.get_by_role("button", name="Apply to 2 clients…"))
    assert not Run.objects.exists(), "its page says first what would be done"
    assert (violations(page), fits(page)) == ([], True)
    press(page.get_by_role("button", name="Apply to 2 clients", exact=True))

    run = Run.objects.get()
    expect(page.get_by_role("heading", name=f"Key and regions {run.pk}").first).to_be_visible()
    tasks.work_on_run(run.pk)
    page.reload()
    expect(page.get_by_text("2 of 2").filter(visible=True).first).to_be_visible()
    assert (violations(page), fits(page)) == ([], True)
    there = secrets_manager().describe_secret(NAME)
    assert (there.kms_key, [each.region for each in there.replicas]) == (KEY, ["eu-west-1"])
    page.goto(page.url.partition("/admin/")[0] + f"/admin/credentials/client/{pks[1]}/versions/")
    expect(page.get_by_text("eu-west-1").first).to_be_visible()
    assert (violations(page), fits(page)) == ([], True)
