"""A form that was opened before another write is refused."""

from django.db import connection, transaction

from credentials.models import Client
from tests.credentials.client_admin.forms import TABLES, change, make_odd, stored
from tests.factories import make_database, make_full_client, sent_form
from tests.page_forms import errors_of, open_form, send_form


def test_a_form_opened_before_another_write_is_refused_and_writes_nothing(operator, idom):
    typed = ("databases-0-db_password", "name", "aws_logins-0-region", "name")
    for table, field in zip(TABLES, typed, strict=True):
        data = open_form(operator, change(idom))
        make_odd(idom, table, updated_at="2020-01-01")
        before = stored()

        response = send_form(operator, change(idom), data | {field: "typed"})

        assert "changed since you opened" in errors_of(response), (table, field)
        assert stored() == before


def test_a_form_opened_before_a_row_was_added_or_taken_away_is_refused(operator, idom):
    data = open_form(operator, change(idom))
    make_database(idom, label="by NOVA", is_primary=False)

    assert "changed since you opened" in errors_of(
        send_form(operator, change(idom), data | {"name": "x"})
    )

    data = open_form(operator, change(idom))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")
    before = stored()

    response = send_form(operator, change(idom), data | {"name": "x"})

    assert response.status_code == 200
    assert stored() == before


def test_a_form_with_the_revision_taken_out_is_refused(operator, idom):
    data = open_form(operator, change(idom))
    del data["revision"]

    response = send_form(operator, change(idom), data | {"name": "x"})

    assert "changed since you opened" in errors_of(response)


def test_a_refused_stale_form_sent_again_is_refused_again(operator, idom):
    data = open_form(operator, change(idom))
    make_odd(idom, "clients", description="by NOVA")
    refused = operator.post(change(idom), data | {"name": "x"})

    again = operator.post(change(idom), sent_form(refused.content.decode()))

    assert "changed since you opened" in errors_of(again)


def test_a_save_of_another_client_does_not_make_a_form_stale(operator, edit, idom):
    data = open_form(operator, change(idom))
    edit(make_full_client("other"), name="Other")

    assert send_form(operator, change(idom), data | {"name": "x"}).status_code == 302


WRITES = {
    "a client's name": "UPDATE public.clients SET name = 'by NOVA'",
    "a client's slug": "UPDATE public.clients SET slug = 'by-nova'",
    "a client's description": "UPDATE public.clients SET description = 'by NOVA'",
    "a client that is switched off": "UPDATE public.clients SET is_active = NULL",
    "a password": "UPDATE public.client_database_credentials SET db_password_encrypted = 'by NOVA'",
    "a mailbox's password": "UPDATE public.client_email_credentials SET email_password_encrypted = 'by NOVA'",
    "a key": "UPDATE client_aws_credentials SET secret_access_key = 'by NOVA'",
    "a whitelist": "UPDATE public.client_email_credentials SET sender_whitelist = NULL",
    "a port": "UPDATE public.client_database_credentials SET db_port = db_port + 1",
    "a row less": "DELETE FROM public.client_email_credentials",
    "a row more": "INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted)"
    " SELECT id, 'x', 'by NOVA' FROM public.clients",
}


def test_a_form_opened_before_a_write_that_was_not_counted_is_refused(operator, idom):
    """The revision stays as it was: only the rows say it."""
    data = open_form(operator, change(idom))
    for name, write in WRITES.items():
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica")
                cursor.execute(write)
                cursor.execute("SET session_replication_role = origin")
            before = stored()

            typed = {"emails-0-email_password": "typed"}
            response = send_form(operator, change(idom), data | typed)

            assert "changed since you opened" in errors_of(response), name
            assert stored() == before
            transaction.set_rollback(True)


def test_a_form_carries_no_value_and_no_digest_that_could_be_guessed_without_the_key(
    operator, idom, settings
):
    def carried() -> str:
        revision, _, digest = (
            Client.objects.with_revision().get(pk=idom).make_stamp().partition("-")
        )
        assert len(digest) == 16
        assert int(revision)
        return digest

    first = carried()
    assert carried() == first
    settings.SECRET_KEY = "another"

    assert carried() != first
