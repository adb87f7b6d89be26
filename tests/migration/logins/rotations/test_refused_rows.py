"""NOVA's table refuses the row with the new password: the role gets the former one back, or the new one is not lost."""

from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from migration.logins.models import RotationOutcome
from migration.logins.role_passwords import ROTATION_MAY_NOT_CHANGE_PASSWORD
from migration.logins.rotations import ROTATION_ROW_REFUSED
from nova_credentials.phases import Phase
from tests.migration.logins.rotations.conftest import assert_rotated, open_plainly
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_meanwhile import in_pending
from tests.migration.logins.rotations.test_stopped import assert_ended, assert_unchanged

TABLE = "public.client_database_credentials"
EITHER_AUTHORITY = pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])


@pytest.fixture
def accept_again(stores):
    """NOVA's table takes no password as long as a new one; what is returned has it take all."""

    def accept() -> None:
        execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT IF EXISTS short")

    execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT short CHECK (length(db_password_encrypted) < 30)")
    yield accept
    accept()


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_role_gets_its_former_password_back(role_in, accept_again):
    role = role_in(Phase.DUAL_READ)
    for phase in (Phase.DUAL_READ, Phase.AWS):
        role.stand(phase)

        rotation = role.rotate()

        assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_ROW_REFUSED)
        assert "23514" in str(rotation.message)
        assert_unchanged(role)
        assert role.logs_in("example-a")


@EITHER_AUTHORITY
def test_a_former_password_that_the_server_does_not_take_back_leaves_the_new_one_pending(
    role_in, accept_again, phase
):
    role = role_in(phase)
    changes = []

    @contextmanager
    def open_login(login):
        with open_plainly(login) as session:
            execute_there = session.execute

            def change_once(statement, *args):
                if isinstance(statement, psycopg.sql.Composed):
                    changes.append(login)
                    if len(changes) == 2:
                        raise psycopg.errors.InsufficientPrivilege
                return execute_there(statement, *args)

            session.execute = change_once
            yield session

    waiting = role.rotate(open_login=open_login)

    assert waiting.outcome == ""
    assert waiting.message.key == ROTATION_MAY_NOT_CHANGE_PASSWORD.key
    assert role.logs_in(in_pending(role))
    accept_again()
    assert_rotated(go_on(role.client_id))
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())
