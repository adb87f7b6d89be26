"""Rotations by the site's own way to log in: over verified TLS, in sessions that only read but for the change."""

import psycopg
import pytest

from migration.logins.attempts import DatabaseLogin
from migration.logins.role_passwords import (
    ROTATION_SERVER_IN_RECOVERY,
    RoleRefusedError,
    open_login,
    require_changeable,
)
from nova_admin.embedded.postgres import ASKED_FOR_PASSWORD
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.core.aws_writes.servers import start_cluster, stop_cluster
from tests.migration.logins.rotations.conftest import assert_rotated
from tests.migration.logins.tests.conftest import logins_stay_here, reachable, servers
from tests.migration.logins.tests.servers import HOST
from tests.nova_credentials.in_phases import bring

__all__ = ["logins_stay_here", "reachable", "servers"]


@pytest.fixture
def standby(tmp_path):
    """A server that takes no writes, with a role that logs in by its password; its URI."""
    primary = start_cluster(tmp_path / "server")
    with psycopg.connect(primary.uri, autocommit=True) as connection:
        connection.execute(
            f"CREATE ROLE {ASKED_FOR_PASSWORD};"
            f"CREATE ROLE ana LOGIN PASSWORD 'example-a' IN ROLE {ASKED_FOR_PASSWORD}"
        )
    stop_cluster(primary)
    data = tmp_path / "server" / "data"
    (data / "standby.signal").touch()
    cluster = start_cluster(tmp_path / "server")
    yield cluster.uri
    stop_cluster(cluster)


def test_a_login_over_tls_is_rotated(role, servers):
    port = servers.database(behind=role.server)
    update("client_database_credentials", role.row, db_host=HOST, db_port=port)
    bring(role.client_id, Phase.DUAL_READ)

    assert_rotated(role.rotate(open_login=open_login))

    assert role.in_row() == role.in_aws() != "example-a"
    assert role.logs_in(role.in_row())


def test_a_standby_is_told_as_what_it_is(servers, standby):
    port = servers.database(behind=standby)
    login = DatabaseLogin(HOST, port, "postgres", "ana", "example-a")

    with pytest.raises(RoleRefusedError) as refused:
        require_changeable(login, open_login)

    assert refused.value.message == ROTATION_SERVER_IN_RECOVERY()
