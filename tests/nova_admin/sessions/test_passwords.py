"""Which new passwords are refused."""

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from migration.models import PasswordReset
from migration.people.links import make_link
from tests.factories import make_user
from tests.nova_admin.sessions.conftest import PASSWORD
from tests.page_forms import pages_left_out

WEAK = {
    "only numbers": "83726154",
    "only numbers, and long": "837261548372",
    "eleven characters": "kT4-zQ9_wB7",
    "common": "administrator",
    "the own name": "maria.gonzalez",
}


@pytest.fixture
def root(db, client) -> User:
    user = make_user("root", is_superuser=True, password=PASSWORD)
    client.force_login(user)
    return user


@pytest.mark.parametrize("password", WEAK.values(), ids=WEAK)
def test_a_weak_password_is_refused_wherever_one_is_set(root, client, password):
    maria = make_user("maria.gonzalez", password=PASSWORD)
    own = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}

    with pages_left_out():
        client.force_login(maria)
        changed = client.post("/admin/password_change/", own)
        client.logout()
        client.get(f"/admin/login/link/{make_link(maria, by=None)}/")
        chosen = client.post("/admin/login/link/", own)

    assert (chosen.status_code, changed.status_code) == (200, 200), "it was taken"
    maria.refresh_from_db()
    assert maria.check_password(PASSWORD)


@pytest.mark.django_db
def test_a_command_makes_no_superuser_with_a_weak_password_of_the_environment(monkeypatch):
    named = {"username": "maria.gonzalez", "email": "maria@example.test"}
    for password in WEAK.values():
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
        with pytest.raises(CommandError, match=r"^DJANGO_SUPERUSER_PASSWORD is weak: "):
            call_command("createsuperuser", interactive=False, **named)
    assert not User.objects.exists()

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    call_command("createsuperuser", interactive=False, verbosity=0, **named)
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.django_db
def test_a_password_that_a_command_sets_is_noted_with_the_command(monkeypatch, capsys):
    maria = make_user("maria", password=PASSWORD)
    monkeypatch.setattr("getpass.getpass", lambda **_: "kT4-zQ9_wB7x")

    call_command("changepassword", "maria")

    assert "Password changed successfully" in capsys.readouterr().out
    maria.refresh_from_db()
    assert maria.check_password("kT4-zQ9_wB7x")
    reset = PasswordReset.objects.get()
    assert (reset.user, reset.by, reset.what) == (maria, None, "password")


def test_a_password_of_twelve_characters_is_taken(root, client):
    own = {
        "old_password": PASSWORD,
        "new_password1": "kT4-zQ9_wB7x",
        "new_password2": "kT4-zQ9_wB7x",
    }

    assert client.post("/admin/password_change/", own).status_code == 302
