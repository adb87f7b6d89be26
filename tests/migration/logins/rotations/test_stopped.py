"""What keeps a password from being rotated: each is told in a clear word, and leaves nothing half done."""

from contextlib import contextmanager
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection

from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.keys import load_version_keys
from migration.core.leases import LeaseKind, LeaseLostError
from migration.core.outgoing import LoginFailedError, LoginOutcome
from migration.logins import role_passwords, rotations
from migration.logins.attempts import DatabaseLogin
from migration.logins.models import ROTATION_EVENT, RotationOpenError, RotationOutcome
from migration.logins.models import RotationStep as Step
from migration.logins.pending import ROTATION_ELSEWHERE
from migration.logins.role_passwords import (
    ROTATION_LOGIN_SHARED,
    ROTATION_MAY_NOT_CHANGE_PASSWORD,
    ROTATION_NO_SUCH_LOGIN,
    ROTATION_NOT_LOGGED_IN,
    ROTATION_OF_THE_SITES_ROLE,
    ROTATION_OTHER_USER,
    ROTATION_PASSWORD_EXPIRES,
    ROTATION_PASSWORD_NOT_CHANGED,
    ROTATION_SERVER_IN_RECOVERY,
)
from migration.logins.rotations import (
    ROTATION_CLIENT_BUSY,
    ROTATION_CURRENT_REFUSED,
    ROTATION_NOT_IN_AWS_YET,
    ROTATION_NOTHING_LOGS_IN,
    NotRotated,
)
from migration.models import AuditEvent, Rotation
from nova_credentials.aws.versions import list_versions
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, update
from tests.held_leases import held_elsewhere
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated, open_plainly
from tests.migration.logins.rotations.killed import go_on


class Killed(BaseException):
    """The process ends here."""


def killed_at_login(number: int):
    """A way to log in that is killed at the login of this number, from 1."""
    tried = []

    @contextmanager
    def open_login(login):
        tried.append(login)
        if len(tried) == number:
            raise Killed
        with open_plainly(login) as connection:
            yield connection

    return open_login


BEFORE_THE_CHANGE, AFTER_THE_CHANGE = 2, 3


def interrupt(role, at: int) -> Rotation:
    with pytest.raises(Killed):
        role.rotate(open_login=killed_at_login(at))
    return Rotation.objects.find_unfinished(role.client_id)


def assert_ended(rotation: Rotation, outcome: RotationOutcome, sentence) -> None:
    assert rotation.outcome == outcome
    assert rotation.message.key == sentence.key
    entry = AuditEvent.objects.filter(code=ROTATION_EVENT).order_by("-id")[0]
    assert sentence.key in entry.facts


def assert_unchanged(role, password: str = "example-a") -> None:
    assert role.in_row() == role.in_aws() == password
    assert "AWSPENDING" not in role.stages()


def test_a_password_that_was_changed_by_hand_stops_it_before_anything_is_written(role_in):
    role = role_in(Phase.DUAL_WRITE)
    role.change_at_server("by-hand")
    versions = role.sm.describe_secret(SECRET).versions
    for phase in (Phase.DUAL_WRITE, Phase.AWS):
        role.stand(phase)

        assert_ended(role.rotate(), RotationOutcome.STOPPED, ROTATION_CURRENT_REFUSED)
        assert_unchanged(role)
        assert role.sm.describe_secret(SECRET).versions == versions


def test_a_password_changed_by_hand_in_the_middle_stops_it(role_in):
    role = role_in(Phase.DUAL_READ)
    assert interrupt(role, AFTER_THE_CHANGE).step == Step.KEPT
    role.change_at_server("by-hand")

    rotation = go_on(role.client_id)
    assert_ended(rotation, RotationOutcome.STOPPED, ROTATION_NOTHING_LOGS_IN)
    assert_unchanged(role)
    kept = role.sm.get_version(SECRET, rotation.version_id)
    assert kept.to_document()["database"]["password"] not in ("example-a", "by-hand")


def test_a_password_that_has_expired_is_told(role_in):
    role = role_in(Phase.DUAL_READ)
    role.execute("ALTER ROLE {} VALID UNTIL '2020-01-01'")
    assert_ended(role.rotate(), RotationOutcome.STOPPED, ROTATION_CURRENT_REFUSED)

    with psycopg.connect(role.server, autocommit=True) as superuser:
        (soon,) = superuser.execute("SELECT (now() + interval '5 minutes')::text").fetchone()
    role.execute(f"ALTER ROLE {{}} VALID UNTIL '{soon}'")
    assert_ended(role.rotate(), RotationOutcome.REFUSED, ROTATION_PASSWORD_EXPIRES)
    assert_unchanged(role)


def test_what_may_not_be_rotated_is_left_alone(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)
    # A rotation of somebody else.
    role.sm.put_aside(SECRET, '{"database": {}}', stage="AWSPENDING")
    assert_ended(role.rotate(), RotationOutcome.REFUSED, ROTATION_ELSEWHERE)
    assert role.logs_in("example-a")
    theirs = role.sm.get_stage(SECRET, "AWSPENDING").version_id
    role.sm.move_stage(SECRET, "AWSPENDING", away_from=theirs)
    versions = list_versions(role.sm, SECRET)

    def assert_refused(rotation, sentence):
        assert_ended(rotation, RotationOutcome.REFUSED, sentence)
        assert_unchanged(role)
        assert role.logs_in("example-a")
        assert list_versions(role.sm, SECRET) == versions
        return str(rotation.message)

    assert_refused(role.rotate(label="nobody"), ROTATION_NO_SUCH_LOGIN)
    with monkeypatch.context() as patch:
        patch.setattr(rotations, "LOCK_WAIT_SECONDS", 0)
        begun = Rotation.objects.count()
        with held_elsewhere(LeaseKind.CLIENT, role.client_id), pytest.raises(NotRotated) as caught:
            role.rotate()
        assert caught.value.message.key == ROTATION_CLIENT_BUSY.key
        assert Rotation.objects.count() == begun
    with monkeypatch.context() as patch:  # a standby
        standby = role_passwords.ROLE.replace("pg_is_in_recovery()", "true")
        patch.setattr(role_passwords, "ROLE", standby)
        assert_refused(role.rotate(), ROTATION_SERVER_IN_RECOVERY)
    with monkeypatch.context() as patch:
        own = SimpleNamespace(settings_dict={"USER": role.user, "PASSWORD": "example-a"})
        patch.setattr(role_passwords, "django_connection", own)
        said = assert_refused(role.rotate(), ROTATION_OF_THE_SITES_ROLE)
        assert said == str(ROTATION_OF_THE_SITES_ROLE(user=role.user))

    @contextmanager
    def open_login(_login):
        """A pooler may log in to the server as somebody else."""
        with psycopg.connect(role.server) as session:
            yield session

    assert_refused(role.rotate(open_login=open_login), ROTATION_OTHER_USER)
    there = role.read_row()
    # The server lets its owner in without a password, which proves nothing.
    update("client_database_credentials", role.row, db_user="postgres")
    assert_refused(role.rotate(), ROTATION_NOT_LOGGED_IN)
    update("client_database_credentials", role.row, db_user=there.db_user)
    make_database(
        make_client("other"),
        db_host=there.db_host.upper(),
        db_port=there.db_port,
        db_user=there.db_user,
    )
    assert "other" in assert_refused(role.rotate(), ROTATION_LOGIN_SHARED)


def test_a_read_only_default_and_a_default_role_are_no_hindrance(role_in):
    role = role_in(Phase.AWS)
    role.execute("ALTER ROLE {} SET default_transaction_read_only = on")
    role.execute("CREATE ROLE {}_owner ROLE {}")
    role.execute("ALTER ROLE {} SET role = {}_owner")
    try:
        assert_rotated(role.rotate())
    finally:
        role.execute("DROP ROLE {}_owner")
    assert role.logs_in(role.in_row())


def test_a_server_that_refuses_the_change_leaves_nothing_behind(role_in):
    role = role_in(Phase.DUAL_READ)
    for error, sentence in (
        (psycopg.errors.InsufficientPrivilege, ROTATION_MAY_NOT_CHANGE_PASSWORD),
        (psycopg.errors.ReadOnlySqlTransaction, ROTATION_SERVER_IN_RECOVERY),
        (psycopg.errors.InvalidParameterValue, ROTATION_PASSWORD_NOT_CHANGED),
    ):

        @contextmanager
        def open_login(login, error=error):
            with open_plainly(login) as connection:
                execute = connection.execute

                def refuse(statement, *args):
                    if isinstance(statement, psycopg.sql.Composed):
                        raise error("secret words")
                    return execute(statement, *args)

                connection.execute = refuse
                yield connection

        rotation = role.rotate(open_login=open_login)
        assert_ended(rotation, RotationOutcome.REFUSED, sentence)
        assert "secret words" not in str(rotation.message)
        assert_unchanged(role)
        assert role.logs_in("example-a")


def test_an_interrupted_rotation_is_finished_in_the_phase_that_its_client_has_then(role_in):
    role = role_in(Phase.DUAL_READ)
    for at, phase in ((BEFORE_THE_CHANGE, Phase.AWS), (AFTER_THE_CHANGE, Phase.DUAL_WRITE)):
        before = role.in_aws()
        interrupt(role, at)
        role.stand(phase)
        assert_rotated(go_on(role.client_id))
        assert role.in_row() == role.in_aws() != before
        assert role.logs_in(role.in_row())
        assert "AWSPENDING" not in role.stages()


def test_edits_made_meanwhile_survive_in_the_rows(role_in):
    role = role_in(Phase.DUAL_READ)
    interrupt(role, AFTER_THE_CHANGE)
    update("client_database_credentials", role.row, label="edited")

    assert_rotated(go_on(role.client_id))
    assert role.read_row().label == "edited"
    assert role.sm.get_database_credentials("idom")["label"] == "edited"


def test_edits_made_meanwhile_survive_in_aws_and_stay_somebody_else_s(role_in):
    role = role_in(Phase.PURGED)
    interrupt(role, AFTER_THE_CHANGE)
    document = role.sm.get_value(SECRET).to_document()
    document["database"]["label"] = "edited"
    role.sm.update_client_credentials("idom", document)

    assert_rotated(go_on(role.client_id))
    login = role.sm.get_database_credentials("idom")
    assert login["label"] == "edited"
    assert role.logs_in(login["password"])
    current = role.sm.get_value(SECRET).version_id
    assert not load_version_keys().is_ours(SECRET, current)
    assert "AWSPENDING" not in role.stages()


@pytest.mark.parametrize(
    ("phase", "at", "step"),
    [
        # A copy of the database, which writes nothing to AWS, would lock NOVA out otherwise.
        (Phase.DUAL_READ, BEFORE_THE_CHANGE, Step.KEPT),
        (Phase.AWS, AFTER_THE_CHANGE, Step.SET),
    ],
)
def test_it_waits_while_aws_writes_are_stopped_and_is_finished_afterwards(role_in, phase, at, step):
    role = role_in(phase)
    interrupted, before = interrupt(role, at), role.in_row()
    stop_aws_writes(reason="a test")
    waiting = go_on(role.client_id)
    assert (waiting.outcome, waiting.step) == ("", step)
    assert waiting.message.key == "writes_stopped"
    assert role.logs_in(before) is (at == BEFORE_THE_CHANGE)
    start_aws_writes()
    with pytest.raises(RotationOpenError, match="not finished"):
        role.rotate(label="reports")
    assert_rotated(role.rotate())  # it is gone on with
    assert Rotation.objects.get().pk == interrupted.pk
    assert not role.logs_in(before)


def test_nothing_is_begun_while_aws_writes_are_stopped(role_in):
    role = role_in(Phase.POSTGRES)
    stop_aws_writes(reason="a test")
    assert_ended(role.rotate(), RotationOutcome.REFUSED, ROTATION_NOT_IN_AWS_YET)
    assert role.in_row() == "example-a"
    assert role.logs_in("example-a")


def test_the_logins_of_one_role_get_the_new_password_together(role_in):
    role = role_in(Phase.DUAL_READ)
    there = role.read_row()
    same = {"db_host": there.db_host, "db_port": there.db_port, "db_user": there.db_user}
    reports = make_database(
        role.client_id, **same, label="reports", db_name="reports", is_primary=False
    )
    other = make_database(role.client_id, label="other", is_primary=False)
    assert_rotated(role.rotate())

    passwords = {row.pk: row.db_password for row in type(there).objects.all()}
    assert passwords[role.row] == passwords[reports] != passwords[other]
    assert passwords[other] == "example-password-1"
    assert role.in_aws() == passwords[reports]


def test_a_lock_that_is_lost_before_the_rows_are_written_leaves_them_to_the_next_try(
    role_in, monkeypatch
):
    role = role_in(Phase.DUAL_READ)
    check, checks = rotations.refuse_lost_client_locks, []

    def lose_and_check():
        checks.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
        check()

    with monkeypatch.context() as patch:
        patch.setattr(rotations, "refuse_lost_client_locks", lose_and_check)
        with pytest.raises(LeaseLostError):
            role.rotate()

    assert (role.in_row(), checks) == ("example-a", [1])
    assert_rotated(go_on(role.client_id))


def test_a_session_that_is_ended_before_the_change_says_nothing_of_the_role(role_in):
    role = role_in(Phase.DUAL_READ)
    opened = []

    @contextmanager
    def open_login(login):
        with open_plainly(login) as session:
            opened.append(session)
            if len(opened) == BEFORE_THE_CHANGE:
                role.execute(f"SELECT pg_terminate_backend({session.info.backend_pid}, 5000)")
            yield session

    assert role.rotate(open_login=open_login).outcome == ""
    assert Rotation.objects.find_unfinished(role.client_id)
    assert_rotated(go_on(role.client_id))


def test_a_server_that_became_a_standby_meanwhile_is_asked_for_no_change(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)
    opened = []

    @contextmanager
    def open_login(login):
        opened.append(login)
        if len(opened) == BEFORE_THE_CHANGE:
            standby = role_passwords.ROLE.replace("pg_is_in_recovery()", "true")
            monkeypatch.setattr(role_passwords, "ROLE", standby)
        with open_plainly(login) as session:
            yield session

    rotation = role.rotate(open_login=open_login)

    assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_SERVER_IN_RECOVERY)
    assert_unchanged(role)
    assert role.logs_in("example-a")


def test_a_function_of_the_roles_own_is_not_taken_for_postgresqls(role_in):
    role = role_in(Phase.AWS)
    role.execute("CREATE SCHEMA {}_own AUTHORIZATION {}")
    try:
        role.execute(
            "CREATE FUNCTION {}_own.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true'"
        )
        role.execute("ALTER ROLE {} SET search_path = {}_own, pg_catalog")

        assert_rotated(role.rotate())
    finally:
        role.execute("DROP SCHEMA {}_own CASCADE")


@pytest.mark.parametrize(
    ("code", "answer"), [("28P01", False), ("28000", None), ("3D000", None), ("", None)]
)
def test_a_login_that_fails_for_another_reason_says_nothing_of_the_password(code, answer):
    login = DatabaseLogin("db.example.test", 5432, "app", "ana", "example-a")

    def refuse(_login):
        raise LoginFailedError(LoginOutcome.REFUSED, code=code)

    if answer is None:
        with pytest.raises(role_passwords.ValidPasswordUnknownError):
            role_passwords.logs_in(login, refuse)
    else:
        assert role_passwords.logs_in(login, refuse) is answer
