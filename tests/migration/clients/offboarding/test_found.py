"""What somebody looks for when a client is to leave, or came back: the way there, the search, no false cutover."""

import pytest
from django.urls import reverse

from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.core.audit_export import find_cutover
from migration.core.clients import OffboardingState
from migration.models import CopySearch, Offboarding
from migration.moves.moves import move
from migration.secrets import copy_pages
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_in_role
from tests.migration.clients.offboarding.clients import deactivate, make_inactive
from tests.migration.moves.clients import advance, enter_phase, phase_of

EXPORT = "Export the entries"


@pytest.fixture
def admin(client):
    client.force_login(make_in_role("ada", "Administrator"))
    return client


def read(client, name: str, pk: int) -> str:
    return client.get(reverse(f"admin:credentials_client_{name}", args=[pk])).content.decode()


def test_a_client_that_came_back_was_not_cut_over_by_leaving(admin):
    pk = make_inactive(Phase.POSTGRES)
    offboard_client(client_id=pk, reason="CHG-7")
    gone = read(admin, "history", pk)
    bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert phase_of(pk) == Phase.POSTGRES
    assert EXPORT not in gone
    assert EXPORT not in read(admin, "history", pk)
    file = reverse("admin:credentials_client_cutover_file", args=[pk])
    assert admin.post(file).status_code == 404


def test_a_cutover_before_it_left_can_still_be_exported_and_whether_it_was_moved_back_is_said(
    admin,
):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    advance(pk, Phase.AWS)
    cutover = find_cutover(pk)
    deactivate(pk)
    offboard_client(client_id=pk, reason="CHG-7")
    bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert cutover is not None
    assert find_cutover(pk) == cutover
    html = read(admin, "history", pk)
    assert EXPORT in html
    assert "The client was moved back since" not in html
    move(client_id=pk, new=Phase.DUAL_READ)
    assert "The client was moved back since" in read(admin, "history", pk)


def test_the_head_of_a_client_leads_to_where_it_can_leave_and_says_that_it_left(admin):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    leaving = reverse("admin:credentials_client_leaving", args=[pk])

    def shown() -> tuple[str, bool]:
        """The entry of the client's menu that leads to the page of its end, and whether it has moves."""
        found = admin.get(reverse("admin:credentials_client_change", args=[pk])).context
        label = next(str(label) for label, url in found["menu"] if url == leaving)
        return label, bool(found["moves"])

    assert shown() == ("Offboard…", True)
    deactivate(pk)
    assert shown() == ("Offboard…", True)
    offboard_client(client_id=pk, reason="CHG-7")
    html = read(admin, "change", pk)
    # Each move would be refused.
    assert shown() == ("Bring back…", False)
    assert "Offboarded" in html
    # An interrupted one asks for either way.
    Offboarding.objects.update(state=OffboardingState.COMING_BACK)
    assert "Coming back" in read(admin, "change", pk)
    asked = [admin.get(leaving + query).context["question"] for query in ("", "?question=offboard")]
    assert asked == ["back", "offboard"]


def test_copies_can_be_searched_for_from_the_page_before_the_client_leaves(admin, monkeypatch):
    monkeypatch.setattr(copy_pages.tasks, "enqueue_search", lambda search: True)
    pk = make_inactive(Phase.POSTGRES)
    html = read(admin, "leaving", pk)
    assert "Search for copies" in html
    leaving = reverse("admin:credentials_client_leaving", args=[pk])
    assert f'name="back" value="{leaving}"' in html
    assert f'name="client" value="{pk}"' in html

    sent = {"back": leaving, "client": str(pk)}
    search = reverse("admin:migration_copysearch_start")
    answer = admin.post(search, sent)

    assert answer.url == leaving
    assert CopySearch.objects.get().chosen == [pk]
    assert "The search for copies has begun" in read(admin, "leaving", pk)
    offboard_client(client_id=pk, reason="CHG-7")
    assert "Search for copies" not in read(admin, "leaving", pk)
    # One that no page of this site asked for leads to the copies.
    for sent in ({}, {"back": "//elsewhere.example.test"}):
        assert admin.post(search, sent).url == reverse("admin:migration_copysearch_report")
