"""The sinks of notices, and settings by which everything goes to them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration.models import Notice, NoticeDelivery, OpenMismatch
from migration.site.notices import send_notices
from nova_admin.environment import NotifySettings
from tests.migration.site.notices.sinks import HOST, MailSink, WebhookSink, opened

TEAM = "team@ops.example"


@pytest.fixture
def logins_stay_here():
    """They do: every sink of these tests is on the loopback."""


@pytest.fixture
def webhook():
    with opened(WebhookSink()) as sink:
        yield sink


@pytest.fixture
def mailbox(settings):
    with opened(MailSink()) as sink:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = HOST, sink.port
        yield sink


@pytest.fixture
def told(settings, webhook, mailbox):
    """Everything goes to the webhook and to the team's address."""
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), (TEAM,), loopback_allowed=True)


@pytest.fixture
def webhook_alone(settings, webhook):
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), loopback_allowed=True)


def send_now():
    """As the workers do it each minute."""
    send_notices(seconds=20)


def let_differences_last():
    """They were found six minutes ago: a write of NOVA's would be pushed by now."""
    OpenMismatch.objects.update(first_seen_at=timezone.now() - timedelta(minutes=6))


def let_time_pass(**span):
    """What was tried is tried again after this time."""
    past = timedelta(**span)
    for delivery in NoticeDelivery.objects.all():
        NoticeDelivery.objects.filter(pk=delivery.pk).update(
            next_try_at=delivery.next_try_at - past
        )
    for notice in Notice.objects.all():
        Notice.objects.filter(pk=notice.pk).update(created_at=notice.created_at - past)
