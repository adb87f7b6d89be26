"""The stores of every test: the worker's own database and its own embedded AWS, both empty at the start."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django_q.signals import post_spawn

from migration.operations.limiter import limiter
from nova_admin.embedded.aws import AwsServer


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup) -> Iterator[None]:
    """The worker's database, from which this process' limiter has gone before it is dropped."""
    # Tests that play a worker are no worker process: a thread would outlive them, with its connection.
    post_spawn.disconnect(dispatch_uid="migration.start_heartbeat")
    yield
    limiter().close()


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def aws(aws_server, settings, monkeypatch) -> AwsServer:
    """The strict embedded AWS, empty, where settings and boto3 look for it."""
    aws_server.reset()
    settings.AWS_ENDPOINT_URL = aws_server.endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws_server.endpoint)
    return aws_server


@pytest.fixture
def stores(transactional_db, aws, monkeypatch) -> Iterator[AwsServer]:
    """Both stores, with real transactions: what is committed is seen by other connections."""
    monkeypatch.setattr("migration.operations.comparing.RECHECK_AFTER_SECONDS", 0)
    yield aws
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE public.clients CASCADE")
        cursor.execute("TRUNCATE nova_admin.client_aws_credentials")
