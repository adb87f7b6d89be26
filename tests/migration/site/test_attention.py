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
from migration.models import ClientMigration, RunItem, Worker
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
from tests.page_forms import open_form, send_form

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


def test_a_later_run_over_others_ends_nothing(stores, two):
    first, second = two
    fail(stores, first)

    run_over(second)

    assert failing() == {first}


def test_a_later_run_over_the_client_itself_ends_it(stores, two):
    fail(stores, *two)
    assert failing() == set(two)

    run_over(two[0])

    assert failing() == {two[1]}


def test_a_push_on_the_clients_page_ends_it(stores, two, root):
    fail(stores, *two)

    press_act(root, act_page("push", two[0]))

    assert failing() == {two[1]}


def test_a_move_on_the_clients_page_that_pushes_ends_it(stores, two):
    fail(stores, *two)

    move(client_id=two[0], new=Phase.DUAL_WRITE)

    assert failing() == {two[1]}


def test_a_save_that_pushes_ends_it(stores, two, root):
    push(client_ids=two)
    ClientMigration.objects.change_phase(two, Phase.POSTGRES, Phase.DUAL_WRITE)
    fail(stores, *two, kind=Run.Kind.PUSH)
    page = reverse("admin:credentials_client_change", args=[two[0]])

    send_form(root, page, open_form(root, page) | {"name": "IDOM 2"})

    assert failing() == {two[1]}


def test_a_push_that_fails_after_a_success_needs_attention_again(stores, two):
    run_over(*two)

    fail(stores, two[0], kind=Run.Kind.PUSH)

    assert failing() == {two[0]}


def test_migration_and_push_are_one_act_and_a_comparison_is_another(stores, two):
    run_over(*two)
    fail(stores, *two)

    compare(client_ids=two)
    assert failing() == set(two)
    run_over(two[0], kind=Run.Kind.PUSH)
    assert failing() == {two[1]}


def test_a_client_that_is_skipped_as_there_is_nothing_to_do_any_more_failed_last_of_all_no_more(
    stores, two
):
    fail(stores, two[0])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.clients SET is_active = false WHERE id = %s", [two[0]])

    run = run_over(two[0])

    assert run.items.get().outcome == Outcome.SKIPPED
    assert failing() == set()


def test_what_a_stopped_run_left_out_did_not_fail_and_ended_no_failure(stores, two, root):
    fail(stores, two[0])
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)

    assert failing() == {two[0]}
    page = root.get(reverse("admin:migration_run_change", args=[run.pk])).content.decode()
    # Its history has every number of the run's end.
    shown, _history = page.split('id="run-history"')
    assert "2 not started" in shown
    assert "0 failed" not in shown


def test_a_client_that_is_tried_again_counts_by_what_comes_of_it(stores, two):
    run = fail(stores, two[0])
    run.reopen_failed(by=None)
    assert failing() == set()  # it is in work
    engine.work_on_run(run_id=run.pk)

    assert failing() == set()


def test_the_retry_of_an_older_run_ends_the_failure_of_a_newer_one(stores, two):
    older = fail(stores, two[0])
    fail(stores, two[0])

    older.reopen_failed(by=None)
    engine.work_on_run(run_id=older.pk)

    assert failing() == set()


def test_a_deleted_client_is_never_named(stores, two, root):
    fail(stores, *two)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [two[0]])

    assert failing() == {two[1]}
    assert "idom" not in root.get(FAILURES).content.decode()


def test_a_client_that_was_taken_back_to_postgres_has_nothing_to_push(stores, two):
    run_over(*two)
    fail(stores, *two, kind=Run.Kind.PUSH)

    move(client_id=two[0], new=Phase.POSTGRES)

    assert failing() == {two[1]}


def test_a_refused_move_counts_until_the_client_moves_in_any_way(stores):
    pks = make_clients(3, Phase.DUAL_READ)
    for pk in pks:
        write_password(pk, "example-new")
    engine.finish_inline(start_moves(Phase.DUAL_READ, Phase.AWS))
    assert failing(Act.MOVE) == set(pks)
    push(client_ids=pks[:1])
    compare(client_ids=pks[:1])
    assert failing(Act.MOVE) == set(pks)

    move(client_id=pks[0], new=Phase.AWS)
    move(client_id=pks[1], new=Phase.DUAL_WRITE)

    assert failing(Act.MOVE) == {pks[2]}


def test_a_run_of_moves_over_others_ends_no_refusal(stores):
    pks = make_clients(2, Phase.DUAL_READ)
    write_password(pks[0], "example-new")
    engine.finish_inline(start_moves(Phase.DUAL_READ, Phase.AWS))
    store_outcome(pks[1], Outcome.MOVED, Run.Kind.MOVE)

    assert failing(Act.MOVE) == {pks[0]}


def test_a_comparison_that_could_not_be_stored_counts_until_one_is(stores, two, monkeypatch):
    push(client_ids=two)

    def compare_nothing(**_options):
        raise NovaSchemaError(CLIENT_NOT_THERE())

    with monkeypatch.context() as patch:
        patch.setattr(pushes, "compare", compare_nothing)
        run_over(*two, kind=Run.Kind.COMPARE)
    assert failing(Act.COMPARE) == set(two)

    compare(client_ids=two[:1])

    assert failing(Act.COMPARE) == {two[1]}


def test_a_comparison_that_was_stored_is_named_by_its_result_alone(stores, two):
    fail(stores, *two, kind=Run.Kind.COMPARE)

    assert failing(Act.COMPARE) == set()
    assert [each.count for each in wrong("unchecked")] == [2]


def test_a_push_that_is_named_as_refused_is_named_once(stores, two, root):
    run_over(*two)
    make_database(two[0])  # a second primary login
    run = run_over(*two, kind=Run.Kind.PUSH)
    assert run.items.get(client=two[0]).error_class == "data"

    shown = root.get(HOME).context["attention"]

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


def test_the_list_names_client_reason_and_run_and_leads_to_both(root):
    pk = make_client("idom")
    why = CLIENT_NOT_THERE()
    item = store_outcome(pk, Outcome.FAILED, Run.Kind.PUSH, error_class="data", message=why)
    store_outcome(make_client("acme"), Outcome.REFUSED, Run.Kind.MOVE)

    response = root.get(f"{FAILURES}?act=push")

    page = response.content.decode()
    assert [row.pk for row in response.context["page"]] == [item.pk]
    assert reverse("admin:credentials_client_change", args=[pk]) in page
    assert reverse("admin:migration_run_change", args=[item.run_id]) in page
    assert str(why) in page
    assert len(root.get(FAILURES).context["page"]) == 2
    assert len(root.get(f"{FAILURES}?act=nonsense").context["page"]) == 2
    assert "No failures." in root.get(f"{FAILURES}?act=compare").content.decode()


def test_beside_a_reason_stands_what_mends_it_and_a_retry_where_that_can_help(root):
    pk, other = make_client("idom"), make_client("acme")
    why = CLIENT_NOT_THERE()
    store_outcome(pk, Outcome.FAILED, Run.Kind.PUSH, error_class="data", message=why)
    passing = store_outcome(
        other, Outcome.FAILED, Run.Kind.PUSH, error_class="throttled", message=why
    )

    response = root.get(FAILURES)

    mended, retried = response.context["rows"]
    assert [label for label, _url in mended["remedies"]] == ["Fix this client"]
    assert (mended["can_succeed"], retried["can_succeed"]) == (False, True)
    page = response.content.decode()
    assert f'href="/admin/credentials/client/{pk}/change/?tab=logins">Fix this client' in page
    steer = reverse("admin:migration_run_steer", args=[passing.run_id])
    assert (page.count('name="item"'), page.count(f'action="{steer}"')) == (1, 1)
    root.post(steer, {"order": "retry", "item": passing.pk})
    assert failing() == {pk}
    # While the run goes on it takes no other order to try again.
    assert 'name="item"' not in root.get(FAILURES).content.decode()


@pytest.mark.parametrize(
    ("more", "may_retry"),
    [
        ([], False),
        (["migration.add_run"], False),
        (["migration.add_run", "migration.move_client"], True),
    ],
)
def test_a_refused_move_is_tried_again_by_who_may_move(client, db, more, may_retry):
    store_outcome(make_client("idom"), Outcome.REFUSED, Run.Kind.MOVE)
    client.force_login(make_user("user", *VIEW, *more))

    assert ('name="item"' in client.get(FAILURES).content.decode()) == may_retry


def test_the_list_of_clients_is_narrowed_to_them(root):
    pk, other = make_client("idom"), make_client("acme")
    store_outcome(pk, Outcome.FAILED, Run.Kind.MIGRATE)
    store_outcome(other, Outcome.REFUSED, Run.Kind.MOVE)
    clients = reverse("admin:credentials_client_changelist")

    for act, slugs in (("push", ["idom"]), ("move", ["acme"]), ("compare", []), ("x", None)):
        found = root.get(f"{clients}?failed={act}").context["cl"].result_list
        assert [each.slug for each in found] == (["acme", "idom"] if slugs is None else slugs)


def test_who_may_not_view_runs_is_told_of_no_failure(client, db):
    store_outcome(make_client("idom"), Outcome.FAILED, Run.Kind.MIGRATE)
    client.force_login(make_user("narrow", "credentials.view_client"))
    Worker.objects.create(name="host:1")

    assert client.get(HOME).context["attention"] == []
    assert client.get(FAILURES).status_code == 403
    client.force_login(make_user("viewer", *VIEW))
    assert len(client.get(FAILURES).context["page"]) == 1


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
