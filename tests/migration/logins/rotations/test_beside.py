"""Rotations beside changes of layout, stages that were left, and what is known of values in plain text."""

import pytest

from migration.core.keys import make_fingerprint
from migration.logins.models import RotationOutcome
from migration.logins.rotations import FORMER_SECRETS_READ
from migration.models import KnownValue, Rotation
from migration.pushes.known_values import note_written_rows
from migration.pushes.resolutions import NotResolved
from migration.secrets.layouts import LayoutRefusedError, change_layout
from migration.secrets.versions import take_unneeded_pending_off
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated
from tests.migration.logins.rotations.test_stopped import BEFORE_THE_CHANGE, interrupt
from tests.migration.secrets.versions.known import LOST_KEY, facts, kinds_to_rotate

ENDS = "AWSPENDING"


def test_nothing_is_rotated_while_a_layouts_former_secrets_are_read(role_in):
    role = role_in(Phase.DUAL_READ)
    before = role.in_aws()
    change_layout(client_id=role.client_id, layout=Layout.SERVICE)

    rotation = role.rotate()

    assert rotation.outcome == RotationOutcome.REFUSED
    assert rotation.message == FORMER_SECRETS_READ(names=(SECRET,))
    assert role.logs_in(before)


def test_an_unfinished_rotation_keeps_its_layout_and_its_pending_version(role_in):
    role = role_in(Phase.AWS)
    interrupt(role, BEFORE_THE_CHANGE)
    version = Rotation.objects.get().version_id

    with pytest.raises(LayoutRefusedError, match="rotation"):
        change_layout(client_id=role.client_id, layout=Layout.SERVICE)
    with pytest.raises(NotResolved, match="rotation"):
        take_unneeded_pending_off(client_id=role.client_id, name=SECRET, version_id=version)

    assert ENDS in role.stages()
    assert_rotated(role.rotate())


@pytest.mark.parametrize("is_killed", [False, True])
def test_only_a_password_that_was_made_just_now_is_a_new_one_under_another_key(
    role_in, settings, is_killed
):
    role = role_in(Phase.AWS)
    note_written_rows()
    role.stand(Phase.PURGED)
    update("client_database_credentials", role.row, db_password_encrypted="aws-secretsmanager:x")
    before = KnownValue.objects.get(client_id=role.client_id, credential_id=role.row)
    if is_killed:
        interrupt(role, at=BEFORE_THE_CHANGE)
    else:
        # Under the same key it never stood in plain text.
        assert_rotated(role.rotate())
        present = KnownValue.objects.current_of_present_clients().get(kind="database")
        assert present.pk != before.pk
        assert present.since > before.since
        assert kinds_to_rotate(role.client_id) == []
    settings.NOVA_FINGERPRINT_KEY = LOST_KEY

    assert_rotated(role.rotate())

    # A process that was killed may have kept it before the key changed, and somebody put it into a table.
    assert kinds_to_rotate(role.client_id) == (["database"] if is_killed else [])


def test_a_row_that_nova_wrote_since_the_purge_keeps_what_stands_there(role_in):
    role = role_in(Phase.PURGED)
    update("client_database_credentials", role.row, db_password_encrypted="example-novas")
    note_written_rows()

    assert_rotated(role.rotate())

    assert role.in_row() == "example-novas"
    assert facts(role.client_id) == ["stands_in_tables", "stood_in_tables"]


def test_passwords_that_rotations_stored_in_the_rows_are_known_though_no_worker_looked(role_in):
    role = role_in(Phase.DUAL_READ)
    passwords = [role.in_row()]
    for _ in range(2):
        assert_rotated(role.rotate())
        passwords.append(role.in_row())

    found = set(KnownValue.objects.filter(stood_in_tables=True).values_list("digest", flat=True))

    assert found == {make_fingerprint(role.client_id, each).digest for each in passwords}
