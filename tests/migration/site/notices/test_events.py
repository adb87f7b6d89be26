"""What is told: acts in the transaction in which they become true, and what holds for clients by a look."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.models import Client
from migration.campaigns import steps
from migration.campaigns.steps import approve_campaign, cancel_campaign, start_campaign
from migration.core.aws_writes import start_aws_writes, stop_aws_writes
from migration.core.clients import all_clients
from migration.core.notices import NoticeEvent
from migration.logins.models import RotationOutcome
from migration.models import (
    ClientGroup,
    ClientMigration,
    Comparison,
    Notice,
    OpenMismatch,
    Rotation,
)
from migration.moves.approvals import (
    approve_run,
    cancel_run_request,
    request_move,
    start_move_run,
)
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.models import Run
from migration.secrets.copies import search_copies
from migration.site.notices import look_at_clients
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_full_client, make_user
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import DIFFERENT, EXTRA
from tests.migration.site.notices.conftest import let_differences_last

pytestmark = pytest.mark.django_db


def told(event: NoticeEvent) -> list[str]:
    """What is told of the event, oldest first."""
    found = Notice.objects.filter(event=event).order_by("pk")
    return [str(notice.facts) for notice in found]


def find(event: NoticeEvent) -> Notice:
    return Notice.objects.get(event=event)


def test_mismatches_that_a_look_finds_are_one_notice_with_the_first_names():
    for number in range(8):
        pk, slug = make_client(f"client-{number}"), f"client-{number}"
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT, EXTRA], slug=slug)
    for _ in range(2):
        look_at_clients()

    assert told(NoticeEvent.MISMATCH) == [
        (
            "16 more fields differ between PostgreSQL and AWS."
            " Clients: client-0, client-1, client-2, client-3, client-4, …"
        )
    ]


def test_what_differs_still_is_not_told_again_and_what_differs_anew_is():
    pk = make_client("idom")
    for fields in ([DIFFERENT], [DIFFERENT], [DIFFERENT, EXTRA]):
        make_comparison(pk, "mismatch", mismatches=fields, slug="idom")
        look_at_clients()
    make_comparison(pk, "mismatch", mismatches=[EXTRA], slug="idom")
    look_at_clients()  # it differs still
    make_comparison(pk, "match")
    for _ in range(2):
        look_at_clients()
    make_comparison(pk, "missing_in_aws", slug="idom")
    look_at_clients()

    opened = "One more field differs between PostgreSQL and AWS. Client: idom"
    over = "This is over for one client: idom"
    assert told(NoticeEvent.MISMATCH) == [opened, opened, over, opened]
    is_over = Notice.objects.order_by("pk").values_list("is_over", flat=True)
    assert list(is_over) == [False, False, True, False]
    assert OpenMismatch.objects.count() == 1


@pytest.mark.parametrize("is_refused", [False, True])
def test_what_differs_while_novas_write_is_on_its_way_is_told_once_it_stays_or_is_refused(
    is_refused,
):
    pk = make_full_client("idom")
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    written = all_clients().push_due().get()
    if is_refused:
        ClientMigration.objects.filter(pk=pk).update(refused_revision=written.revision)
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT], slug="idom")
    look_at_clients()
    assert len(told(NoticeEvent.MISMATCH)) == is_refused

    let_differences_last()
    for _ in range(2):
        look_at_clients()
    assert len(told(NoticeEvent.MISMATCH)) == 1


def test_clients_that_nova_deleted_are_not_told():
    pk = make_client("idom")
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pk])
    look_at_clients()
    OpenMismatch.objects.forget_gone_clients()
    look_at_clients()

    assert told(NoticeEvent.MISMATCH) == []


def test_a_comparison_that_is_undone_tells_nothing():
    pk = make_client("idom")

    with transaction.atomic():
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
        transaction.set_rollback(True)
    look_at_clients()

    assert not Notice.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_tell_once_what_began_and_what_is_over():
    def look(_):
        try:
            look_at_clients()
        finally:
            connection.close()

    pks = [make_client(f"client-{number}") for number in range(20)]
    for status in ("mismatch", "match"):
        for pk in pks:
            make_comparison(pk, status, mismatches=[DIFFERENT] if status == "mismatch" else [])
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(look, range(4)))

    began, over = told(NoticeEvent.MISMATCH)
    assert began.startswith("20 more fields differ")
    assert over.startswith("This is over for 20 clients")


def test_a_new_mismatch_takes_a_comparison_no_further_statement_but_that_of_its_event():
    def record(status, *fields):
        rows = [
            Comparison(client_id=pk, slug="x", status=status, mismatches=list(fields)) for pk in pks
        ]
        with CaptureQueriesContext(connection) as queries:
            Comparison.objects.record(rows)
        return len(queries)

    pks = [make_client(f"client-{number}") for number in range(3)]

    assert record("match") + 1 == record("mismatch", DIFFERENT)


def test_looks_take_as_many_statements_for_many_clients():
    def look():
        with CaptureQueriesContext(connection) as queries:
            look_at_clients()
        return len(queries)

    for pk in (make_client(f"client-{number}") for number in range(50)):
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
    many = look()
    make_comparison(make_client("one"), "mismatch", mismatches=[DIFFERENT])

    assert look() == many


def test_the_end_of_a_run_is_told_but_not_of_the_schedules(stores):
    make_full_client("idom")
    make_full_client("a b")
    ana = make_user("ana")
    engine.finish_inline(Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()))
    assert told(NoticeEvent.RUN_ENDED) == []

    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=ana)
    engine.finish_inline(run)
    run.finish_if_done()

    assert told(NoticeEvent.RUN_ENDED) == [
        f"{run} finished: 2 clients, 1 failed, 0 refused, 0 mismatched."
    ]


def test_a_run_that_was_stopped_says_what_it_left(stores):
    make_full_client("idom")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=make_user("ana"))
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)

    assert told(NoticeEvent.RUN_ENDED) == [
        f"{run} was stopped: 1 client, 1 not started, 0 failed, 0 refused, 0 mismatched."
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

    request = request_move(client_id=pk, new=Phase.AWS, by=maria, reason="INC-42").run
    cancel_run_request(run_id=request.pk, by=maria)  # her own act is no news to her
    assert find(NoticeEvent.APPROVAL_DECIDED).recipient is None
    Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED).delete()

    request = request_move(client_id=pk, new=Phase.AWS, by=maria, reason="INC-42").run
    approve_run(run_id=request.pk, by=ana)

    for said in told(NoticeEvent.APPROVAL_WANTED):
        assert said.startswith("maria, client idom: Requested Move")
    decided = find(NoticeEvent.APPROVAL_DECIDED)
    assert str(decided.facts).startswith("ana, client idom: Approved Move")
    assert decided.recipient == maria
    assert "INC-42" not in str(Notice.objects.values_list("facts"))


def test_the_requester_of_a_run_of_moves_hears_what_was_decided(two_people):
    maria, ana = two_people
    for slug in ("idom", "other"):
        enter_phase(make_full_client(slug), Phase.DUAL_READ)
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
    for slug in ("idom", "other"):
        enter_phase(make_full_client(slug), Phase.DUAL_READ)
    run = start_move_run(
        chosen=all_clients(), old=Phase.DUAL_READ, new=Phase.AWS, by=maria, reason="INC-42"
    )
    approve_run(run_id=run.pk, by=ana)
    run.refresh_from_db()
    run.stop(by=maria)
    engine.skip_free_items_of_stopped_run(run)
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
    approve_campaign(second, by=ana)

    assert len(told(NoticeEvent.APPROVAL_WANTED)) == 2
    decided = Notice.objects.filter(event=NoticeEvent.APPROVAL_DECIDED)
    assert [notice.recipient for notice in decided] == [maria, maria]


def test_a_campaign_that_stops_by_its_rule_is_told(stores, monkeypatch):
    group = ClientGroup.objects.get_or_add("wave 1")
    pk = make_full_client("idom")
    group.put_clients(all_clients().filter(pk=pk))
    campaign = start_campaign(groups=[group], goal=Phase.DUAL_READ, most_refused=1)
    run = steps.advance_campaign(campaign.pk)
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT], run=run)
    run.items.update(outcome="refused", finished_at=timezone.now())

    steps.advance_campaign(campaign.pk)
    steps.advance_campaign(campaign.pk)

    campaign.refresh_from_db()
    assert campaign.state == "stopped"
    (text,) = told(NoticeEvent.WAVE_STOPPED)
    assert "wave 1" in text

    campaign.go_on(by=make_user("ana"))
    campaign.stop(by=None)
    campaign.cancel(by=None)

    _, over = Notice.objects.filter(event=NoticeEvent.WAVE_STOPPED).order_by("pk")
    assert over.is_over
    assert str(over.facts).startswith("ana: ")


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
        (RotationOutcome.REFUSED, ["A rotation failed and changed nothing: idom"]),
        (
            RotationOutcome.STOPPED,
            ["A rotation stopped. Check which secret works: idom"],
        ),
    ],
)
def test_a_rotation_that_failed_is_told(outcome, words):
    rotation = Rotation.objects.create(
        client_id=make_client("idom"), slug="idom", credential_type="database"
    )

    rotation.end(outcome)
    for _ in range(2):
        look_at_clients()

    assert told(NoticeEvent.ROTATION_FAILED) == words


def rotate(pk: int, outcome: RotationOutcome, *, label: str | None = None) -> None:
    rotation = Rotation.objects.create(
        client_id=pk, slug="idom", credential_type="database", label=label
    )
    look_at_clients()  # what is not finished tells nothing
    rotation.end(outcome)
    look_at_clients()


def test_a_rotation_that_failed_is_over_once_one_of_the_same_login_ends_well():
    pk = make_client("idom")
    rotate(pk, RotationOutcome.STOPPED)
    rotate(pk, RotationOutcome.ROTATED, label="archive")
    assert len(told(NoticeEvent.ROTATION_FAILED)) == 1
    rotate(pk, RotationOutcome.ROTATED)

    assert told(NoticeEvent.ROTATION_FAILED)[1:] == ["This is over for one client: idom"]


def test_rotations_that_fail_again_are_told_again_and_not_as_over():
    pk = make_client("idom")
    for _ in range(2):
        rotate(pk, RotationOutcome.REFUSED)

    text = "A rotation failed and changed nothing: idom"
    assert told(NoticeEvent.ROTATION_FAILED) == [text, text]


def test_copies_that_a_search_found_are_told(stores):
    pk = make_full_client("idom")
    password = all_clients().get().databases.get(label=None).db_password
    make_client("note", name=f"note: {password}")

    for _ in range(2):
        search_copies(client_ids=[pk])
        look_at_clients()

    (text,) = told(NoticeEvent.COPIES_FOUND)
    assert "idom" in text
    assert password not in str(Notice.objects.values_list("facts"))
    Client.objects.filter(slug="note").update(name="note")
    search_copies(client_ids=[pk])
    look_at_clients()
    assert told(NoticeEvent.COPIES_FOUND)[1:] == ["This is over for one client: idom"]
