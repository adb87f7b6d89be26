"""`invite_administrator`: the first user, and the link by which they choose a password."""

import re

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import reverse

from migration.core.audit import AuditEvent
from migration.people.links import find_link, use_link
from migration.people.models import PasswordReset
from tests.factories import make_user


def invite(capsys, name: str) -> str:
    """Run the command; return the token of the link that it shows, or nothing."""
    call_command("invite_administrator", name)
    found = re.search(r"https://nova\.example\.com(/\S+)", capsys.readouterr().out)
    return found[1].rstrip("/").rpartition("/")[2] if found else ""


@pytest.fixture(autouse=True)
def host(db, settings) -> None:
    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = ["nova.example.com"], []


def test_an_administrator_who_can_invite_others_chooses_a_password_by_the_link(capsys, client):
    token = invite(capsys, "ana")

    ana = User.objects.get()
    assert (ana.is_superuser, ana.has_usable_password()) == (False, False)
    assert ana.has_perms(["auth.add_user", "migration.purge_client", "migration.move_client"])
    address = reverse("admin:open_link", args=[token])
    assert client.get(address, HTTP_HOST="nova.example.com", secure=True).status_code == 302
    # Nobody knows who ran the command, and it counts as somebody's who may act as Ana.
    assert PasswordReset.objects.get().by is None
    told = AuditEvent.objects.get(facts__contains="link_printed")
    assert "command" in str(told.facts)

    use_link(token, "a-password-of-this-test")
    assert User.objects.get().check_password("a-password-of-this-test")
    assert invite(capsys, "ana") == ""
    assert User.objects.get().check_password("a-password-of-this-test")


def test_a_second_link_voids_the_first(capsys):
    first, second = invite(capsys, "ana"), invite(capsys, "ana")

    assert find_link(first) is None
    assert find_link(second) is not None
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [("a b", "A username has up to"), ("x" * 151, "A username has up to"), ("", "A username has up to"),
     ("viewer", "viewer is there already, and is no active Administrator.")],
)  # fmt: skip
def test_who_cant_be_one_is_told(name, told):
    make_user("viewer")
    with pytest.raises(CommandError, match=told) as refused:
        call_command("invite_administrator", name)
    assert refused.value.returncode == 2
    assert User.objects.count() == 1


def test_a_deactivated_administrator_is_not_let_in_again(capsys):
    invite(capsys, "ana")
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="no active Administrator"):
        call_command("invite_administrator", "ana")
