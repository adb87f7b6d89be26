"""A rotation is killed at its points: no reader is refused then, the next try ends it, and all stores agree."""

import pytest

from migration.core.keys import load_version_keys
from migration.logins.models import RotationOutcome
from migration.models import Comparison, Rotation
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from nova_credentials.reader.connections import connect_to_database
from nova_credentials.reader.routing import Reader
from tests.factories import nova_uri
from tests.migration.logins.rotations.conftest import SECRET
from tests.migration.logins.rotations.killed import (
    PASSWORD_SET,
    go_on,
    rotate_and_kill,
    rotate_and_list,
)

# The others take the same steps, and are killed only where the database has the password and a store has not.
KILLED_EVERYWHERE = (Phase.DUAL_READ, Phase.AWS)


@pytest.fixture
def readers(stores):
    """NOVA's readers, one with a cache and one without."""
    readers = [Reader(nova_uri(), cache_seconds=seconds, timeout=30) for seconds in (0, 1000)]
    yield readers
    for reader in readers:
        reader.close()


NIGHTLY = [
    pytest.param(phase, marks=pytest.mark.nightly) for phase in (Phase.DUAL_WRITE, Phase.DUAL_READ)
]


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.AWS, Phase.PURGED, *NIGHTLY])
def test_a_killed_rotation_is_finished_by_the_next_try_and_no_reader_is_refused(
    role_in, readers, phase
):
    role = role_in(phase)
    points = rotate_and_list(role.client_id)
    passwords = [assert_stores_agree(role, phase)]
    set_at = points.index(PASSWORD_SET)
    assert 3 < set_at < len(points) - 4
    everywhere = phase in KILLED_EVERYWHERE
    # Where a kill kept the values from being noted, the next try has a point more.
    for at in range(len(points) + 5) if everywhere else range(set_at, set_at + 5):
        is_killed = rotate_and_kill(role.client_id, at)
        assert is_killed or (everywhere and at > len(points) - 3)
        for reader in readers:
            connect_to_database(reader, "idom", connect="psycopg").close()
        if rotation := go_on(role.client_id):
            assert (rotation.outcome, rotation.message) == (RotationOutcome.ROTATED, None)
        passwords.append(assert_stores_agree(role, phase))
        if not is_killed:
            break
    else:
        assert not everywhere

    # Before the first point, the lease, nothing is begun.
    assert len(set(passwords)) >= len(passwords) - 1
    assert not Rotation.objects.exclude(outcome=RotationOutcome.ROTATED).exists()


def assert_stores_agree(role, phase: Phase) -> str:
    password = role.in_aws() if phase == Phase.PURGED else role.in_row()
    assert role.logs_in(password)
    versions = role.sm.describe_secret(SECRET).versions
    stages = [(stage, version) for version, of_one in versions.items() for stage in of_one]
    assert {stage for stage, _ in stages} == {"AWSCURRENT", "AWSPREVIOUS"}
    (current,) = [version for stage, version in stages if stage == "AWSCURRENT"]
    assert load_version_keys().is_ours(SECRET, current)
    for compared in compare(client_ids=[role.client_id]).values():
        assert compared.status == Comparison.Status.MATCH
    return password
