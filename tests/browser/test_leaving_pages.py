"""The pages of clients that come from the legacy table, and of those that leave: as `test_every_page` looks at all."""

import pytest

from tests.browser import test_every_page
from tests.factories import make_client, make_database
from tests.migration.copies.nova_tables import novas_tables
from tests.migration.legacy.rows import add_row

pytestmark = pytest.mark.browser

CLIENT = test_every_page.CLIENT
look_at = test_every_page.look_at
client_in = test_every_page.client_in


def test_clients_of_the_legacy_table(look_at, transactional_db):
    without = look_at(f"{CLIENT}legacy/")
    make_database(make_client("other"), db_host="elsewhere.example.test")
    with novas_tables() as nova:
        for slug in ("new", "other", "a b"):
            add_row(nova, slug)
        found = look_at(f"{CLIENT}legacy/")
        nova.execute("ALTER TABLE public.client_credentials DROP COLUMN db_user")
        unread = look_at(f"{CLIENT}legacy/")

    assert (without, found, unread) == ({}, {}, {})
