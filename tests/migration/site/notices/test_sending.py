"""A notice reaches each recipient once, whatever goes wrong on the way, and is given up after a day."""

import logging
import threading

import pytest
from django.db import connection

from migration.core.clients import all_clients
from migration.core.notices import DeliveryOutcome, DeliveryState, NoticeEvent
from migration.models import Notice, NoticeDelivery, NoticeSwitch
from migration.runs import engine
from migration.runs.models import Run
from migration.site import notices
from migration.site.notices import NOTICE_TEST, look_at_clients, send_notices
from nova_admin.environment import NotifySettings
from tests.factories import make_full_client, make_user, update
from tests.migration.site.notices.conftest import (
    TEAM,
    let_differences_last,
    let_time_pass,
    send_now,
)
from tests.migration.site.notices.sinks import PATH, WebhookSink, opened

WAITING, SENT, GIVEN_UP = DeliveryState


def record(key="1", *, event=NoticeEvent.WRITES_STOPPED, who="ana", **more):
    Notice.objects.record(event, NOTICE_TEST(who=who), key=key, **more)


def newest() -> NoticeDelivery:
    return NoticeDelivery.objects.get()


def test_a_mismatch_reaches_the_mail_sink_and_the_webhook_sink_once(stores, told, webhook, mailbox):
    pk = make_full_client("idom")
    engine.finish_inline(Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()))
    row = all_clients().get().databases.first()
    update("client_database_credentials", row.pk, db_password_encrypted="example-changed")

    for _ in range(2):
        engine.finish_inline(Run.start(kind=Run.Kind.COMPARE, chosen=all_clients()))
        let_differences_last()
        look_at_clients()
        send_now()
        let_time_pass(hours=1)

    text = "One more field differs between PostgreSQL and AWS. Client: idom"
    assert [text in taken for taken in webhook.taken] == [True]
    ((recipients, mail),) = mailbox.mails
    assert recipients == [TEAM]
    assert mail["Subject"] == "[Production] Mismatches"
    assert text in mail.get_content()
    assert "example-changed" not in webhook.taken[0] + mail.get_content()
    assert pk


@pytest.fixture
def outbox(transactional_db):
    """Real transactions."""


def test_the_same_key_is_told_once(outbox, told, webhook, mailbox):
    record("1")
    send_now()
    record("1")
    record("2", who="maria")
    send_now()

    assert [text.partition("ana")[1] for text in webhook.taken] == ["ana", ""]
    assert len(mailbox.mails) == 2
    assert {*NoticeDelivery.objects.values_list("state", flat=True)} == {SENT}


def test_two_workers_at_once_send_nothing_twice(outbox, told, webhook, mailbox):
    for number in range(6):
        record(str(number))

    def work():
        send_notices(seconds=20)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(webhook.taken), len(mailbox.mails)) == (6, 6)


def test_who_is_killed_while_sending_leaves_a_delivery_that_is_sent_again_under_the_same_id(
    outbox, told, mailbox, monkeypatch
):
    record()
    settle = NoticeDelivery.settle
    monkeypatch.setattr(NoticeDelivery, "settle", lambda *_: (_ for _ in ()).throw(SystemExit))
    for _ in range(2):  # killed with the webhook's, then with the mail's
        with pytest.raises(SystemExit):
            send_now()
    monkeypatch.setattr(NoticeDelivery, "settle", settle)

    send_now()
    assert len(mailbox.mails) == 1
    let_time_pass(minutes=11)
    send_now()

    assert len({mail["Message-ID"] for _, mail in mailbox.mails}) == 1
    assert len(mailbox.mails) == 2
    assert {*NoticeDelivery.objects.values_list("state", flat=True)} == {SENT}


def test_nothing_is_open_while_it_is_sent(outbox, webhook_alone, monkeypatch):
    record()
    seen = []
    call = notices.post_json

    def look(**options):
        seen.append((connection.in_atomic_block, newest().tries))
        return call(**options)

    monkeypatch.setattr(notices, "post_json", look)

    send_now()

    assert seen == [(False, 1)]


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        ((500, {}), DeliveryOutcome.REFUSED, "refused (status 500)"),
        ((404, {}), DeliveryOutcome.REFUSED, "refused (status 404)"),
        ((302, {"Location": "/else"}), DeliveryOutcome.REDIRECTED, "a redirect"),
        (
            (307, {"Location": "http://169.254.169.254/"}),
            DeliveryOutcome.REDIRECTED,
            "(status 307)",
        ),
        ((429, {}), DeliveryOutcome.RATE_LIMITED, "too many requests"),
    ],
)
def test_a_webhook_that_does_not_take_it_is_called_again_later(
    outbox, webhook_alone, webhook, answer, outcome, words
):
    record()
    webhook.answer = answer
    send_now()
    send_now()

    failed = newest()
    assert (failed.state, failed.outcome, failed.tries) == (WAITING, outcome, 1)
    assert words in failed.outcome_text
    assert webhook.paths == [PATH]

    webhook.answer = 204, {}
    let_time_pass(minutes=2)
    send_now()

    assert (newest().state, newest().tries, len(webhook.taken)) == (SENT, 2, 2)


@pytest.mark.parametrize(
    ("asked", "after"), [("600", 600), ("5", 60), ("999999999999", 3600), ("never", 60), ("-5", 60)]
)
def test_a_webhook_that_asks_to_wait_is_called_after_that_within_bounds(
    outbox, webhook_alone, webhook, asked, after
):
    record()
    webhook.answer = 429, {"Retry-After": asked}

    send_now()

    waits = newest().next_try_at - newest().tried_at
    assert abs(waits.total_seconds() - after) < 2


def test_a_webhook_that_hangs_costs_one_time_out_and_keeps_no_other_waiting(
    outbox, webhook, mailbox, settings, monkeypatch
):
    monkeypatch.setattr("migration.site.notices.post_json.__kwdefaults__", {"seconds": 0.3})
    with opened(WebhookSink()) as hangs:
        hangs.answer = None
        urls = (hangs.url, webhook.url)
        settings.NOVA_NOTIFY = NotifySettings(urls, (TEAM,), loopback_allowed=True)
        for number in range(3):
            record(str(number))
        send_now()
        assert len(hangs.taken) == 1

    assert (len(webhook.taken), len(mailbox.mails)) == (3, 3)
    failed = NoticeDelivery.objects.filter(outcome=DeliveryOutcome.TIMED_OUT)
    assert failed.count() == 1
    assert NoticeDelivery.objects.waiting().count() == 3


def test_what_fails_for_a_day_is_given_up(outbox, webhook_alone, webhook):
    record()
    webhook.answer = 500, {}
    for _ in range(60):
        send_now()
        if newest().state == GIVEN_UP:
            break
        let_time_pass(hours=1)

    assert (newest().state, newest().outcome) == (GIVEN_UP, DeliveryOutcome.REFUSED)
    assert 20 < len(webhook.taken) < 30


def test_a_database_that_was_put_back_does_not_tell_its_past(outbox, webhook_alone, webhook):
    record()
    notices.hand_out_notices()
    let_time_pass(hours=25)

    send_notices(seconds=5)

    assert (newest().state, newest().outcome) == (GIVEN_UP, DeliveryOutcome.TOO_LATE)
    assert webhook.taken == []


def test_a_webhook_that_is_not_set_any_more_gets_nothing(outbox, webhook_alone, webhook, settings):
    record()
    notices.hand_out_notices()
    settings.NOVA_NOTIFY = NotifySettings()

    send_notices(seconds=5)

    assert (newest().state, newest().outcome) == (GIVEN_UP, DeliveryOutcome.NOT_WANTED)
    assert webhook.taken == []


def test_a_mail_server_that_refuses_or_is_gone_is_tried_again(outbox, mailbox, settings):
    settings.NOVA_NOTIFY = NotifySettings(emails=(TEAM,))
    record()
    mailbox.refuses = True
    send_now()
    assert newest().outcome == DeliveryOutcome.MAIL_REFUSED

    settings.EMAIL_PORT = 1
    let_time_pass(minutes=5)
    send_now()
    assert newest().outcome == DeliveryOutcome.UNREACHABLE

    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    let_time_pass(minutes=5)
    send_now()
    assert (newest().outcome, newest().state) == (DeliveryOutcome.NO_MAIL_SERVER, WAITING)
    assert mailbox.mails == []


def test_each_event_goes_on_the_ways_that_are_set_for_it(outbox, told, webhook, mailbox):
    NoticeSwitch.objects.create(event=NoticeEvent.MISMATCH, by_mail=False)
    NoticeSwitch.objects.create(event=NoticeEvent.RUN_ENDED, by_mail=False, by_webhook=False)
    record("1", event=NoticeEvent.MISMATCH)
    record("2", event=NoticeEvent.RUN_ENDED)
    record("3", event=NoticeEvent.AWS_GONE)

    send_now()

    assert [text.splitlines()[0] for text in webhook.taken] == [
        "*[Production] Mismatches*",
        "*[Production] AWS does not answer*",
    ]
    assert mailbox.subjects == ["[Production] AWS does not answer"]
    assert not Notice.objects.filter(handed_out_at=None).exists()


def test_what_happened_before_anybody_was_set_is_told_to_nobody(outbox, webhook, settings):
    record()
    send_now()
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), loopback_allowed=True)
    send_now()

    assert webhook.taken == []


def test_the_subject_says_that_something_is_over(outbox, told, webhook, mailbox):
    record(is_over=True)

    send_now()

    assert mailbox.subjects == ["[Production] Over: AWS writes stopped"]
    assert webhook.taken[0].startswith("*[Production] Over: AWS writes stopped*")


def test_names_steer_nothing(outbox, told, webhook, mailbox):
    record(who="<!channel> @here \r\nBcc: x@example.com & \u202etxt")

    send_now()

    ((recipients, mail),) = mailbox.mails
    assert recipients == [TEAM]
    assert mail["Bcc"] is None
    (text,) = webhook.taken
    assert "&lt;!channel&gt; @\u200bhere \\r\\nBcc" in text
    assert "\u202e" not in text + mail.get_content()


def test_the_requester_is_told_too_unless_they_are_anyway(outbox, mailbox, settings):
    maria = make_user("maria", email="maria@example.com")
    settings.NOVA_NOTIFY = NotifySettings(emails=(TEAM,))
    record("1", also_mail_to=maria)
    send_now()
    assert sorted(to for to, _ in mailbox.mails) == [["maria@example.com"], [TEAM]]

    settings.NOVA_NOTIFY = NotifySettings(emails=("Maria@example.com",))
    record("2", also_mail_to=maria)
    send_now()
    maria.is_active = False
    maria.save()
    settings.NOVA_NOTIFY = NotifySettings()
    record("3", also_mail_to=maria)
    send_now()
    assert len(mailbox.mails) == 3


def test_no_path_of_a_webhook_gets_into_the_database_or_the_log(outbox, webhook, settings, caplog):
    caplog.set_level(logging.DEBUG)
    gone = f"http://127.0.0.1:1{PATH}"
    settings.NOVA_NOTIFY = NotifySettings((webhook.url, gone), loopback_allowed=True)
    webhook.answer = 500, {}
    record()

    send_now()

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n::text || d::text FROM migration_noticedelivery d JOIN migration_notice n ON n.id = d.notice_id"
        )
        stored = str(cursor.fetchall())
    assert "example-secret-path" not in caplog.text + stored + repr(settings.NOVA_NOTIFY)
    assert webhook.paths == [PATH]
    assert "to webhook at 127.0.0.1: unreachable" in caplog.text


def test_the_sentences_are_in_the_language_of_the_setting(outbox, webhook, settings):
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), language="es", loopback_allowed=True)
    record()

    send_now()

    assert webhook.taken[0].startswith("*[Producción] ")


@pytest.mark.parametrize(
    ("hosts", "origins", "link"),
    [
        (["nova.example.com"], [], "https://nova.example.com/admin/migration/run/aws-writes/"),
        (
            [".example.com", "x.example.com"],
            [],
            "https://x.example.com/admin/migration/run/aws-writes/",
        ),
        (
            ["nova.example.com"],
            ["https://*.example.com", "https://nova.example.com:8443"],
            "https://nova.example.com:8443/admin/migration/run/aws-writes/",
        ),
        ([".example.com"], ["https://*.example.com"], ""),
    ],
)
def test_a_notice_links_the_page_that_says_more(
    outbox, told, webhook, mailbox, settings, hosts, origins, link
):
    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = hosts, origins
    record()

    send_now()

    (text,), ((_, mail),) = webhook.taken, mailbox.mails
    assert text.partition("https://")[1:] == ("https://" if link else "", link[8:])
    assert (link or "-- ") in mail.get_content()
    assert bool(link) == ("https:" in mail.get_content())


@pytest.mark.parametrize("event", [*NoticeEvent, "of_a_later_release"])
def test_the_page_that_says_more_is_there(admin_client, settings, event):
    settings.ALLOWED_HOSTS = ["testserver"]

    link = notices.make_link(event)

    assert admin_client.get(link, secure=True).status_code == 200
    asks = event in (NoticeEvent.APPROVAL_WANTED, NoticeEvent.APPROVAL_DECIDED)
    assert link.endswith("/run/?state=requested") == asks
