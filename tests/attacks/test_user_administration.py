"""A stolen session of somebody who may change users: it changes nothing, gives nothing, and approves nothing.

Each attack succeeded on the first release.
"""

import re

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.http import HttpRequest
from django.test import Client

from migration.models import PasswordReset, Run
from migration.people.accounts import digest_state
from tests.factories import all_tables, make_user, request_run
from tests.nova_admin.login.codes import give_factor
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db

PASSWORD, GUESS, NEW = "the-keepers-own-1", "guessed-by-a-thief-2", "given-to-others-3"
PEOPLE = "/admin/people/"
NO_SERVER = "django.core.mail.backends.dummy.EmailBackend"


@pytest.fixture
def keeper() -> User:
    """In the role that changes users, and approves besides."""
    user = make_user("keeper", password=PASSWORD)
    user.groups.set(Group.objects.filter(name__in=["User administrator", "Approver"]))
    return user


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def maria() -> User:
    """Somebody who asks for cutovers."""
    return make_user("maria", "migration.move_client", password="maria-s-own-4")


def send(client, user: User, act: str, **sent: object):
    """Sends the form of what is done to a person, as it is shown now, with the own password."""
    seen = digest_state(User.objects.get(pk=user.pk))
    return client.post(
        f"{PEOPLE}{user.pk}/{act}/", {"seen": seen, "current_password": PASSWORD} | sent
    )


def role(name: str) -> int:
    return Group.objects.get(name=name).pk


# By what is changed: whose page, and what is sent.
CHANGES = {
    "invitation": lambda _: (
        "invite",
        {"name": "Eva", "mail": "eva@example.test", "role": role("Viewer")},
    ),
    "link for a password": lambda maria: (f"{maria.pk}/link", {}),
    "role": lambda maria: (f"{maria.pk}/role", {"role": role("Operator")}),
    "name and mail": lambda maria: (
        f"{maria.pk}/details",
        {"name": "M", "mail": "thief@example.test"},
    ),
    "second factor": lambda maria: (f"{maria.pk}/factor", {}),
    "deactivation": lambda maria: (f"{maria.pk}/deactivate", {}),
}


OF_LOGINS = ("mfa_authenticator", "migration_passwordlink", "migration_passwordreset")


def read_accounts() -> dict[str, list[tuple]]:
    """Everything about users, groups and how people log in; not when somebody was last seen."""
    tables = [table for table in all_tables() if table.startswith("nova_admin.auth_")]
    with connection.cursor() as cursor:
        found = {}
        for table in (*tables, *(f"nova_admin.{name}" for name in OF_LOGINS)):
            cursor.execute(f"SELECT to_jsonb(t) - 'last_login' FROM {table} AS t ORDER BY 1")
            found[table] = cursor.fetchall()
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_stolen_session_changes_nobody(client, root, maria, change):
    give_factor(maria)
    client.force_login(root)
    page, sent = CHANGES[change](maria)
    sent |= {"seen": digest_state(maria)}
    before = read_accounts()

    with pages_left_out():
        for guess in ({}, {"current_password": ""}, {"current_password": GUESS}):
            answer = client.post(f"{PEOPLE}{page}/", sent | guess)
            assert answer.status_code == 200, guess
            assert [*answer.context_data["form"].errors] == ["current_password"], guess
            assert read_accounts() == before, guess
    assert answer.context_data["form"].errors["current_password"] == ["Wrong password."]

    answer = client.post(f"{PEOPLE}{page}/", sent | {"current_password": PASSWORD})
    assert answer.status_code in (200, 302)
    assert read_accounts() != before


@pytest.mark.parametrize("change", CHANGES)
def test_each_page_asks_for_the_password_as_browsers_know_it(client, root, maria, change):
    give_factor(maria)
    client.force_login(root)
    page, _sent = CHANGES[change](maria)

    (field,) = re.findall(
        r'<input[^>]*name="current_password"[^>]*>',
        client.get(f"{PEOPLE}{page}/").content.decode(),
    )

    assert 'type="password"' in field
    assert 'autocomplete="current-password"' in field
    assert "value=" not in field


def test_own_password_is_changed_with_the_old_one_alone(client, root):
    client.force_login(root)
    new = {"new_password1": NEW, "new_password2": NEW}

    assert client.post("/admin/password_change/", new | {"old_password": GUESS}).status_code == 200
    root.refresh_from_db()
    assert root.check_password(PASSWORD)


def test_the_typed_password_stands_nowhere_afterwards(client, root, maria, caplog):
    client.force_login(root)
    caplog.set_level("DEBUG")
    answers = ""

    for change in ("role", "link for a password", "invitation", "deactivation"):
        page, sent = CHANGES[change](maria)
        for typed in (GUESS, PASSWORD):
            sent |= {"seen": digest_state(maria), "current_password": typed}
            answers += client.post(f"{PEOPLE}{page}/", sent).content.decode()

    sessions = str([session.get_decoded() for session in Session.objects.all()])
    for typed in (GUESS, PASSWORD):
        assert typed not in answers + sessions + caplog.text
        with connection.cursor() as cursor:
            for table in all_tables():
                cursor.execute(
                    f"SELECT EXISTS (SELECT FROM {table} AS t WHERE t::text ~ %s)", [typed]
                )
                assert cursor.fetchone() == (False,), table


# What nobody gives on a page.


@pytest.mark.parametrize("act", ["details", "role"])
def test_no_page_makes_a_superuser_or_gives_a_single_permission(client, root, maria, act):
    """Superusers are made by `createsuperuser`."""
    client.force_login(root)
    reveal = Permission.objects.get(codename="reveal_credential")
    extra = {"is_superuser": "on", "user_permissions": [reveal.pk], "is_staff": "", "password": "x"}

    send(client, maria, act, name="Maria", mail="", role=role("Viewer"), **extra)

    user = User.objects.get(pk=maria.pk)
    assert (user.is_superuser, user.is_staff) == (False, True)
    assert not user.has_perm("migration.reveal_credential")
    assert user.check_password("maria-s-own-4")


@pytest.mark.parametrize("act", ["role", "link", "details", "factor", "deactivate"])
def test_who_keeps_users_changes_no_superuser(client, keeper, root, act):
    give_factor(root)
    client.force_login(keeper)
    before = read_accounts()

    sent = {"role": role("Viewer"), "name": "R", "mail": "thief@example.test"}

    assert send(client, root, act, **sent).status_code == 403
    assert read_accounts() == before


def test_who_keeps_users_gives_themselves_no_role(client, keeper):
    client.force_login(keeper)
    before = set(keeper.groups.all())

    for name in ("Administrator", "Operator"):
        assert send(client, keeper, "role", role=role(name)).context["refusal"]

    assert set(keeper.groups.all()) == before


def test_an_administrator_keeps_no_users(client, maria):
    administrator = make_user("admin", password=PASSWORD)
    administrator.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(administrator)

    assert send(client, maria, "link").status_code == 403
    assert client.get(PEOPLE).status_code == 403


# Approving what one requested in another's name.


def ask_as(user: User) -> Run:
    return request_run(1, by=user)


def use_link(answer) -> None:
    """Opens the link that was shown, and chooses a password by it."""
    browser = Client()
    browser.get(answer.context["address"], follow=True)
    sent = {"new_password1": NEW, "new_password2": NEW}
    assert browser.post("/admin/login/link/", sent).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_who_reset_a_password_does_not_approve_what_its_owner_requested(
    client, keeper, maria, settings
):
    """The attack: make a link for maria, open it oneself, ask as her, approve as oneself."""
    settings.EMAIL_BACKEND = NO_SERVER
    client.force_login(keeper)
    use_link(send(client, maria, "link"))
    assert authenticate(HttpRequest(), username="maria", password=NEW) == maria
    asked = ask_as(maria)

    page = f"/admin/migration/run/{asked.pk}"
    answer = client.post(f"{page}/approve/")

    (said,) = [str(each) for each in get_messages(answer.wsgi_request)][-1:]
    assert re.match(r"keeper changed how maria logs in \d+ seconds? ago", said)
    asked.refresh_from_db()
    assert asked.state == Run.State.REQUESTED
    shown = client.get(f"{page}/change/").content.decode()
    assert "keeper changed how maria logs in" in shown
    assert "/approve/" not in shown
    account = client.get(f"{PEOPLE}{maria.pk}/").context["reset"]
    assert (account.by_name, account.what) == ("keeper", "password")
    reset = PasswordReset.objects.get()
    assert (reset.by, reset.by_name, reset.user, reset.user_name, reset.what) == (
        keeper,
        "keeper",
        maria,
        "maria",
        "password",
    )


def test_who_made_an_account_does_not_approve_what_it_requested(client, keeper, settings):
    settings.EMAIL_BACKEND = NO_SERVER
    client.force_login(keeper)
    page, sent = CHANGES["invitation"](None)
    use_link(client.post(f"{PEOPLE}{page}/", sent | {"current_password": PASSWORD}))
    asked = ask_as(User.objects.get(username="eva"))

    answer = client.post(f"/admin/migration/run/{asked.pk}/approve/")

    said = " ".join(str(each) for each in get_messages(answer.wsgi_request))
    assert "keeper changed how eva logs in" in said
    assert {reset.what for reset in PasswordReset.objects.all()} == {"account"}


def test_who_gave_another_mail_address_does_not_approve_what_its_owner_requested(
    client, keeper, maria
):
    """The attack: have maria's mail come to oneself, and ask for a new password in her name."""
    client.force_login(keeper)
    send(client, maria, "details", name="Maria", mail="thief@example.test")
    Client().post("/admin/login/forgot/", {"who": "maria"})
    (sent,) = (each for each in mail.outbox if each.to == ["thief@example.test"])
    thief = Client()
    thief.get(re.search(r"http\S+", sent.body)[0])
    answer = thief.post("/admin/login/link/", {"new_password1": NEW, "new_password2": NEW})
    assert answer.status_code == 302
    asked = ask_as(maria)

    answer = client.post(f"/admin/migration/run/{asked.pk}/approve/")

    said = " ".join(str(each) for each in get_messages(answer.wsgi_request))
    assert "keeper changed how maria logs in" in said
    asked.refresh_from_db()
    assert asked.state == Run.State.REQUESTED
    assert [reset.what for reset in PasswordReset.objects.all()] == ["address"]


@pytest.mark.parametrize("mail_now", ["", "Maria@example.test"])
def test_a_mail_address_that_leads_nowhere_else_is_no_reset(client, keeper, maria, mail_now):
    User.objects.filter(pk=maria.pk).update(email="maria@example.test")
    client.force_login(keeper)

    assert send(client, maria, "details", name="M", mail=mail_now).status_code == 302

    assert not PasswordReset.objects.exists()


def put_into(user: User, *roles: str) -> User:
    user.groups.set(Group.objects.filter(name__in=roles))
    return user


@pytest.mark.parametrize("is_active", [True, False])
def test_a_user_administrator_takes_over_no_administrator(client, keeper, maria, is_active):
    """The attack: give an Administrator a password and an address of one's own, and log in as them."""
    put_into(maria, "Administrator")
    User.objects.filter(pk=maria.pk).update(is_active=is_active)
    client.force_login(keeper)
    before = read_accounts()
    sent = {"name": "K", "mail": "k@example.test", "role": role("Viewer")}

    acts = ("link", "details", "factor", "role", "activate")
    statuses = [send(client, maria, act, **sent).status_code for act in acts]

    assert statuses == [403] * 5
    assert read_accounts() == before


def test_a_user_administrator_makes_nobody_an_administrator(client, keeper, maria):
    client.force_login(keeper)

    for name, taken in (("Administrator", False), ("Operator", True)):
        answer = send(client, maria, "role", role=role(name))
        assert answer.status_code == (302 if taken else 200)
        assert maria.groups.filter(name=name).exists() == taken


def test_who_is_an_administrator_too_changes_others(client, keeper, maria):
    put_into(keeper, "Administrator", "User administrator")
    put_into(maria, "Administrator")
    client.force_login(keeper)

    assert send(client, maria, "deactivate").status_code == 302
    maria.refresh_from_db()
    assert not maria.is_active


def test_a_user_administrator_takes_nobodys_name(client, keeper, maria):
    client.force_login(keeper)

    send(client, maria, "details", name="M", mail="", username="other")

    maria.refresh_from_db()
    assert (maria.username, maria.first_name) == ("maria", "M")


def test_a_link_that_was_made_before_gives_nobody_the_rights_that_came_since(
    client, keeper, root, maria, settings
):
    """The attack: keep the link of an invitation until the person is an Administrator."""
    settings.EMAIL_BACKEND = NO_SERVER
    client.force_login(keeper)
    address = send(client, maria, "link").context["address"]
    put_into(maria, "Administrator")
    thief = Client()
    thief.get(address)

    answer = thief.post("/admin/login/link/", {"new_password1": NEW, "new_password2": NEW})

    assert answer.status_code == 404
    maria.refresh_from_db()
    assert not maria.check_password(NEW)
