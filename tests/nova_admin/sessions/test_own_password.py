"""Guessing the own password in somebody's session, at a reveal or where it is changed: five wrong ones end it."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection

from migration.models import Reveal, WrongPassword
from migration.people.lockouts import check_password_or_code
from migration.people.models import PasswordPlace
from tests.checkout import TIMEOUT_SECONDS
from tests.factories import make_full_client, make_user
from tests.migration.logins.test_reveals import REVEAL, address, age_the_login
from tests.nova_admin.sessions.conftest import PASSWORD
from tests.page_forms import pages_left_out
from tests.test_no_secret_escapes import Haystack, add_tables, everything_logged

NOT_YOURS = "That is not your password."
CHANGE = "/admin/password_change/"


@pytest.fixture
def maria(transactional_db, client) -> User:
    """Logged in so long ago that a reveal asks for the password."""
    user = make_user("maria", "credentials.view_client", REVEAL, password=PASSWORD)
    client.force_login(user)
    age_the_login(client, 301)
    return user


@pytest.fixture
def field(transactional_db) -> str:
    return address(make_full_client("idom"))


def guess(client, field: str, password: str = "guess", **more):
    return client.post(field, {"reason": "INC-42", "password": password}, **more)


def test_five_wrong_passwords_at_a_reveal_end_the_session(maria, field, client):
    with pages_left_out():
        answers = [guess(client, field) for _ in range(4)]
    assert [answer.context_data["problems"] for answer in answers] == [[NOT_YOURS]] * 4

    last = guess(client, field)

    assert last.status_code == 403
    assert "You entered a wrong password 5 times and were logged out." in last.content.decode()
    assert SESSION_KEY not in client.session
    assert guess(client, field, PASSWORD).url.startswith("/admin/login/")
    assert not Reveal.objects.exists()


def test_each_of_them_is_on_record_without_what_was_typed(maria, field, client):
    haystack = Haystack()
    with everything_logged(haystack), pages_left_out():
        guess(client, field, "MARKER-guess", REMOTE_ADDR="10.0.0.8")
    add_tables(haystack)

    row = WrongPassword.objects.get()
    assert (row.username, row.address, row.place) == ("maria", "10.0.0.8", PasswordPlace.REVEAL)
    everything = "".join(map(haystack.text, list(haystack.pieces)))
    assert "MARKER-guess" not in everything
    key = client.session.session_key
    assert key not in haystack.text("table migration_wrongpassword")


def test_a_right_password_in_between_gives_no_new_tries(maria, field, client):
    """Whoever owns the session would help whoever guesses in it."""
    with pages_left_out():
        for _ in range(4):
            guess(client, field)
        guess(client, field, PASSWORD)
    assert Reveal.objects.count() == 1
    age_the_login(client, 301)

    assert guess(client, field).status_code == 403


def test_a_form_that_is_sent_empty_is_no_guess(maria, field, client):
    with pages_left_out():
        answers = [guess(client, field, "").status_code for _ in range(6)]

    assert answers == [200] * 6
    assert not WrongPassword.objects.exists()


def test_they_are_counted_by_session(maria, field, client):
    with pages_left_out():
        for _ in range(4):
            guess(client, field)
    client.logout()
    client.force_login(maria)
    age_the_login(client, 301)

    with pages_left_out():
        assert guess(client, field).status_code == 200


def test_the_change_of_the_own_password_is_no_other_place_to_guess(maria, field, client):
    new = {"new_password1": "another-example-password", "new_password2": "another-example-password"}
    with pages_left_out():
        for _ in range(2):
            guess(client, field)
        for n in range(2):
            wrong = client.post(CHANGE, {"old_password": f"guess-{n}"} | new)
            assert "old_password" in wrong.context_data["form"].errors

    assert client.post(CHANGE, {"old_password": "guess"} | new).status_code == 403

    assert maria.check_password(PASSWORD)
    places = WrongPassword.objects.values_list("place", flat=True).order_by("pk")
    assert list(places) == ["reveal"] * 2 + ["password_change"] * 3


def test_two_at_once_count_as_two_and_no_sixth_is_looked_at(transactional_db, client, caplog):
    """Eleven requests are under way at once in one session."""
    maria = make_user("maria", password=PASSWORD)
    client.force_login(maria)
    key, waiting = client.session.session_key, Barrier(11)
    looked = []

    def try_password(number: int) -> bool:
        user = User.objects.get(pk=maria.pk)
        check = user.check_password
        user.check_password = lambda typed: looked.append(number) or check(typed)  # type: ignore[method-assign]
        waiting.wait(timeout=TIMEOUT_SECONDS)
        try:
            return check_password_or_code(
                user=user,
                password="guess",
                session_key=key,
                address="10.0.0.8",
                place=PasswordPlace.REVEAL,
            )
        finally:
            connection.close()

    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(11) as people:
        answers = list(people.map(try_password, range(11)))

    assert answers == [False] * 11
    assert len(looked) == WrongPassword.objects.count() == 5
    assert WrongPassword.objects.filter(shut_out=True).count() == 1
    assert not Session.objects.exists()
    ended = [record for record in caplog.records if "the session ended" in record.getMessage()]
    assert len(ended) == 1
