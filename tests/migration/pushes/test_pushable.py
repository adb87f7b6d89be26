"""Of which rows no secret can be made, found in SQL: each kind by itself, beside one that just fits."""

import pytest

from credentials.nova_columns import NovaSchemaError, read_nova_columns
from credentials.pointers import POINTER
from migration.core.clients import all_clients
from migration.core.sentences import CLIENT_NOT_THERE
from migration.pushes import pushable
from migration.pushes.pushable import find_push_problems, is_pushable, select_unpushable
from nova_credentials.document import MAX_BYTES
from tests.factories import make_aws, make_client, make_database, make_email, make_full_client

pytestmark = pytest.mark.django_db

MAKE = {"database": make_database, "email": make_email, "aws": make_aws}
SECRET = {
    "database": "db_password_encrypted",
    "email": "email_password_encrypted",
    "aws": "secret_access_key",
}


def list_pushable() -> set[int]:
    condition = is_pushable(read_nova_columns())
    return set(all_clients().filter(condition).values_list("pk", flat=True))


@pytest.mark.parametrize("kind", MAKE)
def test_two_primary_rows_of_a_type_make_no_secret_and_one_beside_another_does(kind):
    fits, unfit = make_client("fits"), make_client("unfit")
    for pk, second in ((fits, False), (unfit, True)):
        MAKE[kind](pk, is_primary=True)
        MAKE[kind](pk, is_primary=second, label="second")

    assert list_pushable() == {fits}
    assert set(select_unpushable().values_list("pk", flat=True)) == {unfit}
    assert set(find_push_problems([fits, unfit])) == {unfit}


@pytest.mark.parametrize("kind", MAKE)
def test_a_pointer_in_place_of_a_secret_makes_none(kind):
    pk = make_client("pointer")
    MAKE[kind](pk, **{SECRET[kind]: f"{POINTER}x"})

    assert (list_pushable(), set(find_push_problems([pk]))) == (set(), {pk})


def test_a_secret_that_would_be_too_large_is_none_whether_by_one_row_or_by_many():
    fits = make_full_client("fits")
    by_one, by_many = make_client("by_one"), make_client("by_many")
    make_database(by_one, db_password_encrypted="x" * MAX_BYTES)
    for number in range(40):
        make_database(
            by_many, is_primary=False, label=f"{number}", db_password_encrypted="x" * 1_900
        )

    assert list_pushable() == {fits}


@pytest.mark.parametrize("slug", ["sur/este", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_slug_that_can_be_no_name_makes_none(slug):
    make_full_client(slug)

    assert list_pushable() == set()


def test_of_tables_that_cannot_be_read_each_client_says_so(monkeypatch):
    def refuse(_client_ids):
        raise NovaSchemaError(CLIENT_NOT_THERE())

    pks = [make_full_client("norte"), make_full_client("sur")]
    monkeypatch.setattr(pushable, "read_snapshots_for_page", refuse)

    assert find_push_problems(pks) == dict.fromkeys(pks, CLIENT_NOT_THERE())
