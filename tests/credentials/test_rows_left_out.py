"""A trigger of NOVA's that swallows a row: every form of the site says so and stores nothing, in place of an error."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection, transaction
from django.urls import reverse

from credentials.copying import copy_document_into_rows
from credentials.models import Client
from credentials.refusals import RefusedByDatabaseError
from migration.core.clients import all_clients
from migration.models import AuditEvent
from tests.credentials.client_admin.forms import ADD, new_client
from tests.credentials.test_adding_a_client import CLIENT, DATABASE
from tests.factories import make_full_client, sent_form
from tests.page_forms import open_form

LEFT_OUT = "dropped a row without an error"


@contextmanager
def swallowing(table: str, statement: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
            f"CREATE TRIGGER swallow BEFORE {statement} ON public.{table} FOR EACH ROW"
            " EXECUTE FUNCTION public.swallow()"
        )
        try:
            yield
        finally:
            cursor.execute(
                f"DROP TRIGGER swallow ON public.{table}; DROP FUNCTION public.swallow()"
            )


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("table", ["clients", "client_database_credentials"])
def test_a_new_client_of_which_a_row_is_swallowed_is_not_stored(root, table):
    data = sent_form(root.get(ADD).content.decode()) | CLIENT | DATABASE

    with swallowing(table, "INSERT"):
        answer = root.post(ADD, data, headers={"Accept": "application/json"})

    (told,) = answer.json()["general"]
    assert LEFT_OUT in told
    assert not Client.objects.exists()
    assert not AuditEvent.objects.filter(code="client_added").exists()


SECOND = {
    "databases-TOTAL_FORMS": "2",
    "databases-1-label": "second",
    "databases-1-is_primary": "false",
    "databases-1-db_host": "db2.example.test",
    "databases-1-db_port": "5432",
    "databases-1-db_name": "app",
    "databases-1-db_user": "app",
    "databases-1-db_password": "example-password-4",
}


@pytest.mark.parametrize(
    ("statement", "typed"),
    [("INSERT", SECOND), ("UPDATE", {"databases-0-db_password": "example-password-4"})],
)
def test_a_save_of_which_a_row_is_swallowed_stores_nothing(root, statement, typed):
    pk = make_full_client("idom")
    page = reverse("admin:credentials_client_change", args=[pk])
    data = open_form(root, page) | {"databases-1-client": str(pk), "name": "Another"} | typed

    with swallowing("client_database_credentials", statement):
        answer = root.post(page, data)

    assert answer.status_code == 302
    (told,) = get_messages(answer.wsgi_request)
    assert LEFT_OUT in str(told)
    client = Client.objects.get(pk=pk)
    assert client.name != "Another"
    assert [row.db_password for row in client.databases.all()] == ["example-password-1"]


def test_a_client_whose_own_row_is_swallowed_is_not_added(root):
    data = new_client(root)

    with swallowing("clients", "INSERT"):
        answer = root.post(ADD, data)

    (told,) = get_messages(answer.wsgi_request)
    assert LEFT_OUT in str(told)
    assert not Client.objects.exists()


def test_a_login_that_a_copy_adds_and_a_trigger_swallows_is_missed(db):
    pk = make_full_client("idom")
    found = all_clients().filter(pk=pk)
    found.read_rows_and_columns()
    (client,) = found
    document = client.build_document()
    document["other_databases"] = [document["database"] | {"label": "second"}]

    with (
        swallowing("client_database_credentials", "INSERT"),
        pytest.raises(RefusedByDatabaseError, match=LEFT_OUT),
        transaction.atomic(),
    ):
        copy_document_into_rows(client, document)
