"""An import of the legacy table while its owner, NOVA's triggers or a colleague work on the same."""

from contextlib import suppress

import pytest
from django.core.management import CommandError, call_command
from psycopg.errors import LockNotAvailable

from credentials import legacy
from credentials.legacy import LegacyTableError, read_legacy_table
from credentials.models import Client
from migration.clients.legacy import NothingImported, import_legacy_clients
from tests.factories import make_user
from tests.migration.clients.legacy.rows import add_row


@pytest.mark.parametrize("table", ["clients", "client_database_credentials"])
def test_a_row_that_a_trigger_leaves_out_is_missed(nova, table):
    add_row(nova, "idom")
    nova.execute(
        "CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        f"CREATE TRIGGER act BEFORE INSERT ON public.{table} FOR EACH ROW EXECUTE FUNCTION public.act()"
    )
    try:
        with pytest.raises(NothingImported):
            import_legacy_clients()
    finally:
        nova.execute(f"DROP TRIGGER act ON public.{table}; DROP FUNCTION public.act()")

    assert not Client.objects.exists()


def test_a_deadlock_is_told_as_busy(nova):
    add_row(nova, "idom")
    nova.execute(
        "CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE deadlock_detected; END $$;"
        "CREATE TRIGGER act BEFORE INSERT ON public.clients FOR EACH ROW EXECUTE FUNCTION public.act()"
    )
    try:
        with pytest.raises(NothingImported) as refused:
            import_legacy_clients()
    finally:
        nova.execute("DROP TRIGGER act ON public.clients; DROP FUNCTION public.act()")

    assert refused.value.message.key == "legacy_database_busy"


def test_a_table_that_its_owner_swaps_for_a_view_while_it_is_looked_at_is_not_read(
    nova, monkeypatch
):
    """Reading the view would run its owner's function as the site."""
    add_row(nova, "idom")
    nova.execute("CREATE SEQUENCE public.ran; SET lock_timeout = '200ms'")
    require = legacy._require_columns

    def swap_then(columns):
        require(columns)
        with suppress(LockNotAvailable):  # the site holds it
            nova.execute(
                "ALTER TABLE public.client_credentials RENAME TO former;"
                "CREATE VIEW public.client_credentials AS SELECT client_slug, db_host, db_port,"
                " db_name, db_user, nextval('public.ran')::text AS db_password FROM public.former"
            )

    monkeypatch.setattr(legacy, "_require_columns", swap_then)
    try:
        with pytest.raises(LegacyTableError) as refused:
            read_legacy_table()
        (has_run,) = nova.execute("SELECT is_called FROM public.ran").fetchone()
    finally:
        nova.execute("DROP TABLE IF EXISTS public.former CASCADE; DROP SEQUENCE public.ran CASCADE")

    assert refused.value.message.key == "legacy_no_plain_table"
    assert not has_run


def test_the_user_who_is_named_needs_both_permissions(nova, db):
    make_user("ada", "credentials.add_client")
    add_row(nova, "idom")

    with pytest.raises(CommandError, match="add_databasecredential") as refused:
        call_command("import_clients", "--legacy", "--by", "ada")

    assert refused.value.returncode == 2
    assert not Client.objects.exists()
