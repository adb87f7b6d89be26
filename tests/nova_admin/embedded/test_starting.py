"""What `manage.py` puts into its environment in development."""

import os

import pytest

from nova_admin.embedded import starting
from nova_admin.embedded.aws import RunningServer

AWS = "AWS_ENDPOINT_URL_SECRETS_MANAGER"


@pytest.fixture
def environment(monkeypatch) -> dict[str, str]:
    """A real key and profile are set; both servers come up at once."""
    real = {
        "AWS_ACCESS_KEY_ID": "REAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
    }
    monkeypatch.setattr(os, "environ", real | {"AWS_PROFILE": "real", AWS: " "})
    monkeypatch.setattr(starting.postgres, "start_server", lambda _: "postgresql:///embedded")
    server = RunningServer("http://127.0.0.1:9", "EMBEDDED1")
    monkeypatch.setattr(starting.aws, "start_server", lambda _: server)
    return os.environ


def test_the_embedded_aws_is_asked_with_its_own_key_and_never_sent_a_real_one(environment):
    starting.start_stores()

    environment.pop("PYTEST_CURRENT_TEST", None)
    assert environment == {
        "DATABASE_URL": "postgresql:///embedded",
        "NOVA_EMBEDDED_DATABASE": "postgresql:///embedded",
        AWS: "http://127.0.0.1:9",
        "NOVA_EMBEDDED_AWS": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "EMBEDDED1",
        "AWS_SECRET_ACCESS_KEY": "embedded",
    }


def test_a_child_keeps_the_key_that_it_was_given(environment):
    starting.start_stores()
    given = dict(environment)

    starting.start_stores()

    assert environment == given


def test_an_aws_that_somebody_named_keeps_their_key(environment):
    environment[AWS] = "https://secretsmanager.eu-west-1.amazonaws.com"

    starting.start_stores()

    assert environment["AWS_ACCESS_KEY_ID"] == "REAL"
    assert environment["AWS_PROFILE"] == "real"
    assert "NOVA_EMBEDDED_AWS" not in environment
