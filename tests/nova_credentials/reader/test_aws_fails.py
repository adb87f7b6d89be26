"""What a reader does where AWS fails."""

import re
import socket
import threading
import time

import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ExponentialBackoff
from django.db.models import F

from credentials.models import ClientRevision
from migration.models import ReadCount
from nova_credentials.aws import SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import from_aws
from tests.factories import make_full_client, update
from tests.nova_credentials.in_phases import bring, stand
from tests.nova_credentials.nova_process import TIMEOUT_SECONDS as WATCHDOG_SECONDS
from tests.nova_credentials.reader.questions import AWS_ALONE, counts, in_time


@pytest.fixture
def hanging(monkeypatch):
    """An AWS that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
        yield server


@pytest.fixture
def down(monkeypatch):
    """An AWS that refuses. Before it asks again botocore waits, by chance for longer than the limit or not."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)


# AWS that refuses has time to: a refusal that came late would be another cause, with a warning of its own.
@pytest.mark.parametrize(("failure", "timeout"), [("hanging", 0.2), ("down", 10)])
def test_dual_read_returns_postgresql_where_aws_fails(
    make_reader, request, caplog, failure, timeout
):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    request.getfixturevalue(failure)
    reader = make_reader(timeout=timeout)

    for _ in range(2):
        row = in_time(lambda: reader.get_credential("idom", "database"))
        assert row.db_password == "example-password-1"

    assert counts(pk) == (2, 0, 0, 2)
    # One a minute.
    (warning,) = [r for r in caplog.records if r.name.startswith("nova_credentials")]
    assert warning.levelname == "WARNING"


def test_a_slug_that_steers_terminals_is_logged_without_its_tricks(make_reader, down, caplog):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    slug = "x\x1b[2J\nforged\u202e"
    update("clients", pk, slug=slug)
    ClientRevision.objects.fold_writes()
    ClientRevision.objects.update(pushed_revision=F("revision"))

    make_reader(timeout=0.2).get_credential(slug, "database")

    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")]
    assert warning.startswith(r"x\x1b[2J\nforged\u202e is read from PostgreSQL")
    assert warning.isprintable()


@pytest.mark.parametrize(("phase", "failure"), [(Phase.AWS, "hanging"), (Phase.PURGED, "down")])
def test_after_cutover_a_failure_of_aws_is_raised_and_counted(make_reader, request, phase, failure):
    pk = make_full_client("idom")
    bring(pk, phase)
    request.getfixturevalue(failure)
    reader, asked = make_reader(timeout=0.05), []
    reader._aws._get_manager().sm.meta.events.register(
        "before-send.secrets-manager", lambda **_: asked.append(1)
    )

    with pytest.raises(SecretsManagerError, match="nova/clients/idom"):
        reader.get_credential("idom", "database")
    assert len(asked) == 3
    assert counts(pk) == (1, 0, 0, 1)
    assert reader.client_id("idom") == pk


def test_no_caller_waits_for_a_thread_that_hangs_and_few_threads_do(make_reader, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader, let_go = make_reader(timeout=0.01), threading.Event()
    monkeypatch.setattr(reader._aws, "read_document", lambda *_: let_go.wait(WATCHDOG_SECONDS))
    before = threading.active_count()

    for _ in range(from_aws.THREADS + 4):
        row = in_time(lambda: reader.get_credential("idom", "database"))
        assert row.db_password == "example-password-1"

    assert threading.active_count() <= before + from_aws.THREADS + 2  # the client's, and in_time's
    # For the others no thread was free: that is no failure of AWS.
    assert counts(pk)[3] == from_aws.THREADS
    assert ReadCount.objects.get(pk=pk).congested_reads == 4
    let_go.set()


BROKEN = ["no JSON", '{"database": "MARKER"}', '{"database": {"host": 1}}', "[]", '{"MARKER']


def test_a_secret_that_is_no_document_is_a_failure_and_an_error_without_values_after_cutover(
    make_reader, sm, caplog
):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    said = r"idom is read from PostgreSQL, as AWS failed: (nova/clients/idom is not|idom: \w+)"
    for text in BROKEN:
        stand(pk, Phase.DUAL_READ)
        sm.put_value("nova/clients/idom", text)
        reader = make_reader(timeout=30)
        ReadCount.objects.all().delete()
        caplog.clear()

        assert reader.get_credential("idom", "database").db_password == "example-password-1"
        assert counts(pk) == (1, 0, 0, 1)
        (warning,) = [
            r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")
        ]
        assert re.match(said, warning)
        assert "MARKER" not in caplog.text

        stand(pk, Phase.AWS)
        with pytest.raises(DocumentError, match="idom") as caught:
            reader.get_credential("idom", "database")
        assert "MARKER" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_an_error_that_is_not_ours_is_logged_by_its_class_alone(reader, monkeypatch, caplog):
    bring(make_full_client("idom"), Phase.DUAL_READ)

    def fail(*_):
        raise KeyError("MARKER")

    monkeypatch.setattr(reader._aws, "read_document", fail)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")]
    assert warning == "idom is read from PostgreSQL, as AWS failed: KeyError"


def test_a_secret_that_is_gone_is_a_failure_of_aws_and_not_an_unknown_client(reader, sm):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    sm.sm.delete_secret(SecretId="nova/clients/idom", ForceDeleteWithoutRecovery=True)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    assert counts(pk) == (1, 0, 0, 1)
    stand(pk, Phase.AWS)
    with pytest.raises(SecretsManagerError) as caught:
        reader.get_credential("idom", "database")
    assert caught.value.not_found


def test_three_secrets_that_are_all_gone_are_a_failure_and_not_a_client_without_credentials(
    make_reader, settings, sm
):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    for service in ("database", "email", "aws"):
        name = f"nova/clients/idom/{service}"
        sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    options = {"layout": Layout.SERVICE, "timeout": 30, "cache_seconds": 1000}

    reader = make_reader(**options)
    for failures in (1, 2):
        found = reader.get_primary_credentials("idom", refresh=True)
        assert found["database"].db_host == "db.example.test"
        assert counts(pk) == (failures, 0, 0, failures)
    reader = make_reader(**options)
    for failures, phase in enumerate((*AWS_ALONE, *AWS_ALONE), start=3):  # no failure is cached
        stand(pk, phase)
        with pytest.raises(SecretsManagerError) as caught:
            reader.get_primary_credentials("idom")
        assert caught.value.not_found
        assert counts(pk) == (failures, 0, 0, failures)


def test_one_secret_of_three_that_cannot_be_read_is_a_failure(make_reader, settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    sm.schedule_deletion("nova/clients/idom/email")
    reader = make_reader(layout=Layout.SERVICE, timeout=30)

    assert reader.get_credential("idom", "email").email_password == "example-app-password-2"
    assert counts(pk) == (1, 0, 0, 1)
    for failures, phase in enumerate(AWS_ALONE, start=2):
        stand(pk, phase)
        with pytest.raises(SecretsManagerError, match="nova/clients/idom/email"):
            reader.get_credential("idom", "email")
        assert counts(pk) == (failures, 0, 0, failures)


def test_where_no_thread_can_start_the_answer_is_an_error_at_once(monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    aws = from_aws.AwsReader(
        region="us-east-1", prefix="nova/clients", layout=Layout.CLIENT, timeout=1
    )

    for _ in range(from_aws.THREADS + 1):  # each gives its place back
        answer = aws.start_reading("idom")
        assert isinstance(answer.exception(timeout=0), RuntimeError)


def test_a_read_that_ended_gives_its_place_to_the_next(monkeypatch):
    aws = from_aws.AwsReader(
        region="us-east-1", prefix="nova/clients", layout=Layout.CLIENT, timeout=1
    )
    monkeypatch.setattr(aws, "read_document", lambda *_: {})

    for _ in range(2 * from_aws.THREADS):
        assert aws.start_reading("idom").result(timeout=WATCHDOG_SECONDS) == {}


def test_the_end_of_a_process_waits_for_no_thread_that_reads(monkeypatch):
    started = []

    def start(thread):
        started.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    aws = from_aws.AwsReader(
        region="us-east-1", prefix="nova/clients", layout=Layout.CLIENT, timeout=1
    )

    aws.start_reading("idom")

    assert [thread.daemon for thread in started] == [True]


def test_without_the_right_to_read_many_secrets_at_once_each_is_read_by_itself(
    make_reader, settings, sm, monkeypatch
):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    reader = make_reader(timeout=30)
    manager = reader._aws._get_manager()

    def deny(**_):
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "BatchGetSecretValue")

    monkeypatch.setattr(manager.sm, "batch_get_secret_value", deny)

    assert reader.get_credential("idom", "email").email_password == "example-app-password-2"
    assert counts(pk) == (1, 0, 0, 0)


def test_a_first_call_has_the_limit_twice_and_each_later_one_once(make_reader, stores):
    bring(make_full_client("idom"), Phase.AWS)
    reader = make_reader(timeout=1000)

    def limit() -> float:
        return reader._aws.end_of_limit() - time.monotonic()

    assert 1500 < limit() <= 2000
    reader.get_credential("idom", "database")
    assert 500 < limit() <= 1000
