"""Links by which people choose their own passwords: they work once, for a while, and for nobody else."""

import logging
import re
from datetime import timedelta

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from migration.models import AuditEvent, PasswordLink, PasswordReset
from migration.people.accounts import send_link
from migration.people.links import VoidLinkError, find_link, make_link, use_link
from nova_admin import logs
from nova_admin.reporting import ErrorMails
from tests.factories import all_tables, make_in_role, make_user
from tests.nova_admin.login.codes import give_factor

pytestmark = pytest.mark.django_db

OWN, NEW = "example-own-password", "kT4-zQ9_wB7x-new"
CHOOSE, FORGOT = "/admin/login/link/", "/admin/login/forgot/"


@pytest.fixture
def keeper() -> User:
    return make_in_role("keeper", "User administrator")


@pytest.fixture
def pau() -> User:
    """Somebody who was invited."""
    user = make_in_role("pau", "Operator")
    user.email = "pau@example.test"
    user.set_unusable_password()
    user.save()
    return user


@pytest.fixture
def maria() -> User:
    """Somebody who has a password."""
    user = make_in_role("maria", "Operator")
    user.email = "Maria@example.test"
    user.set_password(OWN)
    user.save()
    return user


def give_link(user: User, by: User) -> str:
    """The token of a new link."""
    return send_link(user, by=by, make_address=lambda token: f"x/{token}").address[2:]


def open_link(token: str, browser: Client | None = None) -> Client:
    browser = browser or Client()
    answer = browser.get(f"{CHOOSE}{token}/")
    assert answer.url == CHOOSE
    return browser


def choose(browser: Client, password: str = NEW):
    return browser.post(CHOOSE, {"new_password1": password, "new_password2": password})


def works(user: User, password: str = NEW) -> bool:
    user.refresh_from_db()
    return user.has_usable_password() and user.check_password(password)


def test_who_opens_it_chooses_the_password_and_is_logged_in(keeper, pau):
    browser = open_link(give_link(pau, keeper))
    page = browser.get(CHOOSE)
    assert page.context["username"] == "pau"
    assert browser.get(CHOOSE).status_code == 200, "looking at it uses nothing up"

    answer = choose(browser)

    assert answer.url == "/admin/"
    assert works(pau)
    assert browser.get("/admin/").status_code == 200
    assert PasswordLink.objects.count() == 0
    reset = PasswordReset.objects.get()
    assert (reset.user, reset.by, reset.what) == (pau, keeper, "account")
    keepers = Client()
    keepers.force_login(keeper)
    person = keepers.get(reverse("admin:person", args=[pau.pk])).content.decode()
    assert "pau chose a password with keeper’s link" in person
    told = AuditEvent.objects.filter(who="pau").values_list("code", flat=True)
    assert {"user_changed", "login"} <= set(told)


def test_it_is_under_the_second_factors_rules(keeper, pau, maria, settings):
    settings.NOVA_REQUIRE_SECOND_FACTOR = True
    give_factor(maria)
    browsers = [open_link(give_link(user, keeper)) for user in (pau, maria)]

    answers = [choose(browser).url for browser in browsers]

    assert answers == ["/admin/", "/admin/second-factor/enter/"]
    assert browsers[0].get("/admin/").url.startswith("/admin/second-factor/set-up/")
    assert browsers[1].get("/admin/").status_code == 302
    assert "_auth_user_id" not in browsers[1].session


def test_it_works_once(keeper, pau):
    token = give_link(pau, keeper)
    first, second = open_link(token), open_link(token)

    choose(first)

    assert choose(second, "another-password-9").status_code == 404
    assert open_link(token).get(CHOOSE).status_code == 404
    assert works(pau)
    with pytest.raises(VoidLinkError):
        use_link(token, "another-password-9")


def void_by_new_link(user: User, by: User) -> None:
    give_link(user, by)


def void_by_password(user: User, by: User) -> None:
    user.set_password("another-password-9")
    user.save()


def void_by_address(user: User, by: User) -> None:
    User.objects.filter(pk=user.pk).update(email="other@example.test")


def void_by_deactivation(user: User, by: User) -> None:
    for active in (False, True):
        user.is_active = active
        user.save()


def void_by_time(user: User, by: User) -> None:
    PasswordLink.objects.update(ends_at=timezone.now())


def void_by_inviters_end(user: User, by: User) -> None:
    User.objects.filter(pk=by.pk).update(is_active=False)


def void_by_inviters_other_role(user: User, by: User) -> None:
    by.groups.set([Group.objects.get(name="Operator")])


def void_by_more_rights(user: User, by: User) -> None:
    """Who made the link could act as an Administrator now."""
    user.groups.add(Group.objects.get(name="Administrator"))


def void_by_inviters_deletion(user: User, by: User) -> None:
    PasswordLink.objects.update(by=None)


def void_by_provider(user: User, by: User) -> None:
    SocialAccount.objects.create(user=user, provider="https://idp.example", uid="1")


@pytest.mark.parametrize(
    "void", [each for name, each in sorted(globals().items()) if name.startswith("void_by_")]
)
def test_it_is_void_after(keeper, pau, void):
    token = give_link(pau, keeper)
    assert find_link(token) is not None

    void(pau, keeper)

    assert find_link(token) is None
    assert choose(open_link(token)).status_code == 404
    assert not works(pau)


def test_three_days_are_its_time(keeper, pau):
    give_link(pau, keeper)
    link = PasswordLink.objects.get()

    assert link.ends_at - link.made_at == timedelta(days=3)
    assert abs(link.made_at - timezone.now()) < timedelta(minutes=1)


def test_changepassword_voids_it(keeper, maria, monkeypatch):
    token = give_link(maria, keeper)
    monkeypatch.setattr("getpass.getpass", lambda **_: NEW)

    call_command("changepassword", "maria", verbosity=0)

    assert find_link(token) is None


def test_an_earlier_secret_key_still_opens_it(keeper, pau, settings):
    token = give_link(pau, keeper)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-key-of-the-site-that-is-long-enough-0123456789"

    assert find_link(token) is not None
    settings.SECRET_KEY_FALLBACKS = []
    assert find_link(token) is None


def test_who_can_write_the_table_makes_no_link(keeper, pau, maria):
    """A row's digest is of its user; another's does not fit, nor one without the site's key."""
    token = give_link(pau, keeper)
    PasswordLink.objects.filter(user=pau).update(user=maria)

    assert find_link(token) is None
    assert find_link(token.replace(f"{pau.pk}-", f"{maria.pk}-")) is None


@pytest.mark.parametrize(
    "token", ["", "x", "1-x", f"{'9' * 30}-{'A' * 43}", f"9999999999-{'A' * 43}", "é" * 300]
)
def test_what_is_no_token_opens_nothing(pau, token):
    assert find_link(token) is None
    if token:
        assert open_link(token).get(CHOOSE).status_code == 404


def test_a_weak_password_is_refused_and_the_link_stays(keeper, pau):
    browser = open_link(give_link(pau, keeper))

    for password in ("short", "administrator", "837261548372"):
        assert choose(browser, password).context["form"].errors
    different = browser.post(CHOOSE, {"new_password1": NEW, "new_password2": f"{NEW}2"})

    assert different.context["form"].errors
    assert PasswordLink.objects.count() == 1
    assert choose(browser).status_code == 302


def test_who_is_logged_in_as_somebody_else_logs_out_first(keeper, pau, maria, settings):
    settings.NOVA_REQUIRE_SECOND_FACTOR = True
    browser = Client()
    browser.force_login(maria)
    open_link(give_link(pau, keeper), browser)

    page = browser.get(CHOOSE)
    refused = choose(browser)

    assert page.context["logged_in_as"] == refused.context["logged_in_as"] == "maria"
    assert "form" not in page.context or not page.context["form"].is_bound
    assert not works(pau)
    out = browser.post("/admin/logout/", {"next": CHOOSE})
    assert out.url == CHOOSE
    assert choose(browser).status_code == 302
    assert works(pau)


def test_a_password_ends_every_session_and_is_told_to_who_had_one(keeper, maria):
    thief = Client()
    thief.force_login(maria)
    token = give_link(maria, keeper)
    mail.outbox.clear()

    choose(open_link(token))

    assert thief.get("/admin/").status_code == 302
    (told,) = mail.outbox
    assert told.to == ["Maria@example.test"]
    assert NEW not in told.body
    reset = PasswordReset.objects.get()
    assert (reset.by, reset.what) == (keeper, "password")


def test_who_is_logged_in_already_chooses_it_too(keeper, maria, settings):
    """Their session ends with the others; what the next step keeps is in a new one."""
    settings.NOVA_REQUIRE_SECOND_FACTOR = True
    give_factor(maria)
    browser = Client()
    browser.force_login(maria)
    open_link(give_link(maria, keeper), browser)

    answer = choose(browser)

    assert answer.url == "/admin/second-factor/enter/"
    assert works(maria)
    assert browser.get(answer.url).status_code == 200


@pytest.mark.parametrize("log_format", logs.FORMATS)
@pytest.mark.parametrize(
    ("method", "after", "status"),
    [("head", "", 405), ("post", "", 403), ("put", "", 405), ("get", "?x=%00", 400)],
)
def test_the_token_of_an_address_that_is_refused_is_in_no_line_of_the_log(
    keeper, pau, caplog, log_format, method, after, status
):
    """Mail servers and proxies look at links in their own ways, and Django logs the address."""
    token = give_link(pau, keeper)
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)

    answer = getattr(browser, method)(f"{CHOOSE}{token}/{after}")

    assert answer.status_code == status
    chosen = logs.make_logging(log_format, "INFO")["formatters"]["chosen"]["()"]()
    lines = [chosen.format(record) for record in caplog.records]
    assert any("/login/link/" in line for line in lines)
    assert not [line for line in lines if token in line]
    assert token not in ErrorMails().format_subject(f"Internal Server Error: {CHOOSE}{token}/")


def test_the_token_is_in_no_table_log_session_or_page(keeper, pau, caplog, client):
    caplog.set_level(logging.DEBUG)
    token = give_link(pau, keeper)
    secret = token.partition("-")[2]
    browser = open_link(token)
    shown = browser.get(CHOOSE).content.decode()
    shown += choose(browser, "short").content.decode()
    # A form of elsewhere is refused, and noted with its address.
    strict = Client(enforce_csrf_checks=True)
    strict.cookies["link"] = token
    assert choose(strict).status_code == 403

    with connection.cursor() as cursor:
        for table in all_tables():
            cursor.execute(
                f"SELECT count(*) FROM {table} AS t WHERE strpos(t::text, %s) > 0", [secret]
            )
            assert cursor.fetchone() == (0,), table
    sessions = str([session.get_decoded() for session in Session.objects.all()])
    assert secret not in shown + sessions + caplog.text
    assert browser.cookies["link"]["httponly"]


# Asked for at the login.


def ask(who: str, address: str = "10.0.0.8"):
    return Client(REMOTE_ADDR=address).post(FORGOT, {"who": who})


def test_who_forgot_their_password_gets_a_link_by_mail(maria):
    for typed in ("MARIA@example.test", "maria"):
        PasswordLink.objects.all().delete()
        mail.outbox.clear()
        ask(typed)
        (sent,) = mail.outbox
        assert sent.to == ["Maria@example.test"]

    token = re.search(r"login/link/(\S+)/", sent.body)[1]
    link = PasswordLink.objects.get()
    assert link.ends_at - link.made_at == timedelta(hours=1)
    assert choose(open_link(token)).status_code == 302
    assert works(maria)
    assert not PasswordReset.objects.exists(), "it was their own"


@pytest.mark.parametrize(
    ("origins", "hosts", "asked", "origin"),
    [
        ([], ["nova.example.com", ".example.com"], "evil.example.com", "https://nova.example.com"),
        (["https://*.x.test", "https://a.x.test:8443"], [".x.test"], "b.x.test", "https://a.x.test:8443"),
        (["https://a.x.test"], ["b.x.test", ".x.test"], "b.x.test:8000", "http://b.x.test:8000"),
    ],
)  # fmt: skip
def test_who_asks_sends_nobody_to_another_host(maria, settings, origins, hosts, asked, origin):
    """The attack: ask in another's name, with the Host of a machine of one's own in the same domain."""
    settings.CSRF_TRUSTED_ORIGINS, settings.ALLOWED_HOSTS = origins, hosts

    Client(headers={"host": asked}).post(FORGOT, {"who": "maria"})

    (sent,) = mail.outbox
    assert f"\n{origin}{CHOOSE}" in sent.body


def test_the_answer_is_the_same_whether_there_is_an_account(maria, pau):
    pages = []
    for who in ("maria", "nobody", "pau", "\0", ""):
        answer = ask(who)
        pages.append(
            re.sub(r'(csrfmiddlewaretoken" value|nonce)="[^"]+"', "", answer.content.decode())
        )
        assert answer.status_code == 200

    assert len(set(pages)) == 1
    assert [sent.to for sent in mail.outbox] == [["Maria@example.test"]]


def test_what_takes_long_is_done_after_the_answer(maria, monkeypatch):
    """How long an answer takes would tell whether a mail was sent."""
    from django.test import RequestFactory

    from nova_admin.login.link_views import ForgotPasswordView

    request = RequestFactory().post(FORGOT, {"who": "maria"}, REMOTE_ADDR="10.0.0.8")
    request.user = User()
    request.session = {}
    monkeypatch.setattr(
        ForgotPasswordView, "get_context_data", lambda self, **more: {"is_asked": True, **more}
    )
    answer = ForgotPasswordView.as_view()(request)
    assert mail.outbox == []

    answer.close()
    answer.close()

    assert len(mail.outbox) == 1


@pytest.mark.parametrize(
    "kind", ["invited", "deactivated", "no address", "by provider", "not staff"]
)
def test_who_has_no_password_of_their_own_gets_none(maria, kind):
    if kind == "invited":
        maria.set_unusable_password()
    elif kind == "by provider":
        SocialAccount.objects.create(user=maria, provider="https://idp.example", uid="1")
    maria.is_active = kind != "deactivated"
    maria.is_staff = kind != "not staff"
    maria.email = "" if kind == "no address" else maria.email
    maria.save()

    ask("maria")

    assert PasswordLink.objects.count() == 0
    assert mail.outbox == []


def test_one_mail_in_ten_minutes(maria):
    for number in range(3):
        ask("maria", f"10.0.0.{number}")
    assert len(mail.outbox) == 1
    PasswordLink.objects.update(made_at=timezone.now() - timedelta(minutes=11))

    ask("maria", "10.0.0.9")

    assert len(mail.outbox) == 2


def test_an_address_asks_as_often_as_it_may_mistype_passwords(maria):
    answers = [ask(f"name-{number}").status_code for number in range(7)]

    assert answers == [200] * 5 + [429] * 2
    assert ask("maria", "10.0.0.9").status_code == 200
    # Nobody is locked out of the login by that.
    sent = {"username": "maria", "password": OWN}
    assert Client(REMOTE_ADDR="10.0.0.8").post("/admin/login/", sent).status_code == 302


@pytest.mark.parametrize("backend", ["dummy", "console"])
def test_without_a_mail_server_there_is_no_such_page(settings, maria, backend):
    assert FORGOT in Client().get("/admin/login/").content.decode()
    settings.EMAIL_BACKEND = f"django.core.mail.backends.{backend}.EmailBackend"

    assert ask("maria").status_code == 404
    assert FORGOT not in Client().get("/admin/login/").content.decode()


def test_a_link_of_ones_own_leaves_nobody_elses_void_unless_it_is_the_same_person(
    maria, pau, keeper
):
    token = give_link(pau, keeper)

    ask("maria")

    assert find_link(token) is not None


def test_the_function_makes_one_link_a_person(maria):
    first, second = make_link(maria, by=None), make_link(maria, by=None)

    assert (find_link(first), find_link(second).user) == (None, maria)
    assert make_user("x").pk != maria.pk
