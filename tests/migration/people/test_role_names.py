"""Pages call roles by names in the reader's language; the groups' names stay as they are stored."""

import pytest
from django.contrib.auth.models import Group, User

from migration.people import roles
from nova_credentials.messages import Message
from tests.factories import VIEW, make_user

PEOPLE = "/admin/people/"


@pytest.fixture
def root(db, client, monkeypatch):
    """Somebody who sees everything, in a language in which the operator is called otherwise."""
    named = Message.from_json({"key": "of_a_test", "values": {}, "text": "Operador"})
    monkeypatch.setitem(roles.ROLE_NAMES, "Operator", lambda: named)
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def vera(root) -> User:
    user = make_user("vera")
    user.groups.set(Group.objects.filter(name__in=["Operator", "Viewer"]))
    return user


def test_the_list_of_people_and_a_persons_page(root, vera):
    for page in (f"{PEOPLE}?q=vera", f"{PEOPLE}{vera.pk}/"):
        shown = root.get(page).content.decode()
        assert "Operador, Viewer" in shown
        assert "Operator" not in shown


def test_the_choice_of_roles(root, vera):
    vera.groups.remove(Group.objects.get(name="Viewer"))

    shown = root.get(f"{PEOPLE}{vera.pk}/role/")

    assert "Operador" in [role.label for role in shown.context["roles"]]
    assert shown.context["chosen"] == str(Group.objects.get(name="Operator").pk)


def test_a_refusal(root, client):
    client.force_login(make_user("viewer", *VIEW))

    page = client.get("/admin/credentials/client/act/push/?clients=1").content.decode()

    assert "Roles with this permission: Operador, Administrator." in page
