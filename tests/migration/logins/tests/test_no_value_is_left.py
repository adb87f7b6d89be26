"""No value of a login is left by its test: not in logs at DEBUG, results, tables, output or pages."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse

from credentials.models import Client
from nova_credentials.phases import Phase
from tests.factories import all_tables, make_aws, make_client, make_database, make_email
from tests.haystack import everything_logged
from tests.migration.logins.tests.servers import (
    CLEAR_TEXT,
    HOST,
    USER,
    make_error,
    speak_postgres,
)
from tests.migration.moves.clients import enter_phase
from tests.page_forms import open_form
from tests.test_no_secret_escapes import Haystack, command, page

MARKED = 'MARKER-ONE " wörd'

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def marked(stores, servers, scram_server, settings):
    """A client whose servers refuse its marked secrets, each in another way, and say them back where they know them."""
    settings.AWS_IDENTITY_ENDPOINT = stores.endpoint
    pk = make_client("idom")
    right = servers.certificates.right
    for port in (
        servers.database(behind=scram_server),
        servers.serve(speak_postgres(make_error("28P01", MARKED), tls=right)),
        servers.serve(speak_postgres(CLEAR_TEXT, tls=right)),
        servers.serve(speak_postgres(MARKED.encode(), tls=right)),
    ):
        make_database(
            pk,
            db_host=HOST,
            db_port=port,
            db_user=USER,
            db_password_encrypted=MARKED,
            is_primary=False,
            label=str(port),
        )
    for imap in (
        servers.imap(refusal=b"NO " + MARKED.encode()),
        servers.imap(greeting=b"* BYE " + MARKED.encode() + b"\r\n"),
    ):
        make_email(
            pk,
            imap_host=HOST,
            imap_port=imap,
            smtp_host=None,
            email_password_encrypted=MARKED,
            is_primary=False,
            label=str(imap),
        )
    make_email(
        pk,
        imap_host=None,
        smtp_host=HOST,
        smtp_port=servers.smtp(),
        email_password_encrypted=MARKED,
    )
    make_aws(pk, access_key_id="DEMOKEYID00000000001", secret_access_key=MARKED)
    enter_phase(pk, Phase.DUAL_READ)
    return pk


def try_what_is_new(haystack, client, pk, typed):
    """Test what is typed for a login that isn't stored: of this client, and of a new one."""
    url = reverse("admin:credentials_client_test_new", args=[pk, "database"])
    assert "refuses user or password" in page(haystack, client, url, typed | {"row": "databases-0"})
    url = reverse("admin:credentials_client_add_test", args=["database"])
    typed |= {"row": "databases-0"}
    assert "refuses user or password" in page(haystack, client, url, typed)
    assert "required" in page(haystack, client, url, typed | {"databases-0-db_host": ""})


def test_no_value_is_left_anywhere(marked, client):
    haystack = Haystack()
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    change = reverse("admin:credentials_client_change", args=[marked])
    with everything_logged(haystack):
        command(haystack, "test_logins", "--all", "--inline", "--format", "json")
        command(haystack, "test_logins", "--all", "--inline")
        url = reverse("admin:credentials_client_test_logins", args=[marked])
        shown = page(haystack, client, url, {"store": "both", "back": f"{change}?tab=logins"})
        row = Client.objects.get(pk=marked).databases.earliest("pk").pk
        typed = open_form(client, change) | {"databases-0-db_password": f"{MARKED} typed"}
        url = reverse("admin:credentials_client_test_typed", args=[marked, "database", row])
        answer = page(haystack, client, url, typed)
        try_what_is_new(haystack, client, marked, typed)
    with connection.cursor() as cursor:
        for table in all_tables():
            if table.startswith("nova_admin.") and "client_aws_credentials" not in table:
                cursor.execute(f"SELECT t::text FROM {table} t")
                for (text,) in cursor.fetchall():
                    haystack.add(f"table {table}", text)

    assert "the server refuses user or password" in answer
    assert "refuses user or password" in haystack.text("output of test_logins")
    assert shown.count("Login refused") >= 5  # a card of each login
    assert haystack.text("table nova_admin.migration_logintest").count("refused") >= 6
    assert haystack.found() == []
