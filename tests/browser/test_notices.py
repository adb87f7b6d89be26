"""Recipients of notices: added, tested and removed by keyboard on a telephone; and without scripts."""

import pytest
from playwright.sync_api import expect

from migration.models import NoticeRecipient
from nova_admin.environment import NotifySettings
from tests.browser.axe import violations
from tests.browser.keyboard import TELEPHONE, WIDTH, fits, press
from tests.migration.site.notices.sinks import WebhookSink, opened

pytestmark = pytest.mark.browser


@pytest.fixture
def logins_stay_here():
    """They do: the sink is on the loopback."""


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": TELEPHONE},
        {"viewport": WIDTH, "java_script_enabled": False},
    ],
    ids=["on a telephone", "without scripts"],
)
def test_a_webhook_is_added_tested_and_removed(visit, stores, settings, options):
    settings.NOVA_NOTIFY = NotifySettings(loopback_allowed=True)
    has_scripts = options.get("java_script_enabled", True)
    with opened(WebhookSink()) as sink:
        page = visit("/admin/migration/run/notices/", **options)
        field = page.get_by_label("Email address or webhook")

        field.fill("http://hooks.example.com/example-secret-path")
        if has_scripts:
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
        if has_scripts:
            assert (violations(page), fits(page)) == ([], True)

        press(row.get_by_role("link", name="Remove…"))
        assert NoticeRecipient.objects.count() == 1, "its page asks first"
        if has_scripts:
            assert (violations(page), fits(page)) == ([], True)
        press(page.get_by_role("button", name="Remove recipient"))
        expect(page.get_by_text("No recipients yet.")).to_be_visible()
        assert not NoticeRecipient.objects.exists()
