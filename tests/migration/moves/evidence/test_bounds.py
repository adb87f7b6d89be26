"""The gate at the very bounds of its numbers: one more or less, at one moment of the clock; and what its lines say."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from credentials.models import DatabaseCredential
from migration.models import ClientMigration, LoginTest, ReadCount, SearchedClient
from migration.moves.rules import (
    AWS_LOGIN_NOT_REFUSED,
    AWS_LOGIN_REFUSED,
    BLOCKERS,
    FAILURE_CAUSE_UNKNOWN,
    READS_IN_DUAL_READ,
    Ask,
    Check,
    find_end_of_purge_wait,
    judge_gates,
)
from migration.nova.models import AwsFailure
from nova_credentials.messages import describe_duration
from nova_credentials.phases import Phase
from tests.factories import make_database
from tests.migration.moves.evidence.worlds import make_ready

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
DAY, HALF_AN_HOUR = timedelta(days=1), timedelta(minutes=30)
MOMENT = timedelta(microseconds=1)


@pytest.fixture(autouse=True)
def noon(db, wanted, monkeypatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)


@pytest.fixture
def reads() -> int:
    """A client in dual read that is ready for its cutover."""
    return make_ready(Phase.AWS, 1)[0]


@pytest.fixture
def cut_over() -> int:
    """A client in AWS that is ready for its purge."""
    return make_ready(Phase.PURGED, 1)[0]


def stand(pk: int, **columns: object) -> None:
    ClientMigration.objects.filter(pk=pk).update(**columns)


def count(pk: int, **columns: object) -> None:
    ReadCount.objects.filter(pk=pk).update(**columns)


def tell(pk: int, new: Phase, code: str) -> Check | None:
    """Return the line of the rule, which failed or passed; None where it says nothing."""
    lines = judge_gates(Ask([pk]), new)[pk]
    found = [line for line in lines if code in (line.code, line.evidence)]
    assert len(found) < 2
    assert not any(line.is_off for line in found)
    return found[0] if found else None


def is_met(pk: int, new: Phase, code: str) -> bool:
    line = tell(pk, new, code)
    return line is None or line.passed


@pytest.mark.parametrize(
    ("code", "enough", "too_little"),
    [
        ("streak", {"clean_streak": 3}, {"clean_streak": 2}),
        ("time", {"phase_changed_at": NOON - DAY}, {"phase_changed_at": NOON - DAY + MOMENT}),
        (
            "reads",
            {"reads_at_entry": {"matches": 100}},
            {"reads_at_entry": {"matches": 101}},
        ),
    ],
)
def test_what_is_wanted_for_a_cutover_is_enough(reads, code, enough, too_little):
    stand(reads, **enough)
    assert is_met(reads, Phase.AWS, code)
    stand(reads, **too_little)
    assert not is_met(reads, Phase.AWS, code)


def test_a_client_of_which_nobody_knows_since_when_was_no_time_in_its_phase(reads):
    stand(reads, phase_changed_at=None)

    line = tell(reads, Phase.AWS, "time")

    assert not line.passed
    assert str(line.text) == "In Dual read for 0 seconds; needed: 24 hours (24 hours to go)."


def test_reads_that_are_enough_are_told_with_their_number(reads):
    count(reads, reads=126, matches=121)

    assert tell(reads, Phase.AWS, "reads").text == READS_IN_DUAL_READ(n=21)


def test_counts_that_began_anew_are_no_less_than_nothing(reads):
    stand(reads, reads_at_entry={"matches": 1000})

    assert str(tell(reads, Phase.AWS, "reads").text) == (
        "NOVA's reader: 0 of 20 reads since dual read began."
    )


def test_a_purge_is_possible_from_the_seventh_day_on(cut_over):
    week = 7 * DAY
    stand(cut_over, phase_changed_at=NOON - week)
    assert is_met(cut_over, Phase.PURGED, "time")
    stand(cut_over, phase_changed_at=NOON - week + MOMENT)
    assert not is_met(cut_over, Phase.PURGED, "time")
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
def test_an_answer_of_aws_counts_for_a_day(cut_over, last, counts):
    count(cut_over, last_answer_at=last)
    assert is_met(cut_over, Phase.PURGED, "reads") == counts
    stand(cut_over, reads_at_entry={"reads": 105, "matches": 100})
    assert not is_met(cut_over, Phase.PURGED, "reads")


def test_an_answer_counts_from_the_moment_of_the_cutover_on(cut_over):
    entered = NOON - timedelta(hours=1)
    stand(cut_over, phase_changed_at=entered)
    count(cut_over, last_answer_at=entered)
    assert is_met(cut_over, Phase.PURGED, "reads")
    count(cut_over, last_answer_at=entered - MOMENT)
    assert not is_met(cut_over, Phase.PURGED, "reads")


@pytest.mark.parametrize(("searched_at", "counts"), [(NOON, True), (NOON - MOMENT, False)])
def test_a_search_for_copies_counts_from_the_moment_of_the_cutover_on(
    cut_over, searched_at, counts
):
    stand(cut_over, phase_changed_at=NOON)
    SearchedClient.objects.update(searched_at=searched_at)

    assert is_met(cut_over, Phase.PURGED, "copies") == counts


def test_copies_that_were_found_are_told_with_the_time_of_the_search(cut_over):
    """A time that does not age, as the line is kept with a request."""
    SearchedClient.objects.update(searched_at=NOON, rows_found=3, not_looked_at=2)

    line = tell(cut_over, Phase.PURGED, "copies_found")

    assert str(line.text) == (
        "On 4 Mar 2026, 12:00 UTC rows with a copy of its secret values: 3;"
        " places that were not looked at: 2."
    )


@pytest.mark.parametrize(
    ("blocker", "new", "amount"),
    [
        ("streak", Phase.AWS, "3"),
        ("time", Phase.AWS, "24 hours"),
        ("time", Phase.PURGED, "7 days"),
        ("reads", Phase.AWS, "20"),
        ("reads", Phase.PURGED, "1"),  # that AWS answered
    ],
)
def test_how_much_is_wanted_of_what_is_too_little_is_told(blocker, new, amount):
    assert str(BLOCKERS[blocker].wanted(new)) == amount


def test_no_amount_is_told_of_what_is_none():
    amounts = {code for code, blocker in BLOCKERS.items() if blocker.wanted}

    assert amounts == {"streak", "time", "reads"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "119 minutes 59 seconds"),
        (7_200, "2 hours"),
        (172_799, "47 hours 59 minutes"),
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
def test_a_comparison_is_fresh_for_half_an_hour(reads, compared_at, is_fresh):
    stand(reads, compared_at=compared_at)

    told = tell(reads, Phase.AWS, "newest_comparison")
    too_old = tell(reads, Phase.AWS, "comparison_too_old")

    # That it matched is told all the same.
    assert told.passed
    assert (too_old is None) == is_fresh
    assert is_fresh or "30 minutes" in str(too_old.text)


@pytest.mark.parametrize(
    ("lately", "passed"),
    [
        ({}, [None, None]),
        ({"last_read_at": NOON - HALF_AN_HOUR}, [None, None]),
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
def test_what_the_reader_met_shuts_the_gate_for_half_an_hour(reads, lately, passed):
    nothing = dict.fromkeys(("last_read_at", "last_mismatch_at", "last_failure_at"))
    count(reads, **nothing | {"good_reads_since_failure": 0} | lately)

    lines = [tell(reads, Phase.AWS, code) for code in ("reader_met_mismatch", "failures")]

    assert [line.passed if line else None for line in lines] == passed


@pytest.mark.parametrize("cause", AwsFailure)
def test_each_cause_of_a_failure_is_named_as_on_the_page_of_novas_processes(reads, cause):
    count(reads, last_failure_at=NOON, last_failure_class=cause, good_reads_since_failure=0)

    assert f"({cause.label})" in str(tell(reads, Phase.AWS, "failures").text)


@pytest.mark.parametrize("cause", ["", "schema", "by NOVA's role"])
def test_a_cause_that_no_reader_of_this_release_wrote_is_not_named(reads, cause):
    count(reads, last_failure_at=NOON, last_failure_class=cause, good_reads_since_failure=0)

    line = tell(reads, Phase.AWS, "failures")

    assert FAILURE_CAUSE_UNKNOWN.template in str(line.text)
    assert not line.passed


def test_a_refused_login_with_a_row_is_named_by_its_host(reads):
    row = DatabaseCredential.objects.get(pk=make_database(reads, db_host="db.second.test"))
    LoginTest.objects.create(
        client_id=reads,
        store="aws",
        kind="database",
        credential_id=row.pk,
        outcome="refused",
        tested_at=NOON,
    )
    shut = tell(reads, Phase.AWS, "aws_login_refused")
    assert "database login db.second.test › app" in str(shut.text)


def test_logins_of_awss_copy_that_were_refused_are_named_with_the_time_of_the_first(reads):
    about = {"client_id": reads, "store": "aws"}
    works = LoginTest(kind="email", credential_id=3, outcome="works", tested_at=NOON, **about)
    refused = [
        LoginTest(
            kind="database", credential_id=n, outcome="refused", tested_at=NOON - n * DAY, **about
        )
        for n in (1, 2)
    ]

    works.save()
    passed = tell(reads, Phase.AWS, "aws_login_refused")
    LoginTest.objects.bulk_create(refused)
    shut = tell(reads, Phase.AWS, "aws_login_refused")

    named = tuple(test.login_name_message for test in refused)
    assert shut.text == AWS_LOGIN_REFUSED(ago=NOON - DAY, logins=named)
    assert passed.text == AWS_LOGIN_NOT_REFUSED()
    assert (shut.passed, passed.passed) == (False, True)


@pytest.mark.parametrize(("wanted_streak", "says_so"), [(1, False), (2, True)])
def test_from_two_comparisons_on_it_is_said_how_far_apart_they_must_be(
    reads, settings, wanted_streak, says_so
):
    settings.NOVA_CLEAN_STREAK = wanted_streak

    assert ("apart" in str(tell(reads, Phase.AWS, "streak").text)) == says_so
