"""One finder that fails hides no other problem, and no page; a problem that nobody looks for regularly ends at once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.urls import reverse

from migration.core import problems
from migration.core.problems import (
    PROBLEMS,
    Area,
    Finder,
    FindingState,
    Look,
    ProblemRecord,
    list_results,
    look_at_problems,
    look_for,
    problem,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.models import Notice
from nova_credentials.messages import Message
from tests.migration.core.problems.surfaces import read_metrics

SAID = Message.from_text_without_key("Example")


def fail(_look):
    raise RuntimeError("example-words")


def test_finders_that_fail_take_no_surface_down_and_hide_no_other_problem(
    stores, client, monkeypatch, caplog, capsys
):
    codes = ("duplicate", "writes_uncounted", "queue_at_risk", "failures")
    for code in codes:
        monkeypatch.setitem(PROBLEMS, code, replace(PROBLEMS[code], find=fail))
    client.force_login(User.objects.create_superuser("root"))

    look_at_problems()
    home = client.get(reverse("admin:index"))
    health = client.get(reverse("admin:migration_run_health"))
    checked = client.post(reverse("admin:migration_run_health"))
    metrics = read_metrics(client)
    with pytest.raises(SystemExit):
        call_command(
            "doctor", "--only", "no_worker", *(code for code in codes if PROBLEMS[code].is_of_site)
        )

    assert "no_worker" in [line.code for line in home.context["attention"]]
    assert {page.status_code for page in (home, health, checked)} == {200}
    assert metrics["no_worker"] == 1
    assert not metrics.keys() & codes
    assert "FAILED: no_worker" in capsys.readouterr().out
    for result in list_results(Look(), anew=tuple(Finder), only=codes):
        assert result.state == FindingState.NOT_LOOKED_AT
        assert f"{result.problem.code} was not looked for: RuntimeError" in caplog.text
    assert "example-words" not in caplog.text + home.content.decode() + health.content.decode()


def test_what_fails_for_several_problems_is_read_once():
    read = []

    def load():
        read.append(1)
        raise KeyError("example-words")

    look = Look()
    for _ in range(2):
        with pytest.raises(KeyError):
            look.read(load)

    assert read == [1]


@pytest.fixture
def found(monkeypatch, db):
    """What the finder of the only problem of the site yields, which nobody but people looks for."""
    monkeypatch.setattr(problems, "PROBLEMS", {})
    found = [report_failure(SAID)]
    problem("example", "Example", Area.NOVA, found_by=Finder.DOCTOR, every=None)(
        lambda _look: found
    )
    return found


@pytest.mark.parametrize(
    ("finding", "minutes"),
    [
        (report_ok(SAID), 24 * 60),
        (report_failure(SAID), 2 * 60),
        (report_unlooked(SAID, SAID), 5),
    ],
)
def test_what_is_wrong_or_gave_no_answer_is_looked_for_again_sooner(
    monkeypatch, db, finding, minutes
):
    monkeypatch.setattr(problems, "PROBLEMS", {})
    found, looks = [finding], []
    every = timedelta(days=1)

    @problem("example", "Example", Area.NOVA, found_by=Finder.DOCTOR, every=every)
    def find(_look):
        looks.append(1)
        return found

    look_at_problems()
    found[:] = [report_ok(SAID)]
    for passed, number in ((minutes - 2, 1), (2, 2)):
        ProblemRecord.objects.update(looked_at=F("looked_at") - timedelta(minutes=passed))
        look_at_problems()
        assert len(looks) == number


def look() -> ProblemRecord:
    ProblemRecord.objects.store(look_for(problems.PROBLEMS["example"], Look()))
    return ProblemRecord.objects.get()


def test_what_only_people_look_for_is_over_with_the_first_look_that_finds_it_well(found):
    assert look().began_at
    found[:] = [report_ok(SAID)]

    assert look().began_at is None
    assert Notice.objects.filter(is_over=True).count() == 1
