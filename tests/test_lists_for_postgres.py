"""Lists reach PostgreSQL as they are, whatever their elements hold, and as psycopg writes them itself."""

import json

import pytest
from django.db import connection
from psycopg.adapt import PyFormat, Transformer
from psycopg.types import array

from nova_admin.database.base import FastListDumper

ELEMENTS = [
    "", " ", "null", "NULL", "{}", ",", "\\", "\\\\", '"', '""', '\\"', '"\\', "a\nb\tc", "é€\U0001f600",
    "\u2003", None, json.dumps({"text": 'says "no" \\ yes', "n": [1, None]}), '"\\' * 2000,
]  # fmt: skip


@pytest.mark.django_db
def test_each_element_comes_back_as_it_was():
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(%s::text[])", [ELEMENTS])
        assert [element for (element,) in cursor.fetchall()] == ELEMENTS
        cursor.execute("SELECT %s::text[]", [[ELEMENTS, ELEMENTS[::-1]]])
        assert cursor.fetchone() == ([ELEMENTS, ELEMENTS[::-1]],)


@pytest.mark.parametrize("elements", [ELEMENTS, [], [[]], [1, None], [b'\\x"'], [[ELEMENTS]]])
def test_it_is_what_psycopg_writes(elements):
    def dump(dumper):
        made = dumper(list, Transformer()).upgrade(elements, PyFormat.TEXT)
        return bytes(made.dump(elements))

    assert dump(FastListDumper) == dump(array.ListDumper)


@pytest.mark.django_db
def test_the_sites_connections_write_lists_so():
    connection.ensure_connection()

    assert connection.connection.adapters.get_dumper(list, PyFormat.TEXT) is FastListDumper
