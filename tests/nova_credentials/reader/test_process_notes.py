"""A process of NOVA's notes itself in the database: seldom, in passing, and never at the cost of a read."""

import logging
import math
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from migration.models import ReaderProcess
from nova_credentials import VERSION
from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres, process_notes
from nova_credentials.reader.process_notes import ProcessNotes
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run
from tests.nova_credentials.reader.questions import AWS_ALONE, GRANTS, counts, execute, in_time

(GRANT,) = [grant for grant in GRANTS if "migration_readerprocess" in grant]
READS_AWS = [phase for phase in Phase if phase.reads_aws]


@pytest.fixture
def later(monkeypatch):
    """Lets so many seconds pass on the reader's clock."""
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(process_notes, "time", clock)

    def later(seconds: float) -> None:
        now[0] += seconds

    return later


@pytest.fixture
def superuser(database_url):
    with psycopg.connect(make_conninfo(database_url, user="postgres")) as other:
        yield other


def noted() -> ReaderProcess | None:
    return ReaderProcess.objects.first()


def long_ago() -> None:
    """Every note so far was made a day ago."""
    ReaderProcess.objects.update(last_read_at=timezone.now() - timedelta(days=1))


# What is noted


def test_the_first_read_notes_the_process_in_every_phase(make_reader):
    for phase in Phase:
        bring(make_full_client(phase), phase)

        make_reader(timeout=30).client_id(phase)
        assert ReaderProcess.objects.seen_in_last_hour().count() == 1

        ReaderProcess.objects.all().delete()
        make_reader(timeout=30).get_primary_credentials(phase)
        (row,) = ReaderProcess.objects.seen_in_last_hour()
        assert (row.host, row.process_id) == (socket.gethostname(), os.getpid())
        assert row.version == VERSION
        # The embedded AWS takes any key; the tests' is "embedded".
        assert row.access_key_end == ("dded" if phase.reads_aws else "")
        assert (row.aws_error, row.aws_error_at) == ("", None)
        assert timezone.now() - row.first_seen_at < timedelta(minutes=1)


def test_the_read_that_aws_fails_notes_the_class_of_the_error(make_reader):
    for phase in READS_AWS:
        ReaderProcess.objects.all().delete()
        bring(make_full_client(phase), phase)
        reader = make_reader(timeout=30)
        reader._aws._get_manager().sm.meta.events.register(
            "before-send.secrets-manager", lambda **_: (_ for _ in ()).throw(no_credentials())
        )

        try:
            reader.get_primary_credentials(phase)
        except SecretsManagerError:
            assert phase in AWS_ALONE

        row = noted()
        assert row.aws_error == ErrorClass.PERMISSION
        assert timezone.now() - row.aws_error_at < timedelta(minutes=1)
        assert ReaderProcess.objects.failing_now().count() == 1


def no_credentials():
    from botocore.exceptions import NoCredentialsError

    return NoCredentialsError()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (
            SecretsManagerError.from_code("AccessDeniedException", "GetSecretValue", "x"),
            "permission",
        ),
        (SecretsManagerError.from_code("ResourceNotFoundException", "Get", "x"), "conflict"),
        (TimeoutError(), "late"),
        (DocumentError("nova/clients/idom"), "no_document"),
        (ModuleNotFoundError("a secret"), "unexpected"),
    ],
)
def test_a_failure_is_known_by_its_class_alone(error, name):
    assert process_notes.name_failure(error) == name


@pytest.mark.parametrize(
    ("signature", "end"),
    [
        ("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261126/eu-west-1/x", "MPLE"),
        (b"AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/20261126/eu-west-1/x", "MPLE"),
        ("AWS4-HMAC-SHA256 Credential=wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12/2026/x", ""),
        ("", ""),
    ],
)
def test_of_the_access_key_its_last_four_are_known_and_of_a_secret_in_its_place_nothing(
    signature, end
):
    notes = ProcessNotes()
    notes.remember_access_key_end(SimpleNamespace(headers={"Authorization": signature}))
    assert notes._access_key_end == end


# How often


def test_a_process_notes_itself_once_a_minute_in_one_row(reader, later):
    bring(make_full_client("idom"), Phase.POSTGRES)
    reader.get_primary_credentials("idom")
    first_seen = noted().first_seen_at
    long_ago()

    later(59.5)
    reader.get_primary_credentials("idom")
    assert not ReaderProcess.objects.seen_in_last_hour().exists()

    later(0.5)
    reader.get_primary_credentials("idom")
    (row,) = ReaderProcess.objects.all()
    assert row.is_seen
    assert row.first_seen_at == first_seen


def test_what_the_cache_answers_is_not_noted(make_reader, later):
    reader = make_reader(cache_seconds=3600)
    bring(make_full_client("idom"), Phase.POSTGRES)
    reader.get_primary_credentials("idom")
    long_ago()

    later(120)
    reader.get_primary_credentials("idom")

    assert not ReaderProcess.objects.seen_in_last_hour().exists()


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.AWS])
def test_many_threads_make_one_note(reader, monkeypatch, phase):
    bring(make_full_client("idom"), phase)
    made = []
    compose = ProcessNotes._compose_note
    monkeypatch.setattr(ProcessNotes, "_compose_note", lambda self: made.append(1) or compose(self))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: reader.get_primary_credentials("idom"), range(40)))

    assert len(made) == 1
    assert ReaderProcess.objects.count() == 1


def test_a_note_takes_no_message_of_its_own(make_reader, later, monkeypatch):
    for phase in Phase:
        bring(make_full_client(phase), phase)
        reader = make_reader(timeout=30)
        reader.get_primary_credentials(phase)
        with monkeypatch.context() as counting:
            assert_no_message_of_its_own(reader, phase, later, counting)


def assert_no_message_of_its_own(reader, slug, later, monkeypatch) -> None:
    sent = []
    execute_there = psycopg.Connection.execute

    def count(there, query, *args, **kwargs):
        sent.append(query if isinstance(query, str) else query.as_string(there))
        return execute_there(there, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "execute", count)
    (kept,) = reader._postgres._idle
    warnings = []
    kept.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    monkeypatch.setattr(psycopg, "connect", None)  # nor a connection

    reader.get_primary_credentials(slug)
    without = len(sent)
    later(61)
    long_ago()
    reader.get_primary_credentials(slug)

    assert ReaderProcess.objects.seen_in_last_hour().exists()
    assert len(sent) - without == without
    assert [("readerprocess" in text) for text in sent].count(True) == 1
    # One statement, which is given up after a tenth of a second.
    (message,) = [text for text in sent if "readerprocess" in text]
    note = message.partition("COMMIT")[2]
    assert note.count("INSERT INTO") == 1
    assert "statement_timeout = '100ms'" in note
    assert warnings == []  # PostgreSQL's, where a transaction begins or ends twice


# Processes


def test_two_readers_of_a_process_are_one_row_and_another_process_and_its_forked_child_are_two(
    make_reader, database_url
):
    bring(make_full_client("idom"), Phase.POSTGRES)
    for _ in range(2):
        make_reader().get_primary_credentials("idom")
    assert ReaderProcess.objects.count() == 1

    printed = run(
        """
import os
reader.get_database_credentials("idom", refresh=True)
children = [os.fork()]
if children[0] == 0:
    reader.get_database_credentials("idom", refresh=True)
    os._exit(0)
os.waitpid(children[0], 0)
reader.get_database_credentials("idom", refresh=True)
print(os.getpid(), children[0])
""",
        database_url,
    )

    noted = ReaderProcess.objects.values_list("process_id", flat=True)
    assert sorted(noted) == sorted([os.getpid(), *map(int, printed.split())])


# What stands in its way costs no read


@pytest.mark.parametrize(
    ("phase", "obstacle"),
    [
        (Phase.POSTGRES, "REVOKE ALL ON nova_admin.migration_readerprocess FROM {}"),
        (Phase.DUAL_READ, "ALTER TABLE nova_admin.migration_readerprocess RENAME TO aside"),
        (
            Phase.DUAL_READ,
            "ALTER TABLE nova_admin.migration_readerprocess RENAME COLUMN aws_error_at TO aside",
        ),
    ],
)
def test_where_a_right_or_the_table_is_missing_it_is_silent_and_tried_again_after_five_minutes(
    reader, role, later, caplog, phase, obstacle
):
    caplog.set_level(logging.INFO)
    pk = make_full_client("idom")
    bring(pk, phase)
    execute(obstacle.format(role))
    try:
        assert reader.get_credential("idom", "database").db_password == "example-password-1"
    finally:
        if "RENAME TO" in obstacle:
            execute("ALTER TABLE nova_admin.aside RENAME TO migration_readerprocess")
        if "RENAME COLUMN" in obstacle:
            execute(
                "ALTER TABLE nova_admin.migration_readerprocess RENAME COLUMN aside TO aws_error_at"
            )
        execute(GRANT.replace(" TO nova;", f" TO {role}"))
    assert [r for r in caplog.records if r.name.startswith("nova_credentials")] == []
    # The read was counted all the same.
    if phase.reads_aws:
        assert counts(pk) == (1, 1, 0, 0)

    later(299.5)
    reader.get_primary_credentials("idom")
    assert noted() is None
    later(0.5)
    reader.get_primary_credentials("idom")
    assert noted() is not None


@pytest.mark.parametrize(
    ("phase", "locked"), [(Phase.POSTGRES, "the row"), (Phase.AWS, "the table")]
)
def test_a_lock_holds_no_read_up(reader, superuser, later, caplog, phase, locked):
    caplog.set_level(logging.DEBUG, "nova_credentials")
    pk = make_full_client("idom")
    bring(pk, phase)
    reader.get_primary_credentials("idom")
    long_ago()
    later(61)
    before = counts(pk)[0] if phase.reads_aws else 0
    superuser.execute(
        "LOCK TABLE nova_admin.migration_readerprocess"
        if locked == "the table"
        else "SELECT FROM nova_admin.migration_readerprocess FOR UPDATE"
    )

    read = in_time(lambda: reader.get_credential("idom", "database"))
    superuser.rollback()

    assert read.db_password == "example-password-1"
    assert not ReaderProcess.objects.seen_in_last_hour().exists()
    assert "This process was not noted: LockNotAvailable" in caplog.messages
    if phase.reads_aws:
        assert counts(pk)[0] == before + 1
    # Within the minute it isn't tried again, after it it is.
    reader.get_primary_credentials("idom")
    assert not ReaderProcess.objects.seen_in_last_hour().exists()
    later(61)
    reader.get_primary_credentials("idom")
    assert ReaderProcess.objects.seen_in_last_hour().exists()


def test_a_lock_delays_a_read_by_a_tenth_of_a_second_at_most(reader, superuser, later):
    bring(make_full_client("idom"), Phase.POSTGRES)
    reader.get_primary_credentials("idom")
    later(61)
    superuser.execute("LOCK TABLE nova_admin.migration_readerprocess")
    timeouts = re.findall(r"_timeout = '(\d+)ms'", process_notes.NOTE)
    assert sorted(map(int, timeouts)) == [50, 100]

    reader.get_primary_credentials("idom")  # would wait for the lock, and this test with it

    # The connection is used again.
    assert len(reader._postgres._idle) == 1


def test_where_reads_cannot_be_counted_the_process_is_noted_all_the_same(reader, role, later):
    bring(make_full_client("idom"), Phase.AWS)
    execute(f"REVOKE ALL ON nova_admin.migration_readcount FROM {role}")

    for _ in range(2):
        reader.get_primary_credentials("idom")

    assert ReaderProcess.objects.seen_in_last_hour().count() == 1


def test_a_host_of_any_name_can_be_noted(reader, monkeypatch):
    monkeypatch.setattr(
        process_notes.socket, "gethostname", lambda: "x'); DROP\\ñ\udcff\0" + "y" * 300
    )
    bring(make_full_client("idom"), Phase.POSTGRES)

    reader.get_primary_credentials("idom")

    assert noted().host == "x');?DROP\\???" + "y" * 242
    assert from_postgres.KEPT_CONNECTIONS >= len(reader._postgres._idle) == 1


def test_of_threads_that_ask_at_once_one_makes_the_note():
    notes = ProcessNotes()

    class Meanwhile:
        """Another thread makes the note before this one has the lock."""

        def __enter__(self) -> None:
            notes._due_at = math.inf

        def __exit__(self, *_: object) -> None:
            pass

    notes._claim_lock = Meanwhile()
    assert not notes._claim_note()
