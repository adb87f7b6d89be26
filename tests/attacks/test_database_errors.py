"""Triggers, constraints and views of NOVA's whose errors quote a row: no text of PostgreSQL's leaves the process."""

from __future__ import annotations

import json
import logging
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.urls import reverse

from credentials.models import Client
from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.pages import ClientTab
from migration.core.rate_limiter import rate_limiter
from migration.models import ClientMigration, RunItem
from migration.nova.tables import accept_objects, list_nova_objects, split_unknown_accepted
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import start_run
from tests.haystack import at_levels
from tests.migration.pages import act_page
from tests.page_forms import open_form
from tests.test_no_secret_escapes import (
    MARKERS,
    Haystack,
    add_pickles,
    add_tables,
    command,
    everything_logged,
    page,
    seed,
    work_off_the_queue,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "nova/clients/idom"
TABLE = "public.client_database_credentials"
# So that an error about a number quotes it too.
TYPED = "MARKER-FOUR 98765432109876"
# The same in pieces: the statements that change the table are logged too.
TYPED_IN_SQL = "'MARKER' || '-FOUR 9876543' || '2109876'"
SECRET = re.compile("MARKER-(ONE|TWO|THREE|FOUR)|98765432109876")
RAISES = """
CREATE FUNCTION public.novas_own() RETURNS trigger LANGUAGE plpgsql AS $own$
BEGIN {body} RETURN NEW; END $own$;
CREATE {kind} TRIGGER novas_own {when} INSERT OR UPDATE ON {table} {more}
    FOR EACH ROW EXECUTE FUNCTION public.novas_own()
"""
DROP_TRIGGER = "DROP FUNCTION public.novas_own() CASCADE"
CONSTRAINT = f"ALTER TABLE {TABLE} DROP CONSTRAINT novas_own"


def trigger(body: str, kind: str = "", when: str = "BEFORE", more: str = "") -> tuple[str, str]:
    return RAISES.format(body=body, kind=kind, when=when, more=more, table=TABLE), DROP_TRIGGER


# How NOVA's table refuses whatever is written to it, how it is put back, and the SQLSTATE that is told.
REFUSALS = {
    "raised": (*trigger("RAISE EXCEPTION 'no %', NEW USING DETAIL = NEW::text, HINT = NEW::text;"), "P0001"),
    "raised with a code of its own": (
        *trigger("RAISE EXCEPTION 'no %', NEW USING ERRCODE = 'NV001';"),
        "NV001",
    ),
    "at the commit": (
        *trigger(
            "RAISE EXCEPTION 'no %', NEW;", "CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED"
        ),
        "P0001",
    ),
    "a cast": (*trigger("PERFORM NEW.db_password_encrypted::int;"), "22P02"),
    "a number too large": (
        *trigger(r"PERFORM regexp_replace(NEW.db_password_encrypted, '\D', '', 'g')::int;"),
        "22003",
    ),
    "a check": (
        f"ALTER TABLE {TABLE} ADD CONSTRAINT novas_own CHECK (db_port = 1) NOT VALID",
        CONSTRAINT,
        "23514",
    ),
    "unique": (
        f"""
        INSERT INTO public.clients (name, slug) VALUES ('Other', 'other');
        INSERT INTO {TABLE} (client_id, db_host, db_name, db_user, db_password_encrypted, is_primary)
        SELECT id, '', '', '', {TYPED_IN_SQL}, false FROM public.clients WHERE slug = 'other';
        ALTER TABLE {TABLE} ADD CONSTRAINT novas_own EXCLUDE (db_password_encrypted WITH =)
        WHERE (db_password_encrypted = {TYPED_IN_SQL})
        """,
        f"{CONSTRAINT}; DELETE FROM public.clients WHERE slug = 'other'",
        "23P01",
    ),
    "a domain": (
        f"""
        CREATE DOMAIN public.novas_own AS text CHECK (VALUE NOT LIKE 'MARKER' || '-FOUR%');
        ALTER TABLE {TABLE} ALTER COLUMN db_password_encrypted TYPE public.novas_own
        """,
        f"ALTER TABLE {TABLE} ALTER COLUMN db_password_encrypted TYPE text; DROP DOMAIN public.novas_own",
        "23514",
    ),
}  # fmt: skip


@contextmanager
def changed_by_nova(change: str, back: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(change)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(back)


@contextmanager
def looked_through(haystack: Haystack, *, sql: bool = True) -> Iterator[None]:
    """Every log, with the statements too unless Django would log their parameters itself, as it does in DEBUG."""
    with everything_logged(haystack):
        with at_levels({"django.db.backends": logging.DEBUG if sql else logging.WARNING}):
            yield
        add_tables(haystack)
        add_pickles(haystack)


# PostgreSQL quotes no row of a constraint's; what a trigger of NOVA's says of a row is NOVA's own.
LOG_IS_CLEAN = ("23514", "23P01")


def found(haystack: Haystack, *, log_is_clean: bool = False) -> list[str]:
    places = {place for place in haystack.pieces if SECRET.search(haystack.text(place))}
    return sorted(places - (set() if log_is_clean else {"PostgreSQL's log"}))


def refusals(*, log_is_clean: bool) -> list[tuple[str, str, str]]:
    return [each for each in REFUSALS.values() if (each[2] in LOG_IS_CLEAN) == log_is_clean]


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("debug", [False, True])
def test_a_save_that_novas_table_refuses_is_told_by_its_code_alone(browser, settings, capfd, debug):
    settings.DEBUG = debug
    pk = seed()
    url, add = (
        reverse("admin:credentials_client_change", args=[pk]),
        reverse("admin:credentials_client_add"),
    )
    logins = {f"databases-0-db_{name}": "x.example" for name in ("host", "name", "user")}
    data = open_form(browser, url) | {"databases-0-db_password": TYPED}
    typed = open_form(browser, add) | logins | {"name": "New", "slug": "new"}
    for log_is_clean in (False, True):
        haystack = Haystack()
        with looked_through(haystack, sql=not debug):
            # In DEBUG it is one way of each: the kinds differ in PostgreSQL alone.
            for *change, code in refusals(log_is_clean=log_is_clean)[: 1 if debug else None]:
                with changed_by_nova(*change):
                    text = page(haystack, browser, url, data)
                    added = page(haystack, browser, add, typed | {"databases-0-db_password": TYPED})
                for shown in (text, added):
                    assert f"refused the change (SQLSTATE {code})" in shown, change
                kept = Client.objects.get(pk=pk).databases.get().db_password
                assert kept == MARKERS["db_password_encrypted"]
                assert not Client.objects.filter(slug="new").exists()
        assert found(haystack, log_is_clean=log_is_clean) == []
    assert not SECRET.search("".join(capfd.readouterr()))


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_that_is_no_refusal_of_the_row_is_a_page_without_it(browser, settings, debug):
    settings.DEBUG = debug
    pk = seed()
    url = reverse("admin:credentials_client_change", args=[pk])
    data = open_form(browser, url) | {"databases-0-db_password": TYPED}
    haystack = Haystack()
    with looked_through(haystack, sql=not debug):
        for code in ("40001", "57014", "XX000", "08006"):
            raised = trigger(f"RAISE EXCEPTION 'no %', NEW USING ERRCODE = '{code}';")
            with changed_by_nova(*raised):
                page(haystack, browser, url, data)
            kept = Client.objects.get(pk=pk).databases.get().db_password
            assert kept == MARKERS["db_password_encrypted"]

    for code in ("40001", "57014", "XX000", "08006"):
        told = f"SQLSTATE {code}"
        assert any(told in haystack.text(place) for place in haystack.pieces), code
    assert found(haystack) == []


def test_what_a_trigger_only_warns_of_is_printed_and_logged_nowhere(browser, capfd):
    pk, haystack = seed(), Haystack()
    url = reverse("admin:credentials_client_change", args=[pk])
    warns = trigger(
        "RAISE WARNING 'row %', NEW; RAISE NOTICE 'row %', NEW; RAISE INFO 'row %', NEW;"
    )
    with changed_by_nova(*warns), looked_through(haystack):
        data = open_form(browser, url)
        page(haystack, browser, url, data | {"databases-0-db_password": TYPED})

    assert Client.objects.get(pk=pk).databases.get().db_password == TYPED
    assert found(haystack) == []
    assert not SECRET.search("".join(capfd.readouterr()))


def in_aws(pk: int) -> None:
    """Cut over, and changed in AWS since: a rollback writes what AWS holds into NOVA's tables."""
    push(client_ids=[pk])
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": Phase.AWS})
    sm = aws_store.secrets_manager()
    document = json.loads(sm.get_value(NAME).text)
    document["database"]["password"] = TYPED
    sm.put_value(NAME, json.dumps(document))


def test_moves_and_copies_that_novas_table_refuses_are_told_by_its_code(browser, capfd):
    pk = seed()
    in_aws(pk)
    compare(client_ids=[pk])
    copy = act_page("copy_to_postgres", pk)
    for log_is_clean in (False, True):
        haystack = Haystack()
        with looked_through(haystack):
            for number, (*change, code) in enumerate(refusals(log_is_clean=log_is_clean)):
                shown = browser.get(copy).context["shown"]
                sent = {"confirmed": "1", "clients": shown, "reason": "INC-1"}
                with changed_by_nova(*change):
                    assert f"SQLSTATE {code}" in page(haystack, browser, copy, sent), change
                    options = ("--format", "json") if number else ()
                    command(haystack, "move_clients", "dual_read", "idom", *options)
                    ClientMigration.objects.filter(pk=pk).update(phase=Phase.AWS)

        told = re.findall(r"SQLSTATE (\w+)", haystack.text("output of move_clients"))
        assert told == [code for *_change, code in refusals(log_is_clean=log_is_clean)]
        assert found(haystack) == []
    assert not SECRET.search("".join(capfd.readouterr()))


def test_a_purge_that_novas_table_refuses_at_the_commit_leaves_the_client_where_it_is(browser):
    pk, haystack = seed(), Haystack()
    push(client_ids=[pk])
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": Phase.AWS})
    *change, code = REFUSALS["at the commit"]
    with changed_by_nova(*change), looked_through(haystack):
        unknown, _ = split_unknown_accepted(list_nova_objects())
        accept_objects(digests=[each.digest for each in unknown], reason="INC-1")
        command(haystack, "compare_clients", "idom", "--inline")
        command(haystack, "compare_clients", "idom", "--inline")
        command(haystack, "compare_clients", "idom", "--inline")
        command(haystack, "move_clients", "purged", "idom", "--format", "json")

    assert f"SQLSTATE {code}" in haystack.text("output of move_clients")
    assert ClientMigration.objects.get(pk=pk).phase == Phase.AWS
    assert Client.objects.get(pk=pk).databases.get().db_password == MARKERS["db_password_encrypted"]
    assert found(haystack) == []


# A table of NOVA's that fails as soon as it is read, with a value in its words.
VIEW = """
ALTER TABLE public.client_database_credentials RENAME TO client_credentials;
CREATE VIEW public.client_database_credentials AS
    SELECT id, client_id, label, is_primary, created_at, updated_at, db_host,
        db_password_encrypted::int AS db_port, db_name, db_user, db_password_encrypted FROM public.client_credentials
"""
NO_VIEW = """
DROP VIEW public.client_database_credentials;
ALTER TABLE public.client_credentials RENAME TO client_database_credentials
"""


def test_reads_that_fail_with_a_value_in_their_words_tell_none(browser, capfd):
    pk, haystack = seed(), Haystack()
    push(client_ids=[pk])
    ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": Phase.DUAL_WRITE})
    with changed_by_nova(VIEW, NO_VIEW), looked_through(haystack):
        for arguments in (
            ("migrate_clients", "--all", "--inline", "--format", "json"),
            ("compare_clients", "--all", "--inline"),
            ("push_pending", "--inline"),
            ("client_status", "--format", "json"),
            ("move_clients", "dual_read", "idom", "--format", "json"),
            ("migrate",),
        ):
            command(haystack, *arguments)
        start_run(kind=Run.Kind.COMPARE, chosen=all_clients(), tries=2)
        start_run(kind=Run.Kind.PUSH, chosen=all_clients(), tries=2)
        tasks.sweep()
        work_off_the_queue(haystack)
        for url in pages_that_read_rows():
            page(haystack, browser, url)

    messages = list(RunItem.objects.values_list("message", flat=True))
    assert any("DataError" in str(message) for message in messages)
    assert any("22P02" in haystack.text(place) for place in haystack.pieces)
    assert found(haystack) == []
    assert not SECRET.search("".join(capfd.readouterr()))


def pages_that_read_rows() -> Iterator[str]:
    yield reverse("admin:index")
    for client in Client.objects.all():
        url = reverse("admin:credentials_client_change", args=[client.pk])
        yield from (f"{url}?tab={tab}" for tab in ClientTab)
    for run in Run.objects.all():
        yield reverse("admin:migration_run_change", args=[run.pk])


BAD = "SELECT 'MARKER-ONE'::int"


def execute_many() -> None:
    connection.cursor().executemany("UPDATE public.clients SET id = %s::int", [["MARKER-ONE"]])


def iterate() -> None:
    """By a cursor of the server's."""
    list(Client.objects.extra(select={"n": "name::int"}).iterator(chunk_size=1))


def on_a_copy() -> None:
    with closing(connection.copy()) as other:
        other.cursor().execute(BAD)


def connect() -> None:
    other = connection.copy()
    other.settings_dict = other.settings_dict | {"NAME": "MARKER-ONE"}
    other.ensure_connection()


def by_the_limiter() -> None:
    try:
        rate_limiter()._run_statement(lambda own: own.cursor().execute(BAD))
    finally:
        rate_limiter().close()


@pytest.mark.parametrize("act", [execute_many, iterate, on_a_copy, connect, by_the_limiter])
def test_every_connection_masks_its_errors(transactional_db, act):
    Client.objects.create(name="MARKER-ONE", slug="x")
    with pytest.raises(DatabaseError) as raised:
        act()

    text, error = "", raised.value
    while error:
        text += f"{error!r} {error} {error.args!r}"
        error = error.__cause__ or error.__context__
    assert "SQLSTATE 22P02" in text or act is connect
    assert "MARKER" not in text


def test_what_is_masked_is_found_where_nothing_masks_it(browser, monkeypatch):
    """The test's own eyes: without the filter they see the row."""
    monkeypatch.setattr("nova_admin.database.base.reduce_error_to_sqlstate", lambda error: None)
    pk, haystack = seed(), Haystack()
    url = reverse("admin:credentials_client_change", args=[pk])
    raised = trigger("RAISE EXCEPTION 'no %', NEW USING ERRCODE = '40001';")
    with changed_by_nova(*raised), looked_through(haystack):
        data = open_form(browser, url)
        page(haystack, browser, url, data | {"databases-0-db_password": TYPED})

    assert "log django.request" in found(haystack)
