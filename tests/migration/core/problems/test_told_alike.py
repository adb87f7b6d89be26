"""Each problem, caused for real: every surface tells it in the same words with the same count until it is mended."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from migration.core.clients import VIEW_CHECKS
from migration.core.notices import Condition
from migration.core.problems import (
    PROBLEMS,
    Area,
    Finder,
    FindingState,
    Look,
    Problem,
    list_results,
    look_at_problems,
    look_for,
    report_failure,
)
from migration.doctor import nova
from migration.doctor.looks import list_site_problems
from migration.models import Notice, ProblemRecord, Secret
from migration.site.client_problems import NOBODY_LATE
from migration.site.dashboard import list_attention
from migration.site.notices import look_at_clients
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_many
from tests.migration.core.problems.causes import CAUSES
from tests.migration.core.problems.surfaces import (
    NO_ANSWER,
    Surfaces,
    Told,
    ask_doctor,
    leave_out_seconds,
    let_time_pass,
    list_notices,
    look,
    read_metrics,
    read_surfaces,
    tell_lines,
)
from tests.migration.moves.clients import enter_phase

# What is told without being wrong: advice, and what nobody has looked at yet.
NEVER_OPEN = {"indexes_missing", "secrets_unlooked"}


def list_notices_of_clients(each: Problem) -> list[tuple[str, bool]]:
    """The event of each notice of clients, and whether it is over."""
    codes = [condition.code for condition in each.told_by_client]
    return [
        (notice.event, notice.is_over)
        for notice in Notice.objects.order_by("pk")
        if notice.key.partition(":")[0] in codes
    ]


@pytest.mark.parametrize("code", CAUSES)
def test_a_problem_is_told_alike_until_it_is_mended(code, world):
    """By what the surfaces are made of; their pages are asked below, and in processes of their own."""
    each = PROBLEMS[code]
    look(code)
    (before,) = list_results(Look(), only=[code])
    assert not before.is_open

    with CAUSES[code](world):
        let_time_pass(code, timedelta(days=2))
        look(code)
        let_time_pass(code, max(each.told_after, timedelta(minutes=2)))
        look(code)
        if each.told_by_client:
            look_at_clients()
        told = read_what_surfaces_are_made_of(code)
        assert_told_alike(each, told)
        notices_of_clients = list_notices_of_clients(each)

    let_time_pass(code, timedelta(days=2))
    look(code)
    if each.told_by_client:
        look_at_clients()
    (after,) = list_results(Look(), only=[code])
    assert (after.is_open, after.count) == (False, 0)
    assert list_attention([after], lambda _permission: True) == []
    if each.is_of_site and each.looked_for_every is None:
        assert ask_doctor(code) == Told()
    assert len(list_notices(code)) == 2 * len(told.notices)
    if each.told_by_client:
        assert [is_over for _event, is_over in notices_of_clients] == [False]
        event = notices_of_clients[0][0]
        assert list_notices_of_clients(each) == [(event, False), (event, True)]
    codes = [condition.code for condition in each.told_by_client]
    assert not Condition.objects.filter(event__in=codes).exists()


def read_what_surfaces_are_made_of(code: str) -> Surfaces:
    """The health page shows the result as it is now; the dashboard and /metrics what is stored of most."""
    each = PROBLEMS[code]
    (result,) = list_results(Look(), anew=(Finder.PAGE, Finder.WORKER), only=[code])
    (stored,) = list_results(Look(), only=[code])
    assert list_attention([stored], lambda _permission: False) == []
    lines = list_attention([stored], lambda permission: permission == each.permission)
    message = str(result.message or "")
    return Surfaces(
        sentences=[leave_out_seconds(str(found.message)) for found in result.failed],
        count=result.count,
        dashboard=tell_lines(code, lines),
        health=Told(result.count, message) if each.is_of_site else Told(),
        doctor=ask_doctor(code) if each.is_of_site else Told(),
        metrics=stored.count,
        notices=list_notices(code),
    )


def assert_told_alike(each: Problem, told: Surfaces) -> None:
    assert told.sentences
    assert told.count >= 1
    if told.dashboard != NO_ANSWER:
        assert told.dashboard.count == told.count
        # It tells the first of those that have no list of their own, and how many more there are.
        assert told.sentences[0] in told.dashboard.words
        assert told.metrics == told.count
    if each.is_of_site:
        assert told.health.count == told.count
        assert told.doctor.count == len(told.sentences)
    is_told = each.told_as and not each.told_by_client and not each.of_process
    assert len(told.notices) == bool(is_told)
    for sentence in told.sentences:
        if each.area != Area.CLIENTS:
            assert sentence in told.health.words
            assert sentence in told.doctor.words
        if is_told:
            assert sentence in told.notices[0]


@pytest.mark.usefixtures("world")
def test_advice_is_no_problem(monkeypatch):
    monkeypatch.setattr(nova, "MANY_CLIENTS", 3)
    make_many(3)

    look("indexes_missing")

    (result,) = list_results(Look(), only=["indexes_missing"])
    assert result.state == FindingState.OK
    (advice,) = look_for(result.problem, Look()).findings
    assert "CREATE INDEX" in advice.statements[0]
    assert ask_doctor("indexes_missing") == Told()


def test_what_nobody_has_looked_at_is_neither_well_nor_wrong(world):
    enter_phase(make_full_client("idom"), Phase.DUAL_WRITE)
    Secret.objects.update(seen_at=timezone.now() - timedelta(days=2))

    look("secrets_unlooked")

    (result,) = list_results(Look(), only=["secrets_unlooked"])
    assert result.state == FindingState.NOT_LOOKED_AT
    told = read_surfaces("secrets_unlooked", browser=world.browser)
    assert told == {"secrets_unlooked": Surfaces()}
    assert world.browser.get(reverse("admin:index")).context["unanswered"] > 0


def test_the_pages_tell_each_problem_of_the_registry_as_it_was_found_and_no_other(world):
    """A later release has stored one that this one does not know."""
    begun = {"began_at": timezone.now(), "looked_at": timezone.now(), "told": True}
    found = report_failure(NOBODY_LATE()).to_json()
    ProblemRecord.objects.create(code="of_a_later_release", findings=[found], **begun)
    enter_phase(make_full_client("acme"), Phase.AWS)
    with CAUSES["mismatches"](world), CAUSES["writes_stopped"](world), CAUSES["no_worker"](world):
        look_at_problems()
        results = list_results(Look())
        home = world.browser.get(reverse("admin:index")).context
        health = world.browser.get(reverse("admin:migration_run_health")).context["results"]
        counted = read_metrics(world.browser)
        theirs = world.browser_of(VIEW_CHECKS).get(reverse("admin:index")).context["attention"]
        nobodys = world.browser_of().get(reverse("admin:index")).context["attention"]

    opened = [each.problem for each in results if each.is_open]
    caused = {"mismatches", "writes_stopped", "no_worker", "notices_reach_nobody"}
    assert {each.code for each in opened} >= caused
    assert list(dict.fromkeys(line.code for line in home["attention"])) == [
        each.code for each in opened
    ]
    assert {line.code for line in theirs} == {
        each.code for each in opened if each.permission == VIEW_CHECKS
    }
    assert nobodys == []
    assert [each.problem for each in health] == list_site_problems()
    for each in health:
        (stored,) = [result for result in results if result.problem == each.problem]
        assert (each.count, str(each.message)) == (stored.count, str(stored.message))
    assert counted == {
        each.problem.code: each.count
        for each in results
        if each.state != FindingState.NOT_LOOKED_AT
    }
