"""The settings of notices: what nothing could be sent to is refused at the start, and no address is repeated."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from migration.site.notices import read_retry_after
from nova_admin import environment
from nova_admin.environment import Environment, NotifySettings, read_notify_settings
from tests.checkout import manage
from tests.test_settings import PRODUCTION

HOOK = "https://hooks.example.com/services/example-secret-path"


def read(monkeypatch, urls="", emails="", *, debug=False, mails_are_sent=True) -> NotifySettings:
    monkeypatch.setenv("NOVA_NOTIFY_URLS", urls)
    monkeypatch.setenv("NOVA_NOTIFY_EMAILS", emails)
    monkeypatch.setenv("DEBUG", "1" if debug else "")
    monkeypatch.setenv("NOVA_MAIL_URL", "smtp://mail.example:25" if mails_are_sent else "")
    env = Environment(
        DEBUG=(environment.parse_flag, False),
        **environment.NOTICE_VARIABLES,
        **environment.MAIL_VARIABLES,
    )
    return read_notify_settings(env)


def test_lists_are_split_at_their_commas(monkeypatch):
    found = read(monkeypatch, f"{HOOK}, {HOOK}?a=1,{HOOK}", "a@example.com, b@example.com")

    assert found.urls == (HOOK, f"{HOOK}?a=1")
    assert found.emails == ("a@example.com", "b@example.com")
    assert (found.language, found.loopback_allowed) == ("en", False)
    assert "example" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/example-secret-path",
        "hooks.example.com/example-secret-path",
        "ftp://hooks.example.com/example-secret-path",
        "https:///example-secret-path",
        "https://user:example-secret-path@hooks.example.com/",
        "https://hooks.example.com:0/example-secret-path",
        "https://hooks.example.com:x/example-secret-path",
        "https://[::1/example-secret-path",
        "https://hooks.example.com/example-secret-path#x",
        "https://hooks.example.com/example secret-path",
        "https://hooks.example.com/example-secret-path\u00e9",
        "http://127.0.0.1/example-secret-path",
    ],
)
def test_what_is_no_webhook_is_refused_and_not_repeated(monkeypatch, url):
    with pytest.raises(ImproperlyConfigured, match="NOVA_NOTIFY_URLS is not a list") as error:
        read(monkeypatch, url)
    assert "secret-path" not in str(error.value)


def test_in_development_a_webhook_may_be_on_this_machine_alone(monkeypatch):
    assert read(monkeypatch, "http://localhost:8065/x", debug=True).loopback_allowed
    with pytest.raises(ImproperlyConfigured):
        read(monkeypatch, "http://10.0.0.1/x", debug=True)


@pytest.mark.parametrize("emails", ["ops", "ops@", "a@example.com b@example.com", "\u00e9@x.es"])
def test_what_is_no_mail_address_is_refused(monkeypatch, emails):
    with pytest.raises(ImproperlyConfigured, match="NOVA_NOTIFY_EMAILS is not a list"):
        read(monkeypatch, "", emails)


def test_more_recipients_than_a_test_could_try_are_refused(monkeypatch):
    with pytest.raises(ImproperlyConfigured, match="up to 20 each"):
        read(monkeypatch, ",".join(f"{HOOK}{number}" for number in range(21)))


def test_addresses_without_a_mail_server_are_refused_at_the_start():
    result = manage("check", **PRODUCTION | {"NOVA_NOTIFY_EMAILS": "ops@example.com"})
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Not configured: NOVA_NOTIFY_EMAILS is set, but no mail server is")


def test_a_site_with_both_starts():
    mail = {"NOVA_MAIL_URL": "smtp+tls://u:p@mail.example:587", "NOVA_MAIL_FROM": "a@example.com"}
    told = {"NOVA_NOTIFY_EMAILS": "ops@example.com", "NOVA_NOTIFY_URLS": HOOK}
    assert manage("check", **PRODUCTION | mail | told).returncode == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("", 0), ("30", 30), (" 30 ", 30), ("-3", 0), ("soon", 0), ("1.5", 0), ("\u0663", 0)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("9" * 5000, 999_999_999),
    ],
)
def test_a_retry_after_is_a_number_of_seconds_or_nothing(text, seconds):
    assert read_retry_after(text) == seconds


def test_a_retry_after_may_be_a_date():
    assert read_retry_after("Fri, 31 Dec 2399 23:59:59 GMT") > 1_000_000
