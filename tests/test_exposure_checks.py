"""That the deploy check names each setting by which others get into a page, are believed, or read on the way."""

import pytest
from csp.constants import NONE, SELF, UNSAFE_INLINE

from migration.checks import POLICY_MIDDLEWARE, SMTP_BACKEND, check_exposure
from nova_admin.trusted_proxies import TrustedProxies
from tests.checkout import manage
from tests.test_settings import PRODUCTION


@pytest.fixture(autouse=True)
def as_in_production(settings) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000


def list_named() -> list[str]:
    return [str(warning.id) for warning in check_exposure()]


def test_the_settings_as_they_are_need_no_word():
    assert list_named() == []


def test_pages_without_a_policy_are_named(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name != POLICY_MIDDLEWARE]
    assert list_named() == ["migration.W013"]


@pytest.mark.parametrize("policy", [None, {}, {"DIRECTIVES": {}}])
def test_an_empty_policy_is_named(settings, policy):
    settings.CONTENT_SECURITY_POLICY = policy
    assert list_named() == ["migration.W013"]


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("script-src", [SELF, UNSAFE_INLINE]),
        ("script-src", [SELF, "https://cdn.example.com"]),
        ("script-src", []),
        ("form-action", ["*"]),
        ("base-uri", None),
        ("frame-ancestors", [NONE, "https:"]),
    ],
)
def test_a_policy_that_lets_others_in_is_named_with_what_does(settings, name, sources):
    policy = settings.CONTENT_SECURITY_POLICY
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": policy["DIRECTIVES"] | {name: sources}}

    (warning,) = check_exposure()

    assert warning.msg == f"The Content-Security-Policy lets others in: {name}."


def test_scripts_may_be_left_to_the_default_of_a_policy(settings):
    directives = dict(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"])
    del directives["script-src"]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": directives}
    assert list_named() == []


@pytest.mark.parametrize(("seconds", "named"), [(1, 1), (15_724_799, 1), (15_724_800, 0), (0, 0)])
def test_a_short_time_of_https_alone_is_named_and_none_is_django_s_to_name(
    settings, seconds, named
):
    settings.SECURE_HSTS_SECONDS = seconds
    assert list_named() == ["migration.W014"] * named


@pytest.mark.parametrize(
    ("proxies", "named"),
    [
        ("0.0.0.0/1, 128.0.0.0/1", 1),
        ("10.0.0.0/7", 1),
        ("8.0.0.0/8, 9.0.0.0/8", 1),
        ("2000::/15", 1),
        ("0.0.0.0/1, ::/1", 1),
        ("10.0.0.0/8, 192.168.0.0/16, 2001:db8::/32, unix", 0),
    ],
)
def test_networks_of_proxies_that_hold_half_the_world_are_named(settings, proxies, named):
    settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse(proxies)
    assert list_named() == ["migration.W015"] * named


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({}, 1),
        ({"EMAIL_USE_TLS": True}, 0),
        ({"EMAIL_USE_SSL": True}, 0),
        ({"EMAIL_HOST": "localhost"}, 0),
        ({"EMAIL_HOST_PASSWORD": ""}, 0),
    ],
)
def test_a_mail_server_s_password_that_can_be_read_on_the_way_is_named(settings, changed, named):
    of_mail = {
        "EMAIL_BACKEND": SMTP_BACKEND,
        "EMAIL_HOST": "mail.example",
        "EMAIL_HOST_PASSWORD": "word",
    }
    for name, value in (of_mail | changed).items():
        setattr(settings, name, value)
    assert list_named() == ["migration.W016"] * named


def test_the_deploy_check_names_each_weak_variable_in_production():
    weak = {
        "SECURE_HSTS_SECONDS": "60",
        "NOVA_TRUSTED_PROXIES": "0.0.0.0/1, 128.0.0.0/1",
        "NOVA_MAIL_URL": "smtp://nova:example-word@mail.example:25",
        "NOVA_MAIL_FROM": "nova@example.test",
    }

    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | weak)

    assert result.returncode == 1
    for code in ("W014", "W015", "W016"):
        assert f"(migration.{code}) " in result.stderr
    assert "example-word" not in result.stdout + result.stderr
