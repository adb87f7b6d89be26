"""Problems of clients: each counts what its list shows, and says that all is well where nothing is wrong."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone, translation

from credentials.localization import localize
from credentials.models import ClientWrite
from migration.campaigns.models import Campaign
from migration.core.clients import all_clients
from migration.core.problems import PROBLEMS, Area, Finding, FindingState, Look, list_results
from migration.logins.models import RotationOutcome
from migration.models import Offboarding, Rotation, RunItem
from migration.runs import engine
from migration.runs.models import Run
from tests.factories import make_client, make_comparison, make_many

CODES = [each.code for each in PROBLEMS.values() if each.area == Area.CLIENTS]


def look(*codes: str) -> dict[str, list[Finding]]:
    results = list_results(Look(), only=codes or CODES)
    return {each.problem.code: list(each.failed) for each in results if each.is_open}


def make_runs(outcome: str, kind: Run.Kind, number: int) -> None:
    run = Run.objects.create(kind=kind)
    run.add_items((make_client(f"run-{n}"), f"run-{n}") for n in range(number))
    RunItem.objects.update(outcome=outcome, finished_at=timezone.now())


def leave_out() -> None:
    make_client("idom")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)


def write_late() -> None:
    make_many(2, phase="dual_write")
    ClientWrite.objects.update(written_at=timezone.now() - timedelta(minutes=3))


def rotate(outcome: str, **fields) -> None:
    Rotation.objects.create(
        client_id=make_client("idom"),
        slug="idom",
        credential_type="database",
        outcome=outcome,
        **fields,
    )


def offboard() -> None:
    Offboarding.objects.create(client_id=make_client("idom"), slug="idom", former_phase="aws")


CASES: dict[str, tuple[Callable[[], object], str, int]] = {
    "mismatches": (lambda: make_many(2, status="mismatch"), "clients_differ", 2),
    "unchecked": (lambda: make_many(3, status="unchecked"), "clients_unchecked", 3),
    "failures": (lambda: make_runs("failed", Run.Kind.PUSH, 2), "clients_failed_in_push", 2),
    "left_out": (leave_out, "clients_left_out", 1),
    "push_late": (write_late, "pushes_late", 2),
    "rotations_stopped": (
        lambda: rotate(RotationOutcome.STOPPED, ended_at=timezone.now()),
        "clients_rotations_stopped",
        1,
    ),
    "offboarding_interrupted": (offboard, "offboardings_interrupted", 1),
    "campaign_stopped": (
        lambda: Campaign.objects.create(goal="aws", state="stopped"),
        "campaign_has_stopped",
        1,
    ),
    "requested_campaigns": (
        lambda: Campaign.objects.create(goal="aws", state="requested"),
        "campaign_waits",
        1,
    ),
    "requested_runs": (
        lambda: Run.objects.create(
            kind=Run.Kind.MOVE, move_from="dual_read", move_to="aws", state="requested"
        ),
        "runs_requested",
        1,
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_each_is_found_alone_with_its_number_and_a_page_that_opens(client, db, code):
    begin, sentence, number = CASES[code]
    client.force_login(User.objects.create_superuser("root"))

    begin()

    found = look()
    assert list(found) == [code]
    (finding,) = found[code]
    assert (finding.message.codes, finding.count) == ([sentence], number)
    assert client.get(finding.url).status_code == 200
    assert client.get(PROBLEMS[code].url).status_code == 200


def test_where_nothing_is_wrong_each_says_so(db):
    make_comparison(make_client("idom"), "match")

    states = {each.problem.code: each.state for each in list_results(Look(), only=CODES)}

    assert states == dict.fromkeys(CODES, FindingState.OK)


def test_every_surface_says_the_same_words_in_its_readers_language(db):
    make_many(2, status="mismatch")
    (finding,) = look()["mismatches"]

    assert localize(finding.message) == "2 clients have a mismatch."
    with translation.override("es"):
        assert localize(finding.message) == "2 clientes tienen una discrepancia."
