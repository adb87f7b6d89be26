"""The time in the phase, and lines that are switched off."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration.models import ClientMigration, ReaderProcess, SearchedClient
from migration.moves.moves import move
from migration.moves.rules import Ask, find_end_of_purge_wait, judge_gates
from migration.pushes.comparisons import compare
from nova_credentials.messages import describe_duration
from nova_credentials.phases import Phase
from tests.factories import give_evidence, make_copy_search
from tests.migration.moves.clients import codes, refusal_of


def enter_before(pk: int, ago: timedelta) -> None:
    ClientMigration.objects.filter(pk=pk).update(phase_changed_at=timezone.now() - ago)


def test_a_cutover_wants_a_day_in_dual_read(proven):
    enter_before(proven, timedelta(hours=23, minutes=59))
    refusal = refusal_of(proven, Phase.AWS)
    assert refusal.codes == ["time_in_phase"]
    told = "In Dual read for 23 hours 59 minutes; needed: 24 hours (60 seconds to go)."
    assert told in str(refusal)

    enter_before(proven, timedelta(hours=24))
    move(client_id=proven, new=Phase.AWS)


def test_a_purge_wants_a_week_since_the_cutover(proven):
    move(client_id=proven, new=Phase.AWS)
    compare(client_ids=[proven])
    give_evidence(proven)
    enter_before(proven, timedelta(days=7) - timedelta(minutes=1))
    assert codes(proven, Phase.PURGED) == ["time_in_phase"]

    enter_before(proven, timedelta(days=7))
    move(client_id=proven, new=Phase.PURGED)


def test_times_take_decimals(proven, settings):
    settings.NOVA_DUAL_READ_HOURS = 0.02
    enter_before(proven, timedelta(seconds=60))
    told = str(refusal_of(proven, Phase.AWS))
    assert "In Dual read for 60 seconds; needed: 72 seconds (12 seconds to go)." in told

    enter_before(proven, timedelta(seconds=72))
    move(client_id=proven, new=Phase.AWS)


def test_a_time_that_is_enough_is_seen_to_be_enough(proven, settings):
    settings.NOVA_DUAL_READ_HOURS = 0.02
    enter_before(proven, timedelta(seconds=100))

    told = [str(each.text) for each in judge_gates(Ask([proven]), Phase.AWS)[proven]]

    assert "In Dual read for 100 seconds; needed: 72 seconds." in told


def test_an_unknown_time_is_no_time(proven):
    ClientMigration.objects.update(phase_changed_at=None)

    assert "time_in_phase" in codes(proven, Phase.AWS)


@pytest.mark.parametrize("new", [Phase.AWS, Phase.PURGED])
def test_what_is_switched_off_is_shown_as_such(idom, settings, new):
    settings.NOVA_CLEAN_STREAK = settings.NOVA_MIN_READS = 0
    settings.NOVA_DUAL_READ_HOURS = settings.NOVA_PURGE_AFTER_DAYS = 0.0

    checks = [check for check in judge_gates(Ask([idom]), new)[idom] if check.evidence]

    copies = ["copies"] if new == Phase.PURGED else []  # no number to switch it off with
    kinds = ["streak", "time", "reads", "processes"]
    assert [check.evidence for check in checks] == [*kinds, *copies]
    assert all(check.is_off and check.passed for check in checks[:4])
    time = "NOVA_PURGE_AFTER_DAYS" if new == Phase.PURGED else "NOVA_DUAL_READ_HOURS"
    assert [check.text.values["setting"] for check in checks[:3]] == [
        "NOVA_CLEAN_STREAK",
        time,
        "NOVA_MIN_READS",
    ]
    assert str(checks[2].text) == "Switched off (NOVA_MIN_READS=0): reads by NOVA."


def test_a_process_of_novas_has_to_be_seen_in_the_last_hour(proven):
    ReaderProcess.objects.update(last_read_at=timezone.now() - timedelta(minutes=61))
    assert codes(proven, Phase.AWS) == ["no_reader_process"]

    ReaderProcess.objects.update(last_read_at=timezone.now() - timedelta(minutes=59))
    move(client_id=proven, new=Phase.AWS)


@pytest.fixture
def cut_over(proven) -> int:
    """All evidence for its purge."""
    move(client_id=proven, new=Phase.AWS)
    compare(client_ids=[proven])
    give_evidence(proven)
    return proven


@pytest.mark.parametrize(
    ("search", "code"),
    [
        (None, "copies_not_searched"),
        ({"searched_at": timezone.now() - timedelta(days=60)}, "copies_not_searched"),
        ({"rows_found": 1}, "copies_found"),
        ({"not_looked_at": 1}, "copies_found"),
    ],
    ids=["never", "before the cutover", "some found", "something not looked at"],
)
def test_a_purge_wants_a_search_for_copies_that_found_nothing(cut_over, search, code):
    SearchedClient.objects.all().delete()
    if search:
        make_copy_search(cut_over, **search)

    assert codes(cut_over, Phase.PURGED) == [code]


def test_the_newest_search_counts(cut_over):
    make_copy_search(cut_over, rows_found=3)
    assert codes(cut_over, Phase.PURGED) == ["copies_found"]
    make_copy_search(cut_over)

    move(client_id=cut_over, new=Phase.PURGED)


def test_a_move_to_dual_read_and_the_way_back_want_no_evidence(idom):
    move(client_id=idom, new=Phase.DUAL_WRITE)
    move(client_id=idom, new=Phase.DUAL_READ)

    assert not [c for c in judge_gates(Ask([idom]), Phase.DUAL_READ)[idom] if c.evidence]


def test_the_time_of_a_purge_is_told(settings):
    now = timezone.now()

    assert find_end_of_purge_wait(now) == now + timedelta(days=7)
    assert find_end_of_purge_wait(now - timedelta(days=7)) is None
    assert find_end_of_purge_wait(None) > now
    settings.NOVA_PURGE_AFTER_DAYS = 0.0
    assert find_end_of_purge_wait(now) is None


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=72), "72 seconds"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(days=7), "7 days"),
        (timedelta(days=2, hours=12), "2 days 12 hours"),
    ],
)
def test_a_length_of_time_is_told_in_its_unit(length, text):
    assert str(describe_duration(length)) == text
