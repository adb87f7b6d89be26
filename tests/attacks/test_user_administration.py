"""A stolen session of somebody who may change users: it changes nothing, gives nothing, and approves nothing.

Each attack succeeded on the first release.
"""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission, User
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.db import connection
from django.forms import BaseForm
from django.http import HttpRequest

from migration.models import AuditEvent, PasswordReset, Run
from tests.factories import all_tables, make_user, request_run
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db

PASSWORD, GUESS, NEW = "the-keepers-own-1", "guessed-by-a-thief-2", "given-to-others-3"
USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"


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


@pytest.fixture
def crew() -> Group:
    return Group.objects.create(name="Crew")


def user_form(user: User, **more: object) -> dict[str, object]:
    """What the page of a user sends."""
    fields = {"username": user.username, "first_name": "", "last_name": "", "email": ""}
    return fields | {"is_active": "on", "is_staff": "on"} | more


PASSWORDS = {"password1": NEW, "password2": NEW, "usable_password": "true"}
# By what is changed: whose address, and what is sent.
CHANGES = {
    "own password": lambda at: (f"{USERS}{at['root'].pk}/password/", PASSWORDS),
    "another's password": lambda at: (f"{USERS}{at['maria'].pk}/password/", PASSWORDS),
    "no password": lambda at: (
        f"{USERS}{at['maria'].pk}/password/",
        {"usable_password": "false", "unset-password": "1"},
    ),
    "new user": lambda _: (f"{USERS}add/", {"username": "eva", **PASSWORDS}),
    "groups of a user": lambda at: (
        f"{USERS}{at['maria'].pk}/change/",
        user_form(at["maria"], groups=[at["crew"].pk]),
    ),
    "superuser": lambda at: (
        f"{USERS}{at['maria'].pk}/change/",
        user_form(at["maria"], is_superuser="on"),
    ),
    "deactivation": lambda at: (
        f"{USERS}{at['maria'].pk}/change/",
        user_form(at["maria"], is_active=""),
    ),
    "new group": lambda _: (f"{GROUPS}add/", {"name": "Thieves"}),
    "name of a group": lambda at: (f"{GROUPS}{at['crew'].pk}/change/", {"name": "Thieves"}),
    "deleted group": lambda at: (f"{GROUPS}{at['crew'].pk}/delete/", {"post": "yes"}),
}


def read_accounts() -> dict[str, list[tuple]]:
    """Everything about users and groups, and what the log says of it; not when somebody was last seen."""
    tables = [table for table in all_tables() if table.startswith("nova_admin.auth_")]
    with connection.cursor() as cursor:
        found = {}
        for table in (*tables, "nova_admin.django_admin_log", "nova_admin.migration_passwordreset"):
            cursor.execute(f"SELECT to_jsonb(t) - 'last_login' FROM {table} AS t ORDER BY 1")
            found[table] = cursor.fetchall()
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_stolen_session_changes_no_user_and_no_group(client, root, maria, crew, change):
    client.force_login(root)
    address, sent = CHANGES[change]({"root": root, "maria": maria, "crew": crew})
    before = read_accounts()

    with pages_left_out():
        for guess in ({}, {"current_password": ""}, {"current_password": GUESS}):
            answer = client.post(address, sent | guess)
            assert answer.status_code == 200, guess
            assert [*form_of(answer).errors] == ["current_password"], guess
            assert read_accounts() == before, guess
    assert form_of(answer).errors["current_password"] == [
        "That is neither your password nor a code of a second factor that you had before this login."
    ]

    assert client.post(address, sent | {"current_password": PASSWORD}).status_code == 302
    assert read_accounts() != before


def form_of(answer) -> BaseForm:
    shown = answer.context_data
    return shown["form"] if "form" in shown else shown["adminform"].form


@pytest.mark.parametrize(
    "change", ["another's password", "new user", "groups of a user", "new group", "deleted group"]
)
def test_each_page_asks_for_the_password_as_browsers_know_it(client, root, maria, crew, change):
    client.force_login(root)
    address, _sent = CHANGES[change]({"root": root, "maria": maria, "crew": crew})

    (field,) = re.findall(
        r'<input[^>]*name="current_password"[^>]*>', client.get(address).content.decode()
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


def test_the_typed_password_stands_nowhere_afterwards(client, root, maria, crew, caplog):
    client.force_login(root)
    caplog.set_level("DEBUG")
    answers = ""

    for change in ("groups of a user", "another's password", "new user", "deleted group"):
        address, sent = CHANGES[change]({"root": root, "maria": maria, "crew": crew})
        for typed in (GUESS, PASSWORD):
            answers += client.post(address, sent | {"current_password": typed}).content.decode()

    sessions = str([session.get_decoded() for session in Session.objects.all()])
    for typed in (GUESS, PASSWORD):
        assert typed not in answers + sessions + caplog.text
        with connection.cursor() as cursor:
            for table in all_tables():
                cursor.execute(
                    f"SELECT EXISTS (SELECT FROM {table} AS t WHERE t::text ~ %s)", [typed]
                )
                assert cursor.fetchone() == (False,), table
    # Neither is it listed among the fields that changed.
    assert not LogEntry.objects.filter(change_message__icontains="current").exists()


# What superusers alone may give.


def test_who_keeps_users_makes_no_superuser_and_gives_no_single_permission(client, keeper, maria):
    client.force_login(keeper)
    address = f"{USERS}{maria.pk}/change/"
    reveal = Permission.objects.get(codename="reveal_credential")
    before = set(maria.user_permissions.all())
    page = client.get(address).content.decode()

    sent = user_form(maria, is_superuser="on", user_permissions=[reveal.pk], first_name="Maria")
    answer = client.post(address, sent | {"current_password": PASSWORD})

    assert answer.status_code == 302
    maria.refresh_from_db()
    assert (maria.first_name, maria.is_superuser) == ("Maria", False)
    assert set(maria.user_permissions.all()) == before
    assert 'name="groups"' in page
    assert 'name="is_superuser"' not in page
    assert 'name="user_permissions"' not in page


@pytest.mark.parametrize("what", ["change", "password"])
def test_who_keeps_users_changes_no_superuser(client, keeper, root, what):
    client.force_login(keeper)
    before = read_accounts()

    sent = user_form(root, is_active="") | PASSWORDS | {"current_password": PASSWORD}

    assert client.post(f"{USERS}{root.pk}/{what}/", sent).status_code == 403
    assert read_accounts() == before
    shown = client.get(f"{USERS}{root.pk}/change/")
    assert (shown.status_code, "current_password" in shown.content.decode()) == (200, False)


def test_who_keeps_users_gives_themselves_no_role(client, keeper):
    client.force_login(keeper)
    administrator = Group.objects.get(name="Administrator")
    before = set(keeper.groups.all())

    sent = user_form(keeper, groups=[administrator.pk], current_password=PASSWORD)
    assert client.post(f"{USERS}{keeper.pk}/change/", sent).status_code == 302

    assert set(keeper.groups.all()) == before
    assert User.objects.get(pk=keeper.pk).is_active


def test_a_group_is_given_permissions_by_superusers_alone(client, keeper, root, crew):
    address = f"{GROUPS}{crew.pk}/change/"
    reveal = Permission.objects.get(codename="reveal_credential")
    sent = {"name": "Crew", "permissions": [reveal.pk], "current_password": PASSWORD}

    client.force_login(keeper)
    assert client.post(address, sent).status_code == 403
    keeper.user_permissions.add(Permission.objects.get(codename="change_group"))
    client.force_login(User.objects.get(pk=keeper.pk))
    assert client.post(address, sent).status_code == 302
    assert not crew.permissions.exists()

    client.force_login(root)
    assert client.post(address, sent).status_code == 302
    assert crew.permissions.get() == reveal


def test_an_administrator_keeps_no_users(client, maria):
    administrator = make_user("admin", password=PASSWORD)
    administrator.groups.add(Group.objects.get(name="Administrator"))
    client.force_login(administrator)

    sent = PASSWORDS | {"current_password": PASSWORD}
    assert client.post(f"{USERS}{maria.pk}/password/", sent).status_code == 403
    assert client.get(USERS).status_code == 403


# Approving what one requested in another's name.


def ask_as(user: User) -> Run:
    return request_run(1, by=user)


@pytest.mark.django_db(transaction=True)
def test_who_reset_a_password_does_not_approve_what_its_owner_requested(client, keeper, maria):
    """The attack: reset maria's password, ask as her, approve as oneself."""
    client.force_login(keeper)
    sent = PASSWORDS | {"current_password": PASSWORD}
    assert client.post(f"{USERS}{maria.pk}/password/", sent).status_code == 302
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
    account = client.get(f"{USERS}{maria.pk}/change/").content.decode()
    assert "Password by keeper, <time" in account
    reset = PasswordReset.objects.get()
    assert (reset.by, reset.by_name, reset.user, reset.user_name, reset.what) == (
        keeper,
        "keeper",
        maria,
        "maria",
        "password",
    )


def test_who_made_an_account_does_not_approve_what_it_requested(client, keeper):
    client.force_login(keeper)
    sent = {"username": "eva", **PASSWORDS, "current_password": PASSWORD}
    assert client.post(f"{USERS}add/", sent).status_code == 302
    asked = ask_as(User.objects.get(username="eva"))

    answer = client.post(f"/admin/migration/run/{asked.pk}/approve/")

    said = " ".join(str(each) for each in get_messages(answer.wsgi_request))
    assert "keeper changed how eva logs in" in said
    assert PasswordReset.objects.get().what == "account"


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
    own = {"current_password": PASSWORD}

    statuses = [
        client.post(f"{USERS}{maria.pk}/password/", PASSWORDS | own).status_code,
        client.post(
            f"{USERS}{maria.pk}/change/", user_form(maria, email="k@example.test") | own
        ).status_code,
        client.post(f"{USERS}{maria.pk}/reset-factor/", {"answer": PASSWORD}).status_code,
    ]

    assert statuses == [403, 403, 403]
    assert read_accounts() == before


def test_a_user_administrator_makes_nobody_an_administrator(client, keeper, maria):
    client.force_login(keeper)
    groups = {group.name: group.pk for group in Group.objects.all()}
    page = f"{USERS}{maria.pk}/change/"

    for name, taken in (("Administrator", False), ("Operator", True)):
        sent = user_form(maria, groups=[groups[name]]) | {"current_password": PASSWORD}
        assert client.post(page, sent).status_code == (302 if taken else 200)
        assert maria.groups.filter(name=name).exists() == taken


def test_who_is_an_administrator_too_changes_others(client, keeper, maria):
    put_into(keeper, "Administrator", "User administrator")
    put_into(maria, "Administrator")
    client.force_login(keeper)

    sent = user_form(maria, is_active="") | {"current_password": PASSWORD}
    assert client.post(f"{USERS}{maria.pk}/change/", sent).status_code == 302
    maria.refresh_from_db()
    assert not maria.is_active


def test_a_user_administrator_takes_nobodys_name(client, keeper, maria):
    client.force_login(keeper)
    sent = user_form(maria, first_name="M") | {"username": "other", "current_password": PASSWORD}

    client.post(f"{USERS}{maria.pk}/change/", sent)

    maria.refresh_from_db()
    assert (maria.username, maria.first_name) == ("maria", "M")


def test_a_role_alone_changes_nothing_else_and_the_page_says_what_the_login_lacks(
    client, root, maria
):
    User.objects.filter(pk=maria.pk).update(is_staff=False)
    client.force_login(root)
    newest = AuditEvent.objects.latest("pk").pk
    viewer = Group.objects.get(name="Viewer")
    sent = user_form(maria, groups=[viewer.pk], current_password=PASSWORD)

    page = client.post(f"{USERS}{maria.pk}/change/", sent | {"is_staff": ""}, follow=True)

    assert "maria has a role, but can&#x27;t log in" in page.content.decode()
    told = [str(entry.message) for entry in AuditEvent.objects.filter(pk__gt=newest)]
    assert "The user maria was given: Viewer." in told
    assert [text for text in told if text.startswith("Changed the user maria")] == []


@pytest.mark.parametrize("name", ["кeeper", "KEEPER", "kéeper", "ｋｅｅｐｅｒ", "keep\u0435r"])
def test_no_user_is_added_or_named_who_looks_like_another(client, root, keeper, maria, name):
    client.force_login(root)
    own = {"current_password": PASSWORD}
    add = PASSWORDS | {"username": name} | own
    with pages_left_out():
        answers = [
            client.post(f"{USERS}add/", add),
            client.post(f"{USERS}{maria.pk}/change/", user_form(maria, username=name) | own),
        ]

    assert [[*form_of(answer).errors] for answer in answers] == [["username"], ["username"]]
    assert User.objects.count() == 3


def test_a_name_that_is_there_stays_and_may_change_its_letters(client, root, maria):
    User.objects.filter(pk=maria.pk).update(username="maría")
    client.force_login(root)
    own = {"current_password": PASSWORD, "first_name": "María"}
    for name in ("maría", "maria", "Maria"):
        sent = user_form(maria, username=name) | own
        assert client.post(f"{USERS}{maria.pk}/change/", sent).status_code == 302
        maria.refresh_from_db()
        assert (maria.username, maria.first_name) == (name, "María")
