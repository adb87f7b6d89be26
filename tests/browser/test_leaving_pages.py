"""The pages of clients that come from the legacy table, and of those that leave: as `test_every_page` looks at all."""

import pytest

from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core import aws_store
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_client, make_database
from tests.migration.clients.legacy.rows import add_row
from tests.migration.clients.offboarding.clients import activate, deactivate
from tests.migration.moves.clients import NAME
from tests.migration.secrets.copies.nova_tables import novas_tables

pytestmark = pytest.mark.browser

CLIENT = "/admin/credentials/client/"


def test_clients_of_the_legacy_table(look_at, transactional_db):
    make_database(make_client("other"), db_host="elsewhere.example.test")
    with novas_tables() as nova:
        for slug in ("new", "other", "a b"):
            add_row(nova, slug)
        found = look_at(f"{CLIENT}legacy/")
        nova.execute("ALTER TABLE public.client_credentials DROP COLUMN db_user")
        unread = look_at(f"{CLIENT}legacy/")

    assert (found, unread) == ({}, {})


def test_what_is_left_of_a_client_before_and_after_it_left(look_at, client_in):
    pk = client_in(Phase.AWS, "idom")
    page = f"{CLIENT}{pk}/leaving/"
    deactivate(pk)
    count_reads(pk, reads=1)
    found = [look_at(page)]
    offboard_client(client_id=pk, reason="CHG-7", acknowledged=True)
    activate(pk)
    found.append(look_at(page))
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    deactivate(pk)
    offboard_client(client_id=pk, reason="CHG-9", acknowledged=True)
    aws_store.secrets_manager().sm.restore_secret(SecretId=NAME)
    aws_store.secrets_manager().sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    found.append(look_at(page))

    assert found == [{}] * 3
