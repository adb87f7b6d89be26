"""What a run, of a person or of a schedule, does with the several logins of a client."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import IntegrityError
from django.utils import timezone

from credentials.models import Client
from migration.logins import rotations
from migration.logins.models import RotationOutcome, RotationScheduleQuerySet
from migration.models import Rotation, RotationSchedule
from nova_credentials.phases import Phase
from tests.factories import make_database, update
from tests.nova_credentials.in_phases import bring

DATABASES = "client_database_credentials"
SCHEDULE = ""


@pytest.fixture
def run_once(monkeypatch):
    """One batch of a run over a client; the run of a schedule has no name of a user."""

    def run_once(role, by_name: str = SCHEDULE, seconds: float = 10) -> SimpleNamespace:
        monkeypatch.setattr(
            rotations, "rotate_database", lambda **options: role.rotate(label=options["label"])
        )
        item = SimpleNamespace(client_id=role.client_id, outcome="", message=None, error_class="")
        run = SimpleNamespace(
            by=None,
            by_name=by_name,
            created_at=timezone.now(),
            was_begun_by_schedule=by_name == SCHEDULE,
        )
        monkeypatch.setattr(rotations, "BATCH_SECONDS", seconds)
        rotations.process_rotation_items(run, {role.client_id: item})
        return item

    return run_once


def make_due(role, days: int = 30) -> None:
    RotationSchedule.objects.set_days(days, client=Client.objects.get(pk=role.client_id), by=None)
    RotationSchedule.objects.update(since=timezone.now().date() - timedelta(days=days + 1))
    assert RotationSchedule.objects.list_due_clients() == [role.client_id]


def test_a_client_without_a_primary_login_is_not_rotated_each_day(role_in, run_once):
    role = role_in(Phase.POSTGRES)
    update(DATABASES, role.row, label="reports", is_primary=False)
    bring(role.client_id, Phase.DUAL_READ)
    make_due(role)
    assert run_once(role).outcome == "updated"
    assert RotationSchedule.objects.list_due_clients() == []


def test_other_logins_are_not_rotated_each_day_where_the_primary_one_is_refused(role_in, run_once):
    role = role_in(Phase.POSTGRES)
    update(DATABASES, role.row, label="reports", is_primary=False)
    make_database(role.client_id, db_user="another", db_host="nowhere.example.test")
    bring(role.client_id, Phase.DUAL_READ)
    make_due(role)
    for _day in range(2):
        assert RotationSchedule.objects.list_due_clients() == [role.client_id]
        run_once(role)
    rotated = Rotation.objects.rotated().filter(label="reports")
    assert rotated.count() == 1
    # Whoever starts a run by hand wants all of them.
    run_once(role, by_name="maria")
    assert rotated.count() == 2
    Rotation.objects.filter(label="reports").update(begun_at=timezone.now() - timedelta(days=30))
    run_once(role)
    assert rotated.count() == 3


def test_two_labels_of_one_role_are_rotated_once(role_in, run_once):
    role = role_in(Phase.POSTGRES)
    there = role.read_row()
    make_database(
        role.client_id,
        db_host=there.db_host,
        db_port=there.db_port,
        db_name="postgres",
        db_user=role.user,
        db_password_encrypted="example-a",
        label="reports",
        is_primary=False,
    )
    bring(role.client_id, Phase.DUAL_READ)
    assert run_once(role).outcome == "updated"
    assert Rotation.objects.rotated().count() == 1


def test_a_batch_ends_between_the_logins_of_a_client_and_is_gone_on_with(
    role_in, run_once, monkeypatch
):
    role = role_in(Phase.POSTGRES)
    for number in range(20):
        own = {"label": f"l{number}", "db_user": f"user_{number}", "is_primary": False}
        make_database(role.client_id, **own)
    tried = []

    def hang(*, label):
        tried.append(label)
        return SimpleNamespace(
            outcome=RotationOutcome.REFUSED,
            message=None,
            is_finished=True,
            is_worth_another_try=True,
        )

    role.rotate = hang
    clock = SimpleNamespace(monotonic=lambda: len(tried))  # a second a login
    monkeypatch.setattr(rotations, "time", clock)
    item = run_once(role, seconds=3)
    assert len(tried) == 4
    assert (item.outcome, item.next_try_at is not None) == ("", True)


def test_two_who_set_a_schedule_in_the_same_moment_both_have_it(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)
    client = Client.objects.get(pk=role.client_id)
    former, others = RotationScheduleQuerySet._set_days, [30]

    def set_days(self, days, **whose):
        if others:  # of somebody else, who is faster
            former(self, others.pop(), **whose)
            raise IntegrityError
        return former(self, days, **whose)

    monkeypatch.setattr(RotationScheduleQuerySet, "_set_days", set_days)
    assert RotationSchedule.objects.set_days(60, client=client, by=None)
    assert RotationSchedule.objects.get().days == 60
