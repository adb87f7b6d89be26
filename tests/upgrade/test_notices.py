"""Notices of 0.2.0 that were on their way reach whom they were for, and what was told already is not told again."""

import pytest
from django.core.management import call_command
from django.db import connection

from migration.core.notices import NoticeEvent
from migration.logins.models import RotationOutcome
from migration.models import Condition, Notice, NoticeDelivery, NoticeSwitch, Rotation
from migration.site.notices import list_configured_recipients, look_at_clients, send_notices
from nova_admin.environment import NotifySettings
from tests.factories import make_client, make_comparison
from tests.migration.pages import DIFFERENT
from tests.migration.site.notices.sinks import WebhookSink, opened

BEFORE = "0053_read_outcomes"
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
def test_what_waits_is_told_and_what_was_told_is_not(settings):
    with opened(WebhookSink()) as sink:
        settings.NOVA_NOTIFY = NotifySettings((sink.url,), loopback_allowed=True)
        (recipient,) = list_configured_recipients()
        pk = make_client("idom")
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
        rotation = Rotation.objects.create(client_id=pk, slug="idom", credential_type="database")
        rotation.end(RotationOutcome.REFUSED)
        call_command("migrate", "migration", BEFORE, verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute(ROWS % {"target": recipient.target, "idom": pk})

        call_command("migrate", verbosity=0)
        look_at_clients()
        send_notices(seconds=10)

        switches = NoticeSwitch.objects.order_by("event").values_list()
        assert list(switches) == [("rotation_overdue", True, False), ("run_ended", False, True)]
        said = [text.splitlines()[1] for text in sink.taken if "Over:" not in text]
    assert sorted(said) == [
        "2 rotations stopped, and somebody has to look which secret is valid: x, y",
        "7 more fields differ between PostgreSQL and AWS. Clients: a, b, c, d, e, …",
        "A search found a copy of secret values in one more place. Client: idom",
    ]
    assert not NoticeDelivery.objects.exclude(state="sent").exists()
    assert Notice.objects.filter(is_over=True).count() == 2
    held = Condition.objects.values_list("event", flat=True).order_by("event")
    assert list(held) == ["mismatch", "rotation_refused"]

    # By the next look, which finds nothing more.
    make_comparison(pk, "match")
    look_at_clients()
    assert Notice.objects.filter(event=NoticeEvent.MISMATCH, is_over=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_way_back_keeps_what_is_on_its_way():
    Notice.objects.create(event=NoticeEvent.MISMATCH, key="1")
    NoticeSwitch.objects.create(event=NoticeEvent.MISMATCH, by_mail=False)

    call_command("migrate", "migration", BEFORE, verbosity=0)

    with connection.cursor() as cursor:
        cursor.execute("SELECT key, digest, number, names FROM migration_notice")
        assert cursor.fetchall() == [("1", "", 1, "[]")]
        cursor.execute("SELECT * FROM migration_noticerule")
        assert cursor.fetchall() == [("mismatch", False, True)]
    call_command("migrate", verbosity=0)
