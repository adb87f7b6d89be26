"""A lost second factor: who resets it, what proves who they are, and what the person learns."""

import logging

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client

from migration.models import PasswordReset
from migration.people.second_factors import NotResetError, find_reset_refusal, reset_second_factor
from tests.factories import make_user
from tests.nova_admin.login.codes import give_factor
from tests.nova_admin.login.conftest import PASSWORD
from tests.nova_admin.login.test_pages import ENTER, INDEX, SET_UP, give_password
from tests.page_forms import pages_left_out


def address(user) -> str:
    return f"/admin/people/{user.pk}/factor/"


@pytest.fixture
def ana_in(ana, client, at):
    """Ana, logged in with her second factor, and her phone."""
    phone, _ = give_factor(ana)
    client.force_login(ana)
    client.post(ENTER, {"code": phone.show()})
    at.now += 60
    mail.outbox.clear()
    return client, phone


@pytest.mark.parametrize("by_code", [False, True])
def test_an_administrator_resets_it_with_their_own_password_or_code(
    ana_in, maria, at, caplog, by_code
):
    administrator, anas = ana_in
    give_factor(maria)
    marias = Client()
    marias.force_login(maria)
    mail.outbox.clear()
    offered = administrator.get(f"/admin/people/{maria.pk}/").context["acts"]
    assert address(maria) in [url for _label, url in offered]

    with caplog.at_level(logging.WARNING):
        answer = anas.show() if by_code else PASSWORD
        response = administrator.post(address(maria), {"current_password": answer})

    assert response.url == f"/admin/people/{maria.pk}/"
    assert not Authenticator.objects.filter(user=maria).exists()
    assert "the second factor of maria was reset by ana" in caplog.text
    (told,) = mail.outbox
    assert told.to == ["maria@example.test"]
    assert "ana reset your second factor" in told.body
    assert marias.get(INDEX).url.startswith("/admin/login/")
    assert give_password(marias) == INDEX
    assert marias.get(INDEX).url.startswith(SET_UP)


def test_the_list_of_users_says_who_has_one_and_leads_to_its_reset(ana_in, ana, maria):
    administrator, _ = ana_in
    give_factor(maria)
    make_user("nora")
    root = make_user("root", is_superuser=True)
    give_factor(root)
    shown = make_user("viewer", "auth.view_user")

    def read_column(browser) -> dict[str, tuple[str, bool]]:
        with pages_left_out():
            rows = browser.get("/admin/people/?q=a").context_data["rows"]
            rows += browser.get("/admin/people/?q=o").context_data["rows"]
        return {
            row.person.username: (
                row.person.has_factor,
                address(row.person) in [url for _label, url in row.acts],
            )
            for row in rows
        }

    assert read_column(administrator) == {
        "ana": (True, False),
        "maria": (True, True),
        "nora": (False, False),
        "root": (True, False),
    }
    viewer = Client()
    viewer.force_login(shown)
    assert {offers for _has, offers in read_column(viewer).values()} == {False}


def test_without_a_right_answer_nothing_is_reset(ana_in, maria):
    administrator, _ = ana_in
    give_factor(maria)
    for answer in ("", "wrong", "000000"):
        with pages_left_out():
            page = administrator.post(address(maria), {"current_password": answer})

        assert [*page.context_data["form"].errors] == ["current_password"]
        assert Authenticator.objects.filter(user=maria).exists()


def test_ones_own_a_superusers_and_none_are_refused(ana_in, ana, maria):
    administrator, _ = ana_in
    root = make_user("root", is_superuser=True)
    give_factor(root)

    for user, key in ((ana, "own_factor"), (root, None), (maria, "no_factor")):
        for page in (
            administrator.get(address(user)),
            administrator.post(address(user), {"current_password": PASSWORD}),
        ):
            if key:
                assert page.context["refusal"] == str(find_reset_refusal(user, ana))
            else:
                assert page.status_code == 403
    assert Authenticator.objects.filter(user__in=[ana, root]).count() == 4


def test_an_operator_resets_nobodys(maria, ana, client, at):
    phone, _ = give_factor(maria)
    give_factor(ana)
    client.force_login(maria)
    client.post(ENTER, {"code": phone.show()})

    assert client.post(address(ana), {"current_password": PASSWORD}).status_code == 403
    assert Authenticator.objects.filter(user=ana).exists()


@pytest.mark.parametrize("broken", ["no server", "no address", "server fails"])
def test_that_no_mail_could_be_sent_is_said(ana_in, maria, settings, monkeypatch, broken):
    administrator, _ = ana_in
    give_factor(maria)
    if broken == "no server":
        settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    elif broken == "no address":
        type(maria).objects.update(email="")
    else:
        monkeypatch.setattr("migration.core.mails.send_mail_in_time", fail)

    page = administrator.post(address(maria), {"current_password": PASSWORD}, follow=True)

    assert "The email could not be sent. Tell maria yourself." in page.content.decode()


def fail(*_args: object) -> None:
    raise ConnectionRefusedError("the name of a server")


def test_the_last_administrator_is_helped_by_a_command(ana, at, capsys):
    give_factor(ana)
    mail.outbox.clear()

    call_command("reset_second_factor", "ana", "--format", "json")

    assert capsys.readouterr().out == '{"user": "ana", "reset": true, "told": true}\n'
    assert "reset on the server" in mail.outbox[0].body
    for arguments, code in ((["ana"], 1), (["nobody"], 2)):
        with pytest.raises(CommandError) as refused:
            call_command("reset_second_factor", *arguments)
        assert refused.value.returncode == code


def test_the_one_function_refuses_too(maria, ana, at):
    ana.groups.set([Group.objects.get(name="Viewer")])

    with pytest.raises(NotResetError, match="maria has no second factor"):
        reset_second_factor(maria, ana)


def test_the_address_up_to_now_is_told_that_it_was_changed(
    maria, at, django_capture_on_commit_callbacks
):
    give_factor(maria)
    mail.outbox.clear()
    for new in ("thief@example.test", ""):
        with django_capture_on_commit_callbacks(execute=True):
            maria.email = new
            maria.save()
            assert mail.outbox == []
        reset = mail.outbox.pop()
        assert reset.to != [new]
        assert "mail address of maria at NOVA Admin was changed" in reset.body
        assert "thief" not in reset.body


def test_what_changes_no_address_is_told_to_nobody(maria, django_capture_on_commit_callbacks):
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        maria.first_name = "María"
        maria.save()
        maria.email = "unsaved@example.test"
        maria.save(update_fields=["last_name"])
        type(maria).objects.create(username="eva", email="eva@example.test")

    assert mail.outbox == []


def test_a_reset_by_a_command_is_noted_with_the_command_and_holds_up_no_approval(maria, ana, at):
    give_factor(maria)

    call_command("reset_second_factor", "maria")

    reset = PasswordReset.objects.get()
    assert (reset.user, reset.by, reset.what) == (maria, None, "factor")
    assert " on " in reset.by_name
    assert PasswordReset.objects.find_shared_hand(maria.pk, ana.pk) is None
