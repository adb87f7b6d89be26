"""Guessing at the login: it ends after some tries, of one user at one address alone, and everything is on record."""

import logging
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.db import transaction
from django.test import Client, RequestFactory
from django.utils import timezone

from migration.core import refused_acts
from migration.core.audit import Actor, acting, process_origin
from migration.models import AuditEvent, WrongPassword
from migration.people import lockouts
from migration.people.lockouts import LET_IN_EVENT, find_locks, forget_old_attempts_and_sessions
from migration.people.models import PasswordPlace
from nova_admin.trusted_proxies import TrustedProxies
from tests.factories import make_user
from tests.nova_admin.sessions.conftest import PASSWORD
from tests.page_forms import pages_left_out
from tests.test_no_secret_escapes import Haystack, add_tables, everything_logged

LIST, LET_IN = "/admin/people/failed-logins/", "/admin/people/failed-logins/let-in/"
AT_8 = {"user": "maria", "address": "10.0.0.8"}


def guess(log_in, times: int = 5, **who) -> list[int]:
    """The statuses of so many tries; the pages themselves are left out."""
    with pages_left_out():
        return [
            log_in(**{"username": "maria", "password": f"guess-{n}"} | who).status_code
            for n in range(times)
        ]


def gets_in(response) -> bool:
    return response.status_code == 302


def test_guessing_ends_after_five_tries_at_this_address_and_nowhere_else(maria, log_in):
    make_user("juan", password=PASSWORD)

    assert guess(log_in, 7) == [200] * 4 + [429] * 3

    assert log_in("maria").status_code == 429, "the right password is of no use here"
    assert gets_in(log_in("maria", address="10.0.0.9"))
    assert gets_in(log_in("juan"))


def test_many_tries_keep_nobody_else_out_and_cost_no_look_at_a_password(maria, log_in, monkeypatch):
    make_user("juan", password=PASSWORD)
    looked = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda *args: looked.append(1) or encode(*args)
    )
    for n in range(40):
        request = RequestFactory().post("/admin/login/", REMOTE_ADDR="10.0.0.8")
        assert authenticate(request, username="maria", password=f"guess-{n}") is None

    assert len(looked) == 5
    assert WrongPassword.objects.count() == AccessAttempt.objects.get().failures_since_start == 5
    assert gets_in(log_in("juan"))
    assert gets_in(log_in("maria", address="10.0.0.9"))


def test_another_browser_or_spelling_gives_no_more_tries(maria, log_in):
    spellings = ("maria", "MARIA", "Maria", "mARIA", "marIA")
    answers = []
    for n, name in enumerate(spellings):
        browser = Client(REMOTE_ADDR="10.0.0.8", headers={"User-Agent": f"browser {n}"})
        sent = {"username": name, "password": "guess"}
        with pages_left_out():
            answers.append(browser.post("/admin/login/", sent).status_code)

    assert answers == [200] * 4 + [429]


def test_a_forged_header_makes_no_other_address(maria, settings):
    settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse("10.0.0.1")
    data = {"username": "maria", "password": "guess"}

    def tried(peer: str, forwarded: str) -> list[int]:
        headers = {"X-Forwarded-For": forwarded}
        browser = Client(REMOTE_ADDR=peer, headers=headers)
        with pages_left_out():
            return browser.post("/admin/login/", data).status_code

    forged = [tried("10.0.0.8", f"192.0.2.{n}") for n in range(5)]
    behind_proxy = [tried("10.0.0.1", f"192.0.2.{n}, 198.51.100.7") for n in range(5)]

    assert forged == behind_proxy == [200] * 4 + [429]
    assert {address for _user, address in find_locks()} == {"10.0.0.8", "198.51.100.7"}


def test_one_client_behind_a_proxy_locks_out_no_other(maria, settings):
    settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse("10.0.0.1")

    def tried(client: str, password: str) -> int:
        browser = Client(REMOTE_ADDR="10.0.0.1", headers={"X-Forwarded-For": client})
        sent = {"username": "maria", "password": password}
        with pages_left_out():
            return browser.post("/admin/login/", sent).status_code

    assert [tried("192.0.2.1", "guess") for _ in range(5)][-1] == 429
    assert tried("192.0.2.2", PASSWORD) == 302


def test_the_page_says_why_and_when_it_ends_and_it_ends_then(maria, log_in, clock):
    guess(log_in)
    clock.turn(minutes=5)

    response = log_in("maria")

    text = response.content.decode()
    end = clock.time + timedelta(minutes=10)
    assert response.status_code == 429
    assert "Too many wrong passwords for this user from your address." in text
    assert f"Try again after {end.strftime('%H:%M')}" in text
    assert 600 <= int(response.headers["Retry-After"]) <= 601
    clock.turn(minutes=9, seconds=59)
    assert log_in("maria").status_code == 429
    clock.turn(seconds=2)
    assert gets_in(log_in("maria"))


def test_the_lock_ends_although_somebody_goes_on_trying(maria, log_in, clock):
    guess(log_in)
    for _ in range(3):
        clock.turn(minutes=5, seconds=1)
        guess(log_in, 2)

    assert WrongPassword.objects.count() == 7
    assert gets_in(log_in("maria"))


def test_a_login_sets_the_count_to_zero(maria, log_in):
    guess(log_in, 4)
    assert gets_in(log_in("maria"))

    assert guess(log_in, 4) == [200] * 4


def test_a_name_that_nobody_has_is_locked_out_in_the_same_way(maria, log_in):
    """Otherwise the login would say which users there are."""
    assert guess(log_in, 6, username="nobody-has-it") == guess(log_in, 6) == [200] * 4 + [429] * 2
    pages = [log_in(name).content.decode() for name in ("nobody-has-it", "maria")]
    assert cut_tokens(pages[0]) == cut_tokens(pages[1])


def cut_tokens(page: str) -> str:
    return re.sub(r'(csrfmiddlewaretoken" value|nonce)="[^"]+"|\d+:\d+ [ap]\.m\.', r"\1", page)


def test_wrong_passwords_are_on_record_with_user_address_and_time(maria, log_in):
    began_at = timezone.now()
    guess(log_in, 5)

    rows = list(WrongPassword.objects.order_by("pk"))

    assert {(row.username, row.address, row.place) for row in rows} == {
        ("maria", "10.0.0.8", PasswordPlace.LOGIN)
    }
    assert all(began_at <= row.typed_at <= timezone.now() for row in rows)
    assert [row.shut_out for row in rows] == [False] * 4 + [True]


def test_a_try_with_an_email_address_is_on_record_for_who_has_it_and_told_what_to_type(
    maria, log_in
):
    User.objects.filter(pk=maria.pk).update(email="maria@example.com")
    for name in ("juan", "eva"):
        make_user(name, email="team@example.com")

    names = ("Maria@Example.com", "team@example.com", "x@example.com")
    # Of one address few made-up names are on record.
    pages = [log_in(name, address=f"10.0.1.{n}") for n, name in enumerate(names)]

    rows = WrongPassword.objects.order_by("pk").values_list("username", "shut_out")
    assert list(rows) == [("maria", False), ("", False), ("", False)]
    told = "Wrong username or password. Your username may differ from your email address."
    assert [told in page.content.decode() for page in pages] == [True] * 3
    guess(log_in, username="maria@example.com")
    # Nobody is locked out by her name.
    assert not WrongPassword.objects.filter(username="maria", shut_out=True).exists()
    assert gets_in(log_in("maria"))


def test_made_up_names_write_a_bounded_number_of_rows_and_are_counted(db, monkeypatch):
    """The count is an entry once the minute is over; a user is locked out as ever meanwhile."""
    now = 1_800_000_000.0
    monkeypatch.setattr(refused_acts, "time", SimpleNamespace(time=lambda: now))
    make_user("maria", password=PASSWORD)
    before = AuditEvent.objects.count()
    monkeypatch.setattr(refused_acts, "MOST_DIFFERENT", 3)
    for n in range(20):
        address = f"10.0.1.{n % 10}"
        request = RequestFactory().post("/admin/login/", REMOTE_ADDR=address)
        with acting(Actor(address)):
            user_login_failed.send(
                __name__, credentials={"username": f"made up {n}"}, request=request
            )

    written = AuditEvent.objects.count() - before
    assert written == WrongPassword.objects.count() == 1 + 3
    guesses = [
        authenticate(
            RequestFactory().post("/", REMOTE_ADDR="10.0.0.8"), username="maria", password="x"
        )
        for _ in range(6)
    ]
    assert guesses == [None] * 6
    assert WrongPassword.objects.filter(username="maria").count() == 5
    assert find_locks().keys() == {("maria", "10.0.0.8")}

    now += 60
    refused_acts.record_repeats()
    refused_acts.record_repeats()

    of_maria, of_nobody = AuditEvent.objects.order_by("who").filter(facts__contains="refused_again")
    assert [str(of_maria.message), str(of_nobody.message)] == [
        f"Refused {n} more times within the minute that began at 2027-01-15 08:00 UTC."
        for n in (4, 20 - 4)
    ]
    assert (of_maria.who, of_maria.origin, of_maria.code) == (
        "maria",
        process_origin(),
        "login_refused",
    )
    assert (of_nobody.who, of_nobody.origin) == ("unknown", "")


def test_nothing_that_was_typed_is_kept_or_logged(maria, log_in):
    """Neither in the password's own field, nor in one that django-axes doesn't know, nor in the user's."""
    typed = ("MARKER-password", "MARKER-other-field", "MARKER-as-user")
    haystack = Haystack()
    with everything_logged(haystack):
        log_in("maria", "MARKER-password", Password="MARKER-other-field")
        log_in("MARKER-as-user", "MARKER-password")
        for _ in range(5):
            log_in("maria", "MARKER-password")
    add_tables(haystack)

    everything = "".join(map(haystack.text, list(haystack.pieces)))
    assert WrongPassword.objects.filter(username="").count() == 1
    assert [word for word in typed if word in everything] == []
    assert "table axes_accessattempt" in haystack.pieces


def test_wrong_passwords_are_logged_once_with_the_name_of_a_user_alone(maria, log_in, caplog):
    with caplog.at_level(logging.INFO):
        log_in("maria", "guess")
        log_in("example-password-as-user", "guess")

    lines = [record.getMessage() for record in caplog.records if "assword" in record.getMessage()]
    assert lines == [
        "Wrong password for maria from 10.0.0.8 (login)",
        "Wrong password for a name that no user has from 10.0.0.8 (login)",
    ]


@pytest.fixture
def juan(db) -> User:
    return make_user("juan", "auth.view_user", "auth.change_user", password=PASSWORD)


def test_who_administers_users_lets_somebody_in_again(maria, juan, log_in, client):
    guess(log_in)
    guess(log_in, address="10.0.0.9")
    client.force_login(juan)
    locks = client.get(LIST).context["locks"]
    assert {(lock.username, lock.address) for lock in locks} == {
        ("maria", "10.0.0.8"),
        ("maria", "10.0.0.9"),
    }
    assert len(client.get(f"/admin/people/{maria.pk}/").context["locks"]) == 2

    page = client.post(LET_IN, AT_8, follow=True)

    assert "Removed 1 lock." in page.content.decode()
    assert [lock.address for lock in page.context["locks"]] == ["10.0.0.9"]
    ended = WrongPassword.objects.get(address="10.0.0.8", shut_out=True)
    assert ended.let_in_by == "juan"
    assert gets_in(log_in("maria"))
    assert log_in("maria", address="10.0.0.9").status_code == 429
    event = AuditEvent.objects.filter(code=LET_IN_EVENT).get()
    assert (event.who, str(event.message)) == ("juan", "Removed the lock of maria at 10.0.0.8.")
    again = client.post(LET_IN, AT_8, follow=True).content.decode()
    assert "Nobody is locked out there now." in again


def test_others_neither_see_the_page_nor_let_anybody_in(maria, log_in, client):
    guess(log_in)
    client.force_login(make_user("viewer", "credentials.view_client"))
    assert client.get(LIST).status_code == 403
    client.force_login(make_user("auditor", "auth.view_user"))
    assert client.get(LIST).status_code == 200

    assert client.post(LET_IN, AT_8).status_code == 403
    assert log_in("maria").status_code == 429


def test_the_list_asks_the_database_as_often_whatever_it_shows(
    juan, client, django_assert_max_num_queries
):
    WrongPassword.objects.bulk_create(
        WrongPassword(username="maria", address="10.0.0.8", place="login") for _ in range(50)
    )
    client.force_login(juan)
    client.get(LIST)
    with django_assert_max_num_queries(12):
        client.get(LIST)


def test_old_records_are_forgotten(maria, log_in):
    guess(log_in)
    old, older = (timezone.now() - timedelta(days=days) for days in (89, 91))
    AccessAttempt.objects.update(attempt_time=old)
    WrongPassword.objects.update(typed_at=older)
    WrongPassword.objects.filter(shut_out=True).update(typed_at=old)

    forget_old_attempts_and_sessions()

    assert WrongPassword.objects.get().shut_out
    assert AccessAttempt.objects.count() == 0


def test_twenty_users_tried_from_one_address_lock_it_and_nobody_else(maria, log_in, client, clock):
    answers = [guess(log_in, 1, username=f"name-{number}")[0] for number in range(21)]

    assert answers == [200] * 20 + [429]
    locked = log_in("maria")
    assert locked.status_code == 429
    assert "Too many wrong passwords from your address" in locked.content.decode()
    assert gets_in(log_in("maria", address="10.0.0.9"))
    assert AccessAttempt.objects.count() == 20
    client.force_login(make_user("root", is_superuser=True))
    (lock,) = client.get(LIST).context["locks"]
    assert (lock.username, lock.address) == ("", "10.0.0.8")
    with transaction.atomic():
        clock.turn(minutes=16)
        assert gets_in(log_in("maria"))
        transaction.set_rollback(True)
    clock.turn(minutes=-16)
    assert log_in("maria").status_code == 429
    client.post(LET_IN, {"user": "", "address": "10.0.0.8"})
    assert gets_in(log_in("maria"))
    event = AuditEvent.objects.filter(code=LET_IN_EVENT).get()
    assert "10.0.0.8" in str(event.facts)


def test_an_office_whose_people_mistype_a_few_times_each_gets_in(maria, log_in, monkeypatch):
    monkeypatch.setattr(lockouts, "MOST_USERS", 4)
    for number in range(3):
        guess(log_in, 4, username=f"colleague-{number}")

    assert gets_in(log_in("maria"))


def test_where_everybody_has_the_proxys_address_it_is_not_locked(maria, settings, monkeypatch):
    """A trusted proxy that names no client, and a Unix socket."""
    monkeypatch.setattr(lockouts, "MOST_USERS", 4)
    settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse("10.0.0.1, 2001:db8::5")
    for peer in ("10.0.0.1", "2001:db8::5", ""):
        for number in range(5):
            request = RequestFactory().post("/admin/login/", REMOTE_ADDR=peer)
            assert authenticate(request, username=f"name-{number}", password="guess") is None
        sent = {"username": "maria", "password": "guess"}
        with pages_left_out():
            assert Client(REMOTE_ADDR=peer).post("/admin/login/", sent).status_code == 200


@pytest.mark.parametrize(
    ("addresses", "ends"),
    [
        ([f"2001:db8:1:2:{n:x}::{n:x}" for n in range(6)], True),
        ([f"::ffff:10.0.0.8%{n}" for n in range(6)], True),
        (
            ["10.0.0.8", "::ffff:10.0.0.8", "::ffff:a00:8", "64:ff9b::10.0.0.8", "64:ff9b::a00:8"],
            True,
        ),
        ([f"2001:db8:1:{n:x}::1" for n in range(6)], False),
        ([f"::ffff:10.0.0.{n}" for n in range(6)], False),
        ([f"64:ff9b::10.0.0.{n}" for n in range(6)], False),
    ],
)
def test_guesses_of_one_line_are_counted_together(maria, log_in, addresses, ends):
    answers = [guess(log_in, 1, address=address)[0] for address in addresses]

    assert answers == ([200] * 4 + [429] * (len(addresses) - 4) if ends else [200] * 6)
