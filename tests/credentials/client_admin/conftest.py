"""A client, and people who may edit it."""

import pytest
from django.contrib.auth.models import User

from tests.credentials.client_admin.forms import SECRETS, change, logins
from tests.factories import (
    CHANGE,
    VIEW,
    make_aws,
    make_client,
    make_database,
    make_email,
    make_user,
    sent_form,
)
from tests.page_forms import open_form, send_form


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def operator(db, client):
    client.force_login(make_user("operator", *VIEW, *CHANGE, "migration.add_run"))
    return client


@pytest.fixture
def idom(db) -> int:
    pk = make_client("idom")
    make_database(pk, db_password_encrypted=SECRETS["databases-0-db_password"])
    make_email(pk, email_password_encrypted=SECRETS["emails-0-email_password"])
    make_aws(pk, secret_access_key=SECRETS["aws_logins-0-secret_access_key"])
    return pk


@pytest.fixture
def edit(operator):
    """Opens a client's form, sends it back with some fields changed, and answers with the response, left unrendered."""

    def edit(pk, **changes):
        data = open_form(operator, change(pk))
        assert set(changes) <= set(data), "the page has no such field"
        return send_form(operator, change(pk), data | changes)

    return edit


@pytest.fixture
def send_untouched(operator):
    """Opens a client's page and sends its form back as a browser does, which is what other tests send too."""

    def send_untouched(pk):
        data = sent_form(operator.get(logins(pk)).content.decode())
        token = data.pop("csrfmiddlewaretoken")
        assert open_form(operator, change(pk)) == data
        return operator.post(change(pk), data | {"csrfmiddlewaretoken": token})

    return send_untouched
