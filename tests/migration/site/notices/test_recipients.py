"""Recipients that are added in the browser: who may, what is refused, that their addresses stay secret and reach."""

import socket

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from migration.core.notices import NoticeEvent, is_told
from migration.core.problems import Look
from migration.doctor.site import find_lost_keys, find_refused_webhooks
from migration.models import AuditEvent, NoticeDelivery, NoticeRecipient
from migration.site import notices
from migration.site.menu import find_here, list_tabs
from migration.site.notices import add_recipient, encrypt_recipients_anew, list_recipients
from nova_admin.environment import MOST_RECIPIENTS, NotifySettings
from tests.factories import make_in_role
from tests.migration.site.notices.conftest import TEAM, send_now
from tests.migration.site.notices.sinks import WebhookSink, opened
from tests.migration.site.notices.test_sending import record
from tests.page_forms import pages_left_out

PAGE = reverse("admin:migration_run_notices")
TEST = reverse("admin:migration_run_test_notices")
ADD = reverse("admin:migration_run_add_recipient")
SECRET = "example-secret-path"
HOOK = f"https://192.0.2.1/{SECRET}"  # of no network at all


@pytest.fixture
def administrator(transactional_db, client):
    client.force_login(make_in_role("ana", "Administrator"))
    return client


@pytest.fixture(autouse=True)
def in_production(settings):
    settings.NOVA_NOTIFY = NotifySettings()


@pytest.fixture
def here(settings):
    """As in development: webhooks may be on this machine."""
    settings.NOVA_NOTIFY = NotifySettings(loopback_allowed=True)


@pytest.fixture
def ana(transactional_db):
    return make_in_role("ana.operates", "Administrator")


def remove_url(row) -> str:
    return reverse("admin:migration_run_remove_recipient", args=[row.pk])


def stored() -> str:
    return str(list(NoticeRecipient.objects.values())) + str(list(AuditEvent.objects.values()))


def refused(client, address: str) -> str:
    answer = client.post(ADD, {"address": address})
    assert answer.status_code == 200
    assert SECRET not in answer.content.decode()
    return answer.context["error"]


@pytest.mark.parametrize("role", ["Viewer", "Operator", "Approver", "User administrator"])
def test_others_than_administrators_are_refused(here, transactional_db, client, webhook, role):
    row = add_recipient(webhook.url, by=make_in_role("ana", "Administrator")).row
    client.force_login(make_in_role("somebody", role))
    assert client.post(ADD, {"address": TEAM}).status_code == 403
    assert client.get(remove_url(row)).status_code == 403
    assert client.post(remove_url(row)).status_code == 403
    assert NoticeRecipient.objects.get() == row


def test_a_webhook_is_added_told_tested_and_removed_and_its_path_is_shown_nowhere(
    here, administrator, webhook, caplog
):
    page = administrator.post(ADD, {"address": f" {webhook.url} "}, follow=True)
    row = NoticeRecipient.objects.get()
    assert (row.way, row.host, row.added_by_name) == ("webhook", "127.0.0.1", "ana")
    assert SECRET not in page.content.decode() + stored() + caplog.text
    ((report, _test),) = page.context["recipients"]
    assert report.recipient.row == row
    assert report.recipient.code in page.content.decode()

    record("1")
    send_now()
    assert len(webhook.taken) == 1

    page = administrator.post(TEST, {"recipient": row.target}, follow=True)
    assert len(webhook.taken) == 2
    ((_report, test),) = page.context["recipients"]
    assert (test.state, test.target) == ("sent", row.target)

    assert SECRET not in administrator.get(remove_url(row)).content.decode()
    administrator.post(remove_url(row))
    assert not NoticeRecipient.objects.exists()
    record("2")
    send_now()
    assert len(webhook.taken) == 2
    told = [event.message.key for event in AuditEvent.objects.filter(code="notices").order_by("pk")]
    assert told == ["recipient_added", "recipient_removed"]
    assert SECRET not in stored() + caplog.text

    assert administrator.get(remove_url(row)).status_code == 404
    assert administrator.post(remove_url(row)).status_code == 302
    assert AuditEvent.objects.filter(code="notices").count() == 2


def test_a_mail_address_is_added_and_shown(here, administrator, mailbox):
    page = administrator.post(ADD, {"address": TEAM}, follow=True)
    assert TEAM in page.content.decode()
    record()
    send_now()
    assert [to for to, _ in mailbox.mails] == [[TEAM]]
    assert TEAM not in str(list(AuditEvent.objects.values("facts")))


@pytest.mark.parametrize("typed", ["ops@nova", "ops@@nova.example"])
def test_the_page_stays_what_it_is_where_an_address_is_refused(administrator, typed):
    page = administrator.post(ADD, {"address": typed})
    assert page.context["error"]
    assert page.context["typed"] == typed
    before = administrator.get(reverse("admin:migration_run_notices"))
    assert find_here(page.wsgi_request).is_place
    tabs = [list_tabs(each.wsgi_request) for each in (page, before)]
    assert tabs[0] == tabs[1] != []


def test_a_mail_address_is_called_by_its_name_once_it_is_added(administrator, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    page = administrator.post(ADD, {"address": TEAM}, follow=True)
    (said,) = page.context["messages"]
    assert TEAM in str(said)
    page = administrator.post(remove_url(NoticeRecipient.objects.get()), follow=True)
    (said,) = page.context["messages"]
    assert TEAM in str(said)


def test_a_test_goes_to_the_one_that_was_asked_for(administrator, told, webhook, mailbox):
    with opened(WebhookSink()) as other:
        administrator.post(ADD, {"address": other.url})
        administrator.post(TEST, {"recipient": NoticeRecipient.objects.get().target})
        assert (len(other.taken), webhook.taken, mailbox.mails) == (1, [], [])
        administrator.post(TEST)
        assert (len(other.taken), len(webhook.taken), len(mailbox.mails)) == (2, 1, 1)


def test_those_of_the_settings_stay_and_are_not_removed_here(administrator, told, webhook):
    page = administrator.get(PAGE)
    rows = [report.recipient.row for report, _ in page.context["recipients"]]
    assert rows == [None, None]
    assert "NOVA_NOTIFY_URLS" in page.content.decode()
    assert TEAM not in page.content.decode()
    assert refused(administrator, webhook.url)
    assert not NoticeRecipient.objects.exists()


def test_what_the_settings_name_later_is_told_once(here, ana, webhook, settings):
    add_recipient(webhook.url, by=ana)
    settings.NOVA_NOTIFY = NotifySettings((webhook.url,), loopback_allowed=True)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "k" * 60, [settings.SECRET_KEY]
    record()
    send_now()
    assert len(webhook.taken) == 1


# Loopback, link-local, private, where a cloud tells credentials: however they are written.
WRONG = (
    "",
    "ops",
    f"http://hooks.example.com/{SECRET}",
    f"https://user:{SECRET}@hooks.example.com/",
    f"https://hooks.example.com/#{SECRET}",
    f"https://hooks.example.com/\0{SECRET}",
    f"ftp://hooks.example.com/{SECRET}",
    f"https://hooks.example.com/{SECRET * 200}",
    f"https://{'a.' * 200}example.com/{SECRET}",
    "a@example.com\nBcc: b@example.com",
    f"https://127.0.0.1/{SECRET}",
    f"https://localhost/{SECRET}",
    f"https://[::ffff:127.0.0.1]/{SECRET}",
    f"https://169.254.169.254/{SECRET}",
    f"https://10.0.0.1/{SECRET}",
    f"https://[fd00:ec2::254]/{SECRET}",
    f"https://2130706433/{SECRET}",
    f"https://a..b/{SECRET}",
)


def test_what_can_not_be_or_may_not_be_called_is_refused(administrator):
    for address in (*WRONG, f"ftp://ops:{SECRET}@nova.example", f"ops:{SECRET}@nova.example"):
        with pages_left_out():
            shown = administrator.post(ADD, {"address": address}).context_data
        assert shown["error"], address
        assert SECRET not in f"{shown['error']} {shown['typed']}", address
    assert refused(administrator, WRONG[2])
    assert not NoticeRecipient.objects.exists()
    assert not AuditEvent.objects.filter(code="notices").exists()


def test_a_private_network_is_for_those_who_allowed_it_to_tests_of_logins(
    administrator, settings, monkeypatch
):
    private = f"https://10.0.0.1/{SECRET}"
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = True
    assert administrator.post(ADD, {"address": private}).status_code == 302
    assert refused(administrator, f"https://127.0.0.1/{SECRET}")
    # It is judged each time: what is forbidden later gets nothing any more.
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = False
    page = administrator.post(TEST, follow=True)
    ((_report, test),) = page.context["recipients"]
    assert test.outcome == "not_allowed"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "a..b"])
def test_the_doctor_tells_a_webhook_of_the_settings_that_is_never_called(db, settings, host):
    settings.NOVA_NOTIFY = NotifySettings((f"https://{host}/{SECRET}",), (TEAM,))

    (found,) = find_refused_webhooks(Look())

    assert (found.state, found.message.key) == ("failed", "webhook_is_refused")
    assert f" {host}. " in str(found.message)
    assert SECRET not in str(found.message)


def test_a_webhook_whose_host_the_resolver_does_not_answer_for_is_not_called_allowed(
    db, settings, monkeypatch
):
    settings.NOVA_NOTIFY = NotifySettings((HOOK,))

    def fail(*_args, **_named):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    (found,) = find_refused_webhooks(Look())

    assert (found.state, found.message.key) == ("not_looked_at", "webhook_not_looked_up")


def test_whoever_sets_the_site_up_may_name_a_webhook_in_a_private_network(ana, settings):
    private = f"https://10.0.0.1/{SECRET}"
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = True
    add_recipient(private, by=ana)
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = False
    assert [each.state for each in find_refused_webhooks(Look())] == ["failed"]

    settings.NOVA_NOTIFY = NotifySettings((private,))
    assert [each.state for each in find_refused_webhooks(Look())] == ["ok"]


def test_no_mail_without_a_mail_server(administrator, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    page = administrator.post(ADD, {"address": TEAM})
    assert page.context["error"]
    assert page.context["typed"] == TEAM
    assert not NoticeRecipient.objects.exists()


def test_the_same_again_and_too_many_are_refused(administrator, monkeypatch):
    monkeypatch.setattr(notices, "find_obstacle", lambda url, **how: None)
    assert administrator.post(ADD, {"address": HOOK}).status_code == 302
    assert refused(administrator, HOOK)
    for number in range(MOST_RECIPIENTS - 1):
        assert administrator.post(ADD, {"address": f"{HOOK}/{number}"}).status_code == 302
    assert refused(administrator, f"{HOOK}/more")
    assert NoticeRecipient.objects.count() == MOST_RECIPIENTS


def test_whoever_is_told_by_the_browser_alone_is_told(here, ana, webhook):
    assert not is_told(NoticeEvent.WAVE_STOPPED)
    add_recipient(webhook.url, by=ana)
    assert is_told(NoticeEvent.WAVE_STOPPED)


def test_a_new_key_reads_them_with_the_old_one_and_without_it_says_so(
    here, ana, administrator, webhook, settings
):
    add_recipient(webhook.url, by=ana)
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "k" * 60, [old]
    assert list_recipients()[0].address == webhook.url
    assert encrypt_recipients_anew() == (1, 0)
    settings.SECRET_KEY_FALLBACKS = []
    assert list_recipients()[0].address == webhook.url

    settings.SECRET_KEY = "n" * 60
    assert encrypt_recipients_anew() == (0, 1)
    found = [finding.message.key for finding in find_lost_keys(Look())]
    assert "recipients_unreadable" in found
    record()
    send_now()
    assert NoticeDelivery.objects.get().outcome == "unreadable"
    settings.SECRET_KEY = "k" * 60
    assert "recipients_unreadable" not in [each.message.key for each in find_lost_keys(Look())]


def test_the_command_encrypts_all_anew_and_says_what_it_could_not_read(
    here, ana, webhook, settings, capsys
):
    add_recipient(webhook.url, by=ana)
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "k" * 60, [old]

    call_command("encrypt_anew")

    told = (
        "second factors: 0 encrypted, 0 could not be read\n"
        "recipients of notices: {} encrypted, {} could not be read\n"
    )
    assert capsys.readouterr().out == told.format(1, 0)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, []
    with pytest.raises(CommandError, match="A key is missing") as refused:
        call_command("encrypt_anew")
    assert refused.value.returncode == 1
    assert capsys.readouterr().out == told.format(0, 1)
