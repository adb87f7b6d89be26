"""People: the list, an invitation, what is done to a person, and who may do it to whom."""

import re

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group, Permission, User
from django.core import mail
from django.core.exceptions import PermissionDenied
from django.test import Client

from migration.models import AuditEvent, PasswordLink, PasswordReset, WrongPassword
from migration.people.accounts import NotDoneError, digest_state, give_role, invite, set_active
from migration.people.roles import ROLES
from tests.factories import make_in_role, make_user
from tests.nova_admin.login.codes import give_factor
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db

PASSWORD = "example-own-password"
PEOPLE, INVITE = "/admin/people/", "/admin/people/invite/"
NO_SERVER = "django.core.mail.backends.dummy.EmailBackend"
PRINTED = "django.core.mail.backends.console.EmailBackend"


@pytest.fixture
def keeper(client) -> User:
    """A User administrator, who is logged in."""
    user = make_in_role("keeper", "User administrator")
    user.set_password(PASSWORD)
    user.email = "keeper@example.test"
    user.save()
    client.force_login(user)
    return user


@pytest.fixture
def maria() -> User:
    user = make_in_role("maria", "Operator")
    User.objects.filter(pk=user.pk).update(email="maria@example.test", first_name="Maria Paz")
    user.refresh_from_db()
    return user


def role(name: str) -> Group:
    return Group.objects.get(name=name)


def invitation(**more: object) -> dict[str, object]:
    sent = {"name": "Pau Serra", "mail": "pau@example.test", "role": role("Operator").pk}
    return sent | {"current_password": PASSWORD} | more


def do(client, user: User, act: str, **sent: object):
    page = f"{PEOPLE}{user.pk}/{act}/"
    seen = digest_state(User.objects.get(pk=user.pk))
    return client.post(page, {"seen": seen, "current_password": PASSWORD} | sent)


def rows_of(response) -> list[str]:
    return [row.person.username for row in response.context_data["rows"]]


# An invitation.


def test_who_is_invited_has_an_account_in_the_role_and_no_password(client, keeper):
    answer = client.post(INVITE, invitation())

    pau = User.objects.get(username="pau")
    assert answer.url == f"{PEOPLE}{pau.pk}/"
    assert (pau.email, pau.get_full_name()) == ("pau@example.test", "Pau Serra")
    assert (pau.is_staff, pau.is_active, pau.is_superuser) == (True, True, False)
    assert not pau.has_usable_password()
    assert [group.name for group in pau.groups.all()] == ["Operator"]
    assert PasswordReset.objects.get().what == "account"
    told = [str(event.message) for event in AuditEvent.objects.filter(who="keeper").order_by("pk")]
    assert "Made a link for pau to choose a password." in told
    (sent,) = mail.outbox
    assert sent.to == ["pau@example.test"]
    link = re.search(r"http://testserver/admin/login/link/\S+", sent.body)[0]
    assert link not in client.get(answer.url).content.decode()


def test_without_a_mail_server_or_where_a_mail_fails_the_link_is_shown_once(
    client, keeper, settings, monkeypatch
):
    def fail(*_args: object) -> None:
        raise ConnectionRefusedError("the name of a server")

    mails = settings.EMAIL_BACKEND
    for name, backend in (("pau", NO_SERVER), ("eva", PRINTED), ("ana", mails)):
        settings.EMAIL_BACKEND = backend
        if backend == mails:
            monkeypatch.setattr("migration.core.mails.send_mail_in_time", fail)

        answer = client.post(INVITE, invitation(mail=f"{name}@example.test"))
        # It is made of the mail address, so the page says it, and what the person may.
        assert (answer.context["person"].username, answer.context["rights"]) == (name, "Operator")
        assert f'<dd class="anywhere">{name}</dd>' in answer.content.decode()

        person = User.objects.get(username=name)
        assert answer.status_code == 200
        assert bool(answer.context["failed"]) == (backend == mails)
        assert f"/admin/login/link/{person.pk}-" in answer.context["address"]
        assert "no-store" in answer.headers["Cache-Control"]
        assert "login/link/" not in client.get(f"{PEOPLE}{person.pk}/").content.decode()


def test_what_is_wrong_invites_nobody(client, keeper):
    wrong = [
        ({"name": ""}, "name"),
        ({"name": "Pau\u202eSerra"}, "name"),
        ({"mail": "pau"}, "mail"),
        ({"mail": ""}, "mail"),
        ({"role": ""}, "role"),
        ({"role": "0"}, "role"),
        ({"current_password": "guess"}, "current_password"),
        ({"current_password": ""}, "current_password"),
        ({"mail": "KEEPER@example.test"}, "__all__"),
    ]
    with pages_left_out():
        answers = [client.post(INVITE, invitation(**sent)) for sent, _field in wrong]

    errors = [[*answer.context_data["form"].errors] for answer in answers]
    assert errors == [[field] for _sent, field in wrong]
    assert User.objects.count() == 1
    assert mail.outbox == []


def test_names_are_made_of_the_mail_address_free_and_ascii(client, keeper):
    names = []
    for address in ("maria@a.test", "MARIA@b.test", "mar\u00eda@c.test", "\u043c@d.test"):
        person, _link = invite(
            name="M", mail=address, role=role("Viewer"), by=keeper, make_address=str
        )
        names.append(person.username)

    assert names == ["maria", "MARIA-2", "maria-3", "user"]


def test_nobody_gives_a_role_that_is_beyond_them(client, keeper, maria):
    administrator = role("Administrator")

    shown = client.get(INVITE).context["roles"]
    answer = client.post(INVITE, invitation(role=administrator.pk))
    changed = do(client, maria, "role", role=administrator.pk)
    with pytest.raises(NotDoneError):
        invite(name="x", mail="x@a.test", role=administrator, by=keeper, make_address=str)

    assert [each.label for each in shown] == list(ROLES)
    assert [each.label for each in shown if not each.may_be_given] == ["Administrator"]
    assert [*answer.context["form"].errors] == ["role"] == [*changed.context["form"].errors]
    assert User.objects.count() == 2
    assert maria.groups.get().name == "Operator"


# What is done to a person.


def test_a_role_takes_the_place_of_whatever_there_was(client, keeper, maria):
    maria.groups.add(role("Viewer"))
    maria.user_permissions.add(Permission.objects.get(codename="approve_move"))
    page = client.get(f"{PEOPLE}{maria.pk}/")
    assert "own permissions" in page.context["rights"]

    answer = do(client, maria, "role", role=role("Approver").pk)

    assert answer.status_code == 302
    assert [group.name for group in maria.groups.all()] == ["Approver"]
    assert not maria.user_permissions.exists()


def test_a_superuser_makes_another_one_an_operator(client, maria):
    root = make_user("root", is_superuser=True, password=PASSWORD)
    User.objects.filter(pk=maria.pk).update(is_superuser=True)
    client.force_login(root)

    do(client, maria, "role", role=role("Operator").pk)

    maria.refresh_from_db()
    assert not maria.is_superuser


def test_a_page_that_is_out_of_date_changes_nothing(client, keeper, maria):
    seen = digest_state(maria)
    maria.groups.set([role("Viewer")])

    for act, sent in (
        ("role", {"role": role("Approver").pk}),
        ("deactivate", {}),
        ("details", {"name": "M", "mail": ""}),
    ):
        answer = do(client, maria, act, seen=seen, **sent)
        assert "someone else changed maria" in str(answer.context["form"].errors)

    maria.refresh_from_db()
    assert (maria.is_active, maria.first_name) == (True, "Maria Paz")
    assert maria.groups.get().name == "Viewer"


def test_who_is_deactivated_is_out_and_comes_back(client, keeper, maria):
    browser = Client()
    browser.force_login(maria)
    with pages_left_out():
        assert browser.get("/admin/").status_code == 200

    assert do(client, maria, "deactivate").status_code == 302
    assert browser.get("/admin/").status_code == 302
    assert rows_of(client.get(f"{PEOPLE}?state=deactivated")) == ["maria"]

    assert do(client, maria, "activate").status_code == 302
    told = [event.message.key for event in AuditEvent.objects.filter(who="keeper").order_by("pk")]
    assert [key for key in told if key.endswith("activated")] == [
        "user_deactivated",
        "user_activated",
    ]
    maria.refresh_from_db()
    assert maria.is_active


def test_who_was_active_without_staff_status_gets_in_by_being_activated(client, keeper, maria):
    User.objects.filter(pk=maria.pk).update(is_staff=False)
    assert rows_of(client.get(f"{PEOPLE}?state=deactivated")) == ["maria"]

    do(client, maria, "activate")

    maria.refresh_from_db()
    assert maria.is_staff


def test_name_and_mail_are_edited(client, keeper, maria):
    taken = do(client, maria, "details", name="Maria P.", mail="keeper@example.test")
    assert [*taken.context["form"].errors] == ["__all__"]

    do(client, maria, "details", name="Maria P.", mail="new@example.test")

    maria.refresh_from_db()
    assert (maria.get_full_name(), maria.email) == ("Maria P.", "new@example.test")


ON_ONESELF = ("role", "link", "factor", "activate", "deactivate")


def test_nobody_does_it_to_their_own_account_superusers_neither(client):
    root = make_user("root", is_superuser=True, password=PASSWORD)
    give_factor(root)
    client.force_login(root)

    with pages_left_out():
        for act in ON_ONESELF:
            assert client.get(f"{PEOPLE}{root.pk}/{act}/").context_data["refusal"], act
            answer = do(client, root, act, role=role("Viewer").pk)
            assert answer.context_data["refusal"], act

    assert PasswordLink.objects.count() == 0
    root.refresh_from_db()
    assert (root.is_superuser, root.is_active) == (True, True)
    offered = [url for _label, url in client.get(f"{PEOPLE}{root.pk}/").context["acts"]]
    assert offered == [f"{PEOPLE}{root.pk}/details/"]


def test_a_user_administrator_touches_nobody_who_may_more(client, keeper, maria):
    maria.groups.set([role("Administrator")])
    give_factor(maria)
    root = make_user("maria-root", is_superuser=True)
    for person, ways in ((maria, (client.get, client.post)), (root, (client.post,))):
        for act in (*ON_ONESELF, "details"):
            sent = {"role": role("Viewer").pk, "seen": digest_state(person)}
            sent["current_password"] = PASSWORD
            answers = [way(f"{PEOPLE}{person.pk}/{act}/", sent).status_code for way in ways]
            assert set(answers) == {403}, act
        assert client.post(f"{PEOPLE}{person.pk}/sessions/").status_code == 403
        with pages_left_out():
            page = client.get(f"{PEOPLE}{person.pk}/").context_data
        assert (page["acts"], page["sessions"]) == ([], None)
    listed = {row.person.username: row.acts for row in client.get(f"{PEOPLE}?q=a").context["rows"]}
    assert (listed["maria"], listed["maria-root"]) == ([], [])


def test_other_roles_see_and_change_nobody(client, maria):
    """Each role at each address is tried by `test_roles`."""
    pages = (
        "",
        "invite/",
        "failed-logins/",
        f"{maria.pk}/",
        *(f"{maria.pk}/{a}/" for a in ON_ONESELF),
    )

    posts = ("invite/", "failed-logins/let-in/", f"{maria.pk}/sessions/", f"{maria.pk}/role/")
    for name in ("Administrator", "Approver", "Operator", "Viewer"):
        client.force_login(make_in_role(f"other-{name}", name))
        assert {client.get(PEOPLE + page).status_code for page in pages} == {403}, name
        assert {client.post(PEOPLE + page).status_code for page in posts} == {403}, name
        pages, posts = ("",), posts[-1:]  # of all that only an administrator might get into


def test_who_may_only_see_people_learns_nothing_of_their_logins(client, maria):
    client.force_login(make_user("auditor", "auth.view_user"))

    page = client.get(f"{PEOPLE}{maria.pk}/")
    listed = client.get(PEOPLE)
    assert [row.acts for row in listed.context["rows"]] == []

    assert (page.context["may_see_login"], page.context["sessions"]) == (False, None)
    assert [chip.label for chip in listed.context["chips"]] == ["Active", "Invited"]
    assert client.get(f"{PEOPLE}{maria.pk}/role/").status_code == 403


def test_of_two_administrators_who_deactivate_each_other_one_stays(keeper):
    """What one of them sent waits for the other's; by then who sends it may do nothing any more."""
    other = make_in_role("other", "User administrator")
    seen = {user: digest_state(user) for user in (keeper, other)}

    set_active(other, active=False, by=keeper, seen=seen[other])
    with pytest.raises(PermissionDenied):
        set_active(keeper, active=False, by=other, seen=seen[keeper])
    with pytest.raises(PermissionDenied):
        give_role(keeper, role("Viewer"), by=other, seen=seen[keeper])

    keeper.refresh_from_db()
    assert keeper.is_active


def test_sessions_are_shown_and_ended_but_for_the_one_that_asks(client, keeper, maria):
    browsers = [Client(), Client()]
    for browser in browsers:
        browser.force_login(maria)
    assert len(client.get(f"{PEOPLE}{maria.pk}/").context["sessions"]) == 2

    client.post(f"{PEOPLE}{maria.pk}/sessions/")
    client.post(f"{PEOPLE}{keeper.pk}/sessions/")

    assert [browser.get("/admin/").status_code for browser in browsers] == [302, 302]
    assert client.get(f"{PEOPLE}{maria.pk}/").context["sessions"] == []
    assert len(client.get(f"{PEOPLE}{keeper.pk}/").context["sessions"]) == 1
    newest = AuditEvent.objects.order_by("-pk").values_list("who", flat=True)[:2]
    assert list(newest) == ["keeper", "keeper"]


def test_who_comes_by_the_provider_has_role_and_name_from_there(client, keeper, maria, settings):
    settings.NOVA_OIDC = object()
    SocialAccount.objects.create(user=maria, provider="https://idp.example", uid="1")

    offered = [
        url.split("/")[-2] for _label, url in client.get(f"{PEOPLE}{maria.pk}/").context["acts"]
    ]

    assert offered == ["deactivate"]
    for act in ("role", "details", "link"):
        assert do(client, maria, act, role=role("Viewer").pk).context["refusal"]
    assert PasswordLink.objects.count() == 0
    assert maria.groups.get().name == "Operator"


# The list.


def test_the_list_has_a_chip_for_each_kind_that_there_is(client, keeper, maria):
    def chips() -> dict[str, int]:
        shown = client.get(PEOPLE).context["chips"]
        return {str(chip.label): chip.count for chip in shown}

    assert chips() == {"Active": 1, "Invited": 1, "No second factor": 1}
    maria.set_password(PASSWORD)
    maria.save()
    give_factor(maria)
    pau, _link = invite(
        name="Pau", mail="p@a.test", role=role("Viewer"), by=keeper, make_address=str
    )
    gone = make_user("gone", is_active=False)

    assert chips() == {"Active": 2, "Invited": 1, "Deactivated": 1, "No second factor": 1}
    narrowed = {
        "": ["keeper", "maria"],
        "?state=invited": [pau.username],
        "?state=deactivated": [gone.username],
        "?state=no_factor": ["keeper"],
        "?q=MARIA@EX": ["maria"],
        "?q=gone": ["gone"],
        "?state=x&page=x": ["gone", "keeper", "maria", "p"],
    }
    with pages_left_out():
        found = {query: rows_of(client.get(f"{PEOPLE}{query}")) for query in narrowed}
    assert found == narrowed


def test_the_list_asks_the_database_as_often_for_one_as_for_sixteen(
    client, keeper, django_assert_max_num_queries
):
    for number in range(16):
        make_in_role(f"user-{number}", "Operator")
    client.get(PEOPLE)

    with django_assert_max_num_queries(14):
        assert len(client.get(f"{PEOPLE}?state=invited").context["rows"]) == 16


def test_djangos_pages_lead_here_for_every_role(client, maria):
    client.force_login(make_user("root", is_superuser=True))
    user, group = f"/admin/auth/user/{maria.pk}", f"/admin/auth/group/{role('Viewer').pk}"

    for former in (
        f"{user}/change/",
        f"{user}/password/",
        f"{user}/reset-factor/",
        f"{user}/delete/",
    ):
        for ask in (client.get, client.post):
            assert ask(former).url == f"{PEOPLE}{maria.pk}/"
    for former in (
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        f"{group}/change/",
        "/admin/auth/",
    ):
        assert client.get(former).url == PEOPLE
    assert client.get("/admin/migration/wrongpassword/").url == f"{PEOPLE}failed-logins/"


def test_failed_logins_are_on_the_persons_page_and_in_the_list(client, keeper, maria):
    rows = [("maria", "10.0.0.8")] * 12 + [("", "10.0.0.9")]
    WrongPassword.objects.bulk_create(
        WrongPassword(username=name, address=address, place="login") for name, address in rows
    )

    page = client.get(f"{PEOPLE}{maria.pk}/")
    listed = client.get(f"{PEOPLE}failed-logins/")
    searched = client.get(f"{PEOPLE}failed-logins/?q=10.0.0.9")

    assert (len(page.context["failures"]), page.context["more_failures"]) == (10, True)
    assert listed.context["page"].paginator.count == 13
    assert searched.context["page"].paginator.count == 1
