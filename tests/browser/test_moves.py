"""Moves by their pages: purge and restore, a gate that is shut, and the approval of a second person."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from migration import tasks
from migration.models import ClientMigration, CopySearch, PhaseChange, Run
from migration.moves.rules import CopiesSearched
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.browser.page_language import Person, words
from tests.factories import make_full_client, make_in_role
from tests.migration.moves.clients import enter_phase, password, phase_of

pytestmark = pytest.mark.browser

# Before other tests are spared the search.
conditions_of_search = CopiesSearched.list_conditions
TYPE = "Type %(wanted)s to confirm"


@pytest.fixture
def somebody(visit) -> Callable[..., Person]:
    return lambda address, **options: Person(visit(address, **options), words("en"))


def client_in(phase: Phase) -> int:
    """IDOM, its gate to the next phase open."""
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    compare(client_ids=[pk])
    return pk


def page_of(pk: int) -> str:
    return f"/admin/credentials/client/{pk}/change/"


def test_a_client_is_purged_by_its_slug_and_restored_without_scripts(stores, somebody):
    pk = client_in(Phase.AWS)
    admin = somebody(page_of(pk), java_script_enabled=False)

    admin.follows("Purge")
    admin.types("another", TYPE, wanted="idom")
    admin.types("INC-42", "Reason or ticket")
    admin.presses("Purge client", n="1")
    admin.reads("Type %(wanted)s, or cancel.", wanted="idom")
    expect(admin.page.get_by_label("Reason or ticket")).to_have_value("INC-42")
    assert phase_of(pk) == Phase.AWS

    admin.types("idom", TYPE, wanted="idom")
    admin.presses("Purge client", n="1")
    admin.reads("%(slug)s is purged.", slug="idom")
    assert password(pk).startswith("aws-secretsmanager:")

    admin.follows("Restore")
    admin.presses("Restore client", n="1")
    admin.reads("%(slug)s is in %(phase)s.", slug="idom", phase="AWS (cut over)")
    assert password(pk) == "example-password-1"


def test_the_page_of_a_purge_shows_its_search_for_copies_until_it_ends(stores, visit, monkeypatch):
    monkeypatch.setattr(CopiesSearched, "list_conditions", conditions_of_search)
    pk = client_in(Phase.AWS)
    page = visit(f"/admin/credentials/client/act/purge/?clients={pk}")
    search = page.get_by_role("button", name="Search for copies")

    search.click()
    page.get_by_text("begins once a worker is free").wait_for()
    tasks.search_copies(CopySearch.objects.get().pk)

    # By itself: the check was asked again.
    expect(page.get_by_role("button", name="Purge client")).to_be_visible()
    expect(search).to_have_count(0)


def test_a_shut_gate_offers_what_opens_it_and_no_form(stores, somebody):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    ClientMigration.objects.filter(pk=pk).update(phase=Phase.DUAL_READ)
    operator = somebody(page_of(pk), user=make_in_role("ana", "Operator"))
    operator.follows("Cut over to AWS")
    operator.reads("Not possible now.")
    typed = operator.page.get_by_label(operator.say(TYPE, wanted="idom"))
    expect(typed).to_have_count(0)

    while not typed.count():
        operator.presses("Compare now")

    operator.reads("Will be done")


def test_a_cutover_waits_for_the_approval_of_somebody_else(stores, somebody, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    pk = client_in(Phase.DUAL_READ)
    maria = somebody(page_of(pk), user=make_in_role("maria", "Administrator"))
    maria.follows("Cut over to AWS")
    maria.types("idom", TYPE, wanted="idom")
    maria.types("INC-42", "Reason or ticket")
    maria.presses("Request cutover", n="1")
    maria.reads("Someone else has to approve it")
    maria.follows("Requests")
    maria.follows("Move %(id)s", id=str(Run.objects.get().pk))
    maria.reads("You requested it. Someone else has to approve it.")
    expect(maria.page.get_by_role("button", name="Approve")).to_have_count(0)
    assert phase_of(pk) == Phase.DUAL_READ

    ana = somebody("/admin/", user=make_in_role("ana", "Approver"))
    ana.follows("Requests")
    ana.follows("Move %(id)s", id=str(Run.objects.get().pk))
    ana.presses("Approve and move now")

    ana.reads("%(slug)s is in %(phase)s.", slug="idom", phase="AWS (cut over)")
    change = PhaseChange.objects.get(new=Phase.AWS)
    assert (phase_of(pk), change.reason) == (Phase.AWS, "INC-42")
    assert "maria" in str(change.note)
