"""Pages call roles by names in the reader's language; the groups' names stay as they are stored."""

import re

import pytest
from django.contrib.auth.models import Group, User

from migration.people import roles
from tests.factories import VIEW, make_user

USERS, GROUPS = "/admin/auth/user/", "/admin/auth/group/"


@pytest.fixture
def root(db, client, monkeypatch):
    """Somebody who sees everything, in a language in which the operator is called otherwise."""
    monkeypatch.setitem(roles.LABELS, "Operator", "Operador")
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def vera(root) -> User:
    user = make_user("vera")
    user.groups.set(Group.objects.filter(name__in=["Operator", "Viewer"]))
    return user


def test_the_list_of_users_and_its_filter(root, vera):
    page = root.get(USERS).content.decode()

    assert "Operador, Viewer" in page
    operator = Group.objects.get(name="Operator")
    assert re.search(rf'href="\?groups__id__exact={operator.pk}">\s*<span[^>]*>Operador', page)
    assert "Operator" not in page


def test_the_choice_of_roles_and_the_roles_of_who_only_looks(root, vera, client):
    page = f"{USERS}{vera.pk}/change/"
    assert re.search(
        r"<option [^>]*selected[^>]*>Operador</option>", root.get(page).content.decode()
    )
    client.force_login(make_user("keeper", "auth.view_user"))

    shown = client.get(page).content.decode()

    assert "Operador, Viewer" in shown
    assert "Operator" not in shown


def test_ones_own_roles_are_shown_and_not_chosen(root, vera, client):
    keeper = make_user("keeper", "auth.view_user", "auth.change_user")
    keeper.groups.set(vera.groups.all())
    client.force_login(keeper)

    shown = client.get(f"{USERS}{keeper.pk}/change/").content.decode()

    assert "Operador, Viewer" in shown
    assert 'name="groups"' not in shown


def test_the_groups_show_both_names_as_documents_and_settings_have_the_stored_one(root):
    page = root.get(GROUPS).content.decode()

    assert re.search(r"Operador <code[^>]*>Operator</code>", page)
    assert not re.search(r"<code[^>]*>Viewer</code>", page)


def test_a_refusal(root, client):
    client.force_login(make_user("viewer", *VIEW))

    page = client.get("/admin/credentials/client/act/push/?clients=1").content.decode()

    assert "one of these roles: Operador, Administrator." in page
