"""History of a client: its events and its comments, newest first."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.localization import localize
from credentials.models import Client, DatabaseCredential
from migration.clients.history import SHOWN, load_history
from migration.clients.models import ClientComment
from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core.audit import (
    EVENT_KINDS,
    PUSH_EVENT,
    Actor,
    AuditEvent,
    EventKind,
    acting,
)
from migration.core.clients import MOVE_EVENT, MOVED, VIEW_CAMPAIGNS, PlannedChange
from migration.core.comparisons import Resolution
from migration.core.groups import ClientGroup, ClientOwner
from migration.logins.testing import try_typed_login
from migration.models import AuditCheckpoint, Campaign, ClientMigration
from migration.moves.moves import MOVED_MEANWHILE
from migration.pushes.pushes import MOVED_BY_RUN
from migration.pushes.resolutions import record_resolution
from migration.runs.models import Run
from migration.runs.pages import load_run_history
from nova_credentials.messages import Message, in_a_row
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user, request_run, sent_form, update
from tests.migration.clients.page.pages import page
from tests.migration.pages import page_of
from tests.page_forms import pages_left_out

NOTE = Message.from_text_without_key("What came of it.")


def everything(_permission: str) -> bool:
    return True


def told(pk: int, **kwargs) -> list[str]:
    return [
        line.text or localize(line.message)
        for line in load_history(pk, has_permission=everything, **kwargs).lines
    ]


def record(pk: int, text: str, *, days_ago: int | None = None, code: EventKind = PUSH_EVENT):
    """Record an event that says `text`; with `days_ago` one that was carried over."""
    then = None if days_ago is None else timezone.now() - timedelta(days=days_ago)
    event = AuditEvent.make_signed(
        code,
        Message.from_text_without_key(text),
        client_id=pk,
        slug="idom",
        happened_at=then,
    )
    AuditEvent.objects.insert_already_signed([event])
    return event


def record_in(pk: int, correlation: str) -> None:
    with acting(Actor("worker on nova-1", correlation)):
        record(pk, correlation)


def test_each_act_on_the_client_is_told_with_who_and_why(idom):
    maria = make_user("maria")
    ClientMigration.objects.change_phases(
        {idom: PlannedChange(NOTE)}, Phase.POSTGRES, Phase.DUAL_WRITE, by=maria, reason="INC-42"
    )
    record_resolution(
        idom, Resolution.Kind.ACKNOWLEDGE, maria, "Known", NOTE, until=date(2026, 12, 24)
    )
    group = ClientGroup.objects.get_or_add("Food", by=maria)
    group.put_clients(Client.objects.filter(pk=idom), by=maria)
    ClientOwner.objects.set_owner(Client.objects.filter(pk=idom), maria, by=maria)

    lines = load_history(idom, has_permission=everything).lines

    assert [(line.icon, line.who, line.reason) for line in lines] == [
        ("person", "maria", ""),
        ("group_work", "maria", ""),
        ("build", "maria", "Known"),
        ("trending_flat", "maria", "INC-42"),
    ]
    resolution, move = lines[2].message, lines[3].message
    assert resolution.codes == ["resolution_acknowledge_until", ""]
    assert move.codes == [MOVED.key, ""]
    assert str(move).endswith(str(NOTE))


def test_a_move_that_has_a_name_is_called_by_it_and_its_reason_stands_beside_it(viewer, idom):
    line = [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ, Phase.AWS]
    for old, new in [*pairwise(line), (Phase.AWS, Phase.DUAL_READ)]:
        ClientMigration.objects.change_phases({idom: PlannedChange(None)}, old, new, reason="INC-7")

    assert told(idom) == [
        "Rolled back to Dual read.",
        "Cut over to AWS.",
        "Moved from Dual write to Dual read.",
        "Moved from PostgreSQL to Dual write.",
    ]
    assert (
        page(viewer, idom, "history")
        .content.decode()
        .count('<span class="history-reason">INC-7</span>')
        == 4
    )


def test_a_move_that_was_overridden_is_told_once_with_what_was_missing(idom):
    for _ in range(2):
        plan = PlannedChange(overridden=(NOTE,))
        ClientMigration.objects.change_phases(
            {idom: plan}, Phase.POSTGRES, Phase.DUAL_WRITE, reason="INC-7", override_reason="INC-7"
        )
        ClientMigration.objects.filter(pk=idom).update(phase=Phase.POSTGRES)

    lines = load_history(idom, has_permission=everything).lines

    assert [(line.kind, line.reason) for line in lines] == [("Override", "INC-7")] * 2
    assert str(NOTE) in str(lines[0].message)


def test_what_a_campaign_did_is_signed_by_it(idom):
    maria = make_user("maria")
    run = Run.objects.create(
        kind=Run.Kind.MOVE,
        move_from="postgres",
        move_to="dual_write",
        wave=Campaign.objects.create(goal="aws").waves.create(position=1),
    )
    for origin in ("worker on nova-1", "10.0.0.8"):
        with acting(Actor(origin, f"run {run.pk}")):
            AuditEvent.objects.record(PUSH_EVENT, NOTE, by=maria, client_id=idom, slug="idom")

    lines = load_history(idom, has_permission=everything).lines
    assert [line.who for line in lines] == ["maria", str(run.wave.campaign)]
    of_others = load_history(idom, has_permission=lambda each: each != VIEW_CAMPAIGNS).lines
    assert [line.who for line in of_others] == ["maria", "maria"]


def test_a_request_is_told_with_what_it_waits_for_and_what_became_of_it(idom):
    maria, juan = make_user("maria"), make_user("juan")
    run = request_run(idom, by=maria)
    run.record_start(maria, [NOTE])
    why = MOVED_MEANWHILE(phase=Phase.DUAL_WRITE.label)
    for _ in range(2):
        with transaction.atomic():
            Run.objects.close_requests([idom], why, by=juan)

    history = load_history(idom, has_permission=everything)

    failed, asked = history.lines
    assert (asked.who, asked.reason) == ("maria", "INC-42")
    assert str(NOTE) in str(asked.message)
    assert failed.who == "juan"
    assert failed.message.values["why"] == MOVED_MEANWHILE(phase=Phase.DUAL_WRITE.label)
    run.refresh_from_db()
    assert run.state == Run.State.STOPPED
    assert [line.kind for line in load_run_history(run, has_permission=everything)] == [
        failed.kind,
        asked.kind,
    ]
    assert not load_history(idom, has_permission=lambda name: "view_run" not in name).lines


def test_login_tests_are_told_to_who_may_see_all_logins(idom):
    row = DatabaseCredential.objects.get(client_id=idom)
    row.db_host = ""  # can't be tried
    try_typed_login(row, client=row.client, by=make_user("maria"))

    assert len(told(idom)) == 1
    seen = load_history(idom, has_permission=lambda name: not name.endswith("_awscredential"))
    assert seen.lines == []


def test_every_kind_of_a_client_s_events_has_an_icon_of_its_own():
    assert not [kind for kind in EVENT_KINDS.values() if kind.in_history and kind.icon == "info"]


def test_the_newest_is_told_first_and_what_was_carried_over_where_it_happened(viewer, idom):
    ClientComment.objects.create(
        client_id=idom, slug="idom", text="Two", left_at=timezone.now() - timedelta(days=2)
    )
    record(idom, "One", days_ago=1)
    record(idom, "Zero")
    record(idom, "Three", days_ago=3)

    lines = page(viewer, idom, "history").context["history"].lines

    assert told(idom) == ["Zero", "One", "Two", "Three"]
    assert [line.is_carried_over for line in lines] == [False, True, False, True]


def test_what_happened_to_another_client_is_not_told(idom):
    record(make_full_client("other"), "Other")

    assert told(idom) == []


def test_a_renamed_client_keeps_its_history(viewer, idom):
    record(idom, "Before")
    update("clients", idom, slug="idom_two")
    record(idom, "After")

    assert told(idom) == ["After", "Before"]


@pytest.mark.parametrize("every", [3, 50, 2])
def test_a_long_history_is_shown_in_pages_that_hold_each_thing_once(viewer, idom, every):
    """Each `every`th thing is a comment."""
    now = timezone.now()
    for n in reversed(range(45)):
        if n % every == 0:
            ClientComment.objects.create(
                client_id=idom, slug="idom", text=f"{n}", left_at=now - timedelta(days=n)
            )
        else:
            record(idom, f"{n}", days_ago=n)

    pages = [told(idom, page=number) for number in (1, 2, 3, 4)]

    assert [len(found) for found in pages] == [SHOWN, SHOWN, 5, 0]
    assert [text for found in pages for text in found] == [str(n) for n in range(45)]
    with pages_left_out():
        shown = [page(viewer, idom, "history", f"&history={n}") for n in (1, 2, 3)]
    contexts = [each.context_data["history"] for each in shown]
    assert [(each.newer_page, each.older_page) for each in contexts] == [
        (None, 2),
        (1, 3),
        (2, None),
    ]


def test_any_page_of_the_history_is_answered(viewer, idom):
    url = page_of("credentials_client", idom)
    for asked in ("0", "-1", "abc", "", "²", "9999999", "9" * 18, "%"):
        assert viewer.get(url, {"tab": "history", "history": asked}).status_code == 200


def count_queries(idom: int) -> int:
    with CaptureQueriesContext(connection) as found:
        load_history(idom, has_permission=everything)
    return len(found)


def test_it_takes_as_many_queries_with_fifty_events_of_runs_as_with_one(idom):
    run = Run.objects.create(kind=Run.Kind.PUSH)
    record_in(idom, f"run {run.pk}")
    before = count_queries(idom)
    for _n in range(50):
        record_in(idom, f"run {Run.objects.create(kind=Run.Kind.PUSH).pk}")

    assert count_queries(idom) <= before


def test_a_move_says_once_of_which_run_it_was_part(idom):
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    with acting(Actor("", f"run {run.pk}")):
        ClientMigration.objects.change_phase(
            [idom],
            Phase.POSTGRES,
            Phase.DUAL_WRITE,
            note=in_a_row(NOTE, MOVED_BY_RUN(run=run.name_message)),
        )

    (line,) = load_history(idom, has_permission=everything).lines
    (without,) = load_history(idom, has_permission=lambda name: name != "migration.view_run").lines

    assert (line.part_of, line.message.codes) == (str(run), ["moved", NOTE.key])
    assert (without.part_of, without.message.codes[-1]) == ("", MOVED_BY_RUN.key)


def test_a_line_leads_to_its_run_or_campaign_if_that_is_there_and_the_user_may_see_it(idom):
    run = Run.objects.create(kind=Run.Kind.PUSH)
    campaign = Campaign.objects.create(goal="aws")
    for correlation in (f"run {run.pk}", f"campaign {campaign.pk}", "run 999999", "0a1b"):
        record_in(idom, correlation)

    all_links, few_links = (
        [(line.part_of, line.part_of_url) for line in load_history(idom, has_permission=may).lines]
        for may in (everything, lambda name: name != "migration.view_run")
    )

    of_campaign = (str(campaign), page_of("migration_campaign", campaign.pk))
    assert all_links == [
        ("", ""),
        ("", ""),
        of_campaign,
        (str(run), page_of("migration_run", run.pk)),
    ]
    assert few_links == [("", ""), ("", ""), of_campaign, ("", "")]


def test_where_it_came_from_is_for_who_may_view_the_audit(client, idom):
    with acting(Actor("10.0.0.8")):
        event = record(idom, "One")
    for user in (
        make_user("auditor", *VIEW, "migration.view_auditevent"),
        make_user("seer", *VIEW),
    ):
        client.force_login(user)
        content = page(client, idom, "history").content.decode()

        is_auditor = user.username == "auditor"
        assert ("10.0.0.8" in content) == is_auditor
        assert (page_of("migration_auditevent", event.pk) in content) == is_auditor


def test_the_end_of_a_trimmed_history_says_since_when_it_is_whole(viewer, idom):
    for n in range(SHOWN + 1):
        record(idom, str(n))
    assert load_history(idom, has_permission=everything, page=2).whole_since is None
    then = timezone.now()
    AuditCheckpoint.objects.create(position=10**9, made_at=then)

    first, last = (
        page(viewer, idom, "history", f"&history={n}").context["history"] for n in (1, 2)
    )

    assert (first.whole_since, last.whole_since) == (None, then)


def test_who_may_see_no_comparison_is_told_none(client, idom):
    kinds = [kind for kind in EVENT_KINDS.values() if kind.in_history]
    for kind in kinds:
        record(idom, kind, code=kind)
    client.force_login(make_user("narrow", "credentials.view_client"))

    lines = page(client, idom, "history", "&history=1").context["history"].lines

    seen = {str(line.message) for line in lines}
    assert seen == {kind for kind in kinds if not kind.permission}


def test_an_edit_in_the_admin_is_told_without_its_value(root, idom):
    data = sent_form(page(root, idom, "logins").content.decode())
    root.post(
        page_of("credentials_client", idom), data | {"databases-0-db_password": "MARKER-FOUR"}
    )

    (line,) = load_history(idom, has_permission=everything).lines

    assert line.who == "root"
    assert "db_password" in str(line.message)
    assert "MARKER" not in page(root, idom, "history").content.decode()


def test_that_it_left_and_came_back_is_told_with_the_reason(root, idom, stores):
    page_of_leaving = f"/admin/credentials/client/{idom}/leaving/"
    root.post(page_of_leaving, {"act": "deactivate"})
    offboard_client(client_id=idom, reason="CHG-7")
    bring_back_as_inactive(client_id=idom, reason="CHG-8")

    lines = load_history(idom, has_permission=everything).lines

    keys = [(line.message.key, line.reason) for line in lines]
    for key in (
        ("client_deactivated", ""),
        ("offboarding_begun", "CHG-7"),
        ("offboarded", ""),
        ("coming_back", ""),
        ("brought_back", "CHG-8"),
    ):
        assert key in keys, (key, keys)
    assert {line.who for line in lines} == {"root", ""}


def test_what_somebody_typed_is_shown_as_text(viewer, idom):
    typed = "<b>x</b>\nline two"
    ClientComment.objects.create(client_id=idom, slug="idom", text=typed, by=User.objects.get())
    AuditEvent.objects.record(
        MOVE_EVENT, MOVED(old=Phase.AWS.label, new=Phase.DUAL_READ.label),
        client_id=idom, slug="idom", reason=typed,
    )  # fmt: skip

    content = page(viewer, idom, "history").content.decode()

    assert content.count("&lt;b&gt;x&lt;/b&gt;") >= 2
    assert "<b>x</b>" not in content
