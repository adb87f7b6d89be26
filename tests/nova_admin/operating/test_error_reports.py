"""A page or a task fails with a password in its form, variables and exceptions: no log, mail or row holds it."""

import json
import logging
from uuid import UUID

import pytest
from django.core import mail
from django.db import Error, connection
from django_q.models import Task

from migration import tasks
from migration.core.correlation import LEFT_OUT, correlating, describe_error, describe_traceback
from migration.runs.models import Run
from nova_admin.logs import JsonFormatter, TextLogFormatter, make_logging
from nova_credentials.aws.secrets_manager import SecretsManagerError
from tests.haystack import NEEDLE
from tests.migration.pages import make_run
from tests.nova_admin.operating.watched import run_task, written_log

SECRET = "MARKER-ONE typed"
REQUEST = "6f1c2c9e-5f0e-4b43-9d58-6d0d5b8b3e11"


@pytest.fixture
def admins(settings):
    settings.ADMINS = [("", "ops@example.test")]
    settings.DEBUG = False


def fail_with_a_password(client, settings, **headers):
    settings.ROOT_URLCONF = "tests.nova_admin.operating.failing_urls"
    client.raise_request_exception = False
    client.cookies["sessionid"] = "MARKER-TWO cookie"
    address = "/fail/?token=MARKER-THREE"
    return client.post(address, {"password": SECRET}, headers={**headers})


@pytest.mark.django_db
def test_a_page_that_fails_leaves_no_value_in_the_log_or_in_the_mail(client, settings, admins):
    with written_log() as (lines, objects):
        answer = fail_with_a_password(client, settings, authorization="MARKER-FOUR")

    (sent,) = mail.outbox
    told = {
        "page": answer.content.decode(),
        "mail": sent.subject + sent.body + str(sent.alternatives),
        "lines": lines.getvalue(),
        "json": objects.getvalue(),
    }
    assert answer.status_code == 500
    assert [place for place, text in told.items() if NEEDLE.search(text)] == []
    # And they say what is needed to find the defect: where, which kinds, and which request.
    name = answer["X-Request-ID"]
    for place in ("mail", "lines", "json"):
        assert "failing_urls.py" in told[place]
        assert all(f"{kind} {LEFT_OUT}" in told[place] for kind in ("ValueError", "KeyError"))
    assert f"Correlation: {name}" in sent.body
    assert "Page: fail" in sent.body
    failed = [entry for entry in map(json.loads, told["json"].splitlines()) if "error" in entry]
    assert [entry["correlation"] for entry in failed] == [name]


@pytest.fixture
def failing_task(monkeypatch, transactional_db) -> None:
    make_run(1)

    def fail(*_: object, **__: object) -> None:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError(f"no push with {SECRET}") from error

    monkeypatch.setattr(tasks.engine, "work_on_run", fail)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("admins", "failing_task")
def test_a_task_that_fails_leaves_no_value_in_its_result_the_log_or_the_mail():
    with written_log() as (lines, objects), correlating(REQUEST):
        run_task("migration.tasks.work_on_run", Run.objects.get().pk)

    (task,) = Task.objects.all()
    (sent,) = mail.outbox
    told = {
        "result": str(task.result),
        "mail": sent.subject + sent.body,
        "lines": lines.getvalue(),
        "json": objects.getvalue(),
    }
    assert not task.success
    assert [place for place, text in told.items() if NEEDLE.search(text)] == []
    assert task.result == f"RuntimeError {LEFT_OUT} [{REQUEST}]"
    failed = [entry for entry in map(json.loads, told["json"].splitlines()) if "error" in entry]
    assert [entry["correlation"] for entry in failed] == [REQUEST]
    assert "work_on_run" in failed[0]["error"]
    assert failed[0]["message"] == f"Task {task.name} failed"
    assert f"Correlation: {REQUEST}" in sent.body


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("failing_task")
def test_a_task_of_the_schedule_has_a_name_of_its_own():
    with written_log() as (_lines, objects):
        run_task("migration.tasks.work_on_run", Run.objects.get().pk)

    (task,) = Task.objects.all()
    failed = [
        entry for entry in map(json.loads, objects.getvalue().splitlines()) if "error" in entry
    ]
    assert [UUID(entry["correlation"]).hex for entry in failed] == [task.id]


def test_what_a_library_adds_to_a_record_is_not_written():
    record = logging.makeLogRecord(
        {"msg": "done", "levelname": "INFO", "request": SECRET, "data": {"password": SECRET}}
    )

    for formatter in (JsonFormatter(), TextLogFormatter()):
        assert not NEEDLE.search(formatter.format(record))


def test_a_line_of_json_is_one_line_whatever_was_logged():
    record = logging.makeLogRecord(
        {"msg": 'a "name"\n{"level": "ERROR"}\u2028', "levelname": "INFO"}
    )

    (line,) = JsonFormatter().format(record).splitlines()

    assert json.loads(line)["message"] == 'a "name"\n{"level": "ERROR"}\u2028'
    assert "correlation" not in json.loads(line)


def test_texts_of_our_own_errors_are_told():
    """They hold no value, and say what to do."""
    error = SecretsManagerError.from_code("AccessDeniedException", "GetSecretValue", "nova/x")

    assert "AccessDeniedException" in describe_error(error)


@pytest.mark.django_db
def test_an_error_of_the_database_is_told_without_postgresqls_words():
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::int", [SECRET])
    except Error as error:
        text = describe_traceback(error)

    assert "django.db.utils.DataError: InvalidTextRepresentation (SQLSTATE 22P02)" in text
    assert not NEEDLE.search(text)


def test_a_chain_without_end_is_told_as_far_as_it_helps():
    first, second = ValueError(SECRET), KeyError(SECRET)
    first.__context__, second.__context__ = second, first

    assert describe_traceback(first).count(LEFT_OUT) == 2


def test_names_that_others_chose_begin_no_line():
    assert "\n" not in describe_error(Run.DoesNotExist("a\nb"))


def test_mails_are_sent_only_where_somebody_gets_them():
    assert "mail" not in make_logging("text", "INFO")["handlers"]
    assert "mail" in make_logging("json", "INFO", mails_errors=True)["root"]["handlers"]
