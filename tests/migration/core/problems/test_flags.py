"""What a problem's flags say it does, it does for real, and no other problem: writes, gates, readiness."""

import pytest
from django.utils import timezone

from migration.core.aws_writes import find_write_refusal
from migration.core.problems import PROBLEMS
from migration.models import ClientMigration, Comparison
from migration.moves.rules import Ask, judge_gates
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.core.problems.causes import CAUSES
from tests.migration.core.problems.surfaces import is_open_with, is_unready
from tests.migration.moves.clients import enter_phase
from tests.nova_admin.operating.conftest import readiness

__all__ = ["readiness"]


@pytest.fixture
def bystander(world) -> int:
    """A client that is ready to be cut over; what is wrong is not about it."""
    pk = make_full_client("bystander")
    enter_phase(pk, Phase.DUAL_READ)
    compare(client_ids=[pk])
    return pk


def is_push_refused() -> bool:
    pk, why = make_full_client("fresh"), find_write_refusal()
    (pushed,) = push(client_ids=[pk])
    return bool(why and pushed.message and pushed.message.key == why.key)


def is_gate_shut(pk: int) -> bool:
    """Whether a fact shuts it; evidence is about the client, and is not looked at."""
    now = timezone.now()
    ClientMigration.objects.filter(pk=pk).update(compared_at=now)
    Comparison.objects.filter(client_id=pk).update(compared_at=now)
    checks = judge_gates(Ask([pk]), Phase.AWS)[pk]
    return any(not check.passed for check in checks if not check.evidence)


FLAGS = ("unready", "stops_writes", "shuts_gates")
# Tried daily: those that have a flag, and of the others one each of clients, AWS and counting.
OFTEN = {
    *("no_worker", "schema_behind", "host_differs", "duplicate", "writes_stopped"),
    *("columns_unknown", "objects_unknown", "writes_uncounted", "counting_unproved"),
    *("mismatches", "aws_away"),
}


@pytest.mark.parametrize(
    "code",
    [
        code
        if code in OFTEN or any(getattr(PROBLEMS[code], flag) for flag in FLAGS)
        else pytest.param(code, marks=pytest.mark.nightly)
        for code in CAUSES
    ],
)
def test_a_problem_does_what_its_flags_say_and_nothing_else(code, world, bystander, readiness):
    each = PROBLEMS[code]
    with CAUSES[code](world):
        expected = {flag: is_open_with(flag) for flag in FLAGS}
        happens = {
            "unready": is_unready(world.browser),
            "stops_writes": is_push_refused(),
            "shuts_gates": is_gate_shut(bystander),
        }

    assert happens == expected
    assert all(expected[flag] for flag in expected if getattr(each, flag))
