"""Who looks after a client: set for one or many, shown, filtered by and recorded."""

from django.contrib.auth.models import User

from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientOwner
from tests.factories import VIEW, make_client, make_user
from tests.migration.pages import CLIENTS, login, text

OWNERS = f"{CLIENTS}act/set_owner/"
SELECT = {"action": "set_owner", "index": "0"}


def owners() -> dict[str, str]:
    rows = ClientOwner.objects.order_by("client__slug")
    return dict(rows.values_list("client__slug", "owner__username"))


def slugs(browser, query: str) -> list[str]:
    return [c.slug for c in browser.get(f"{CLIENTS}?{query}").context["cl"].result_list]


def set_owner(browser, *pks: int, owner: str, **options):
    sent = {"confirmed": "1", "clients": " ".join(map(str, pks)), "owner": owner}
    return browser.post(OWNERS, sent, **options)


def test_many_are_given_an_owner_and_filtered_by_it(operator):
    pks = [make_client(slug) for slug in ("a", "b", "c")]
    make_user("paco")
    assert "owner" not in [
        f.parameter_name for f in operator.get(CLIENTS).context["cl"].filter_specs
    ]

    opened = operator.post(CLIENTS, {**SELECT, "_selected_action": pks[:2]})
    assert operator.get(opened.url).context["number"] == 2
    assert owners() == {}
    for name in ("paco", "olga"):
        ids = pks[:2] if name == "paco" else pks[1:2]
        assert f"{name} now owns" in text(set_owner(operator, *ids, owner=name, follow=True))

    assert owners() == {"a": "paco", "b": "olga"}
    assert slugs(operator, "owner=mine") == ["b"]
    assert slugs(operator, "owner=none") == ["c"]
    assert slugs(operator, f"owner={User.objects.get(username='paco').pk}") == ["a"]
    assert "paco" in text(operator.get(f"{CLIENTS}?columns=owner"))
    acts = AuditEvent.objects.filter(code="owner").order_by("slug", "at")
    assert [(e.who, e.slug, str(e.message)) for e in acts] == [
        ("olga", "a", "The owner is now paco."),
        ("olga", "b", "The owner is now paco."),
        ("olga", "b", "The owner is now olga."),
    ]


def test_the_page_of_one_client_leads_to_it(operator):
    pk = make_client("idom")
    page = f"{OWNERS}?clients={pk}"
    assert f'href="{page}"' in operator.get(f"{CLIENTS}{pk}/change/").content.decode()
    # The address of former releases.
    assert operator.get(f"{CLIENTS}{pk}/owner/").url == page
    assert operator.post(f"{CLIENTS}{pk}/owner/", {"owner": "olga"}).status_code == 405
    assert "IDOM" in operator.get(page).context["title"]

    done = operator.post(page, {"confirmed": "1", "clients": pk, "owner": "olga"})
    assert done.url == f"{CLIENTS}{pk}/change/"
    assert owners() == {"idom": "olga"}
    assert 'value="olga" selected' in operator.get(page).content.decode()

    set_owner(operator, pk, owner="-")
    assert owners() == {}
    set_owner(operator, pk, owner="-")
    assert AuditEvent.objects.filter(code="owner", slug="idom").count() == 2


def test_nothing_is_changed_without_a_choice_or_for_who_can_own_nothing(operator):
    pk = make_client("idom")
    make_user("gone", is_active=False)
    make_user("outside", is_staff=False)

    assert "choose an owner" in text(set_owner(operator, pk, owner=""))
    for name in ("gone", "outside", "nobody-at-all"):
        assert set(set_owner(operator, pk, owner=name).context["form"].errors) == {"owner"}
    assert operator.get(f"{OWNERS}?clients=999999").status_code == 302
    assert owners() == {}


def test_who_may_not_set_owners_is_offered_nothing_and_refused(transactional_db, client):
    pk = make_client("idom")
    olga = make_user("olga")
    ClientOwner.objects.set_owner(all_clients(), olga)
    login(client, "viewer", *VIEW)

    page = client.get(f"{CLIENTS}?columns=owner")

    assert "olga" in text(page)
    assert "set_owner" not in page.content.decode()
    assert set_owner(client, pk, owner="viewer").status_code == 403
    assert owners() == {"idom": "olga"}


def test_the_owner_of_a_client_that_nova_has_deleted_is_in_nobodys_way(transactional_db, operator):
    pk = make_client("idom")
    ClientOwner.objects.set_owner(all_clients(), User.objects.get(username="olga"))
    all_clients().filter(pk=pk).delete()

    assert slugs(operator, "owner=mine") == []
