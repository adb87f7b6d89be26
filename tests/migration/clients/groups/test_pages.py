"""The pages of client groups: list, forms, filter, the bulk actions and the page of a client."""

import pytest
from django.contrib.messages import get_messages
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientGroup, GroupMember
from tests.factories import VIEW, make_client, make_full_client, make_many
from tests.migration.pages import CLIENTS, login, page_of, text
from tests.page_forms import pages_left_out

GROUPS = "/admin/migration/clientgroup/"
PUT, TAKE = f"{CLIENTS}act/put_into_group/", f"{CLIENTS}act/take_out_of_group/"


def slugs_of(name: str) -> list[str]:
    group = ClientGroup.objects.get(name=name)
    return sorted(all_clients().in_group(group.pk).values_list("slug", flat=True))


def ids_of(*slugs: str) -> str:
    return " ".join(str(all_clients().get(slug=slug).pk) for slug in slugs)


def said(response) -> str:
    return " ".join(map(str, get_messages(response.wsgi_request)))


def newest_message(response) -> str:
    return [str(each) for each in get_messages(response.wsgi_request)][-1]


def choose(client, action: str, *slugs: str, **more: str):
    """The page that an action of the list opens."""
    data = {"action": action, "_selected_action": ids_of(*slugs).split()}
    return client.get(client.post(more.pop("url", CLIENTS), data | more).url)


def send(client, url: str, clients: str, **typed):
    return client.post(url, {"confirmed": "1", "clients": clients, **typed})


def errors_of(response) -> dict[str, list[str]]:
    return dict(response.context_data["form"].errors)


def test_the_list_has_the_clients_of_each_phase_as_links(wave, maria, client):
    words = client.get(GROUPS).content.decode()

    assert "Wave 1" in words
    assert f'href="{CLIENTS}?group={wave.pk}&amp;phase=postgres">1</a>' in words


def test_the_list_asks_no_more_queries_for_more_groups(wave, maria, client):
    def count_queries() -> int:
        client.get(GROUPS)
        with CaptureQueriesContext(connection) as captured:
            client.get(GROUPS)
        return len(captured)

    first = count_queries()
    make_many(50)
    for number in range(2, 12):
        ClientGroup.objects.get_or_add(f"Wave {number}").put_clients(all_clients())

    assert count_queries() == first


def test_a_group_is_added_renamed_and_deleted_by_name(wave, maria, client):
    assert client.post(f"{GROUPS}add/", {"name": " Spain "}).status_code == 302
    spain = ClientGroup.objects.get(name="Spain")
    assert (
        client.post(page_of("migration_clientgroup", spain.pk), {"name": "España"}).status_code
        == 302
    )
    assert "Its 1 client does not change." in text(client.get(f"{GROUPS}{wave.pk}/delete/"))
    assert client.post(f"{GROUPS}{wave.pk}/delete/", {"post": "yes"}).status_code == 302

    assert [*ClientGroup.objects.values_list("name", flat=True)] == ["España"]
    made = AuditEvent.objects.filter(code="client_group", who="maria").order_by("pk")
    assert [str(event.message) for event in made] == [
        "Added the group Spain.",
        "Renamed the group Spain to España.",
        "Deleted the group Wave 1 with 1 client.",
    ]
    assert all_clients().count() == 2


def test_a_name_that_is_taken_or_none_is_refused_with_a_word(wave, maria, client):
    other = ClientGroup.objects.get_or_add("Spain")
    for url in (f"{GROUPS}add/", page_of("migration_clientgroup", other.pk)):
        for typed in ("wave 1", "WAVE  1"):
            answer = client.post(url, {"name": typed})
            assert "already" in newest_message(answer)
    for typed in ("", " ", "a\0b", "a\u202eb", "x" * 101):
        with pages_left_out():
            response = client.post(f"{GROUPS}add/", {"name": typed})

        assert response.context_data["errors"]
    assert [*ClientGroup.objects.order_by("pk").values_list("name", flat=True)] == [
        "Wave 1",
        "Spain",
    ]


@pytest.mark.parametrize("page", ["change/", "delete/"])
def test_a_group_that_goes_while_its_page_is_sent_is_said_to_be_gone(
    wave, maria, client, page, monkeypatch
):
    from migration.clients.groups import ClientGroupAdmin

    name = "save_model" if page == "change/" else "delete_model"
    real = getattr(ClientGroupAdmin, name)

    def act_late(self, *args):
        ClientGroup.objects.all().delete()
        real(self, *args)

    monkeypatch.setattr(ClientGroupAdmin, name, act_late)
    response = client.post(f"{GROUPS}{wave.pk}/{page}", {"name": "Spain", "post": "yes"})

    assert "has been deleted since" in said(response)


def test_the_clients_are_narrowed_by_group(wave, maria, client):
    for value, slugs in (
        (wave.pk, ["idom"]),
        ("none", ["acme"]),
        ("x", ["acme", "idom"]),
        ("999999999999999999", []),
    ):
        with pages_left_out():
            found = client.get(f"{CLIENTS}?group={value}").context_data["cl"].result_list

        assert [row.slug for row in found] == slugs, value


def test_the_page_of_a_client_links_to_its_groups(wave, maria, client):
    pk = make_full_client("other")
    wave.put_clients(all_clients().filter(pk=pk))

    words = client.get(page_of("credentials_client", pk)).content.decode()

    assert f'href="{CLIENTS}?group={wave.pk}">Wave 1</a>' in words


def test_chosen_clients_are_put_into_a_group_and_taken_out(wave, maria, client):
    page = choose(client, "put_into_group", "idom", "acme")
    assert page.context_data["number"] == 2
    put = send(client, PUT, page.context_data["shown"], group=wave.pk)
    assert said(put) == "1 client was put into Wave 1. 1 client was already in it."
    assert slugs_of("Wave 1") == ["acme", "idom"]

    page = choose(client, "take_out_of_group", "idom", "acme")
    assert "Wave 1 (2)" in text(page)
    taken = send(client, TAKE, ids_of("idom"), group=wave.pk)
    assert said(taken).endswith("1 client was taken out of Wave 1.")
    assert slugs_of("Wave 1") == ["acme"]


def test_opening_the_pages_changes_nothing(wave, maria, client):
    for action in ("put_into_group", "take_out_of_group"):
        assert choose(client, action, "idom", "acme").status_code == 200

    assert slugs_of("Wave 1") == ["idom"]


def test_a_new_group_is_made_on_the_way(wave, maria, client):
    answer = send(client, PUT, ids_of("acme"), group="", new_name=" Spain ")

    assert answer.url == f"{CLIENTS}?group={ClientGroup.objects.get(name='Spain').pk}"
    assert slugs_of("Spain") == ["acme"]


def test_without_one_group_or_one_client_nothing_changes(wave, maria, client):
    for typed, field in (
        ({}, "__all__"),
        ({"group": "0"}, "group"),
        ({"group": wave.pk, "new_name": "Spain"}, "__all__"),
        ({"new_name": "x" * 101}, "new_name"),
    ):
        with pages_left_out():
            response = send(client, PUT, ids_of("acme"), **typed)

        assert response.status_code == 200
        assert set(errors_of(response)) == {field}
        assert response.context_data["shown"].startswith(ids_of("acme"))
    words = text(send(client, PUT, ids_of("acme")))
    assert "choose a group, or enter a new name" in words
    # Clients that are none lead back to the list; those that are gone are put nowhere.
    for clients in ("", "x 1.5 -1", "9" * 5000):
        response = send(client, PUT, clients, group=wave.pk)
        assert (response.status_code, response.url) == (302, CLIENTS), clients
    assert send(client, PUT, "99999999:", group=wave.pk).status_code == 302
    assert send(client, PUT, "\0", group="").status_code == 400
    for field in ("group", "new_name", "first"):
        send(client, PUT, ids_of("acme", "idom"), **{"new_name": "Spain", field: "\0"})
    assert slugs_of("Wave 1") == ["idom"]
    assert [*ClientGroup.objects.values_list("name", flat=True)] == ["Wave 1"]


def test_all_two_thousand_of_a_filter_go_into_a_group_while_the_user_waits(wave, maria, client):
    make_many(2000, phase="dual_read")
    url, one = f"{CLIENTS}?phase=dual_read", "many-3"

    page = choose(client, "put_into_group", one, url=url, select_across="1")
    assert page.context_data["number"] == 2000
    # It names a hundred of them.
    assert len(page.content) < 200_000
    with CaptureQueriesContext(connection) as captured:
        response = send(client, PUT, page.context_data["shown"], group=wave.pk)

    assert said(response).startswith("2,000 clients were put into Wave 1.")
    assert GroupMember.objects.filter(group=wave).count() == 2001
    assert len(captured) < 30


def test_who_changed_otherwise_since_the_page_was_opened_is_put_into_it_too(wave, maria, client):
    page = choose(client, "put_into_group", "acme")
    enter = {"slug": "renamed", "is_active": False}
    all_clients().filter(slug="acme").update(**enter)

    send(client, PUT, page.context_data["shown"], group=wave.pk)

    assert slugs_of("Wave 1") == ["idom", "renamed"]


def test_where_the_clients_are_not_put_into_it_there_is_no_new_group(
    wave, maria, client, monkeypatch
):
    def fail(*_events):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(AuditEvent.objects, "insert_already_signed", fail)

    with pytest.raises(OperationalError):
        send(client, PUT, ids_of("acme"), new_name="Spain")
    with pytest.raises(OperationalError):
        call_command("group", "add", "Spain", "acme")

    assert not ClientGroup.objects.filter(name="Spain").exists()


def test_a_viewer_is_offered_no_action_and_no_form(wave, client):
    login(client, "viewer", *VIEW, "migration.view_clientgroup")

    assert "put_into_group" not in client.get(CLIENTS).content.decode()
    assert (
        'name="name"' not in client.get(page_of("migration_clientgroup", wave.pk)).content.decode()
    )
    assert send(client, PUT, ids_of("acme")).status_code == 403


def test_who_may_make_no_group_makes_none_by_typing_its_name(wave, client):
    login(client, "helper", *VIEW, "migration.change_clientgroup")

    with pages_left_out():
        send(client, PUT, ids_of("acme"), new_name="Spain")

    assert not ClientGroup.objects.filter(name="Spain").exists()


def test_where_none_is_in_a_group_the_page_says_so(wave, maria, client):
    make_client("more")
    page = choose(client, "take_out_of_group", "acme", "more")

    assert page.context_data["number"] == 0
    assert "It is in no group." in text(page)


def test_who_is_in_no_group_is_nothing_to_do_for(wave, maria, client):
    page = choose(client, "take_out_of_group", "acme", "idom")

    numbers = {each["verdict"]: each["number"] for each in page.context_data["groups"]}
    assert numbers == {"will": 1, "nothing": 1}


def test_the_first_of_a_selection_go_into_a_group_as_the_list_orders_them(wave, maria, client):
    make_many(5, phase="dual_read")
    url, one = f"{CLIENTS}?phase=dual_read&o=-1", "many-3"
    page = choose(client, "put_into_group", one, url=url, select_across="1")

    response = send(client, PUT, page.context_data["shown"], new_name="Two", first=" 2 ")

    assert slugs_of("Two") == ["many-6", "many-7"]
    assert said(response).endswith("4 clients are in no group.</a>")
    assert f'href="{CLIENTS}?group=none"' in said(response)


def test_the_first_of_those_that_were_ticked_are_the_first_of_the_list(wave, maria, client):
    make_many(5, phase="dual_read")
    ticked = ("many-4", "many-7", "many-6")
    page = choose(client, "put_into_group", *ticked, url=f"{CLIENTS}?phase=dual_read&o=-1")

    send(client, PUT, page.context_data["shown"], new_name="Two", first="2")

    assert slugs_of("Two") == ["many-6", "many-7"]


def test_a_number_of_first_clients_that_there_are_not_changes_nothing(wave, maria, client):
    for first in ("0", "3", "-1", "one", "9" * 5000):
        with pages_left_out():
            response = send(client, PUT, ids_of("acme", "idom"), new_name="Spain", first=first)

        refused = str(errors_of(response))
        assert "of the 2 chosen clients you can take the first 1 to 2" in refused, first
    assert not ClientGroup.objects.filter(name="Spain").exists()


def test_who_takes_clients_out_takes_all_that_are_chosen(wave, maria, client):
    wave.put_clients(all_clients())

    send(client, TAKE, ids_of("acme", "idom"), group=wave.pk, first="1")

    assert slugs_of("Wave 1") == []


def test_a_new_group_leads_to_the_clients_that_are_in_none(wave, maria, client):
    response = client.post(f"{GROUPS}add/", {"name": "Spain"})

    assert response.url == f"{CLIENTS}?group=none"
    assert "Select the clients for Spain" in said(response)


def test_the_form_of_a_group_has_one_button(wave, maria, client):
    for page in (f"{GROUPS}add/", f"{GROUPS}{wave.pk}/change/"):
        html = client.get(page).content.decode()
        assert 'name="_save"' in html
        assert "_addanother" not in html
        assert "_continue" not in html
