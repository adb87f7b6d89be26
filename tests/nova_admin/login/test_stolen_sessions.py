"""Attacks by somebody who has the cookie of a session, seconds after its login, and nothing else."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from migration.models import AuditEvent, WrongPassword
from nova_admin.login import oidc_views
from tests.factories import make_user
from tests.nova_admin.login.codes import Phone, give_factor
from tests.nova_admin.login.conftest import PASSWORD

INDEX, LOGIN, OWN = "/admin/", "/admin/login/", "/admin/second-factor/"
ENTER, SET_UP = f"{OWN}enter/", f"{OWN}set-up/"
AGAIN = "/admin/login/oidc/?again=1"


@pytest.fixture
def root(db) -> User:
    return make_user("root", password=PASSWORD, is_superuser=True, email="root@example.test")


def log_in(browser: Client, code: str = "", name: str = "root") -> None:
    browser.post(LOGIN, {"username": name, "password": PASSWORD})
    if code:
        browser.post(ENTER, {"code": code})
    assert SESSION_KEY in browser.session


def steal(browser: Client) -> Client:
    thief = Client(REMOTE_ADDR="10.0.0.66")
    thief.cookies.update(browser.cookies)
    assert thief.session[SESSION_KEY]
    return thief


def send_form(browser: Client, answer: str = "", proof: str = "", opened: str = SET_UP):
    """Open the set-up, and send its form with the code of the app that scanned it."""
    shown = browser.get(opened)
    sent = {"answer": answer, "proof": proof, "code": ""}
    if re.search(r">[A-Z2-7 ]{32,}<", shown.content.decode()):
        sent["code"] = Phone.scan(shown).show()
    if kept := re.findall(r'name="new" value="([^"]+)"', shown.content.decode()):
        sent["new"] = kept[0]
    return browser.post(SET_UP, sent), sent["code"]


def read_codes(page) -> list[str]:
    return [code.replace(" ", "") for code in re.findall(r"\d{4} \d{4}", page.content.decode())]


def list_factors() -> list[tuple]:
    return list(Authenticator.objects.order_by("pk").values_list("pk", "type", "data"))


def test_a_fresh_session_replaces_no_factor_and_makes_no_codes(root, client, at):
    phone, _ = give_factor(root)
    at.now += 60
    log_in(client, phone.show())
    thief, before = steal(client), list_factors()

    pages = [send_form(thief)[0], thief.post(OWN), thief.post(OWN, {"answer": ""})]
    page, code = send_form(thief)
    pages += [page, thief.post(OWN, {"answer": code}), send_form(thief, answer=code)[0]]

    assert [read_codes(page) for page in pages] == [[]] * 6
    assert list_factors() == before
    assert client.get(INDEX).status_code == 200


def test_a_fresh_session_of_who_has_no_factor_yet_sets_up_none(db, client):
    for name, role in (("operator", "Operator"), ("viewer", "Viewer")):
        make_user(name, password=PASSWORD).groups.add(Group.objects.get(name=role))
        log_in(client, name=name)

        page, _ = send_form(steal(client))
        assert read_codes(page) == []
        client.logout()

    assert list_factors() == []


def test_codes_that_a_session_made_prove_nothing_in_it(root, client, at):
    """Nor does the app that it set up: the owner was talked into it, or the thief watched."""
    crew = make_user("crew", password=PASSWORD)
    give_factor(crew)
    log_in(client)
    page, _ = send_form(client, answer=PASSWORD)
    codes = read_codes(page)
    assert len(codes) == 10
    thief, before = steal(client), list_factors()
    factor = Authenticator.objects.get(user=root, type=Authenticator.Type.TOTP)
    at.now += 60

    reset = f"/admin/people/{crew.pk}/factor/"
    change = f"/admin/people/{crew.pk}/details/"
    thief.post(OWN, {"answer": codes[0]})
    send_form(thief, answer=codes[1])
    thief.post(reset, {"current_password": codes[2]})
    page = thief.post(change, {"name": "crew", "current_password": codes[3]})

    assert "current_password" in page.context["form"].errors
    assert list_factors() == before
    assert WrongPassword.objects.count() == 4
    factor.refresh_from_db()
    assert factor.last_used_at is None

    other = Client()
    log_in(other, codes[4])
    assert len(read_codes(other.post(OWN, {"answer": codes[5]}))) == 10


def test_new_codes_of_a_session_prove_nothing_in_it_and_the_old_app_does(root, client, at):
    phone, _ = give_factor(root)
    log_in(client, phone.show())
    codes = read_codes(client.post(OWN, {"answer": PASSWORD}))
    at.now += 60

    assert read_codes(client.post(OWN, {"answer": codes[0]})) == []
    assert len(read_codes(client.post(OWN, {"answer": phone.show()}))) == 10


def test_a_right_code_of_the_old_factor_is_no_proof_twice(root, client, at):
    phone, _ = give_factor(root)
    at.now += 60
    log_in(client, phone.show(-30))
    code = phone.show()
    assert len(read_codes(client.post(OWN, {"answer": code}))) == 10

    assert read_codes(steal(client).post(OWN, {"answer": code})) == []


def test_five_wrong_proofs_end_the_session(root, client):
    log_in(client)
    thief = steal(client)

    statuses = [send_form(thief, answer=f"guess {number}")[0].status_code for number in range(5)]

    assert statuses == [200, 200, 200, 200, 403]
    assert client.get(INDEX).url.startswith(LOGIN)


# People who log in by OpenID Connect alone.


@pytest.fixture
def of_provider(provider, client, db) -> Client:
    client.get(provider.log_in(client.get("/admin/login/oidc/").url))
    assert client.get(INDEX).url.startswith(SET_UP)
    return client


def prove(provider, browser: Client, **claims) -> str:
    """Log in at the provider again; return the address to which that leads."""
    begun = browser.get(AGAIN)
    answer = browser.get(provider.log_in(begun.url, **claims))
    return getattr(answer, "url", "")


def now() -> int:
    return int(time.time())


def test_who_has_no_password_logs_in_at_the_provider_again_for_the_first_set_up(
    of_provider,
    provider,
):
    assert read_codes(send_form(of_provider)[0]) == []
    led = prove(provider, of_provider, auth_time=now())
    assert (provider.asked["prompt"], provider.asked["max_age"]) == ("login", "0")
    (proof,) = parse_qs(urlsplit(led).query)["proof"]

    assert read_codes(send_form(steal(of_provider))[0]) == []
    assert read_codes(send_form(steal(of_provider), proof="of-nobody")[0]) == []
    assert read_codes(send_form(steal(of_provider), proof=proof[:-1])[0]) == []
    assert len(read_codes(send_form(of_provider, proof=proof, opened=led)[0])) == 10

    # It proved who somebody without a factor is: it replaces none.
    before = list_factors()
    assert read_codes(send_form(of_provider, proof=proof, opened=led)[0]) == []
    assert list_factors() == before


@pytest.mark.parametrize(
    "claims",
    [{}, {"auth_time": 1}, {"auth_time": True}, {"auth_time": "4000000000"}, {"sub": "subject-2"}],
)
def test_a_provider_that_asked_for_no_login_or_of_another_person_proves_nothing(
    of_provider,
    provider,
    claims,
):
    sent = {"auth_time": now()} | claims if "sub" in claims else claims

    assert prove(provider, of_provider, **sent) == ""
    assert User.objects.count() == 1


def test_a_proof_of_another_login_or_of_a_while_ago_is_none(of_provider, provider, monkeypatch):
    led = prove(provider, of_provider, auth_time=now())
    (proof,) = parse_qs(urlsplit(led).query)["proof"]
    other = Client()
    other.get(provider.log_in(other.get("/admin/login/oidc/").url))
    assert read_codes(send_form(other, proof=proof, opened=led)[0]) == []
    monkeypatch.setattr(oidc_views, "PROOF_SECONDS", -1)

    assert read_codes(send_form(of_provider, proof=proof, opened=led)[0]) == []
    assert list_factors() == []


def test_of_two_first_set_ups_at_once_one_counts(transactional_db, provider, client):
    client.get(provider.log_in(client.get("/admin/login/oidc/").url))
    led = prove(provider, client, auth_time=now())
    (proof,) = parse_qs(urlsplit(led).query)["proof"]
    shown = [client.get(led) for _ in range(3)]
    forms = [
        {"new": page.context["kept_secret"], "code": Phone.scan(page).show(), "proof": proof}
        for page in shown
    ]

    # Before the first of them is done: that one gets another session.
    browsers = [steal(client) for _ in forms]

    def send(browser, form):
        try:
            return read_codes(browser.post(SET_UP, form))
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(send, browsers, forms))

    assert sorted(map(len, made)) == [0, 0, 10]
    assert AuditEvent.objects.filter(facts__contains="second_factor").count() == 1
