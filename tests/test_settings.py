"""What the site asks of its surroundings, as whoever starts it is told."""

import pytest

from tests.nova import manage

PRODUCTION = {
    "DEBUG": "",
    "SECRET_KEY": "a-key-for-this-test-only-" + "0" * 40,
    "ALLOWED_HOSTS": "example.invalid",
    "DATABASE_URL": "postgresql:///unused",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": "",
    "AWS_ACCESS_KEY_ID": "example",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def test_production_starts_with_everything_set():
    assert manage("check", **PRODUCTION).returncode == 0


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS"])
def test_production_refuses_to_start_without(name):
    result = manage("check", **PRODUCTION | {name: ""})
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"Not configured: {name} is not set. Set it, or set DEBUG=1 for development."
    ]


def test_production_refuses_to_start_without_aws():
    result = manage("check", **PRODUCTION | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "AWS_ACCESS_KEY_ID" in result.stderr


def test_a_wrong_database_url_is_not_repeated():
    result = manage("check", **PRODUCTION | {"DATABASE_URL": "postgres//user:example-word@host"})
    assert result.returncode == 2
    assert "DATABASE_URL" in result.stderr
    assert "example-word" not in result.stdout + result.stderr


def test_the_demo_is_not_there_in_production():
    result = manage("demo", **PRODUCTION)
    assert result.returncode != 0
    assert "Unknown command: 'demo'" in result.stderr


def test_an_unreachable_database_is_one_line():
    result = manage(
        "client_status",
        **PRODUCTION | {"DATABASE_URL": "postgresql://nova@127.0.0.1:1/nova?connect_timeout=2"},
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("The database does not answer")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("NOVA_WORKERS", "abc"),
        ("NOVA_WORKERS", "0"),
        ("NOVA_CLEAN_STREAK", "-1"),
        ("NOVA_SWEEP_MINUTES", "1.5"),
        ("SECURE_HSTS_SECONDS", "a year"),
        ("SECURE_SSL_REDIRECT", "maybe"),
        ("AWS_PROFILE", "not-there"),
        ("AWS_REGION", "us east"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "nonsense"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://host:port"),
        ("NOVA_SECRET_PREFIX", ""),
        ("NOVA_SECRET_PREFIX", "/"),
        ("NOVA_SECRET_PREFIX", "nova clients"),
        ("NOVA_SECRET_PREFIX", "clientes/ñ"),
        ("NOVA_SECRET_PREFIX", "x" * 256),
        ("NOVA_SECRET_LAYOUT", "both"),
        ("DATABASE_URL", "postgresql://host"),
        ("ALLOWED_HOSTS", " , "),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name, value):
    result = manage("check", **PRODUCTION | {name: value})
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Not configured: {name} ")


OPTIONAL = [
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_PROFILE",
    "AWS_REGION",
    "CSRF_TRUSTED_ORIGINS",
    "LOG_LEVEL",
    "NOVA_CLEAN_STREAK",
    "NOVA_SECRET_LAYOUT",
    "NOVA_SWEEP_MINUTES",
    "NOVA_WORKERS",
    "SECURE_HSTS_SECONDS",
    "SECURE_SSL_REDIRECT",
]
SHOW = (
    "from django.conf import settings as s; from migration.operations.stores import secrets_manager;"
    "print(s.AWS_REGION, s.LOG_LEVEL, s.NOVA_CLEAN_STREAK, s.NOVA_SECRET_LAYOUT, s.NOVA_SWEEP_MINUTES,"
    " s.NOVA_WORKERS, s.SECURE_HSTS_SECONDS, s.SECURE_SSL_REDIRECT, s.CSRF_TRUSTED_ORIGINS,"
    " secrets_manager().sm.meta.endpoint_url)"
)


def test_an_empty_setting_means_its_default():
    result = manage("shell", "-v", "0", "-c", SHOW, **PRODUCTION | dict.fromkeys(OPTIONAL, ""))
    assert result.stdout.split() == [
        "us-east-1", "INFO", "3", "client", "15", "2", "31536000", "True", "[]",
        "https://secretsmanager.us-east-1.amazonaws.com",
    ]  # fmt: skip


def test_a_level_of_logging_may_be_in_small_letters():
    assert manage("check", **PRODUCTION | {"LOG_LEVEL": "debug"}).returncode == 0


def test_a_profile_that_is_not_there_is_told_in_development_too_where_aws_is_named():
    named = {"DEBUG": "1", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}
    result = manage("check", **PRODUCTION | named | {"AWS_PROFILE": "not-there"})
    assert result.returncode == 2
    assert result.stderr.startswith("Not configured: AWS_PROFILE ")
