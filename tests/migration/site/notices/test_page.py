"""The page of the notices: who sets what is told, the test, and that no path of a webhook is on it."""

import pytest
from django.urls import reverse

from migration.campaigns.steps import start_campaign
from migration.core.notices import NoticeEvent
from migration.core.problems import Look
from migration.doctor.site import find_failing_notices, find_missing_recipients
from migration.models import (
    AuditEvent,
    ClientGroup,
    ClientMigration,
    Notice,
    NoticeDelivery,
    NoticeSwitch,
)
from migration.site.notices import hand_out_notices
from nova_admin.environment import NotifySettings
from nova_credentials.phases import Phase
from tests.factories import make_in_role, make_many
from tests.migration.site.notices.conftest import TEAM, let_time_pass, send_now
from tests.migration.site.notices.sinks import WebhookSink, opened
from tests.migration.site.notices.test_sending import record
from tests.page_forms import pages_left_out

PAGE = reverse("admin:migration_run_notices")
TEST = reverse("admin:migration_run_test_notices")


@pytest.fixture
def administrator(db, client):
    client.force_login(make_in_role("ana", "Administrator"))
    return client


def text_of(page) -> str:
    return " ".join(page.content.decode().split())


def test_others_than_administrators_are_refused(db, client):
    for role in ("Viewer", "Operator", "Approver", "User administrator"):
        client.force_login(make_in_role(f"in-{role}", role))
        assert [client.get(PAGE).status_code, client.post(TEST).status_code] == [403, 403], role
        assert client.post(PAGE, {"shown": "mismatch"}).status_code == 403, role
    assert not Notice.objects.exists()


def test_where_nobody_is_told_a_recipient_can_be_added_and_none_be_tested(administrator):
    page = administrator.get(PAGE)
    assert page.context["recipients"] == []
    assert TEST not in text_of(page)
    assert reverse("admin:migration_run_add_recipient") in text_of(page)
    assert list(page.context["newest"]) == []


def test_what_is_told_is_set_for_each_event_and_way_and_recorded(administrator):
    shown = ["mismatch", "run_ended"]
    administrator.post(PAGE, {"shown": shown, "mail": ["mismatch"], "webhook": ["mismatch"]})

    rule = NoticeSwitch.objects.get()
    assert (rule.event, rule.by_mail, rule.by_webhook) == (NoticeEvent.RUN_ENDED, False, False)
    event = AuditEvent.objects.get(code="notices")
    assert event.who == "ana"
    assert "run_ended" not in str(event.message)
    page = text_of(administrator.get(PAGE))
    assert page.count(" checked>") == 2 * (len(NoticeEvent) - 1) - 2

    again = administrator.post(PAGE, {"shown": shown, "mail": "mismatch", "webhook": "mismatch"})
    assert again.status_code == 302
    assert AuditEvent.objects.filter(code="notices").count() == 1


def test_a_form_that_shows_no_event_sets_nothing(administrator):
    for body in ({}, {"shown": "x", "mail": "x"}, {"mail": "mismatch"}):
        assert administrator.post(PAGE, body).status_code == 302
        assert not NoticeSwitch.objects.exists(), body


def test_the_test_goes_to_everybody_at_once_and_shows_what_came_of_it(
    transactional_db, administrator, told, webhook, mailbox
):
    NoticeSwitch.objects.create(event=NoticeEvent.TEST, by_mail=False, by_webhook=False)
    webhook.answer = 429, {"Retry-After": "60"}

    page = administrator.post(TEST, follow=True)

    assert mailbox.subjects == ["[Production] Test of the notices"]
    assert "a test sent by ana" in webhook.taken[0]
    shown = text_of(page)
    tests = [(test.way, test.state) for _report, test in page.context["recipients"]]
    assert tests == [("webhook", "waiting"), ("mail", "sent")]
    assert "too many requests: it is tried later (status 429)" in shown
    assert "example-secret-path" not in shown
    assert TEAM not in shown


def test_each_problem_is_a_clear_message(
    transactional_db, administrator, settings, webhook, monkeypatch
):
    path = "example-secret-path"
    here = webhook.url.replace("127.0.0.1", "localhost")
    with opened(WebhookSink()) as hangs:
        hangs.answer = None
        for url, loopback_allowed, words in (
            (f"http://127.0.0.1:1/{path}", True, "no connection"),
            (f"https://169.254.169.254/{path}", True, "the site calls no such address"),
            (f"https://[fd00:ec2::254]/{path}", True, "the site calls no such address"),
            (f"https://a..b/{path}", True, "no such host"),
            # In production no webhook is on this machine.
            (here, False, "the site calls no such address"),
            (hangs.url, True, "no whole answer in time"),
        ):
            Notice.objects.all().delete()
            if url == hangs.url:
                waiting = {"seconds": 0.3}
                monkeypatch.setattr("migration.site.notices.post_json.__kwdefaults__", waiting)
            settings.NOVA_NOTIFY = NotifySettings((url,), loopback_allowed=loopback_allowed)

            page = text_of(administrator.post(TEST, follow=True))

            assert words in page, url
            assert path not in page
    assert webhook.taken == []


def test_the_page_shows_by_host_alone_what_was_sent_and_what_failed(
    transactional_db, administrator, told, webhook, mailbox
):
    record("1")
    send_now()
    webhook.answer = 500, {}
    record("2")
    send_now()

    page = text_of(administrator.get(PAGE))

    assert "refused (status 500)" in page
    assert "ops.example" in page
    assert TEAM not in page
    assert "example-secret-path" not in page
    assert page.count("a test sent by ana") == 2


def test_its_statements_do_not_grow_with_notices(
    transactional_db, administrator, told, webhook, django_assert_max_num_queries
):
    for number in range(12):
        record(str(number))
    send_now()
    administrator.get(PAGE)
    with django_assert_max_num_queries(16):
        administrator.get(PAGE)


def found() -> list[tuple[str, str]]:
    look = Look()
    recipients, failing = find_missing_recipients(look), find_failing_notices(look)
    found = [(each.state.value, str(each.message)) for each in (*recipients, *failing)]
    return [each for each in found if each[0] != "ok"] or found[:1]


def test_the_doctor_says_whom_notices_do_not_reach(transactional_db, settings, webhook, mailbox):
    settings.NOVA_NOTIFY = NotifySettings()
    assert found()[0][1].startswith("Notices have no recipients")
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), (TEAM,), loopback_allowed=True)
    text = "Notices have 2 recipients."
    assert found() == [("ok", text)]

    webhook.answer = 302, {"Location": "/"}
    record()
    send_now()
    ((state, message),) = found()
    assert (state, message.partition(" failed")[0]) == (
        "failed",
        "The newest notice to 127.0.0.1 (webhook)",
    )
    webhook.answer = 200, {}
    let_time_pass(minutes=2)
    send_now()
    assert found() == [("ok", text)]

    record("2")
    hand_out_notices()
    let_time_pass(minutes=11)
    assert [state for state, _ in found()] == ["failed", "failed"]
    assert NoticeDelivery.objects.waiting().count() == 2


def test_nobody_to_tell_is_a_failure_once_clients_are_read_from_aws_or_a_campaign_moves_them(
    db, settings, webhook
):
    settings.NOVA_NOTIFY = NotifySettings()
    make_many(1, phase="dual_write")
    assert [state for state, _ in found()] == ["ok"]
    make_many(1, phase="dual_read")
    assert [state for state, _ in found()] == ["failed"]
    ClientMigration.objects.update(phase="postgres")
    campaign = start_campaign(
        groups=[ClientGroup.objects.get_or_add("Spain")], goal=Phase.DUAL_WRITE
    )
    assert [state for state, _ in found()] == ["failed"]
    campaign.cancel(by=None)
    assert [state for state, _ in found()] == ["ok"]


def test_a_campaign_says_where_nobody_hears_of_its_stop(administrator, settings, webhook):
    campaign = start_campaign(
        groups=[ClientGroup.objects.get_or_add("Spain")], goal=Phase.DUAL_WRITE
    )
    page = reverse("admin:migration_campaign_change", args=[campaign.pk])

    def is_told_nobody() -> bool:
        with pages_left_out():
            return bool(administrator.get(page).context_data.get("nobody_is_told"))

    settings.NOVA_NOTIFY = NotifySettings()
    assert is_told_nobody()
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), loopback_allowed=True)
    assert not is_told_nobody()
    rule = NoticeSwitch.objects.create(event=NoticeEvent.WAVE_STOPPED, by_webhook=False)
    assert is_told_nobody()
    rule.delete()
    settings.NOVA_NOTIFY = NotifySettings()
    campaign.cancel(by=None)
    assert not is_told_nobody()
