"""A database password is rotated: in each phase, killed nowhere."""

from migration.core.keys import load_version_keys
from migration.logins.models import RotationStep
from migration.models import Comparison, LoginTest, Secret
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.migration.logins.rotations.conftest import SECRET, assert_rotated, readers_logging_in
from tests.nova_credentials.in_phases import bring


def test_every_store_has_the_new_password_and_no_reader_is_refused(role):
    for phase in Phase:
        bring(role.client_id, phase)
        former = role.in_row() if phase == Phase.POSTGRES else role.in_aws()
        LoginTest.objects.all().delete()
        with readers_logging_in():
            rotation = role.rotate()

        assert_rotated(rotation)
        assert rotation.step == RotationStep.STORED
        new = role.in_aws()
        assert new != former
        assert role.logs_in(new)
        assert not role.logs_in(former)
        assert role.stages() <= {"AWSCURRENT", "AWSPREVIOUS"}
        current = role.sm.get_value(SECRET).version_id
        assert load_version_keys().is_ours(SECRET, current)
        proven = set(LoginTest.objects.newest([role.client_id]).values_list("store", "outcome"))
        stores = ["aws"] if phase == Phase.PURGED else ["aws", "postgres"]
        assert proven == {(store, "works") for store in stores}
        assert current == rotation.version_id == Secret.objects.get(name=SECRET).version_id
        if phase == Phase.PURGED:
            assert role.in_row().startswith("aws-secretsmanager:")
        else:
            assert role.in_row() == new
            (compared,) = compare(client_ids=[role.client_id]).values()
            assert compared.status == Comparison.Status.MATCH
