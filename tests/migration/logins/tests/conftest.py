"""The servers of these tests, one set for a process, and settings by which they may be reached."""

import pytest

from tests.migration.logins.tests.servers import Certificates, Servers, start_scram_server


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    servers = Servers(Certificates(tmp_path_factory.mktemp("certificates")))
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def scram_server():
    return start_scram_server()


@pytest.fixture
def logins_stay_here():
    """They do: every server of these tests is on the loopback."""


@pytest.fixture(autouse=True)
def reachable(settings, monkeypatch, servers):
    """Let logins reach the loopback, and trust the tests' authority."""
    settings.NOVA_LOGIN_PRIVATE_ADDRESSES = True
    monkeypatch.setenv("SSL_CERT_FILE", servers.certificates.file)
    servers.heard.clear()
