"""The pages of versions: who may restore one, what it says first, and the lists of values in clear."""

import re
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from migration.core import aws_store
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.models import AuditEvent
from migration.pushes.known_values import note_written_rows
from migration.pushes.pushes import push
from migration.secrets import versions
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.moves.clients import (
    NAME,
    advance,
    enter_phase,
    enter_phase_together,
    password,
    write_password,
)
from tests.migration.pages import text
from tests.migration.secrets.versions.test_pending_stages import leave_pending

RESOLVE = ("migration.resolve_mismatch", "migration.view_comparison")


@pytest.fixture
def browser(stores, client):
    client.force_login(make_user("maria", *VIEW, *RESOLVE))
    return client


def url(pk: int, page: str = "versions") -> str:
    return reverse(f"admin:credentials_client_{page}", args=[pk])


def said(response) -> str:
    return " ".join(map(str, get_messages(response.wsgi_request)))


def make_changed(phase: Phase) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    write_password(pk, "example-new")
    push(client_ids=[pk])
    return pk


def test_the_former_version_is_restored_from_the_page_after_a_look_and_a_reason(
    browser, monkeypatch
):
    pk = make_changed(Phase.DUAL_READ)
    unreachable, late = LoginOutcome.UNREACHABLE, LoginOutcome.TIMED_OUT
    outcomes = [LoginOutcome.REFUSED, unreachable, late, late]
    monkeypatch.setattr(versions, "try_login", lambda *_: LoginResult(outcomes.pop(0)))
    listed = browser.get(url(pk)).content.decode()
    (address,) = re.findall(r'href="([^"]*/versions/restore/[^"]*)"', listed)
    address = address.replace("&amp;", "&")

    shown = browser.get(address)
    assert "database.password" in text(shown)
    assert "example-" not in text(shown)
    seen = re.search(r'name="seen" value="(\w+)"', shown.content.decode())[1]
    assert "give a reason" in said(browser.post(address, {"seen": seen}))
    sent = {"seen": seen, "reason": "INC-1"}
    refused = browser.post(address, sent)
    assert refused.context["refused"].codes[0] == "version_login_refused"
    assert 'value="INC-1"' in refused.content.decode()
    assert password(pk) == "example-new"
    again = browser.post(address, sent)
    assert "(the database login: no server answers there" in text(again)
    assert "Restore it although these logins could not be tried" in text(again)
    for number in range(2):
        (unproven,) = re.findall(r'name="unproven" value="(\w+)"', again.content.decode())
        again = done = browser.post(address, sent | {"unproven": unproven})
        if number == 0:  # it is another outcome than the one that was accepted
            assert "the server did not answer in time" in text(again)
            assert password(pk) == "example-new"
    assert "of nova/clients/idom was restored" in said(done)
    assert password(pk) == "example-password-1"
    entries = AuditEvent.objects.filter(code="push").order_by("-at")
    assert entries[0].who == "maria"
    assert "by this site (maria)" in text(browser.get(url(pk)))
    assert "Restored a former version" in text(
        browser.get(f"/admin/credentials/client/{pk}/change/?tab=history")
    )


def test_what_can_not_be_restored_says_why_and_has_no_form(browser):
    pk = make_changed(Phase.DUAL_WRITE)
    for query in ("", "?name=x&version_id=x", f"?name={NAME}&version_id={'0' * 32}"):
        shown = browser.get(url(pk, "restore_version") + query)
        assert "AWS no longer has this version" in text(shown)
        assert 'name="seen"' not in shown.content.decode()


def test_a_viewer_sees_versions_and_no_button(stores, client):
    client.force_login(make_user("viewer", *VIEW))
    pk = make_changed(Phase.AWS)
    leave_pending(password="example-new")

    shown = client.get(url(pk))

    assert "Left by a write that was interrupted?" in text(shown)
    assert "Restore…" not in text(shown)
    assert "Remove AWSPENDING" not in text(shown)
    assert "example-" not in text(shown)
    assert client.get(url(pk, "restore_version")).status_code == 403
    for send in (client.get, client.post):
        assert send(url(pk, "take_pending_off")).status_code == 403


def test_a_stage_that_was_left_is_taken_off_by_its_button(browser):
    pk = make_changed(Phase.AWS)
    version = leave_pending()
    shown = browser.get(url(pk)).content.decode()
    (link,) = re.findall(r'href="([^"]*take-pending-off[^"]*)"', shown)
    page = browser.get(unescape(link))
    assert (page.context["name"], page.context["version_id"]) == (NAME, version)
    assert aws_store.secrets_manager().get_stage(NAME, "AWSPENDING") is not None

    done = browser.post(url(pk, "take_pending_off"), {"name": NAME, "version_id": version})

    assert f"Removed AWSPENDING from version {version[:8]}…" in said(done)
    assert aws_store.secrets_manager().get_stage(NAME, "AWSPENDING") is None
    gone = browser.post(url(pk, "take_pending_off"), {"name": "x", "version_id": ""})
    assert "has no AWSPENDING any more" in said(gone)


def test_values_that_stood_in_clear_are_counted_and_filtered(browser):
    pk, kept = make_full_client("idom"), make_full_client("kept")
    enter_phase_together([pk, kept], Phase.AWS)
    advance(pk, Phase.PURGED)
    note_written_rows()

    # Of one client, as its number leads to a list of clients.
    assert "1 client has a secret that was stored in plain text and not rotated since" in text(
        browser.get("/admin/")
    )
    listed = text(browser.get("/admin/credentials/client/?plain_text=rotate"))
    assert "IDOM" in listed
    assert "KEPT" not in listed
    assert "was in NOVA's tables; to be rotated" in text(browser.get(url(pk)))
    assert "still in NOVA's tables" in text(browser.get(url(kept)))
