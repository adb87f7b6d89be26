"""Each problem, caused for real: every surface tells it in the same words with the same count until it is mended."""

from datetime import timedelta

import pytest
from django.db.models import F

from migration.core.notices import Condition
from migration.core.problems import PROBLEMS, Area, Problem
from migration.models import Notice, ProblemRecord
from migration.site.notices import look_at_clients
from tests.migration.core.problems.causes import CAUSES
from tests.migration.core.problems.surfaces import Surfaces, Told, look, read_surfaces

NOTHING = Surfaces()


def let_time_pass(code: str, span: timedelta) -> None:
    """What was looked at was looked at so long ago."""
    for name in ("began_at", "failed_at", "looked_at"):
        ProblemRecord.objects.filter(code=code).update(**{name: F(name) - span})


def list_notices_of_clients(each: Problem) -> list[tuple[str, bool]]:
    """The event of each notice of clients, and whether it is over."""
    codes = [condition.code for condition in each.told_by_client]
    return [
        (notice.event, notice.is_over)
        for notice in Notice.objects.order_by("pk")
        if notice.key.partition(":")[0] in codes
    ]


@pytest.mark.parametrize("code", CAUSES)
def test_a_problem_is_told_alike_everywhere_until_it_is_mended(code, world):
    each = PROBLEMS[code]
    look(code)
    before = read_surfaces(code, world.browser)
    assert (before.count, before.sentences) == (0, [])

    with CAUSES[code](world):
        let_time_pass(code, timedelta(days=2))
        look(code)
        let_time_pass(code, max(each.told_after, timedelta(minutes=2)))
        look(code)
        look_at_clients()
        told = read_surfaces(code, world.browser)
        assert_told_alike(each, told)
        notices_of_clients = list_notices_of_clients(each)

    let_time_pass(code, timedelta(days=2))
    look(code)
    look_at_clients()
    after = read_surfaces(code, world.browser)
    assert (after.count, after.sentences) == (0, [])
    assert (after.dashboard, after.health, after.metrics) == (Told(), Told(), 0)
    assert after.doctor == Told()
    assert len(after.notices) == 2 * len(told.notices)
    if each.told_by_client:
        assert [is_over for _event, is_over in notices_of_clients] == [False]
        event = notices_of_clients[0][0]
        assert list_notices_of_clients(each) == [(event, False), (event, True)]
    assert Condition.objects.exclude(event="last look").count() == 0


def assert_told_alike(each: Problem, told: Surfaces) -> None:
    assert told.sentences
    assert told.count >= 1
    assert (told.dashboard.count, told.metrics) == (told.count, told.count)
    if each.is_of_site:
        assert told.health.count == told.count
        assert told.doctor.count == len(told.sentences)
    is_told = each.told_as and not each.told_by_client and not each.of_process
    assert len(told.notices) == bool(is_told)
    for sentence in told.sentences:
        # The dashboard tells the first of those that have no list of their own, and how many more there are.
        assert sentence in told.dashboard.words or sentence != told.sentences[0]
        if each.area != Area.CLIENTS:
            assert sentence in told.health.words
            assert sentence in told.doctor.words
        if is_told:
            assert sentence in told.notices[0]
