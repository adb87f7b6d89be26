"""The page of an import: what it shows, what it stores, and that the file is in memory only."""

import csv
import io
import tempfile

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.test import Client as Browser
from django.urls import reverse

from credentials.import_columns import IMPORT_COLUMNS
from credentials.models import Client, DatabaseCredential
from migration.clients.imports import MOST_BYTES
from migration.people.roles import IMPORT_PERMISSIONS
from migration.runs.models import Run
from tests.factories import make_full_client, make_user
from tests.migration.clients.imports.files import make_csv, make_row
from tests.migration.pages import act_page, plan_page

PAGE = reverse("admin:credentials_client_import")
LIST = reverse("admin:credentials_client_changelist")
VIEW_CLIENT = "credentials.view_client"


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def send(browser, data: bytes, order: str = "preview", **fields: str):
    file = SimpleUploadedFile("clients.csv", data, content_type="text/csv")
    return browser.post(PAGE, {"order": order, **fields, "file": file})


def confirm(browser, data: bytes, *, sent: bytes | None = None, **fields: str):
    token = send(browser, data).context["token"]
    return send(browser, data if sent is None else sent, "import", plan=token, **fields)


def test_the_preview_names_lines_columns_and_problems_and_stores_nothing(browser):
    make_full_client("idom")
    rows = [make_row("acme"), {"slug": "idom", "name": "Idom & Co"}, make_row("b d", db_port="x")]

    response = send(browser, make_csv(*rows))

    html = response.content.decode()
    assert "acme" in html
    assert "Enter a whole number" in html
    assert (response.context["number"], response.context["refused"]) == (2, 1)
    assert list(Client.objects.values_list("slug", flat=True)) == ["idom"]


def test_secrets_with_outer_blanks_are_named_and_taken_as_they_are(browser):
    data = make_csv(
        make_row("acme", db_password=" MARKER-ONE "),
        make_row("idom"),
        make_row("odd", db_password=" MARKER-TWO", db_port="x"),
    )

    response = send(browser, data)
    confirm(browser, data)

    sections = {each["key"]: each for each in response.context["sections"]}
    (line,) = sections["warned"]["lines"]
    assert (sections["warned"]["number"], line.number, line.slug) == (1, 2, "acme")
    assert [(w.key, w.values["name"]) for w in line.warnings] == [
        ("secret_has_outer_blanks", "db_password")
    ]
    assert str(line.warnings[0]) in response.content.decode()
    assert "MARKER" not in response.content.decode()
    stored = DatabaseCredential.objects.get(client__slug="acme")
    assert stored.db_password == " MARKER-ONE "


def test_no_cell_but_the_slug_is_in_the_preview(browser):
    hostile = make_row("acme", name="MARKER-ONE", db_host="MARKER-ONE", db_password="MARKER-ONE")

    response = send(browser, make_csv(hostile))

    assert response.context["token"]
    assert "MARKER" not in response.content.decode()


def test_the_same_file_is_stored_once_it_is_confirmed(browser):
    response = confirm(browser, make_csv(make_row("acme"), make_row("b", groups="wave 1")))

    assert response.url.startswith(f"{LIST}?import=")
    assert "2 added, 0 changed, 0 unchanged." in browser.get(response.url).content.decode()
    assert Client.objects.count() == 2


def test_the_good_lines_are_stored_and_the_page_stays_to_give_the_others_back(browser):
    data = make_csv(make_row("acme"), make_row("odd", db_port="x", db_password="example-odd"))

    response = confirm(browser, data)

    assert "1 added, 0 changed, 0 unchanged." in response.context["stored"]
    assert response.context["refused"] == 1
    assert slugs_at(browser, response.context["new_clients_url"]) == ["acme"]
    assert "example-odd" not in response.content.decode()
    given = send(browser, data, "refused")
    assert given["Content-Disposition"].startswith("attachment")
    assert "no-store" in given["Cache-Control"]
    (row,) = csv.DictReader(io.StringIO(given.content.decode("utf-8-sig"), newline=""))
    assert (row["slug"], row["db_password"]) == ("odd", "example-odd")
    assert row["reason"] == "Line 3: db_port: Enter a whole number."
    assert Client.objects.get().slug == "acme"


def test_of_a_file_without_a_refused_line_none_is_given(browser):
    response = send(browser, make_csv(make_row("acme")), "refused")

    assert response.context["token"]
    assert not Client.objects.exists()


def test_a_file_of_refused_lines_alone_can_t_be_confirmed(browser):
    response = send(browser, make_csv(make_row("odd", db_port="x")))

    assert (response.context["token"], response.context["refused"]) == ("", 1)


def test_a_migration_of_the_good_lines_says_how_many_were_refused(browser):
    data = make_csv(make_row("acme"), make_row("odd", db_port="x"))

    response = confirm(browser, data, migrate="yes")

    assert response.url == act_page("push", Client.objects.get().pk)
    assert "1 line was refused" in browser.get(response.url).content.decode()


def test_another_file_is_not_stored_and_its_preview_is_shown(browser):
    response = confirm(browser, make_csv(make_row("acme")), sent=make_csv(make_row("other")))

    html = response.content.decode()
    assert "this is not the file that was previewed" in html
    assert "other" in html
    assert response.context["token"]
    assert not Client.objects.exists()


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", b"slug\n"])
def test_a_file_that_can_t_be_read_is_refused_at_the_confirmation_too(browser, sent):
    response = confirm(browser, make_csv(make_row("acme")), sent=sent)

    assert response.context["refusal"]
    assert not response.context["token"]
    assert not Client.objects.exists()


def test_without_a_preview_nothing_is_stored(browser):
    response = send(browser, make_csv(make_row("acme")), "import")

    assert response.context["refusal"].key == "import_other_file"
    assert not Client.objects.exists()


def test_a_migration_goes_through_its_plan(browser):
    response = confirm(browser, make_csv(make_row("acme"), make_row("b")), migrate="yes")

    ids = sorted(Client.objects.values_list("pk", flat=True))
    assert response.url == act_page("push", *ids)
    assert not Run.objects.exists()


def test_a_migration_of_many_goes_through_a_stored_plan(browser, monkeypatch):
    monkeypatch.setattr("migration.runs.act_pages.FEW_CLIENTS", 1)

    response = confirm(browser, make_csv(make_row("acme"), make_row("b")), migrate="yes")

    plan = Run.objects.get()
    assert response.url == plan_page(plan)
    assert plan.chosen == sorted(Client.objects.values_list("pk", flat=True))
    assert plan.state == Run.State.PLANNING


def slugs_at(browser, url: str) -> list[str]:
    return sorted(row.slug for row in browser.get(url).context["cl"].queryset)


def test_it_leads_to_exactly_the_clients_that_are_new(browser):
    make_full_client("idom"), make_full_client("other")
    rows = [make_row("acme"), make_row("b"), {"slug": "idom", "name": "Idom & Co"}]

    first = confirm(browser, make_csv(*rows)).url
    second = confirm(browser, make_csv(make_row("c"), *rows)).url

    html = browser.get(second).content.decode()
    assert "See the new clients" in html
    assert "New in the import of" in html
    assert first != second
    assert (slugs_at(browser, first), slugs_at(browser, second)) == (["acme", "b"], ["c"])
    # Only what the address names: there is no such filter beside the others.
    assert "New in the import of" not in browser.get(LIST).content.decode()


@pytest.mark.parametrize("name", ["x", "9" * 5000, "00000000-0000-0000-0000-000000000000"])
def test_an_import_that_there_is_not_shows_no_client(browser, name):
    make_full_client("idom")

    assert slugs_at(browser, f"{LIST}?import={name}") == []


def test_an_import_without_a_new_client_leads_to_all(browser):
    make_full_client("idom")

    answer = confirm(browser, make_csv({"slug": "idom", "name": "Idom & Co"}))

    assert answer.url == LIST


def test_a_viewer_follows_the_link_too(browser, client):
    url = confirm(browser, make_csv(make_row("acme"))).url
    client.force_login(make_user("eva", VIEW_CLIENT))

    assert slugs_at(client, url) == ["acme"]


def test_a_script_is_led_on_by_a_header(browser):
    data = make_csv(make_row("acme"))
    token = send(browser, data).context["token"]

    file = SimpleUploadedFile("clients.csv", data)
    sent = {"order": "import", "plan": token, "file": file}
    response = browser.post(PAGE, sent, headers={"HX-Request": "true"})

    assert response.status_code == 204
    assert response["HX-Redirect"].startswith(f"{LIST}?import=")


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"", "import_file_empty"),
        (b"acme,Acme,example-password\n", "import_no_slug_column"),
        ("slug,name\nacme,Camión\n".encode("utf-16-le"), "import_nul_in_first_line"),
        (b"x" * (MOST_BYTES + 1), "import_file_too_large"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(browser, data, key):
    response = send(browser, data)

    assert response.status_code == 200
    assert response.context["refusal"].key == key
    assert "example-password" not in response.content.decode()


def test_a_file_of_50_megabytes_is_answered_and_not_kept(browser):
    response = send(browser, b"slug,name\n" + b"x" * 50_000_000)

    assert "The file has 50,000,010 bytes" in response.content.decode()


def test_without_a_file_it_is_said(browser):
    response = browser.post(PAGE, {"order": "preview"})

    assert response.context["refusal"].key == "import_no_file"


def test_a_large_upload_is_in_no_temporary_file(browser, monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    monkeypatch.setattr(TemporaryFileUploadHandler, "new_file", fail)

    response = send(
        browser, make_csv(*(make_row(f"c-{n}", description="d" * 4_000) for n in range(1_000)))
    )

    assert response.context["token"]


def test_of_two_files_the_first_alone_is_read(browser):
    first, second = (
        SimpleUploadedFile("clients.csv", make_csv(make_row(slug))) for slug in ("a", "b")
    )

    response = browser.post(PAGE, {"order": "preview", "file": [first, second]})

    assert [line.slug for line in response.context["sections"][0]["lines"]] == ["a"]


def test_a_form_without_its_token_is_refused_and_nothing_is_stored(browser):
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="root"))
    shown = strict.get(PAGE)
    data = make_csv(make_row("acme"))

    assert send(strict, data).status_code == 403
    accepted = send(strict, data, csrfmiddlewaretoken=str(shown.context["csrf_token"]))

    assert accepted.context["token"]


@pytest.mark.parametrize("lacking", IMPORT_PERMISSIONS)
def test_who_may_not_write_all_of_it_may_not_import(stores, client, lacking):
    held = [name for name in IMPORT_PERMISSIONS if name != lacking]
    client.force_login(make_user("some", *held, VIEW_CLIENT))

    assert client.get(PAGE).status_code == 403
    assert send(client, make_csv(make_row("acme"))).status_code == 403
    assert client.get(reverse("admin:credentials_client_import_template")).status_code == 403
    assert PAGE not in client.get(reverse("admin:credentials_client_changelist")).content.decode()


def test_who_may_finds_the_page_in_the_list(stores, client):
    client.force_login(make_user("some", *IMPORT_PERMISSIONS, VIEW_CLIENT))

    assert PAGE in client.get(reverse("admin:credentials_client_changelist")).content.decode()
    assert "migrate" not in send(client, make_csv(make_row("acme"))).content.decode()


def test_the_page_lists_so_many_lines_of_each_kind(browser):
    rows = [make_row(f"c-{n}", db_port="x") for n in range(201)]
    rows += [make_row(f"n-{n}") for n in range(51)]

    sections = send(browser, make_csv(*rows)).context["sections"]

    assert [(s["key"], s["number"], len(s["lines"])) for s in sections] == [
        ("wrong", 201, 200),
        ("new", 51, 50),
    ]


def test_the_template_is_the_first_line_of_a_file(browser):
    response = browser.get(reverse("admin:credentials_client_import_template"))

    (columns,) = csv.reader(response.content.decode().splitlines())
    assert tuple(columns) == IMPORT_COLUMNS
    assert send(browser, response.content).context["refusal"].key == "import_no_lines"
