"""One embedded AWS for the tests of its conditions, and clients of it."""

from functools import cache

import pytest

from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.nova_admin.embedded.conftest import connect


@pytest.fixture(scope="module")
def shared():
    with AwsServer() as server:
        yield server


@pytest.fixture
def server(shared):
    """The module's one server, empty and without conditions."""
    shared.reset()
    return shared


@cache
def client(endpoint):
    return connect(endpoint, read_timeout=60)


@pytest.fixture
def sm(server):
    return client(server.endpoint)


@pytest.fixture
def manager(server, monkeypatch):
    """SecretsManager, which tries once and has the patience of a busy machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "embedded")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "embedded")
    return SecretsManager(endpoint_url=server.endpoint, max_attempts=1, read_timeout=60)
