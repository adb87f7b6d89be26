"""What a push says when AWS, read once more, doesn't hold what was written."""

import json

import pytest

from migration.pushes.pushes import READ_BACK_DIFFERS
from migration.runs.items import Outcome
from migration.secrets.layouts import change_layout
from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import advance, write_password
from tests.migration.pushes.pushed import push_one, revision, stored

pytestmark = pytest.mark.usefixtures("stores")
SECRET = "nova/clients/idom"


@pytest.fixture
def at_read_back(monkeypatch):
    """What is given is done just before the second time that secrets are read, and may answer instead of AWS."""
    reads = []
    batch_get = SecretsManager.batch_get

    def set_act(act):
        def read(manager, names):
            reads.append(names)
            answers = act(manager) if len(reads) == 2 else None
            return batch_get(manager, names) if answers is None else answers

        monkeypatch.setattr(SecretsManager, "batch_get", read)

    return set_act


def overwrite(manager):
    document = stored(manager, "idom")
    document["database"]["password"] = "example-theirs"
    manager.put_value(SECRET, json.dumps(document))


def test_what_somebody_else_wrote_meanwhile_is_a_conflict_and_nothing_counts_as_pushed(
    at_read_back,
):
    pk = make_full_client("idom")
    at_read_back(overwrite)

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, ErrorClass.CONFLICT)
    assert result.message == READ_BACK_DIFFERS()
    assert revision(pk)[1] is None
    assert (result.refused, result.postponed) == (False, False)


def test_an_error_of_the_read_back_is_told_as_it_is(at_read_back):
    pk = make_full_client("idom")
    error = SecretsManagerError.from_code("ThrottlingException", "BatchGetSecretValue", SECRET)
    at_read_back(lambda _manager: {SECRET: error})

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, ErrorClass.THROTTLED)
    assert result.message == error.message
    assert revision(pk)[1] is None


def test_a_secret_that_a_changed_layout_leaves_is_read_back_too(at_read_back):
    pk = make_full_client("idom")
    advance(pk, Phase.DUAL_WRITE)
    change_layout(client_id=pk, layout=Layout.SERVICE)
    write_password(pk, "example-new")
    at_read_back(overwrite)

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, ErrorClass.CONFLICT)
    assert result.message == READ_BACK_DIFFERS()
    assert revision(pk)[0] != revision(pk)[1]
