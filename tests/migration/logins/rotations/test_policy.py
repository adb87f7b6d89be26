"""A rotation with the credentials of a process that only rotates: AWS asks the policy for that role."""

import pytest

from migration.doctor.iam import PolicyFacts, make_policy
from migration.doctor.iam import Role as PolicyRole
from migration.models import Secret
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.service import ACCOUNT
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.migration.doctor.iam.calls import enforce
from tests.migration.logins.rotations.conftest import assert_rotated


@pytest.fixture
def only_rotates(stores, settings, monkeypatch):
    """The site's calls are judged by the policy for rotations once the client is in its phase."""
    facts = PolicyFacts(ACCOUNT, "us-east-1", "nova/clients", frozenset({Layout.CLIENT}))
    asked = {"admin": make_policy(PolicyRole.ADMIN, facts)}
    with AwsServer(wrap=enforce(asked)) as server:
        settings.AWS_ENDPOINT_URL = server.endpoint
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        yield lambda: asked.update(admin=make_policy(PolicyRole.ROTATION, facts))


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.AWS, Phase.PURGED])
def test_the_policy_for_rotations_is_enough(only_rotates, role_in, phase):
    role = role_in(phase)
    only_rotates()

    assert_rotated(role.rotate())


def test_a_secret_of_ours_that_no_push_has_met_is_looked_at_first(only_rotates, role_in):
    role = role_in(Phase.DUAL_WRITE)
    Secret.objects.all().delete()  # as after a restored backup
    only_rotates()

    assert_rotated(role.rotate())
