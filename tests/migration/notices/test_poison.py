"""What one webhook, one notice or one look does keeps no other notice from getting there."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration import tasks
from migration.models import DeliveryState, DigestTopic, Notice, NoticeDelivery, Run
from migration.operations import notice_sending
from migration.operations.notice_sending import send_notices
from migration.operations.webhooks import read_retry_after
from nova_admin.notify_settings import NotifySettings
from tests.migration.notices.conftest import TEAM, send_now
from tests.migration.notices.sinks import WebhookSink, opened
from tests.migration.notices.test_sending import record

DIGITS = "9" * 20


@pytest.fixture
def outbox(transactional_db):
    """Real transactions."""


@pytest.mark.parametrize(
    "asked",
    [
        f"Mon, 01 Jan {DIGITS} 00:00:00 GMT",
        f"Mon, 01 Jan 2030 00:00:00 +{DIGITS}",
        f"Mon, {DIGITS} Jan 2030 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "²",
        "-1",
    ],
)
def test_no_retry_after_stops_the_site(asked):
    assert read_retry_after(asked) == 0


def test_a_defect_of_one_delivery_keeps_no_other_waiting(
    outbox, webhook, mailbox, settings, monkeypatch, caplog
):
    with opened(WebhookSink()) as other:
        settings.NOVA_NOTIFY = NotifySettings(
            (other.url, webhook.url), (TEAM,), loopback_allowed=True
        )
        post = notice_sending.post_json

        def fail(*, url, **more):
            if url == other.url:
                raise RuntimeError("example-words")
            return post(url=url, **more)

        monkeypatch.setattr(notice_sending, "post_json", fail)
        record("1")
        record("2")
        send_now()

    assert (len(webhook.taken), len(mailbox.mails)) == (2, 2)
    failed = NoticeDelivery.objects.get(tries=1, state=DeliveryState.WAITING)
    assert failed.outcome
    assert "RuntimeError" in caplog.text
    assert "example-words" not in caplog.text


def test_a_look_that_fails_keeps_no_notice_from_being_sent(
    outbox, webhook_alone, webhook, monkeypatch
):
    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr("migration.operations.notice_looks.find_write_refusal", fail)
    record()

    with pytest.raises(RuntimeError):
        tasks.send_notices()

    assert len(webhook.taken) == 1


def test_a_long_run_is_not_told_minute_by_minute(outbox, webhook_alone, webhook):
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    now = timezone.now()
    for minutes in (10.5, 9.5, 8.5, 1, 0):
        Notice.objects.add_to_digest(
            DigestTopic.MISMATCHES, [f"c{minutes}"], number=1, run_id=run.pk
        )
        Notice.objects.filter(pk=Notice.objects.latest("pk").pk).update(
            created_at=now - timedelta(minutes=minutes)
        )

    send_notices(seconds=5)

    (text,) = webhook.taken
    assert "5 more fields" in text
