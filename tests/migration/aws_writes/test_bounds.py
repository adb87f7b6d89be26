"""What this process knows of the writes, and which versions are newer than the database, at the very bounds."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from migration import audit_sentences
from migration.models import AuditCode, AuditEvent, DatabaseClaim
from migration.operations import aws_writes, version_plans
from migration.operations.aws_writes import (
    COPY,
    STOPPED,
    NotChanged,
    WriteGuard,
    WritesRefusedError,
    claim_database,
)
from migration.operations.version_plans import find_newer_versions

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(aws_writes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_state_is_known_for_seven_tenths_of_a_second(clock):
    guard = WriteGuard()
    assert guard.known_state is None

    guard.keep_state("stopped", asked_at=0.0)
    clock[0] = 0.7
    assert guard.known_state == "stopped"
    clock[0] = 0.71
    assert guard.known_state is None


def test_a_state_that_was_asked_for_earlier_replaces_none(clock):
    guard = WriteGuard()
    guard.keep_state("first", asked_at=-1.0)
    guard.keep_state("second", asked_at=0.0)
    guard.keep_state("third", asked_at=0.0)
    guard.keep_state("late", asked_at=-0.5)

    assert guard.known_state == "third"


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
    def is_same_database(self, other: str) -> bool:
        return self == other


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
    monkeypatch.setattr(version_plans, "rate_limiter", lambda: limiter)
    whole = {"name": "idom", "version_id": "new", "created_at": NOON + MOMENT} | version
    known = {"idom": SimpleNamespace(version_id="pushed")}
    keys = SimpleNamespace(is_ours=lambda _, version_id: version_id != "foreign")

    found = find_newer_versions([SimpleNamespace(**whole)], known=known, keys=keys)

    assert found == ({whole["version_id"]} if is_newer and since else set())


@pytest.mark.usefixtures("stores")
def test_the_database_that_writes_already_is_not_claimed_again():
    with pytest.raises(NotChanged, match="This database is the one"):
        claim_database(reason="INC-1")


@pytest.mark.usefixtures("stores")
def test_a_stop_of_the_writes_and_its_end_are_in_the_audit():
    aws_writes.stop_aws_writes(reason="INC-1")
    aws_writes.start_aws_writes()
    aws_writes.start_aws_writes()  # they go on already

    codes = [AuditCode.WRITES_STARTED, AuditCode.WRITES_STOPPED]
    entries = AuditEvent.objects.filter(code__in=codes).order_by("-pk")
    assert [(entry.code, entry.reason) for entry in entries] == [
        (codes[0], ""),
        (codes[1], "INC-1"),
    ]


@pytest.mark.usefixtures("stores")
def test_a_claim_says_in_the_audit_which_database_wrote_before():
    before = DatabaseClaim.objects.newest()
    DatabaseClaim.objects.filter(pk=before.pk).update(database_oid=1, place="elsewhere/nova")

    claim = claim_database(reason="INC-1")

    expected = audit_sentences.CLAIMED(place=claim.identity.place, noted="elsewhere/nova")
    assert AuditEvent.objects.get(code=AuditCode.CLAIM).message == expected


@pytest.mark.parametrize(("key", "code"), [("writes_stopped", STOPPED), ("database_is_copy", COPY)])
def test_the_code_of_a_refusal_says_whether_somebody_stopped_the_writes(key, code):
    assert WritesRefusedError.because(SimpleNamespace(key=key)).code == code
