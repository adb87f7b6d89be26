"""The indexes that NOVA's tables lack: advised where there are many clients, and never a failure."""

import json

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from migration.core.problems import Look
from migration.doctor import nova
from tests.factories import make_many, make_user

PAGE = reverse("admin:migration_run_health")
TABLES = ("public.client_database_credentials", "public.client_email_credentials")
STATEMENTS = tuple(f"CREATE INDEX CONCURRENTLY ON {table} (client_id);" for table in TABLES)


@pytest.fixture
def many(stores, monkeypatch) -> None:
    """As many clients as are called many, and NOVA's tables as NOVA makes them."""
    monkeypatch.setattr(nova, "MANY_CLIENTS", 3)
    make_many(3)


@pytest.fixture
def execute():
    """Run statements; the indexes that a test made are gone after it."""
    made = []

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        made.append(statement)

    yield execute
    with connection.cursor() as cursor:
        for name in ("of_databases", "of_emails"):
            cursor.execute(f"DROP INDEX IF EXISTS public.{name}")


def examine():
    (finding,) = nova.find_missing_indexes(Look())
    return finding


def test_with_many_clients_the_indexes_are_advised_with_what_makes_them(many, execute, capsys):
    finding = examine()

    assert (finding.ok, finding.message.key) == (True, "clients_are_not_indexed")
    assert finding.statements == STATEMENTS
    assert "owner of the tables" in str(finding.remedy)
    # They are fit to be pasted, and then nothing is advised.
    for statement, name in zip(STATEMENTS, ("of_databases", "of_emails"), strict=True):
        execute(statement.replace("CONCURRENTLY ON", f"CONCURRENTLY {name} ON"))
    assert (examine().message.key, examine().statements) == ("clients_are_indexed", ())


@pytest.mark.parametrize(
    "index",
    [
        "CREATE INDEX of_emails ON public.client_email_credentials (email_user, client_id)",
        "CREATE INDEX of_emails ON public.client_email_credentials (client_id) WHERE is_primary",
    ],
)
def test_an_index_that_finds_no_client_does_not_count(many, execute, index):
    execute("CREATE INDEX of_databases ON public.client_database_credentials (client_id, id)")
    execute(index)

    assert examine().statements == STATEMENTS[1:]


def test_with_few_clients_no_index_is_advised(many, monkeypatch):
    monkeypatch.setattr(nova, "MANY_CLIENTS", 4)

    finding = examine()

    assert (finding.ok, finding.message.key, finding.remedy) == (True, "no_index_is_needed", None)
    assert finding.statements == ()


def test_command_and_page_show_the_statements(many, client, capsys):
    call_command("doctor", "--only", "indexes_missing", "--format", "json")
    told = json.loads(capsys.readouterr().out)
    call_command("doctor", "--only", "indexes_missing")
    lines = capsys.readouterr().out.splitlines()
    user = make_user("viola")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    page = client.get(f"{PAGE}?area=database").content.decode()

    assert [(each["state"], each["statements"]) for each in told] == [("ok", [*STATEMENTS])]
    assert f"        {STATEMENTS[0]}" in lines
    assert STATEMENTS[1] in page
