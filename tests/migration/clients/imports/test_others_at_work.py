"""An import while NOVA, its triggers or a colleague work on the same clients: stored as it was read, or refused."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from credentials.models import Client, DatabaseCredential
from migration.clients import imports
from migration.clients.imports import ImportRefusedError, store_import
from migration.core.keys import make_fingerprint
from migration.models import ClientGroup, KnownValue
from migration.pushes.known_values import note_written_rows
from tests.factories import make_full_client, nova_connected, update
from tests.migration.clients.imports.files import make_csv, make_row

pytestmark = pytest.mark.usefixtures("stores")


def refusal(data: bytes) -> str:
    """Why nothing was imported, by the key of its sentence."""
    with pytest.raises(ImportRefusedError) as refused:
        store_import(data=data)
    problem = refused.value.message.values["problem"]
    return problem.key


@contextmanager
def trigger(table: str, when: str, body: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION public.act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
            f"CREATE TRIGGER act BEFORE {when} EXECUTE FUNCTION public.act()"
        )
        try:
            yield
        finally:
            cursor.execute(f"DROP TRIGGER act ON {table}; DROP FUNCTION public.act()")


@pytest.mark.parametrize(
    ("table", "row"),
    [("clients", "NEW.slug = 'b'"), ("client_database_credentials", "NEW.db_user = 'b'")],
)
def test_a_new_row_that_a_trigger_leaves_out_is_missed(table, row):
    rows = [make_row("a"), make_row("b", db_user="b"), make_row("c")]
    when = f"INSERT ON public.{table} FOR EACH ROW WHEN ({row})"

    with trigger(f"public.{table}", when, "RETURN NULL;"):
        assert refusal(make_csv(*rows)) == "row_left_out"
        assert refusal(make_csv(rows[1])) == "row_left_out"

    assert not Client.objects.exists()


def test_a_change_that_a_trigger_leaves_out_is_missed():
    make_full_client("idom")
    table = "public.client_database_credentials"

    with trigger(table, f"UPDATE ON {table} FOR EACH ROW", "RETURN NULL;"):
        assert (
            refusal(make_csv({"slug": "idom", "db_password": "another"}, make_row("b")))
            == "row_left_out"
        )

    assert Client.objects.count() == 1


@pytest.mark.parametrize("condition", ["lock_not_available", "deadlock_detected"])
def test_who_waits_for_somebody_else_in_vain_is_told_so(condition):
    body = f"RAISE {condition}; RETURN NEW;"

    with trigger("public.clients", "INSERT ON public.clients FOR EACH ROW", body):
        assert refusal(make_csv(make_row("acme"))) == "import_busy"


def test_a_slug_that_nova_has_inserted_is_not_waited_for_long():
    make_full_client("idom")
    told: list[str] = []
    data = make_csv(make_row("acme"), {"slug": "idom", "name": "Other"})

    def store() -> None:
        try:
            told.append(refusal(data))
        finally:
            connection.close()

    with nova_connected() as nova:
        nova.execute("INSERT INTO public.clients (name, slug) VALUES ('Acme', 'acme')")
        thread = threading.Thread(target=store)
        thread.start()
        thread.join(20)
        waits = thread.is_alive()
        nova.rollback()
    thread.join()

    assert not waits
    assert told == ["import_busy"]
    assert Client.objects.get().name == "IDOM"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_client_that_comes_under_the_slug_before_it_is_locked_is_left_alone(
    monkeypatch, is_there
):
    make_full_client("former")
    make_plan = imports._make_plan

    def write_first(*args):
        with nova_connected() as nova:
            if is_there:
                nova.execute("UPDATE public.clients SET slug = 'acme'")
            else:
                nova.execute("INSERT INTO public.clients (name, slug) VALUES ('A', 'acme')")
            nova.commit()
        return make_plan(*args)

    monkeypatch.setattr(imports, "_make_plan", write_first)

    assert refusal(make_csv(make_row("acme"), make_row("b"))) == "import_busy"
    assert DatabaseCredential.objects.count() == 1


def test_two_imports_take_slugs_and_groups_in_one_order():
    store_import(
        data=make_csv(make_row("c", groups="B;c"), make_row("a", groups="C;a"), make_row("b"))
    )

    assert list(Client.objects.order_by("pk").values_list("slug", flat=True)) == ["a", "b", "c"]
    groups = ClientGroup.objects.order_by("pk").values_list("key", flat=True)
    assert list(groups) == ["a", "b", "c"]


def test_a_value_that_nobody_has_looked_at_is_noted_before_it_is_replaced():
    pk = make_full_client("idom")
    note_written_rows()
    row = DatabaseCredential.objects.get(client=pk)
    update("client_database_credentials", row.pk, db_password_encrypted="of a minute")

    store_import(data=make_csv({"slug": "idom", "db_password": "another"}))
    note_written_rows()

    noted = KnownValue.objects.filter(client_id=pk, kind="database", credential_id=row.pk)
    expected = ("example-password-1", "of a minute", "another")
    assert {value.digest for value in noted} == {
        make_fingerprint(pk, value).digest for value in expected
    }
