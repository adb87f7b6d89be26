"""What a rotation keeps in AWS: which version has which stage, whose it is, and what becomes of it where AWS fails."""

from contextlib import contextmanager

import pytest

from migration.core.keys import load_version_keys
from migration.logins.models import RotationOutcome
from migration.logins.models import RotationStep as Step
from migration.logins.pending import (
    ROTATION_ELSEWHERE,
    ROTATION_LOGIN_GONE,
    ROTATION_SECRET_KEEPS_CHANGING,
)
from migration.logins.rotations import ROTATION_DESTINATION_CHANGED, ROTATION_NOTHING_LOGS_IN
from migration.models import PlannedVersion, Rotation, Secret
from migration.pushes.pushes import push
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated, open_plainly
from tests.migration.logins.rotations.killed import go_on
from tests.migration.logins.rotations.test_found_again import (
    assert_login_works,
    refuse_with,
    stop_after_the_change,
)
from tests.migration.logins.rotations.test_meanwhile import in_pending
from tests.migration.logins.rotations.test_stopped import (
    AFTER_THE_CHANGE,
    BEFORE_THE_CHANGE,
    Killed,
    assert_ended,
    assert_unchanged,
    interrupt,
)

DATABASES = "client_database_credentials"
UNAVAILABLE = SecretsManagerError(ErrorClass.UNAVAILABLE, "NoAnswer", "AnyCall", SECRET)
EITHER_AUTHORITY = pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])


def write_foreign_pending(role) -> str:
    return role.sm.put_aside(SECRET, '{"database": {}}', stage="AWSPENDING")


def test_a_password_that_was_not_surely_kept_leaves_nothing_pending(role_in, monkeypatch):
    role = role_in(Phase.AWS)
    former = SecretsManager.put_aside
    for does_arrive in (True, False):

        def lose(self, name, text, does_arrive=does_arrive, **options):
            if does_arrive:
                former(self, name, text, **options)
            raise UNAVAILABLE

        monkeypatch.setattr(SecretsManager, "put_aside", lose)
        rotation = role.rotate()

        assert rotation.outcome == RotationOutcome.REFUSED
        assert rotation.message == UNAVAILABLE.message
        assert_unchanged(role)
        assert role.logs_in("example-a")


def test_a_stage_that_somebody_else_has_taken_meanwhile_stays_theirs(role_in, monkeypatch):
    role = role_in(Phase.AWS)
    former = SecretsManager.put_aside

    def keep_and_die(*args, **options):
        former(*args, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "put_aside", keep_and_die)
        with pytest.raises(Killed):
            role.rotate()
    theirs = write_foreign_pending(role)

    assert_ended(go_on(role.client_id), RotationOutcome.REFUSED, ROTATION_ELSEWHERE)
    assert role.sm.get_stage(SECRET, "AWSPENDING").version_id == theirs


def test_a_stage_that_aws_does_not_take_off_keeps_the_rotation_open(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)

    def fail(*_args, **_versions):
        raise UNAVAILABLE

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "move_stage", fail)
        with refuse_with("28P01", password="example-a") as open_login:
            waiting = role.rotate(open_login=open_login)
    assert (waiting.outcome, waiting.message) == ("", UNAVAILABLE.message)
    assert "AWSPENDING" in role.stages()

    assert_rotated(go_on(role.client_id))
    assert_login_works(role)


@EITHER_AUTHORITY
def test_a_login_that_leads_elsewhere_before_its_password_is_kept_is_not_changed(role_in, phase):
    """The secret would hold the new password nowhere: it would be lost with this process."""
    role = role_in(phase)
    good = role.read_row().db_host

    rotation = role.rotate(open_login=leading_elsewhere(role, phase))

    assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_LOGIN_GONE)
    assert rotation.is_worth_another_try
    assert role.logs_in("example-a")
    assert "AWSPENDING" not in role.stages()
    lead_elsewhere(role, phase, good)
    assert_rotated(role.rotate())
    assert_login_works(role)


@EITHER_AUTHORITY
def test_the_only_valid_password_stays_pending_where_the_login_leads_elsewhere_meanwhile(
    role_in, phase
):
    """It is that of a rotation whose record is gone with a restored backup: nothing else holds it."""
    role = role_in(phase)
    interrupt(role, AFTER_THE_CHANGE)
    Rotation.objects.all().delete()
    only = in_pending(role)
    good = role.read_row().db_host

    rotation = role.rotate(open_login=leading_elsewhere(role, phase))

    assert_ended(rotation, RotationOutcome.REFUSED, ROTATION_LOGIN_GONE)
    assert (in_pending(role), role.logs_in(only)) == (only, True)
    lead_elsewhere(role, phase, good)
    assert_rotated(role.rotate())
    assert_login_works(role)


@EITHER_AUTHORITY
def test_a_login_that_leads_elsewhere_in_the_last_moment_stops_it(role_in, monkeypatch, phase):
    role = role_in(phase)
    former = Rotation.note_step

    def write(rotation, step, **changed) -> None:
        if step == Step.SET:
            lead_elsewhere(role, phase, "elsewhere.example.test")
        former(rotation, step, **changed)

    monkeypatch.setattr(Rotation, "note_step", write)
    rotation = role.rotate()

    assert_ended(rotation, RotationOutcome.STOPPED, ROTATION_DESTINATION_CHANGED)
    kept = role.sm.get_stage(SECRET, "NOVA_STOPPED_ROTATION")
    assert kept.version_id == rotation.version_id
    assert role.logs_in(kept.to_document()["database"]["password"])


def lead_elsewhere(role, phase: Phase, host: str) -> None:
    if phase.aws_is_authority:
        document = role.sm.get_value(SECRET).to_document()
        document["database"]["host"] = host
        role.sm.update_client_credentials("idom", document)
    else:
        update(DATABASES, role.row, db_host=host)


def leading_elsewhere(role, phase):
    """A way to log in; just before the first time somebody changes where the login leads."""
    opened = []

    @contextmanager
    def open_login(login):
        if not opened:
            lead_elsewhere(role, phase, "elsewhere.example.test")
        opened.append(login)
        with open_plainly(login) as session:
            yield session

    return open_login


def test_somebody_elses_pending_version_does_not_hide_that_nothing_logs_in(role_in):
    role = role_in(Phase.AWS)
    interrupt(role, AFTER_THE_CHANGE)
    role.change_at_server("by-hand")
    theirs = write_foreign_pending(role)

    assert_ended(go_on(role.client_id), RotationOutcome.STOPPED, ROTATION_NOTHING_LOGS_IN)
    assert role.sm.get_stage(SECRET, "AWSPENDING").version_id == theirs
    assert "NOVA_STOPPED_ROTATION" in role.stages()


@pytest.mark.parametrize("is_another_left", [False, True])
def test_a_kept_version_that_is_gone_from_aws_stops_it(role_in, is_another_left):
    role = role_in(Phase.AWS)
    interrupt(role, BEFORE_THE_CHANGE)
    text = role.sm.get_value(SECRET).text
    role.sm.sm.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    role.sm.create_secret(SECRET, text, slug="idom")
    if is_another_left:
        other = text.replace(role.user, "another")
        token = load_version_keys().new_id(SECRET, replaced="x", text=other)
        role.sm.put_aside(SECRET, other, stage="AWSPENDING", token=token)

    assert_ended(go_on(role.client_id), RotationOutcome.STOPPED, ROTATION_NOTHING_LOGS_IN)
    assert_unchanged(role)
    assert role.logs_in("example-a")


def test_a_secret_that_somebody_writes_each_time_is_left_for_a_minute(role_in, monkeypatch):
    role = role_in(Phase.AWS)
    former, labels = SecretsManager.move_stage, []

    def write_before(self, name, stage, **versions):
        if stage == "AWSCURRENT":
            labels.append(f"edit {len(labels)}")
            document = role.sm.get_value(SECRET).to_document()
            document["database"]["label"] = labels[-1]
            role.sm.update_client_credentials("idom", document)
        former(self, name, stage, **versions)

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "move_stage", write_before)
        waiting = role.rotate()
    assert waiting.outcome == ""
    assert waiting.message == ROTATION_SECRET_KEEPS_CHANGING(name=SECRET)
    assert len(labels) > 1
    assert role.logs_in(in_pending(role))

    assert_rotated(go_on(role.client_id))
    assert role.sm.get_database_credentials("idom")["label"] == labels[-1]
    assert_login_works(role)


def test_the_new_password_that_somebody_stored_in_aws_by_hand_stays_their_version(role_in):
    role = role_in(Phase.AWS)
    interrupt(role, AFTER_THE_CHANGE)
    theirs = role.sm.put_value(SECRET, role.sm.get_stage(SECRET, "AWSPENDING").text)

    assert_rotated(go_on(role.client_id))
    assert role.sm.get_value(SECRET).version_id == theirs
    assert_login_works(role)


def test_a_version_upon_ours_or_upon_one_that_a_push_found_equal_is_ours_and_was_planned(
    role_in, monkeypatch
):
    """Unplanned, if the answer of AWS is lost, it would count as newer than a restored backup."""
    role = role_in(Phase.DUAL_WRITE)
    former, planned = SecretsManager.put_aside, []

    def look_and_put(self, name, text, *, stage, token):
        planned.append(PlannedVersion.objects.filter(version_id=token).exists())
        return former(self, name, text, stage=stage, token=token)

    monkeypatch.setattr(SecretsManager, "put_aside", look_and_put)
    theirs = role.sm.put_value(SECRET, role.sm.get_value(SECRET).text)
    push(client_ids=[role.client_id])
    assert Secret.objects.get(name=SECRET).version_id == theirs
    role.stand(Phase.AWS)

    for number in (1, 2):
        assert_rotated(role.rotate())
        assert load_version_keys().is_ours(SECRET, role.sm.get_value(SECRET).version_id)
        assert planned == [True] * number
        Secret.objects.all().delete()  # as after a restored backup


def test_a_former_password_and_one_that_was_left_are_tried_once_each(role_in):
    """A server may shut a role out after some wrong passwords."""
    role = role_in(Phase.AWS)
    stop_after_the_change(role)
    for _ in range(2):  # what was left becomes current, then the one before
        assert_rotated(role.rotate())
    role.change_at_server("by-hand")
    tried = []

    @contextmanager
    def open_login(login):
        tried.append(login.password)
        with open_plainly(login) as session:
            yield session

    assert role.rotate(open_login=open_login).outcome == RotationOutcome.STOPPED
    assert len(tried) == len(set(tried)) == 2
