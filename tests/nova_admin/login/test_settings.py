"""The settings of the login: their defaults, and every one that is refused at the start, without its value."""

import os

import pytest
from django.core.exceptions import ImproperlyConfigured

from nova_admin import environment as login_settings

SECRET = "example-client-secret"
COMPLETE = {
    "NOVA_OIDC_ISSUER": "https://idp.example/realms/nova",
    "NOVA_OIDC_CLIENT_ID": "nova",
    "NOVA_OIDC_CLIENT_SECRET": SECRET,
    "NOVA_OIDC_GROUPS": "ops=Operator",
}


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("NOVA_", "SECRET_KEY_"))]:
        monkeypatch.delenv(name)

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.mark.parametrize(
    ("value", "debug", "required"),
    [("", False, True), ("", True, False), ("1", True, True), ("0", False, False)],
)
def test_a_second_factor_is_required_in_production_unless_it_says_otherwise(
    environment, value, debug, required
):
    environment(NOVA_REQUIRE_SECOND_FACTOR=value)

    assert login_settings.requires_second_factor(debug=debug) is required


def test_without_variables_there_is_no_provider(environment):
    # As .env.example has them.
    environment(NOVA_OIDC_GROUPS_CLAIM="groups", NOVA_OIDC_SCOPES="openid", NOVA_OIDC_ISSUER="")

    assert login_settings.read_oidc_provider(debug=False) is None


def test_a_provider_is_read_with_its_groups_and_its_secret_is_in_no_text(environment):
    environment(**COMPLETE | {"NOVA_OIDC_GROUPS": "ops = Operator, a=b=Viewer"})

    provider = login_settings.read_oidc_provider(debug=False)

    assert provider.groups == {"ops": "Operator", "a=b": "Viewer"}
    assert (provider.groups_claim, provider.scopes) == ("groups", "openid profile email")
    assert not provider.over_http
    assert SECRET not in repr(provider)


@pytest.mark.parametrize("name", COMPLETE)
def test_an_incomplete_provider_is_refused(environment, name):
    environment(**COMPLETE | {name: ""})

    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not set"):
        login_settings.read_oidc_provider(debug=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOVA_OIDC_ISSUER", "http://idp.example"),
        ("NOVA_OIDC_ISSUER", "idp.example"),
        ("NOVA_OIDC_ISSUER", "https://"),
        ("NOVA_OIDC_ISSUER", "https://idp.example?x=1"),
        ("NOVA_OIDC_ISSUER", "https://idp.example#x"),
        ("NOVA_OIDC_ISSUER", "https://user:word@idp.example"),
        ("NOVA_OIDC_ISSUER", "https://idp.example:port"),
        ("NOVA_OIDC_ISSUER", "https://idp.example/" + "x" * 200),
        ("NOVA_OIDC_GROUPS", "ops"),
        ("NOVA_OIDC_GROUPS", "=Operator"),
        ("NOVA_OIDC_GROUPS", "ops="),
        ("NOVA_OIDC_GROUPS", "ops=Operator,ops=Viewer"),
        ("NOVA_OIDC_SCOPES", "profile email"),
    ],
)
def test_a_wrong_setting_of_the_provider_is_named_without_its_value(environment, name, value):
    environment(**COMPLETE | {name: value})

    with pytest.raises(ImproperlyConfigured) as refused:
        login_settings.read_oidc_provider(debug=False)

    assert str(refused.value).startswith(name)
    assert "word" not in str(refused.value)


def test_a_provider_may_be_reached_over_http_in_development(environment):
    environment(
        **COMPLETE | {"NOVA_OIDC_ISSUER": "http://127.0.0.1:8080", "NOVA_OIDC_GROUPS": "a=Viewer"}
    )

    assert login_settings.read_oidc_provider(debug=True).over_http


@pytest.mark.parametrize(("debug", "backend"), [(True, "console"), (False, "dummy")])
def test_without_a_mail_server_mails_are_printed_in_development_alone(environment, debug, backend):
    found = login_settings.read_mail_settings(debug=debug)

    assert found["EMAIL_BACKEND"] == f"django.core.mail.backends.{backend}.EmailBackend"


def test_a_mail_server_is_read(environment):
    environment(
        NOVA_MAIL_URL="smtp+tls://nova:w%40rd@mail.example:587", NOVA_MAIL_FROM="nova@example.test"
    )

    found = login_settings.read_mail_settings(debug=False)

    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example", 587)
    assert found["EMAIL_HOST_PASSWORD"] == "w@rd"
    assert found["EMAIL_USE_TLS"] is True
    assert found["DEFAULT_FROM_EMAIL"] == "nova@example.test"
    assert found["EMAIL_TIMEOUT"] == 10


@pytest.mark.parametrize(
    ("url", "sender"),
    [
        ("mail.example", "x@y"),
        ("http://mail.example:25", "x@y"),
        ("smtp://mail.example", "x@y"),
        ("smtp://mail.example:99999", "x@y"),
        ("smtp+tls://u:word@mail.example:587", ""),
    ],
)
def test_a_wrong_mail_server_is_refused_without_its_password(environment, url, sender):
    environment(NOVA_MAIL_URL=url, NOVA_MAIL_FROM=sender)

    with pytest.raises(ImproperlyConfigured, match=r"^NOVA_MAIL_URL is not") as refused:
        login_settings.read_mail_settings(debug=False)

    assert "word@" not in str(refused.value).replace("password@host", "")


def test_a_key_of_before_that_can_be_guessed_is_refused(environment):
    environment(SECRET_KEY_FALLBACKS="a")

    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FALLBACKS"):
        login_settings.read_earlier_secret_keys()
