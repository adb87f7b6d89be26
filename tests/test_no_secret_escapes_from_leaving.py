"""Clients with unmistakable passwords come from the legacy table and leave; then these are looked for everywhere."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from credentials.models import Client
from migration.clients.legacy import plan_legacy_import
from migration.clients.offboarding import find_leftovers
from migration.core.snapshots import read_snapshots
from nova_credentials.phases import Phase
from tests.migration.clients.legacy.rows import add_row
from tests.migration.moves.clients import enter_phase
from tests.migration.secrets.copies.nova_tables import novas_tables
from tests.test_no_secret_escapes import (
    Haystack,
    add_pickles,
    add_tables,
    command,
    everything_logged,
    page,
    seed,
)


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


def test_an_import_of_the_legacy_table_leaves_no_value_behind(browser):
    seed()
    haystack = Haystack()
    legacy = reverse("admin:credentials_client_legacy")
    with everything_logged(haystack), novas_tables() as nova:
        add_row(nova, "new", db_password="MARKER-ONE of the legacy table")
        add_row(nova, "idom", db_password="MARKER-TWO of the legacy table")
        add_row(nova, "unfit", db_host="", db_password="MARKER-THREE of the legacy table")
        haystack.add("reprs", repr(plan_legacy_import()))
        page(haystack, browser, legacy)
        command(haystack, "import_clients", "--legacy", "--dry-run")
        page(haystack, browser, legacy, {"seen": plan_legacy_import().stamp})
        command(haystack, "import_clients", "--legacy", "--format", "json")
        nova.execute("ALTER TABLE public.client_credentials ALTER db_port TYPE text")
        for url in (legacy, reverse("admin:migration_auditevent_changelist")):
            page(haystack, browser, url)
        assert Client.objects.get(slug="new").databases.get().db_password.startswith("MARKER-ONE")
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []


def test_the_end_of_a_client_leaves_no_value_behind(browser):
    pk, haystack = seed(), Haystack()
    leaving = reverse("admin:credentials_client_leaving", args=[pk])
    confirmed = {"slug": "idom", "reason": "CHG-7", "acknowledged": "1"}
    with everything_logged(haystack):
        enter_phase(pk, Phase.AWS)
        page(haystack, browser, leaving)
        page(haystack, browser, leaving, {"act": "deactivate"})
        command(haystack, "offboard_client", "idom", "--dry-run")
        assert "will be deleted on" in page(
            haystack, browser, leaving, {"act": "offboard", **confirmed}
        )
        haystack.add("reprs", repr((find_leftovers(client_id=pk), read_snapshots([pk]))))
        page(haystack, browser, leaving)
        page(haystack, browser, leaving, {"act": "back", **confirmed})
        command(haystack, "offboard_client", "idom", "--reason", "CHG-8", "--format", "json")
        command(haystack, "offboard_client", "idom", "--back", "--reason", "CHG-8")
        page(haystack, browser, reverse("admin:credentials_client_history", args=[pk]))
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []
