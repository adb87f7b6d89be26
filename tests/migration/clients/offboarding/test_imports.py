"""Neither import puts anything into a client that left."""

from credentials.models import Client, DatabaseCredential
from migration.clients.imports import preview_import, store_import
from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from tests.factories import make_client

FILE = (
    "slug,is_active,db_host,db_port,db_name,db_user,db_password\n"
    "empty,yes,db.example.com,5432,app,app,example-imported\n"
)


def test_a_file_changes_no_client_that_left():
    pk = make_client("empty", is_active=False)
    offboard_client(client_id=pk, reason="CHG-7")

    plan = preview_import(data=FILE.encode())

    assert "is offboarded" in str([str(p) for line in plan.lines for p in line.problems])
    assert store_import(data=FILE.encode()).refused
    assert not Client.objects.get(pk=pk).is_active
    assert not DatabaseCredential.objects.filter(client_id=pk).exists()
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    store_import(data=FILE.encode())
    assert DatabaseCredential.objects.filter(client_id=pk).exists()
