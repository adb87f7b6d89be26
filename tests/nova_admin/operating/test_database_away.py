"""PostgreSQL is away: a page says so, commands and the log name the server, and one mail tells of it."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import psycopg
import pytest
from django.core import mail
from django.db import DatabaseError, connection
from django.test import Client

from migration.core import heartbeat
from nova_admin import operating, watch
from nova_admin.database.base import NoConnectionError, find_why_unreachable
from nova_admin.reporting import ErrorMails
from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.factories import make_user, nova_uri

COOKIE = {"sessionid": "of-somebody-who-was-logged-in"}
PAGES = ("/admin/", "/admin/login/", "/admin/migration/run/", "/admin/no-such-page/")


@pytest.fixture
def away(django_db_blocker, monkeypatch):
    """Nothing listens where the database was."""
    with django_db_blocker.unblock():
        connection.close()
        for name, value in {"HOST": "127.0.0.1", "PORT": "1", "USER": "example-role"}.items():
            monkeypatch.setitem(connection.settings_dict, name, value)
        yield
        connection.close()


@pytest.fixture
def browser() -> Client:
    browser = Client(raise_request_exception=False)
    browser.cookies.load(COOKIE)
    return browser


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", PAGES)
def test_a_page_says_that_the_database_is_away(away, browser, address, method):
    response = getattr(browser, method)(address)
    page = response.content.decode()

    assert response.status_code == 503
    assert "The site can&#x27;t reach its PostgreSQL: no answer, or no such database." in page
    assert response.headers["Retry-After"] == "30"
    assert "no-store" in response.headers["Cache-Control"]
    # Anybody is shown the page.
    assert "127.0.0.1" not in page
    assert "example-role" not in page


@pytest.mark.parametrize("chosen", ["header", "cookie"])
def test_it_says_so_in_the_readers_language(away, browser, chosen):
    if chosen == "cookie":
        browser.cookies["django_language"] = "es"
    headers = {"accept-language": "es"} if chosen == "header" else {}

    page = browser.get("/admin/", headers=headers).content.decode()

    assert '<html lang="es"' in page
    assert "PostgreSQL" in page
    assert "no answer" not in page


def test_the_log_names_the_server(away, browser, caplog):
    with caplog.at_level(logging.ERROR):
        browser.get("/admin/")

    errors = [record for record in caplog.records if record.exc_info]
    assert "127.0.0.1:1 as example-role: no answer" in str(errors[-1].exc_info[1])


def test_readiness_logs_which_server_it_is_and_what_to_do(away):
    _told, why = operating._ask(operating.DATABASE)

    assert "127.0.0.1:1 as example-role: no answer" in why
    assert "docs/runbooks.md#database" in why


def test_workers_and_the_watch_log_it_too(away, caplog, monkeypatch):
    taker = heartbeat.TaskTaker()
    monkeypatch.setattr(heartbeat, "explain_idleness", connection.ensure_connection)
    monkeypatch.setattr(watch, "look_while_no_worker_looks", connection.ensure_connection)
    assert not taker.takes_tasks()
    monkeypatch.setattr(watch.threading, "Event", lambda: SimpleNamespace(wait=end_at_last(3)))
    with pytest.raises(StopIteration):
        watch._watch_for_ever()

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2  # the watch says the same once
    assert all("as example-role: no answer" in line for line in lines)


def end_at_last(calls: int) -> Callable[[float], None]:
    """Return a wait that is over at once, and ends its loop at the last call."""
    left = iter(range(calls))
    return lambda _seconds: next(left)


def test_a_login_that_is_refused_is_told_with_server_role_and_database_and_no_password():
    given = {"host": "db.example", "user": "nova_site", "dbname": "nova", "password": "example-pw"}

    error = NoConnectionError(given, refused=True)

    assert "db.example:5432 as nova_site: the login is refused" in str(error)
    assert "database of DATABASE_URL: docs/runbooks.md#database" in str(error)
    assert "example-pw" not in str(error) + repr(vars(error))


def test_a_connection_that_is_ended_is_told_and_the_next_page_has_another(
    transactional_db, browser
):
    browser.force_login(make_user("root", is_superuser=True))
    with psycopg.connect(nova_uri(), autocommit=True) as other, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        other.execute("SELECT pg_terminate_backend(%s)", cursor.fetchone())

    response = browser.get("/admin/people/")
    connection.close()

    assert response.status_code == 503
    assert "it was stopped, or the connection was lost" in response.content.decode()
    assert browser.get("/admin/people/").status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "SELECT * FROM no_such_table",
        "SET statement_timeout = 1; SELECT pg_sleep(9)",
    ],
)
def test_a_statement_that_fails_is_no_database_that_is_away(transactional_db, statement):
    with pytest.raises(DatabaseError) as failed, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()

    assert find_why_unreachable(failed.value) is None
    assert find_why_unreachable(None) is None


@pytest.fixture
def mailed(settings):
    settings.ADMINS = [("", "ops@example.test")]
    settings.EMAIL_SUBJECT_PREFIX = "[NOVA Admin, staging] "
    handler = ErrorMails()
    logging.getLogger().addHandler(handler)
    handler.setLevel(logging.ERROR)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_of_a_kind_of_error_one_mail_is_sent_in_ten_minutes(away, browser, mailed, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("nova_admin.reporting.time.monotonic", lambda: now[0])
    for _ in range(3):
        for address in PAGES:
            browser.get(address)

    (sent,) = mail.outbox
    assert sent.subject.startswith("[NOVA Admin, staging] ERROR")
    assert "[Django]" not in sent.subject
    now[0] += 601
    browser.get("/admin/")
    assert "(11 more like it since the last mail)" in mail.outbox[-1].subject
    assert len(mail.outbox) == 2


def test_another_kind_of_error_is_mailed_beside_it(mailed):
    logger = logging.getLogger("example")
    for number in range(5):
        logger.error("the %s is out of order", f"part {number}")
        try:
            int("no number") if number % 2 else {}["no key"]
        except (ValueError, KeyError):
            logger.exception("failed")

    assert len(mail.outbox) == 3


def test_the_prefix_is_the_name_of_the_environment():
    told = subprocess.run(
        [sys.executable, "-c", "from tests import settings; print(settings.EMAIL_SUBJECT_PREFIX)"],
        cwd=ROOT, env=os.environ | {"NOVA_ENVIRONMENT": "staging"}, capture_output=True, text=True,
        timeout=TIMEOUT_SECONDS, check=True,
    )  # fmt: skip

    assert told.stdout == "[NOVA Admin, staging] \n"
