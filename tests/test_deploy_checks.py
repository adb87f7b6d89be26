"""`check --deploy`: a list of what to set, the worst first, a line each with the variable and a value that is safe."""

import re

import pytest
from csp.constants import NONE, SELF, UNSAFE_INLINE

from migration import checks
from nova_admin import settings as own
from nova_admin.env_file import EXAMPLE
from nova_admin.trusted_proxies import TrustedProxies
from tests.checkout import manage
from tests.test_settings import PRODUCTION

CODE = checks.CODE


@pytest.fixture(autouse=True)
def as_in_production(settings) -> None:
    """The tests themselves run in development, with hardly any evidence."""
    settings.SECURE_HSTS_SECONDS, settings.SECURE_SSL_REDIRECT = 31_536_000, True
    settings.NOVA_REQUIRE_SECOND_FACTOR = True
    settings.NOVA_FINGERPRINT_KEY = PRODUCTION["NOVA_FINGERPRINT_KEY"]
    settings.NOVA_AUDIT = type(own.NOVA_AUDIT)(PRODUCTION["NOVA_AUDIT_KEY"])
    for name, (_least, usual, _effect) in checks.EVIDENCE.items():
        setattr(settings, name, usual)


def list_named() -> list[str]:
    return [what for what, _why in checks.find_weak_settings()]


def test_the_settings_as_they_are_need_no_word():
    assert list_named() == []


@pytest.mark.parametrize(
    ("name", "weak", "enough", "usual"),
    [
        ("NOVA_CLEAN_STREAK", 1, 2, 3),
        ("NOVA_DUAL_READ_HOURS", 0.02, 6.0, 24),
        ("NOVA_PURGE_AFTER_DAYS", 0.001, 1.0, 7),
        ("NOVA_MIN_READS", 0, 5, 20),
    ],
)
def test_each_line_of_the_gates_that_is_nearly_off_is_named(settings, name, weak, enough, usual):
    setattr(settings, name, weak)
    ((what, why),) = checks.find_weak_settings()
    assert what == f"{name}={usual}"
    assert why.startswith(f"it is {weak}, so ")
    assert own.env.scheme[name][1] == usual

    setattr(settings, name, enough)
    assert list_named() == []


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("NOVA_REQUIRE_SECOND_FACTOR", False, "NOVA_REQUIRE_SECOND_FACTOR=1"),
        ("NOVA_LOGIN_UNVERIFIED_DATABASES", True, "NOVA_LOGIN_UNVERIFIED_DATABASES=0"),
        ("NOVA_FINGERPRINT_KEY", "", "NOVA_FINGERPRINT_KEY=(a new key)"),
        ("NOVA_AUDIT", type(own.NOVA_AUDIT)(), "NOVA_AUDIT_KEY=(a new key)"),
        ("SECURE_SSL_REDIRECT", False, "SECURE_SSL_REDIRECT=1"),
        ("SECURE_HSTS_SECONDS", 0, "SECURE_HSTS_SECONDS=31536000"),
        ("SECURE_HSTS_SECONDS", 15_724_799, "SECURE_HSTS_SECONDS=31536000"),
        ("SESSION_COOKIE_AGE", 1801, "SESSION_COOKIE_AGE=1800"),
        ("NOVA_SESSION_LIMIT", 28_801, "NOVA_SESSION_LIMIT=28800"),
        ("AXES_FAILURE_LIMIT", 11, "AXES_FAILURE_LIMIT=5"),
        ("AXES_COOLOFF_TIME", 0.08, "AXES_COOLOFF_TIME=0.25"),
        ("DEBUG", True, "DEBUG="),
        # What only somebody who changes nova_admin/settings.py can do.
        ("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies", CODE),
        ("AXES_ENABLED", False, CODE),
        ("AUTHENTICATION_BACKENDS", ["django.contrib.auth.backends.ModelBackend"], CODE),
        ("AXES_LOCKOUT_PARAMETERS", ["username"], CODE),
        ("AXES_LOCKOUT_PARAMETERS", ["ip_address"], CODE),
        ("AUTH_PASSWORD_VALIDATORS", [], CODE),
        ("CONTENT_SECURITY_POLICY", None, CODE),
        ("CONTENT_SECURITY_POLICY", {}, CODE),
        ("CONTENT_SECURITY_POLICY", {"DIRECTIVES": {}}, CODE),
    ],
)
def test_a_weak_setting_is_named_with_a_value_that_is_safe(settings, name, value, what):
    setattr(settings, name, value)

    assert list_named() == [what]


def test_a_time_of_https_alone_that_is_long_enough_needs_no_word(settings):
    settings.SECURE_HSTS_SECONDS = 15_724_800
    assert list_named() == []


@pytest.mark.parametrize("name", [checks.POLICY_MIDDLEWARE, "axes.middleware.AxesMiddleware"])
def test_a_middleware_that_is_gone_is_named(settings, name):
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if each != name]
    assert list_named() == [CODE]


def test_short_passwords_are_named(settings):
    validators = [dict(validator) for validator in settings.AUTH_PASSWORD_VALIDATORS]
    validators[1]["OPTIONS"] = {"min_length": 11}
    settings.AUTH_PASSWORD_VALIDATORS = validators

    assert list_named() == [CODE]


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

    ((what, why),) = checks.find_weak_settings()

    assert (what, why) == (CODE, f"the Content-Security-Policy lets others in: {name}")


def test_scripts_may_be_left_to_the_default_of_a_policy(settings):
    directives = dict(settings.CONTENT_SECURITY_POLICY["DIRECTIVES"])
    del directives["script-src"]
    settings.CONTENT_SECURITY_POLICY = {"DIRECTIVES": directives}
    assert list_named() == []


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
    assert list_named() == ["NOVA_TRUSTED_PROXIES=(the proxies alone)"] * named


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
def test_a_mail_servers_password_that_can_be_read_on_the_way_is_named(settings, changed, named):
    of_mail = {
        "EMAIL_BACKEND": checks.SMTP_BACKEND,
        "EMAIL_HOST": "mail.example",
        "EMAIL_HOST_PASSWORD": "word",
    }
    for name, value in (of_mail | changed).items():
        setattr(settings, name, value)
    assert list_named() == ["NOVA_MAIL_URL=smtp+tls://…"] * named


WEAK = {
    "NOVA_REQUIRE_SECOND_FACTOR": "0",
    "NOVA_TRUSTED_PROXIES": "0.0.0.0/1, 128.0.0.0/1",
    "NOVA_MAIL_URL": "smtp://nova:example-word@mail.example:25",
    "NOVA_MAIL_FROM": "nova@example.test",
    "SECURE_SSL_REDIRECT": "0",
    "SECURE_HSTS_SECONDS": "60",
    "NOVA_PURGE_AFTER_DAYS": "0.001",
    "NOVA_CLEAN_STREAK": "1",
    "NOVA_DUAL_READ_HOURS": "0",
    "NOVA_MIN_READS": "0",
    "NOVA_LOGIN_UNVERIFIED_DATABASES": "1",
    "NOVA_AUDIT_KEY": "",
    "NOVA_FINGERPRINT_KEY": "",
    "AXES_FAILURE_LIMIT": "1000",
    "AXES_COOLOFF_TIME": "0",
    "NOVA_SESSION_LIMIT": "1209600",
    "SESSION_COOKIE_AGE": "3600",
}


def list_lines(**environment: str) -> list[str]:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | environment)
    assert "example-word" not in result.stdout + result.stderr
    _before, lines, after = result.stderr.partition("WARNINGS:\n")
    assert result.returncode == (1 if lines else 0)
    return after.split("\n\n")[0].split("\n") if lines else []


def test_the_list_has_a_line_for_each_weak_variable_the_worst_first():
    lines = list_lines(**WEAK)

    named = [re.fullmatch(r" ?(\d+)\. ([A-Z_]+)=.+: .+\.", line) for line in lines]
    assert [each and each[1] for each in named] == [
        str(n) for n in range(1, len(WEAK))
    ]  # NOVA_MAIL_FROM is none
    assert [each and each[2] for each in named] == [n for n in WEAK if n != "NOVA_MAIL_FROM"]
    assert all(len(line) < 150 for line in lines)


def test_in_development_the_list_is_one_line():
    assert list_lines(DEBUG="1", AWS_ENDPOINT_URL_SECRETS_MANAGER="http://127.0.0.1:1") == [
        " 1. DEBUG=: it is for development, and most of what follows is not looked at with it."
    ]


def test_production_needs_no_word_and_what_is_named_is_a_setting():
    assert list_lines() == []
    known = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert WEAK.keys() <= known
