"""The page of an import: what it shows, what it stores, and that the file is in memory only."""

import csv
import io
import tempfile

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.test import Client as Browser
from django.urls import reverse

from credentials.import_columns import IMPORT_COLUMNS
from credentials.models import Client, DatabaseCredential
from migration.people.roles import IMPORT_PERMISSIONS
from migration.runs.models import Run
from tests.factories import make_full_client, make_user
from tests.migration.clients.imports.files import make_csv, make_row
from tests.migration.pages import act_page, plan_page
from tests.page_forms import pages_left_out

PAGE = reverse("admin:credentials_client_import")
LIST = reverse("admin:credentials_client_changelist")
VIEW_CLIENT = "credentials.view_client"


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def send(browser, data: bytes, order: str = "preview", headers=None, **fields: str):
    file = SimpleUploadedFile("clients.csv", data, content_type="text/csv")
    return browser.post(PAGE, {"order": order, **fields, "file": file}, headers=headers)


def confirm(browser, data: bytes, *, sent: bytes | None = None, **fields: str):
    token = send(browser, data).context["token"]
    return send(browser, data if sent is None else sent, "import", plan=token, **fields)


def slugs_at(browser, url: str) -> list[str]:
    with pages_left_out():
        return sorted(row.slug for row in browser.get(url).context_data["cl"].queryset)


def test_the_preview_names_lines_and_problems_and_the_good_lines_are_stored(browser):
    make_full_client("idom")
    marked = {"name": "MARKER-ONE", "db_host": "MARKER-ONE", "db_password": " MARKER-ONE "}
    odd = make_row("odd", db_port="x", db_password=" MARKER-TWO")
    rows = [make_row("acme", **marked), {"slug": "idom", "name": "Idom & Co"}]
    data = make_csv(*rows, make_row("b d", db_port="x"), odd)

    response = send(browser, data)

    # No cell but the slug is on the page.
    html = response.content.decode()
    assert "acme" in html
    assert "Enter a whole number" in html
    assert "MARKER" not in html
    assert (response.context["number"], response.context["refused"]) == (2, 2)
    assert list(Client.objects.values_list("slug", flat=True)) == ["idom"]
    sections = {each["key"]: each for each in response.context["sections"]}
    (line,) = sections["warned"]["lines"]
    assert (sections["warned"]["number"], line.number, line.slug) == (1, 2, "acme")
    assert [(w.key, w.values["name"]) for w in line.warnings] == [
        ("secret_has_outer_blanks", "db_password")
    ]
    assert str(line.warnings[0]) in html

    response = send(browser, data, "import", plan=response.context["token"])

    # The page stays, to give the others back.
    assert "1 added, 1 changed, 0 unchanged." in response.context["stored"]
    assert response.context["refused"] == 2
    assert slugs_at(browser, response.context["new_clients_url"]) == ["acme"]
    assert "MARKER" not in response.content.decode()
    assert list(Client.objects.order_by("slug").values_list("slug", flat=True)) == ["acme", "idom"]
    stored = DatabaseCredential.objects.get(client__slug="acme")
    assert stored.db_password == " MARKER-ONE "
    given = send(browser, data, "refused")
    assert given["Content-Disposition"].startswith("attachment")
    assert "no-store" in given["Cache-Control"]
    row = list(csv.DictReader(io.StringIO(given.content.decode("utf-8-sig"), newline="")))[-1]
    assert (row["slug"], row["db_password"]) == ("odd", " MARKER-TWO")
    assert row["reason"] == "Line 5: db_port: Enter a whole number."


def test_an_import_leads_to_exactly_the_clients_that_are_new(browser):
    make_full_client("idom"), make_full_client("other")
    rows = [make_row("acme"), make_row("b", groups="wave 1"), {"slug": "idom", "name": "I & Co"}]

    first = confirm(browser, make_csv(*rows)).url

    assert first.startswith(f"{LIST}?import=")
    html = browser.get(first).content.decode()
    assert "2 added, 1 changed, 0 unchanged." in html
    assert "See the new clients" in html
    assert "New in the import of" in html
    # A script is led on by a header.
    data = make_csv(make_row("c"), *rows)
    token = send(browser, data).context["token"]
    response = send(browser, data, "import", plan=token, headers={"HX-Request": "true"})
    second = response["HX-Redirect"]
    assert (response.status_code, second.startswith(f"{LIST}?import=")) == (204, True)
    assert first != second
    assert (slugs_at(browser, first), slugs_at(browser, second)) == (["acme", "b"], ["c"])
    # Only what the address names: there is no such filter beside the others.
    assert "New in the import of" not in browser.get(LIST).content.decode()
    for name in ("x", "9" * 5000, "00000000-0000-0000-0000-000000000000"):
        assert slugs_at(browser, f"{LIST}?import={name}") == []
    # One without a new client leads to all.
    assert confirm(browser, make_csv({"slug": "idom", "name": "Idom & Co"})).url == LIST
    browser.force_login(make_user("eva", VIEW_CLIENT))
    assert slugs_at(browser, first) == ["acme", "b"]


def test_only_the_file_that_was_previewed_is_stored(browser):
    data = make_csv(make_row("acme"))
    # A file of refused lines alone can't be confirmed; of one without any none is given.
    response = send(browser, make_csv(make_row("odd", db_port="x")))
    assert (response.context["token"], response.context["refused"]) == ("", 1)
    assert send(browser, data, "refused").context["token"]
    assert send(browser, data, "import").context["refusal"].key == "import_other_file"
    for sent in (b"", b"\0\0\0", b"slug\n"):
        response = confirm(browser, data, sent=sent)

        assert response.context["refusal"]
        assert not response.context["token"]

    response = confirm(browser, data, sent=make_csv(make_row("other")))

    html = response.content.decode()
    assert "this is not the file that was previewed" in html
    assert "other" in html
    assert response.context["token"]
    assert not Client.objects.exists()


def test_a_migration_goes_through_its_plan_which_is_stored_for_many(browser, monkeypatch):
    data = make_csv(make_row("acme"), make_row("odd", db_port="x"))

    response = confirm(browser, data, migrate="yes")

    assert response.url == act_page("push", Client.objects.get().pk)
    assert "1 line was refused" in browser.get(response.url).content.decode()
    assert not Run.objects.exists()
    monkeypatch.setattr("migration.runs.act_pages.FEW_CLIENTS", 1)

    response = confirm(browser, make_csv(make_row("b"), make_row("c")), migrate="yes")

    plan = Run.objects.get()
    assert response.url == plan_page(plan)
    new = Client.objects.filter(slug__in=["b", "c"])
    assert plan.chosen == sorted(new.values_list("pk", flat=True))
    assert plan.state == Run.State.PLANNING


def test_what_is_wrong_with_the_file_is_said(browser):
    template = browser.get(reverse("admin:credentials_client_import_template")).content
    (columns,) = csv.reader(template.decode().splitlines())
    assert tuple(columns) == IMPORT_COLUMNS
    for data, key in (
        (b"", "import_file_empty"),
        (b"acme,Acme,example-password\n", "import_no_slug_column"),
        ("slug,name\nacme,Camión\n".encode("utf-16-le"), "import_nul_in_first_line"),
        (template, "import_no_lines"),
    ):
        response = send(browser, data)

        assert response.status_code == 200
        assert response.context["refusal"].key == key
        assert "example-password" not in response.content.decode()
    # One that is much too large is answered and not kept.
    response = send(browser, b"slug,name\n" + b"x" * 50_000_000)
    assert "The file has 50,000,010 bytes" in response.content.decode()
    response = browser.post(PAGE, {"order": "preview"})
    assert response.context["refusal"].key == "import_no_file"
    # Of two the first alone is read.
    first, second = (
        SimpleUploadedFile("clients.csv", make_csv(make_row(slug))) for slug in ("a", "b")
    )
    response = browser.post(PAGE, {"order": "preview", "file": [first, second]})
    assert [line.slug for line in response.context["sections"][0]["lines"]] == ["a"]


def test_a_large_upload_is_in_no_temporary_file(browser, monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    monkeypatch.setattr(TemporaryFileUploadHandler, "new_file", fail)
    data = make_csv(*(make_row(f"c-{n}", description="d" * 100_000) for n in range(40)))
    assert len(data) > settings.FILE_UPLOAD_MAX_MEMORY_SIZE

    assert send(browser, data).context["token"]


def test_a_form_without_its_token_is_refused_and_nothing_is_stored(browser):
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="root"))
    shown = strict.get(PAGE)
    data = make_csv(make_row("acme"))

    assert send(strict, data).status_code == 403
    accepted = send(strict, data, csrfmiddlewaretoken=str(shown.context["csrf_token"]))

    assert accepted.context["token"]


def test_who_may_not_write_all_of_it_may_not_import_and_is_not_led_there(stores, client):
    data, template = make_csv(make_row("acme")), reverse("admin:credentials_client_import_template")
    for number, lacking in enumerate(IMPORT_PERMISSIONS):
        held = [name for name in IMPORT_PERMISSIONS if name != lacking]
        client.force_login(make_user(f"some-{number}", *held, VIEW_CLIENT))

        answers = client.get(PAGE), send(client, data), client.get(template)
        assert [each.status_code for each in answers] == [403] * 3
    assert PAGE not in client.get(LIST).content.decode()
    client.force_login(make_user("all", *IMPORT_PERMISSIONS, VIEW_CLIENT))
    assert PAGE in client.get(LIST).content.decode()
    assert "migrate" not in send(client, data).content.decode()


def test_the_page_lists_so_many_lines_of_each_kind(browser):
    rows = [make_row(f"c-{n}", db_port="x") for n in range(201)]
    rows += [make_row(f"n-{n}") for n in range(51)]

    sections = send(browser, make_csv(*rows)).context["sections"]

    assert [(s["key"], s["number"], len(s["lines"])) for s in sections] == [
        ("wrong", 201, 200),
        ("new", 51, 50),
    ]
