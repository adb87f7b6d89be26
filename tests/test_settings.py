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


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL"])
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
