"""Other logins that lead to the role of a rotated one: under the same name of the server, or under another."""

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from migration.logins.attempts import DatabaseLogin
from migration.logins.models import RotationOutcome
from migration.logins.role_passwords import (
    ROTATION_LOGIN_ELSEWHERE,
    ROTATION_LOGIN_SHARED,
    change_password,
)
from migration.pushes.known_values import note_written_rows
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, update
from tests.migration.logins.rotations.conftest import assert_rotated, open_plainly
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_stopped import (
    AFTER_THE_CHANGE,
    assert_ended,
    assert_unchanged,
    interrupt,
)
from tests.nova_credentials.in_phases import bring

POOLER = {"db_host": "pooler.example.test", "db_port": 6432}


def add_other_client(role, **columns) -> int:
    pk = make_client("other")
    make_database(pk, db_user=role.user, **POOLER, **columns)
    return pk


def test_another_clients_login_under_another_name_of_the_server_is_not_locked_out(role_in):
    role = role_in(Phase.DUAL_READ)
    other = add_other_client(role, db_password_encrypted="example-a")
    for phase in (Phase.POSTGRES, Phase.PURGED):
        if phase == Phase.PURGED:
            note_written_rows()
            bring(other, phase)

        rotation = role.rotate()

        assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_LOGIN_SHARED)
        assert "other" in str(rotation.message)
        assert_unchanged(role)
        assert role.logs_in("example-a")


def test_a_namesake_with_another_password_is_another_role(role_in):
    role = role_in(Phase.DUAL_READ)
    other = add_other_client(role, db_password_encrypted="example-of-another")
    note_written_rows()
    bring(other, Phase.PURGED)
    assert_rotated(role.rotate())


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.PURGED])
def test_the_clients_own_login_under_another_name_is_not_locked_out(role_in, phase):
    role = role_in(Phase.POSTGRES)
    pooled = make_database(
        role.client_id,
        **POOLER,
        db_user=role.user,
        db_password_encrypted="example-a",
        label="pooled",
        is_primary=False,
    )
    bring(role.client_id, phase)

    rotation = role.rotate()

    assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_LOGIN_ELSEWHERE)
    assert "pooler.example.test:6432" in str(rotation.message)
    assert role.logs_in("example-a")
    if phase != Phase.PURGED:
        update("client_database_credentials", pooled, db_password_encrypted="example-b")
        assert_rotated(role.rotate())


def test_the_password_that_is_valid_is_looked_for_in_other_logins_too(role_in):
    """Not only the stored one, which a mistaken edit may have replaced."""
    role = role_in(Phase.AWS)
    add_other_client(role, db_password_encrypted="example-a")
    role.sm.rotate_password("idom", "database", "example-mistaken")

    rotation = role.rotate()

    assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_LOGIN_SHARED)
    assert role.logs_in("example-a")


def test_a_login_that_only_got_another_name_meanwhile_is_gone_on_with(role_in, tmp_path):
    role = role_in(Phase.DUAL_READ)
    interrupt(role, AFTER_THE_CHANGE)
    alias = tmp_path / "alias"
    alias.symlink_to(role.read_row().db_host)
    update("client_database_credentials", role.row, db_host=str(alias))

    assert_rotated(go_on(role.client_id))

    assert role.read_row().db_host == str(alias)
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())
    assert "AWSPENDING" not in role.stages()


def test_a_session_is_left_as_it_was(role_in):
    """Behind a pooler in transaction mode it is another client's afterwards."""
    role = role_in(Phase.DUAL_READ)
    role.execute("ALTER ROLE {} SET search_path = somewhere")
    role.execute("ALTER ROLE {} SET default_transaction_read_only = on")
    parts = conninfo_to_dict(role.server)
    login = DatabaseLogin(parts["host"], int(parts["port"]), "postgres", role.user, "example-a")
    with open_plainly(login) as connection:
        warnings: list[str] = []
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
        sessions = [connection]

        def open_login(wanted):
            return _Kept(sessions.pop()) if sessions else open_plainly(wanted)

        change_password(login, "example-b", open_login, before=lambda: None)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()[0]
            for name in (
                *("search_path", "default_transaction_read_only"),
                *("statement_timeout", "lock_timeout"),
            )
        }
    assert shown == {
        "search_path": "somewhere",
        "default_transaction_read_only": "on",
        "statement_timeout": "0",
        "lock_timeout": "0",
    }
    assert warnings == []  # they would fill the server's log
    assert role.logs_in("example-b")


def test_what_somebody_left_in_a_poolers_session_is_not_taken_for_postgresqls(role_in):
    role = role_in(Phase.DUAL_READ)
    parts = conninfo_to_dict(role.server)
    login = DatabaseLogin(parts["host"], int(parts["port"]), "postgres", role.user, "example-a")
    with open_plainly(login) as connection:
        connection.execute("CREATE TYPE pg_temp.text AS ENUM ('left')")
        connection.commit()
        sessions = [connection]

        def open_login(wanted):
            return _Kept(sessions.pop()) if sessions else open_plainly(wanted)

        change_password(login, "example-b", open_login, before=lambda: None)
    assert role.logs_in("example-b")


class _Kept:
    """A session that somebody else closes."""

    def __init__(self, connection) -> None:
        self.connection = connection

    def __enter__(self):
        return self.connection

    def __exit__(self, *_) -> None:
        pass
