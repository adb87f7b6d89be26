"""The settings of the login: their defaults, and every one that is refused at the start, without its value."""

import os

import pytest
from django.core.exceptions import ImproperlyConfigured

from nova_admin import environment as login_settings
from nova_admin.environment import Environment

SECRET = "example-client-secret"
COMPLETE = {
    "NOVA_OIDC_ISSUER": "https://idp.example/realms/nova",
    "NOVA_OIDC_CLIENT_ID": "nova",
    "NOVA_OIDC_CLIENT_SECRET": SECRET,
    "NOVA_OIDC_GROUPS": "ops=Operator",
}


@pytest.fixture
def environment(monkeypatch):
    for name in [n for n in os.environ if n.startswith(("NOVA_", "SECRET_KEY_", "DEBUG"))]:
        monkeypatch.delenv(name)

    def set_variables(**variables: str) -> Environment:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Environment(
            DEBUG=(login_settings.parse_flag, False),
            SECRET_KEY_FALLBACKS=(login_settings.parse_former_keys, []),
            **login_settings.LOGIN_VARIABLES,
            **login_settings.MAIL_VARIABLES,
        )

    return set_variables


@pytest.mark.parametrize(
    ("value", "debug", "required"),
    [("", "", True), ("", "1", False), ("1", "1", True), ("0", "", False)],
)
def test_a_second_factor_is_required_in_production_unless_it_says_otherwise(
    environment, value, debug, required
):
    env = environment(NOVA_REQUIRE_SECOND_FACTOR=value, DEBUG=debug)

    assert login_settings.requires_second_factor(env) is required


def test_without_variables_there_is_no_provider(environment):
    # As .env.example has them.
    env = environment(NOVA_OIDC_GROUPS_CLAIM="groups", NOVA_OIDC_SCOPES="", NOVA_OIDC_ISSUER="")

    assert login_settings.read_oidc_provider(env) is None


def test_a_provider_is_read_with_its_groups_and_its_secret_is_in_no_text(environment):
    env = environment(**COMPLETE | {"NOVA_OIDC_GROUPS": "ops = Operator, a=b=Viewer"})

    provider = login_settings.read_oidc_provider(env)

    assert provider.groups == {"ops": "Operator", "a=b": "Viewer"}
    assert (provider.groups_claim, provider.scopes) == ("groups", "openid profile email")
    assert not provider.over_http
    assert SECRET not in repr(provider)


@pytest.mark.parametrize("name", COMPLETE)
def test_an_incomplete_provider_is_refused(environment, name):
    env = environment(**COMPLETE | {name: ""})

    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not set"):
        login_settings.read_oidc_provider(env)


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
    env = environment(**COMPLETE | {name: value})

    with pytest.raises(ImproperlyConfigured) as refused:
        login_settings.read_oidc_provider(env)

    assert str(refused.value).startswith(name)
    assert "word" not in str(refused.value)


def test_a_provider_may_be_reached_over_http_in_development(environment):
    issuer = {"NOVA_OIDC_ISSUER": "http://127.0.0.1:8080", "NOVA_OIDC_GROUPS": "a=Viewer"}
    env = environment(**COMPLETE | issuer, DEBUG="1")

    assert login_settings.read_oidc_provider(env).over_http


@pytest.mark.parametrize(("debug", "backend"), [("1", "console"), ("", "dummy")])
def test_without_a_mail_server_mails_are_printed_in_development_alone(environment, debug, backend):
    found = login_settings.read_mail_settings(environment(DEBUG=debug))

    assert found["EMAIL_BACKEND"] == f"django.core.mail.backends.{backend}.EmailBackend"


def test_a_mail_server_is_read(environment):
    env = environment(
        NOVA_MAIL_URL="smtp+tls://nova:w%40rd@mail.example:587", NOVA_MAIL_FROM="nova@example.test"
    )

    found = login_settings.read_mail_settings(env)

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
    env = environment(NOVA_MAIL_URL=url, NOVA_MAIL_FROM=sender)

    with pytest.raises(ImproperlyConfigured, match=r"^NOVA_MAIL_URL is not") as refused:
        login_settings.read_mail_settings(env)

    assert "word@" not in str(refused.value).replace("password@host", "")


def test_a_key_of_before_that_can_be_guessed_is_refused(environment):
    env = environment(SECRET_KEY_FALLBACKS="a")

    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FALLBACKS"):
        env("SECRET_KEY_FALLBACKS")
