"""Reveal: who may, what is asked, what is recorded, what is shown exactly, and that nothing else keeps it."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from credentials.forms import MASK
from credentials.models import AwsCredential, Client, DatabaseCredential, EmailCredential
from migration.core.pages import ClientTab
from migration.logins import reveal_pages as reveals
from migration.logins.reveals import REVEAL_EVENT
from migration.models import PhaseChange, Resolution, Reveal
from nova_admin.trusted_proxies import TrustedProxies
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.moves.clients import change_in_aws, enter_phase, password, write_password
from tests.page_forms import pages_left_out
from tests.test_no_secret_escapes import Haystack, add_tables, everything_logged, templates_logged

REVEAL = "migration.reveal_credential"
OWN_PASSWORD = "example-login-password"
VALUE = "MARKER-ONE example"


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    write_password(pk, VALUE)
    return pk


@pytest.fixture
def maria(client) -> User:
    user = make_user("maria", *VIEW, REVEAL, password=OWN_PASSWORD)
    client.force_login(user)
    return user


def address(pk: int, kind="database", model=DatabaseCredential, name="db_password") -> str:
    row = model.objects.get(client_id=pk)
    return f"/admin/credentials/client/{pk}/reveal/{kind}/{row.pk}/{name}/"


class Shown(HTMLParser):
    """The text of the page's <code>, as a browser has it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: str | None = None
        self.inside = False
        # What a browser does with line ends before anything else.
        self.feed(re.sub(r"\r\n?", "\n", html))

    def handle_starttag(self, tag, attrs):
        if tag == "code":
            self.inside, self.text = True, ""

    def handle_endtag(self, tag):
        self.inside = False if tag == "code" else self.inside

    def handle_data(self, data):
        if self.inside:
            self.text += data


def shown(response) -> str | None:
    assert response.status_code == 200
    return Shown(response.content.decode()).text


def age_the_login(client, seconds: int) -> None:
    session = client.session
    session[reveals.AUTHENTICATED_AT] -= seconds
    session.save()


def test_a_value_is_shown_to_who_may_gives_a_reason_and_is_recorded(idom, maria, client):
    enter_phase(idom, Phase.DUAL_WRITE)
    before = Client.objects.with_revision().get(pk=idom).revision
    moves = PhaseChange.objects.count()

    response = client.post(address(idom), {"reason": "INC-42"}, REMOTE_ADDR="10.0.0.8")

    assert shown(response) == VALUE
    # It hides itself; without scripts the page says so.
    assert 'data-hide-after="30"' in response.text
    assert re.search(r'<script src="[^"]*migration/reveal\.js" defer>', response.text)
    assert re.search(r"(?s)<noscript>.*Close this page.*</noscript>", response.text)
    for page in (response, client.get(address(idom)), client.post(address(idom), {"reason": ""})):
        assert "no-store" in page["Cache-Control"]
    # Neither store and nothing of where the client stands is touched.
    assert Client.objects.with_revision().get(pk=idom).revision == before
    assert PhaseChange.objects.count() == moves
    record = Reveal.objects.get()
    assert (record.by, record.client_id, record.field) == (maria, idom, "db_password")
    assert record.who_saw_what == (
        f"maria revealed idom › database login {record.credential_id} › password,"
        " reason INC-42, from 10.0.0.8"
    )
    with pages_left_out():
        page = client.get(f"/admin/credentials/client/{idom}/change/?tab=history")
    history = page.context_data["history"]
    (line,) = [line for line in history.lines if line.kind == REVEAL_EVENT.label]
    assert (line.who, line.reason, line.message.values["field"]) == (
        "maria",
        "INC-42",
        "db_password",
    )
    Reveal.objects.update(by=None)  # the user is gone
    assert Reveal.objects.get().who_saw_what == record.who_saw_what


def test_each_kind_of_credential_has_its_field(idom, maria, client):
    key = "example/secret/access/key/that/is/no/key"
    for kind, model, name, stored in (
        ("email", EmailCredential, "email_password", "example-app-password-2"),
        ("aws", AwsCredential, "secret_access_key", key),
    ):
        assert shown(client.post(address(idom, kind, model, name), {"reason": "x"})) == stored


def test_without_a_reason_that_can_be_kept_nothing_is_shown_or_recorded(idom, maria, client):
    for reason in ("", "  ", "x" * 501, "INC\0-42"):
        response = client.post(address(idom), {"reason": reason})

        assert shown(response) is None
        assert VALUE not in response.text
    assert not Reveal.objects.exists()


def test_the_value_is_on_no_page_before_it_is_asked_for(idom, maria, client):
    for page in (address(idom), f"/admin/credentials/client/{idom}/change/?tab=logins"):
        html = client.get(page).content.decode()
        assert VALUE not in html
        assert "MARKER" not in html
    assert MASK in html
    assert address(idom) in html
    assert not Reveal.objects.exists()


def test_the_password_is_asked_again_after_five_minutes(idom, maria, client):
    age_the_login(client, 301)
    assert 'type="password"' in client.get(address(idom)).content.decode()

    for wrong in ({}, {"password": ""}, {"password": "example-another"}):
        response = client.post(address(idom), {"reason": "INC-42", **wrong})
        assert shown(response) is None
        # A page that was open when the time ran out had no field for it.
        is_wrong = "That is not your password." in response.context["problems"]
        assert is_wrong == bool(wrong.get("password"))
    assert not Reveal.objects.exists()

    right = {"reason": "INC-42", "password": OWN_PASSWORD}
    assert shown(client.post(address(idom), right)) == VALUE
    assert 'type="password"' not in client.get(address(idom)).content.decode()
    assert shown(client.post(address(idom), {"reason": "INC-43"})) == VALUE


def test_a_login_elsewhere_does_not_make_this_session_fresh(idom, maria, client):
    age_the_login(client, 301)

    type(client)().force_login(maria)

    assert shown(client.post(address(idom), {"reason": "INC-42"})) is None


def test_a_session_of_which_it_is_not_known_is_not_fresh(idom, maria, client):
    for session in ({}, {reveals.AUTHENTICATED_AT: 9e12}):
        known = client.session
        known.pop(reveals.AUTHENTICATED_AT, None)
        known.update(session)
        known.save()

        assert shown(client.post(address(idom), {"reason": "INC-42"})) is None


def test_who_may_not_is_refused_and_sees_no_way_to(idom, client):
    for number, permissions in enumerate([(), VIEW, (REVEAL,)]):
        client.force_login(make_user(f"other{number}", *permissions))

        for method in (client.get, client.post):
            response = method(address(idom), {"reason": "INC-42"})
            assert response.status_code == 403
            assert VALUE not in response.text
        if permissions == VIEW:
            page = client.get(f"/admin/credentials/client/{idom}/change/?tab=logins")
            assert "/reveal/" not in page.text
    assert not Reveal.objects.exists()


def test_only_secret_fields_of_that_client_are_there(idom, maria, client):
    other = make_full_client("other")
    theirs = address(other)
    for wrong in (
        address(idom, name="db_user"),
        address(idom, name="client"),
        address(idom, kind="email"),
        address(idom, kind="none"),
        theirs.replace(f"/client/{other}/", f"/client/{idom}/"),
        theirs.replace(f"/client/{other}/", "/client/999999/"),
    ):
        assert client.get(wrong).status_code == 404
        assert client.post(wrong, {"reason": "x"}).status_code == 404
    assert not Reveal.objects.exists()


ODD = (
    "  two before, three after   ",
    "'\"<b>&amp;</b>\\ {{ value }} {% now %}",
    "\nfirst\n\nthird\r\nfourth\rfifth\n",
    "ñ😀 'x' " * 500,
    "\ta\tb\t",
    " ",
)


def test_a_value_is_shown_exactly(idom, maria, client):
    for value in ODD:
        write_password(idom, value)

        response = client.post(address(idom), {"reason": "INC-42"})

        assert shown(response) == value
        html = unescape(response.text)
        before, after = len(value) - len(value.lstrip()), len(value) - len(value.rstrip())
        assert (re.search(rf"{before} spaces? at the beginning", html) is not None) == bool(before)
        assert (re.search(rf"{after} spaces? at the end", html) is not None) == bool(after)
        assert "white-space: break-spaces" in html
    write_password(idom, "")
    assert shown(client.post(address(idom), {"reason": "INC-42"})) == ""


def test_a_purged_value_is_read_from_aws_and_one_that_nova_wrote_since_is_its_own(
    idom, maria, client, settings
):
    enter_phase(idom, Phase.PURGED)
    assert password(idom).startswith("aws-secretsmanager:")

    response = client.post(address(idom), {"reason": "INC-42"})

    assert shown(response) == VALUE
    assert "The value in AWS" in response.text
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    response = client.post(address(idom), {"reason": "INC-42"})
    assert shown(response) is None
    assert "AWS could not be read" in response.text
    assert Reveal.objects.count() == 1
    write_password(idom, "example-since")
    assert shown(client.post(address(idom), {"reason": "INC-42"})) == "example-since"


def test_before_the_purge_postgresql_s_own_value_is_shown(idom, maria, client, stores):
    from migration.core.aws_store import secrets_manager

    enter_phase(idom, Phase.DUAL_READ)
    change_in_aws(secrets_manager(), password="example-theirs")

    response = client.post(address(idom), {"reason": "INC-42"})

    assert shown(response) == VALUE
    assert "The value in PostgreSQL" in response.content.decode()


def test_the_address_that_is_kept_is_the_peers_or_the_one_a_named_proxy_saw(
    idom, maria, client, settings
):
    """The attack: anybody sent a header, and the record showed its address."""
    headers = {"REMOTE_ADDR": "198.51.100.7", "HTTP_X_FORWARDED_FOR": "1.2.3.4, 10.0.0.8"}
    for proxies in ("", "198.51.100.0/24"):
        settings.NOVA_TRUSTED_PROXIES = TrustedProxies.parse(proxies)
        client.post(address(idom), {"reason": "INC-42"}, **headers)

    kept = Reveal.objects.order_by("pk").values_list("address", flat=True)
    assert list(kept) == ["198.51.100.7", "10.0.0.8"]


def test_comparing_first_comes_back_to_the_same_page(idom, client):
    client.force_login(make_user("maria", *VIEW, REVEAL, "migration.resolve_mismatch"))
    url = f"/admin/credentials/client/{idom}/compare/"
    assert f'action="{url}"' in client.get(address(idom)).text

    enter_phase(idom, Phase.DUAL_WRITE)
    response = client.post(url, {"back": address(idom)})

    assert response.url == address(idom)
    assert Resolution.objects.get().kind == "check"
    assert not Reveal.objects.exists()
    # Where the stores have just matched there is nothing to compare.
    assert f'action="{url}"' not in client.get(address(idom)).text


def test_a_form_leads_back_to_no_other_site(idom, client):
    client.force_login(make_user("maria", *VIEW, "migration.resolve_mismatch"))

    for back in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        response = client.post(f"/admin/credentials/client/{idom}/compare/", {"back": back})
        assert response.url == f"/admin/credentials/client/{idom}/change/"


def test_nothing_but_the_one_page_holds_the_value(idom, maria, client):
    """At every log level, since a template's log writes whole contexts."""
    enter_phase(idom, Phase.DUAL_WRITE)
    haystack = Haystack()
    client.raise_request_exception = False
    age_the_login(client, 301)
    data = {"reason": "INC-42", "password": OWN_PASSWORD}
    with everything_logged(haystack), templates_logged():
        response = client.post(address(idom), data)
        assert shown(response) == VALUE
        haystack.add("headers", repr(response.headers) + repr(response.cookies))
        tabs = [f"/admin/credentials/client/{idom}/change/?tab={tab}" for tab in ClientTab]
        for page in (address(idom), *tabs):
            haystack.add(page, client.get(page).content.decode())
    haystack.add("record", repr(Reveal.objects.get()) + str(vars(Reveal.objects.get())))
    haystack.add("sessions", repr([s.get_decoded() for s in Session.objects.all()]))
    add_tables(haystack)

    assert haystack.found() == []
    everything = "".join(map(haystack.text, list(haystack.pieces)))
    assert OWN_PASSWORD not in everything
    assert "log django.template" in haystack.pieces
    assert "table django_session" in haystack.pieces
    assert "table migration_reveal" in haystack.pieces
    assert not LogEntry.objects.exists()
