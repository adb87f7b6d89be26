"""The whole journey of a client from the dashboard on, in Spanish and without scripts, by the names on buttons."""

import re

import pytest
from playwright.sync_api import expect

from credentials.models import Client
from migration.core import aws_store
from migration.models import PhaseChange
from nova_credentials.phases import Phase
from tests.browser.page_language import Person, words
from tests.migration.moves.clients import change_in_aws, phase_of

pytestmark = pytest.mark.browser


def test_from_the_dashboard_through_a_mismatch_to_aws_and_back(visit):
    page = visit("/admin/", locale="es", java_script_enabled=False)
    somebody = Person(page, words("es"))
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^es"))

    onboards(somebody)
    somebody.follows("Push to AWS…")
    somebody.presses("Push client", n="1")
    expect(page).to_have_url(re.compile("/change/"))
    assert standing() == Phase.DUAL_WRITE
    change_in_aws(aws_store.secrets_manager(), "nova/clients/acme", password="another")

    somebody.follows("Comparison")
    somebody.presses("Compare now")
    somebody.follows("Mismatches")
    somebody.reads("different value")
    somebody.follows("acme")
    somebody.follows("Copy PostgreSQL to AWS")
    somebody.presses("Copy to AWS", n="1")
    somebody.reads("Copied PostgreSQL to AWS")

    somebody.follows("Overview")
    somebody.follows("Move to dual read")
    somebody.presses("Move to dual read", n="1")
    somebody.follows("Comparison")
    somebody.presses("Compare now")
    somebody.follows("Overview")
    somebody.follows("Cut over to AWS")
    somebody.types("acme", "Type %(wanted)s to confirm", wanted="acme")
    somebody.types("INC-42", "Reason or ticket")
    somebody.presses("Cut over client", n="1")
    somebody.reads("Just cut over")
    assert standing() == Phase.AWS

    somebody.presses("Roll back")
    rolled_back = "%(slug)s was rolled back to %(phase)s. NOVA reads both stores again."
    somebody.reads(rolled_back, slug="acme", phase="Dual read")
    assert standing() == Phase.DUAL_READ
    assert PhaseChange.objects.filter(by__username="root").count() == 4


def onboards(somebody: Person) -> None:
    somebody.follows("Add a client")
    somebody.types("Acme", "name")
    somebody.types("acme", "slug")
    login = somebody.page.get_by_role("group", name=somebody.say("Database"))
    for label, text in (
        ("host", "db.example.test"),
        ("database", "app"),
        ("user", "app"),
        ("password", "example-password-1"),
    ):
        login.get_by_role("textbox", name=somebody.say(label)).fill(text)
    somebody.presses("Add client")


def standing() -> Phase:
    return phase_of(Client.objects.get(slug="acme").pk)
