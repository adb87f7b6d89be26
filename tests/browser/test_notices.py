"""Recipients of notices: added, tested and removed by keyboard on a telephone."""

import pytest
from playwright.sync_api import expect

from migration.models import NoticeRecipient
from nova_admin.environment import NotifySettings
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, fits, press
from tests.migration.site.notices.sinks import WebhookSink, opened

pytestmark = pytest.mark.browser


@pytest.fixture
def logins_stay_here():
    """They do: the sink is on the loopback."""


def test_a_webhook_is_added_tested_and_removed(visit, stores, settings):
    settings.NOVA_NOTIFY = NotifySettings(loopback_allowed=True)
    with opened(WebhookSink()) as sink:
        page = visit("/admin/migration/run/notices/", viewport=TELEPHONE)
        field = page.get_by_label("Email address or webhook")

        field.fill("http://hooks.example.com/example-secret-path")
        assert "secret-path" not in page.evaluate("JSON.stringify(sessionStorage)")
        press(page.get_by_role("button", name="Add recipient"))
        expect(page.get_by_role("alert")).to_be_visible()
        expect(field).to_have_value("")
        assert fits(page)

        field.fill(sink.url)
        press(page.get_by_role("button", name="Add recipient"))
        row = page.get_by_role("row").filter(has_text="127.0.0.1")
        expect(row).to_be_visible()
        assert "example-secret-path" not in page.content()

        press(row.get_by_role("button", name="Send a test"))
        expect(row.get_by_text("Test sent")).to_be_visible()
        assert len(sink.taken) == 1
        assert (violations(page), fits(page)) == ([], True)

        press(row.get_by_role("link", name="Remove…"))
        assert NoticeRecipient.objects.count() == 1, "its page asks first"
        assert (violations(page), fits(page)) == ([], True)
        press(page.get_by_role("button", name="Remove recipient"))
        expect(page.get_by_text("No recipients yet.")).to_be_visible()
        assert not NoticeRecipient.objects.exists()
