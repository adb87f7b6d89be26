"""The search over the whole site, with the rights of who searches."""

import pytest

from migration.models import Campaign, ClientGroup
from migration.runs.models import Run
from tests.factories import VIEW, make_client, make_database, make_many
from tests.migration.pages import login, text

SEARCH = "/admin/search/"
ALL = (*VIEW, "migration.view_clientgroup", "migration.view_campaign")


def found(browser, asked: str) -> list[tuple[str, str]]:
    response = browser.get(SEARCH, {"s": asked, "extended": "1"})
    assert response.status_code == 200
    return [(each.title, each.link) for each in response.context["results"]]


@pytest.fixture
def things(db):
    cafe = make_client("cafe", name="Café Madrid")
    make_database(cafe, db_host="db.cafe.test", db_user="barista")
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    group = ClientGroup.objects.get_or_add("Oleada Café")
    campaign = Campaign.objects.create(goal="dual_read")
    return cafe, run, group, campaign


def test_clients_runs_campaigns_groups_and_pages_are_found(things, client):
    login(client, "viewer", *ALL)
    cafe, run, group, campaign = things
    page = f"/admin/credentials/client/{cafe}/change/"

    for asked in ("barista", "db.cafe", "nova/clients/cafe"):
        assert found(client, asked) == [("Café Madrid", page)]
    assert found(client, "cafe") == [
        ("Café Madrid", page),
        ("Oleada Café", f"/admin/credentials/client/?group={group.pk}"),
    ]
    at_run = (f"Migration {run.pk}", f"/admin/migration/run/{run.pk}/change/")
    for asked in (f"Migration {run.pk}", f"migration #{run.pk}"):
        assert found(client, asked) == [at_run]
    assert at_run in found(client, str(run.pk))
    assert found(client, f"push {run.pk}") == []
    at_campaign = f"/admin/migration/campaign/{campaign.pk}/change/"
    assert found(client, f"Campaign {campaign.pk}") == [(f"Campaign {campaign.pk}", at_campaign)]
    assert ("Mismatches", "/admin/migration/comparison/report/") in found(client, "mismatch")


def test_nobody_finds_what_they_may_not_see(things, client):
    login(client, "new")

    run, campaign = things[1], things[3]
    for asked in ("cafe", "barista", f"Migration {run.pk}", f"Campaign {campaign.pk}", "Audit"):
        assert found(client, asked) == [], asked
    login(client, "narrow", "credentials.view_client")
    assert found(client, "barista") == []
    assert len(found(client, "cafe")) == 1


def test_nothing_found_is_said_and_what_was_asked_is_escaped(things, client):
    login(client, "viewer", *ALL)

    for address in (SEARCH, f"{SEARCH}?extended=1"):
        page = client.get(
            address, {"s": "<b>nothing</b>"} | ({"extended": "1"} if "?" in address else {})
        )
        assert "Nothing is found for “<b>nothing</b>”." in text(page).replace("&lt;", "<")
        assert "<b>nothing" not in page.content.decode()
    assert client.get(SEARCH, {"s": "a\0b"}).status_code == 400
    for odd in ("9" * 400, "'", "%", "\\", " ", "x" * 5000):
        assert client.get(SEARCH, {"s": odd}).status_code == 200


def test_many_clients_lead_to_their_list_in_few_queries(db, client, django_assert_max_num_queries):
    make_many(30)
    login(client, "viewer", *ALL)
    found(client, "many")

    with django_assert_max_num_queries(12):
        places = found(client, "many")

    assert len(places) == 9
    assert places[-1] == ("All matching clients", "/admin/credentials/client/?q=many")
