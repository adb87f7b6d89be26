"""The gate at the very bounds of its numbers: one more or less, at one moment of the clock."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from migration.core.clients import ReadsSince
from migration.models import ClientMigration, Comparison, LoginTest, ReadCount, SearchedClient
from migration.moves import evidence, gates
from migration.moves.evidence import (
    FAILURE_CAUSE_UNKNOWN,
    READS_IN_DUAL_READ,
    Evidence,
    EvidenceLine,
    PhaseEntry,
    describe_duration,
    describe_wanted,
    find_end_of_purge_wait,
    list_evidence,
    make_phase_entry,
)
from migration.moves.gates import AWS_LOGIN_NOT_REFUSED, AWS_LOGIN_REFUSED
from migration.moves.models import Blocker
from migration.nova.models import AwsFailure
from nova_credentials.phases import Phase

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY, HALF_AN_HOUR = timedelta(days=1), timedelta(minutes=30)
MOMENT = timedelta(microseconds=1)
DUAL_READ = PhaseEntry(7, Phase.DUAL_READ, NOON - 30 * DAY)
AWS = PhaseEntry(7, Phase.AWS, NOON - 30 * DAY)


@pytest.fixture(autouse=True)
def noon(wanted, monkeypatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def judge(kind: Evidence, entry: PhaseEntry, **facts: object) -> EvidenceLine:
    new = Phase.PURGED if entry.phase == Phase.AWS else Phase.AWS
    nothing = {"processes_seen": 0, "inactive_client_ids": set(), "newest_searches": {}}
    lines = list_evidence(entry, new, SimpleNamespace(**nothing | facts))
    (line,) = [line for line in lines if line.kind == kind]
    assert not line.is_off
    return line


def is_met(kind: Evidence, entry: PhaseEntry, *, processes: int = 0) -> bool:
    return judge(kind, entry, processes_seen=processes).is_met


def changed(entry: PhaseEntry, **changes: object) -> PhaseEntry:
    return PhaseEntry(**vars(entry) | changes)


@pytest.mark.parametrize(
    ("kind", "enough", "too_little"),
    [
        (Evidence.STREAK, {"clean_streak": 3}, {"clean_streak": 2}),
        (Evidence.TIME, {"since": NOON - DAY}, {"since": NOON - DAY + MOMENT}),
        (Evidence.READS, {"reads": ReadsSince(20, 20)}, {"reads": ReadsSince(20, 19)}),
    ],
)
def test_what_is_wanted_for_a_cutover_is_enough(kind, enough, too_little):
    assert is_met(kind, changed(DUAL_READ, **enough))
    assert not is_met(kind, changed(DUAL_READ, **too_little))


def test_a_client_of_which_nobody_knows_since_when_was_no_time_in_its_phase():
    line = judge(Evidence.TIME, changed(DUAL_READ, since=None))

    assert not line.is_met
    assert str(line.text) == "In the phase Dual read for 0 seconds; needed: 24 hours."


def test_reads_that_are_enough_are_told_with_their_number():
    line = judge(Evidence.READS, changed(DUAL_READ, reads=ReadsSince(25, 21)))

    assert line.text == READS_IN_DUAL_READ(n=21)


def test_one_process_is_enough():
    assert is_met(Evidence.PROCESSES, DUAL_READ, processes=1)
    assert not is_met(Evidence.PROCESSES, DUAL_READ, processes=0)


def test_a_purge_is_possible_from_the_seventh_day_on():
    week = 7 * DAY
    assert is_met(Evidence.TIME, changed(AWS, since=NOON - week))
    assert not is_met(Evidence.TIME, changed(AWS, since=NOON - week + MOMENT))
    assert find_end_of_purge_wait(NOON - week) is None
    assert find_end_of_purge_wait(NOON - week + MOMENT) == NOON + MOMENT


@pytest.mark.parametrize(
    ("last", "counts"),
    [
        (NOON - DAY, True),
        (NOON - DAY - MOMENT, False),
        (NOON + DAY, True),
        (NOON + DAY + MOMENT, False),
        (None, False),
    ],
)
def test_an_answer_of_aws_counts_for_a_day(last, counts):
    answered = changed(AWS, reads=ReadsSince(1), last_answer_at=last)
    assert is_met(Evidence.READS, answered) == counts
    assert not is_met(Evidence.READS, changed(answered, reads=ReadsSince(0)))


def test_an_answer_counts_from_the_moment_of_the_cutover_on():
    entered = changed(AWS, since=NOON - timedelta(hours=1), reads=ReadsSince(1))
    assert is_met(Evidence.READS, changed(entered, last_answer_at=entered.since))
    assert not is_met(Evidence.READS, changed(entered, last_answer_at=entered.since - MOMENT))


@pytest.mark.parametrize(("searched_at", "counts"), [(NOON, True), (NOON - MOMENT, False)])
def test_a_search_for_copies_counts_from_the_moment_of_the_cutover_on(searched_at, counts):
    searched = SearchedClient(searched_at=searched_at)

    line = judge(Evidence.COPIES, changed(AWS, since=NOON), newest_searches={7: searched})

    assert line.is_met == counts


def test_copies_that_were_found_are_told_with_the_time_of_the_search():
    """A time that does not age, as the line is kept with a request."""
    searched = SearchedClient(searched_at=NOON, rows_found=3, not_looked_at=2)

    line = judge(Evidence.COPIES_FOUND, AWS, newest_searches={7: searched})

    assert str(line.text) == (
        f"On {timezone.localtime(NOON):%Y-%m-%d %H:%M} rows with a copy of its secret values: 3;"
        " places that were not looked at: 2."
    )


@pytest.mark.parametrize(
    ("blocker", "new", "amount"),
    [
        (Blocker.STREAK, Phase.AWS, "3"),
        (Blocker.TIME, Phase.AWS, "24 hours"),
        (Blocker.TIME, Phase.PURGED, "7 days"),
        (Blocker.READS, Phase.AWS, "20"),
        (Blocker.READS, Phase.PURGED, "1"),  # that AWS answered
        (Blocker.COPIES, Phase.PURGED, "None"),
    ],
)
def test_how_much_is_wanted_of_what_is_too_little_is_told(blocker, new, amount):
    assert str(describe_wanted(blocker, new)) == amount


def test_of_a_client_that_was_never_moved_nothing_was_counted():
    assert make_phase_entry(7, None, None) == PhaseEntry(
        7, Phase.POSTGRES, None, 0, ReadsSince(0, 0, 0, 0), None
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "119.9 minutes"),
        (7_200, "2 hours"),
        (172_799, "47.9 hours"),
        (172_800, "2 days"),
    ],
)
def test_a_length_of_time_has_two_of_its_unit_at_least_and_is_never_rounded_up(seconds, text):
    assert str(describe_duration(timedelta(seconds=seconds))) == text


# Facts


@pytest.mark.parametrize(
    ("compared_at", "is_fresh"),
    [
        (NOON - HALF_AN_HOUR, True),
        (NOON - HALF_AN_HOUR - MOMENT, False),
        (NOON + HALF_AN_HOUR, True),
        (NOON + HALF_AN_HOUR + MOMENT, False),
    ],
)
def test_a_comparison_is_fresh_for_half_an_hour(compared_at, is_fresh):
    newest = Comparison(pk=1, status=Comparison.Status.MATCH, compared_at=compared_at)

    checks = list(gates._check_compared(ClientMigration(comparison=newest)))

    assert [check.passed for check in checks] == ([True] if is_fresh else [True, False])
    assert is_fresh or "30 minutes" in str(checks[-1].text)


@pytest.mark.parametrize(
    ("lately", "passed"),
    [
        ({}, []),
        ({"last_read_at": NOON - HALF_AN_HOUR}, []),
        ({"last_read_at": NOON - HALF_AN_HOUR + MOMENT}, [True, True]),
        ({"last_mismatch_at": NOON - HALF_AN_HOUR + MOMENT}, [False, True]),
        ({"last_failure_at": NOON - HALF_AN_HOUR + MOMENT}, [True, False]),
        ({"last_failure_at": NOON, "good_reads_since_failure": 2}, [True, False]),
        ({"last_failure_at": NOON, "good_reads_since_failure": 3}, [True, True]),
        (
            {
                "last_read_at": NOON,
                "last_mismatch_at": NOON - HALF_AN_HOUR,
                "last_failure_at": NOON - HALF_AN_HOUR,
            },
            [True, True],
        ),
    ],
)
def test_what_the_reader_met_shuts_the_gate_for_half_an_hour(lately, passed):
    counts = ReadCount(**lately)
    mismatches = list(gates._check_reads(counts))
    failures = list(evidence._judge_failures(PhaseEntry(7, Phase.DUAL_READ, counts=counts)))

    assert [*(c.passed for c in mismatches), *(line.is_met for line in failures)] == passed
    assert not any(each.is_off for each in (*mismatches, *failures))


@pytest.mark.parametrize("cause", AwsFailure)
def test_each_cause_of_a_failure_is_named_as_on_the_page_of_novas_processes(cause):
    counts = ReadCount(last_failure_at=NOON, last_failure_class=cause)

    (line,) = evidence._judge_failures(PhaseEntry(7, Phase.AWS, counts=counts))

    assert f"({cause.label})" in str(line.text)


@pytest.mark.parametrize("cause", ["", "schema", "anything that NOVA's role writes"])
def test_a_cause_that_no_reader_of_this_release_wrote_is_not_named(cause):
    counts = ReadCount(last_failure_at=NOON, last_failure_class=cause)

    (line,) = evidence._judge_failures(PhaseEntry(7, Phase.AWS, counts=counts))

    assert FAILURE_CAUSE_UNKNOWN.template in str(line.text)
    assert not line.is_met


def test_logins_of_awss_copy_that_were_refused_are_named_with_the_time_of_the_first():
    works = LoginTest(kind="email", credential_id=3, outcome="works", tested_at=NOON)
    refused = [
        LoginTest(kind="database", credential_id=n, outcome="refused", tested_at=NOON - n * DAY)
        for n in (1, 2)
    ]

    (shut,) = gates._check_login_tests([works, *refused])
    (passed,) = gates._check_login_tests([works])

    named = tuple(test.login_name_message for test in refused)
    assert shut.text == AWS_LOGIN_REFUSED(ago=NOON - DAY, logins=named)
    assert passed.text == AWS_LOGIN_NOT_REFUSED()
    assert (shut.passed, passed.passed) == (False, True)


@pytest.mark.parametrize(("wanted_streak", "says_so"), [(1, False), (2, True)])
def test_from_two_comparisons_on_it_is_said_how_far_apart_they_must_be(
    settings, wanted_streak, says_so
):
    settings.NOVA_CLEAN_STREAK = wanted_streak

    assert ("apart" in str(judge(Evidence.STREAK, DUAL_READ).text)) == says_so
