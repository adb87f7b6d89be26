"""The lists of clients and of runs, and the page of a client in the admin."""

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from migration.models import ClientMigration, PhaseChange, ReadCount
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_comparison, make_full_client
from tests.migration.pages import (
    CLIENTS,
    COMPARISONS,
    DIFFERENT,
    RUNS,
    close,
    every_page,
    make_run,
    page_of,
    run_page,
    text,
)
from tests.page_forms import pages_left_out, refusals_left_out

NARROWED = {
    "": ["a", "b", "c", "d"],
    "phase=postgres": ["a", "d"],
    "phase=dual_write": ["b"],
    "phase=aws": ["c"],
    "phase=purged": [],
    "comparison=match": ["b"],
    "comparison=unchecked": ["c"],
    "comparison=none": ["a", "d"],
    "push=pending": ["b", "c"],
    "active=yes": ["a", "b", "c"],
    "active=no": ["d"],
    "q=B": ["b"],
    "phase=postgres&active=no": ["d"],
}


def list_slugs(browser, query: str) -> list[str]:
    return [each.slug for each in list_rows(browser, f"{CLIENTS}?{query}")]


def list_rows(browser, url: str) -> list:
    with pages_left_out():
        response = browser.get(url)
    assert response.status_code == 200, url
    return list(response.context_data["cl"].result_list)


def test_the_clients_are_narrowed_by_where_they_stand(viewer):
    _a, b, c, d = (
        make_client("a"), make_client("b"), make_client("c"), make_client("d", is_active=None),
    )  # fmt: skip
    for pk, phase, status in ((b, Phase.DUAL_WRITE, "match"), (c, Phase.AWS, "unchecked")):
        make_comparison(pk, status)
        ClientMigration.objects.filter(pk=pk).update(phase=phase)
    # Known to the site, and not compared.
    ClientMigration.objects.create(client_id=d, phase=Phase.POSTGRES)

    assert {query: list_slugs(viewer, query) for query in NARROWED} == NARROWED


@pytest.fixture
def read_clients(stores):
    """Clients by when NOVA last read them; one of each in a phase in which reads are counted, one before it."""
    now, day = timezone.now(), timedelta(days=1)
    times = {
        "now": now - timedelta(hours=1),
        "old": now - 2 * day,
        "wrong-clock": now + 30 * day,
        "unread": None,
    }
    for slug, last in times.items():
        pk = make_client(slug)
        ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_READ)
        if last:
            ReadCount.objects.create(client_id=pk, reads=1, last_read_at=last)
    make_client("in-postgres")


def test_the_clients_are_narrowed_by_when_nova_read_them(viewer, read_clients):
    narrowed = {
        "day": ["now"],
        "not": ["old", "unread", "wrong-clock"],
        "never": ["unread"],
        "else": ["in-postgres", "now", "old", "unread", "wrong-clock"],
    }
    assert {value: list_slugs(viewer, f"read={value}") for value in narrowed} == narrowed


def test_the_list_shows_when_nova_last_read_a_client(viewer):
    pk = make_client("idom")
    ReadCount.objects.create(
        client_id=pk, reads=1, last_read_at=timezone.now() - timedelta(hours=3, minutes=1)
    )

    assert "3 hours ago" in text(viewer.get(CLIENTS)).replace("\xa0", " ")


def test_the_list_says_never_only_where_reads_are_counted(viewer):
    for slug, phase in (("a", Phase.DUAL_WRITE), ("b", Phase.DUAL_READ)):
        ClientMigration.objects.create(client_id=make_client(slug), phase=phase)

    with pages_left_out():
        changelist = viewer.get(CLIENTS).context_data["cl"]

    shown = [changelist.model_admin.read_when(each) for each in changelist.result_list]
    assert shown == ["<small>–</small>", "Never"]


def test_a_push_is_pending_where_the_newest_rows_are_not_in_aws(viewer, stores):
    from migration.pushes.pushes import push

    pk = make_full_client("idom")
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    assert "Push pending" in text(viewer.get(page_of("credentials_client", pk)))

    push(client_ids=[pk])

    assert "Push pending" not in text(viewer.get(page_of("credentials_client", pk)))
    assert not list_slugs(viewer, "push=pending")


def test_the_page_of_a_client_tells_phase_secret_comparison_and_moves(viewer):
    pk = make_full_client("idom")
    make_comparison(pk, "mismatch", slug="idom", mismatches=[DIFFERENT])
    ClientMigration.objects.change_phase(
        [pk], Phase.POSTGRES, Phase.DUAL_WRITE, by=User.objects.get(), reason="Trial"
    )

    tabs = ("overview", "comparison", "history")
    words = "".join(
        text(viewer.get(f"{page_of('credentials_client', pk)}?tab={tab}")) for tab in tabs
    )

    for told in (
        "Dual write",
        "nova/clients/idom",
        "database.password",
        "0a1b2c3d",
        "Trial",
    ):
        assert told in words
    assert PhaseChange.objects.count() == 1


def test_the_page_of_a_client_whose_name_no_secret_can_have_says_so(viewer):
    pk = make_client("bad slug")

    page = f"{page_of('credentials_client', pk)}?tab=comparison"
    assert "Invalid name" in text(viewer.get(page))


SEARCHES = ["%", "_", "a\0b", "'", '"', "\\", "(", "x" * 5000, "密码", "a b c"]
NONSENSE = [
    "p=999", "p=-1", "p=abc", "o=bad", "o=99", "o=-1.2.x", "all=", "e=1", "nonsense=1",
    "phase=nonsense", "comparison=nonsense", "push=nonsense", "active=nonsense",
    "state=nonsense", "kind__exact=nonsense", "status__exact=nonsense", "id__exact=abc",
]  # fmt: skip
FILTERS = ["phase", "comparison", "push", "active", "state", "kind__exact", "status__exact"]


def test_any_address_of_a_list_is_answered(viewer):
    """Two of each list are rendered too; the others differ in what is asked of the database alone."""
    every_page()
    asked = dict.fromkeys(NONSENSE, (200,))
    asked |= {urlencode({"q": each}): (200, 400) if "\0" in each else (200,) for each in SEARCHES}
    asked |= {f"{name}=%00": (200, 400) for name in FILTERS}

    for url in (CLIENTS, RUNS, COMPARISONS):
        with refusals_left_out():
            answers = {
                query: viewer.get(f"{url}?{query}", follow=True).status_code for query in asked
            }
        assert {query: code for query, code in answers.items() if code not in asked[query]} == {}
        for query in (urlencode({"q": SEARCHES[4]}), "q=%3Cb%3E&p=999&nonsense=1"):
            assert viewer.get(f"{url}?{query}", follow=True).status_code == 200


def test_every_column_of_the_lists_can_be_sorted_by(viewer):
    every_page()

    with pages_left_out():
        for url in (CLIENTS, RUNS, COMPARISONS):
            for order in (f"{sign}{column}" for column in range(9) for sign in ("", "-")):
                answer = viewer.get(f"{url}?o={order}", follow=True)
                assert answer.status_code == 200
                assert list(answer.context_data["cl"].result_list), order


def test_the_runs_are_narrowed_by_state_and_kind(viewer):
    make_run(1)
    failed = make_run(2)
    close(failed, 2, Outcome.FAILED), failed.finish_if_done()
    Run.objects.create(kind=Run.Kind.PUSH, state="finished", finished_at=timezone.now())

    narrowed = {
        "": 3,
        "state=running": 1,
        "state=finished": 2,
        "state=failed": 1,
        "kind__exact=push": 1,
    }
    assert {query: len(list_rows(viewer, f"{RUNS}?{query}")) for query in narrowed} == narrowed


def test_the_list_of_runs_counts_each_runs_items(viewer):
    run = make_run(5)
    close(run, 2, Outcome.FAILED)
    close(run, 1, Outcome.COMPARED, comparison_status="mismatch")

    words = text(viewer.get(RUNS))

    assert "3 of 5" in words
    page = viewer.get(RUNS).content.decode()
    for tab, said in (("failed", "2 failed"), ("differs", "1 differs")):
        (link,) = re.findall(
            rf'<a [^>]*href="{run_page(run)}\?items={tab}">(.*?)</a>', page, re.DOTALL
        )
        assert said in " ".join(re.sub(r"<[^>]*>", " ", link).split())
    (shown,) = viewer.get(RUNS).context["cl"].result_list
    assert (shown.failed, shown.mismatched) == (2, 1)


def test_the_list_of_runs_leaves_out_the_comparisons_of_the_schedule(viewer):
    somebody = User.objects.create(username="maria")
    sweep, push = make_run(1, Run.Kind.COMPARE), make_run(1, Run.Kind.PUSH)
    asked = make_run(1, Run.Kind.COMPARE, by=somebody)

    def listed(query: str) -> set[int]:
        return {run.pk for run in list_rows(viewer, f"{RUNS}{query}")}

    for query in ("", "?state=running", "?o=1"):
        assert listed(query) == {push.pk, asked.pk}
    assert listed("?kind__exact=compare") == {asked.pk}
    for query in ("?sweeps=shown", "?state=running&sweeps=shown", "?o=1&sweeps=shown"):
        assert listed(query) == {sweep.pk}
    assert "are hidden. Show them" in text(viewer.get(RUNS))
    assert "are left out." not in text(viewer.get(f"{RUNS}?sweeps=shown"))
