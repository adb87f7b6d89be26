"""What one webhook, one notice or one look does keeps no other notice from getting there."""

from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest

from migration import tasks
from migration.core import problems
from migration.core.notices import ClientCondition, DeliveryState, NoticeEvent
from migration.core.problems import PROBLEMS, report_ok
from migration.models import Condition, Notice, NoticeDelivery
from migration.site import notices
from migration.site.notices import NOTICE_TEST, look_at_clients, read_retry_after
from nova_admin.environment import NotifySettings
from tests.factories import make_client, make_comparison
from tests.migration.pages import DIFFERENT
from tests.migration.site.notices.conftest import TEAM, send_now
from tests.migration.site.notices.sinks import WebhookSink, opened
from tests.migration.site.notices.test_sending import record

DIGITS = "9" * 20


@pytest.fixture
def outbox(transactional_db):
    """Real transactions."""


@pytest.mark.parametrize(
    "asked",
    [
        f"Mon, 01 Jan {DIGITS} 00:00:00 GMT",
        f"Mon, 01 Jan 2030 00:00:00 +{DIGITS}",
        f"Mon, {DIGITS} Jan 2030 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "²",
        "-1",
    ],
)
def test_no_retry_after_stops_the_site(asked):
    assert read_retry_after(asked) == 0


def test_a_defect_of_one_delivery_keeps_no_other_waiting(
    outbox, webhook, mailbox, settings, monkeypatch, caplog
):
    with opened(WebhookSink()) as other:
        settings.NOVA_NOTIFY = NotifySettings(
            (other.url, webhook.url), (TEAM,), loopback_allowed=True
        )
        post = notices.post_json

        def fail(*, url, **more):
            if url == other.url:
                raise RuntimeError("example-words")
            return post(url=url, **more)

        monkeypatch.setattr(notices, "post_json", fail)
        record("1")
        record("2")
        send_now()

    assert (len(webhook.taken), len(mailbox.mails)) == (2, 2)
    failed = NoticeDelivery.objects.get(tries=1, state=DeliveryState.WAITING)
    assert failed.outcome
    assert "RuntimeError" in caplog.text
    assert "example-words" not in caplog.text


def test_a_problem_whose_look_fails_keeps_no_other_from_being_told(
    outbox, webhook_alone, webhook, monkeypatch, caplog
):
    def fail(_look):
        raise RuntimeError("example-words")

    for code in ("duplicate", "writes_uncounted"):
        monkeypatch.setitem(PROBLEMS, code, replace(PROBLEMS[code], find=fail))
    make_comparison(make_client("idom"), "unchecked", error_class="unavailable")

    tasks.send_notices()

    assert "AWS does not answer" in " ".join(webhook.taken)
    assert "duplicate was not looked for: RuntimeError" in caplog.text
    assert "example-words" not in caplog.text


def test_a_look_that_takes_long_keeps_no_notice_waiting_and_what_it_left_comes_first_then(
    outbox, webhook_alone, webhook, monkeypatch
):
    looked = []
    for each in PROBLEMS.values():

        def find(_look, code=each.code):
            looked.append(code)
            return [report_ok(NOTICE_TEST(who="ana"))]

        monkeypatch.setitem(PROBLEMS, each.code, replace(each, find=find))
    many = len(
        [each for each in PROBLEMS.values() if notices.is_quick(each) and not each.of_process]
    )
    monkeypatch.setattr(problems, "time", SimpleNamespace(monotonic=count(0, 10).__next__))
    record()

    tasks.send_notices()
    assert len(looked) == 2
    assert len(webhook.taken) == 1
    while len(looked) < many:
        tasks.send_notices()

    assert len({*looked}) == many


def test_a_look_that_fails_as_a_whole_keeps_no_notice_from_being_sent(
    outbox, webhook_alone, webhook, monkeypatch
):
    def fail(**_):
        raise RuntimeError

    monkeypatch.setattr("migration.site.notices.look_at_problems", fail)
    record()

    with pytest.raises(RuntimeError):
        tasks.send_notices()

    assert len(webhook.taken) == 1


def test_a_look_at_clients_that_fails_keeps_no_other_from_being_told(outbox, monkeypatch, caplog):
    def fail():
        raise RuntimeError("example-words")

    broken = ClientCondition("example", NoticeEvent.MISMATCH, fail, NOTICE_TEST)
    first = replace(PROBLEMS["duplicate"], told_by_client=(broken,))
    monkeypatch.setattr(notices, "PROBLEMS", {"duplicate": first} | PROBLEMS | {"duplicate": first})
    make_comparison(make_client("idom"), "mismatch", mismatches=[DIFFERENT])

    look_at_clients()

    assert Notice.objects.filter(event=NoticeEvent.MISMATCH).count() == 1
    assert "example was not looked for: RuntimeError" in caplog.text
    assert "example-words" not in caplog.text


def test_what_others_wrote_among_the_conditions_of_clients_stops_no_look(outbox):
    make_comparison(make_client("idom"), "mismatch", mismatches=[DIFFERENT])
    for subject in ("", ":", "x:1", "99999999999999999999:1", "-1", "\u0663:1"):
        Condition.objects.create(event="mismatch", subject=subject)

    look_at_clients()

    (notice,) = Notice.objects.filter(event=NoticeEvent.MISMATCH)
    assert str(notice.facts).endswith("Client: idom")
    assert Condition.objects.filter(event="mismatch").count() == 1
