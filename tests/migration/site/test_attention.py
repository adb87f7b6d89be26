"""What needs attention as it failed: decided by client and its newest outcome, never by the latest run."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from credentials.nova_columns import NovaSchemaError
from migration.core.clients import all_clients
from migration.core.problems import Finding, Look, list_results
from migration.core.sentences import CLIENT_NOT_THERE
from migration.models import RunItem, Worker
from migration.moves.moves import move
from migration.pushes import pushes
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.resolutions import acknowledge_each
from migration.runs import engine
from migration.runs.items import Act, Outcome
from migration.runs.models import Run
from migration.site.menu import MenuCounts
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_many,
    make_user,
)
from tests.migration.moves.clients import write_password
from tests.migration.moves.runs.moved import make_clients
from tests.migration.moves.runs.moved import start as start_moves
from tests.migration.pages import DIFFERENT, REPORT, act_page, press_act
from tests.page_forms import open_form, pages_left_out, send_form

HOME = reverse("admin:index")
FAILURES = reverse("admin:migration_run_failures")
DENIED = Conditions(faults=(FaultRule(fault=Fault.DENIED, probability=1),))


@pytest.fixture
def root(db, client):
    Worker.objects.create(name="host:1")
    client.force_login(User.objects.create_superuser("root"))
    return client


def run_over(*pks: int, kind: Run.Kind = Run.Kind.MIGRATE, **options) -> Run:
    """A run over these clients alone, to its end."""
    run = Run.start(kind=kind, chosen=all_clients().filter(pk__in=pks), **options)
    engine.finish_inline(run)
    return run


def fail(stores, *pks: int, kind: Run.Kind = Run.Kind.MIGRATE) -> Run:
    """A run over these clients in which AWS refuses every call."""
    stores.conditions.set(DENIED)
    run = run_over(*pks, kind=kind)
    stores.conditions.set(Conditions())
    return run


def store_outcome(pk: int, outcome: str, kind: Run.Kind, **fields) -> RunItem:
    """An item as a run would have stored it just now."""
    run = Run.objects.create(
        kind=kind, **({"move_from": "dual_read", "move_to": "aws"} if kind == "move" else {})
    )
    run.add_items([(pk, f"client-{pk}")])
    run.items.update(**{"outcome": outcome, "finished_at": timezone.now()} | fields)
    run.finish_if_done()
    return run.items.get()


def failing(act: Act = Act.PUSH) -> set[int]:
    """The clients that the list Failures names; the problem counts as many, and the list of clients shows them."""
    found = set(
        RunItem.objects.needing_attention().filter(act=act).values_list("client_id", flat=True)
    )
    (number,) = [
        each.count for each in wrong("failures") if each.url == f"{FAILURES}?act={act}"
    ] or [0]
    assert number == len(found)
    return found


def wrong(*codes: str) -> list[Finding]:
    """What pages find wrong of these problems."""
    return [each for result in list_results(Look(), only=codes) for each in result.failed]


@pytest.fixture
def two(stores) -> tuple[int, int]:
    return make_full_client("idom"), make_full_client("acme")


ENDED = ("again", "pushed", "on_page", "moved", "saved", "inactive", "gone", "back")
FAILING = ("alone", "compared", "left_out")


def test_whatever_takes_a_client_to_aws_ends_its_failure_and_nothing_else_does(stores, root):
    pks = {slug: make_full_client(slug) for slug in (*ENDED, *FAILING)}
    run_over(*(pks[slug] for slug in ("pushed", "compared", "saved", "back")))
    older = fail(stores, *pks.values())
    assert failing() == set(pks.values())

    run_over(pks["again"])
    run_over(pks["pushed"], kind=Run.Kind.PUSH)
    press_act(root, act_page("push", pks["on_page"]))
    move(client_id=pks["moved"], new=Phase.DUAL_WRITE)
    page = reverse("admin:credentials_client_change", args=[pks["saved"]])
    send_form(root, page, open_form(root, page) | {"name": "Saved 2"})
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.clients SET is_active = false WHERE id = %s", [pks["inactive"]]
        )
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks["gone"]])
    # Failed last of all no more: there is nothing to do.
    assert run_over(pks["inactive"]).items.get().outcome == Outcome.SKIPPED
    move(client_id=pks["back"], new=Phase.POSTGRES)
    compare(client_ids=[pks["compared"]])
    stopped = Run.start(
        kind=Run.Kind.MIGRATE, chosen=all_clients().with_ids([pks["left_out"], pks["again"]])
    )
    stopped.stop(by=None)
    engine.skip_free_items_of_stopped_run(stopped)

    assert failing() == {pks[slug] for slug in FAILING}
    listed = root.get(FAILURES)
    assert {row.slug for row in listed.context["page"]} == set(FAILING)
    page = root.get(reverse("admin:migration_run_change", args=[stopped.pk])).content.decode()
    # Its history has every number of the run's end.
    shown, _history = page.split('id="run-history"')
    assert "2 not started" in shown
    assert "0 failed" not in shown

    # A push that fails after a success counts again, and the retry of an older run ends a newer failure too.
    fail(stores, pks["alone"])
    fail(stores, pks["again"], kind=Run.Kind.PUSH)
    assert failing() == {pks[slug] for slug in (*FAILING, "again")}
    older.reopen_failed(by=None)
    assert failing() == {pks["alone"], pks["again"]}  # the others are in work
    engine.work_on_run(run_id=older.pk)
    assert failing() == set()


def test_a_refused_move_counts_until_the_client_moves_in_any_way(stores):
    pks = make_clients(4, Phase.DUAL_READ)
    for pk in pks[:3]:
        write_password(pk, "example-new")
    engine.finish_inline(start_moves(Phase.DUAL_READ, Phase.AWS))
    assert failing(Act.MOVE) == set(pks[:3])
    push(client_ids=pks[:1])
    compare(client_ids=pks[:1])
    store_outcome(pks[3], Outcome.MOVED, Run.Kind.MOVE)
    assert failing(Act.MOVE) == set(pks[:3])

    move(client_id=pks[0], new=Phase.AWS)
    move(client_id=pks[1], new=Phase.DUAL_WRITE)

    assert failing(Act.MOVE) == {pks[2]}


def test_a_comparison_is_named_by_its_result_and_where_none_could_be_stored_until_one_is(
    stores, two, monkeypatch
):
    fail(stores, *two, kind=Run.Kind.COMPARE)
    assert failing(Act.COMPARE) == set()
    assert [each.count for each in wrong("unchecked")] == [2]
    push(client_ids=two)

    def compare_nothing(**_options):
        raise NovaSchemaError(CLIENT_NOT_THERE())

    with monkeypatch.context() as patch:
        patch.setattr(pushes, "compare", compare_nothing)
        run_over(*two, kind=Run.Kind.COMPARE)
    assert failing(Act.COMPARE) == set(two)

    compare(client_ids=two[:1])

    assert failing(Act.COMPARE) == {two[1]}


def test_a_push_that_is_named_as_refused_is_named_once(stores, two, root):
    run_over(*two)
    make_database(two[0])  # a second primary login
    run = run_over(*two, kind=Run.Kind.PUSH)
    assert run.items.get(client=two[0]).error_class == "data"

    with pages_left_out():
        shown = root.get(HOME).context_data["attention"]

    assert [(item.code, item.count) for item in shown] == [("push_refused", 1)]


def test_a_client_whose_push_failed_is_not_also_named_as_one_that_could_not_be_checked(root):
    failed, unchecked, differs = (make_client(slug) for slug in ("idom", "acme", "ebro"))
    for pk in (failed, unchecked):
        make_comparison(pk, "unchecked", slug=f"c{pk}")
    make_comparison(differs, "mismatch", slug="ebro", mismatches=[DIFFERENT])
    store_outcome(failed, Outcome.FAILED, Run.Kind.PUSH)
    store_outcome(differs, Outcome.FAILED, Run.Kind.PUSH)

    found = wrong("mismatches", "unchecked", "failures")

    assert [(each.message.codes, each.count) for each in found] == [
        (["clients_differ"], 1),
        (["clients_unchecked", "settled_otherwise"], 1),
        (["clients_failed_in_push"], 2),
    ]
    assert len(root.get(found[0].url).context["page"]) == found[0].count
    listed = root.get(found[1].url)
    assert [row.client_id for row in listed.context["page"]] == [unchecked]
    assert "Newest push" in [chip.title for chip in listed.context["in_use"]["chips"]]
    # The rest of the form's filters keep it.
    assert 'name="push" value="well"' in listed.content.decode()
    blocks = root.get(f"{REPORT}?status=mismatch&push=well").context["page"]
    assert list(blocks) == []
    assert len(root.get(f"{REPORT}?status=mismatch").context["page"]) == 1
    assert list(root.get(f"{REPORT}?status=mismatch&push=x").context["page"]) == []


def test_an_acknowledged_difference_is_left_out_once(root):
    pk, other = make_client("idom"), make_client("acme")
    for each in (pk, other):
        make_comparison(each, "mismatch", slug=f"c{each}", mismatches=[DIFFERENT])
    day, by = timezone.localdate(), User.objects.get()
    acknowledge_each(shown={pk: None}, until=day, reason="known", by=by)
    store_outcome(pk, Outcome.FAILED, Run.Kind.PUSH)

    found = wrong("mismatches", "unchecked", "failures")

    assert [(each.message.codes, each.count) for each in found] == [
        (["clients_differ"], 1),
        (["clients_failed_in_push"], 1),
    ]
    # The menu, the report and its chip say the same number.
    report = root.get(found[0].url)
    assert [row.client_id for row in report.context["page"]] == [other]
    assert report.context["to_resolve"] == 1
    assert MenuCounts(report.wsgi_request)["mismatches"] == 1


@pytest.fixture
def failed(db) -> dict[str, RunItem]:
    """A push that a retry can't mend, a migration that it can, and a move that was refused."""
    why, kind = {"message": CLIENT_NOT_THERE()}, Run.Kind
    idom, acme, ebro = (make_client(slug) for slug in ("idom", "acme", "ebro"))
    return {
        "idom": store_outcome(idom, Outcome.FAILED, kind.PUSH, error_class="data", **why),
        "acme": store_outcome(acme, Outcome.FAILED, kind.MIGRATE, error_class="throttled", **why),
        "ebro": store_outcome(ebro, Outcome.REFUSED, kind.MOVE),
    }


def test_the_list_names_client_reason_and_run_and_what_mends_it_or_a_retry(root, failed):
    idom, acme, _ebro = failed.values()
    response = root.get(f"{FAILURES}?act=push")

    page = response.content.decode()
    assert [row.pk for row in response.context["page"]] == [idom.pk, acme.pk]
    mended, retried = response.context["rows"]
    for item in (idom, acme):
        assert reverse("admin:credentials_client_change", args=[item.client_id]) in page
        assert reverse("admin:migration_run_change", args=[item.run_id]) in page
    assert page.count(str(CLIENT_NOT_THERE())) == 2
    assert [label for label, _url in mended["remedies"]] == ["Fix this client"]
    assert (mended["can_succeed"], retried["can_succeed"]) == (False, True)
    fix = f'href="/admin/credentials/client/{idom.client_id}/change/?tab=logins">Fix this client'
    assert fix in page
    steer = reverse("admin:migration_run_steer", args=[acme.run_id])
    assert (page.count('name="item"'), page.count(f'action="{steer}"')) == (1, 1)
    assert "No failures." in root.get(f"{FAILURES}?act=compare").content.decode()

    root.post(steer, {"order": "retry", "item": acme.pk})
    assert failing() == {idom.client_id}
    # While the run goes on it takes no other order to try again.
    assert 'name="item"' not in root.get(f"{FAILURES}?act=push").content.decode()


def test_failures_and_clients_are_narrowed_by_act(root, failed):
    clients = reverse("admin:credentials_client_changelist")
    of_act = {"push": {"idom", "acme"}, "move": {"ebro"}, "compare": set(), "x": set(failed)}

    with pages_left_out():
        for act, slugs in of_act.items():
            pks = {failed[slug].pk for slug in slugs}
            listed = root.get(f"{FAILURES}?act={act}").context_data["page"]
            assert {row.pk for row in listed} == pks, act
            found = root.get(f"{clients}?failed={act}").context_data["cl"].result_list
            assert {each.slug for each in found} == slugs, act


def test_a_refused_move_is_tried_again_by_who_may_move_and_told_to_who_may_view_runs(
    client, failed
):
    Worker.objects.create(name="host:1")
    start, may_move = "migration.add_run", "migration.move_client"
    for name, may_retry in (("", False), (start, False), (f"{start} {may_move}", True)):
        client.force_login(make_user(f"user {name}"[:30], *VIEW, *name.split()))
        html = client.get(f"{FAILURES}?act=move").content.decode()
        assert (failed["ebro"].slug in html, 'name="item"' in html) == (True, may_retry), name

    client.force_login(make_user("narrow", "credentials.view_client"))
    with pages_left_out():
        assert client.get(HOME).context_data["attention"] == []
    assert client.get(FAILURES).status_code == 403


def test_with_many_runs_few_items_are_read(transactional_db):
    """The plan for a client that failed reads its newest item alone, and no others' items."""
    with connection.cursor() as cursor:
        # Entries of rows that earlier tests deleted make an index look dearer than it is. No transaction may see them.
        cursor.execute("REINDEX TABLE migration_runitem")
    pk = make_client("idom")
    make_many(499)
    old = timezone.now() - timedelta(days=1)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH run AS (
                INSERT INTO migration_run (kind, adopt, include_inactive, created_at)
                SELECT 'compare', false, false, now() FROM generate_series(1, 100) RETURNING id
            )
            INSERT INTO migration_runitem
                (run_id, client_id, slug, batch, outcome, error_class, comparison_status, finished_at, act)
            SELECT run.id, c, 'x', 0, 'compared', '', 'match', %s, 'compare'
                FROM run, generate_series(%s::int, %s::int) AS c
            """,
            [old, pk, pk + 499],
        )
    store_outcome(pk, Outcome.FAILED, Run.Kind.MIGRATE)
    with connection.cursor() as cursor:
        # As autovacuum does: with a guess at the number of runs PostgreSQL would begin with these, and with clients
        # that were counted when there were none as well.
        cursor.execute(
            "ANALYZE migration_runitem, migration_run, public.clients, migration_clientmigration,"
            " credentials_clientrevision"
        )

    plan = RunItem.objects.needing_attention().explain(analyze=True, format="json")

    assert read_rows(plan) < 50, plan


def read_rows(plan: str) -> int:
    """How many rows of the items the plan read, and threw away."""
    import json

    def walk(node: dict) -> int:
        of_items = node.get("Relation Name") == "migration_runitem"
        read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if of_items else 0
        return read * node["Actual Loops"] + sum(map(walk, node.get("Plans", [])))

    return walk(json.loads(plan)[0]["Plan"])
