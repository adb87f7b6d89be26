"""What somebody looks for when a client is to leave, or came back: the way there, the search, no false cutover."""

import pytest
from django.urls import reverse

from migration.clients.offboarding import bring_back_as_inactive, find_leftovers, offboard_client
from migration.core.audit_export import find_cutover
from migration.core.clients import OffboardingState
from migration.models import CopySearch, Offboarding
from migration.moves.moves import move
from migration.secrets import copy_pages
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_in_role
from tests.migration.clients.offboarding.clients import deactivate, make_inactive
from tests.migration.moves.clients import advance, phase_of
from tests.migration.secrets.copies.nova_tables import novas_tables

EXPORT = "Export the entries"


@pytest.fixture
def admin(client):
    client.force_login(make_in_role("ada", "Administrator"))
    return client


def read(client, name: str, pk: int) -> str:
    return client.get(reverse(f"admin:credentials_client_{name}", args=[pk])).content.decode()


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_a_client_that_came_back_was_not_cut_over_by_leaving(admin, phase):
    pk = make_inactive(phase)
    offboard_client(client_id=pk, reason="CHG-7")
    gone = read(admin, "history", pk)
    bring_back_as_inactive(client_id=pk, reason="CHG-8")

    assert phase_of(pk) == phase
    assert EXPORT not in gone
    assert EXPORT not in read(admin, "history", pk)
    file = reverse("admin:credentials_client_cutover_file", args=[pk])
    assert admin.post(file).status_code == 404


def test_a_cutover_before_it_left_can_still_be_exported(admin):
    pk = make_full_client("idom")
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


def test_the_page_says_that_a_client_was_moved_back_since_its_cutover(admin):
    pk = make_full_client("idom")
    advance(pk, Phase.AWS)
    move(client_id=pk, new=Phase.DUAL_READ)

    assert "The client was moved back since" in read(admin, "history", pk)


def menu_of(client, pk: int) -> str:
    """The entry of the client's menu that leads to the page of its end."""
    menu = client.get(reverse("admin:credentials_client_change", args=[pk])).context["menu"]
    leaving = reverse("admin:credentials_client_leaving", args=[pk])
    return next(str(label) for label, url in menu if url == leaving)


def test_the_head_of_a_client_leads_to_where_it_can_leave_and_says_that_it_left(admin):
    pk = make_full_client("idom")
    advance(pk, Phase.AWS)
    assert menu_of(admin, pk) == "Offboard…"
    deactivate(pk)
    assert menu_of(admin, pk) == "Offboard…"
    offboard_client(client_id=pk, reason="CHG-7")
    html = read(admin, "change", pk)
    assert menu_of(admin, pk) == "Bring back…"
    assert "Offboarded" in html
    Offboarding.objects.update(state=OffboardingState.COMING_BACK)
    assert "Coming back" in read(admin, "change", pk)


def test_who_may_do_neither_is_told_what_is_left_alone(client):
    pk = make_full_client("idom")
    client.force_login(make_in_role("eva", "Viewer"))

    html = read(client, "change", pk)
    left = read(client, "leaving", pk)

    assert "What is left" in html
    assert "Offboard…" not in html
    assert "Search for copies" not in left
    assert 'name="slug"' not in left


def test_copies_can_be_searched_for_from_the_page_before_the_client_leaves(admin, monkeypatch):
    monkeypatch.setattr(copy_pages.tasks, "enqueue_search", lambda search: True)
    pk = make_inactive(Phase.AWS)
    html = read(admin, "leaving", pk)
    assert "Search for copies" in html
    leaving = reverse("admin:credentials_client_leaving", args=[pk])
    assert f'name="back" value="{leaving}"' in html
    assert f'name="client" value="{pk}"' in html

    sent = {"back": leaving, "client": str(pk)}
    answer = admin.post(reverse("admin:migration_copysearch_start"), sent)

    assert answer.url == leaving
    assert CopySearch.objects.get().chosen == [pk]
    assert "The search for copies has begun" in read(admin, "leaving", pk)
    offboard_client(client_id=pk, reason="CHG-7")
    assert "Search for copies" not in read(admin, "leaving", pk)


@pytest.mark.parametrize("sent", [{}, {"back": "//elsewhere.example.test"}])
def test_a_search_that_no_page_of_this_site_asked_for_leads_to_the_copies(admin, monkeypatch, sent):
    monkeypatch.setattr(copy_pages.tasks, "enqueue_search", lambda search: True)

    answer = admin.post(reverse("admin:migration_copysearch_start"), sent)

    assert answer.url == reverse("admin:migration_copysearch_report")


def test_a_legacy_table_that_is_not_there_is_not_called_one_without_a_row(admin):
    pk = make_inactive(Phase.AWS)
    without = read(admin, "leaving", pk)
    with novas_tables():
        without_row = read(admin, "leaving", pk)
        assert find_leftovers(client_id=pk).has_legacy_table

    assert "Legacy table" not in without
    assert "no row with this slug" not in without
    assert "no row with this slug" in without_row
    left = find_leftovers(client_id=pk)
    assert (left.has_legacy_table, left.legacy_rows) == (False, 0)
