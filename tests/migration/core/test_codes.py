"""The short codes of comparisons: of one client they can be compared, of two they tell nothing."""

import hmac
import json

import pytest

from migration.core.aws_store import secrets_manager
from migration.core.keys import fingerprint_key
from migration.models import Comparison
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.comparison import Mismatch
from tests.factories import make_full_client
from tests.migration.moves.clients import write_password

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def two() -> list[int]:
    """Two clients with equal logins, which are in AWS."""
    found = [make_full_client(slug) for slug in ("idom", "acme")]
    push(client_ids=found)
    return found


def write_in_aws(slug: str, **changes: object) -> None:
    sm, name = secrets_manager(), f"nova/clients/{slug}"
    sm.put_value(name, json.dumps(json.loads(sm.get_value(name).text) | changes))


def differences(*client_ids: int) -> list[list[Mismatch]]:
    compare(client_ids=client_ids)
    newest = [Comparison.objects.filter(client_id=pk).latest("id") for pk in client_ids]
    return [comparison.read_mismatches() for comparison in newest]


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
        secrets_manager().put_value(f"nova/clients/{slug}", "no document")

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


def test_a_key_of_their_own_makes_the_codes_and_secret_key_has_no_part_in_them(settings):
    settings.NOVA_FINGERPRINT_KEY = "a key of the codes"
    before = fingerprint_key(7)
    settings.SECRET_KEY = "rotated"
    assert fingerprint_key(7) == before

    settings.NOVA_FINGERPRINT_KEY = "rotated"
    assert fingerprint_key(7) != before


def test_without_one_it_is_derived_as_the_first_release_derived_it(settings):
    """What the first release's `fingerprint_key` gave for this SECRET_KEY, and the client's own step after it."""
    settings.NOVA_FINGERPRINT_KEY = ""
    settings.SECRET_KEY = "golden-key-of-a-first-release-0123456789-abcdefghijklmnop"
    derived = b"bcf63a261c721aabb53a1558ea83126843ebb89d06905d65e5255bf04fcbf4e4"

    assert fingerprint_key(7) == hmac.digest(derived, b"client 7", "sha256")
    assert fingerprint_key(7) != fingerprint_key(8)
