"""Rows that NOVA's role could have the site write into the site's own tables: pages show them, or nothing of them."""

import json
from itertools import product

import pytest
from django.db import connection

from migration.core import problems
from migration.core.audit import Actor, AuditEvent, acting
from migration.core.clients import MOVE_EVENT, MOVED
from migration.core.notices import NoticeEvent
from migration.core.problems import (
    MOST_COUNTED,
    Area,
    Finder,
    FindingState,
    Look,
    ProblemRecord,
    list_results,
    look_at_problems,
    problem,
    report_failure,
    report_ok,
)
from migration.models import Condition, Notice
from nova_credentials.messages import Message
from tests.factories import make_full_client
from tests.migration.pages import make_run, run_page

DEEP = '{"key": "in_a_row", "text": "x", "values": {"sentences": {"message": '


def nest(times: int) -> str:
    return DEEP * times + "7" + "}}}" * times


@pytest.mark.parametrize(
    "facts",
    [
        *("7", "[]", '"text"', "{}", "[[[]]]", '{"key": 1, "values": [], "text": {}}'),
        *(
            f'{{"key": "x", "text": "x", "values": {{"n": {"9" * 5000}}}}}',
            '{"values": {"n": null}}',
        ),
        '{"key": "is_over", "text": "%(x)s {x.__class__}", "values": {"ago": {"time": "soon"}, "what": [[]]}}',
        '{"key": "is_over", "text": "x", "values": {"ago": {"date": "2020-01-01"}, "what": {"message": 7}}}',
        *(nest(30), nest(400), nest(1500)),
    ],
    ids=lambda facts: facts[:20],
)
def test_a_stored_message_that_is_none_of_ours_is_shown_and_breaks_nothing(db, facts):
    Condition.objects.create(event=NoticeEvent.AWS_GONE, subject="aws")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nova_admin.migration_condition SET facts = %s::jsonb", [facts])

    shown = Condition.objects.get().facts

    assert isinstance(str(shown), str)
    assert "__class__" not in str(shown) or "{x.__class__}" in str(shown)
    assert isinstance(shown.codes, list)


FACTS = [
    *("[7]", "[", "", "{x}", "7", '{"key": 1, "values": [], "text": {}}'),
    '{"key": "moved", "values": {"old": "{0.__class__}", "new": "<b>x</b>"}, "text": "x"}',
    '{"key": "moved", "values": {"old": 7, "new": [[]]}, "text": "x"}',
    '{"key": "run_steered", "values": {"run": "x", "state": {"message": 7}}, "text": "x"}',
    *(nest(30), nest(1500), "[" * 100_000),
]


def test_events_that_this_site_did_not_record_are_shown_and_break_no_history(client, admin_user):
    pk, run = make_full_client("idom"), make_run(1)
    client.force_login(admin_user)
    for about, correlation in (({"client_id": pk, "slug": "idom"}, "x"), ({}, f"run {run.pk}")):
        for facts in FACTS:
            with acting(Actor("10.0.0.8", correlation)):
                event = AuditEvent.make_signed(MOVE_EVENT, MOVED(old="x", new="y"), **about)
            event.facts = facts
            AuditEvent.objects.insert_already_signed([event])

    for page in (f"/admin/credentials/client/{pk}/change/?tab=history", run_page(run)):
        response = client.get(page)

        assert response.status_code == 200
        assert response.content.count(b"{0.__class__}") == 1  # they are there
        assert "&lt;class" not in response.content.decode()
        assert "<b>x</b>" not in response.content.decode()


WELL = {
    "state": "ok",
    "message": {"key": "", "values": {}, "text": "x"},
    "remedy": None,
    "count": 1,
}


class Example:
    """The only problem that the site knows; it is there or not."""

    is_there = True


@pytest.fixture(params=[Finder.WORKER, Finder.DOCTOR])
def example(request, monkeypatch, db):
    monkeypatch.setattr(problems, "PROBLEMS", {})
    example, message = Example(), Message.from_text_without_key("Example")

    @problem("example", "Example", Area.NOVA, found_by=request.param)
    def find_example(_look):
        yield report_failure(message) if example.is_there else report_ok(message)

    return example


def plant(**columns: object) -> None:
    ProblemRecord.objects.create(code="example")
    with connection.cursor() as cursor:
        for column, value in columns.items():
            cursor.execute(f"UPDATE nova_admin.migration_problemrecord SET {column} = %s", [value])


def forget_problems() -> None:
    ProblemRecord.objects.all().delete()
    Notice.objects.all().delete()


@pytest.mark.parametrize(
    "findings",
    [
        *("7", "{}", '"text"', "[7, null, [], {}]", "[[[]]]", nest(1500), f"[{'9' * 5000}]"),
        '[{"state": "worse", "message": {}, "remedy": null, "count": 1}]',
        '[{"state": {}, "message": {}, "remedy": [], "count": 1}]',
        *(
            f'[{{"state": "failed", "message": {{}}, "remedy": null, "count": {count}}}]'
            for count in ("1e308", "1e3000", "-1", "null", '"x"', "[]")
        ),
    ],
    ids=lambda findings: findings[:30],
)
def test_findings_that_no_look_stored_are_not_shown(example, findings):
    plant(findings=findings)

    (result,) = list_results(Look())

    assert (result.findings, result.count) == ((), 0)
    assert result.state == FindingState.NOT_LOOKED_AT
    look_at_problems()
    assert list_results(Look())[0].is_open


def test_a_statement_that_another_role_stored_is_handed_to_nobody(example):
    plant(findings=json.dumps([WELL | {"state": "failed", "statements": ["GRANT ALL"]}]))

    (result,) = list_results(Look())

    assert [found.statements for found in result.failed] == [()]
    assert result.count <= MOST_COUNTED


TIMES = ("infinity", "-infinity", "9999-12-31T00:00Z", "0044-03-15 BC")


def test_no_time_keeps_a_problem_from_being_looked_for_and_told(example):
    columns = ("looked_at", "claimed_until", "began_at", "failed_at")
    for column, time in product(columns, TIMES):
        forget_problems()
        plant(**{column: time}, told=True)

        list_results(Look())
        look_at_problems()

        assert ProblemRecord.objects.get().findings, (column, time)
        was_told = column == "began_at"  # as any row says it that the site itself wrote
        notices = Notice.objects.filter(event=NoticeEvent.PROBLEM)
        assert notices.exists() != was_told, (column, time)


def test_what_was_never_told_is_over_without_harm(example):
    example.is_there = False
    texts = (None, "[]", '{"key": 1, "values": [], "text": {}}', nest(1500))
    for time, facts in product(TIMES, texts):
        forget_problems()
        plant(began_at=time, failed_at=time, told=True, facts=facts)

        for _ in range(2):
            look_at_problems()
            ProblemRecord.objects.update(looked_at=None)

        assert all(str(notice.facts) is not None for notice in Notice.objects.all())


def test_codes_that_this_release_does_not_know_are_left_alone(example):
    for code in ("", "other", "x" * 50, "%s", "../x"):
        ProblemRecord.objects.create(code=code, findings=[WELL | {"state": "failed"}])

    assert [result.problem.code for result in list_results(Look())] == ["example"]
    look_at_problems()

    assert ProblemRecord.objects.count() == 6
