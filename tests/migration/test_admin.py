"""The pages over clients, runs and comparisons: who may do what, what is started, and what each state looks like."""

import re
from html import unescape
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from migration import sentences
from migration.models import (
    ClientMigration,
    Comparison,
    OpenMismatch,
    Outcome,
    PhaseChange,
    Run,
    RunItem,
)
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import (
    CHANGE,
    VIEW,
    make_client,
    make_comparison,
    make_full_client,
    make_many,
    make_user,
)

DASHBOARD = "/admin/"
CLIENTS = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
START = "/admin/migration/run/start-all/"
COMPARE = "/admin/migration/run/compare-all/"
COMPARISONS = "/admin/migration/comparison/"
REPORT = "/admin/migration/comparison/report/"

DIFFERENT = {
    "path": "database.password",
    "kind": "different",
    "hint": "blank",
    "expected": "0a1b2c3d",
    "actual": "4e5f6071",
    "expected_length": "9-16",
    "actual_length": "17-32",
}
EXTRA = DIFFERENT | {
    "path": "database.host",
    "kind": "extra",
    "hint": "",
    "expected": "",
    "expected_length": "",
}

UNCHECKED = Message.of_text("AWS gave no usable answer.")


def page_of(model: str, pk) -> str:
    return reverse(f"admin:{model}_change", args=[pk])


def run_page(run: Run) -> str:
    return page_of("migration_run", run.pk)


def text(response) -> str:
    """What a person reads on the page."""
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def shown_tabs(response) -> dict[str, int]:
    return {tab["key"]: tab["count"] for tab in response.context["tabs"]}


def login(browser: Browser, name: str, *permissions: str, **fields) -> User:
    user = make_user(name, *permissions, **fields)
    browser.force_login(user)
    return user


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def operator(db, client):
    login(client, "operator", *VIEW, *CHANGE, "migration.add_run")
    return client


@pytest.fixture
def viewer(db, client):
    login(client, "viewer", *VIEW)
    return client


def make_run(number: int, kind: Run.Kind = Run.Kind.MIGRATE, **fields) -> Run:
    """A run over so many clients that are no longer there, every item waiting."""
    run = Run.objects.create(kind=kind, **fields)
    run.add_items((1000 + n, f"client-{n}") for n in range(number))
    return run


def close(run: Run, number: int, outcome: Outcome, **fields) -> None:
    """Gives so many of the waiting items this outcome."""
    chosen = list(run.items.open().order_by("pk").values_list("pk", flat=True)[:number])
    RunItem.objects.filter(pk__in=chosen).update(
        outcome=outcome, finished_at=timezone.now(), **fields
    )


# --- Who may do what


def every_page() -> list[str]:
    client = make_full_client("idom")
    run = make_run(3)
    comparison = make_comparison(client, "mismatch", slug="idom", mismatches=[DIFFERENT])
    return [
        DASHBOARD,
        CLIENTS,
        page_of("credentials_client", client),
        RUNS,
        run_page(run),
        f"{run_page(run)}?items=failed",
        COMPARISONS,
        page_of("migration_comparison", comparison.pk),
        REPORT,
        f"{REPORT}?status=mismatch",
    ]


def test_a_viewer_reads_every_page_and_is_offered_no_button_that_starts_anything(viewer):
    for url in every_page():
        response = viewer.get(url)
        assert response.status_code == 200, url
        html = response.content.decode()
        assert START not in html, url
        assert COMPARE not in html, url
        assert "push_selected" not in html, url
        assert "compare_selected" not in html, url


def test_an_operator_is_offered_the_buttons_and_the_actions(operator):
    every_page()

    clients = operator.get(CLIENTS).content.decode()

    assert START in operator.get(DASHBOARD).content.decode()
    assert COMPARE in operator.get(REPORT).content.decode()
    for offered in (START, COMPARE, "push_selected", "compare_selected"):
        assert offered in clients


def test_a_viewer_starts_nothing_by_guessing_addresses(viewer):
    pk = make_full_client("idom")

    assert viewer.post(START).status_code == 403
    assert viewer.post(COMPARE).status_code == 403
    for action in ("push_selected", "compare_selected", "delete_selected"):
        viewer.post(CLIENTS, {"action": action, "_selected_action": [pk]})

    assert not Run.objects.exists()
    assert not OrmQ.objects.exists()


@pytest.mark.parametrize("signed_in", [True, False])
def test_who_is_not_staff_is_led_to_the_login_from_every_page(client, db, signed_in):
    pages = [*every_page(), page_of("credentials_client", 1).replace("change", "history")]
    runs = Run.objects.count()
    if signed_in:
        login(client, "stranger", *VIEW, *CHANGE, "migration.add_run", is_staff=False)

    for url in [*pages, START, COMPARE, "/admin/credentials/client/add/"]:
        for answer in (client.get(url), client.post(url)):
            assert answer.status_code == 302, url
            assert answer.url.startswith("/admin/login/"), url

    assert Run.objects.count() == runs


def test_staff_without_permissions_see_no_number_and_no_page(client, db):
    login(client, "new")
    dashboard, *pages = every_page()

    assert {client.get(url).status_code for url in pages} == {403}
    context = client.get(dashboard).context
    assert (context["clients"], context["comparisons"], context["progress"]) == (None, None, None)
    assert context["attention"] == []


def test_who_may_see_clients_but_no_comparison_is_told_no_number_of_them(client, db):
    login(client, "narrow", "credentials.view_client")
    pk = make_full_client("idom")
    comparison = make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])

    for url in (REPORT, COMPARISONS, page_of("migration_comparison", comparison.pk)):
        assert client.get(url).status_code == 403
    context = client.get(DASHBOARD).context
    assert context["comparisons"] is None
    assert not [item for item in context["attention"] if "report" in item.url]
    assert "database.password" not in text(client.get(page_of("credentials_client", pk)))


def test_who_may_start_runs_sees_them_without_a_permission_to_view(client, db):
    login(client, "starter", "migration.add_run")
    run = make_run(1)

    assert client.get(RUNS).status_code == 200
    assert client.get(run_page(run)).status_code == 200


@pytest.mark.parametrize("url", [START, COMPARE])
def test_a_run_is_not_started_by_a_link(operator, url):
    make_full_client("idom")

    assert operator.get(url).status_code == 405
    assert operator.head(url).status_code == 405

    assert not Run.objects.exists()


@pytest.mark.parametrize("url", [START, COMPARE, CLIENTS])
def test_a_run_is_not_started_from_another_site(db, url):
    pk = make_full_client("idom")
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("root"))

    data = {"action": "push_selected", "_selected_action": [pk]}
    assert browser.post(url, data).status_code == 403
    assert not Run.objects.exists()

    token = re.search(
        r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(CLIENTS).content.decode()
    )
    assert browser.post(url, data | {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert Run.objects.count() == 1


@pytest.mark.parametrize("model", ["migration_run", "migration_comparison", "credentials_client"])
def test_nobody_deletes_history_or_clients(root, model):
    every_page()
    listing = reverse(f"admin:{model}_changelist")
    pk = {"migration_run": Run, "migration_comparison": Comparison}.get(model, ClientMigration)
    pk = pk.objects.get().pk

    assert (
        root.post(reverse(f"admin:{model}_delete", args=[pk]), {"post": "yes"}).status_code == 403
    )
    root.post(listing, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})

    assert (Run.objects.count(), Comparison.objects.count()) == (1, 1)
    assert ClientMigration.objects.filter(client__slug="idom").exists()


@pytest.mark.parametrize("model", ["migration_run", "migration_comparison"])
def test_nobody_adds_or_changes_history(root, model):
    every_page()
    pk = (Run if model == "migration_run" else Comparison).objects.get().pk

    assert root.get(reverse(f"admin:{model}_add")).status_code == 403
    assert root.post(reverse(f"admin:{model}_add"), {"kind": "push"}).status_code == 403
    assert root.post(page_of(model, pk), {"kind": "push", "status": "match"}).status_code == 405

    assert Run.objects.get().kind == Run.Kind.MIGRATE
    assert Comparison.objects.get().status == Comparison.Status.MISMATCH


def test_the_task_queue_has_no_pages(root):
    assert root.get("/admin/django_q/").status_code == 404
    assert "django_q" not in root.get(DASHBOARD).content.decode()


# --- What is started


def queued() -> list[tuple[str, tuple]]:
    return [(task.task["func"], task.task["args"]) for task in OrmQ.objects.order_by("pk")]


@pytest.mark.parametrize(
    ("action", "kind"), [("push_selected", "migrate"), ("compare_selected", "compare")]
)
def test_an_action_starts_a_run_over_exactly_the_chosen_clients(operator, action, kind):
    first, _other, third = (make_full_client(slug) for slug in ("a", "b", "c"))

    answer = operator.post(CLIENTS, {"action": action, "_selected_action": [third, first]})

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.finished_at) == (kind, "operator", None)
    assert list(run.items.values_list("client_id", "slug", "outcome")) == [
        (first, "a", ""),
        (third, "c", ""),
    ]
    assert queued() == [("migration.tasks.work_on", (run.pk,))]
    assert answer.url == run_page(run)
    assert "started over 2 clients" in text(operator.get(answer.url))


@pytest.mark.parametrize(("url", "kind"), [(START, "migrate"), (COMPARE, "compare")])
def test_the_buttons_start_a_run_over_all_clients_in_batches(operator, url, kind):
    make_many(230, phase="postgres")

    operator.post(url)

    run = Run.objects.get()
    assert (run.kind, run.by.username, run.items.count()) == (kind, "operator", 230)
    assert queued() == [("migration.tasks.work_on", (run.pk,))] * 3


def test_an_action_over_more_clients_than_a_page_holds_takes_them_all(operator):
    make_many(60)
    chosen = list(ClientMigration.objects.values_list("pk", flat=True)[:1])

    operator.post(
        CLIENTS,
        {"action": "push_selected", "_selected_action": chosen, "select_across": "1", "index": "0"},
    )

    assert Run.objects.get().items.count() == 60


def test_an_action_over_all_of_a_narrowed_list_takes_no_other_client(operator):
    make_many(3), make_client("other")

    operator.post(
        f"{CLIENTS}?phase=postgres",
        {"action": "push_selected", "_selected_action": ["1"], "select_across": "1", "index": "0"},
    )

    assert list(Run.objects.get().items.values_list("slug", flat=True)) == ["other"]


@pytest.mark.parametrize("chosen", [[], ["999999999"]])
def test_an_action_over_nothing_starts_no_task(operator, chosen):
    make_full_client("idom")

    answer = operator.post(CLIENTS, {"action": "push_selected", "_selected_action": chosen})

    assert answer.status_code in (200, 302)
    assert not RunItem.objects.exists()
    assert not OrmQ.objects.exists()


def test_a_run_over_an_empty_database_is_finished_at_once(operator):
    answer = operator.post(START)

    assert Run.objects.get().finished_at is not None
    assert "There was no client to take." in text(operator.get(answer.url))


# --- The page of a run


def test_a_run_that_waits_says_how_many_wait(viewer):
    run = make_run(3)

    response = viewer.get(f"{run_page(run)}?items=waiting")

    assert "0 of 3 (0.0 %)" in text(response)
    assert "Running" in text(response)
    assert shown_tabs(response) == {"all": 3, "waiting": 3, "failed": 0}


def test_a_run_under_way_says_how_far_it_is_and_what_failed(viewer):
    run = make_run(4, by=User.objects.get())
    close(run, 1, Outcome.CREATED, comparison_status="match")
    close(
        run,
        1,
        Outcome.FAILED,
        error_class="throttled",
        message=Message.of_text("AWS limits the rate."),
    )

    response = viewer.get(run_page(run))

    words = text(response)
    assert "2 of 4 (50.0 %)" in words
    assert "1 failed" in words
    assert "Throttled by AWS: AWS limits the rate." in words
    assert "by viewer" in words
    assert shown_tabs(response) == {"all": 4, "waiting": 2, "failed": 1, "done": 1}


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
        run, 2, Outcome.FAILED, error_class="data", message=Message.of_text("Two rows are primary.")
    )
    close(run, 1, Outcome.SKIPPED, message=sentences.NOT_PUSHED_INACTIVE())
    close(run, 1, Outcome.UNCHANGED)
    assert run.finish_if_done()

    counts = shown_tabs(viewer.get(run_page(run)))

    assert counts == {"all": 7, "failed": 2, "differs": 2, "skipped": 1, "done": 2}
    for tab, number in counts.items():
        response = viewer.get(f"{run_page(run)}?items={tab}")
        assert len(response.context["page"].object_list) == number
        assert "Finished" in text(response)
    assert "7 of 7 (100.0 %)" in text(viewer.get(run_page(run)))
    assert "Running" not in text(viewer.get(run_page(run)))
    assert "Data: Two rows are primary." in text(viewer.get(f"{run_page(run)}?items=failed"))


def test_every_item_is_on_exactly_one_of_the_tabs_but_all(viewer):
    outcomes = ["", *Outcome]
    statuses = ["", *Comparison.Status]
    run = make_run(len(outcomes) * len(statuses))
    pairs = [(outcome, status) for outcome in outcomes for status in statuses]
    for item, (outcome, status) in zip(run.items.all(), pairs, strict=True):
        RunItem.objects.filter(pk=item.pk).update(outcome=outcome, comparison_status=status)
    seen = []
    for tab in ("waiting", "failed", "differs", "skipped", "done"):
        page = viewer.get(f"{run_page(run)}?items={tab}").context["page"]
        seen += [item.pk for item in page.paginator.object_list]

    assert set(seen) == set(run.items.values_list("pk", flat=True))


def test_a_tab_that_there_is_not_shows_all(viewer):
    run = make_run(2)

    for tab in ("nonsense", "", "%25", "__class__"):
        assert viewer.get(f"{run_page(run)}?items={tab}").context["chosen"] == "all"


def test_a_long_run_is_shown_in_pages(viewer):
    run = make_run(120)

    first = viewer.get(run_page(run))
    last = viewer.get(f"{run_page(run)}?items=waiting&page=3")

    assert "Page 1 of 3" in text(first)
    assert "?items=all&page=2" in unescape(first.content.decode())
    assert len(last.context["page"].object_list) == 20
    for odd in ("999", "abc", "-1", "0"):
        assert viewer.get(f"{run_page(run)}?page={odd}").status_code == 200


def test_a_run_without_items_is_shown_as_finished(viewer):
    run = Run.objects.create(kind=Run.Kind.PUSH, finished_at=timezone.now())

    words = text(viewer.get(run_page(run)))

    assert "0 of 0 (100.0 %)" in words
    assert "There was no client to take." in words


@pytest.mark.parametrize("model", ["run", "comparison"])
@pytest.mark.parametrize("key", ["abc", "0", "99999999", "99999999999999999999", "²", "%00", "_00"])
def test_a_page_that_there_is_not_leads_back_with_a_message(viewer, model, key):
    response = viewer.get(f"/admin/migration/{model}/{key}/change/", follow=True)

    assert response.status_code == 200
    assert any("exist" in str(message) for message in response.context["messages"])


def test_markup_in_a_message_or_a_slug_is_shown_as_text(viewer):
    run = make_run(1)
    RunItem.objects.update(
        slug="<i>slug",
        outcome=Outcome.FAILED,
        error_class="data",
        message=Message.of_text("<script>alert(1)</script>"),
    )

    html = viewer.get(run_page(run)).content.decode()

    assert "<script>alert(1)" not in html
    assert "<i>slug" not in html
    assert "&lt;script&gt;alert(1)" in html


# --- The mismatch report and the page of a comparison


@pytest.fixture
def compared(db) -> dict[str, Comparison]:
    found = {}
    for slug, status, mismatches in (
        ("equal", "match", []),
        ("differs", "mismatch", [DIFFERENT, EXTRA]),
        ("other", "mismatch", [DIFFERENT]),
        ("gone", "missing_in_aws", []),
        ("only-aws", "missing_in_postgres", [EXTRA]),
        ("unclear", "unchecked", []),
    ):
        message = {
            "unchecked": "AWS gave no usable answer.",
            "missing_in_aws": "There is no secret.",
        }
        found[slug] = make_comparison(
            make_client(slug),
            status,
            slug=slug,
            mismatches=mismatches,
            message=Message.of_text(message[status]) if status in message else None,
        )
    return found


def shown_rows(response) -> list[tuple[str, str]]:
    return [(row.slug, getattr(row, "path", "")) for row in response.context["page"]]


def test_the_report_counts_by_status_kind_and_field(viewer, compared):
    context = viewer.get(REPORT).context

    assert {status: number for status, _label, number in context["numbers"]} == {
        "match": 1, "mismatch": 2, "missing_in_aws": 1, "missing_in_postgres": 1, "unchecked": 1,
    }  # fmt: skip
    assert {kind: number for kind, _label, number in context["by_kind"]} == {
        "different": 2,
        "extra": 2,
        "missing": 1,
    }
    assert {value: number for value, _field, number in context["by_field"]} == {
        "database.password": 2, "database.host": 2, "*": 1,
    }  # fmt: skip
    assert (context["compared"], context["matched"], context["differing"]) == (6, 1, 4)


def test_the_report_counts_a_clients_newest_comparison_alone(viewer, compared):
    comparison = compared["differs"]
    make_comparison(comparison.client_id, "match", slug="differs")

    response = viewer.get(REPORT)

    assert response.context["matched"] == 2
    assert "differs" not in [slug for slug, _ in shown_rows(response)]


def test_the_report_counts_no_client_that_is_gone(viewer, compared):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE slug = 'other'")

    context = viewer.get(REPORT).context

    assert (context["compared"], context["differing"]) == (5, 3)


def test_what_could_not_be_checked_is_never_counted_as_a_match(viewer):
    for n in range(3):
        make_comparison(make_client(f"c{n}"), "unchecked", message=UNCHECKED)

    response = viewer.get(REPORT)

    words = text(response)
    assert (response.context["matched"], response.context["unchecked_count"]) == (0, 3)
    assert "Of 3 clients compared, 0 match" in words
    assert "Nothing differs" not in words
    assert "AWS gave no usable answer." in words


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (
            "",
            [
                ("differs", "database.host"),
                ("differs", "database.password"),
                ("gone", ""),
                ("only-aws", "database.host"),
                ("other", "database.password"),
            ],
        ),
        ("status=missing_in_aws", [("gone", "")]),
        ("status=unchecked", [("unclear", "")]),
        ("status=match", [("equal", "")]),
        ("kind=extra", [("differs", "database.host"), ("only-aws", "database.host")]),
        ("kind=extra&status=mismatch", [("differs", "database.host")]),
        (
            "field=database.password",
            [("differs", "database.password"), ("other", "database.password")],
        ),
        ("field=database.password&kind=extra", []),
        ("status=nonsense", []),
        ("kind=nonsense", []),
        ("field=%25&page=abc", []),
        ("field=x'%22%3Cscript%3E", []),
    ],
)
def test_the_report_is_narrowed_by_its_filters(viewer, compared, query, rows):
    response = viewer.get(f"{REPORT}?{query}")

    assert response.status_code == 200
    assert shown_rows(response) == rows
    assert "<script>" not in response.content.decode().split("Narrowed to")[-1].split("Show all")[0]


def test_every_number_of_the_report_links_to_as_many(viewer, compared):
    report = viewer.get(REPORT)
    html = report.content.decode()

    for status, _label, number in report.context["numbers"]:
        assert f'href="?status={status}"' in html
        assert viewer.get(f"{REPORT}?status={status}").context["found"]["clients"] == number
    for kind, _label, number in report.context["by_kind"]:
        assert len(shown_rows(viewer.get(f"{REPORT}?kind={kind}"))) == number
    for value, _field, number in report.context["by_field"]:
        assert f'href="?field={quote(value)}"' in html
        assert viewer.get(f"{REPORT}?field={value}").context["found"]["clients"] == number


def test_a_long_report_is_shown_in_pages_that_keep_the_filter(viewer):
    make_many(120, status="missing_in_aws")

    first = viewer.get(f"{REPORT}?status=missing_in_aws")

    assert "Page 1 of 3" in text(first)
    assert "?status=missing_in_aws&page=2" in unescape(first.content.decode())
    assert len(shown_rows(viewer.get(f"{REPORT}?status=missing_in_aws&page=3"))) == 20
    assert viewer.get(f"{REPORT}?page=999").status_code == 200


def test_an_empty_report_says_what_to_do(viewer):
    words = text(viewer.get(REPORT))

    assert "Nothing compared yet." in words
    assert "Compare all" in words


def test_a_report_where_all_is_well_says_so(viewer):
    make_comparison(make_client("idom"), "match")

    words = text(viewer.get(REPORT))

    assert "Of 1 clients compared, 1 match" in words
    assert "Nothing differs." in words


@pytest.mark.parametrize("query", ["status=%00", "kind=%00", "field=%00"])
def test_a_null_byte_in_a_filter_of_the_report_is_no_server_error(viewer, compared, query):
    assert viewer.get(f"{REPORT}?{query}").status_code in (200, 400)


def test_the_page_of_a_comparison_shows_codes_and_lengths(viewer, compared):
    words = text(viewer.get(page_of("migration_comparison", compared["differs"].pk)))

    for shown in ("database.password", "0a1b2c3d", "4e5f6071", "9-16", "17-32", "blank", "absent"):
        assert shown in words


def test_the_page_of_a_comparison_that_could_not_be_made_says_why(viewer, compared):
    words = text(viewer.get(page_of("migration_comparison", compared["unclear"].pk)))

    assert "AWS gave no usable answer." in words
    assert "held the same" not in words


def test_the_page_of_a_real_comparison_holds_no_value_of_either_store(stores, client):
    from migration.operations.comparisons import compare
    from migration.operations.pushes import push
    from nova_credentials.aws import ClientSecretsManager

    client.force_login(User.objects.create_superuser("root"))
    pk = make_full_client("idom")
    push(client_ids=[pk])
    sm = ClientSecretsManager()
    document = sm.get_client_credentials("idom")
    document["database"]["password"] = "MARKER-FOUR"
    document["database"]["MARKER-FIVE"] = "MARKER-SIX"
    sm.update_client_credentials("idom", document)
    comparison = compare(client_ids=[pk])[pk]

    for url in (
        page_of("migration_comparison", comparison.pk),
        REPORT,
        page_of("credentials_client", pk),
    ):
        words = client.get(url).content.decode()
        assert "database.password" in words
        assert "MARKER" not in words
        assert "example-password-1" not in words


# --- The list of clients and the page of one


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("", ["a", "b", "c", "d"]),
        ("phase=postgres", ["a", "d"]),
        ("phase=dual_write", ["b"]),
        ("phase=aws", ["c"]),
        ("phase=purged", []),
        ("comparison=match", ["b"]),
        ("comparison=unchecked", ["c"]),
        ("comparison=none", ["a", "d"]),
        ("push=pending", ["b", "c"]),
        ("active=yes", ["a", "b", "c"]),
        ("active=no", ["d"]),
        ("q=B", ["b"]),
        ("phase=postgres&active=no", ["d"]),
    ],
)
def test_the_clients_are_narrowed_by_where_they_stand(viewer, query, slugs):
    _a, b, c, _d = (
        make_client("a"), make_client("b"), make_client("c"), make_client("d", is_active=None),
    )  # fmt: skip
    for pk, phase, status in ((b, Phase.DUAL_WRITE, "match"), (c, Phase.AWS, "unchecked")):
        make_comparison(pk, status)
        ClientMigration.objects.filter(pk=pk).update(phase=phase)

    found = viewer.get(f"{CLIENTS}?{query}").context["cl"].result_list

    assert [client.slug for client in found] == slugs


def test_a_push_is_pending_where_the_newest_rows_are_not_in_aws(viewer, stores):
    from migration.operations.pushes import push

    pk = make_full_client("idom")
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    assert "Push pending" in text(viewer.get(page_of("credentials_client", pk)))

    push(client_ids=[pk])

    assert "Push pending" not in text(viewer.get(page_of("credentials_client", pk)))
    assert not viewer.get(f"{CLIENTS}?push=pending").context["cl"].result_list


def test_the_page_of_a_client_tells_phase_secret_comparison_and_moves(viewer):
    pk = make_full_client("idom")
    make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])
    ClientMigration.objects.move(
        [pk], Phase.POSTGRES, Phase.DUAL_WRITE, by=User.objects.get(), reason="Trial"
    )

    words = text(viewer.get(page_of("credentials_client", pk)))

    for told in (
        "Dual write",
        "nova/clients/idom",
        "database.password",
        "0a1b2c3d",
        "by viewer: Trial",
    ):
        assert told in words
    assert PhaseChange.objects.count() == 1


def test_the_page_of_a_client_whose_name_no_secret_can_have_says_so(viewer):
    pk = make_client("bad slug")

    assert "No secret can have this name" in text(viewer.get(page_of("credentials_client", pk)))


@pytest.mark.parametrize("url", [CLIENTS, COMPARISONS])
@pytest.mark.parametrize(
    "asked", ["%", "_", "a\0b", "'", '"', "\\", "(", "x" * 5000, "密码", "a b c"]
)
def test_any_search_is_answered(viewer, url, asked):
    make_full_client("idom")

    assert viewer.get(url, {"q": asked}, follow=True).status_code in (
        (200, 400) if "\0" in asked else (200,)
    )


@pytest.mark.parametrize("url", [CLIENTS, RUNS, COMPARISONS])
@pytest.mark.parametrize(
    "query",
    [
        "p=999", "p=-1", "p=abc", "o=bad", "o=99", "o=-1.2.x", "all=", "e=1", "nonsense=1",
        "phase=nonsense", "comparison=nonsense", "push=nonsense", "active=nonsense",
        "state=nonsense", "kind__exact=nonsense", "status__exact=nonsense", "id__exact=abc",
    ],
)  # fmt: skip
def test_any_address_of_a_list_is_answered(viewer, url, query):
    every_page()

    assert viewer.get(f"{url}?{query}", follow=True).status_code == 200


@pytest.mark.parametrize("url", [CLIENTS, RUNS, COMPARISONS])
@pytest.mark.parametrize(
    "name", ["phase", "comparison", "push", "active", "state", "kind__exact", "status__exact"]
)
def test_a_null_byte_in_a_filter_of_a_list_is_no_server_error(viewer, url, name):
    assert viewer.get(f"{url}?{name}=%00", follow=True).status_code in (200, 400)


def test_every_column_of_the_lists_can_be_sorted_by(viewer):
    every_page()

    for url in (CLIENTS, RUNS, COMPARISONS):
        for column in range(9):
            assert viewer.get(f"{url}?o={column}", follow=True).status_code == 200
            assert viewer.get(f"{url}?o=-{column}", follow=True).status_code == 200


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 3),
        ("state=running", 1),
        ("state=finished", 2),
        ("state=failed", 1),
        ("kind__exact=push", 1),
    ],
)
def test_the_runs_are_narrowed_by_state_and_kind(viewer, query, number):
    make_run(1)
    failed = make_run(2)
    close(failed, 2, Outcome.FAILED), failed.finish_if_done()
    Run.objects.create(kind=Run.Kind.PUSH, state="finished", finished_at=timezone.now())

    assert len(viewer.get(f"{RUNS}?{query}").context["cl"].result_list) == number


def test_the_list_of_runs_counts_each_runs_items(viewer):
    run = make_run(5)
    close(run, 2, Outcome.FAILED)
    close(run, 1, Outcome.COMPARED, comparison_status="mismatch")

    words = text(viewer.get(RUNS))

    assert "3 of 5" in words
    (shown,) = viewer.get(RUNS).context["cl"].result_list
    assert (shown.failed, shown.mismatched) == (2, 1)


# --- Queries


def queries(browser, url: str) -> int:
    browser.get(url)  # what is asked once a process or session is asked now
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(url).status_code == 200
    return len(captured)


def fill(number: int) -> None:
    """So many clients, runs, comparisons that differ, and items of one run."""
    make_many(number, status="mismatch")
    Comparison.objects.update(mismatches=[DIFFERENT, EXTRA])
    OpenMismatch.objects.keep_up(Comparison.objects.values_list("pk", flat=True))
    user = User.objects.first()
    Run.objects.bulk_create(Run(kind=Run.Kind.PUSH, by=user) for _ in range(number))
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=user)
    run.add_items(ClientMigration.objects.values_list("pk", "client__slug"))
    run.items.update(outcome=Outcome.FAILED, error_class="data", finished_at=timezone.now())


@pytest.mark.parametrize("url", [DASHBOARD, CLIENTS, RUNS, COMPARISONS, REPORT, "run"])
def test_no_page_asks_more_queries_for_more_clients(viewer, url):
    fill(1)
    first = queries(viewer, run_page(Run.objects.first()) if url == "run" else url)
    fill(49)

    assert queries(viewer, run_page(Run.objects.first()) if url == "run" else url) == first


@pytest.mark.parametrize("url", [DASHBOARD, CLIENTS, REPORT])
def test_no_page_asks_more_queries_for_a_thousand_clients(viewer, url):
    fill(1)
    first = queries(viewer, url)
    fill(999)

    assert queries(viewer, url) == first


def test_the_page_of_a_client_asks_no_more_queries_for_a_longer_history(viewer):
    pk = make_full_client("idom")
    url = page_of("credentials_client", pk)
    make_comparison(pk, "match")
    run, user = make_run(1), User.objects.get()

    def moves(number: int) -> None:
        PhaseChange.objects.bulk_create(
            PhaseChange(client_id=pk, slug="idom", old="aws", new="dual_read", by=user, run=run)
            for _ in range(number)
        )

    moves(1)
    first = queries(viewer, url)
    moves(49)

    assert queries(viewer, url) == first
