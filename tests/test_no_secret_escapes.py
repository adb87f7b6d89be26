"""Drives every page, command and task with unmistakable passwords, then looks for them wherever they don't belong."""

import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from credentials.models import Client
from migration import tasks
from migration.models import Comparison, Run, clients
from migration.operations import running, stores as both_stores
from tests.factories import make_aws, make_client, make_database, make_email, update

MARKERS = {
    "db_password_encrypted": "MARKER-ONE-'\"\\ of the database",
    "email_password_encrypted": "MARKER-TWO-'\"\\ of the mail",
    "secret_access_key": "MARKER-THREE-'\"\\ of AWS",
}
# Quotes and backslashes are escaped one way or another on the way out: what is looked for survives all of them.
NEEDLES = ("MARKER-ONE", "MARKER-TWO", "MARKER-THREE", "MARKER-FOUR")
CREDENTIAL_TABLES = {
    "client_credentials",
    "client_database_credentials",
    "client_email_credentials",
    "client_aws_credentials",
}


@dataclass
class Haystack:
    """Everything that was written anywhere, by where."""

    pieces: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        self.pieces[place] = self.pieces.get(place, "") + text

    def found(self) -> list[str]:
        return sorted(
            place for place, text in self.pieces.items() for needle in NEEDLES if needle in text
        )


class Collector(logging.Handler):
    def __init__(self, haystack: Haystack) -> None:
        super().__init__(logging.DEBUG)
        self.haystack = haystack

    def emit(self, record: logging.LogRecord) -> None:
        self.haystack.add(f"log {record.name}", self.format(record) + repr(record.args))


@contextmanager
def everything_logged(haystack: Haystack) -> Iterator[None]:
    """Every logger at DEBUG, whatever the settings say: what may not be logged may not even then."""
    handler, root = Collector(haystack), logging.getLogger()
    loggers = [
        root,
        *(logging.getLogger(name) for name in ("boto3", "urllib3", "django", "django-q")),
    ]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def add_tables(haystack: Haystack) -> None:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            if table not in CREDENTIAL_TABLES:
                cursor.execute(f'SELECT t::text, to_jsonb(t)::text FROM "{table}" AS t')
                haystack.add(f"table {table}", repr(cursor.fetchall()))


def add_pickles(haystack: Haystack) -> None:
    """django-q keeps arguments and results pickled: what they hold shows only when they are loaded."""
    from django_q.models import OrmQ, Task

    for queued in OrmQ.objects.all():
        haystack.add("queue", repr(queued.task()))
    for task in Task.objects.all():
        haystack.add("task results", repr((task.args, task.kwargs, task.result)))


def command(haystack: Haystack, *arguments: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            call_command(*arguments, stdout=out, stderr=err)
        except SystemExit:
            pass
        except Exception:
            haystack.add(f"exception of {arguments[0]}", traceback.format_exc())
    haystack.add(f"output of {arguments[0]}", out.getvalue() + err.getvalue())


def page(haystack: Haystack, browser, url: str, data=None) -> None:
    method = browser.get if data is None else browser.post
    try:
        response = method(url, data=data, follow=True)
    except Exception:
        haystack.add(f"exception of {url}", traceback.format_exc())
        return
    haystack.add(f"page {url}", response.content.decode(errors="replace") + repr(response.headers))


def every_admin_page() -> Iterator[str]:
    """The list, the form for a new row, and each row's pages, of every model in the admin."""
    yield reverse("admin:index")
    yield reverse("admin:migration_comparison_report")
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        for row in model._default_manager.all()[:5]:
            for page_name in ("change", "history", "delete"):
                yield reverse(f"{name}_{page_name}", args=[row.pk])


def seed() -> int:
    pk = make_client("idom")
    make_database(pk, db_password_encrypted=MARKERS["db_password_encrypted"])
    make_email(pk, email_password_encrypted=MARKERS["email_password_encrypted"])
    make_aws(pk, secret_access_key=MARKERS["secret_access_key"])
    for slug in ("b d", "twice", "large"):
        other = make_client(slug)
        make_database(other, db_password_encrypted=MARKERS["db_password_encrypted"])
    make_database(Client.objects.get(slug="twice").pk)
    large = Client.objects.get(slug="large").databases.get()
    update("client_database_credentials", large.pk, db_password_encrypted="MARKER-ONE" * 7000)
    return pk


def post_the_clients_own_form(haystack: Haystack, browser, pk: int) -> None:
    """Saves the client's form as it came, with new secrets in it: once right, once with an error beside them."""
    url = reverse("admin:credentials_client_change", args=[pk])
    response = browser.get(url)
    data = {}
    forms = [response.context["adminform"].form]
    for inline in response.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for bound in form:
            value = bound.value()
            data[bound.html_name] = "" if value is None else value
    secrets = [
        name
        for name in data
        if name.rsplit("-", 1)[-1] in ("db_password", "email_password", "secret_access_key")
    ]
    assert secrets, "the form has no secret fields: this test would prove nothing"
    for name in secrets:
        if "__prefix__" not in name:
            data[name] = "MARKER-FOUR typed"
    page(haystack, browser, url, data | {"name": ""})
    page(haystack, browser, url, data)


def drive(haystack: Haystack, browser, sm) -> None:
    pk = seed()
    for arguments in (
        ("migrate_clients", "--all", "--dry-run"),
        ("migrate_clients", "--all", "--inline"),
        ("migrate_clients", "--all", "--inline", "--format", "json"),
        ("compare_clients", "--all", "--inline", "--format", "json"),
    ):
        command(haystack, *arguments)
    document = sm.get_client_credentials("idom")
    document["database"]["password"] = "MARKER-FOUR changed in AWS"
    document["MARKER-FOUR as a key"] = "MARKER-FOUR"
    sm.update_client_credentials("idom", document)
    for arguments in (
        ("compare_clients", "--all", "--inline"),
        ("compare_clients", "--all", "--inline", "--format", "json"),
        ("client_status",),
        ("client_status", "--format", "json"),
    ):
        command(haystack, *arguments)
    sm.sm.put_secret_value(SecretId="nova/clients/idom", SecretString="MARKER-FOUR no document")
    command(haystack, "compare_clients", "idom", "--inline", "--format", "json")
    post_the_clients_own_form(haystack, browser, pk)
    run = tasks.start_run(kind=Run.Kind.MIGRATE, chosen=clients())
    add_pickles(haystack)
    running.finish_inline(run)
    update("client_database_credentials", Client.objects.get(pk=pk).databases.get().pk, db_port=1)
    tasks.push_pending()
    command(haystack, "push_pending", "--inline", "--format", "json")
    for url in every_admin_page():
        page(haystack, browser, url)
    for text in (str, repr):
        for row in (*Client.objects.all(), *Comparison.objects.all()):
            haystack.add("text of a row", text(row))
        for rows in both_stores.read_rows(
            list(Client.objects.values_list("pk", flat=True))
        ).values():
            haystack.add("text of what was read", text(rows))
    add_tables(haystack)
    add_pickles(haystack)


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


@pytest.fixture
def haystack(browser) -> Haystack:
    found = Haystack()
    with everything_logged(found):
        drive(found, browser, both_stores.secrets_manager())
    return found


def test_no_secret_is_anywhere_but_in_the_tables_and_in_aws(haystack):
    assert haystack.found() == []
    # It did look: the places that matter were there, and the pages were real ones.
    places = set(haystack.pieces)
    assert {
        "table django_q_ormq",
        "table migration_comparison",
        "table django_session",
        "queue",
    } <= places
    assert any(place.startswith("log botocore") for place in places)
    assert "idom" in haystack.pieces[f"page {reverse('admin:credentials_client_changelist')}"]
    assert not [place for place in places if place.startswith("exception")]


@pytest.mark.parametrize(
    "plant",
    [
        lambda haystack, browser: logging.getLogger("anything").debug("%s", "MARKER-ONE"),
        lambda haystack, browser: command(haystack, "shell", "-c", "print('MARKER-TWO')"),
        lambda haystack, browser: Comparison.objects.create(
            client_id=1, slug="x", status="match", message="MARKER-ONE"
        ),
        lambda haystack, browser: Client.objects.create(name="MARKER-THREE", slug="planted"),
    ],
    ids=["log", "output", "table", "page"],
)
def test_a_planted_secret_is_found(browser, plant):
    haystack = Haystack()
    with everything_logged(haystack):
        plant(haystack, browser)
        page(haystack, browser, reverse("admin:credentials_client_changelist"))
        add_tables(haystack)

    assert haystack.found() != []


def test_a_secret_planted_in_a_tasks_arguments_is_found(browser):
    from django_q.tasks import async_task

    async_task("migration.tasks.run_batch", "MARKER-ONE", 0)
    haystack = Haystack()
    add_pickles(haystack)

    assert haystack.found() == ["queue"]
