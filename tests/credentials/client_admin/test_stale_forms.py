"""A form that was opened before another write is refused."""

import pytest
from django.db import connection

from tests.credentials.client_admin.forms import TABLES, change, errors, make_odd, stored
from tests.factories import make_database, make_full_client, sent_form


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("field", ["name", "databases-0-db_password", "aws_logins-0-region"])
def test_a_form_opened_before_another_write_is_refused_and_writes_nothing(
    operator, idom, table, field
):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_odd(idom, table, updated_at="2020-01-01")
    before = stored()

    response = operator.post(change(idom), data | {field: "typed"})

    assert "changed since you opened" in errors(response)
    assert stored() == before


def test_a_form_opened_before_a_row_was_added_or_taken_away_is_refused(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_database(idom, label="by NOVA", is_primary=False)

    assert "changed since you opened" in errors(operator.post(change(idom), data | {"name": "x"}))

    data = sent_form(operator.get(change(idom)).content.decode())
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")
    before = stored()

    response = operator.post(change(idom), data | {"name": "x"})

    assert response.status_code == 200
    assert stored() == before


def test_a_form_with_the_revision_taken_out_is_refused(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    del data["revision"]

    response = operator.post(change(idom), data | {"name": "x"})

    assert "changed since you opened" in errors(response)


def test_a_refused_stale_form_sent_again_is_refused_again(operator, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    make_odd(idom, "clients", description="by NOVA")
    refused = operator.post(change(idom), data | {"name": "x"})

    again = operator.post(change(idom), sent_form(refused.content.decode()))

    assert "changed since you opened" in errors(again)


def test_a_save_of_another_client_does_not_make_a_form_stale(operator, edit, idom):
    data = sent_form(operator.get(change(idom)).content.decode())
    edit(make_full_client("other"), name="Other")

    assert operator.post(change(idom), data | {"name": "x"}).status_code == 302
