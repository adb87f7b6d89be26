"""The good lines of a file are stored at once or not at all, and only as they were previewed."""

import csv
import io

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import translation

from credentials.models import Client, DatabaseCredential
from migration.clients.history import load_history
from migration.clients.imports import (
    ImportRefusedError,
    preview_import,
    store_import,
    write_refused_lines,
)
from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientGroup
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user, nova_connected, update
from tests.migration.clients.imports.files import AWS, DATABASE, EMAIL, make_csv, make_row
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def user(stores) -> User:
    return make_user("paco")


def everything() -> list[object]:
    models = (Client, DatabaseCredential, ClientGroup, AuditEvent)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def refusal(data: bytes, **options) -> str:
    before = everything()
    with pytest.raises(ImportRefusedError) as refused:
        store_import(data=data, **options)
    assert everything() == before
    return refused.value.message.key


def test_a_new_client_is_as_nova_would_have_written_it():
    data = make_csv(make_row("acme", **EMAIL, **AWS, description="two\r\nlines", is_active="no"))

    result = store_import(data=data)

    with nova_connected() as nova:
        clients = nova.execute("SELECT slug, name, description, is_active FROM public.clients")
        databases = nova.execute(
            "SELECT db_host, db_port, db_name, db_user, db_password_encrypted, label, is_primary"
            " FROM public.client_database_credentials"
        )
        emails = nova.execute(
            "SELECT email_provider, imap_host, imap_port, email_password_encrypted, sender_whitelist"
            " FROM public.client_email_credentials"
        )
        found = [clients.fetchall(), databases.fetchall(), emails.fetchall()]
    assert (result.new, result.changed, result.unchanged) == (1, 0, 0)
    assert found == [
        [("acme", "ACME", "two\nlines", False)],
        [("db.example.test", 5432, "app", "app", "example-password-1", None, True)],
        [("gmail", "imap.gmail.com", 993, "example-app-password-2", None)],
    ]


def test_the_same_file_again_changes_nothing():
    data = make_csv(make_row("acme", **EMAIL, **AWS, groups="wave 1"))
    store_import(data=data)
    before = everything()[:3]

    again = store_import(data=data)

    assert (again.new, again.changed, again.unchanged) == (0, 0, 1)
    assert everything()[:3] == before


def test_what_the_file_leaves_empty_stays():
    pk = make_full_client("idom", description="as it was")

    store_import(data=make_csv({"slug": "idom", "db_password": "another", "db_host": ""}))

    client = Client.objects.get(pk=pk)
    row = client.databases.get()
    assert (client.description, row.db_host, row.db_password) == (
        "as it was",
        "db.example.test",
        "another",
    )


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_a_changed_client_of_both_stores_is_pushed_by_the_next_push(phase):
    pk = make_full_client("idom")
    enter_phase(pk, phase)

    store_import(data=make_csv({"slug": "idom", "db_password": "another"}))

    assert all_clients().push_due().get().pk == pk
    push(client_ids=[pk])
    assert compare(client_ids=[pk])[pk].status == "match"


def test_groups_are_made_and_clients_put_into_them(user):
    make_full_client("idom")
    ClientGroup.objects.get_or_add("Wave 1")

    store_import(
        data=make_csv(
            {"slug": "idom", "groups": "wave 1"}, make_row("acme", groups="wave 1;north")
        ),
        by=user,
    )

    members = {
        group.name: sorted(all_clients().in_group(group.pk).values_list("slug", flat=True))
        for group in ClientGroup.objects.all()
    }
    assert members == {"Wave 1": ["acme", "idom"], "north": ["acme"]}


def test_a_wrong_line_keeps_no_other_client_out_unless_it_is_all_or_nothing():
    pk = make_full_client("idom")
    rows = [make_row("acme"), {"slug": "idom", "db_password": "x"}, make_row("odd", db_port="x")]

    assert refusal(make_csv(*rows), all_or_nothing=True) == "import_lines_wrong"
    result = store_import(data=make_csv(*rows))

    assert (result.new, result.changed, result.unchanged) == (1, 1, 0)
    assert [(line.number, line.slug) for line in result.refused] == [(4, "odd")]
    assert DatabaseCredential.objects.get(client=pk).db_password == "x"
    assert sorted(Client.objects.values_list("slug", flat=True)) == ["acme", "idom"]


def test_of_a_client_with_a_wrong_line_nothing_is_stored():
    make_full_client("idom")
    rows = [
        {"slug": "idom", "name": "Other", "groups": "wave 1"},
        {"slug": "idom", "label": "reports", **DATABASE, "db_port": "x"},
    ]
    before = everything()[:3]

    result = store_import(data=make_csv(*rows))

    assert everything()[:3] == before
    assert (result.new, result.changed, result.unchanged, result.client_ids) == (0, 0, 0, [])


def test_the_refused_lines_are_given_back_as_they_stood_and_are_taken_once_they_are_corrected():
    odd = make_row("odd", db_port="x", db_password='=1+1 "; ñ ', description="-1\r\n;")
    data = make_csv(make_row("acme"), odd, make_row("z"), delimiter=";")
    refused = store_import(data=data).refused

    given = write_refused_lines(data=data, refused=refused)

    (row,) = csv.DictReader(io.StringIO(given, newline=""), delimiter=";")
    assert [*row] == ["reason", *odd]
    assert row.pop("reason") == "Line 3: db_port: Enter a whole number."
    assert row == odd
    # Once more with another reason in front, which is no cell of it.
    again = preview_import(data=given.encode())
    assert [p.key for p in again.lines[0].problems] == ["import_cell_refused"]
    given = write_refused_lines(data=given.encode(), refused=again.refused)
    store_import(data=given.replace('"x"', '"5432"').encode())
    assert DatabaseCredential.objects.get(client__slug="odd").db_password == odd["db_password"]


@pytest.mark.parametrize("line", ["odd,Odd", "odd,Odd,x,y,z", 'odd,"O\0dd",x'])
def test_a_refused_line_of_another_shape_is_given_back_whole(line):
    data = f"slug,name,db_password\n{line}\n".encode()

    given = write_refused_lines(data=data, refused=preview_import(data=data).refused)

    header, row = csv.reader(io.StringIO(given, newline=""))
    assert header == ["reason", "slug", "name", "db_password"]
    assert row[1:] == next(csv.reader([line]))
    keys = [
        [p.key for p in each.lines[0].problems] for each in map(_preview, (data, given.encode()))
    ]
    assert keys[0] == keys[1]


def _preview(data: bytes):
    return preview_import(data=data)


def test_what_the_database_refuses_at_the_last_line_leaves_nothing():
    make_full_client("idom")
    rows = [make_row(f"client-{n}", groups="wave 1") for n in range(3)]
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no: %', NEW USING ERRCODE = '23514'; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT ON public.client_database_credentials"
            " FOR EACH ROW WHEN (NEW.db_user = 'last') EXECUTE FUNCTION public.refuse()"
        )
    try:
        key = refusal(
            make_csv({"slug": "idom", "name": "Other"}, *rows, make_row("z", db_user="last"))
        )
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "DROP TRIGGER refuse ON public.client_database_credentials;"
                "DROP FUNCTION public.refuse()"
            )

    assert key == "import_refused"


def test_rows_that_nova_is_writing_are_not_waited_for_long(monkeypatch):
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0.1)
    pk = make_full_client("idom")
    with nova_connected() as nova, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")  # who waits for NOVA's row would wait for ever
        nova.execute("UPDATE public.clients SET name = 'Idom 2' WHERE id = %s", [pk])

        assert (
            refusal(make_csv({"slug": "idom", "name": "Other"}, make_row("x"))) == "import_refused"
        )


def test_a_slug_that_nova_adds_meanwhile_is_refused(monkeypatch):
    monkeypatch.setattr("migration.clients.imports._read_slugs", dict)
    original = Client.objects.bulk_create

    def add_first(clients, **options):
        with nova_connected() as nova:
            nova.execute("INSERT INTO public.clients (name, slug) VALUES ('Acme', 'acme')")
            nova.commit()
        return original(clients, **options)

    monkeypatch.setattr(Client.objects, "bulk_create", add_first)

    with pytest.raises(ImportRefusedError, match="23505"):
        store_import(data=make_csv(make_row("other", groups="wave 1"), make_row("acme")))

    assert list(Client.objects.values_list("name", flat=True)) == ["Acme"]
    assert not ClientGroup.objects.exists()


def test_what_was_previewed_can_be_confirmed_in_any_language(user):
    make_full_client("idom")
    data = make_csv(make_row("acme", groups="wave 1"), {"slug": "idom", "db_password": "another"})
    with translation.override("es"):
        token = preview_import(data=data).sign(user)

    result = store_import(data=data, by=user, token=token)

    assert (result.new, result.changed) == (1, 1)


def test_another_file_than_the_previewed_one_is_refused(user):
    token = preview_import(data=make_csv(make_row("acme"))).sign(user)

    for other in (make_csv(make_row("acme", db_password="another")), make_csv(make_row("b"))):
        assert refusal(other, by=user, token=token) == "import_other_file"


def test_the_preview_of_another_user_is_refused(user):
    data = make_csv(make_row("acme"))

    token = preview_import(data=data).sign(make_user("other"))

    assert refusal(data, by=user, token=token) == "import_other_file"
    assert refusal(data, by=user, token="") == "import_other_file"
    assert refusal(data, by=user, token="." * 9) == "import_other_file"


def change_secret(pk: int) -> None:
    row = DatabaseCredential.objects.get(client=pk)
    update("client_database_credentials", row.pk, db_password_encrypted="newer, of NOVA")


@pytest.mark.parametrize(
    "act",
    [
        change_secret,
        lambda _pk: make_full_client("acme"),
        lambda pk: enter_phase(pk, Phase.DUAL_WRITE),
        lambda _pk: ClientGroup.objects.get_or_add("wave 1").put_clients(all_clients()),
    ],
    ids=["nova writes", "the slug comes", "it moves", "it comes into the group"],
)
def test_what_changed_since_the_preview_is_not_written_over(user, act):
    pk = make_full_client("idom")
    changed = {"slug": "idom", "db_password": "of the file", "groups": "wave 1"}
    data = make_csv(changed, make_row("acme"))
    token = preview_import(data=data).sign(user)
    act(pk)

    assert refusal(data, by=user, token=token) == "import_other_plan"


def test_the_audit_has_the_numbers_and_the_fields_of_each_client_and_no_value(user):
    pk = make_full_client("idom")
    make_full_client("same")
    data = make_csv(
        make_row("acme", **EMAIL, groups="wave 1"),
        {"slug": "idom", "name": "Other", "db_password": "another"},
        {"slug": "same", "name": "SAME"},
    )

    store_import(data=data, by=user)

    entries = {event.slug: str(event.message) for event in AuditEvent.objects.filter(code="import")}
    assert entries.keys() == {"", "acme", "idom"}
    assert entries[""] == "Imported clients: 1 added, 1 changed, 1 unchanged."
    row = DatabaseCredential.objects.get(client=pk)
    assert entries["idom"] == f"Changed client: name; database login {row.pk}: db_password."
    assert "email_user, email_password" in entries["acme"]
    acts = AuditEvent.objects.filter(code__in=("import", "client_group"))
    assert {event.who for event in acts} == {"paco"}
    told = "".join(AuditEvent.objects.values_list("facts", flat=True))
    assert not any(secret in told for secret in ("another", "example-password-1"))
    assert DATABASE["db_host"] not in told


def test_the_client_s_history_tells_of_the_import(user):
    store_import(data=make_csv(make_row("acme")), by=user)
    pk = Client.objects.get().pk

    (line,) = load_history(pk, has_permission=lambda _name: True).lines

    assert (line.who, line.icon) == ("paco", "upload")
    assert str(line.message).startswith("Added a client: client: name; ")
