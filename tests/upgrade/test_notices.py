"""Notices of 0.2.0 that were on their way reach whom they were for, and what was told already is not told again."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from migration.core import problems
from migration.core.aws_writes import NOTHING
from migration.core.notices import NoticeEvent
from migration.core.problems import (
    Area,
    Finder,
    ProblemRecord,
    look_at_problems,
    problem,
    report_failure,
    report_ok,
)
from migration.logins.models import RotationOutcome
from migration.models import Condition, Notice, NoticeDelivery, NoticeSwitch, Rotation
from migration.site.notices import list_configured_recipients, look_at_clients, send_notices
from nova_admin.environment import NotifySettings
from tests.factories import make_client, make_comparison
from tests.migration.pages import DIFFERENT
from tests.migration.site.notices.sinks import WebhookSink, opened

BEFORE = "0053_evidence_layouts_and_slugs"
ROWS = """
INSERT INTO migration_noticerule VALUES ('run_ended', false, true), ('rotation_overdue', true, false);
INSERT INTO migration_condition (event, subject, began_at, seen_at)
    VALUES ('rotation_overdue', '%(idom)s:2020-01-01', now(), now());
INSERT INTO migration_notice (event, key, digest, number, names, run_id, handed_out_at) VALUES
    ('mismatch', 'm1', 'mismatches:run 7', 3, '["b", "a"]', 7, NULL),
    ('mismatch', 'm2', 'mismatches:run 7', 4, '["a", "c", "d", "e", "f"]', 7, NULL),
    ('copies_found', 'c1', 'copies:search 2', 1, '["idom"]', NULL, NULL),
    ('rotation_failed', 'r1', 'stopped:run 8', 2, '["x", "y"]', 8, now()),
    ('rotation_overdue', 'o1', 'overdue:', 1, '["idom"]', NULL, NULL);
INSERT INTO migration_notice (event, key, facts) VALUES ('aws_gone', 'aws_gone:aws:1:over', '{}');
INSERT INTO migration_noticedelivery (notice_id, way, target, host, state, outcome, tries)
    SELECT id, 'webhook', '%(target)s', '127.0.0.1', 'waiting', 'refused', 1 FROM migration_notice WHERE key = 'r1';
"""


@pytest.fixture
def logins_stay_here():
    """They do: the sink is on the loopback."""


@pytest.mark.django_db(transaction=True)
def test_the_way_back_keeps_what_waits_and_after_it_that_is_told_and_what_was_told_is_not(settings):
    with opened(WebhookSink()) as sink:
        settings.NOVA_NOTIFY = NotifySettings((sink.url,), loopback_allowed=True)
        (recipient,) = list_configured_recipients()
        pk = make_client("idom")
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
        rotation = Rotation.objects.create(client_id=pk, slug="idom", credential_type="database")
        rotation.end(RotationOutcome.REFUSED)
        Notice.objects.create(event=NoticeEvent.MISMATCH, key="1")
        NoticeSwitch.objects.create(event=NoticeEvent.MISMATCH, by_mail=False)

        call_command("migrate", "migration", BEFORE, verbosity=0)

        assert run_sql("DELETE FROM migration_notice RETURNING key, digest, number, names") == [
            ("1", "", 1, "[]")
        ]
        assert run_sql("DELETE FROM migration_noticerule RETURNING *") == [
            ("mismatch", False, True)
        ]
        with connection.cursor() as cursor:
            cursor.execute(ROWS % {"target": recipient.target, "idom": pk})

        call_command("migrate", verbosity=0)
        look_at_clients()
        send_notices(seconds=10)

        switches = NoticeSwitch.objects.order_by("event").values_list()
        assert list(switches) == [("rotation_overdue", True, False), ("run_ended", False, True)]
        said = [text.splitlines()[1] for text in sink.taken if "Over:" not in text]
    assert sorted(said) == [
        "2 rotations stopped. Check which secrets work: x, y",
        "7 more fields differ between PostgreSQL and AWS. Clients: a, b, c, d, e, …",
        "A search found secret values in one more place. Client: idom",
    ]
    assert not NoticeDelivery.objects.exclude(state="sent").exists()
    assert Notice.objects.filter(is_over=True).count() == 2
    held = Condition.objects.values_list("event", flat=True).order_by("event")
    assert list(held) == ["mismatch", "rotation_refused"]

    # By the next look, which finds nothing more.
    make_comparison(pk, "match")
    look_at_clients()
    assert Notice.objects.filter(event=NoticeEvent.MISMATCH, is_over=True).count() == 1


# As the site of 0.2.0 stores what holds: told, or only noted.
CONDITIONS = """
INSERT INTO migration_condition (event, subject, facts, began_at, seen_at) VALUES
    ('aws_gone', 'aws', '{"key": "aws_answers_not", "values": {"error": "throttled"}, "text": "x"}',
        now() - interval '2 h', now()),
    ('readers_gone', 'gone', '{"key": "", "values": {}, "text": "gone"}', now() - interval '1 d', now()),
    ('readers_gone', 'failing', '{"key": "", "values": {}, "text": "failing"}', now(), now()),
    ('duplicate', 'database_not_noted', '{"key": "database_not_noted", "values": {}, "text": "x"}', now(), now()),
    ('settings_differ', 'settings', '{"key": "", "values": {}, "text": "settings"}', now(), now()),
    ('audit_broken', 'audit', '{"key": "", "values": {}, "text": "broken"}', now(), now()),
    ('audit_unsealed', 'audit', NULL, now(), now()),
    ('last look', 'last look', NULL, now() - interval '9 d', now() - interval '3 min'),
    ('mismatch', '7:x', NULL, now(), now()),
    ('schedule changed', 'others', NULL, now(), now());
"""
READ = "SELECT event, subject, facts ->> 'key', began_at, seen_at FROM migration_condition ORDER BY 1, 2"


def run_sql(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.django_db(transaction=True)
def test_open_conditions_become_problems_and_go_back_as_they_were(monkeypatch):
    call_command("migrate", "migration", BEFORE, verbosity=0)
    run_sql(CONDITIONS)
    before = run_sql(READ)

    call_command("migrate", verbosity=0)

    held = Condition.objects.values_list("event", flat=True).order_by("event")
    assert list(held) == ["mismatch", "schedule changed"]
    records = {record.code: record for record in ProblemRecord.objects.all()}
    assert {code for code, record in records.items() if record.told} == {
        "aws_gone", "readers_gone", "readers_fail", "duplicate", "secrets_differ", "audit_unsound",
    }  # fmt: skip
    assert records["audit_unsealed"].began_at
    no_worker = records["no_worker"]
    assert (no_worker.began_at, no_worker.told) == (None, False)
    assert timedelta(minutes=2) < timezone.now() - no_worker.looked_at < timedelta(minutes=9)

    # One that lasts is not told again, and one that was told is over once.
    is_there = [True]
    monkeypatch.setattr(problems, "PROBLEMS", {})

    @problem("aws_gone", "x", Area.AWS, found_by=Finder.PAGE, told_as=NoticeEvent.AWS_GONE)
    def find_example(_look):
        yield report_failure(NOTHING()) if is_there[0] else report_ok(NOTHING())

    look_at_problems()
    assert not Notice.objects.exists()
    call_command("migrate", "migration", BEFORE, verbosity=0)
    back = run_sql(READ)
    # What was only noted, and never told, is found anew.
    assert [row[:4] for row in back if row[0] != "last look"] == [
        row[:4] for row in before if row[0] not in ("last look", "audit_unsealed")
    ]
    assert {row[4] for row in back if row[0] == "last look"} == {
        row[4] for row in before if row[0] == "last look"
    }

    call_command("migrate", verbosity=0)
    is_there[0] = False
    for _ in range(3):
        ProblemRecord.objects.update(looked_at=None, failed_at=timezone.now() - timedelta(hours=1))
        look_at_problems()
    (over,) = Notice.objects.all()
    assert (over.event, over.is_over) == (NoticeEvent.AWS_GONE, True)
    assert str(over.facts).startswith("This is over; it began 2 hours ago: AWS has not answered")
