"""The filters of the clients list: counts beside the choices, a chip for each that is used, and no script needed."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.core.clients import all_clients
from migration.core.problems import Look, list_results
from migration.models import ClientGroup, ClientMigration
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_many
from tests.migration.pages import CLIENTS, RUNS, login, make_run, text


@pytest.fixture
def viewer(transactional_db, client):
    login(client, "viewer", *VIEW)
    return client


def choices_of(response) -> dict[str, str]:
    """Address of a choice -> its words."""
    html = response.content.decode()
    (panel,) = re.findall(r"(?s)<details class=\"list-filters.*?</details>", html)
    return links_of(panel)


def links_of(panel: str) -> dict[str, str]:
    links = re.findall(r'(?s)<a [^>]*href="([^"]*)">(.*?)</a>', panel)
    return {
        address.replace("&amp;", "&"): " ".join(re.sub("<[^>]*>", " ", words).split())
        for address, words in links
    }


def counted(browser, address: str) -> dict[str, str]:
    """The choices as the page has them once its filters are opened."""
    (path,) = re.findall(
        r'<details class="list-filters[^>]* hx-get="([^"]*)"', browser.get(address).content.decode()
    )
    html = browser.get(
        CLIENTS + path.replace("&amp;", "&"), headers={"HX-Request": "true"}
    ).content.decode()
    assert "<html" not in html
    return links_of(html)


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

    shown = counted(viewer, CLIENTS)
    narrowed = viewer.get(f"{CLIENTS}?phase=dual_read&q=many")

    assert shown["?phase=dual_write"] == "Dual write 1,200"
    assert shown["?phase=postgres"] == "PostgreSQL 1"
    assert shown["?comparison=mismatch"] == "Mismatch 2"
    assert shown["?comparison=none"] == "Not compared yet 1"
    assert {words for words in shown.values() if words.startswith("Wave")} == {"Wave 1 1"}
    assert "1,203 clients" in text(viewer.get(CLIENTS))
    others = counted(viewer, f"{CLIENTS}?phase=dual_read&q=many")
    assert others["?phase=dual_write&q=many"] == "Dual write 1,200"
    assert others["?comparison=mismatch&phase=dual_read&q=many"] == "Mismatch 2"
    assert others["?comparison=match&phase=dual_read&q=many"] == "Match 0"
    assert "2 results" in text(narrowed)
    assert "1,203 total" in text(narrowed)


# The columns of the statements that count: of most filters together, and of the next steps.
COUNTS_OF_CHOICES = ('AS "number_0"', 'AS "fits"')


@pytest.mark.parametrize("query", ["", "?q=many", "?phase=dual_write&next=ready"])
def test_the_list_counts_no_choice_before_its_filters_are_opened(viewer, query):
    make_many(3, phase="dual_write")

    def count_statements(address: str, **how) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(address, **how)
        asked = [query["sql"] for query in captured]
        return [sql for sql in asked if any(words in sql for words in COUNTS_OF_CHOICES)]

    assert count_statements(f"{CLIENTS}{query}") == []
    assert count_statements(f"{CLIENTS}{query}{'&' if query else '?'}_facets=1")
    shown = choices_of(viewer.get(CLIENTS))
    assert shown["?phase=dual_write"] == "Dual write"
    assert shown["?_facets=True"] == "Count the clients behind each choice"


def test_the_columns_are_read_of_the_clients_of_the_page_alone(viewer):
    make_many(60, phase="dual_write")

    with CaptureQueriesContext(connection) as captured:
        page = viewer.get(f"{CLIENTS}?o=-1&p=2")

    listed = [client.slug for client in page.context["cl"].result_list]
    names = all_clients().order_by("-name", "pk").values_list("slug", flat=True)
    assert listed == list(names[50:])
    sorted_ones = [
        query["sql"]
        for query in captured
        if "LIMIT 10" in query["sql"] and 'ORDER BY "public"."clients"' in query["sql"]
    ]
    (ids,) = sorted_ones
    assert ids.startswith('SELECT "public"."clients"."id" AS "pk" FROM')


@pytest.mark.parametrize(("few", "searches"), [(1, 1), (0, 3)])
def test_a_search_that_finds_few_is_made_once_for_the_whole_page(
    viewer, monkeypatch, few, searches
):
    monkeypatch.setattr("migration.clients.admin.FEW_FOUND", few)
    make_client("cafe", name="Café"), make_client("idom")

    with CaptureQueriesContext(connection) as captured:
        page = viewer.get(f"{CLIENTS}?q=cafe&phase=postgres")

    assert [client.slug for client in page.context["cl"].result_list] == ["cafe"]
    assert "1 result" in text(page)
    looked_for = [query for query in captured if "LIKE '%' || REPLACE" in query["sql"]]
    assert len(looked_for) == searches
    shown = counted(viewer, f"{CLIENTS}?q=cafe&phase=aws")
    assert shown["?phase=postgres&q=cafe"] == "PostgreSQL 1"
    assert not viewer.get(f"{CLIENTS}?q=nobody").context["cl"].result_list


def test_without_a_script_a_link_counts_and_the_choices_lead_on_without_it(viewer):
    make_many(3, phase="dual_write")

    page = viewer.get(f"{CLIENTS}?phase=dual_write&_facets=True")

    shown = choices_of(page)
    assert shown["?comparison=match&phase=dual_write"] == "Match 3"
    assert shown["?failed=push&phase=dual_write"] == "Push 0"
    assert not any("_facets" in address for address in shown)
    assert re.search(r'<details class="list-filters[^>]* open>', page.content.decode())
    assert "3 clients" in text(page)


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


def test_the_address_of_what_is_shown_is_copied_beside_the_chips(viewer):
    shown = "/admin/credentials/client/?phase=postgres&q=idom"
    html = unescape(viewer.get(shown).content.decode())

    assert f'data-copy="http://testserver{shown}"' in html
    assert f'<noscript><a class="text-link underline" href="{shown}">' in html
    assert "Copy link" not in viewer.get(CLIENTS).content.decode()


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

    shown = counted(viewer, CLIENTS)

    assert shown["?push=refused"] == "Refused 2"
    for query, slugs in (
        ("next=push_refused", {"again", "never"}),
        ("push=refused", {"again", "never"}),
        ("push=refused_again", {"again"}),
    ):
        response = viewer.get(f"{CLIENTS}?{query}")
        assert {row.slug for row in response.context["cl"].result_list} == slugs
    assert "Push: Refused, of clients that write both stores" in chips_of(response)
    (found,) = list_results(Look(), only=["push_refused"])
    assert [(each.count, each.url) for each in found.failed] == [
        (1, f"{CLIENTS}?push=refused_again")
    ]
