"""NOVA uses ids again: a client never gets the secret of another one that had its id, whatever tasks do."""

import pytest
from django.db import connection

from migration.core.clients import all_clients
from migration.pushes import pushes
from migration.pushes.pushes import push
from migration.secrets.layouts import follow_new_slugs
from migration.tasks import keep_counting, push_pending
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, update
from tests.migration.moves.clients import advance, enter_phase_together
from tests.migration.secrets.layouts.test_change import reader
from tests.migration.secrets.layouts.test_renamed import make_in_phase, names_of, read

pytestmark = pytest.mark.usefixtures("stores", "reader")
__all__ = ["reader"]

KEEP = (
    "CREATE TEMP TABLE c AS SELECT * FROM public.clients",
    "CREATE TEMP TABLE d AS SELECT * FROM public.client_database_credentials",
    "TRUNCATE public.clients CASCADE",
)
PUT_BACK = (
    "INSERT INTO public.clients SELECT * FROM c",
    "INSERT INTO public.client_database_credentials SELECT * FROM d",
    "DROP TABLE c, d",
)
# What a client's id becomes; all else of it stays as it was.
RELOADS = {
    "in_another_order": "(SELECT min(id) + max(id) FROM public_ids) - {id}",
    "without_the_first": "{id} - 1",
}


def run_sql(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def run_minute_tasks() -> None:
    keep_counting()
    push_pending()
    follow_new_slugs(seconds=60)


def try_to_read(reader, slug: str) -> str:
    try:
        return read(reader, slug)
    except SecretsManagerError as error:
        return "" if error.not_found else str(error)


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
@pytest.mark.parametrize("reload", RELOADS.values(), ids=RELOADS)
def test_after_a_reload_each_client_reads_its_own_or_nothing(reader, phase, reload):
    pks = [make_client(slug) for slug in ("aaa", "bbb", "ccc")]
    for pk, slug in zip(pks, ("aaa", "bbb", "ccc"), strict=True):
        make_database(pk, db_password_encrypted=f"example-password-of-{slug}")
    enter_phase_together(pks, phase)
    run_sql(
        *KEEP,
        "CREATE TEMP TABLE public_ids AS SELECT id FROM c",
        f"DELETE FROM c WHERE slug = 'aaa' AND {'- 1' in reload}",
        f"DELETE FROM d WHERE client_id = {pks[0]} AND {'- 1' in reload}",
        f"UPDATE c SET id = {reload.format(id='id')}",
        f"UPDATE d SET client_id = {reload.format(id='client_id')}",
        *PUT_BACK,
        "DROP TABLE public_ids",
    )

    run_minute_tasks()

    clients = dict(all_clients().values_list("slug", "pk"))
    for slug in clients:
        assert try_to_read(reader, slug) in ("", f"example-password-of-{slug}")
    if phase == Phase.PURGED:
        advance(clients["bbb"], Phase.AWS)
        assert try_to_read(reader, "bbb") in ("", "example-password-of-bbb")


@pytest.mark.parametrize("with_trigger", [True, False])
@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_a_new_client_with_the_id_of_one_that_is_gone_never_gets_its_secret(
    reader, phase, with_trigger
):
    former = make_in_phase("former", phase)
    update("clients", former, slug="renamed")
    assert names_of(former)[0] == "former"
    switched = "ENABLE" if with_trigger else "DISABLE"
    run_sql(
        "DELETE FROM public.client_database_credentials",
        f"DELETE FROM public.clients WHERE id = {former}",
    )
    if not with_trigger:
        run_sql(
            "UPDATE nova_admin.migration_clientmigration SET secret_slug = NULL",
            f"ALTER TABLE public.clients {switched} TRIGGER nova_admin_count_write",
        )
    run_sql(f"INSERT INTO public.clients (id, name, slug) VALUES ({former}, 'Zzz', 'zzz')")
    make_database(former, db_password_encrypted="example-password-of-zzz")
    if not with_trigger:
        run_sql("ALTER TABLE public.clients ENABLE TRIGGER nova_admin_count_write")

    assert try_to_read(reader, "zzz") == ""
    run_minute_tasks()

    assert try_to_read(reader, "zzz") == ""
    push(client_ids=[former])
    assert try_to_read(reader, "zzz") in ("", "example-password-of-zzz")


def test_a_slug_that_changes_while_the_first_push_runs_is_noted_with_what_it_wrote(monkeypatch):
    """Until then the client has no layout, and the trigger notes nothing."""
    pk = make_full_client("idom")
    write = pushes._write_clients

    def write_and_rename(*arguments: object, run: object) -> None:
        write(*arguments, run=run)
        update("clients", pk, slug="renamed")

    monkeypatch.setattr(pushes, "_write_clients", write_and_rename)
    push(client_ids=[pk])

    assert names_of(pk)[0] == "idom"
