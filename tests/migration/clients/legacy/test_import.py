"""The import of the legacy table: what is stored, by whom, and that nothing is stored by halves or twice."""

import json
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse

from credentials.models import Client, DatabaseCredential
from credentials.refusals import insert_rows
from migration.clients.legacy import (
    LEGACY_CHANGED,
    LEGACY_CLIENT_BUSY,
    LEGACY_REFUSED,
    NothingImported,
    import_legacy_clients,
    plan_legacy_import,
)
from migration.core.clients import all_clients
from migration.core.leases import LeaseKind
from migration.models import AuditEvent, ClientGroup
from tests.factories import (
    make_client,
    make_database,
    make_email,
    make_full_client,
    make_user,
    nova_connected,
    update,
)
from tests.held_leases import held_elsewhere
from tests.migration.clients.legacy.rows import add_row, read_all

URL = "admin:credentials_client_legacy"
MAY = ("credentials.add_client", "credentials.add_databasecredential", "credentials.view_client")


@pytest.fixture
def rows(nova):
    """A new client, an inactive one, one that lacks its login, and one that has another."""
    make_email(make_client("mail-only"))
    make_database(make_client("other"), db_host="elsewhere.example.test")
    add_row(nova, "new", client_name="New & Co", db_password=" example ' \" \\ \t ñ ")
    add_row(nova, "off", is_active=False)
    add_row(nova, "mail-only"), add_row(nova, "other")
    return nova


def everything() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Client, DatabaseCredential)]


def test_new_clients_come_as_if_the_form_had_made_them(rows):
    before = read_all(rows)

    import_legacy_clients(by=make_user("ada"))

    client = all_clients().with_phase().with_revision().get(slug="new")
    (login,) = client.databases.all()
    assert (client.name, client.is_active, client.phase, client.pushed_revision) == (
        "New & Co",
        True,
        "postgres",
        None,
    )
    assert client.revision == 2
    assert all_clients().filter_push_pending().filter(pk=client.pk).exists()
    assert not ClientGroup.objects.exists()
    assert (login.db_password, login.is_primary, login.label) == (
        " example ' \" \\ \t ñ ",
        True,
        None,
    )
    assert Client.objects.get(slug="off").is_active is False
    assert DatabaseCredential.objects.filter(client__slug="mail-only").count() == 1
    assert DatabaseCredential.objects.get(client__slug="other").db_host == "elsewhere.example.test"
    # The legacy table is not even locked for a write.
    assert read_all(rows) == before


def test_each_client_has_its_entry_in_the_audit(rows):
    import_legacy_clients(by=make_user("ada"))

    told = {event.slug: event for event in AuditEvent.objects.exclude(slug="")}
    assert told.keys() == {"new", "off", "mail-only"}
    assert {event.who for event in told.values()} == {"ada"}
    assert (told["new"].code, told["mail-only"].code) == ("client_added", "client_saved")
    assert "taken from the legacy table" in str(told["new"].message)
    assert "db_password" in str(told["new"].message)
    assert "example" not in str(told["new"].message)


def test_done_twice_it_adds_nothing(rows):
    import_legacy_clients()
    before = everything()

    plan = import_legacy_clients()

    assert (plan.taken, plan.same, len(plan.left_alone)) == ([], 3, 1)
    assert everything() == before


def test_it_is_all_or_nothing(rows, monkeypatch):
    before = everything()

    def fail_at_the_second(model, stored):
        insert_rows(model, stored)
        if DatabaseCredential.objects.count() > 2:
            raise RuntimeError

    monkeypatch.setattr("migration.clients.legacy.insert_rows", fail_at_the_second)
    with pytest.raises(RuntimeError):
        import_legacy_clients()

    assert everything() == before
    assert not AuditEvent.objects.exclude(slug="").exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE public.client_credentials SET db_password = 'other' WHERE client_slug = 'new'",
        "DELETE FROM public.client_credentials WHERE client_slug = 'new'",
        "UPDATE public.clients SET slug = 'off' WHERE slug = 'other'",
    ],
)
def test_what_changed_since_somebody_looked_is_not_taken(rows, change):
    seen = plan_legacy_import().stamp
    rows.execute(change)
    before = everything()

    with pytest.raises(NothingImported) as refused:
        import_legacy_clients(seen=seen)

    assert refused.value.message.key == LEGACY_CHANGED.key
    assert everything() == before


def test_a_client_that_nova_adds_meanwhile_is_not_added_again(rows, monkeypatch):
    with nova_connected() as nova:
        nova.execute("INSERT INTO public.clients (name, slug) VALUES ('Theirs', 'new')")
        failed = []
        thread = threading.Thread(target=lambda: failed.append(import_in_thread()))
        thread.start()
        thread.join(0.5)
        nova.commit()
        thread.join()

    assert failed == [LEGACY_REFUSED.key]
    assert Client.objects.get(slug="new").name == "Theirs"
    assert not Client.objects.filter(slug="off").exists()


def import_in_thread() -> str:
    try:
        import_legacy_clients()
    except NothingImported as refusal:
        return refusal.message.key
    finally:
        connection.close()
    return ""


def test_two_at_once_add_each_row_once(rows):
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(import_in_thread())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert "" in answers
    assert Client.objects.filter(slug__in=["new", "off"]).count() == 2
    assert DatabaseCredential.objects.count() == 4


def test_a_client_that_somebody_works_on_is_given_no_login(rows):
    pk = Client.objects.get(slug="mail-only").pk
    with held_elsewhere(LeaseKind.CLIENT, pk), pytest.raises(NothingImported) as refused:
        import_legacy_clients()

    assert refused.value.message.key == LEGACY_CLIENT_BUSY.key
    assert not Client.objects.filter(slug="new").exists()


def test_the_page_shows_names_and_kinds_and_takes_what_it_showed(rows, client):
    client.force_login(make_user("ada", *MAY))

    shown = client.get(reverse(URL))
    html = shown.content.decode()

    assert "example" not in html.replace("example.test", "")
    for text in ("new", "off", "mail-only", "hold other values: db_host."):
        assert text in html
    said = client.post(reverse(URL), {"seen": shown.context["plan"].stamp}, follow=True)
    assert "Added 3 rows from the legacy table." in said.content.decode()
    assert "Nothing is missing in the newer tables." in said.content.decode()
    again = client.post(reverse(URL), {"seen": shown.context["plan"].stamp}, follow=True)
    assert "were changed since you looked" in again.content.decode()


def test_the_page_takes_nothing_that_nobody_looked_at(rows, client):
    client.force_login(make_user("ada", *MAY))

    client.post(reverse(URL))

    assert not Client.objects.filter(slug="new").exists()


@pytest.mark.parametrize("lacking", MAY[:2])
def test_who_may_not_add_both_may_not_import(rows, client, lacking):
    client.force_login(make_user("ada", *(each for each in MAY if each != lacking)))

    assert client.get(reverse(URL)).status_code == 403
    assert client.post(reverse(URL)).status_code == 403
    assert not Client.objects.filter(slug="new").exists()


def test_the_page_says_what_it_can_t_read(nova, client):
    client.force_login(make_user("ada", *MAY))
    nova.execute("ALTER TABLE public.client_credentials DROP COLUMN db_user")

    html = client.get(reverse(URL)).content.decode()

    assert "public.client_credentials is missing columns that a login needs: db_user." in html


def test_the_command_says_what_it_would_do_and_does_it(rows, capsys):
    def run(*args: str) -> tuple[int, dict[str, object]]:
        try:
            call_command("import_clients", "--legacy", "--format", "json", *args)
        except SystemExit as ended:
            return int(ended.code), json.loads(capsys.readouterr().out)
        return 0, json.loads(capsys.readouterr().out)

    code, told = run("--dry-run")
    assert (code, told["stored"], told["taken"], told["left_alone"]) == (1, False, 3, 1)
    assert not Client.objects.filter(slug="new").exists()
    code, told = run()
    assert (code, told["stored"], told["taken"], told["same"]) == (1, True, 3, 0)
    assert {item["slug"]: item["kind"] for item in told["items"]} == {
        "new": "new_client",
        "off": "new_client",
        "mail-only": "new_login",
        "other": "other_values",
    }
    update(
        "client_database_credentials",
        DatabaseCredential.objects.get(client__slug="other").pk,
        db_host="db.example.test",
    )
    assert run() == (
        0,
        {
            **told,
            "taken": 0,
            "same": 4,
            "left_alone": 0,
            "items": [
                {
                    "slug": slug,
                    "kind": "same",
                    "message": "The newer tables hold the same values.",
                    "warnings": [],
                }
                for slug in ("new", "off", "mail-only", "other")
            ],
        },
    )


def test_the_command_in_words(rows, capsys):
    with pytest.raises(SystemExit):
        call_command("import_clients", "--legacy", "--dry-run")

    assert capsys.readouterr().out.splitlines()[-1] == "3 would be taken, 0 the same, 1 left alone"


def test_the_command_needs_a_table_that_it_can_read(nova, db):
    nova.execute("ALTER TABLE public.client_credentials DROP COLUMN db_user")

    with pytest.raises(CommandError, match="is missing columns") as refused:
        call_command("import_clients", "--legacy")

    assert refused.value.returncode == 1


def test_the_command_without_the_table(db, capsys):
    make_full_client("idom")

    call_command("import_clients", "--legacy")

    assert "no legacy table" in capsys.readouterr().out
