"""The mismatch report: what its filters let through, what it offers, and the page of one comparison."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client
from migration.models import ClientOwner, OpenMismatch, ReadCount, Resolution, Secret
from tests.factories import VIEW, make_client, make_comparison, make_many, make_user
from tests.migration.pages import DIFFERENT, EXTRA, shown_rows, text
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db

REPORT = reverse("admin:migration_comparison_report")


def minutes_ago(number: int) -> datetime:
    return timezone.now() - timedelta(minutes=number)


@pytest.fixture
def maria(db) -> User:
    return make_user(
        "maria",
        *VIEW,
        *("migration.add_run", "migration.resolve_mismatch", "migration.set_client_owner"),
    )


@pytest.fixture
def browser(client, maria):
    client.force_login(maria)
    return client


@pytest.fixture
def rows(maria) -> dict[str, OpenMismatch]:
    """By client: `old` since yesterday, maria's client; `new` just now; `noted` acknowledged; `doubt` unclear since."""
    for slug, field in (("old", DIFFERENT), ("new", DIFFERENT), ("noted", EXTRA), ("doubt", EXTRA)):
        make_comparison(
            make_client(slug), "mismatch", slug=slug, mismatches=[field], compared_at=minutes_ago(5)
        )
    found = {row.slug: row for row in OpenMismatch.objects.all()}
    OpenMismatch.objects.filter(slug="old").update(
        first_seen_at=timezone.now() - timedelta(hours=25)
    )
    ClientOwner.objects.create(client_id=found["old"].client_id, owner=maria)
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


def test_the_report_is_narrowed_by_age_owner_state_and_slug(browser, rows):
    expected = {
        "": ["doubt", "new", "noted", "old"],
        "age=hour": ["old"],
        "age=day": ["old"],
        "age=week": [],
        "age=nonsense": [],
        "owner=mine": ["old"],
        # As earlier releases had it in their addresses.
        "owner=me": ["old"],
        "assigned=me": ["old"],
        "owner=none": ["doubt", "new", "noted"],
        "owner=999999999": [],
        "owner=9999999999999999999": [],
        "owner=nonsense": [],
        "state=open": ["doubt", "new", "old"],
        "state=acknowledged": ["noted"],
        "state=nonsense": [],
        "q=n": ["new", "noted"],
        "q=%25": [],
        "kind=extra&state=open": ["doubt"],
        "kind=different&owner=none": ["new"],
        # Its newest comparison could not be made: mismatch is no longer its result.
        "status=mismatch": ["new", "noted", "old"],
        "status=unchecked": ["doubt"],
    }

    def list_slugs(query: str) -> list[str]:
        with pages_left_out():
            page = browser.get(f"{REPORT}?{query}").context_data["page"]
        return [row.slug for row in page]

    assert {query: list_slugs(query) for query in expected} == expected


def test_another_person_is_chosen_by_id_and_is_not_me(browser, rows, maria):
    other = make_user("other", *VIEW)
    ClientOwner.objects.create(client_id=rows["new"].client_id, owner=other)

    assert slugs(browser.get(f"{REPORT}?owner={other.pk}")) == ["new"]
    assert slugs(browser.get(f"{REPORT}?owner={maria.pk}")) == slugs(
        browser.get(f"{REPORT}?owner=mine")
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
        "database.password differs only by spaces at the start or end 3 minutes ago 2 times, first 5 minutes ago",
        "Owner: maria",
        "database.password differs only by spaces at the start or end 5 minutes ago once, 1 day ago",
        "Acknowledged database.host only in AWS 5 minutes ago once, 5 minutes ago",
        "Could not check database.host only in AWS 5 minutes ago",
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


def test_a_viewer_is_offered_no_choice(client, rows):
    client.force_login(make_user("viewer", *VIEW))

    assert 'type="checkbox"' not in client.get(REPORT).content.decode()


def test_the_report_offers_what_makes_sense_for_the_clients_that_it_lists(browser, rows):
    make_comparison(make_client("equal"), "match", slug="equal")

    for query, acts in (
        ("", ["copy_to_aws", "copy_to_postgres", "acknowledge", "set_owner"]),
        ("?status=unchecked", ["acknowledge", "set_owner"]),
        ("?status=match", []),
    ):
        html = browser.get(REPORT + query).content.decode()

        addresses = {reverse("admin:migration_comparison_act", args=[act]) for act in acts}
        first, *found = re.findall(r'formaction="([^"?]+)', html)
        assert (first, set(found)) == (reverse("admin:migration_comparison_check"), addresses)


def test_a_client_with_many_fields_is_one_block(browser, rows):
    fields = [EXTRA | {"path": f"database.f{n}"} for n in range(7)]
    make_comparison(rows["new"].client_id, "mismatch", slug="new", mismatches=fields)

    response = browser.get(f"{REPORT}?q=new")

    assert len(slugs(response)) == 7
    assert len(response.context["page"].object_list) == 1
    assert response.content.decode().count('name="_selected_action"') == 1
    assert "7 differences in 1 client" in text(response)


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
        "Owner: maria",
        "Resolve it on the client's page",
    ):
        assert told in words


def test_the_page_of_an_old_comparison_says_so_and_leads_to_the_newest(browser, rows):
    old = rows["old"].comparison
    page = reverse("admin:migration_comparison_change", args=[old.pk])
    assert "This is an old comparison" not in text(browser.get(page))
    secret = {"name": "nova/clients/old", "arn": "arn", "version_id": "0123456789abcdef" * 4}
    Secret.objects.create(client_id=old.client_id, **secret)
    newest = make_comparison(old.client_id, "match", slug="old")

    response = browser.get(page)

    # However slow this machine is.
    made = r"This is an old comparison; the newest was made (now|an? .* ago|\d+ .* ago) \. See the newest"
    assert re.search(made, text(response))
    assert f"/comparison/{newest.pk}/change/" in response.content.decode()
    assert "version 01234567…" in text(response)
    assert "None now: the newest comparison matches." in text(response)
    title = re.search(r"(?s)<h1.*?</h1>", response.content.decode())[0]
    assert "Comparison of old: Mismatch" in title


def test_an_old_comparison_keeps_its_buttons_while_a_newer_one_differs_too(browser, rows):
    old = rows["old"].comparison
    make_comparison(old.client_id, "mismatch", slug="old", mismatches=[EXTRA])

    response = browser.get(reverse("admin:migration_comparison_change", args=[old.pk]))

    words = text(response)
    assert "This is an old comparison" in words
    assert "Compare now Resolve it on the client's page" in words
    (open_now,) = response.context["open_mismatches"]
    assert open_now.path == EXTRA["path"]


def test_a_comparison_that_could_not_check_offers_to_check_again(browser):
    comparison = make_comparison(make_client("idom"), "unchecked", slug="idom")

    words = text(browser.get(reverse("admin:migration_comparison_change", args=[comparison.pk])))

    assert "No field is known to differ now. Compare now" in words
    assert "Resolve it" not in words


def test_the_page_of_a_comparison_of_a_client_that_is_gone_is_shown(browser):
    comparison = make_comparison(4711, "mismatch", mismatches=[DIFFERENT])

    words = text(browser.get(reverse("admin:migration_comparison_change", args=[comparison.pk])))

    assert "database.password" in words
    assert "Resolve it" not in words
