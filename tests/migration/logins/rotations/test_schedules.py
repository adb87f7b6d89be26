"""Rotations by a schedule, and of many clients in a run."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.messages import get_messages
from django.db import IntegrityError, transaction
from django.utils import timezone

from credentials.models import Client
from migration import tasks
from migration.core.clients import all_clients
from migration.logins import models as rotation_schedules
from migration.logins import rotations
from migration.logins.models import RotationOutcome
from migration.logins.rotations import rotate_database
from migration.models import AuditEvent, ClientGroup, Reveal, Rotation, RotationSchedule, RunItem
from migration.runs.engine import finish_inline
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.site.background import read_background_facts
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_database, make_email, make_user
from tests.migration.logins.rotations.conftest import open_plainly
from tests.page_forms import pages_left_out

TODAY = datetime(2026, 3, 30, tzinfo=UTC).date()  # Madrid's clocks changed the day before
ROTATE = "migration.rotate_credential"


@pytest.fixture
def day(monkeypatch):
    """Sets the date."""

    def set_day(value) -> None:
        for module in ("logins.models", "site.background"):
            monkeypatch.setattr(f"migration.{module}.today", lambda: value)

    set_day(TODAY)
    return set_day


def rotated(client_id: int, at: datetime, **fields) -> None:
    Rotation.objects.create(
        **{"client_id": client_id, "slug": "x", "credential_type": "database"} | fields,
        outcome=RotationOutcome.ROTATED,
        ended_at=at,
    )


def next_day(client_id: int):
    return RotationSchedule.objects.find_next_days(client_id).get(client_id)


def test_the_next_day_counts_from_the_last_rotation_in_days_of_utc(stores, day):
    pk = make_client("idom")
    make_database(pk)
    assert next_day(pk) is None
    RotationSchedule.objects.set_days(90, client=Client.objects.get(pk=pk), by=None)
    RotationSchedule.objects.update(since=TODAY)
    assert next_day(pk) == TODAY + timedelta(days=90)

    # In Madrid it was the next day already.
    rotated(pk, datetime(2026, 4, 1, 23, 30, tzinfo=UTC))
    rotated(pk, datetime(2026, 5, 1, tzinfo=UTC), label="reports")
    rotated(pk, datetime(2026, 5, 1, tzinfo=UTC), credential_type="email")
    assert next_day(pk) == datetime(2026, 6, 30, tzinfo=UTC).date()

    day(datetime(2026, 6, 30, tzinfo=UTC).date())
    assert RotationSchedule.objects.list_due_clients() == [pk]
    assert not all_clients().filter(rotation_schedules.client_rotation_is_overdue()).exists()
    day(datetime(2026, 7, 1, tzinfo=UTC).date())
    assert all_clients().filter(rotation_schedules.client_rotation_is_overdue()).get().pk == pk
    assert read_background_facts().rotations == {"stopped": 0, "unfinished": 0, "overdue": 1}


def test_the_earliest_of_its_own_schedule_and_its_groups_counts(stores, day):
    pk, other = make_client("idom"), make_client("other")
    wave = ClientGroup.objects.get_or_add("wave 1")
    wave.put_clients(all_clients().filter(slug="idom"))
    RotationSchedule.objects.set_days(30, group=wave, by=None)
    RotationSchedule.objects.set_days(90, client=Client.objects.get(pk=pk), by=None)
    RotationSchedule.objects.update(since=TODAY)
    assert next_day(pk) == TODAY + timedelta(days=30)
    assert next_day(other) is None

    wave.delete_group()
    assert next_day(pk) == TODAY + timedelta(days=90)
    RotationSchedule.objects.set_days(None, client=Client.objects.get(pk=pk), by=None)
    assert next_day(pk) is None
    said = [event.facts for event in AuditEvent.objects.filter(code="rotation").order_by("-id")]
    assert "rotation_schedule_ended" in said[0]


def test_a_reveal_brings_it_forward_where_that_is_set(stores, day, settings):
    pk = make_client("idom")
    RotationSchedule.objects.set_days(90, client=Client.objects.get(pk=pk), by=None)
    RotationSchedule.objects.update(since=TODAY)
    seen = datetime(2026, 4, 10, 12, tzinfo=UTC)
    Reveal.objects.create(
        client_id=pk,
        slug="idom",
        kind="database",
        credential_id=1,
        field="db_password",
        username="maria",
        reason="x",
        revealed_at=seen,
    )
    assert next_day(pk) == TODAY + timedelta(days=90)
    settings.NOVA_ROTATE_AFTER_REVEAL_DAYS = 7
    assert next_day(pk) == datetime(2026, 4, 17, tzinfo=UTC).date()
    rotated(pk, seen + timedelta(hours=1))
    assert next_day(pk) == datetime(2026, 7, 9, tzinfo=UTC).date()


@pytest.mark.parametrize("days", [0, 3651])
def test_a_schedule_has_days_within_bounds(stores, days):
    with pytest.raises(IntegrityError), transaction.atomic():
        RotationSchedule.objects.create(client_id=1, days=days)


def test_what_is_due_is_rotated_once_a_day_by_a_run(role_in, monkeypatch):
    role = role_in(Phase.DUAL_READ)
    monkeypatch.setattr(
        rotations,
        "rotate_database",
        lambda **options: rotate_database(**options, open_login=open_plainly),
    )
    started = []
    monkeypatch.setattr(tasks, "enqueue", started.append)
    RotationSchedule.objects.set_days(90, client=Client.objects.get(pk=role.client_id), by=None)
    tasks.start_due_rotations()
    assert started == []
    RotationSchedule.objects.update(since=rotation_schedules.today() - timedelta(days=90))

    tasks.start_due_rotations()
    (run,) = started
    finish_inline(run)
    item = run.items.get()
    assert (item.outcome, item.message) == (Outcome.UPDATED, None)
    assert role.logs_in(role.in_row())
    password = role.in_row()
    RotationSchedule.objects.update(days=1, since=rotation_schedules.today())
    Rotation.objects.update(ended_at=timezone.now() - timedelta(days=2))
    tasks.start_due_rotations()
    assert (len(started), role.in_row()) == (1, password)


def test_a_run_says_of_each_client_what_became_of_it(role_in, monkeypatch):
    role = role_in(Phase.DUAL_WRITE)
    monkeypatch.setattr(
        rotations,
        "rotate_database",
        lambda **options: rotate_database(**options, open_login=open_plainly),
    )
    make_email(make_client("mail-only"))
    make_database(make_client("elsewhere"), db_host="db.example.test", db_user="somebody")
    reports = make_database(
        role.client_id,
        db_host="/nowhere",
        db_name="x",
        label="reports",
        is_primary=False,
    )
    run = Run.start(kind=Run.Kind.ROTATE, chosen=all_clients())
    finish_inline(run)

    items = {
        item.slug: (item.outcome, item.message and item.message.codes) for item in run.items.all()
    }
    assert items == {
        "mail-only": ("skipped", ["rotation_no_database_login"]),
        "elsewhere": ("failed", ["rotation_not_logged_in"]),
        "idom": ("failed", ["rotation_not_logged_in"]),
    }
    told = AuditEvent.objects.filter(code__in=["rotation", "failure"]).order_by("slug", "pk")
    assert [(event.slug, event.code, event.message.key) for event in told] == [
        ("elsewhere", "rotation", "rotation_ended"),
        ("idom", "rotation", "secret_rotated"),
        ("idom", "rotation", "rotation_ended"),
    ]
    password = role.in_row()
    assert password != "example-a"
    assert RunItem.objects.needing_attention().count() == 2
    # A batch that is done twice rotates nothing twice.
    assert reports
    run.items.filter(slug="idom").update(outcome="")
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, finished_at=None)
    finish_inline(Run.objects.get(pk=run.pk))
    assert role.in_row() == password
    rotated(role.client_id, timezone.now() + timedelta(minutes=1))
    assert RunItem.objects.needing_attention().count() == 1


def test_a_command_in_nobodys_name_rotates_whatever_the_schedule_did_lately(stores):
    pk = make_client("idom")
    make_database(pk)
    RotationSchedule.objects.set_days(90, client=Client.objects.get(pk=pk), by=None)
    ordered = Run.start(kind=Run.Kind.ROTATE, chosen=all_clients(), by_command=True)
    by_schedule = Run.start(kind=Run.Kind.ROTATE, chosen=all_clients())

    assert rotations._find_fresh_since(ordered, pk) == ordered.created_at
    assert rotations._find_fresh_since(by_schedule, pk) < by_schedule.created_at


def test_the_schedule_is_set_on_the_pages_of_client_and_group(client, stores):
    pk = make_client("idom")
    row = make_database(pk)
    maria = make_user(
        "maria", *VIEW, ROTATE, "migration.change_clientgroup", "migration.view_clientgroup"
    )
    client.force_login(maria)
    address = f"/admin/credentials/client/{pk}/rotation-schedule/"
    for typed, message in (("90", "Changed"), ("0", "type a number"), ("x", "type a number")):
        answer = client.post(address, {"days": typed})
        assert message in str([*get_messages(answer.wsgi_request)][-1])
    assert RotationSchedule.objects.get().days == 90
    assert (
        "rotated next on"
        in client.get(f"/admin/credentials/client/{pk}/rotate/database/{row}/").text
    )

    wave = ClientGroup.objects.get_or_add("wave 1")
    group_page = f"/admin/migration/clientgroup/{wave.pk}/change/"
    assert "rotate_every_days" in client.get(group_page).text
    client.post(group_page, {"name": "wave 1", "rotate_every_days": "30"})
    assert RotationSchedule.objects.get(group=wave).days == 30
    client.post(group_page, {"name": "wave 1", "rotate_every_days": ""})
    assert not RotationSchedule.objects.filter(group=wave).exists()

    RotationSchedule.objects.update(since=rotation_schedules.today() - timedelta(days=91))
    assert "overdue" in client.get("/admin/").text
    with pages_left_out():
        for which, there in (("overdue", [pk]), ("stopped", []), ("unfinished", [])):
            listed = client.get(f"/admin/credentials/client/?rotation={which}").context_data["cl"]
            assert [row.pk for row in listed.result_list] == there
