"""Rotations beside changes of layout, stages that were left, and what is known of values in plain text."""

import pytest

from migration import rotation_sentences as told
from migration.models import KnownValue, Rotation, RotationOutcome
from migration.operations.known_values import list_to_rotate, note_written_rows
from migration.operations.layouts import LayoutRefusedError, change_layout
from migration.operations.pending_stages import take_pending_off
from migration.operations.resolutions import NotResolved
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.migration.rotations.conftest import SECRET, assert_rotated
from tests.migration.rotations.test_stopped import BEFORE_THE_CHANGE, interrupt

ENDS = "AWSPENDING"


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.PURGED])
def test_nothing_is_rotated_while_a_layouts_former_secrets_are_read(role_in, phase):
    role = role_in(phase)
    before = role.in_aws()
    change_layout(client_id=role.client_id, layout=Layout.SERVICE)

    rotation = role.rotate()

    assert rotation.outcome == RotationOutcome.REFUSED
    assert rotation.message == told.FORMER_SECRETS_READ(names=(SECRET,))
    assert role.logs_in(before)


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS])
def test_an_unfinished_rotation_keeps_its_layout_and_its_pending_version(role_in, phase):
    role = role_in(phase)
    interrupt(role, BEFORE_THE_CHANGE)
    version = Rotation.objects.get().version_id

    with pytest.raises(LayoutRefusedError, match="rotation"):
        change_layout(client_id=role.client_id, layout=Layout.SERVICE)
    with pytest.raises(NotResolved, match="rotation"):
        take_pending_off(client_id=role.client_id, name=SECRET, version_id=version)

    assert ENDS in role.stages()
    assert_rotated(role.rotate())


def test_a_purged_clients_new_password_never_stood_in_plain_text(role_in):
    role = role_in(Phase.AWS)
    note_written_rows()
    role.stand(Phase.PURGED)
    key = ("database", role.row)
    before = KnownValue.objects.get(client_id=role.client_id, kind=key[0], credential_id=key[1])

    assert_rotated(role.rotate())

    present = KnownValue.objects.present().get(client_id=role.client_id, kind="database")
    assert present.pk != before.pk
    assert present.since > before.since
    assert key not in list_to_rotate().get(role.client_id, [])
