"""A client, the database as a copy, and AWS's own book of the calls that write."""

import pytest

from migration.core.aws_writes import stop_aws_writes, write_guard
from migration.models import DatabaseClaim
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.factories import make_full_client

ELSEWHERE = "db.nova.example:5432/railway"


@pytest.fixture
def idom(stores) -> int:
    return make_full_client("idom")


@pytest.fixture
def sm(stores) -> SecretsManager:
    """Somebody else's, with no limiter: it writes whatever this site may."""
    return SecretsManager()


@pytest.fixture
def become_copy(stores):
    """Makes the test's database a copy of one that noted itself elsewhere."""

    def become() -> None:
        noted = DatabaseClaim.objects.newest()
        DatabaseClaim.objects.create(
            system_identifier=noted.system_identifier,
            database_oid=noted.database_oid,
            place=ELSEWHERE,
        )
        write_guard().forget_state()

    return become


@pytest.fixture
def stop(stores):
    return lambda: stop_aws_writes(reason="INC-42: AWS looks odd")


@pytest.fixture(params=["copy", "stop"])
def refuse(request, become_copy, stop):
    """From now on this site may not write to AWS, for either reason."""
    return become_copy if request.param == "copy" else stop
