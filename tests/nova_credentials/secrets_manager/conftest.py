"""Managers of the embedded AWS, in each layout and behind faults."""

import pytest
from botocore.stub import Stubber

from nova_admin.embedded.aws import AwsServer
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.document import Layout
from tests.nova_credentials.secrets_manager.managers import Faults, manager


@pytest.fixture
def sm(aws):
    return manager(aws.endpoint, Layout.CLIENT)


@pytest.fixture(scope="module")
def behind_faults():
    faults = Faults()
    with AwsServer(wrap=faults.wrap) as server:
        # It tries once, with the patience of a busy machine.
        sm = ClientSecretsManager(endpoint_url=server.endpoint, max_attempts=1, read_timeout=60)
        yield server, sm, faults


@pytest.fixture
def faulty(behind_faults):
    server, sm, faults = behind_faults
    server.reset()
    faults.planned, faults.calls = [], []
    return sm


@pytest.fixture
def faults(faulty, behind_faults):
    return behind_faults[2]


@pytest.fixture
def stubbed(sm):
    with Stubber(sm.sm) as stub:
        yield sm, stub
