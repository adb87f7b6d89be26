"""A client whose database is on a server that asks for passwords, and readers that log in there all the while."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from credentials.models import DatabaseCredential
from migration.core.outgoing import LoginFailedError, LoginOutcome
from migration.logins.attempts import DatabaseLogin
from migration.logins.models import RotationOutcome
from migration.logins.rotations import rotate_database
from migration.models import Rotation
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.reader.connections import connect_to_database
from nova_credentials.reader.routing import Reader
from tests.factories import nova_uri
from tests.nova_credentials.in_phases import bring, stand
from tests.nova_credentials.reader.conftest import login, login_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nova_credentials.phases import Phase

__all__ = ["login", "login_server"]

SECRET = "nova/clients/idom"


@contextmanager
def open_plainly(login: DatabaseLogin) -> Iterator[psycopg.Connection]:
    """A login as the site's own, but by the socket of the embedded server, which has no TLS."""
    try:
        connection = psycopg.connect(
            host=login.host,
            port=login.port,
            dbname=login.name,
            user=login.user,
            password=login.password,
        )
    except psycopg.OperationalError as error:
        refused = "authentication failed" in str(error)
        outcome = LoginOutcome.REFUSED if refused else LoginOutcome.UNREACHABLE
        raise LoginFailedError(outcome, code="28P01" if refused else "") from None
    with closing(connection):
        if not connection.pgconn.used_password:
            raise LoginFailedError(LoginOutcome.UNSAFE)
        yield connection


class Role:
    """The client, its role, and what the stores hold of its password."""

    def __init__(self, row: int, change, server: str) -> None:
        self.row, self.change_at_server, self.server = row, change, server
        there = self.read_row()
        self.client_id, self.user = there.client_id, there.db_user
        self.sm = ClientSecretsManager()

    def rotate(self, **options) -> Rotation:
        return rotate_database(client_id=self.client_id, **{"open_login": open_plainly, **options})

    def read_row(self) -> DatabaseCredential:
        return DatabaseCredential.objects.get(pk=self.row)

    def in_row(self) -> str:
        return self.read_row().db_password

    def stand(self, phase: Phase) -> None:
        stand(self.client_id, phase)

    def in_aws(self, slug: str = "idom") -> str:
        return self.sm.get_database_credentials(slug)["password"]

    def stages(self) -> set[str]:
        versions = self.sm.describe_secret(SECRET).versions
        return {stage for stages in versions.values() for stage in stages}

    def execute(self, statement: str) -> None:
        """As the server's superuser; `{}` is the role."""
        with psycopg.connect(self.server, autocommit=True) as superuser:
            superuser.execute(statement.replace("{}", self.user))

    def logs_in(self, password: str) -> bool:
        parts = conninfo_to_dict(self.server)
        try:
            with open_plainly(
                DatabaseLogin(parts["host"], int(parts["port"]), "postgres", self.user, password)
            ):
                return True
        except LoginFailedError:
            return False


@pytest.fixture
def role(login, login_server) -> Role:
    row, change = login
    return Role(row, change, login_server)


@pytest.fixture
def role_in(role):
    """The role's client in a phase, with both stores alike."""

    def bring_to(phase: str) -> Role:
        bring(role.client_id, phase)
        return role

    return bring_to


@contextmanager
def readers_logging_in(slug: str = "idom", *, number: int = 2) -> Iterator[SimpleNamespace]:
    """NOVA's readers, one with a cache and one without, that log in until the block ends; none may be refused."""
    over, seen = threading.Event(), SimpleNamespace(logins=0, refused=[])

    def log_in(reader: Reader) -> None:
        is_over = False
        while not is_over:
            try:
                connect_to_database(reader, slug, connect="psycopg").close()
                seen.logins += 1
            except Exception as error:  # noqa: BLE001  # told at the end
                seen.refused.append(repr(error))
            # The rotation needs this process too. From the change of the password on it takes many times this pause.
            is_over = over.wait(0.01)

    readers = [
        Reader(nova_uri(), cache_seconds=seconds, timeout=30) for seconds in (0, 1000)[:number]
    ]
    threads = [threading.Thread(target=log_in, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for reader in readers:
            reader.close()
    assert seen.logins
    assert not seen.refused


def assert_rotated(rotation: Rotation) -> None:
    assert (rotation.outcome, rotation.message) == (RotationOutcome.ROTATED, None)
