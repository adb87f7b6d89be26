"""The page of a run."""

from html import unescape

from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from credentials.localization import localize
from migration.core.audit import PUSH_EVENT, RUN_EVENT, Actor, AuditEvent, acting, first_id_at
from migration.core.clients import all_clients
from migration.core.histories import HistoryLine
from migration.models import AuditCheckpoint, Campaign, ClientMigration, Comparison, RunItem, Wave
from migration.moves.approvals import approve_run
from migration.pushes.pushes import NOT_PUSHED_INACTIVE
from migration.runs.items import Outcome
from migration.runs.models import MOVES_STARTED, RUN_STARTED, PlannedMoves, Run
from migration.runs.pages import load_run_history
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.explained import count_rows_read
from tests.factories import make_full_client
from tests.migration.pages import close, make_run, run_page, text
from tests.page_forms import pages_left_out


def read(browser, run: Run, query: str = "") -> dict:
    """Return what the page is given; the page itself is not made."""
    with pages_left_out():
        return browser.get(run_page(run) + query).context_data


def count_tabs(context) -> dict[str, int]:
    return {tab["key"]: tab["count"] for tab in context["tabs"]}


def test_a_run_under_way_says_how_far_it_is_what_failed_and_how_many_wait(viewer):
    run = make_run(4, by=User.objects.get())
    assert count_tabs(read(viewer, run, "?items=waiting")) == {"all": 4, "waiting": 4, "failed": 0}
    close(run, 1, Outcome.CREATED, comparison_status="match")
    close(
        run,
        1,
        Outcome.FAILED,
        error_class="throttled",
        message=Message.from_text_without_key("AWS limits the rate."),
    )

    response = viewer.get(run_page(run))

    words = text(response)
    assert "2 of 4 clients" in words
    assert "Running" in words
    assert "1 failed" in words
    assert "Throttled by AWS: AWS limits the rate." in words
    assert "by viewer" in words
    assert count_tabs(response.context) == {"all": 4, "waiting": 2, "failed": 1, "done": 1}


def test_a_run_that_stands_still_says_how_to_start_a_worker(viewer):
    long_ago = timezone.now() - timezone.timedelta(hours=1)
    run = make_run(1, created_at=long_ago, worked_at=long_ago)
    fresh = make_run(1)

    assert "manage.py qcluster" in text(viewer.get(run_page(run)))
    assert "manage.py qcluster" not in text(viewer.get(run_page(fresh)))


def test_a_finished_run_says_so_and_every_tab_holds_its_count(viewer):
    run = make_run(7)
    close(run, 1, Outcome.CREATED, comparison_status="match")
    close(run, 1, Outcome.COMPARED, comparison_status="mismatch")
    close(run, 1, Outcome.COMPARED, comparison_status="missing_in_aws")
    close(
        run,
        2,
        Outcome.FAILED,
        error_class="data",
        message=Message.from_text_without_key("Two rows are primary."),
    )
    close(run, 1, Outcome.SKIPPED, message=NOT_PUSHED_INACTIVE())
    close(run, 1, Outcome.UNCHANGED)
    assert run.finish_if_done()

    counts = count_tabs(read(viewer, run))

    assert counts == {"all": 7, "failed": 2, "differs": 2, "skipped": 1, "done": 2}
    shown = {tab: len(read(viewer, run, f"?items={tab}")["page"].object_list) for tab in counts}
    assert shown == counts
    words = text(viewer.get(f"{run_page(run)}?items=failed"))
    assert "Finished" in words
    assert "7 of 7 clients" in words
    assert "Running" not in words
    assert "Wrong data: Two rows are primary." in words


def test_every_item_is_on_one_of_the_tabs_beside_all(viewer):
    outcomes = ["", *Outcome]
    statuses = ["", *Comparison.Status]
    run = make_run(len(outcomes) * len(statuses))
    pairs = [(outcome, status) for outcome in outcomes for status in statuses]
    for item, (outcome, status) in zip(run.items.all(), pairs, strict=True):
        RunItem.objects.filter(pk=item.pk).update(outcome=outcome, comparison_status=status)
    seen = []
    with pages_left_out():
        for tab in ("waiting", "failed", "refused", "differs", "skipped", "done"):
            page = viewer.get(f"{run_page(run)}?items={tab}").context_data["page"]
            seen += [item.pk for item in page.paginator.object_list]
        for tab in ("nonsense", "", "%25", "__class__"):
            shown = viewer.get(f"{run_page(run)}?items={tab}").context_data["chosen_tab"]
            assert shown in ("all", "failed")
            assert shown == viewer.get(run_page(run)).context_data["chosen_tab"]

    assert set(seen) == set(run.items.values_list("pk", flat=True))


def test_a_long_run_is_shown_in_pages(viewer):
    run = make_run(120)

    first = viewer.get(run_page(run))
    last = read(viewer, run, "?items=waiting&page=3")

    assert "Page 1 of 3" in text(first)
    assert "?items=all&page=2" in unescape(first.content.decode())
    assert len(last["page"].object_list) == 20
    with pages_left_out():
        for odd in ("999", "abc", "-1", "0"):
            assert viewer.get(f"{run_page(run)}?page={odd}").status_code == 200


def test_a_run_without_items_is_shown_as_finished(viewer):
    run = Run.objects.create(kind=Run.Kind.PUSH, finished_at=timezone.now())

    words = text(viewer.get(run_page(run)))

    assert "0 of 0 clients" in words
    assert "This run had no clients." in words


def test_a_page_that_there_is_not_leads_back_with_a_message(viewer):
    for model in ("run", "comparison"):
        for key in ("abc", "0", "99999999", "99999999999999999999", "²", "_00"):
            response = viewer.get(f"/admin/migration/{model}/{key}/change/")

            assert response.url == "/admin/", (model, key)
            *_before, message = get_messages(response.wsgi_request)
            assert "exist" in str(message)


def test_markup_in_a_message_or_a_slug_is_shown_as_text(viewer):
    run = make_run(1)
    RunItem.objects.update(
        slug="<i>slug",
        outcome=Outcome.FAILED,
        error_class="data",
        message=Message.from_text_without_key("<script>alert(1)</script>"),
    )

    html = viewer.get(run_page(run)).content.decode()

    assert "<script>alert(1)" not in html
    assert "<i>slug" not in html
    assert "&lt;script&gt;alert(1)" in html


def history(context) -> list[tuple[str, str]]:
    return [(line.text or localize(line.message), line.who) for line in context["history"]]


def test_its_history_tells_who_did_what_with_it_newest_first(viewer):
    maria = User.objects.create_user("maria")
    make_full_client("idom")
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients(), by=maria)
    other = make_run(1)
    other.pause(by=maria)
    with acting(Actor("worker on nova-1", f"run {run.pk}")):
        AuditEvent.objects.record(PUSH_EVENT, NOT_PUSHED_INACTIVE(), client_id=1, slug="idom")
    run.pause(by=maria)
    run.resume(by=None)
    run.stop(by=maria)

    told = history(read(viewer, run))

    assert told == [
        ("Stopped", "maria"),
        ("Running", ""),
        ("Paused", "maria"),
        (f"Started Push {run.pk}.", "maria"),
    ]


def test_an_approval_is_told_in_one_line(viewer):
    maria, ana = User.objects.create_user("maria"), User.objects.create_user("ana")
    moves = PlannedMoves(Phase.DUAL_READ, Phase.AWS, "INC-42", needs_approval=True)
    for slug in ("idom", "other"):
        pk = make_full_client(slug)
        ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_READ)
    run = Run.start(kind=Run.Kind.MOVE, chosen=all_clients(), by=maria, moves=moves)
    approve_run(run_id=run.pk, by=ana)

    lines = read(viewer, run)["history"]

    assert [(line.message.key, line.who, line.reason) for line in lines] == [
        ("moves_approved", "ana", "INC-42"),
        ("moves_requested", "maria", "INC-42"),
    ]


def test_what_its_campaign_recorded_of_it_is_in_its_history(viewer):
    campaign = Campaign.objects.create(goal="aws")
    wave = Wave.objects.create(campaign=campaign, position=1)
    one, other = (make_run(1, wave=wave) for _n in range(2))
    for run in (one, other):
        started = RUN_STARTED(run=run.name_message)
        campaign.record_act(started, by=None)

    assert history(read(viewer, one)) == [(f"Started {one}.", "")]


def test_a_start_that_stands_in_the_audit_and_was_carried_over_is_told_once(viewer):
    run = make_run(1)
    campaign = Campaign.objects.create(goal="aws")
    run.wave = Wave.objects.create(campaign=campaign, position=1)
    run.save()
    started = MOVES_STARTED(run=run.name_message, n=1, old="x", new="y")
    with acting(Actor("", f"campaign {campaign.pk}")):
        AuditEvent.make_signed(RUN_EVENT, started, happened_at=run.created_at).save()
    (line,) = load_run_history(run, has_permission=lambda _name: True)
    assert line.is_carried_over
    run.record_act(started, by="maria")

    (line,) = load_run_history(run, has_permission=lambda _name: True)

    assert (line.who, line.is_carried_over) == ("maria", False)


def test_a_history_without_its_begin_says_since_when_it_is_whole(viewer):
    run = make_run(1, by=User.objects.get())
    trimmed = AuditCheckpoint.objects.create(position=10**9, made_at=timezone.now())

    assert read(viewer, run)["history_whole_since"] == trimmed.made_at

    run.record_start(User.objects.get())
    assert read(viewer, run)["history_whole_since"] is None


def test_a_history_tells_what_is_done_with_a_run_long_after_its_end(viewer):
    run = make_run(1)
    ended = timezone.now() - timezone.timedelta(days=400)
    Run.objects.filter(pk=run.pk).update(created_at=ended, finished_at=ended)
    run.record_act(RUN_STARTED(run=run.name_message), by=None)

    assert history(read(viewer, run)) == [(f"Started {run}.", "")]


def test_a_history_reads_its_own_events_alone(viewer):
    run = make_run(1, by=User.objects.get())
    run.record_start(User.objects.get())
    with connection.cursor() as cursor:
        # Clients in the run, and what else happened without a client.
        cursor.execute(
            """
            INSERT INTO migration_auditevent
                (id, at, code, who, origin, client_id, slug, reason, facts, correlation, key, signature)
            SELECT overlay(gen_random_uuid()::text PLACING left(%s, 8) || '-' || right(%s, 4) FROM 1)::uuid, now(),
                'push', 'maria', '', n, CASE n % 2 WHEN 0 THEN '' ELSE 'c' || n END, '',
                '{}', CASE n % 2 WHEN 0 THEN 'request ' || n ELSE %s END, '', ''
            FROM generate_series(1, 20000) AS n
            """.replace("% 2", "%% 2"),
            # Ids begin with their time.
            [now := first_id_at(timezone.now()).hex[:12], now, f"run {run.pk}"],
        )
    # Whatever an autovacuum has noted of the rows of other tests.
    table = "'migration_auditevent'::regclass"
    unknown = (
        f"DELETE FROM pg_statistic WHERE starelid = {table};"
        f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = {table}"
    )
    for statistics in (unknown, "ANALYZE migration_auditevent"):
        with connection.cursor() as cursor:
            cursor.execute(statistics)
        lines: list[HistoryLine] = []

        read_rows = count_rows_read(
            AuditEvent._meta.db_table,
            lambda lines=lines: lines.extend(load_run_history(run, has_permission=lambda _: True)),
        )

        assert (len(lines), read_rows <= 20) == (1, True), (statistics, read_rows)


def test_an_open_page_gets_the_history_anew_once_the_run_is_in_another_state(viewer):
    run = make_run(1)
    shown = read(viewer, run)["shown_state"]
    url = reverse("admin:migration_run_live", args=[run.pk])
    query = {"items": "all", "page": "1", "state": shown}
    assert "history" not in viewer.get(url, query).context
    run.pause(by=User.objects.get())

    response = viewer.get(url, query)

    assert history(response.context) == [("Paused", "viewer")]
    assert 'hx-swap-oob="true"' in response.content.decode()
