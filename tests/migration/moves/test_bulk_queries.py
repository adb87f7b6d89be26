"""The page of a bulk cutover asks PostgreSQL as often for fifty clients as for one."""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.models import ClientMigration
from migration.moves import account
from tests.factories import make_many


def test_the_page_of_a_bulk_cutover_asks_no_more_queries_for_more_clients(
    stores, client, admin_user, monkeypatch, settings
):
    monkeypatch.setattr(account, "_try_access_once", lambda *_, **__: None)
    settings.NOVA_MIN_READS = 20
    client.force_login(admin_user)
    make_many(50, phase="dual_read")
    ids = list(ClientMigration.objects.values_list("pk", flat=True))

    def count_queries(number: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            data = {"_selected_action": ids[:number]}
            response = client.post("/admin/credentials/client/cutover/", data)
        assert len(response.context["clients"]) == number
        return len(captured)

    count_queries(1)

    assert count_queries(50) == count_queries(1)
