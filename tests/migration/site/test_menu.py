"""The menu: nine entries at most, the tabs below each, their numbers, and what each page is called."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from migration.core.clients import all_clients
from migration.core.comparisons import count_clients_to_resolve
from migration.core.problems import FindingState
from migration.models import OpenMismatch, ProblemRecord
from migration.runs.models import Run
from migration.site.menu import ENTRIES, REQUESTS, find_here, get_menu_counts, list_pages
from migration.site.search import search_site
from tests.factories import make_client, make_comparison, make_in_role, make_many
from tests.migration.pages import DIFFERENT, every_page, login
from tests.page_forms import refusals_left_out

MENU = re.compile(r'(?s)<ol class="menu".*?</ol>')
TABS = re.compile(r'(?s)<nav class="page-tabs".*?</nav>')
LINK = re.compile(r'(?s)<a href="([^"]*)"([^>]*)>(?:<span.*?</span>)?([^<]*)(?:<b>(.*?)</b>)?</a>')


def read_links(part: re.Pattern[str], html: str) -> dict[str, tuple[str, bool, str]]:
    """Label -> address, whether it is the present one, and the number beside it."""
    found = part.search(html)
    links = LINK.findall(found[0]) if found else []
    return {
        label.strip().replace("&#x27;", "'"): (url, "aria-current" in how, number)
        for url, how, label, number in links
    }


@pytest.fixture
def root(client, db):
    client.force_login(User.objects.create_superuser("root", password="example-password"))
    return client


def test_it_has_eight_entries_and_requests_while_approval_is_on_or_one_is_open(root, settings):
    settings.NOVA_REQUIRE_APPROVAL = False
    page = reverse("admin:migration_run_notices")
    labels = [
        *("Dashboard", "Clients", "Campaigns", "Mismatches", "Health", "Audit", "Settings"),
        "People",
    ]
    assert [*read_links(MENU, root.get(page).content.decode())] == labels

    labels.insert(4, "Requests")
    run = Run.objects.create(kind=Run.Kind.PUSH, state=Run.State.REQUESTED)
    shown = read_links(MENU, root.get(page).content.decode())
    assert [*shown] == labels
    assert shown["Requests"][2] == "1"

    run.delete()
    settings.NOVA_REQUIRE_APPROVAL = True
    shown = read_links(MENU, root.get(page).content.decode())
    assert [*shown] == labels
    assert shown["Requests"][2] == ""


PRESENT = [
    ("migration_run_changelist", "Campaigns", "Runs"),
    ("migration_clientgroup_changelist", "Campaigns", "Groups"),
    ("migration_run_health", "Health", "Problems"),
    ("migration_readerprocess_changelist", "Health", "NOVA's processes"),
    ("migration_copysearch_report", "Health", "Copies"),
    ("migration_run_check_aws", "Health", "AWS permissions"),
    ("migration_run_settings", "Settings", "Overview"),
    ("credentials_columnmapping_changelist", "Settings", "NOVA's tables"),
    ("migration_run_aws_writes", "Settings", "AWS writes"),
    ("migration_run_secret_settings", "Settings", "Key and regions"),
    ("migration_run_cost", "Settings", "Cost"),
    ("migration_run_notices", "Settings", "Notices"),
    ("migration_comparison_report", "Mismatches", None),
    ("credentials_client_changelist", "Clients", None),
    ("failed_logins", "People", "Failed logins"),
    ("index", "Dashboard", None),
]


def test_one_entry_and_one_tab_is_the_present_one_and_a_list_has_its_name_in_one_heading(
    root, stores
):
    def present(part, html):
        return [label for label, (_url, is_it, _n) in read_links(part, html).items() if is_it]

    named = {reverse(f"admin:{page}"): (entry, tab) for page, entry, tab in PRESENT}
    places = {place.url: place for entry in ENTRIES for place in entry.places}
    for url in {**named, **places}:
        html = root.get(url).content.decode()
        if url in named:
            entry, tab = named[url]
            assert present(MENU, html) == [entry], url
            assert present(TABS, html) == ([tab] if tab else []), url
        if url in places:
            headings = re.findall(r"(?s)<h1[^>]*>(.*?)</h1>", html)
            assert [each.replace("&#x27;", "'") for each in headings] == [places[url].title]
            assert f"<title> {headings[0]} · NOVA Admin</title>" in re.sub(r"\s+", " ", html)


def test_a_page_below_a_tab_has_no_tabs_and_a_way_back(root):
    run = Run.objects.create(kind=Run.Kind.PUSH)

    html = root.get(reverse("admin:migration_run_change", args=[run.pk])).content.decode()

    assert read_links(TABS, html) == {}
    assert read_links(MENU, html)["Campaigns"][1]
    above = re.search(r'(?s)<nav class="page-above".*?</nav>', html)[0]
    assert re.findall(r'<a href="([^"]*)">([^<]*)</a>', above) == [
        (reverse("admin:migration_run_changelist"), "Runs")
    ]


def test_the_name_of_a_client_stands_in_the_line_of_the_title(root):
    page = reverse("admin:credentials_client_change", args=[make_client("acme")])

    for tab in ("overview", "logins", "comparison", "history"):
        html = root.get(f"{page}?tab={tab}").content.decode()
        line = html[html.index('<div class="page-title">') :].partition("</div>")[0]
        assert ('class="page-above"' in line, "<h1>ACME</h1>" in line) == (True, True)


def test_every_page_has_one_heading(viewer):
    for url in every_page():
        assert viewer.get(url).content.decode().count("<h1") == 1, url


def test_help_the_own_account_and_the_language_stand_below_ones_name(root):
    html = root.get("/admin/").content.decode()

    below = html[html.index('id="user-menu"') :]
    below = below[: below.index("</nav>")]
    for name in ("documents", "admin:second_factor", "admin:password_change", "set_language"):
        assert f'"{reverse(name)}"' in below
    assert re.findall(r'name="language" value="(\w+)"', below) == ["en", "es"]
    assert html.count('name="language"') == 2


def test_a_document_leads_back_to_help(root):
    html = root.get(reverse("document", args=["runbooks.md"])).content.decode()

    above = re.search(r'(?s)<nav class="page-above".*?</nav>', html)[0]
    assert re.findall(r'<a href="([^"]*)">([^<]*)</a>', above) == [(reverse("documents"), "Help")]


def test_who_may_not_see_the_first_tab_is_led_to_the_next(client, db):
    login(client, "narrow", "migration.view_run", "migration.view_copysearch")

    menu = read_links(MENU, client.get("/admin/").content.decode())

    assert {label: url for label, (url, _is_it, _n) in menu.items()} == {
        "Dashboard": reverse("admin:index"),
        "Campaigns": reverse("admin:migration_run_changelist"),
        "Health": reverse("admin:migration_copysearch_report"),
        "Settings": reverse("admin:migration_run_aws_writes"),
    }


# The other roles see no page that none of these sees.
@pytest.mark.parametrize("role", ["Approver", "Administrator", "User administrator", None])
def test_the_search_finds_every_page_that_opens_and_no_other(client, db, stores, role):
    user = make_in_role("vera", role) if role else login(client, "new")
    client.force_login(user)
    places = [place for entry in ENTRIES if entry is not REQUESTS for place in entry.places]
    request = RequestFactory().get("/admin/")
    request.user = user
    offered = {url for _title, _entry, url, _icon in list_pages(request)}

    with refusals_left_out():
        for place in places:
            found = [each.link for each in search_site(str(place.title), request)]
            may = client.get(place.url).status_code == 200
            assert (place.url in found, place.url in offered) == (may, may), place


def test_its_numbers_are_those_of_what_is_open(root, settings):
    pk = make_client("idom")
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
    findings = [{"state": FindingState.FAILED, "message": None, "remedy": None, "count": 1}]
    ProblemRecord.objects.create(code="writes_stopped", findings=findings)
    ProblemRecord.objects.create(code="no_worker", findings=[])

    menu = read_links(MENU, root.get(reverse("admin:migration_run_notices")).content.decode())

    assert OpenMismatch.objects.exists()
    assert {label: number for label, (_url, _is_it, number) in menu.items() if number} == {
        "Mismatches": "1",
        "Health": "1",
    }


def test_above_999_it_counts_no_further(root):
    make_many(1000)
    pk = all_clients().values_list("pk", flat=True)[0]
    make_comparison(pk, "mismatch", mismatches=[DIFFERENT])
    kept = OpenMismatch.objects.get()
    OpenMismatch.objects.bulk_create(
        OpenMismatch(
            client_id=pk, slug="many", path="email", kind="changed", comparison_id=kept.comparison_id, times=1,
            first_seen_at=timezone.now(), last_seen_at=timezone.now(),
        )
        for pk in all_clients().exclude(pk=pk).values_list("pk", flat=True)
    )  # fmt: skip

    menu = read_links(MENU, root.get(reverse("admin:migration_run_notices")).content.decode())

    assert count_clients_to_resolve() == 1000
    assert menu["Mismatches"][2] == "999+"


def test_its_numbers_take_one_query_and_where_a_page_belongs_takes_none(
    db, django_assert_num_queries
):
    request = RequestFactory().get(reverse("admin:migration_run_changelist"))
    request.user = User.objects.create_superuser("root")

    with django_assert_num_queries(0):
        assert find_here(request)
        counts = get_menu_counts(request)
    with django_assert_num_queries(1):
        assert [counts[each.count] for each in ENTRIES if each.count] == [0, 0, 0]


def test_health_shows_the_number_that_its_page_lists(root, stores):
    page = root.get(reverse("admin:migration_run_health"))

    menu = read_links(MENU, page.content.decode())
    assert menu["Health"][2] == str(len(page.context["open"]))
