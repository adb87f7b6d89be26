"""The filters of the clients list: counts beside the choices, a chip for each that is used, and no script needed."""

import re

import pytest

from migration.models import ClientGroup, ClientMigration, all_clients
from migration.reports.dashboard import load_dashboard
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_many
from tests.migration.admin.pages import CLIENTS, RUNS, login, make_run, text


@pytest.fixture
def viewer(transactional_db, client):
    login(client, "viewer", *VIEW)
    return client


def choices_of(response) -> dict[str, str]:
    """Address of a choice -> its words."""
    html = response.content.decode()
    (panel,) = re.findall(r"(?s)<details class=\"list-filters.*?</details>", html)
    links = re.findall(r'(?s)<a [^>]*href="([^"]*)">(.*?)</a>', panel)
    return {
        address.replace("&amp;", "&"): " ".join(re.sub("<[^>]*>", " ", words).split())
        for address, words in links
    }


def chips_of(response) -> dict[str, str]:
    """Words of a chip -> the address without it."""
    html = response.content.decode()
    found = re.findall(
        r'(?s)<a class="anywhere bg-base-100[^>]*href="([^"]*)"[^>]*>(.*?)</a>', html
    )
    return {
        " ".join(re.sub("<[^>]*>", " ", words).split()).removesuffix(" close"): address.replace(
            "&amp;", "&"
        )
        for address, words in found
    }


def test_each_choice_says_how_many_clients_it_shows_as_the_other_filters_stand(viewer):
    make_many(1200, phase="dual_write")
    make_many(2, phase="dual_read", status="mismatch")
    make_client("cafe", name="Café")
    ClientGroup.objects.get_or_add("Wave 1").put_clients(all_clients().filter(slug="cafe"))

    shown = choices_of(viewer.get(CLIENTS))
    narrowed = viewer.get(f"{CLIENTS}?phase=dual_read&q=many")

    assert shown["?phase=dual_write"] == "Dual write 1,200"
    assert shown["?phase=postgres"] == "PostgreSQL 1"
    assert shown["?comparison=mismatch"] == "Mismatch 2"
    assert shown["?comparison=none"] == "Not compared yet 1"
    assert {words for words in shown.values() if words.startswith("Wave")} == {"Wave 1 1"}
    assert "1,203 clients" in text(viewer.get(CLIENTS))
    others = choices_of(narrowed)
    assert others["?phase=dual_write&q=many"] == "Dual write 1,200"
    assert others["?comparison=mismatch&phase=dual_read&q=many"] == "Mismatch 2"
    assert others["?comparison=match&phase=dual_read&q=many"] == "Match 0"
    assert "2 results" in text(narrowed)
    assert "1,203 total" in text(narrowed)


def test_a_chip_for_each_filter_takes_it_away(viewer):
    make_client("cafe", name="Café")
    assert chips_of(viewer.get(CLIENTS)) == {}

    response = viewer.get(f"{CLIENTS}?phase=postgres&active=yes&q=cafe")

    assert chips_of(response) == {
        "Search: cafe": "?active=yes&phase=postgres",
        "Phase: PostgreSQL": "?active=yes&q=cafe",
        "Active: Yes": "?phase=postgres&q=cafe",
    }
    assert 'href="?">Clear all filters</a>' in response.content.decode()


def test_other_lists_have_chips_and_filters_without_a_script_too(viewer):
    make_run(1)

    response = viewer.get(f"{RUNS}?state=running")

    assert chips_of(response) == {"State: Running": "?"}
    assert "?kind__exact=push" in " ".join(choices_of(response))
    assert "filterOpen" not in response.content.decode()


def test_a_refused_push_is_counted_alike_by_each_filter_whatever_the_phase(viewer):
    """A first push that is refused leaves its client in PostgreSQL."""
    never, again = make_client("never"), make_client("again")
    ClientMigration.objects.create(client_id=again, phase=Phase.DUAL_WRITE)
    make_client("fine")
    revisions = all_clients().with_revision().values_list("pk", "revision")
    refused = [(pk, revision) for pk, revision in revisions if pk in (never, again)]
    ClientMigration.objects.record_refused(refused)

    shown = choices_of(viewer.get(CLIENTS))

    assert shown["?push=refused"] == "Refused 2"
    for query, slugs in (
        ("next=push_refused", {"again", "never"}),
        ("push=refused", {"again", "never"}),
        ("push=refused_again", {"again"}),
    ):
        response = viewer.get(f"{CLIENTS}?{query}")
        assert {row.slug for row in response.context["cl"].result_list} == slugs
    assert "Push: Refused, of clients that write both stores" in chips_of(response)
    (alert,) = [each for each in load_dashboard().alerts if "can't be pushed" in each.sentence]
    assert (alert.count, alert.url) == (1, f"{CLIENTS}?push=refused_again")
