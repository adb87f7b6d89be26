"""Who may see, change and add what."""

from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.urls import reverse

from tests.credentials.client_admin.forms import ADD, LIST, change, changed_columns, logins, stored
from tests.factories import VIEW, make_user, sent_form
from tests.page_forms import open_form


def test_nobody_deletes_a_client_or_a_login_here(root, idom):
    before = stored()

    assert (
        root.post(
            reverse("admin:credentials_client_delete", args=[idom]), {"post": "yes"}
        ).status_code
        == 403
    )
    root.post(LIST, {"action": "delete_selected", "_selected_action": [idom], "post": "yes"})
    page = root.get(logins(idom)).content.decode()
    assert "-DELETE" not in page
    root.post(change(idom), sent_form(page) | {"databases-0-DELETE": "on"})

    assert stored() == before
    assert "delete_selected" not in root.get(LIST).content.decode()


def test_a_viewer_sees_masks_and_nothing_to_type_into(client, idom):
    client.force_login(make_user("viewer", *VIEW))

    response = client.get(logins(idom))

    page = response.content.decode()
    assert response.status_code == 200
    assert "MARKER" not in page
    assert page.count("••••••••••••") == 3
    assert not [
        name for name in sent_form(page) if name.endswith(("name", "slug", "host", "user", "label"))
    ]
    assert 'type="password"' not in page
    assert "db.example.test" in page


def test_a_viewer_cannot_save(client, idom):
    client.force_login(User.objects.create_superuser("root"))
    data = open_form(client, change(idom))
    client.force_login(make_user("viewer", *VIEW))
    before = stored()

    assert (
        client.post(change(idom), data | {"name": "x", "databases-0-db_password": "x"}).status_code
        == 403
    )
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, data).status_code == 403

    assert stored() == before


def test_who_may_change_clients_but_only_view_logins_is_shown_masks_and_cannot_write_them(
    client, idom
):
    client.force_login(make_user("half", *VIEW, "credentials.change_client"))
    page = client.get(logins(idom)).content.decode()
    before = stored()

    assert "MARKER" not in page
    assert 'type="password"' not in page
    data = sent_form(page) | {"name": "x", "databases-0-db_password": "stolen"}
    assert client.post(change(idom), data).status_code == 302

    assert changed_columns(before, stored()) == {"clients.name", "clients.updated_at"}


def test_who_may_add_logins_but_not_change_them_is_offered_no_form_for_one(client, idom):
    add = ("credentials.add_databasecredential", "credentials.change_client")
    client.force_login(make_user("adder", *VIEW, *add))

    page = client.get(logins(idom)).content.decode()

    assert "MARKER" not in page
    assert 'type="password"' not in page


def test_who_may_see_clients_only_sees_no_login(client, idom):
    client.force_login(make_user("narrow", "credentials.view_client"))

    page = client.get(logins(idom))

    assert page.status_code == 200
    assert "db.example.test" not in page.content.decode()


def test_a_client_that_is_not_there_is_told_in_words(root):
    for key in ("abc", "0", "99999999", "99999999999999999999", "_00", "1%2F2"):
        response = root.get(f"{LIST}{key}/change/")

        assert response.status_code == 302
        messages = list(map(str, get_messages(response.wsgi_request)))
        assert "exist" in messages[-1], key
    assert root.get(response.url, follow=True).status_code == 200
