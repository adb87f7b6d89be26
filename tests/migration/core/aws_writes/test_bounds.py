"""What this process knows of the writes, and which versions are newer than the database, at the very bounds."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from migration.core import aws_store, aws_writes
from migration.core.audit import WRITES_STARTED_EVENT, WRITES_STOPPED_EVENT, ReasonError
from migration.core.aws_store import find_own_unplanned_versions
from migration.core.aws_writes import (
    CLAIMED,
    COPY,
    DATABASE_CHANGED,
    DATABASE_IS_COPY,
    DATABASE_NOT_NOTED,
    DATABASE_UNKNOWN,
    STOPPED,
    ClaimRefused,
    WriteGuard,
    WritesRefusedError,
    claim_database,
    find_write_refusal,
    write_guard,
)
from migration.core.database_identity import CLAIM_EVENT
from migration.core.notices import NoticeEvent
from migration.models import AuditEvent, DatabaseClaim, Notice, WriteStop

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(aws_writes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_state_is_known_for_seven_tenths_of_a_second(clock):
    guard = WriteGuard()
    assert guard.fresh_state is None

    guard.keep_state("stopped", asked_at=0.0)
    clock[0] = 0.7
    assert guard.fresh_state == "stopped"
    clock[0] = 0.71
    assert guard.fresh_state is None


def test_a_state_that_was_asked_for_earlier_replaces_none(clock):
    guard = WriteGuard()
    guard.keep_state("first", asked_at=-1.0)
    guard.keep_state("second", asked_at=0.0)
    guard.keep_state("third", asked_at=0.0)
    guard.keep_state("late", asked_at=-0.5)

    assert guard.fresh_state == "third"


@pytest.mark.parametrize(
    ("claimed_at", "is_followed"),
    [(None, False), (NOON - MOMENT, False), (NOON, False), (NOON + MOMENT, True)],
)
def test_another_database_is_followed_only_if_it_was_claimed_since(claimed_at, is_followed):
    guard, one, other = WriteGuard(), Database("one"), Database("other")
    before = SimpleNamespace(claimed_at=claimed_at and claimed_at - timedelta(days=1), read_at=NOON)
    assert guard._follow_database(before, one)

    after = SimpleNamespace(claimed_at=claimed_at, read_at=NOON + timedelta(days=1))
    assert guard._follow_database(after, other) == is_followed
    assert guard._follow_database(before, one) != is_followed


class Database(str):
    @property
    def place(self) -> str:
        return str(self)

    def is_same_database(self, other: str) -> bool:
        return self == other


@pytest.fixture
def reach(monkeypatch):
    """Says what this process' connections reach; None is a database that could not be asked."""

    def reach(*identities) -> None:
        reached = SimpleNamespace(list_identities=lambda: set(identities))
        monkeypatch.setattr(aws_writes, "reached_databases", lambda: reached)

    return reach


def state_of(noted: Database | None):
    return SimpleNamespace(noted=noted, claimed_at=None, read_at=NOON)


def test_a_database_that_nobody_noted_or_that_does_not_say_what_it_is_writes_nothing(reach):
    reach(None)

    assert WriteGuard().explain_refused_database(state_of(None)) == DATABASE_NOT_NOTED()
    assert WriteGuard().explain_refused_database(state_of(Database("one"))) == DATABASE_UNKNOWN()


def test_a_process_that_suddenly_works_on_another_database_writes_nothing(reach):
    guard = WriteGuard()
    reach()

    assert guard.explain_refused_database(state_of(Database("one"))) is None
    changed = guard.explain_refused_database(state_of(Database("other")))

    assert changed == DATABASE_CHANGED(this="other")


@pytest.mark.usefixtures("stores")
def test_a_state_that_was_read_is_not_asked_for_again_at_once(monkeypatch):
    asked, now = [], monotonic()
    reading = aws_writes.read_aws_write_state
    monkeypatch.setattr(aws_writes, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(
        aws_writes, "read_aws_write_state", lambda own: asked.append(own) or reading(own)
    )
    write_guard().forget_state()

    assert [find_write_refusal(), find_write_refusal()] == [None, None]

    assert len(asked) == 1


@pytest.mark.parametrize(
    ("version", "is_newer"),
    [
        ({}, True),
        ({"created_at": None}, True),
        ({"created_at": NOON}, False),
        ({"version_id": "planned"}, False),
        ({"version_id": "pushed"}, False),
        ({"version_id": "pushed", "name": "another"}, True),
        ({"version_id": "foreign"}, False),
    ],
)
@pytest.mark.parametrize("since", [NOON, None])
def test_newer_is_what_the_site_wrote_and_the_database_neither_knows_nor_planned(
    monkeypatch, version, is_newer, since
):
    limiter = SimpleNamespace(run_statement=lambda _: ({"planned"}, since))
    monkeypatch.setattr(aws_store, "rate_limiter", lambda: limiter)
    whole = {"name": "idom", "version_id": "new", "created_at": NOON + MOMENT} | version
    known = {"idom": SimpleNamespace(version_id="pushed")}
    keys = SimpleNamespace(is_ours=lambda _, version_id: version_id != "foreign")

    found = find_own_unplanned_versions([SimpleNamespace(**whole)], known=known, keys=keys)

    assert found == ({whole["version_id"]} if is_newer and since else set())


@pytest.mark.usefixtures("stores")
def test_the_database_that_writes_already_is_not_claimed_again():
    with pytest.raises(ClaimRefused, match="This database is the one"):
        claim_database(reason="INC-1")


@pytest.mark.usefixtures("stores")
def test_a_stop_of_the_writes_and_its_end_are_in_the_audit_and_told():
    codes = [WRITES_STARTED_EVENT, WRITES_STOPPED_EVENT]
    entries = AuditEvent.objects.filter(code__in=codes).order_by("pk")

    aws_writes.start_aws_writes()  # they go on already
    assert not entries.exists()
    stop = aws_writes.stop_aws_writes(reason="INC-1")
    assert stop == WriteStop.objects.get()
    aws_writes.start_aws_writes()

    assert [(entry.code, entry.reason) for entry in entries] == [
        (codes[1], "INC-1"),
        (codes[0], ""),
    ]
    assert Notice.objects.filter(event=NoticeEvent.WRITES_STOPPED).count() == 2


@pytest.mark.usefixtures("stores")
def test_a_claim_says_in_the_audit_which_database_wrote_before():
    before = DatabaseClaim.objects.newest()
    DatabaseClaim.objects.filter(pk=before.pk).update(database_oid=1, place="elsewhere/nova")

    claim = claim_database(reason="INC-1")

    expected = CLAIMED(place=claim.identity.place, noted="elsewhere/nova")
    assert AuditEvent.objects.get(code=CLAIM_EVENT).message == expected


def test_a_claim_wants_a_reason_and_a_database_that_says_what_it_is(become_copy, monkeypatch):
    become_copy()
    before = DatabaseClaim.objects.newest()

    with pytest.raises(ReasonError):
        claim_database(reason=" ")
    for reason in (["--reason", ""], ["--reason", " "], []):
        with pytest.raises(CommandError) as wanted:
            call_command("claim_database", *reason)
        assert wanted.value.returncode == 2
    monkeypatch.setattr(aws_writes, "read_identity", lambda _: None)
    with pytest.raises(ClaimRefused) as refused:
        claim_database(reason="INC-1")

    assert refused.value.message == DATABASE_UNKNOWN()
    assert DatabaseClaim.objects.newest() == before


def test_a_copy_that_is_claimed_writes_at_once_even_if_it_was_not_connected(become_copy):
    become_copy()
    assert find_write_refusal().key == DATABASE_IS_COPY.key
    connection.close()

    claim_database(reason="INC-1")

    assert find_write_refusal() is None


@pytest.mark.parametrize(("key", "code"), [("writes_stopped", STOPPED), ("database_is_copy", COPY)])
def test_the_code_of_a_refusal_says_whether_somebody_stopped_the_writes(key, code):
    assert WritesRefusedError.because(SimpleNamespace(key=key)).code == code
