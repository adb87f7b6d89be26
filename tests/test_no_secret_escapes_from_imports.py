"""Imports files with unmistakable secrets, also in wrong places, and looks for them wherever they don't belong."""

import contextlib
import io

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client as Browser
from django.urls import reverse

from credentials.models import Client, DatabaseCredential
from migration.pushes.pushes import push
from tests.factories import make_aws_secret, make_full_client
from tests.haystack import NEEDLE, Haystack, everything_logged, templates_logged
from tests.migration.clients.imports.files import AWS, EMAIL, make_csv, make_row
from tests.test_no_secret_escapes import (
    MARKERS,
    add_pickles,
    add_tables,
    command,
    page,
    work_off_the_queue,
)

PAGE = reverse("admin:credentials_client_import")
SECRETS = {
    "db_password": MARKERS["db_password_encrypted"],
    "email_password": MARKERS["email_password_encrypted"],
    "secret_access_key": make_aws_secret(MARKERS["secret_access_key"]),
}
MISPLACED = "MARKER-FOUR in a wrong place"


@pytest.fixture
def browser(stores) -> Browser:
    browser = Browser(raise_request_exception=False)
    browser.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return browser


def make_rows(*slugs: str) -> list[dict[str, str]]:
    return [make_row(slug, **EMAIL, **AWS) | SECRETS for slug in slugs]


def send(haystack: Haystack, browser: Browser, data: bytes, **fields: str) -> str:
    response = browser.post(
        PAGE, {"order": "preview", **fields, "file": SimpleUploadedFile("c.csv", data)}
    )
    text = response.content.decode(errors="replace")
    haystack.add("page of the import", text + repr(response.headers) + repr(response.cookies))
    return response.context["token"] if response.status_code == 200 else ""


def list_wrong_files() -> list[bytes]:
    """Files that are refused, with a secret wherever somebody may put it by mistake."""
    good = make_csv(*make_rows("acme"))
    header, line = good.split(b"\r\n", 1)
    everywhere = dict.fromkeys(make_rows("x")[0], MISPLACED)
    return [
        line,  # without the names of columns
        header + b"\r\n" + line.replace(b"acme,", b""),
        header + b"\r\nacme," + line,
        header + b'\r\n"' + line,
        header + b"\r\n" + line.replace(b"MARKER", b"MARKER-FOUR\0"),
        good + b'"MARKER-FOUR',
        good + b"\x81",
        make_csv(everywhere | {"slug": "acme"}),
        make_csv(*make_rows("idom"), {"slug": "idom", **SECRETS}),
        make_csv({"slug": "idom", "db_host": MISPLACED, "imap_host": MISPLACED, "groups": "a"}),
        make_csv(*make_rows("acme"), make_row("b", db_password="   " + MISPLACED * 5_000)),
    ]


def test_an_import_leaves_no_secret_behind(browser, settings, monkeypatch, tmp_path):
    settings.DEBUG = True
    make_full_client("idom")
    haystack = Haystack(novas_words="ERROR:  no: (")
    good = make_csv(*make_rows("acme", "idom", "b"))
    file = tmp_path / "clients.csv"
    with everything_logged(haystack), templates_logged():
        for data in [*list_wrong_files(), good]:
            file.write_bytes(data)
            send(haystack, browser, data)
            command(haystack, "import_clients", str(file), "--dry-run")
            command(haystack, "import_clients", str(file), "--dry-run", "--format", "json")
            # What is given back is the file itself; it is in nothing else.
            upload = SimpleUploadedFile("c.csv", data)
            browser.post(PAGE, {"order": "refused", "file": upload})
            call_command_quietly(str(file))
        token = send(haystack, browser, good)
        refuse_rows()
        try:
            send(haystack, browser, good, order="import", plan=token)
            command(haystack, "import_clients", str(file))
        finally:
            take_refusal_back()
        with monkeypatch.context() as patch:
            patch.setattr("migration.clients.imports._record", fail)
            send(haystack, browser, good, order="import", plan=token)
            command(haystack, "import_clients", str(file))
        assert Client.objects.count() == 1
        send(haystack, browser, good, order="import", plan=token, migrate="yes")
        command(haystack, "import_clients", str(file), "--format", "json")
        work_off_the_queue(haystack)
        push(client_ids=list(Client.objects.values_list("pk", flat=True)))
    for listed in ("credentials_client", "migration_auditevent", "migration_run"):
        page(haystack, browser, reverse(f"admin:{listed}_changelist"))
    add_tables(haystack)
    add_pickles(haystack)

    assert haystack.found() == []
    assert DatabaseCredential.objects.filter(db_password=SECRETS["db_password"]).count() == 3
    assert "23514" in haystack.text("page of the import")
    assert NEEDLE.search(SECRETS["db_password"])


def call_command_quietly(path: str) -> None:
    with contextlib.suppress(SystemExit, CommandError):
        call_command(
            "import_clients",
            *(path, "--refused", "--dry-run"),
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )


def fail(*_args) -> None:
    raise RuntimeError("something else")


def refuse_rows() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no: %', NEW USING ERRCODE = '23514'; END $$;"
            "CREATE TRIGGER refuse BEFORE INSERT ON public.client_email_credentials"
            " FOR EACH ROW EXECUTE FUNCTION public.refuse()"
        )


def take_refusal_back() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DROP TRIGGER refuse ON public.client_email_credentials; DROP FUNCTION public.refuse()"
        )
