"""The views that a user keeps of the clients list."""

import re

import pytest
from django.test import Client as Browser

from migration.models import SavedView
from migration.models import saved_views as rules
from tests.factories import VIEW, make_client
from tests.migration.admin.pages import CLIENTS, login, text

SAVE, DELETE = f"{CLIENTS}views/save/", f"{CLIENTS}views/delete/"


@pytest.fixture
def viewer(db, client):
    make_client("idom")
    login(client, "viewer", *VIEW)
    return client


def shown(browser, query: str = "") -> dict[str, str]:
    """Name of a view -> its address."""
    html = browser.get(f"{CLIENTS}?{query}").content.decode()
    found = re.findall(r'<a class="anywhere px-3 py-1[^>]*href="([^"]*)">([^<]*)</a>', html)
    return {name: address.replace("&amp;", "&") for address, name in found}


def test_filters_search_and_order_are_kept_under_a_name(viewer):
    assert "Save view" not in text(viewer.get(CLIENTS))
    page = viewer.get(f"{CLIENTS}?phase=postgres&q=idom&o=-2").content.decode()
    (query,) = re.findall(r'name="query" value="([^"]*)"', page)

    done = viewer.post(
        SAVE, {"name": "  My   wave ", "query": f"{query}&p=3&e=1&other=1".replace("&amp;", "&")}
    )

    assert done.url == f"{CLIENTS}?o=-2&phase=postgres&q=idom"
    assert shown(viewer) == {"My wave": "?o=-2&phase=postgres&q=idom"}
    assert 'aria-current="page" href="?o=-2' in viewer.get(done.url).content.decode()


def test_the_same_name_replaces_the_view_and_another_user_sees_none(viewer):
    for name, query in (("Mine", "phase=aws"), ("MINE", "phase=postgres"), ("É", "active=no")):
        viewer.post(SAVE, {"name": name, "query": query})
    assert shown(viewer) == {"MINE": "?phase=postgres", "É": "?active=no"}
    view = SavedView.objects.get(name="MINE")

    other = Browser()
    login(other, "other", *VIEW)
    assert shown(other) == {}
    assert "not there any more" in text(other.post(DELETE, {"view": view.pk}, follow=True))
    assert SavedView.objects.count() == 2

    viewer.post(DELETE, {"view": view.pk, "query": "active=no"})
    assert shown(viewer) == {"É": "?active=no"}


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\u202eb"])
def test_a_name_that_does_not_fit_keeps_nothing(viewer, name):
    response = viewer.post(SAVE, {"name": name, "query": "phase=aws"}, follow=True)

    assert "Nothing was saved" in text(response)
    assert not SavedView.objects.exists()


def test_nobody_keeps_too_many_or_one_too_long(viewer, monkeypatch):
    monkeypatch.setattr(rules, "MOST_VIEWS", 2)
    for name in ("one", "two"):
        viewer.post(SAVE, {"name": name, "query": "phase=aws"})

    third = viewer.post(SAVE, {"name": "three", "query": "phase=aws"}, follow=True)
    again = viewer.post(SAVE, {"name": "two", "query": "phase=purged"}, follow=True)
    none = viewer.post(SAVE, {"name": "four", "query": "nonsense=1"}, follow=True)
    long = viewer.post(SAVE, {"name": "two", "query": f"q={'x' * 1001}"}, follow=True)

    assert "you have 2 views already" in text(third)
    assert "Saved the view two" in text(again)
    assert "choose a filter or search first" in text(none)
    assert "the search is too long" in text(long)
    assert shown(viewer)["two"] == "?phase=purged"


def test_only_who_sees_the_list_keeps_views(db, client):
    login(client, "new")

    assert client.post(SAVE, {"name": "a", "query": "phase=aws"}).status_code == 403
    assert client.get(SAVE).status_code == 405
