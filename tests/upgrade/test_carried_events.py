"""What an audit that was trimmed lacks, and what no former release recorded, is carried over from other tables."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from credentials.models import Client
from migration.core.audit_chain import seal_audit
from migration.core.clients import all_clients
from migration.logins.models import RotationOutcome
from migration.models import (
    AuditEvent,
    ClientMigration,
    LoginTest,
    PhaseChange,
    Resolution,
    Reveal,
    Rotation,
)
from migration.pushes.resolutions import acknowledge_each
from migration.runs.models import Run
from migration.site import audit
from migration.site.audit import trim_audit, verify_audit
from nova_credentials.phases import Phase
from tests.conftest import AUDIT_OF_TESTS
from tests.factories import make_client, make_comparison, make_user
from tests.memory import measure_peak
from tests.migration.moves.clients import LINE
from tests.migration.pages import DIFFERENT

BEFORE = "0053_evidence_layouts_and_slugs"


def upgrade() -> None:
    call_command("migrate", "migration", BEFORE, verbosity=0)
    call_command("migrate", verbosity=0)


def list_carried() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(happened_at__isnull=False).order_by("pk"))


def list_codes() -> list[str]:
    return [event.code for event in list_carried()]


@pytest.fixture
def real_function(transactional_db):
    """The audit's function as `migrate` makes it."""
    with connection.cursor() as cursor:
        cursor.execute(audit.MAKE_FUNCTION)
        yield
        cursor.execute(AUDIT_OF_TESTS)


def test_moves_and_what_people_did_before_a_trim_are_there_again(real_function, tmp_path):
    maria, pk = make_user("maria"), make_client("idom")
    for old, new in pairwise(LINE[:3]):
        ClientMigration.objects.change_phase([pk], old, new, by=maria, reason="INC-42")
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT], slug="idom")
    acknowledge_each(shown={pk: None}, until=timezone.localdate(), reason="known", by=maria)
    Reveal.objects.create(
        client_id=pk, slug="idom", kind="database", credential_id=7, field="db_password",
        by=maria, username="maria", reason="INC-43", address="10.0.0.8",
    )  # fmt: skip
    rotation = Rotation.objects.create(
        client_id=pk, slug="idom", credential_type="database", by=maria
    )
    rotation.end(RotationOutcome.REFUSED)
    for number in (1, 2):
        LoginTest.objects.create(
            client_id=pk, kind="database", credential_id=number, store="aws", outcome="works",
            by=maria, tested_at=timezone.now().replace(microsecond=0),
        )  # fmt: skip
    log = {
        "user": maria,
        "content_type": ContentType.objects.get_for_model(Client),
        "object_id": pk,
    }
    changed = '[{"changed": {"fields": ["Host"], "name": "database login", "object": "database login 7"}}]'
    LogEntry.objects.create(
        **log, object_repr="x", action_flag=ADDITION, change_message='[{"added": {}}]'
    )
    LogEntry.objects.create(**log, object_repr="x", action_flag=CHANGE, change_message=changed)
    LogEntry.objects.create(**log, object_repr="x", action_flag=CHANGE, change_message="[]")
    for rows, moment in (
        (PhaseChange.objects, "changed_at"),
        (Resolution.objects, "resolved_at"),
        (Reveal.objects, "revealed_at"),
        (Rotation.objects, "ended_at"),
        (LoginTest.objects, "tested_at"),
        (LogEntry.objects, "action_time"),
    ):
        rows.update(**{moment: F(moment) - timedelta(hours=1)})
    trim_audit(before=datetime.now(UTC) + timedelta(days=1), file=tmp_path / "old.json")
    after = PhaseChange.objects.count()
    ClientMigration.objects.change_phase([pk], Phase.DUAL_READ, Phase.DUAL_WRITE, by=maria)

    upgrade()

    assert sorted(list_codes()) == [
        *("client_added", "client_saved", "comparison", "login_test"),
        *["move"] * after,
        *("resolution", "reveal", "rotation"),
    ]
    carried = list_carried()
    moments = [event.happened_at for event in carried]
    assert moments == sorted(moments)
    people = [event for event in carried if event.code != "comparison"]
    assert {(event.who, event.slug) for event in people} == {("maria", "idom")}
    reasons = {event.code: event.reason for event in carried}
    assert (reasons["move"], reasons["reveal"]) == ("INC-42", "INC-43")
    said = {event.code: str(event.message) for event in carried}
    assert said["reveal"] == "Revealed db_password of database login 7."
    assert said["client_saved"] == "Changed database login 7: Host."
    assert said["login_test"].count("database login") == 2
    seal_audit(from_beginning=True)
    assert verify_audit().is_sound

    # Not again, and a move that the audit has is not told twice.
    call_command("migrate", "migration", BEFORE, verbosity=0)
    assert verify_audit().is_sound
    call_command("migrate", verbosity=0)
    assert len(list_carried()) == len(carried)
    assert AuditEvent.objects.filter(code="move").count() == PhaseChange.objects.count()


def test_an_audit_that_was_never_trimmed_gets_only_what_was_never_recorded(transactional_db):
    maria, pk = make_user("maria"), make_client("idom")
    ClientMigration.objects.change_phase([pk], Phase.POSTGRES, Phase.DUAL_WRITE, by=maria)
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), by=maria)
    run.items.update(outcome="failed", error_class="data", finished_at=timezone.now())
    # What failed each minute, by nobody's order, is told once a day.
    for days in (1, 1, 1, 2):
        for kind in (Run.Kind.PUSH, Run.Kind.COMPARE):
            each = Run.start(kind=kind, chosen=all_clients())
            at = timezone.now().replace(hour=0, minute=1) - timedelta(days=days)
            each.items.update(outcome="failed", error_class="data", finished_at=at)
    call_command("migrate", "migration", BEFORE, verbosity=0)
    # As a former release stores them meanwhile: without an event.
    with connection.cursor() as cursor:
        for status, age in (("match", 0), ("match", 0), ("unchecked", 0), ("missing_in_aws", 0)):
            cursor.execute(
                """
                INSERT INTO migration_comparison
                    (client_id, slug, status, error_class, mismatches, revision, compared_at)
                VALUES (%s, 'idom', %s, '', '[]', 0, clock_timestamp() + %s * interval '1 s')
                """,
                [pk, status, age],
            )

    call_command("migrate", verbosity=0)

    told = AuditEvent.objects.filter(code="comparison").order_by("pk")
    assert [event.message.key for event in told] == [
        *("fields_differ", "stores_agree", "status_missing_in_aws"),
    ]
    assert sorted(list_codes()) == ["comparison"] * 2 + ["failure"] * 3
    (event,) = (each for each in list_carried() if each.who == "maria")
    assert (event.code, event.correlation) == ("failure", f"run {run.pk}")
    assert str(event.message) == f"Push {run.pk} failed: data"


@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_events(transactional_db):
    def fill(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_comparison
                    (client_id, slug, status, error_class, mismatches, revision, compared_at)
                SELECT n, 'c' || n, 'missing_in_aws', '', '[]', 0, clock_timestamp() FROM generate_series(1, %s) AS n
                """,
                [number],
            )

    call_command("migrate", "migration", BEFORE, verbosity=0)
    fill(3000)
    few = measure_peak(lambda: call_command("migrate", verbosity=0))
    call_command("migrate", "migration", BEFORE, verbosity=0)
    fill(20_000)
    many = measure_peak(lambda: call_command("migrate", verbosity=0))

    assert AuditEvent.objects.filter(code="comparison").count() == 20_000
    assert many < few + 10_000_000


def plant(table: str, **columns: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO migration_{table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
            list(columns.values()),
        )


NOT_OURS = [*("7", "[7]", '"x"', '{"a": 1}', '{"key": 1, "values": []}'), "[" * 900 + "]" * 900]
NO_NUMBER = '{"key": "fields_differ", "values": {"n": %s, "fields": []}, "text": "x"}'
NO_DAYS = ["infinity", "-infinity", "200000-01-01"]


def test_rows_that_somebody_broke_stop_no_upgrade(transactional_db):
    maria, pk = make_user("maria"), make_client("idom")
    kind = ContentType.objects.get_for_model(Client)
    for text in (*NOT_OURS, "[", '[{"changed": {"fields": [7]}}]', '[{"changed": {"fields": 7}}]'):
        LogEntry.objects.create(
            user=maria, content_type=kind, object_id=pk, action_flag=CHANGE, change_message=text
        )
    call_command("migrate", "migration", BEFORE, verbosity=0)
    day = timezone.now() - timedelta(days=1)
    of_idom = {"client_id": pk, "slug": "idom"}
    compared = of_idom | {
        "status": "mismatch",
        "error_class": "",
        "revision": 0,
        "mismatches": "[]",
    }
    moved = of_idom | {"old": "postgres", "new": "dual_write", "by_name": "maria", "reason": ""}
    for broken in NOT_OURS:
        plant("comparison", **compared | {"mismatches": broken}, compared_at=day)
        plant("phasechange", **moved, overridden=broken, changed_at=day)
    for broken in (*NOT_OURS, NO_NUMBER % "true", NO_NUMBER % "1e999"):
        plant("comparison", **compared | {"status": "new"}, message=broken, compared_at=day)
        plant("phasechange", **moved, note=broken, changed_at=day)
        plant("comparison", **compared | {"status": "match"}, compared_at=day)
    for moment in NO_DAYS:
        plant("comparison", **compared, compared_at=moment)
        plant("phasechange", **moved, changed_at=moment)
        event = {"at": moment, "who": "", "origin": "", "slug": "", "reason": "", "facts": ""}
        for code in ("comparison", "failure", "run"):
            plant(
                "auditevent",
                id=uuid4(),
                code=code,
                **event,
                correlation="campaign 5",
                key="",
                signature="",
            )
        plant(
            "auditevent",
            id=UUID(int=len(moment)),
            code="x",
            **event,
            correlation="",
            key="",
            signature="",
        )
    plant("phasechange", **moved | {"old": "new"}, changed_at=day)
    for kind in ("new", "acknowledge"):
        done = {"by_name": "maria", "reason": "", "mismatches": "[]", "resolved_at": day}
        plant("resolution", **of_idom, kind=kind, until="infinity", **done)
    seen = {"credential_id": 1, "field": "x", "username": "maria", "reason": "", "address": ""}
    plant("reveal", **of_idom, kind="new", **seen, revealed_at=day)

    call_command("migrate", verbosity=0)

    carried = AuditEvent.objects.filter(origin__startswith="carried over").count()
    assert carried > 5
    upgrade()
    assert AuditEvent.objects.filter(origin__startswith="carried over").count() == carried
