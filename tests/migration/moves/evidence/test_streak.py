"""The clean streak: comparisons in a row, in this phase, half a sweep apart."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration.models import ClientMigration, Comparison
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import make_comparison, make_copy_search
from tests.migration.moves.clients import codes, compare_apart

MINUTE = timedelta(minutes=1)
HALF_A_SWEEP = 7.5 * MINUTE


def streak(pk: int) -> int:
    return ClientMigration.objects.get(pk=pk).clean_streak


def compared(pk: int, after: timedelta, status: str = "match") -> int:
    """The streak once a comparison was made so long after the client entered its phase."""
    since = ClientMigration.objects.get(pk=pk).phase_changed_at
    make_comparison(pk, status, compared_at=since + after)
    return streak(pk)


def test_pressing_a_button_three_times_makes_no_streak(proven):
    ClientMigration.objects.update(clean_streak=0, streak_counted_at=None)
    for _ in range(3):
        compare(client_ids=[proven])

    assert streak(proven) == 1
    assert codes(proven, Phase.AWS) == ["clean_streak"]


def test_the_gate_says_in_minutes_how_far_apart_the_comparisons_have_to_be(idom, settings):
    settings.NOVA_SWEEP_MINUTES = 15

    with pytest.raises(ShutGate) as refusal:
        move(client_id=idom, new=Phase.AWS)

    assert str(refusal.value.reasons[0]) == (
        "Matching comparisons in a row in this phase: 0 of 3, at least 7 minutes 30 seconds apart."
    )


def test_where_one_comparison_is_enough_nothing_is_said_of_their_distance(idom, settings):
    settings.NOVA_CLEAN_STREAK = 1

    with pytest.raises(ShutGate) as refusal:
        move(client_id=idom, new=Phase.AWS)

    assert str(refusal.value.reasons[0]).endswith(": 0 of 1.")


def test_the_first_match_counts_and_each_that_is_half_a_sweep_later(idom, settings):
    settings.NOVA_SWEEP_MINUTES = 15
    second = timedelta(seconds=1)

    assert compared(idom, MINUTE) == 1
    assert compared(idom, MINUTE + HALF_A_SWEEP - second) == 1
    assert compared(idom, MINUTE + HALF_A_SWEEP) == 2
    assert compared(idom, MINUTE + HALF_A_SWEEP * 2 - second) == 2
    assert compared(idom, MINUTE + HALF_A_SWEEP * 2) == 3


def test_a_comparison_that_comes_sooner_breaks_nothing_unless_it_differs(idom):
    assert compared(idom, MINUTE) == 1
    assert compared(idom, 2 * MINUTE, Comparison.Status.UNCHECKED) == 1
    assert compared(idom, 20 * MINUTE) == 2

    assert compared(idom, 21 * MINUTE, Comparison.Status.MISMATCH) == 0

    assert compared(idom, 22 * MINUTE) == 1  # the first of a new streak


def test_a_comparison_that_could_not_be_made_is_no_match_in_the_row(idom):
    assert compared(idom, MINUTE) == 1

    assert compared(idom, 20 * MINUTE, Comparison.Status.UNCHECKED) == 0


def test_matches_before_the_phase_do_not_count(idom):
    move(client_id=idom, new=Phase.DUAL_WRITE)
    compare_apart(idom, times=5)
    assert streak(idom) == 5

    move(client_id=idom, new=Phase.DUAL_READ)

    assert streak(idom) == 0
    assert "clean_streak" in codes(idom, Phase.AWS)


@pytest.mark.parametrize(("status", "left"), [("match", 1), ("mismatch", 0)])
def test_a_comparison_begun_before_the_phase_and_stored_in_it_does_not_count(idom, status, left):
    compared(idom, MINUTE)

    assert compared(idom, -MINUTE, status) == left


def test_a_purge_wants_a_streak_of_its_own(proven, settings):
    settings.NOVA_PURGE_AFTER_DAYS = settings.NOVA_MIN_READS = 0
    move(client_id=proven, new=Phase.AWS)
    make_copy_search(proven)
    assert streak(proven) == 0
    compare_apart(proven, times=2)
    assert codes(proven, Phase.PURGED) == ["clean_streak"]

    compare_apart(proven)

    move(client_id=proven, new=Phase.PURGED)


def test_the_move_counts_from_its_own_moment(idom):
    entered = ClientMigration.objects.get(pk=idom)

    assert (entered.clean_streak, entered.streak_counted_at) == (0, None)
    assert timezone.now() - entered.phase_changed_at < MINUTE
