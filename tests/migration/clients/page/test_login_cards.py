"""A client's logins as cards: what each shows, what may be done, and whether AWS has what was saved."""

from datetime import timedelta

import pytest
from django.utils import timezone

from credentials.models import Client
from migration.core.outgoing import LoginOutcome
from migration.core.sentences import LOGIN_OUTCOMES
from migration.models import KnownValue, LoginTest
from migration.moves.moves import move
from migration.pushes.known_values import note_rows
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_database, make_full_client, make_user, update
from tests.migration.moves.clients import advance, enter_phase, write_password
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")


def page_of(browser, pk):
    return browser.get(f"/admin/credentials/client/{pk}/change/?tab=logins")


def context_of(browser, pk):
    with pages_left_out():
        return page_of(browser, pk).context_data


def cards_of(browser, pk):
    return context_of(browser, pk)["login_cards"]


def test_a_card_says_where_who_tested_when_and_in_which_store(stores, admin_client):
    pk = make_full_client("idom")
    make_database(pk, label="reports", is_primary=False, db_host="replica.example.test")
    push(client_ids=[pk])
    row = Client.objects.get(pk=pk).databases.get(label="reports")
    LoginTest.objects.bulk_create(
        LoginTest(
            client_id=pk, kind="database", credential_id=row.pk, store=store, outcome="refused"
        )
        for store in ("postgres", "aws")
    )

    first, second, mail, aws = cards_of(admin_client, pk)

    assert (first["place"], first["user"], first["is_primary"]) == (
        "db.example.test:5432 › app",
        "app",
        True,
    )
    assert (second["label"], second["is_tested_alike"], len(second["tests"])) == (
        "reports",
        True,
        2,
    )
    assert (mail["place"], aws["place"]) == ("smtp.gmail.com:587", "eu-west-1")
    assert not first["tests"]
    assert not any(card["is_open"] for card in (first, second, mail, aws))


def test_a_card_says_why_a_login_was_refused_in_each_store(stores, admin_client):
    pk = make_full_client("idom")
    row = Client.objects.get(pk=pk).databases.get()
    for in_aws in ("works", "refused"):
        LoginTest.objects.all().delete()
        LoginTest.objects.bulk_create(
            LoginTest(
                client_id=pk, kind="database", credential_id=row.pk, store=store, outcome=outcome
            )
            for store, outcome in (("postgres", "refused"), ("aws", in_aws))
        )

        html = page_of(admin_client, pk).content.decode()

        card = html[html.index('id="login-databases-0"') :].partition('class="login-acts"')[0]
        assert card.count(str(LOGIN_OUTCOMES["refused"]())) == 1
        assert (str(LoginOutcome.WORKS.label) in card) == (in_aws == "works")


def test_the_page_says_whether_aws_has_it(stores, admin_client):
    pk = make_full_client("idom")
    for phase, state, held in (
        (Phase.POSTGRES, "none", "In PostgreSQL"),
        (Phase.DUAL_READ, "newest", "In both stores"),
        (Phase.PURGED, "newest", "In AWS"),
    ):
        advance(pk, phase)

        context = context_of(admin_client, pk)

        assert context["aws_state"] == state
        assert {card["stores"] for card in context["login_cards"]} == {held}


def test_it_asks_again_until_aws_has_it(stores, admin_client):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    make_database(pk, label="new", is_primary=False)
    address = f"/admin/credentials/client/{pk}/aws-state/"

    waiting = admin_client.get(address)
    push(client_ids=[pk])

    assert waiting.context["aws_state"] == "older"
    assert "hx-get" in waiting.content.decode()
    assert admin_client.get(address).context["aws_state"] == "newest"


def test_a_viewer_has_cards_without_forms_and_without_what_is_not_allowed(client):
    pk = make_full_client("idom")
    client.force_login(make_user("viewer", *VIEW))

    response = page_of(client, pk)

    for card in response.context["login_cards"]:
        assert card["fields"] == []
        assert not any(card[name] for name in ("reveal_url", "rotate_url", "test_url"))
        assert dict(card["facts"])
    assert not response.context["may_save"]
    assert response.content.decode().count("</form>") == response.content.decode().count("<form")
    assert client.get(f"/admin/credentials/client/{pk}/aws-state/").status_code == 200
    client.force_login(make_user("nobody"))
    assert client.get(f"/admin/credentials/client/{pk}/aws-state/").status_code == 403


def test_the_page_tells_a_copy_that_aws_has_but_nova_does_not_use(stores, admin_client):
    pk = make_full_client("idom")
    push(client_ids=[pk])

    state = context_of(admin_client, pk)["aws_state"]
    make_database(pk, label="new", is_primary=False)
    page = page_of(admin_client, pk)

    assert (state, page.context["aws_state"]) == ("unused", "unused_older")
    assert "older copy" in page.content.decode()


def test_a_test_of_former_values_is_not_shown_once_a_login_changed(stores, admin_client):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    row = Client.objects.get(pk=pk).databases.get()
    LoginTest.objects.bulk_create(
        LoginTest(client_id=pk, kind="database", credential_id=row.pk, store=store, outcome="works")
        for store in ("postgres", "aws")
    )
    assert len(cards_of(admin_client, pk)[0]["tests"]) == 2

    changed_at = timezone.now() + timedelta(seconds=2)
    update(
        "client_database_credentials",
        row.pk,
        db_password_encrypted="another",
        updated_at=changed_at.replace(tzinfo=None),
    )

    # AWS has what was tested there until the change is pushed.
    before = cards_of(admin_client, pk)[0]
    push(client_ids=[pk])
    after = cards_of(admin_client, pk)[0]
    assert [test.store for test in before["tests"]] == ["aws"]
    assert not after["tests"]
    assert (after["changed_since_test"], after["changed_at"]) == (True, changed_at)


def test_when_a_secret_changed_is_still_told_after_a_purge_and_a_restore(stores, admin_client):
    pk = make_full_client("idom")
    note_rows([pk])
    write_password(pk, "example-new")
    note_rows([pk])
    known = KnownValue.objects.get(client_id=pk, kind="database", replaced_at=None)

    enter_phase(pk, Phase.AWS)
    advance(pk, Phase.PURGED)
    purged = [card["changed_at"] for card in cards_of(admin_client, pk)]
    move(client_id=pk, new=Phase.AWS)
    restored = [card["changed_at"] for card in cards_of(admin_client, pk)]

    # Of the other two nobody knows another value.
    assert purged == restored == [known.set_at, None, None]


def test_a_login_that_cannot_be_rotated_says_why(stores, admin_client):
    pk = make_full_client("idom")
    for label in (None, "reports", "reports"):
        make_database(pk, label=label, is_primary=False)

    found = [card for card in cards_of(admin_client, pk) if card["kind"] == "database"]

    assert [bool(card["rotate_url"]) for card in found] == [True, False, True, False]
    shown = page_of(admin_client, pk).content.decode()
    for card in found:
        told = f'aria-describedby="no-rotation-{card["id"]}"' in shown
        page = admin_client.get(f"/admin/credentials/client/{pk}/rotate/database/{card['row'].pk}/")
        assert (told, page.status_code) == ((False, 200) if card["rotate_url"] else (True, 404))
