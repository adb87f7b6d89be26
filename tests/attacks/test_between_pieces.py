"""Attacks on the places where second factor, lock-out, session end and audit meet. Each succeeded before."""

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import Group, User
from django.test import Client

from migration.core.audit import USER_CHANGED_EVENT
from migration.core.refused_acts import LOGIN_REFUSED_EVENT
from migration.models import AuditEvent, WrongPassword
from migration.people.lockouts import check_password_or_code
from migration.people.models import PasswordPlace
from migration.people.second_factors import FIRST_WAIT, WRONG_AT, reset_second_factor
from tests.factories import make_user
from tests.nova_admin.login.codes import Phone, give_factor

PASSWORD = "example-login-password"
INDEX, LOGIN, OWN = "/admin/", "/admin/login/", "/admin/second-factor/"
ENTER, SET_UP = f"{OWN}enter/", f"{OWN}set-up/"
NO_CODE = "123456789"


@pytest.fixture(autouse=True)
def required(settings) -> None:
    settings.NOVA_REQUIRE_SECOND_FACTOR = True


@pytest.fixture
def maria(db) -> User:
    user = make_user("maria", password=PASSWORD)
    user.groups.add(Group.objects.get(name="Operator"))
    return user


def give_password(browser: Client) -> None:
    browser.post(LOGIN, {"username": "maria", "password": PASSWORD})


def log_in(browser: Client, code: str) -> None:
    give_password(browser)
    browser.post(ENTER, {"code": code})
    assert SESSION_KEY in browser.session


@pytest.mark.parametrize("page", [OWN, SET_UP])
def test_the_pages_of_the_own_factor_are_no_other_place_to_guess_a_password(maria, client, page):
    phone, _ = give_factor(maria)
    log_in(client, phone.show())

    for guess in range(4):
        assert client.post(page, {"answer": f"guess {guess}"}).status_code == 200
    assert client.post(page, {"answer": "guess"}).status_code == 403

    assert SESSION_KEY not in client.session
    places = WrongPassword.objects.values_list("place", flat=True)
    assert list(places) == [PasswordPlace.SECOND_FACTOR] * 5


def test_who_is_locked_out_gives_no_codes_either(maria, client):
    _, codes = give_factor(maria)
    give_password(client)
    statuses = [client.post(ENTER, {"code": NO_CODE}).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    factor = Authenticator.objects.get(type=Authenticator.Type.TOTP)
    factor.data[WRONG_AT] -= FIRST_WAIT
    factor.save()

    assert client.post(ENTER, {"code": codes[0]}).status_code == 429
    assert SESSION_KEY not in client.session


def test_a_code_that_was_not_looked_at_locks_out_nobody(maria, client):
    _, codes = give_factor(maria)
    thief = Client(REMOTE_ADDR="10.0.0.66")
    give_password(thief)
    for _ in range(5):
        thief.post(ENTER, {"code": NO_CODE})
    before = WrongPassword.objects.count()
    give_password(client)

    for _ in range(6):
        assert client.post(ENTER, {"code": codes[0]}).status_code == 200

    assert WrongPassword.objects.count() == before == 5


def test_who_is_locked_out_does_not_fill_the_audit(maria, client):
    for _ in range(8):
        client.post(LOGIN, {"username": "maria", "password": "wrong"})

    assert AuditEvent.objects.filter(code=LOGIN_REFUSED_EVENT).count() == 1


def test_a_header_that_is_no_address_leads_to_the_login(db, client):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://["}

    assert client.get(INDEX, headers=headers).headers["HX-Redirect"].startswith(LOGIN)


def test_a_new_factor_ends_the_other_sessions(maria, client):
    phone, codes = give_factor(maria)
    log_in(client, phone.show())
    thief = Client()
    log_in(thief, codes[0])

    shown = client.get(SET_UP)
    sent = {"new": shown.context["kept_secret"], "code": Phone.scan(shown).show()}
    client.post(SET_UP, sent | {"answer": PASSWORD})

    assert client.get(INDEX).status_code == 200
    assert thief.get(INDEX).url.startswith(LOGIN)


def test_the_audit_tells_of_a_second_factor(maria):
    give_factor(maria)
    reset_second_factor(maria, make_user("ana"))

    found = AuditEvent.objects.filter(code=USER_CHANGED_EVENT, facts__contains="second_factor")
    assert found.first().who == "ana"
    assert found.count() == 2


def test_a_guess_beside_the_one_that_ends_the_session_changes_no_password(
    maria, client, settings, monkeypatch
):
    settings.NOVA_REQUIRE_SECOND_FACTOR = False
    give_password(client)

    def check_after_others(**guess):
        for number in range(5):
            check_password_or_code(**guess | {"password": f"guess {number}"})
        return check_password_or_code(**guess)

    monkeypatch.setattr(
        "migration.people.password_pages.check_password_or_code", check_after_others
    )
    new = {"new_password1": "given-by-a-thief-2", "new_password2": "given-by-a-thief-2"}

    answer = client.post("/admin/password_change/", {"old_password": PASSWORD, **new})

    assert answer.status_code == 403
    maria.refresh_from_db()
    assert maria.check_password(PASSWORD)
