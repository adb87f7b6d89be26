"""An interrupted rotation whose login somebody changes meanwhile: its new password is found again and not forgotten."""

import json
from contextlib import contextmanager

import pytest
from django.db import connection

from migration.core.outgoing import LoginFailedError, LoginOutcome
from migration.logins.models import RotationOutcome
from migration.logins.role_passwords import ROTATION_PUT_BACK
from migration.logins.rotations import (
    ROTATION_CLIENT_GONE,
    ROTATION_DESTINATION_CHANGED,
    ROTATION_NOTHING_LOGS_IN,
    go_on_with_rotation,
    go_on_with_rotations,
)
from migration.models import Rotation
from migration.pushes.pushes import push
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from nova_credentials.reader.connections import connect_to_database
from nova_credentials.reader.routing import Reader
from tests.factories import make_database, nova_uri, update
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated, open_plainly
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_meanwhile import in_pending
from tests.migration.logins.rotations.test_stopped import (
    AFTER_THE_CHANGE,
    Killed,
    assert_ended,
    interrupt,
    killed_at_login,
)
from tests.nova_credentials.in_phases import bring

DATABASES = "client_database_credentials"
EITHER_AUTHORITY = pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])


def assert_login_works(role) -> None:
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())
    assert "AWSPENDING" not in role.stages()


@EITHER_AUTHORITY
def test_another_login_becomes_the_primary_one(role_in, phase):
    role = role_in(Phase.POSTGRES)
    other = make_database(role.client_id, label="new", is_primary=False, db_user="another")
    update(DATABASES, role.row, label="former")
    bring(role.client_id, phase)
    interrupt(role, AFTER_THE_CHANGE)
    update(DATABASES, role.row, is_primary=False)
    update(DATABASES, other, is_primary=True)
    push(client_ids=[role.client_id])

    @contextmanager
    def open_login(login):
        assert login.user == role.user
        with open_plainly(login) as opened:
            yield opened

    assert_rotated(go_on_with_rotation(client_id=role.client_id, open_login=open_login))
    assert role.logs_in(role.in_row())
    assert "AWSPENDING" not in role.stages()


@EITHER_AUTHORITY
def test_the_login_gets_another_label(role_in, phase):
    role = role_in(Phase.POSTGRES)
    update(DATABASES, role.row, label="reports", is_primary=False)
    bring(role.client_id, phase)
    with pytest.raises(Killed):
        role.rotate(label="reports", open_login=killed_at_login(AFTER_THE_CHANGE))
    reader = Reader(nova_uri(), cache_seconds=0, timeout=30)
    try:
        connect_to_database(reader, "idom", "reports", connect="psycopg").close()
        update(DATABASES, role.row, label="reporting")
        push(client_ids=[role.client_id])
        connect_to_database(reader, "idom", "reporting", connect="psycopg").close()
    finally:
        reader.close()

    assert_rotated(go_on(role.client_id))
    assert role.logs_in(role.in_row())
    assert "AWSPENDING" not in role.stages()


def test_a_host_that_is_mistyped_for_a_minute(role_in):
    role = role_in(Phase.DUAL_READ)
    interrupt(role, AFTER_THE_CHANGE)
    good = role.read_row().db_host
    update(DATABASES, role.row, db_host="mistyped.example.test")
    stopped = go_on(role.client_id)
    assert_ended(stopped, RotationOutcome.STOPPED, ROTATION_DESTINATION_CHANGED)
    assert role.stages() == {"AWSCURRENT", "NOVA_STOPPED_ROTATION"}
    update(DATABASES, role.row, db_host=good)
    push(client_ids=[role.client_id])

    assert_rotated(role.rotate())
    assert_login_works(role)


def test_a_login_that_is_taken_out_of_aws_for_a_minute(role_in):
    role = role_in(Phase.AWS)
    interrupt(role, AFTER_THE_CHANGE)
    good = role.sm.get_value(SECRET).text
    role.sm.put_value(SECRET, json.dumps(json.loads(good) | {"database": None}))
    waiting = go_on(role.client_id)
    assert (waiting.outcome, waiting.message is None) == ("", False)
    role.sm.put_value(SECRET, good)

    assert_rotated(go_on(role.client_id))
    assert_login_works(role)


@EITHER_AUTHORITY
def test_the_password_of_a_stopped_rotation_is_found_again_and_the_next_one_makes_a_new_one(
    role_in, phase
):
    """The version of the stopped rotation keeps its stage, and has the password that is current now."""
    role = role_in(phase)
    stop_after_the_change(role)
    assert "AWSPENDING" not in role.stages()
    # It is pending again until it is stored: readers look for it there.
    with pytest.raises(Killed):
        role.rotate(
            open_login=killed_at_login(3)
        )  # of the current password, the new one, then the change
    found_again = in_pending(role)
    assert role.logs_in(found_again)
    assert_rotated(go_on(role.client_id))
    assert_login_works(role)
    first = role.sm.get_stage(SECRET, "NOVA_STOPPED_ROTATION")

    assert_rotated(role.rotate())
    assert not role.logs_in(found_again)
    assert_login_works(role)

    # Of two that stopped the later one is found.
    stop_after_the_change(role)
    assert role.sm.get_stage(SECRET, "NOVA_STOPPED_ROTATION").version_id != first.version_id
    assert_rotated(role.rotate())
    assert_login_works(role)


def stop_after_the_change(role) -> None:
    """Has a rotation stop that has given the role its new password."""
    interrupt(role, AFTER_THE_CHANGE)
    role.execute("ALTER ROLE {} VALID UNTIL '2020-01-01'")
    stopped = go_on(role.client_id)
    assert (stopped.outcome, stopped.message.key) == (
        RotationOutcome.STOPPED,
        ROTATION_NOTHING_LOGS_IN.key,
    )
    role.execute("ALTER ROLE {} VALID UNTIL 'infinity'")


def test_what_is_left_is_kept_where_the_answer_of_aws_is_lost(role_in, monkeypatch):
    """The record is gone, as after a backup was restored; then AWS takes the new version and doesn't say so."""
    role = role_in(Phase.AWS)
    interrupt(role, AFTER_THE_CHANGE)
    Rotation.objects.all().delete()
    former = SecretsManager.put_aside

    def lose(self, name, text, **options):
        former(self, name, text, **options)
        raise SecretsManagerError(ErrorClass.UNAVAILABLE, "NoAnswer", "PutSecretValue", name)

    with monkeypatch.context() as patched:
        patched.setattr(SecretsManager, "put_aside", lose)
        assert role.rotate().outcome == ""
    assert "AWSPENDING" in role.stages()
    assert_rotated(go_on(role.client_id))
    assert_login_works(role)


def test_the_password_of_the_version_before_a_mistaken_edit_is_used_and_that_of_an_old_one_is_not(
    role_in,
):
    role = role_in(Phase.AWS)
    first = role.sm.get_value(SECRET).version_id
    role.sm.rotate_password("idom", "database", "example-mistaken")

    assert_rotated(role.rotate())
    assert not role.logs_in("example-a")
    assert_login_works(role)
    role.sm.move_stage(SECRET, "AWSPENDING", to=first)
    assert_rotated(role.rotate())
    assert not role.logs_in("example-a")
    assert_login_works(role)


def test_the_client_is_deleted(role_in):
    role = role_in(Phase.DUAL_READ)
    interrupt(role, AFTER_THE_CHANGE)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM public.{DATABASES} WHERE client_id = %s", [role.client_id])
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [role.client_id])

    go_on_with_rotations(seconds=60)

    ended = Rotation.objects.get()
    assert ended.outcome == RotationOutcome.STOPPED
    assert ended.message == ROTATION_CLIENT_GONE(version=ended.version_id)
    assert "AWSPENDING" not in role.stages()
    assert "NOVA_STOPPED_ROTATION" in role.stages()


def test_the_reader_of_a_former_label_is_refused_by_no_other_role(role_in):
    """Pending passwords of other roles are not tried."""
    role = role_in(Phase.POSTGRES)
    make_database(role.client_id, label="new", is_primary=False, db_user="another")
    bring(role.client_id, Phase.AWS)
    document = role.sm.get_value(SECRET).to_document()
    document["database"]["user"] = "another"
    role.sm.put_aside(SECRET, json.dumps(document), stage="AWSPENDING")
    reader = Reader(nova_uri(), cache_seconds=0, timeout=30)
    try:
        reader.get_credential("idom", "database")
        found = reader.list_awspending_credentials("idom", CredentialType.DATABASE)
        assert role.user not in {each.db_user for each in found}
    finally:
        reader.close()


@contextmanager
def refuse_with(code: str, *, password: str):
    """A way to log in in which every other password than this one gets this answer."""

    @contextmanager
    def open_login(login):
        if login.password != password:
            raise LoginFailedError(LoginOutcome.UNREACHABLE, code=code)
        with open_plainly(login) as opened:
            yield opened

    yield open_login


def test_a_new_password_that_is_not_proven_is_put_back_while_the_session_is_open(role_in):
    role = role_in(Phase.DUAL_READ)
    for phase, code in (
        (Phase.DUAL_READ, "08P01"),
        (Phase.DUAL_READ, "28P01"),
        (Phase.AWS, "53300"),
        (Phase.AWS, ""),
    ):
        role.stand(phase)
        with refuse_with(code, password="example-a") as open_login:
            rotation = role.rotate(open_login=open_login)
        assert (rotation.outcome, rotation.message) == (
            RotationOutcome.REFUSED,
            ROTATION_PUT_BACK(),
        )
        assert role.in_row() == role.in_aws() == "example-a"
        assert_login_works(role)


def test_a_role_with_one_connection_alone_keeps_its_password(role_in):
    role = role_in(Phase.DUAL_WRITE)
    role.execute("ALTER ROLE {} CONNECTION LIMIT 1")
    assert role.rotate().outcome == RotationOutcome.REFUSED
    assert_login_works(role)
