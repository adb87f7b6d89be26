"""The filters of the clients list: counts beside the choices, a chip for each that is used, and no script needed."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.clients import models
from migration.clients.models import renew_client_counts
from migration.core.clients import all_clients
from migration.core.problems import Look, list_results
from migration.models import ClientGroup, ClientMigration, KeptCounts
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_client, make_many
from tests.migration.pages import CLIENTS, RUNS, login, make_run, text
from tests.page_forms import pages_left_out


@pytest.fixture
def viewer(transactional_db, client):
    login(client, "viewer", *VIEW)
    return client


def choices_of(response) -> dict[str, str]:
    """Address of a choice -> its words."""
    html = response.content.decode()
    (panel,) = re.findall(r'(?s)<details class="[^"]*list-filters.*?</details>', html)
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
        r'<details class="[^"]*list-filters[^>]* hx-get="([^"]*)"',
        browser.get(address).content.decode(),
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
        r'(?s)<a class="(?:anywhere bg-base-100|list-used)[^>]*href="([^"]*)"[^>]*>(.*?)</a>', html
    )
    return {
        " ".join(re.sub("<[^>]*>", " ", words).split()).removesuffix(" close"): address.replace(
            "&amp;", "&"
        )
        for address, words in found
    }


def test_each_choice_says_how_many_clients_it_shows_as_the_other_filters_stand(viewer, monkeypatch):
    monkeypatch.setattr("migration.clients.admin.FEW_FOUND", 5)
    make_many(12, phase="dual_write")
    make_many(2, phase="dual_read", status="mismatch")
    make_client("cafe", name="Café")
    ClientGroup.objects.get_or_add("Wave 1").put_clients(all_clients().filter(slug="cafe"))

    shown = counted(viewer, CLIENTS)

    assert shown["?comparison=mismatch"] == "Mismatch 2"
    assert shown["?comparison=none"] == "Not compared yet 1"
    assert {words for words in shown.values() if words.startswith("Wave")} == {"Wave 1 1"}
    others = counted(viewer, f"{CLIENTS}?phase=dual_read&q=many")
    assert others["?comparison=mismatch&phase=dual_read&q=many"] == "Mismatch 2"
    assert others["?comparison=match&phase=dual_read&q=many"] == "Match 0"
    # Whatever is chosen of it, nobody would be shown.
    assert not any("rotation=" in address for address in (*shown, *others))


def look(browser, query: str = "") -> dict:
    """What the list is given; it isn't rendered."""
    with pages_left_out():
        return browser.get(f"{CLIENTS}{query}").context_data


def chips_above(shown: dict) -> dict[str, tuple[int | None, str]]:
    """Words of a chip above the list -> the number of clients, and its address."""
    return {str(chip.label): (chip.number, chip.url) for chip in shown["chips"]}


def test_the_chips_above_the_list_count_standings_and_phases_and_leave_out_nobody(viewer):
    make_many(3, phase="dual_write")
    make_many(2, phase="dual_read", status="mismatch")
    make_client("cafe", name="Café")

    shown = chips_above(look(viewer))
    standing = look(viewer, "?next=blocked&columns=owner")
    searched = chips_above(look(viewer, "?q=cafe"))

    assert {label: number for label, (number, _url) in shown.items()} == {
        "All": 6, "Waiting": 5, "Blocked": 1, "PostgreSQL": 1, "Dual write": 3, "Dual read": 2,
    }  # fmt: skip
    assert shown["Blocked"][1] == "?next=blocked"
    assert standing["cl"].result_count == 1
    # As the other one stands; the one in use is taken away by a click.
    assert chips_above(standing) == {
        "All": (6, "?columns=owner"),
        "Waiting": (5, "?columns=owner&next=waiting"),
        "Blocked": (1, "?columns=owner"),
        "PostgreSQL": (1, "?columns=owner&next=blocked&phase=postgres"),
    }
    assert [str(chip.label) for chip in standing["chips"] if chip.is_current] == ["Blocked"]
    assert searched.keys() == {"All", "Blocked", "PostgreSQL"}
    assert searched["PostgreSQL"] == (1, "?phase=postgres&q=cafe")


def test_a_chip_shows_as_many_clients_as_it_says(viewer, clients):
    chips = chips_above(look(viewer))
    for chip in ("Ready", "Waiting", "Blocked", "Done"):
        number, url = chips[chip]

        assert look(viewer, url)["cl"].result_count == number > 0


def test_of_many_clients_the_workers_count_the_chips_and_a_late_count_is_made_anew(
    viewer, monkeypatch
):
    monkeypatch.setattr(models, "STANDINGS_KEPT_FROM", 2)
    make_client("a"), make_client("b")
    renew_client_counts()
    make_client("c")

    shown = look(viewer)
    assert chips_above(shown)["All"][0] == 2
    assert shown["chips_counted_at"] == KeptCounts.objects.get(pk=KeptCounts.STANDINGS).counted_at
    # With a search it is counted.
    searched = look(viewer, "?q=example")
    assert chips_above(searched)["All"][0] == 0
    assert searched["chips_counted_at"] is None
    KeptCounts.objects.update(counts={"rows": [["postgres", "of another release", True, 9]]})
    assert chips_above(look(viewer))["All"][0] == 3
    renew_client_counts()
    KeptCounts.objects.update(counted_at=timezone.now() - models.KEPT_FOR)
    make_client("d")
    assert chips_above(look(viewer))["All"][0] == 4
    # Where very many are narrowed, they have no numbers.
    monkeypatch.setattr("migration.clients.list.MOST_COUNTED", 1)
    for query in ("?active=yes", "?active=yes&phase=postgres"):
        shown = chips_above(look(viewer, query))
        assert {number for number, _url in shown.values()} == {None}
        assert len(shown) == 10


# Of the statement that counts for most filters together.
COUNTS_OF_CHOICES = ('AS "number_0"',)


def test_the_list_counts_no_choice_before_its_filters_are_opened(viewer):
    make_many(3, phase="dual_write")

    def count_statements(query: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            viewer.get(f"{CLIENTS}{query}")
        asked = [query["sql"] for query in captured]
        return [sql for sql in asked if any(words in sql for words in COUNTS_OF_CHOICES)]

    for query in ("?q=many", "?phase=dual_write&next=ready"):
        assert count_statements(query) == []
    assert count_statements("?q=many&_facets=1")
    assert choices_of(viewer.get(CLIENTS)) == {"?_facets=True": "Show filters"}
    # Without a script that link counts, and the choices lead on without it.
    page = viewer.get(f"{CLIENTS}?phase=dual_write&_facets=True")
    shown = choices_of(page)
    assert shown["?comparison=match&phase=dual_write"] == "Match 3"
    assert "?failed=push&phase=dual_write" not in shown
    assert not any("_facets" in address for address in shown)
    assert re.search(r'<details class="[^"]*list-filters[^>]* open>', page.content.decode())
    assert "3 clients" in text(page)


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


def test_a_search_that_finds_few_is_made_once_for_the_whole_page(viewer, monkeypatch):
    make_client("cafe", name="Café"), make_client("idom")
    for few, searches in ((1, 1), (0, 6)):
        monkeypatch.setattr("migration.clients.admin.FEW_FOUND", few)

        with CaptureQueriesContext(connection) as captured:
            page = viewer.get(f"{CLIENTS}?q=cafe&phase=postgres")

        assert [client.slug for client in page.context["cl"].result_list] == ["cafe"]
        assert "1 client" in text(page)
        looked_for = [query for query in captured if "LIKE '%' || REPLACE" in query["sql"]]
        assert len(looked_for) == searches
        shown = counted(viewer, f"{CLIENTS}?q=cafe&phase=postgres")
        assert shown["?active=yes&phase=postgres&q=cafe"] == "Yes 1"
        assert not look(viewer, "?q=nobody")["cl"].result_list


def test_a_chip_for_each_filter_takes_it_away(viewer):
    make_client("cafe", name="Café")
    assert chips_of(viewer.get(CLIENTS)) == {}

    response = viewer.get(f"{CLIENTS}?phase=postgres&active=yes&q=cafe")

    assert chips_of(response) == {
        "Search: cafe": "?active=yes&phase=postgres",
        "Active: Yes": "?phase=postgres&q=cafe",
    }
    html = unescape(response.content.decode())
    assert 'href="?">Clear filters</a>' in html
    # The address of what is shown is copied beside them.
    assert f'data-copy="http://testserver{CLIENTS}?phase=postgres&active=yes&q=cafe"' in html
    assert chips_of(viewer.get(f"{CLIENTS}?next=in_aws&phase=aws")) == {
        "Next step: In AWS": "?phase=aws"
    }


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
        assert {row.slug for row in look(viewer, f"?{query}")["cl"].result_list} == slugs
    chips = chips_of(viewer.get(f"{CLIENTS}?push=refused_again"))
    assert "Push: Refused, of clients that write both stores" in chips
    (found,) = list_results(Look(), only=["push_refused"])
    assert [(each.count, each.url) for each in found.failed] == [
        (1, f"{CLIENTS}?push=refused_again")
    ]
