"""Clients by their ids, however many and whatever a form brought."""

import pytest
from django.db import connection

from credentials.models import Client
from migration.core.clients import all_clients
from tests.factories import make_client

pytestmark = pytest.mark.django_db


def test_what_is_no_id_of_a_client_selects_none():
    pk = make_client("idom")

    for ids in ([], [0, -1], [2**31, 10**18]):
        assert not all_clients().with_ids(ids).exists()
    assert all_clients().with_ids([10**18, pk, pk, 0]).get().pk == pk


def test_they_have_the_type_of_the_column():
    """With another one PostgreSQL hashes nothing: pages over 20,000 clients took seconds, and milliseconds before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'public.clients'::regclass AND attname = 'id'"
        )
        (column_type,) = cursor.fetchone()

    assert f"::{column_type}[]" in str(Client.objects.with_ids([1]).query)
    assert f"::{column_type}[]" in str(all_clients().with_ids([1]).query)
