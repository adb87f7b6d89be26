"""Problems of the site that are found by what others have stored, or by what AWS answers now."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration.core.problems import Look
from migration.doctor.iam import find_lacking_permissions
from migration.doctor.site import find_missing_answers, find_missing_aws, find_overdue_sweep
from migration.models import ClientMigration, Comparison, Run
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from tests.factories import make_many

pytestmark = pytest.mark.usefixtures("stores")


def told(find) -> list[tuple[str, str]]:
    return [(each.state.value, each.message.key) for each in find(Look())]


def ago(**time: float):
    return timezone.now() - timedelta(**time)


def enter_both_stores(since) -> None:
    make_many(1, phase="dual_write")
    ClientMigration.objects.update(phase_changed_at=since)


def sweep(at) -> None:
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    Run.objects.filter(pk=run.pk).update(created_at=at)


class TestSweep:
    @pytest.fixture(autouse=True)
    def every_quarter(self, settings):
        settings.NOVA_SWEEP_MINUTES = 15

    def test_without_a_client_in_both_stores_none_is_due(self):
        make_many(1, phase="postgres")
        assert told(find_overdue_sweep) == [("ok", "no_sweep_yet")]

        sweep(ago(days=1))
        assert told(find_overdue_sweep) == [("ok", "sweep_began")]

    def test_a_client_that_has_just_come_waits_for_the_next_one(self):
        enter_both_stores(ago(minutes=29))

        assert told(find_overdue_sweep) == [("ok", "no_sweep_yet")]

    def test_one_that_has_waited_for_two_is_told(self):
        enter_both_stores(ago(minutes=31))
        assert told(find_overdue_sweep) == [("failed", "sweep_never_began")]

        sweep(ago(minutes=31))
        assert told(find_overdue_sweep) == [("failed", "sweep_is_overdue")]
        sweep(ago(minutes=29))
        assert told(find_overdue_sweep) == [("ok", "sweep_began")]

    def test_a_comparison_that_somebody_started_is_none(self):
        enter_both_stores(ago(minutes=31))
        Run.objects.create(kind=Run.Kind.COMPARE, by_name="maria")

        assert told(find_overdue_sweep) == [("failed", "sweep_never_began")]


def test_aws_that_refuses_every_call_is_away_and_lacks_permissions(aws):
    assert told(find_missing_aws) == [("ok", "aws_is_there")]
    assert "failed" not in dict(told(find_lacking_permissions))

    aws.conditions.set(Conditions(faults=(FaultRule(fault=Fault.DENIED),)))

    assert told(find_missing_aws) == [("failed", "aws_refuses")]
    assert ("failed", "action_refused") in told(find_lacking_permissions)


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "ok"),
        ([("unchecked", "throttled"), ("unchecked", "data")], "failed"),
        # AWS answered, and refused the data of one.
        ([("unchecked", "data")], "ok"),
        ([("unchecked", "throttled"), ("match", "")], "ok"),
    ],
)
def test_aws_is_gone_if_it_answered_none_of_the_comparisons_of_the_last_hour(rows, state):
    make_many(len(rows), phase="dual_write")
    for comparison, (status, error) in zip(Comparison.objects.all(), rows, strict=True):
        Comparison.objects.filter(pk=comparison.pk).update(status=status, error_class=error)
    assert [each for each, _ in told(find_missing_answers)] == [state]

    Comparison.objects.update(compared_at=ago(hours=2))
    assert told(find_missing_answers) == [("ok", "aws_answers")]
