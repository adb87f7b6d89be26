"""Each user reads times in their own time zone, with UTC on hover; days that are stored are the site's."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from credentials.localization import find_site_day, show_moment
from migration.core.audit import PUSH_EVENT, AuditEvent
from migration.core.comparisons import ACKNOWLEDGEMENT_WITHDRAWN
from migration.models import TimeZoneChoice
from migration.people.time_zones import TIME_ZONE, find_time_zone, list_time_zones
from migration.templatetags.migration_pages import exact_moment, time_ago
from tests.factories import VIEW, make_client, make_user

PAGE = reverse("admin:time_zone")
AUDIT = reverse("admin:migration_auditevent_changelist")
MOMENT = datetime(2026, 11, 30, 23, 7, 5, tzinfo=UTC)


@pytest.fixture
def maria(db, client) -> User:
    user = make_user("maria", *VIEW, "migration.view_auditevent")
    client.force_login(user)
    return user


def test_a_zone_is_chosen_for_oneself_and_read_at_every_login(maria, client):
    other = make_user("eva")
    assert client.post(PAGE, {"zone": "Europe/Madrid"}).url == PAGE

    assert TimeZoneChoice.objects.get().pk == maria.pk
    assert client.session[TIME_ZONE] == "Europe/Madrid"
    client.force_login(other)
    assert TIME_ZONE not in client.session
    client.force_login(maria)
    assert client.session[TIME_ZONE] == "Europe/Madrid"
    assert client.get(PAGE).context["form"].initial["zone"] == "Europe/Madrid"
    client.post(PAGE, {"zone": "UTC"})
    assert TimeZoneChoice.objects.get().name == "UTC"


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "Europe/Madrid\0", "US/Pacific"]
)
def test_what_is_no_zone_is_refused(maria, client, name):
    answer = client.post(PAGE, {"zone": name})

    assert (answer.status_code, answer.context["form"].is_valid()) == (200, False)
    assert not TimeZoneChoice.objects.exists()
    assert find_time_zone(name) is None


@pytest.mark.parametrize(
    ("zone", "when"),
    [
        ("Pacific/Kiritimati", "9999-12-31 23:59:59"),
        ("America/Los_Angeles", "0001-01-01 00:00:00"),
    ],
)
def test_a_client_that_nova_made_at_the_end_of_time_takes_no_list_down(
    maria, client, stores, zone, when
):
    make_client("idom", created_at=when)
    client.post(PAGE, {"zone": zone})

    listed = client.get(reverse("admin:credentials_client_changelist"), {"columns": "since"})

    assert when[:4] in listed.content.decode()


def test_only_who_is_logged_in_chooses(db, client):
    assert client.get(PAGE).status_code == client.post(PAGE, {"zone": "UTC"}).status_code == 302
    assert not TimeZoneChoice.objects.exists()


def test_a_page_shows_times_in_that_zone_with_utc_on_hover_and_asks_the_database_no_more(
    maria, client
):
    event = AuditEvent.make_signed(
        PUSH_EVENT, ACKNOWLEDGEMENT_WITHDRAWN(), happened_at=MOMENT, slug="idom", client_id=1
    )
    event.save(force_insert=True)
    asked = []
    for zone, shown in (("UTC", "30 Nov 2026, 23:07"), ("Asia/Tokyo", "1 Dec 2026, 08:07")):
        client.post(PAGE, {"zone": zone})
        entry = f"{AUDIT}{event.pk}/change/"
        client.get(entry)
        with CaptureQueriesContext(connection) as captured:
            page = client.get(entry).content.decode()
        asked.append(len(captured))
        assert f'title="30 Nov 2026, 23:07:05 UTC">{shown}</time>' in page
    assert len(set(asked)) == 1
    # Its days are those of the reader too.
    today = timezone.localtime(event.at, find_time_zone("Asia/Tokyo")).date()
    for day, number in ((today - timedelta(days=1), 0), (today, 1)):
        query = {"since": day, "until": day, "slug": "idom"}
        assert len(client.get(AUDIT, query).context["rows"]) == number


def test_a_session_with_a_zone_that_is_gone_is_that_of_the_site(maria, client):
    session = client.session
    session[TIME_ZONE] = "Nowhere/There"
    session.save()

    assert client.get(PAGE).status_code == 200


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(seconds=0), "1 second ago"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(seconds=119), "1 minute ago"),
        (timedelta(minutes=34, seconds=54), "34 minutes ago"),
        (timedelta(hours=1, minutes=55), "1 hour ago"),
        (timedelta(days=63), "63 days ago"),
        (timedelta(days=-6, minutes=-1), "in 6 days"),
    ],
)
def test_an_age_is_said_in_its_largest_unit_and_never_rounded_up(length, shown):
    assert re.search(r">(.*)</time>", time_ago(timezone.now() - length))[1] == shown


@pytest.mark.parametrize(
    ("language", "zone", "shown", "in_text"),
    [
        ("en", "UTC", "30 Nov 2026, 23:07", "30 Nov 2026, 23:07 UTC"),
        ("en", "Europe/Madrid", "1 Dec 2026, 00:07", "1 Dec 2026, 00:07 CET"),
        ("es", "Europe/Madrid", "1 dic 2026, 00:07", "1 dic 2026, 00:07 CET"),
        ("en", "America/Sao_Paulo", "30 Nov 2026, 20:07", "30 Nov 2026, 20:07 UTC-03"),
    ],
)
def test_a_moment_is_written_one_way_in_each_language(language, zone, shown, in_text):
    with translation.override(language), timezone.override(find_time_zone(zone)):
        assert f">{shown}</time>" in exact_moment(MOMENT)
        assert show_moment(MOMENT) == in_text


def test_the_last_moment_that_can_be_stored_is_shown_everywhere():
    last = datetime.max.replace(tzinfo=UTC)
    with timezone.override(find_time_zone("Asia/Tokyo")):
        assert "31 Dec 9999, 23:59" in exact_moment(last)
        assert show_moment(last).startswith("31 Dec 9999")


def test_the_day_by_which_things_are_stored_is_the_sites_whoever_reads(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: MOMENT)
    with timezone.override(find_time_zone("Asia/Tokyo")):
        assert find_site_day() == MOMENT.date()


def test_there_are_zones_of_all_parts_of_the_world_and_the_sites_own_is_first():
    zones = list_time_zones()

    assert next(iter(zones)) == settings.TIME_ZONE
    assert {"Europe", "America", "Asia"} <= zones.keys()
