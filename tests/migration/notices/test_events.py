"""What is told: each event writes its notice in the transaction in which it becomes true, and once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.models import (
    ClientGroup,
    Comparison,
    Notice,
    NoticeEvent,
    OpenMismatch,
    Rotation,
    RotationOutcome,
    Run,
    all_clients,
)
from migration.models.audit_actors import Actor, acting
from migration.operations import campaign_steps, runs, skipped_items
from migration.operations.approvals import approve_request, cancel_request, request_move
from migration.operations.aws_writes import start_aws_writes, stop_aws_writes
from migration.operations.campaigns import approve_campaign, cancel_campaign, start_campaign
from migration.operations.comparisons import compare
from migration.operations.copy_search import search_copies
from migration.operations.notice_sending import hand_out_ready_notices
from migration.operations.run_approvals import approve_run, cancel_run_request, start_move_run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_full_client, make_user
from tests.migration.admin.pages import DIFFERENT, EXTRA
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.django_db


def told(event: NoticeEvent) -> list[str]:
    """What is told of the event, oldest first, once everything has waited for what is told with it."""
    waiting = Notice.objects.filter(handed_out_at=None)
    waiting.update(created_at=timezone.now() - timedelta(minutes=11))
    hand_out_ready_notices()
    found = Notice.objects.filter(event=event).order_by("pk")
    return [str(notice.message) for notice in found]


def find(event: NoticeEvent) -> Notice:
    return Notice.objects.get(event=event)


def test_mismatches_of_a_run_are_one_digest_with_the_first_names():
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    rows = []
    for number in range(8):
        pk = make_client(f"client-{number}")
        rows.append(
            Comparison(
                client_id=pk, slug=f"client-{number}", run=run, status="mismatch",
                mismatches=[DIFFERENT, EXTRA],
            )
        )  # fmt: skip
    Comparison.objects.record(rows[:2])
    Comparison.objects.record(rows[2:])
    hand_out_ready_notices()
    assert not Notice.objects.filter(handed_out_at__isnull=False).exists()  # the run goes on

    run.finish_if_done()
    assert hand_out_ready_notices() == 1

    assert told(NoticeEvent.MISMATCH) == [
        (
            f"Run {run.pk} found that 16 more fields differ between PostgreSQL and AWS."
            " Clients: client-0, client-1, client-2, client-3, client-4, …"
        )
    ]


def test_a_run_that_takes_long_keeps_nobody_waiting_and_its_rest_is_another_digest():
    run, one, two = (
        Run.objects.create(kind=Run.Kind.COMPARE),
        make_client("one"),
        make_client("two"),
    )
    make_comparison(one, "mismatch", mismatches=[DIFFERENT], run=run, slug="one")
    assert hand_out_ready_notices() == 0
    assert len(told(NoticeEvent.MISMATCH)) == 1

    make_comparison(two, "mismatch", mismatches=[DIFFERENT], run=run, slug="two")

    assert [text[-11:] for text in told(NoticeEvent.MISMATCH)] == ["Client: one", "Client: two"]


def test_what_differs_still_is_not_told_again_and_what_differs_anew_is():
    pk = make_client("idom")
    for fields in ([DIFFERENT], [DIFFERENT], [DIFFERENT, EXTRA]):
        make_comparison(pk, "mismatch", mismatches=fields, slug="idom")
    make_comparison(pk, "match")
    make_comparison(pk, "missing_in_aws", slug="idom")

    # Of no run: what happens at the same time is told together.
    assert told(NoticeEvent.MISMATCH) == [
        "3 more fields differ between PostgreSQL and AWS. Clients: idom"
    ]
    assert OpenMismatch.objects.count() == 1


def test_a_comparison_that_is_undone_tells_nothing():
    pk = make_client("idom")

    with transaction.atomic():
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
        transaction.set_rollback(True)

    assert not Notice.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_digest_of_a_run():
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    for number in range(20):
        fields = {"run": run, "slug": f"client-{number}", "mismatches": [DIFFERENT]}
        make_comparison(make_client(f"client-{number}"), "mismatch", **fields)
    run.finish_if_done()

    def work(_):
        try:
            return hand_out_ready_notices()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(work, range(4))) == [0, 0, 0, 1]

    assert find(NoticeEvent.MISMATCH).number == 20


def test_a_batch_without_a_new_mismatch_makes_no_further_statement():
    def record(status, *fields):
        rows = [
            Comparison(client_id=pk, slug="x", status=status, mismatches=list(fields)) for pk in pks
        ]
        with CaptureQueriesContext(connection) as queries:
            Comparison.objects.record(rows)
        return len(queries)

    pks = [make_client(f"client-{number}") for number in range(3)]
    without = record("match")

    assert record("mismatch", DIFFERENT) == without + 1
    assert record("mismatch", DIFFERENT) == without


def test_the_end_of_a_run_is_told_but_not_of_the_schedules(stores):
    make_full_client("idom")
    make_full_client("a b")
    ana = make_user("ana")
    runs.finish_inline(Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()))
    assert told(NoticeEvent.RUN_ENDED) == []

    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=ana)
    runs.finish_inline(run)
    run.finish_if_done()

    assert told(NoticeEvent.RUN_ENDED) == [
        f"{run} has finished: 2 clients, 1 failed, 0 refused, 0 differ."
    ]


def test_a_run_that_was_stopped_says_what_it_left(stores):
    make_full_client("idom")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=make_user("ana"))
    run.stop(by=None)
    skipped_items.skip_free_items_of_stopped_run(run)

    assert told(NoticeEvent.RUN_ENDED) == [
        f"{run} was stopped: one client, 1 not begun, 0 failed, 0 refused, 0 differs."
    ]


@pytest.fixture
def two_people(stores, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    rights = ("migration.move_client", "migration.approve_move")
    return make_user("maria", *rights), make_user("ana", *rights)


def test_the_requester_of_a_move_hears_what_was_decided(two_people):
    maria, ana = two_people
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    compare(client_ids=[pk])

    request = request_move(client_id=pk, new=Phase.AWS, by=maria, reason="INC-42")
    cancel_request(request_id=request.pk, by=maria)  # her own act is no news to her
    assert find(NoticeEvent.APPROVAL_DECIDED).recipient is None
    Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED).delete()

    request = request_move(client_id=pk, new=Phase.AWS, by=maria, reason="INC-42")
    approve_request(request_id=request.pk, by=ana)

    assert (
        told(NoticeEvent.APPROVAL_WANTED)
        == ["maria, client idom: Requested the move from Dual read to AWS (cut over)."] * 2
    )
    decided = find(NoticeEvent.APPROVAL_DECIDED)
    assert str(decided.message).startswith("ana, client idom: Approved what maria requested")
    assert decided.recipient == maria
    assert "INC-42" not in str(Notice.objects.values_list("facts"))


def test_the_requester_of_a_run_of_moves_hears_what_was_decided(two_people):
    maria, ana = two_people
    enter_phase(make_full_client("idom"), Phase.DUAL_READ)
    options = {"old": Phase.DUAL_READ, "new": Phase.AWS, "by": maria, "reason": "INC-42"}

    run = start_move_run(chosen=all_clients(), **options)
    approve_run(run_id=run.pk, by=ana)
    other = start_move_run(chosen=all_clients(), **options)
    cancel_run_request(run_id=other.pk, by=ana)

    assert len(told(NoticeEvent.APPROVAL_WANTED)) == 2
    decided = Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED)
    assert [notice.recipient for notice in decided] == [maria, maria]
    approved, cancelled = told(NoticeEvent.APPROVAL_DECIDED)
    assert approved.startswith("ana: ")
    assert cancelled.startswith("ana: ")


def test_a_run_that_goes_on_and_waits_for_approval_again_tells_so(two_people):
    maria, ana = two_people
    enter_phase(make_full_client("idom"), Phase.DUAL_READ)
    run = start_move_run(
        chosen=all_clients(), old=Phase.DUAL_READ, new=Phase.AWS, by=maria, reason="INC-42"
    )
    approve_run(run_id=run.pk, by=ana)
    run.refresh_from_db()
    run.stop(by=maria)
    skipped_items.skip_free_items_of_stopped_run(run)
    run.refresh_from_db()

    run.reopen_never_begun(by=maria)

    assert len(told(NoticeEvent.APPROVAL_WANTED)) == 2


def test_a_campaign_tells_that_it_wants_approval_and_what_was_decided(two_people):
    maria, ana = two_people
    group = ClientGroup.objects.get_or_add("wave 1")
    pk = make_full_client("idom")
    group.put_clients(all_clients().filter(pk=pk))
    options = {"groups": [group], "goal": Phase.AWS, "by": maria, "reason": "INC-42"}

    first = start_campaign(**options)
    cancel_campaign(first, by=ana, only_requested=True)
    second = start_campaign(**options)
    approve_campaign(campaign_id=second.pk, by=ana)

    assert len(told(NoticeEvent.APPROVAL_WANTED)) == 2
    decided = Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED)
    assert [notice.recipient for notice in decided] == [maria, maria]


def test_a_campaign_that_stops_by_its_rule_is_told(stores, monkeypatch):
    group = ClientGroup.objects.get_or_add("wave 1")
    pk = make_full_client("idom")
    group.put_clients(all_clients().filter(pk=pk))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_READ, most_refused=1)
    run = campaign_steps.advance_campaign(campaign.pk)
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT], run=run)
    run.items.update(outcome="refused", finished_at=timezone.now())

    campaign_steps.advance_campaign(campaign.pk)
    campaign_steps.advance_campaign(campaign.pk)

    campaign.refresh_from_db()
    assert campaign.state == "stopped"
    (text,) = told(NoticeEvent.WAVE_STOPPED)
    assert "wave 1" in text


def test_stopped_writes_are_told_without_the_reason_that_was_typed(stores):
    stop_aws_writes(reason="example-typed", by=make_user("ana"))
    start_aws_writes()
    start_aws_writes()

    stopped, started = told(NoticeEvent.WRITES_STOPPED)
    assert stopped.startswith("ana: Stopped")
    assert "example-typed" not in stopped + started


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (RotationOutcome.ROTATED, []),
        (RotationOutcome.REFUSED, ["A rotation failed, and changed nothing: idom"]),
        (
            RotationOutcome.STOPPED,
            ["A rotation stopped, and somebody has to look which secret is valid: idom"],
        ),
    ],
)
def test_a_rotation_that_failed_is_told(outcome, words):
    rotation = Rotation.objects.create(
        client_id=make_client("idom"), slug="idom", credential_type="database"
    )

    rotation.end(outcome)

    assert told(NoticeEvent.ROTATION_FAILED) == words


def test_the_rotations_of_a_run_are_one_digest():
    run = Run.objects.create(kind=Run.Kind.ROTATE)
    with acting(Actor("worker on host", f"run {run.pk}")):
        for slug in ("one", "two"):
            pk = make_client(slug)
            rotation = Rotation.objects.create(client_id=pk, slug=slug, credential_type="database")
            rotation.end(RotationOutcome.STOPPED)

    assert len(told(NoticeEvent.ROTATION_FAILED)) == 1
    notice = find(NoticeEvent.ROTATION_FAILED)
    assert (notice.run_id, notice.number, notice.names) == (run.pk, 2, ["one", "two"])


def test_copies_that_a_search_found_are_told(stores):
    pk = make_full_client("idom")
    password = all_clients().get().databases.get(label=None).db_password
    make_client("note", name=f"note: {password}")

    search_copies(client_ids=[pk])

    (text,) = told(NoticeEvent.COPIES_FOUND)
    assert "idom" in text
    assert password not in str(Notice.objects.values_list("names", "facts"))
