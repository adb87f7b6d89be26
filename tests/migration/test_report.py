"""The mismatch report: what its filters let through, checking again, owners, and the page of one comparison."""

from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client
from migration.models import OpenMismatch, ReadCount, Resolution, Run, Secret
from tests.factories import VIEW, make_client, make_comparison, make_many, make_user
from tests.migration.admin.pages import DIFFERENT, EXTRA, shown_rows, text

pytestmark = pytest.mark.django_db

REPORT = reverse("admin:migration_comparison_report")
CHECK = reverse("admin:migration_comparison_check")
ASSIGN = reverse("admin:migration_comparison_assign")


def minutes_ago(number: int) -> datetime:
    return timezone.now() - timedelta(minutes=number)


@pytest.fixture
def maria(db) -> User:
    return make_user("maria", *VIEW, "migration.add_run", "migration.resolve_mismatch")


@pytest.fixture
def browser(client, maria):
    client.force_login(maria)
    return client


@pytest.fixture
def rows(maria) -> dict[str, OpenMismatch]:
    """By client: `old` since yesterday, maria's; `new` just now; `noted` acknowledged; `doubt` unclear since."""
    for slug, field in (("old", DIFFERENT), ("new", DIFFERENT), ("noted", EXTRA), ("doubt", EXTRA)):
        make_comparison(
            make_client(slug), "mismatch", slug=slug, mismatches=[field], compared_at=minutes_ago(5)
        )
    found = {row.slug: row for row in OpenMismatch.objects.all()}
    OpenMismatch.objects.filter(slug="old").update(
        owner=maria, first_seen_at=timezone.now() - timedelta(hours=25)
    )
    Resolution.objects.create(
        client_id=found["noted"].client_id,
        slug="noted",
        kind="acknowledge",
        mismatches=[{"status": "mismatch"}, EXTRA],
        until=timezone.localdate(),
    )
    make_comparison(found["doubt"].client_id, "unchecked", slug="doubt")
    return found


def slugs(response) -> list[str]:
    assert response.status_code == 200
    return [slug for slug, _ in shown_rows(response)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["doubt", "new", "noted", "old"]),
        ("age=hour", ["old"]),
        ("age=day", ["old"]),
        ("age=week", []),
        ("age=nonsense", []),
        ("owner=me", ["old"]),
        ("owner=none", ["doubt", "new", "noted"]),
        ("owner=999999999", []),
        ("owner=9999999999999999999", []),
        ("owner=nonsense", []),
        ("state=open", ["doubt", "new", "old"]),
        ("state=acknowledged", ["noted"]),
        ("state=nonsense", []),
        ("q=n", ["new", "noted"]),
        ("q=%25", []),
        ("kind=extra&state=open", ["doubt"]),
        ("kind=different&owner=none", ["new"]),
        # Its newest comparison could not be made: mismatch is no longer its result.
        ("status=mismatch", ["new", "noted", "old"]),
        ("status=unchecked", ["doubt"]),
    ],
)
def test_the_report_is_narrowed_by_age_owner_state_and_slug(browser, rows, query, expected):
    assert slugs(browser.get(f"{REPORT}?{query}")) == expected


def test_another_person_is_chosen_by_id_and_is_not_me(browser, rows, maria):
    other = make_user("other", *VIEW)
    OpenMismatch.objects.filter(slug="new").update(owner=other)

    assert slugs(browser.get(f"{REPORT}?owner={other.pk}")) == ["new"]
    assert slugs(browser.get(f"{REPORT}?owner={maria.pk}")) == slugs(
        browser.get(f"{REPORT}?owner=me")
    )


def test_a_row_tells_since_when_how_often_and_what_is_known_of_it(browser, rows):
    make_comparison(
        rows["new"].client_id,
        "mismatch",
        slug="new",
        mismatches=[DIFFERENT],
        compared_at=minutes_ago(3),
    )

    words = text(browser.get(REPORT)).replace("\xa0", " ")

    for told in (
        "new database password different value: only spaces at the ends 5 minutes ago 3 minutes ago 2 open –",
        "old database password different value: only spaces at the ends 1 day, 1 hour ago 5 minutes ago 1 open maria",
        "noted database host only in AWS 5 minutes ago 5 minutes ago 1 acknowledged –",
        "doubt database host only in AWS 5 minutes ago 5 minutes ago 1 open, could not be checked since –",
    ):
        assert told in words


def test_a_client_that_matches_says_what_the_reader_saw(browser):
    pk, unread = make_client("idom"), make_client("unread")
    make_comparison(pk, "match", slug="idom"), make_comparison(unread, "match", slug="unread")
    ReadCount.objects.create(client_id=pk, reads=1300, matches=1204, last_read_at=minutes_ago(4))

    words = text(browser.get(f"{REPORT}?status=match")).replace("\xa0", " ")

    assert "Matched 1,204 reads, last 4 minutes ago ." in words
    assert "NOVA's reader has not read it yet." in words
    assert "NOVA's reader matched 1,204 reads" in text(browser.get(REPORT))


def started() -> set[str]:
    """The slugs of the one run that was started."""
    run = Run.objects.get()
    assert run.kind == Run.Kind.COMPARE
    return set(run.items.values_list("slug", flat=True))


def test_the_chosen_rows_are_compared_again(browser, rows, maria):
    response = browser.post(CHECK, {"row": [rows["old"].pk, rows["new"].pk]})

    assert started() == {"old", "new"}
    assert Run.objects.get().by == maria
    assert response.url == reverse("admin:migration_run_change", args=[Run.objects.get().pk])


def test_the_chosen_clients_are_compared_again(browser, rows):
    browser.post(CHECK, {"client": [rows["doubt"].client_id]})

    assert started() == {"doubt"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"old", "new", "noted", "doubt"}),
        ("owner=me", {"old"}),
        ("status=unchecked", {"doubt"}),
        ("kind=extra&state=open", {"doubt"}),
    ],
)
def test_all_that_the_address_lets_through_is_compared_again(browser, rows, query, expected):
    make_comparison(make_client("equal"), "match", slug="equal")

    browser.post(f"{CHECK}?{query}", {"all": "1"})

    assert started() == expected


@pytest.mark.parametrize("data", [{}, {"row": "nonsense"}, {"row": "9" * 30}, {"client": "-1"}])
def test_where_nothing_is_chosen_nothing_starts_and_the_page_says_so(browser, rows, data):
    response = browser.post(f"{CHECK}?kind=extra", data, follow=True)

    assert response.request["QUERY_STRING"] == "kind=extra"
    assert "Nothing was checked: select a row first." in text(response)
    assert not Run.objects.exists()


def test_the_chosen_rows_are_given_to_somebody_and_back_to_nobody(browser, rows, maria):
    both = [rows["new"].pk, rows["noted"].pk]

    response = browser.post(f"{ASSIGN}?kind=extra", {"row": both, "owner": "maria"}, follow=True)

    assert "Assigned 2 rows to maria." in text(response)
    assert set(OpenMismatch.objects.filter(owner=maria).values_list("slug", flat=True)) == {
        "old", "new", "noted",
    }  # fmt: skip
    browser.post(ASSIGN, {"row": both, "owner": ""})
    assert list(OpenMismatch.objects.filter(owner=maria).values_list("slug", flat=True)) == ["old"]


@pytest.mark.parametrize("name", ["nobody-here", "gone", "guest"])
def test_only_who_may_enter_the_site_can_own_a_mismatch(browser, rows, name):
    make_user("gone", is_active=False), make_user("guest", is_staff=False)

    assert browser.post(ASSIGN, {"row": rows["new"].pk, "owner": name}).status_code == 404
    assert OpenMismatch.objects.get(pk=rows["new"].pk).owner is None


@pytest.mark.parametrize(
    ("permission", "url"), [("migration.resolve_mismatch", CHECK), ("migration.add_run", ASSIGN)]
)
def test_each_action_needs_its_own_permission_and_is_offered_to_no_other(
    client, rows, permission, url
):
    client.force_login(make_user("narrow", *VIEW, permission))

    assert client.post(url, {"row": rows["new"].pk, "owner": "", "all": "1"}).status_code == 403

    offered = client.get(REPORT).content.decode()
    assert ("Assign the selected rows" in offered) is (url == CHECK)
    assert ("Check the selected rows again" in offered) is (url == ASSIGN)
    assert not Run.objects.exists()


def test_a_viewer_is_offered_no_choice(client, rows):
    client.force_login(make_user("viewer", *VIEW))

    assert 'type="checkbox"' not in client.get(REPORT).content.decode()


@pytest.mark.parametrize("url", [CHECK, ASSIGN])
def test_an_action_is_not_done_by_a_link(browser, rows, url):
    assert browser.get(f"{url}?all=1").status_code == 405


def test_a_report_over_many_fields_is_shown_in_pages_in_the_order_of_slugs(browser):
    make_many(60, status="mismatch")

    first, second = browser.get(REPORT), browser.get(f"{REPORT}?page=2")

    assert (len(slugs(first)), len(slugs(second))) == (50, 10)
    assert slugs(first) + slugs(second) == sorted(f"many-{n}" for n in range(1, 61))


def test_the_page_of_a_comparison_tells_versions_and_who_wrote_last(browser, rows, maria):
    row = rows["old"]
    Secret.objects.create(
        client_id=row.client_id, name="nova/clients/old", arn="arn", version_id="v-17"
    )
    LogEntry.objects.create(
        user=maria,
        content_type=ContentType.objects.get_for_model(Client),
        object_id=str(row.client_id),
        object_repr="old",
        action_flag=CHANGE,
    )

    words = text(
        browser.get(reverse("admin:migration_comparison_change", args=[row.comparison_id]))
    )

    for told in (
        "0a1b2c3d",
        "Last saved on this site by maria",
        "nova/clients/old",
        "version v-17",
        "Open mismatches",
        "owner: maria",
        "Resolve it on the client's page",
    ):
        assert told in words


def test_the_page_of_a_comparison_of_a_client_that_is_gone_is_shown(browser):
    comparison = make_comparison(4711, "mismatch", mismatches=[DIFFERENT])

    words = text(browser.get(reverse("admin:migration_comparison_change", args=[comparison.pk])))

    assert "database.password" in words
    assert "Resolve it" not in words
