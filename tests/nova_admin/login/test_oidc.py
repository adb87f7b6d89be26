"""Logins by OpenID Connect: who gets in with which roles, and the answers of a provider that give nobody a login."""

import gzip
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection

from migration.models import PasswordLink
from nova_admin.login import oidc, oidc_views
from nova_admin.login.adapter import GIVEN
from tests.factories import make_user
from tests.nova_admin.login.codes import give_factor
from tests.nova_admin.login.conftest import PASSWORD
from tests.nova_admin.login.test_pages import ENTER, INDEX, LOGIN, RUNS, SET_UP, is_logged_in

START, CALLBACK = "/admin/login/oidc/", "/admin/login/oidc/callback/"


@pytest.fixture
def come_back(provider, client):
    """Logs in at the provider; returns the site's answer."""

    def come_back(**claims):
        client.logout()
        begun = client.get(START)
        assert begun.status_code == 302, begun.content
        return client.get(provider.log_in(begun.url, **claims))

    return come_back


def groups_of(user: User) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


def test_without_a_provider_there_is_no_trace_of_it(db, client):
    assert "oidc" not in client.get(LOGIN).content.decode()
    for address in (START, CALLBACK):
        assert client.get(address).status_code == 404


def test_the_login_leads_to_the_provider_and_asks_for_proofs(provider, client, db):
    page = client.get(f"{LOGIN}?next={RUNS}").content.decode()
    assert f'href="{START}?next=%2Fadmin%2Fmigration%2Frun%2F"' in page

    response = client.get(START)

    provider.log_in(response.url)
    assert response.url.startswith(f"{provider.issuer}/authorize?")
    assert provider.asked["code_challenge_method"] == "S256"
    assert len(provider.asked["nonce"]) > 30
    assert "example-client-secret" not in response.url + json.dumps(dict(client.session))


def test_a_first_login_makes_an_account_with_the_roles_of_its_groups(come_back, client, db):
    details = {"preferred_username": "maria", "email": "maria@example.test", "given_name": "María"}

    response = come_back(groups=["ops", "readers", "others"], amr=["pwd", "mfa"], **details)

    assert (response.status_code, response.url) == (302, INDEX)
    user = User.objects.get()
    assert (user.username, user.email, user.first_name) == ("maria", "maria@example.test", "María")
    assert groups_of(user) == {"Operator", "Viewer"}
    assert user.is_staff
    assert not user.is_superuser
    assert not user.has_usable_password()
    assert client.get(INDEX).status_code == 200
    assert client.get(LOGIN).url == INDEX


def test_a_login_leads_to_where_somebody_wanted_to_go_and_to_no_other_site(provider, client, db):
    for wanted, led in ((RUNS, RUNS), ("https://evil.example/", INDEX), ("//evil.example/", INDEX)):
        client.logout()
        begun = client.get(START, {"next": wanted})
        assert client.get(provider.log_in(begun.url)).url == led


def test_the_providers_own_second_factor_counts_and_without_one_the_sites_is_asked_for(
    come_back, client, db
):
    come_back(amr=["mfa"])
    assert client.session[GIVEN] is True

    assert come_back(amr=["pwd"]).url == INDEX
    assert client.get(INDEX).url.startswith(SET_UP)
    phone, _ = give_factor(User.objects.get())

    assert come_back(amr="mfa").url == ENTER
    assert not is_logged_in(client)
    assert client.post(ENTER, {"code": phone.show()}).url == INDEX
    assert client.get(INDEX).status_code == 200


def test_roles_follow_the_provider_at_each_login(come_back, client, db):
    come_back(groups=["ops"])
    user = User.objects.get()
    user.groups.add(Group.objects.get(name="Administrator"))  # by hand

    come_back(groups="readers")

    assert groups_of(user) == {"Viewer"}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([], "None of your groups"),
        (None, "None of your groups"),
        (["unknown"], "None of your groups"),
        ({"ops": True}, "None of your groups"),
        ([["ops"], 1], "None of your groups"),
        (["lost"], "No such group, which is no group of the site"),
        (["ops", "lost"], "No such group, which is no group of the site"),
    ],
)
def test_without_a_role_nobody_gets_in_and_no_account_is_made(come_back, client, db, groups, said):
    response = come_back(groups=groups)

    assert response.status_code == 403
    assert said in response.content.decode()
    assert not User.objects.exists()
    assert not SocialAccount.objects.exists()
    assert not is_logged_in(client)


def test_who_lost_every_role_is_refused_and_keeps_none_here(come_back, client, db):
    come_back()
    user = User.objects.get()

    assert come_back(groups=[]).status_code == 403

    assert groups_of(user) == set()
    assert not is_logged_in(client)


def test_who_was_deactivated_here_stays_out(come_back, client, db):
    come_back()
    User.objects.update(is_active=False)

    response = come_back()

    assert response.status_code == 403
    assert "was deactivated" in response.content.decode()


def test_no_account_is_taken_over_by_name_or_address(come_back, client, db):
    mine = make_user("Maria", email="maria@example.test", is_superuser=True)

    come_back(preferred_username="maria", email="maria@example.test", email_verified=True)

    account = SocialAccount.objects.get().user
    assert account.pk != mine.pk
    assert account.username == "maria-2"
    assert not account.is_superuser
    come_back(preferred_username="Maria", email="other@example.test")
    assert User.objects.count() == 2
    account.refresh_from_db()
    assert (account.username, account.email) == ("maria-2", "other@example.test")


def test_another_subject_or_another_issuer_is_somebody_else(come_back, provider, settings, db):
    come_back(preferred_username="maria")
    come_back(preferred_username="maria", sub="subject-2")
    SocialAccount.objects.filter(uid="subject-1").update(provider="https://before.example")
    come_back(preferred_username="maria")

    assert set(User.objects.values_list("username", flat=True)) == {"maria", "maria-2", "maria-3"}


@pytest.mark.parametrize(
    ("claims", "name", "address"),
    [
        (
            {"preferred_username": "a b<script>", "email": "x@y.example"},
            "a_b_script_",
            "x@y.example",
        ),
        (
            {"preferred_username": "m" * 500, "email": "x@y.example", "email_verified": False},
            "m" * 140,
            "",
        ),
        ({"preferred_username": 7, "email": "no address"}, "no_address", ""),
        ({"email": ["x@y.example"]}, "subject-1", ""),
        ({"preferred_username": "María.Ñíguez"}, "Maria.Niguez", ""),
        ({"preferred_username": "ａdm１"}, "adm1", ""),
        ({"preferred_username": "管理者"}, "user", ""),
    ],
)
def test_what_the_provider_calls_somebody_is_made_fit(come_back, db, claims, name, address):
    come_back(**claims)

    user = User.objects.get()
    assert (user.username, user.email) == (name, address)


@pytest.mark.parametrize("name", ["аdm", "adm\u200b", "ADM", "ädm", "ａｄｍ", "ad\u043c"])
def test_nobody_is_made_who_looks_like_somebody_else(come_back, db, name):
    make_user("adm", is_superuser=True)

    come_back(preferred_username=name)

    made = SocialAccount.objects.get().user.username
    assert made.isascii()
    assert made.lower() != "adm"


def expired() -> dict[str, int]:
    return {"exp": 1_700_000_000, "iat": 1_699_999_000}


LIES = {
    "another issuer": ({"iss": "https://evil.example"}, "another issuer"),
    "the issuer with a slash": ({"iss": "http://127.0.0.1/realm/"}, "another issuer"),
    "another audience": ({"aud": "another-site"}, "for another site"),
    "no audience": ({"aud": None}, "something is missing in it"),
    "several audiences, for another": ({"aud": ["nova", "b"], "azp": "b"}, "for another site"),
    "several audiences, for nobody": ({"aud": ["nova", "b"]}, "for another site"),
    "expired": (expired(), "expired"),
    "never expires": ({"exp": None}, "something is missing in it"),
    "of the future": ({"iat": 4_000_000_000, "exp": 4_000_000_300}, "expired"),
    "another nonce": ({"nonce": "of another login"}, "an answer to another login"),
    "no nonce": ({"nonce": None}, "something is missing in it"),
    "no subject": ({"sub": None}, "something is missing in it"),
    "an empty subject": ({"sub": ""}, "something is missing in it"),
    "a subject longer than there is room for": ({"sub": "x" * 192}, "something is missing in it"),
    "a subject that is a number": ({"sub": 1}, "something is missing in it"),
}


@pytest.mark.parametrize(("lies", "said"), LIES.values(), ids=LIES)
def test_a_token_that_is_not_for_this_login_logs_in_nobody(
    come_back, provider, client, db, caplog, lies, said
):
    provider.lies = lies

    with caplog.at_level(logging.WARNING):
        response = come_back()

    assert response.status_code == 403
    assert said in response.content.decode()
    assert "a login by OpenID Connect was refused" in caplog.text
    assert not User.objects.exists()
    assert not is_logged_in(client)


def test_a_token_of_another_key_or_none_logs_in_nobody(come_back, provider, db):
    forged = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = provider.key.public_key().public_numbers().n.to_bytes(256, "big")
    for key, algorithm, header in (
        (forged, "RS256", {}),
        (provider.key, "RS256", {"kid": "key-2"}),
        (public, "HS256", {}),
        ("", "none", {}),
    ):
        provider.signing_key, provider.algorithm, provider.header = key, algorithm, header
        response = come_back()
        assert response.status_code == 403
        assert "its signature is wrong" in response.content.decode(), (algorithm, header)
    assert not User.objects.exists()


@pytest.mark.parametrize("token", [None, "", "x.y.z", 7, jwt.encode({}, "k" * 32, "HS256")[:-5]])
def test_what_is_no_token_logs_in_nobody(come_back, provider, db, monkeypatch, token):
    monkeypatch.setattr(provider, "make_token", lambda: token)

    assert come_back().status_code == 403


@pytest.mark.parametrize(
    "said",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": ["x"]},
    ],
)
def test_a_provider_that_says_something_else_of_itself_is_not_asked(provider, client, db, said):
    provider.said = said

    assert client.get(START).status_code == 403


@pytest.mark.parametrize("status", [307, 400, 500])
def test_a_provider_that_gives_no_token_or_sends_on_logs_in_nobody(come_back, provider, db, status):
    provider.status = status

    response = come_back()

    assert response.status_code == 403
    assert "does not answer as it should" in response.content.decode()


def test_a_provider_that_is_not_there_is_a_sentence(provider, client, db, monkeypatch):
    provider.said = {"jwks_uri": "http://127.0.0.1:1/keys"}
    begun = client.get(START)

    response = client.get(provider.log_in(begun.url))

    assert response.status_code == 403
    assert "does not answer as it should" in response.content.decode()


def test_an_answer_to_no_login_of_this_browser_is_refused(provider, client, db):
    back = provider.log_in(client.get(START).url)
    other = type(client)()

    for response in (
        other.get(back),
        client.get(CALLBACK),
        client.get(f"{CALLBACK}?code=x&state=of-nobody"),
    ):
        assert response.status_code == 403
        assert "not begun in this browser" in response.content.decode()
    assert client.get(back).status_code == 302
    client.logout()
    assert "not begun in this browser" in client.get(back).content.decode()


def test_an_answer_after_ten_minutes_is_refused(provider, client, db, at):
    back = provider.log_in(client.get(START).url)
    at.now += 601

    assert "more than ten minutes ago" in client.get(back).content.decode()


def test_a_provider_that_refuses_and_one_that_answers_for_another_are_sentences(
    provider, client, db
):
    back = provider.log_in(client.get(START).url).replace("code=", "error=access_denied&c=")
    assert "did not log you in" in client.get(back).content.decode()
    back = provider.log_in(client.get(START).url)
    refused = client.get(f"{back}&iss=https://evil.example").content.decode()
    assert "another issuer" in refused


def test_a_provider_in_the_database_is_not_asked(provider, client, db):
    """Whoever can write allauth's table must not be able to log in people."""
    SocialApp.objects.create(provider="openid_connect", provider_id="evil", client_id="x")

    assert client.get(START).url.startswith(provider.issuer)
    assert client.get("/accounts/oidc/evil/login/").status_code == 404


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic"], None])
def test_the_site_proves_itself_as_the_provider_wants(come_back, provider, db, methods):
    provider.said = {"token_endpoint_auth_methods_supported": methods}

    assert come_back().status_code == 302


# Anybody may begin a login, and the provider may be out of order.


def test_beginnings_by_anybody_store_nothing_and_ask_the_provider_once(provider, client, db):
    for number in range(15):
        begun = client.get(START, REMOTE_ADDR=f"10.0.0.{number}")
        assert begun.status_code == 302

    assert not Session.objects.exists()
    assert provider.asked_for == ["/realm/.well-known/openid-configuration"]


def test_what_the_provider_says_is_asked_for_anew_after_a_while(provider, client, db, monkeypatch):
    client.get(START)
    monkeypatch.setattr(oidc, "KEPT_SECONDS", -1)
    monkeypatch.setattr(oidc._read_kept, "__kwdefaults__", {"oldest": -1})

    client.get(START)

    assert len(provider.asked_for) == 2


def test_the_beginnings_of_several_windows_are_kept_in_a_cookie_of_this_browser(
    provider, client, db
):
    backs = []
    for subject in range(4):
        address = client.get(START, {"next": "/admin/" + "x" * 5000}).url
        backs.append((address, f"subject-{subject}"))
    cookie = client.cookies["oidc"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert len(cookie.value) < 4000

    refused, *others = backs
    assert client.get(provider.log_in(refused[0], sub=refused[1])).status_code == 403
    for address, subject in others:
        assert client.get(provider.log_in(address, sub=subject)).url == INDEX
    assert client.cookies["oidc"].value == ""


@pytest.mark.parametrize("cookie", ["", "x", "e30:1:x", "a" * 4000])
def test_a_cookie_that_the_site_did_not_sign_begins_nothing(provider, client, db, cookie):
    back = provider.log_in(client.get(START).url)
    client.cookies["oidc"] = cookie

    assert "not begun in this browser" in client.get(back).content.decode()
    assert provider.asked_for == ["/realm/.well-known/openid-configuration"]


def test_in_production_no_other_host_can_set_the_cookie(settings):
    settings.SESSION_COOKIE_SECURE = True

    assert oidc.get_cookie_name() == "__Host-oidc"


def drip(handler) -> None:
    """A byte now and then, which meets no time-out of one read."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        for _ in range(200):
            handler.wfile.write(b" ")
            time.sleep(0.05)


def test_a_provider_that_drips_holds_nobody_longer_than_a_login_may_take(
    provider, client, db, monkeypatch
):
    monkeypatch.setattr(oidc, "TIMEOUT_SECONDS", 0.5)
    provider.misbehave = drip
    began = time.monotonic()

    answers = [client.get(START) for _ in range(10)]

    assert {answer.status_code for answer in answers} == {403}
    assert time.monotonic() - began < 5
    assert len(provider.asked_for) == 1  # that it failed is kept for a while


def test_of_eighty_megabytes_few_are_read(provider, client, db):
    sent = []

    def flood(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(80 * 16):
                handler.wfile.write(b" " * 65536)
                sent.append(65536)

    provider.misbehave = flood

    assert client.get(START).status_code == 403
    assert sum(sent) < 20_000_000  # what this machine's sockets hold


def send(body: bytes, **headers: str):
    def answer(handler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        send(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
        send(b"[" * 200_000),
        send(b'{"issuer": ' + b"1" * 100_000 + b"}"),
        send(b"\xff\xfe"),
        send(b"[]"),
        send(b"{}", Content_Length="1000000"),
        send(b"ff\r\n{", Transfer_Encoding="chunked"),
    ],
)
def test_what_no_provider_sends_is_a_sentence(provider, client, db, answer):
    provider.misbehave = answer

    response = client.get(START)

    assert response.status_code == 403
    assert "does not answer as it should" in response.content.decode()


@pytest.mark.parametrize(
    "address", ["http://[", "http://127.0.0.1:99999/", "http://a b/", "http://"]
)
def test_an_address_of_the_provider_that_is_none_is_a_sentence(come_back, provider, db, address):
    provider.said = {"token_endpoint": address}

    assert come_back().status_code == 403


def test_no_password_of_a_netrc_is_sent_and_no_proxy_of_the_environment_asked(
    come_back, provider, db, tmp_path, monkeypatch
):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login maria password of-the-machine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    provider.said = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert come_back().status_code == 302
    assert not any("Authorization" in headers for headers in provider.headers_seen)


def test_answers_of_one_address_that_have_to_be_shown_to_the_provider_are_counted(
    provider, client, db, monkeypatch
):
    monkeypatch.setattr(oidc, "MOST_ANSWERS_A_MINUTE", 3)
    back = provider.log_in(client.get(START).url)
    cookie = client.cookies["oidc"].value
    said = []
    for number in range(5):
        client.cookies["oidc"] = cookie
        forged = back.replace("code=", "code=x")
        said.append(client.get(forged, REMOTE_ADDR=f"2001:db8::{number}").content.decode())

    assert ["Too many logins" in page for page in said] == [False, False, False, True, True]
    assert provider.asked_for.count("/realm/token") == 3
    client.cookies["oidc"] = cookie
    assert client.get(back, REMOTE_ADDR="2001:db8:0:1::").status_code == 302


def test_a_new_key_of_the_provider_is_looked_for_once_a_minute(
    come_back, provider, db, monkeypatch
):
    assert come_back().status_code == 302
    provider.key_name = "key-2"
    provider.header = {"kid": "key-2"}
    assert come_back().status_code == 403
    monkeypatch.setattr(oidc, "KEYS_AGAIN_SECONDS", -1)

    assert come_back().status_code == 302
    assert provider.asked_for.count("/realm/keys") == 2


def log_in_at_once(monkeypatch, provider, *claims) -> list[User]:
    """The accounts of people whose first logins have both found that there is none yet."""
    found, met = threading.Barrier(len(claims)), threading.local()
    find_groups = oidc_views.find_groups

    def find_groups_together(*arguments):
        if not hasattr(met, "once"):
            met.once = True
            found.wait(20)
        return find_groups(*arguments)

    def log_in(claim) -> User:
        try:
            return oidc_views.sync_account({"groups": ["ops"], **claim}, settings.NOVA_OIDC)
        finally:
            connection.close()

    monkeypatch.setattr(oidc_views, "find_groups", find_groups_together)
    with ThreadPoolExecutor(len(claims)) as pool:
        return list(pool.map(log_in, claims))


def test_two_first_logins_of_one_person_at_once_are_one_account(
    transactional_db, provider, monkeypatch
):
    maria = {"sub": "1", "preferred_username": "maria"}

    one, other = log_in_at_once(monkeypatch, provider, maria, maria)

    assert one == other == User.objects.get()
    assert groups_of(one) == {"Operator"}


def test_two_people_with_one_name_who_first_log_in_at_once_both_get_in(
    transactional_db, provider, monkeypatch
):
    both = [{"sub": subject, "preferred_username": "maria"} for subject in ("1", "2")]

    names = {user.username for user in log_in_at_once(monkeypatch, provider, *both)}

    assert names == {"maria", "maria-2"}


def test_who_meets_others_at_every_try_is_asked_to_log_in_again(come_back, monkeypatch, db):
    def make_account(*_):
        raise IntegrityError

    monkeypatch.setattr(oidc_views, "make_account", make_account)

    response = come_back()

    assert response.status_code == 403
    assert "Log in again." in response.content.decode()


@pytest.fixture
def of_provider(come_back, ana, client) -> User:
    """Somebody who came by the provider; Ana is logged in, who administers users."""
    come_back(groups=["ops"], preferred_username="maria")
    client.force_login(ana)
    session = client.session
    session[GIVEN] = True
    session.save()
    return User.objects.get(username="maria")


def test_a_user_administrator_gives_no_password_to_an_account_of_the_provider(of_provider, client):
    address = f"/admin/people/{of_provider.pk}/link/"
    sent = {"current_password": PASSWORD}

    for refused in (client.get(address), client.post(address, sent)):
        assert "Only a superuser can give them one" in refused.context["refusal"]
    assert not PasswordLink.objects.exists()
    page = client.get(f"/admin/people/{of_provider.pk}/").content.decode()
    assert "Logs in by OpenID Connect" in page

    User.objects.filter(username="ana").update(is_superuser=True)
    assert client.post(address, sent).status_code == 200
    assert PasswordLink.objects.get().user == of_provider
