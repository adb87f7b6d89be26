"""The form of a client as a browser sends it, and what the tables hold before and after."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

from django.db import connection
from django.urls import reverse
from psycopg import sql

from credentials.models import Client
from tests.factories import qualified, update
from tests.page_forms import open_form

TABLES = (
    "clients",
    "client_database_credentials",
    "client_email_credentials",
    "client_aws_credentials",
)
SECRETS = {
    "databases-0-db_password": "MARKER-ONE of the database",
    "emails-0-email_password": "MARKER-TWO of the mail",
    "aws_logins-0-secret_access_key": "MARKER-THREE of AWS",
}
ADD = "/admin/credentials/client/add/"
LIST = "/admin/credentials/client/"


def change(pk) -> str:
    return reverse("admin:credentials_client_change", args=[pk])


def logins(pk) -> str:
    """The tab with the form."""
    return f"{change(pk)}?tab=logins"


def stored() -> dict[str, list[tuple]]:
    """Every column of every row, updated_at included, and how often each client was written."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(qualified(table)))
            names = [column.name for column in cursor.description]
            found[table] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    found["revisions"] = dict(Client.objects.with_revision().values_list("pk", "revision"))
    return found


def changed_columns(before, after) -> set[str]:
    return {
        f"{table}.{name}"
        for table in TABLES
        for old, new in zip(before[table], after[table], strict=True)
        for name in old
        if old[name] != new[name]
    }


def in_rounds(cases: Iterable[tuple], kind_of: Callable) -> list[list[tuple]]:
    """Deal cases out so that those of a round fit into one form: one of each kind."""
    kinds = defaultdict(list)
    for case in cases:
        kinds[kind_of(case)].append(case)
    return [[case for case in dealt if case] for dealt in zip_longest(*kinds.values())]


def errors_by_field(response: Any) -> dict[str, str]:
    """What a refused form of a client says at each field, by the name that a browser sends."""
    context = response.context_data
    forms = [context["adminform"].form]
    forms += [form for each in context["inline_admin_formsets"] for form in each.formset.forms]
    return {
        form.add_prefix(name): " ".join(errors)
        for form in forms
        for name, errors in form.errors.items()
    }


def make_odd(pk: int, table: str, **columns) -> None:
    rows = stored()[table]
    update(
        table, next(row["id"] for row in rows if pk in (row.get("client_id"), row["id"])), **columns
    )


def new_client(browser) -> dict[str, str]:
    """The form of a new client with one login of each kind, as scripts add them to the page."""
    data = open_form(browser, ADD)
    return data | {
        "name": "New",
        "slug": "new",
        "databases-TOTAL_FORMS": "1",
        "databases-0-is_primary": "true",
        "databases-0-db_host": "db.example.test",
        "databases-0-db_port": "5432",
        "databases-0-db_name": "app",
        "databases-0-db_user": "app",
        "databases-0-db_password": " example-password-1 ",
        "emails-TOTAL_FORMS": "1",
        "emails-0-is_primary": "true",
        "emails-0-email_user": "invoices@example.test",
        "emails-0-email_password": "example-app-password-2",
        "aws_logins-TOTAL_FORMS": "1",
        "aws_logins-0-is_primary": "true",
        "aws_logins-0-access_key_id": "EXAMPLEKEYID00000000",
        "aws_logins-0-secret_access_key": "example/secret/access/key/that/is/no/key",
    }
