"""The short codes of comparisons: of one client they can be compared, of two they tell nothing."""

import json

import pytest

from migration.models import Comparison
from migration.operations.comparing import compare
from migration.operations.pushing import push
from migration.operations.stores import secrets_manager
from nova_credentials.comparison import Mismatch
from tests.factories import make_full_client
from tests.migration.test_moving import write_password

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def two() -> list[int]:
    """Two clients with equal logins, which are in AWS."""
    found = [make_full_client(slug) for slug in ("idom", "acme")]
    push(client_ids=found)
    return found


def write_in_aws(slug: str, **changes: object) -> None:
    sm, name = secrets_manager(), f"nova/clients/{slug}"
    sm.put(name, json.dumps(json.loads(sm.get(name).text) | changes))


def differences(*client_ids: int) -> list[list[Mismatch]]:
    compare(client_ids=client_ids)
    newest = [Comparison.objects.filter(client_id=pk).latest("id") for pk in client_ids]
    return [comparison.fields_that_differ() for comparison in newest]


def test_a_guess_is_not_confirmed_by_the_code_of_another_client(two):
    """Who may edit one client writes the guess there, and looks at the codes of both."""
    idom, acme = two
    write_password(idom, "example-theirs")
    write_password(acme, "example-theirs")

    ((theirs,), (guess,)) = differences(idom, acme)

    assert (theirs.path, guess.path) == ("database.password", "database.password")
    assert theirs.expected_code != guess.expected_code
    assert theirs.actual_code != guess.actual_code


def test_an_unknown_key_has_another_code_in_each_client(two):
    for slug in ("idom", "acme"):
        write_in_aws(slug, **{"example-secret-as-a-key": "x"})

    ((one,), (other,)) = differences(*two)

    assert one.path.startswith("?")
    assert other.path.startswith("?")
    assert one.path != other.path


def test_a_text_that_is_no_document_has_another_code_in_each_client(two):
    for slug in ("idom", "acme"):
        secrets_manager().put(f"nova/clients/{slug}", "no document")

    ((one,), (other,)) = differences(*two)

    assert one.actual_code != other.actual_code


def test_equal_values_of_one_client_keep_their_code(two):
    idom, _ = two
    write_password(idom, "example-first")
    ((before,),) = differences(idom)
    write_password(idom, "example-second")
    ((between,),) = differences(idom)
    write_password(idom, "example-first")
    ((after,),) = differences(idom)

    assert before == after
    assert before.expected_code != between.expected_code
