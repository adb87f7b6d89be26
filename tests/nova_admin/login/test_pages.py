"""The pages of the second factor: who is led there, what is asked, and that no other address works meanwhile."""

import re
from urllib.parse import unquote

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_login_failed
from django.contrib.sessions.models import Session
from django.core import mail
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver, resolve

from migration.models import AuditEvent
from migration.people.second_factors import check_code, find_wait
from nova_admin.login.adapter import GIVEN
from nova_admin.login.middleware import RequireSecondFactor
from tests.factories import make_user
from tests.nova_admin.login.codes import Phone, give_factor
from tests.nova_admin.login.conftest import PASSWORD
from tests.test_headers import list_addresses

LOGIN, INDEX, RUNS = "/admin/login/", "/admin/", "/admin/migration/run/"
OWN, ENTER, SET_UP = (
    "/admin/second-factor/",
    "/admin/second-factor/enter/",
    "/admin/second-factor/set-up/",
)


def give_password(client: Client, next_url: str = "") -> str:
    """Where the login leads to."""
    sent = {"username": "maria", "password": PASSWORD}
    response = client.post(LOGIN + (f"?next={next_url}" if next_url else ""), sent)
    assert response.status_code == 302
    return response.url


def is_logged_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_password_alone_logs_in_nobody_who_has_a_second_factor(maria, client, at):
    phone, _ = give_factor(maria)

    assert give_password(client, RUNS) == ENTER
    assert not is_logged_in(client)
    assert client.get(INDEX).url.startswith(LOGIN)
    assert "One-time" not in client.get(ENTER).content.decode()

    response = client.post(ENTER, {"code": phone.show()})
    assert (response.status_code, response.url) == (302, RUNS)
    assert client.session[GIVEN] is True
    assert client.get(INDEX).status_code == 200


def test_a_wrong_code_is_refused_with_a_word_about_clocks_and_counts_as_a_failed_login(
    maria, client, at
):
    phone, _ = give_factor(maria)
    give_password(client)
    failed = []

    def note_failure(credentials, request, **_) -> None:
        failed.append((credentials, request.path))

    user_login_failed.connect(note_failure)
    try:
        page = client.post(ENTER, {"code": phone.show(600)}).content.decode()
    finally:
        user_login_failed.disconnect(note_failure)

    assert "set your phone&#x27;s clock to automatic" in page
    assert failed == [({"username": "maria"}, ENTER)]
    assert not is_logged_in(client)


def test_who_has_to_wait_is_told_how_long_and_what_ends_it(maria, client, at):
    give_factor(maria)
    give_password(client)
    for _ in range(5):
        check_code(user=maria, code="000000")
    assert "wait 30 seconds" in client.post(ENTER, {"code": "000000"}).content.decode()
    for _ in range(4):
        at.now += find_wait(maria)
        check_code(user=maria, code="000000")

    page = client.post(ENTER, {"code": "000000"}).content.decode()

    assert "looked at in 8 minutes" in page
    assert "somebody has your password" in page


def test_a_code_is_asked_of_nobody_who_gave_no_password(maria, client, at):
    phone, _ = give_factor(maria)

    assert client.post(ENTER, {"code": phone.show()}).url == LOGIN
    assert not is_logged_in(client)


def test_a_password_is_good_for_ten_minutes(maria, client, at):
    phone, _ = give_factor(maria)
    give_password(client)
    at.now += 601

    assert client.post(ENTER, {"code": phone.show()}).url == LOGIN


def test_a_recovery_code_logs_in_once(maria, client, at):
    _, codes = give_factor(maria)

    for url in (INDEX, None):
        give_password(client)
        response = client.post(ENTER, {"code": codes[0]})
        assert getattr(response, "url", None) == url
        client.logout()


def test_after_a_login_nobody_is_sent_to_another_site(maria, client, at):
    phone, _ = give_factor(maria)
    give_password(client, "https://evil.example/")

    assert client.post(ENTER, {"code": phone.show()}).url == INDEX


def test_who_was_deactivated_or_got_another_password_meanwhile_begins_again(maria, client, at):
    phone, _ = give_factor(maria)
    before = {"is_active": True, "password": maria.password}
    for changed in ({"is_active": False}, {"password": "md5$another$one"}):
        User.objects.update(**before)
        give_password(client)
        User.objects.update(**changed)

        assert client.post(ENTER, {"code": phone.show()}).url == LOGIN
        assert not is_logged_in(client)


def test_who_may_do_more_than_view_sets_it_up_before_anything_else(maria, client):
    assert give_password(client) == INDEX
    for role in ("Operator", "Approver", "Administrator"):
        maria.groups.set(Group.objects.filter(name=role))
        assert unquote(client.get(f"{RUNS}?q=1").url) == f"{SET_UP}?next={RUNS}?q=1"
    maria.groups.set(Group.objects.filter(name="Viewer"))
    assert client.get(RUNS).status_code == 200
    User.objects.update(is_superuser=True)
    assert client.get(INDEX).url.startswith(SET_UP)


def test_meanwhile_no_address_works_but_set_up_logout_and_language(maria, client):
    """The middleware is asked about each address; those that it lets pass are opened too."""
    client.force_login(maria)
    request = client.get(RUNS).wsgi_request
    middleware, open_to = RequireSecondFactor(lambda _: HttpResponse()), set()
    for address in list_addresses(get_resolver().url_patterns):
        request.resolver_match = resolve(address.replace("PK", "1"))
        answer = middleware.process_view(request)
        if answer is None:
            open_to.add(address)
        else:
            assert (answer.status_code, answer.url.startswith(SET_UP)) == (302, True)

    assert open_to == {
        "/admin/second-factor/enter/",  # leads to the set-up
        *(SET_UP, "/admin/logout/", "/i18n/setlang/", "/admin/jsi18n/"),
        # Of a link, which works for nobody without one.
        *("/admin/login/link/", "/admin/login/link/PK/"),
        "/admin/session/",  # says when the session ends, and nothing else
        # Where somebody without a password proves who they are; there is no provider here.
        *("/admin/login/oidc/", "/admin/login/oidc/callback/"),
    }
    statuses = {each: client.get(each.replace("PK", "1")).status_code for each in open_to}
    assert set(statuses.values()) <= {200, 302, 404, 405}, statuses
    assert client.get(ENTER).url.startswith((SET_UP, LOGIN))
    assert client.post("/admin/migration/run/all/").url == SET_UP


def test_a_part_of_a_page_that_renews_itself_has_the_whole_page_go_there(maria, client):
    client.force_login(maria)

    refused = AuditEvent.objects.filter(code="refusal").count()

    for number in range(3):
        address = f"/admin/migration/run/{number}/live/"
        response = client.get(address, headers={"HX-Request": "true"})

    assert (response.status_code, response.headers["HX-Redirect"]) == (
        204,
        f"{SET_UP}?next=%2Fadmin%2F",
    )
    assert AuditEvent.objects.filter(code="refusal").count() == refused


def test_static_files_are_there_meanwhile(maria, client, settings):
    settings.WHITENOISE_USE_FINDERS = True
    client.force_login(maria)

    response = client.get("/static/migration/favicon.svg")

    assert b"".join(response.streaming_content)


def test_without_the_setting_nothing_is_asked_of_who_has_none(maria, client, settings):
    settings.NOVA_REQUIRE_SECOND_FACTOR = False

    assert give_password(client) == INDEX
    assert client.get(INDEX).status_code == 200


def test_a_session_that_began_without_a_code_gives_one_and_has_another_cookie_then(
    maria, client, at
):
    phone, _ = give_factor(maria)
    client.force_login(maria)
    before = client.session.session_key
    assert client.get(SET_UP).url.startswith(ENTER)
    assert client.get(OWN).url.startswith(ENTER)
    assert unquote(client.get(RUNS).url) == f"{ENTER}?next={RUNS}"

    response = client.post(ENTER, {"code": phone.show(), "next": RUNS})

    assert response.url == RUNS
    assert client.session.session_key != before
    assert client.get(OWN).status_code == 200


def set_up(client: Client, shown, code: str, **answer: str):
    """Send the form of the page that was shown."""
    (kept,) = re.findall(r'name="new" value="([^"]+)"', shown.content.decode())
    return client.post(SET_UP, {"new": kept, "code": code, **answer})


def test_the_set_up_shows_a_secret_and_takes_the_code_of_it(maria, client, at):
    give_password(client)
    shown = client.get(f"{SET_UP}?next=/admin/migration/run/")
    page, phone = shown.content.decode(), Phone.scan(shown)
    assert "<svg" in page
    again = set_up(client, shown, "000000", answer=PASSWORD)
    assert phone.secret == Phone.scan(again).secret

    codes = set_up(client, again, phone.show(), answer=PASSWORD, next=RUNS)

    assert len(re.findall(r"<code[^>]*>\d{4} \d{4}</code>", codes.content.decode())) == 10
    assert f'href="{RUNS}"' in codes.content.decode()
    assert "no-store" in codes.headers["Cache-Control"]
    assert client.get(INDEX).status_code == 200
    assert "set up" in mail.outbox[-1].body


def test_who_has_the_session_too_sees_another_secret(maria, client, at):
    give_password(client)
    phone = Phone.scan(client.get(SET_UP))
    thief = Client()
    thief.cookies.update(client.cookies)

    assert Phone.scan(thief.get(SET_UP)).secret != phone.secret
    assert phone.secret not in str(Session.objects.get().get_decoded())


def test_a_form_without_its_secret_is_shown_again_with_a_new_one(maria, client, at):
    give_password(client)

    for kept in ("", "nonsense", "ñ", "gAAAAA" + "A" * 200):
        page = client.post(SET_UP, {"new": kept, "code": "123456", "answer": PASSWORD})

        assert page.status_code == 200
        assert Phone.scan(page)
    assert not Authenticator.objects.exists()


def test_a_code_of_another_time_sets_up_nothing(maria, client, at):
    give_password(client)
    shown = client.get(SET_UP)

    for off, said in ((600, "about 10 minutes off"), (100_000, "check your phone")):
        page = set_up(client, shown, Phone.scan(shown).show(off), answer=PASSWORD)

        assert said in page.content.decode()
        assert not Authenticator.objects.exists()


@pytest.mark.parametrize("address", [SET_UP, OWN])
def test_a_change_wants_the_password_or_a_code_of_the_old_factor(maria, client, at, address):
    old, _ = give_factor(maria)
    give_password(client)
    client.post(ENTER, {"code": old.show()})
    shown = client.get(SET_UP)
    new, kept = Phone.scan(shown), shown.context["kept_secret"]
    before = set(Authenticator.objects.values_list("pk", flat=True))
    at.now += 60

    for wrong in ("", "wrong", new.show()):
        sent = {"new": kept, "code": new.show(), "answer": wrong}
        refused = client.post(address, sent).content.decode()
        assert "Wrong password, or wrong or used code" in refused
    assert set(Authenticator.objects.values_list("pk", flat=True)) == before

    sent = {"new": kept, "code": new.show(), "answer": old.show()}
    done = client.post(address, sent).content.decode()
    assert "not shown again" in done
    assert set(Authenticator.objects.values_list("pk", flat=True)) != before


def test_the_page_of_ones_own_factor_says_what_is_left(maria, client, at):
    client.force_login(maria)
    client.get(SET_UP)
    _, codes = give_factor(maria)
    give_password(client)
    client.post(ENTER, {"code": codes[0]})

    page = client.get(OWN).content.decode()

    assert "9 recovery codes are left" in page
    assert 'id="nav-sidebar"' in page, "they are on the site already"
    assert "<title>Second factor · NOVA Admin</title>" in re.sub(r"(?<=>)\s+|\s+(?=<)", "", page)
    assert "Replace the app" in page


def test_the_second_factor_costs_a_page_no_query(
    maria, client, at, django_assert_max_num_queries, settings
):
    phone, _ = give_factor(maria)
    give_password(client)
    client.post(ENTER, {"code": phone.show()})
    viewer = make_user("viewer")
    viewer.groups.add(Group.objects.get(name="Viewer"))
    other = Client()
    other.force_login(viewer)

    for browser in (client, other):
        counts = set()
        for required in (False, True):
            settings.NOVA_REQUIRE_SECOND_FACTOR = required
            with django_assert_max_num_queries(100) as asked:
                assert browser.get(RUNS).status_code == 200
            counts.add(len(asked))
        assert len(counts) == 1


def test_no_page_has_an_inline_script_or_style_of_its_own(maria, client, at):
    client.cookies["django_language"] = "es"
    give_password(client)
    shown = client.get(SET_UP)
    done = set_up(client, shown, Phone.scan(shown).show(), answer=PASSWORD)
    pages = [shown, done, client.get(OWN)]
    client.logout()
    give_password(client)
    pages.append(client.get(ENTER))

    for page in pages:
        own = page.content.decode().partition("<main")[2].partition("</main>")[0]
        assert own
        assert not re.search(r"<script|\sstyle=|\son\w+=", own)
