"""Sessions end 30 minutes after their last use and 8 hours after the login; open pages don't keep them, and say so."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from migration.models import Campaign, CopySearch
from migration.people.lockouts import forget_old_attempts_and_sessions
from migration.runs.models import Run
from nova_admin.session_store import LOGGED_IN_AT, SessionStore
from tests.checkout import manage
from tests.factories import VIEW, make_client, make_user
from tests.migration.pages import store_plan
from tests.nova_admin.sessions.conftest import PASSWORD
from tests.page_forms import pages_left_out
from tests.test_settings import PRODUCTION

PAGE = "/admin/password_change/"
END = "/admin/session/"
HTMX = {"HX-Request": "true", "HX-Current-URL": "https://nova.example/admin/migration/run/7/?q=a"}


@pytest.fixture
def maria(db, clock, client) -> Client:
    """A browser in which somebody has just logged in."""
    client.force_login(
        make_user(
            "maria",
            *VIEW,
            *("migration.view_campaign", "migration.view_copysearch", "migration.add_run"),
        )
    )
    return client


def is_logged_in(browser: Client, address: str = PAGE, **headers: str) -> bool:
    with pages_left_out():
        return browser.get(address, headers=headers).status_code in (200, 204)


@pytest.fixture
def polls(db) -> list[str]:
    """What open pages ask for by themselves."""
    run = Run.objects.create(kind=Run.Kind.COMPARE)
    CopySearch.objects.create()
    return [
        reverse("admin:migration_run_live", args=[run.pk]),
        reverse("admin:migration_run_at_work"),
        reverse("admin:migration_copysearch_live"),
        reverse("admin:credentials_client_aws_state", args=[make_client("beta")]),
        reverse("admin:credentials_client_watch", args=[make_client("idom")]),
        reverse("admin:credentials_client_live", args=[make_client("acme")]),
        reverse("admin:credentials_client_act_plan_live", args=[store_plan().pk]),
        reverse("admin:migration_campaign_live", args=[Campaign.objects.create(goal="aws").pk]),
        END,
    ]


def test_a_session_that_nobody_uses_ends_after_half_an_hour(maria, clock):
    clock.turn(minutes=29, seconds=59)
    assert is_logged_in(maria)
    clock.turn(minutes=29, seconds=59)
    assert is_logged_in(maria)
    clock.turn(minutes=30)

    assert not is_logged_in(maria)


def test_polls_of_an_open_page_dont_keep_it(maria, clock, polls):
    for _ in range(2):
        clock.turn(minutes=14, seconds=57)
        assert [is_logged_in(maria, poll) for poll in polls] == [True] * len(polls)
    clock.turn(seconds=6)

    assert not is_logged_in(maria)


def test_every_part_that_asks_again_and_again_is_known_as_a_poll(polls):
    """A new one that isn't would keep the session of everybody who leaves the page open."""
    asked = re.findall(
        r"""hx-get="{% url '([\w:]+)'[^>]*hx-trigger="(?:every|load delay)""", all_templates()
    )

    assert {reverse_of(name) for name in asked} == {re.sub(r"\d+", "1", poll) for poll in polls}


def all_templates() -> str:
    folder = Path(settings.BASE_DIR) / "templates"
    return "".join(path.read_text() for path in folder.rglob("*.html"))


def reverse_of(name: str) -> str:
    of_site = ("session_end", "admin:migration_run_at_work", "admin:migration_copysearch_live")
    return reverse(name, args=[] if name in of_site else [1])


def test_a_session_ends_eight_hours_after_the_login_however_it_is_used(maria, clock):
    for _ in range(19):
        clock.turn(minutes=25)
        assert is_logged_in(maria)
    clock.turn(minutes=4, seconds=59)
    assert is_logged_in(maria)
    clock.turn(seconds=1)

    assert not is_logged_in(maria)


def test_nothing_that_is_saved_moves_the_end(maria, clock):
    key = maria.cookies["sessionid"].value
    clock.turn(minutes=20)
    store = SessionStore(key)
    store["anything"] = "else"
    store.save()

    assert Session.objects.get(pk=key).expire_date == clock.time + timedelta(minutes=10)


def test_a_change_of_the_own_password_gives_no_new_eight_hours(clock, client):
    user = make_user("juan", password="example-login-password")
    client.force_login(user)
    began_at = client.session[LOGGED_IN_AT]
    clock.turn(minutes=10)
    new = "another-example-password"
    sent = {"old_password": "example-login-password", "new_password1": new, "new_password2": new}

    assert client.post("/admin/password_change/", sent).status_code == 302

    assert client.session[LOGGED_IN_AT] == began_at
    assert is_logged_in(client)


@pytest.mark.parametrize("backend", [None, "django.contrib.auth.backends.ModelBackend"])
def test_a_session_of_an_earlier_release_is_ended(db, client, backend):
    client.force_login(make_user("maria"))
    session, key = client.session, client.session.session_key
    del session[LOGGED_IN_AT]
    session[BACKEND_SESSION_KEY] = backend or session[BACKEND_SESSION_KEY]
    session.save()

    assert not is_logged_in(client)
    assert SESSION_KEY not in client.session
    assert not Session.objects.filter(pk=key).exists()


def test_a_busy_session_is_written_once_a_minute(maria, clock):
    def writes() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert is_logged_in(maria)
        return sum(query["sql"].startswith("UPDATE") for query in asked.captured_queries)

    assert [writes(), writes()] == [0, 0]
    clock.turn(minutes=1)
    assert [writes(), writes()] == [1, 0]


def test_a_poll_after_the_end_has_the_page_say_so_with_a_login_that_leads_back(maria, clock, polls):
    clock.turn(minutes=30)

    for poll in polls:
        answer = maria.get(poll, headers=HTMX)
        assert answer.status_code == 286  # htmx asks no more
        assert answer.headers["HX-Retarget"] == answer.headers["HX-Reselect"] == "#session-end"
        assert line_of(answer) == (
            "Your session has ended, so nothing on this page can be saved. Log in again, and come back here"
        )
        assert '"/admin/login/?next=%2Fadmin%2Fmigration%2Frun%2F7%2F%3Fq%3Da"' in shown(answer)
        assert "hx-get" not in shown(answer)


def test_a_part_that_somebody_asks_for_after_the_end_leads_the_whole_page_to_the_login(
    maria, clock
):
    clock.turn(minutes=30)

    answer = maria.post(END, headers=HTMX)

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["HX-Redirect"] == (
        "/admin/login/?next=%2Fadmin%2Fmigration%2Frun%2F7%2F%3Fq%3Da&ended=1"
    )


@pytest.mark.parametrize("elsewhere", ["https://nova.example//evil.example/", "", "javascript:x"])
def test_nobody_is_led_elsewhere_after_the_login(db, client, elsewhere):
    from_there = HTMX | {"HX-Current-URL": elsewhere}

    assert client.post(END, headers=from_there).headers["HX-Redirect"] == (
        "/admin/login/?next=%2Fadmin%2F"
    )
    assert 'href="/admin/login/?next=%2Fadmin%2F"' in shown(client.get(END, headers=from_there))


def shown(response) -> str:
    return response.content.decode()


def line_of(response) -> str:
    """The words of the line, without tags."""
    text = re.sub(r"<(span|input|noscript)[^>]*>[^<]*|<[^>]+>", " ", response.content.decode())
    return " ".join(text.split())


def asks_in(response) -> int:
    return int(re.search(r"load delay:(\d+)s", response.content.decode())[1])


def test_a_page_says_when_its_session_ends_five_minutes_before(maria, clock):
    page = maria.get(PAGE)
    assert "Your session ends" not in page.content.decode()
    assert asks_in(page) == 25 * 60 + 1
    clock.turn(minutes=25, seconds=1)

    line = maria.get(END)

    assert line_of(line).startswith("Your session ends in 5 minutes, at ")
    assert line_of(line).endswith("Stay logged in")
    assert asks_in(line) == 61
    clock.turn(minutes=4, seconds=30)
    assert "Your session ends in 1 minute, at " in line_of(maria.get(END))
    assert asks_in(maria.get(END)) == 30


def test_who_stays_logged_in_has_half_an_hour_again(maria, clock):
    clock.turn(minutes=27)

    kept = maria.post(END)

    assert line_of(kept) == ""
    clock.turn(minutes=29)
    assert is_logged_in(maria)


def test_another_page_that_was_used_takes_the_line_away(maria, clock):
    clock.turn(minutes=26)
    assert "Your session ends in 4 minutes" in line_of(maria.get(END))
    assert is_logged_in(maria)

    assert line_of(maria.get(END)) == ""


def test_the_line_offers_nothing_that_can_t_be_kept(maria, clock):
    for _ in range(19):
        clock.turn(minutes=25)
        assert is_logged_in(maria)
    clock.turn(minutes=3)

    line = line_of(maria.get(END))

    assert line.startswith("Your session ends in 2 minutes, at ")
    assert line.endswith("Your login is then 8 hours old. Save your work and log in again.")


def test_settings_shorten_both_times(clock, client, monkeypatch):
    monkeypatch.setattr(settings, "SESSION_COOKIE_AGE", 120)
    monkeypatch.setattr(settings, "NOVA_SESSION_LIMIT", 300)
    client.force_login(make_user("maria"))
    clock.turn(seconds=121)
    assert not is_logged_in(client)

    client.force_login(make_user("juan"))
    for _ in range(2):
        clock.turn(seconds=119)
        assert is_logged_in(client)
    clock.turn(seconds=63)
    assert not is_logged_in(client)


def test_the_cookie_goes_with_the_browser_and_ended_sessions_from_the_table(clock, log_in):
    make_user("maria", password=PASSWORD)
    cookie = log_in("maria").cookies["sessionid"]
    assert (cookie["max-age"], cookie["expires"]) == ("", "")
    forget_old_attempts_and_sessions()
    assert Session.objects.count() == 1
    clock.turn(minutes=31)

    forget_old_attempts_and_sessions()

    assert Session.objects.count() == 0


def test_in_production_no_other_host_can_set_the_cookies_of_this_one():
    """Before, a page of a neighbour (evil.example.com for nova.example.com) could plant a session or a token."""
    names = ("SESSION_COOKIE", "CSRF_COOKIE")
    show = "from django.conf import settings as s\n" + "\n".join(
        f"print(s.{name}_NAME, s.{name}_SECURE, s.{name}_PATH, s.{name}_DOMAIN)" for name in names
    )

    result = manage("shell", "-v", "0", "-c", show, **PRODUCTION)

    # A browser refuses a cookie of such a name without Secure, with another path or with a domain.
    assert result.stdout.splitlines() == [
        "__Host-sessionid True / None",
        "__Host-csrftoken True / None",
    ]


def test_without_a_session_a_page_is_the_login_as_ever(db):
    browser = Client()
    assert browser.get(END).url == f"/admin/login/?next={END}"
    assert browser.get(PAGE).url == f"/admin/login/?next={PAGE}"


def test_the_login_says_that_the_session_has_ended_where_there_was_one(maria, clock):
    clock.turn(minutes=30)
    led = maria.get(PAGE)

    assert led.url == f"/admin/login/?next={PAGE}&ended=1"
    assert maria.get(led.url).context["session_has_ended"]


def test_it_says_so_to_who_leaves_a_page_that_has_asked_meanwhile(maria, clock):
    clock.turn(minutes=30)
    assert maria.get(END, headers=HTMX).status_code == 286

    assert maria.get(PAGE).url == f"/admin/login/?next={PAGE}&ended=1"


def test_who_had_no_session_is_not_told_of_one(db):
    assert not Client().get(f"/admin/login/?next={PAGE}").context["session_has_ended"]
