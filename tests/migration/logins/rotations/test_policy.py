"""A rotation with the credentials of a process that only rotates: AWS asks the policy for that role."""

from collections.abc import Callable, Iterator

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
from tests.nova_credentials.in_phases import bring


@pytest.fixture
def policy(stores, settings, monkeypatch) -> Iterator[Callable[[PolicyRole], None]]:
    """Sets by which role's policy the site's calls are judged."""
    facts = PolicyFacts(ACCOUNT, "us-east-1", "nova/clients", frozenset({Layout.CLIENT}))
    asked = {"admin": make_policy(PolicyRole.ADMIN, facts)}
    with AwsServer(wrap=enforce(asked)) as server:
        settings.AWS_ENDPOINT_URL = server.endpoint
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.endpoint)
        yield lambda role: asked.update(admin=make_policy(role, facts))


def test_the_policy_for_rotations_is_enough(policy, role):
    for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.AWS, Phase.PURGED):
        policy(PolicyRole.ADMIN)
        bring(role.client_id, phase)
        policy(PolicyRole.ROTATION)

        assert_rotated(role.rotate())
        if phase == Phase.DUAL_WRITE:
            Secret.objects.all().delete()  # as after a restored backup: it is looked at first
            assert_rotated(role.rotate())
