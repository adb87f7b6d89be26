"""What happens to client, role and stores while a rotation is under way: nothing of it is lost or passed over."""

from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest

from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.outgoing import LoginFailedError, LoginOutcome
from migration.logins import rotations
from migration.logins.models import RotationOutcome
from migration.logins.models import RotationStep as Step
from migration.logins.pending import ROTATION_LEFT_PENDING
from migration.logins.role_passwords import ROTATION_NOT_LOGGED_IN
from migration.logins.rotations import (
    ROTATION_WRITTEN_MEANWHILE,
    go_on_with_rotation,
    write_changed_values,
)
from migration.models import Rotation
from migration.secrets.layouts import follow_new_slugs
from nova_credentials.phases import Phase
from tests.factories import make_database, update
from tests.migration.logins.rotations.conftest import (
    SECRET,
    assert_rotated,
    open_plainly,
    readers_logging_in,
)
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_stopped import (
    AFTER_THE_CHANGE,
    BEFORE_THE_CHANGE,
    Killed,
    interrupt,
    killed_at_login,
)

DATABASES = "client_database_credentials"


def in_pending(role, name: str = SECRET) -> str:
    return role.sm.get_stage(name, "AWSPENDING").to_document()["database"]["password"]


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])
def test_a_server_that_refuses_for_another_reason_than_the_password_is_waited_for(role_in, phase):
    role = role_in(phase)
    interrupt(role, AFTER_THE_CHANGE)

    for code in ("28000", "3D000", "42501", "53300", "08P01"):

        @contextmanager
        def refuse(login, code=code):
            raise LoginFailedError(LoginOutcome.REFUSED, code=code)
            yield

        waiting = go_on_with_rotation(client_id=role.client_id, open_login=refuse)

        assert (waiting.outcome, waiting.message.key) == ("", ROTATION_NOT_LOGGED_IN.key), code
        assert role.logs_in(in_pending(role)), code
    assert_rotated(go_on(role.client_id))
    assert "AWSPENDING" not in role.stages()


@pytest.mark.parametrize(
    ("phase", "at"),
    [
        (Phase.DUAL_READ, BEFORE_THE_CHANGE),
        (Phase.AWS, AFTER_THE_CHANGE),
        pytest.param(Phase.DUAL_READ, AFTER_THE_CHANGE, marks=pytest.mark.nightly),
    ],
)
def test_another_slug_meanwhile_loses_no_password(role_in, phase, at):
    role = role_in(phase)
    interrupt(role, at)
    update("clients", role.client_id, slug="renamed")
    follow_new_slugs(seconds=60)  # not before the rotation is over
    if at == AFTER_THE_CHANGE:
        # Readers by the new slug find the new password before it is stored.
        with pytest.raises(Killed):
            go_on_with_rotation(client_id=role.client_id, open_login=killed_at_login(1))
        assert role.logs_in(in_pending(role))
        with readers_logging_in("renamed"):
            pass

    assert_rotated(go_on(role.client_id))

    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())
    assert "AWSPENDING" not in role.stages()
    follow_new_slugs(seconds=60)
    assert role.in_aws("renamed") == role.in_row()
    with readers_logging_in("renamed"):
        pass


def test_a_server_that_is_too_busy_for_the_former_password_is_waited_for(role_in):
    role = role_in(Phase.AWS)
    interrupt(role, BEFORE_THE_CHANGE)
    former = role.in_aws()

    @contextmanager
    def open_login(login):
        if login.password == former:
            raise LoginFailedError(LoginOutcome.UNREACHABLE, code="53300")
        with open_plainly(login) as session:
            yield session

    waiting = go_on_with_rotation(client_id=role.client_id, open_login=open_login)

    assert (waiting.outcome, waiting.message.key) == ("", ROTATION_NOT_LOGGED_IN.key)
    assert_rotated(go_on(role.client_id))


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])
def test_a_session_that_is_lost_before_the_former_password_is_put_back_is_waited_for(
    role_in, phase
):
    role = role_in(phase)
    opened = []

    @contextmanager
    def open_login(login):
        if login.password != "example-a":
            role.execute(f"SELECT pg_terminate_backend({opened[-1]}, 5000)")
            raise LoginFailedError(LoginOutcome.REFUSED, code="28P01")
        with open_plainly(login) as session:
            opened.append(session.info.backend_pid)
            yield session

    waiting = role.rotate(open_login=open_login)

    assert (waiting.outcome, waiting.message.key) == ("", ROTATION_NOT_LOGGED_IN.key)
    assert role.logs_in(in_pending(role))
    assert_rotated(go_on(role.client_id))


@pytest.mark.parametrize("at", [1, 2])
def test_a_password_that_somebody_stores_in_the_last_moment_is_not_overwritten(
    role_in, monkeypatch, at
):
    """The role has the new one; whoever stores another one has changed it again, or will be told."""
    role = role_in(Phase.DUAL_READ)
    if at == 1:
        write_before(role, monkeypatch, "note_step", lambda step, **_: step == Step.SET)
    else:
        write_before(role, monkeypatch, "note_step", lambda step, **_: step == Step.KEPT)

    waiting = role.rotate()

    assert waiting.outcome == ""
    assert waiting.message == ROTATION_WRITTEN_MEANWHILE()
    assert role.in_row() == "by-hand"
    assert role.logs_in(in_pending(role))
    role.change_at_server("by-hand")
    assert_rotated(go_on(role.client_id))
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())


def write_before(role, monkeypatch, method: str, is_wanted) -> None:
    """Have somebody write the row just before the rotation's record is."""
    former = getattr(Rotation, method)

    def write(rotation, *args, **changed) -> None:
        if is_wanted(*args, **changed):
            update(DATABASES, role.row, db_password_encrypted="by-hand")
        former(rotation, *args, **changed)

    monkeypatch.setattr(Rotation, method, write)


def test_a_password_that_somebody_writes_to_aws_in_the_last_moment_is_not_overwritten(
    role_in, monkeypatch
):
    role = role_in(Phase.AWS)
    former = Rotation.note_step

    def write(rotation, step, **changed) -> None:
        if step == Step.SET:
            document = role.sm.get_value(SECRET).to_document()
            document["database"]["password"] = "by-hand"
            role.sm.update_client_credentials("idom", document)
        former(rotation, step, **changed)

    with monkeypatch.context() as patched:
        patched.setattr(Rotation, "note_step", write)
        waiting = role.rotate()

    assert waiting.outcome == ""
    assert waiting.message == ROTATION_WRITTEN_MEANWHILE()
    assert role.in_aws() == "by-hand"
    assert role.logs_in(in_pending(role))
    assert_rotated(go_on(role.client_id))
    assert role.in_row() == role.in_aws()
    assert role.logs_in(role.in_row())


def test_a_put_back_that_fails_is_tried_again(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)
    over = []

    def refuse(*_args) -> None:
        over.append(True)
        raise psycopg.errors.CheckViolation

    with monkeypatch.context() as patched:
        patched.setattr(rotations, "write_changed_values", refuse_as_a_table(refuse))

        @contextmanager
        def open_login(login):
            if over:
                raise LoginFailedError(LoginOutcome.UNREACHABLE)
            with open_plainly(login) as connection:
                yield connection

        waiting = role.rotate(open_login=open_login)
    assert (waiting.outcome, waiting.message.key) == ("", ROTATION_NOT_LOGGED_IN.key)
    assert role.logs_in(in_pending(role))
    assert write_changed_values is rotations.write_changed_values
    assert_rotated(go_on(role.client_id))


def refuse_as_a_table(refuse):
    from django.db import IntegrityError

    def save(*args) -> None:
        try:
            refuse(*args)
        except psycopg.Error as error:
            raise IntegrityError from error

    return save


def test_what_an_earlier_rotation_left_stays_where_a_new_one_is_not_begun(role_in):
    """Its record may be gone: the tables are a backup's, from before it."""
    role = role_in(Phase.AWS)
    interrupt(role, AFTER_THE_CHANGE)
    Rotation.objects.all().delete()
    left = in_pending(role)

    @contextmanager
    def unreachable(login):
        raise LoginFailedError(LoginOutcome.UNREACHABLE)
        yield

    assert role.rotate(open_login=unreachable).outcome == RotationOutcome.REFUSED
    assert in_pending(role) == left
    stop_aws_writes(reason="a test")
    assert role.rotate().message.key == "writes_stopped"
    assert in_pending(role) == left
    start_aws_writes()
    assert_rotated(role.rotate())
    assert role.logs_in(role.in_row())


def test_what_an_earlier_rotation_left_of_another_login_is_not_lost(role_in):
    role = role_in(Phase.DUAL_READ)
    row, user = role.read_row(), f"{role.user}_reports"
    make_database(
        role.client_id,
        db_host=row.db_host,
        db_port=row.db_port,
        db_name="postgres",
        db_user=user,
        db_password_encrypted="example-r",
        label="reports",
        is_primary=False,
    )
    role.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'example-r'")
    try:
        role.stand(Phase.DUAL_WRITE)
        assert_rotated(role.rotate())
        role.stand(Phase.AWS)
        interrupt(role, AFTER_THE_CHANGE)
        pending = role.sm.get_stage(SECRET, "AWSPENDING")
        Rotation.objects.all().delete()

        refused = role.rotate(label="reports")

        assert refused.outcome == RotationOutcome.REFUSED
        assert refused.message.key == ROTATION_LEFT_PENDING.key
        assert role.sm.get_stage(SECRET, "AWSPENDING").version_id == pending.version_id
        assert_rotated(role.rotate())
        assert_rotated(role.rotate(label="reports"))
    finally:
        role.execute(f"DROP ROLE {user}")
    assert role.logs_in(role.in_aws())


def test_a_run_comes_back_to_what_was_hindered_before_it_began(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)

    @contextmanager
    def unreachable(login):
        raise LoginFailedError(LoginOutcome.UNREACHABLE)
        yield

    monkeypatch.setattr(
        rotations,
        "rotate_database",
        lambda **options: role.rotate(open_login=unreachable, label=options["label"]),
    )
    item = SimpleNamespace(client_id=role.client_id, outcome="", message=None, error_class="")
    begun_at = role.read_row().created_at
    run = SimpleNamespace(
        by_name="maria", by=None, created_at=begun_at, was_begun_by_schedule=False
    )
    again = rotations.process_rotation_items(run, {role.client_id: item})
    assert again == [item]
    assert Rotation.objects.get().outcome == RotationOutcome.REFUSED
