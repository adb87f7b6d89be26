"""That no page is Django's own as it comes: each address of each model is this site's, leads there, or is refused."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.template.loader import get_template
from django.template.loader_tags import ExtendsNode
from django.template.response import TemplateResponse
from django.urls import reverse

from migration.core.groups import ClientGroup
from tests.factories import make_in_role
from tests.migration.pages import every_page
from tests.page_forms import refusals_left_out

# By the name of the template, which this site doesn't have in place of Django's or Unfold's.
RAW = {
    "admin/app_index.html",
    "admin/object_history.html",
    "admin/delete_confirmation.html",
    "admin/delete_selected_confirmation.html",
    "registration/password_change_done.html",
}
# Forms that Unfold lays out, of what people do edit: a group of clients, a user, a group of users.
FORMS = {"migration_clientgroup", "auth_user", "auth_group"}
# The pages of people have tests of their own.
OF_PEOPLE = ("auth_user", "auth_group")
LISTS = [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry]


def list_addresses() -> dict[str, str]:
    """Each address of each model, with the model's name; some have no row, others none of the pages."""
    addresses = {}
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        page = reverse(f"admin:{name}_changelist")
        row = model._base_manager.values_list("pk", flat=True).first() or 1
        of_row = (f"{row}/{each}/" for each in ("change", "delete", "history"))
        addresses |= {f"{page}{each}": name for each in ("", "add/", f"{row}/", *of_row)}
    site = ("password_change/", "password_change/done/", "auth/", "credentials/", "migration/")
    return addresses | {f"/admin/{each}": "" for each in site}


def list_templates(response) -> set[str]:
    """The template of an answer, and those that it extends; it is not rendered."""
    if not isinstance(response, TemplateResponse):
        return set()
    found = response.resolve_template(response.template_name).template
    names: set[str] = set()
    # One of Unfold's extends the one of Django's that has its name.
    while found.name not in names:
        names.add(found.name)
        for parent in found.nodelist.get_nodes_by_type(ExtendsNode):
            found = get_template(parent.parent_name.resolve(response.context_data)).template
    return names


def test_no_address_shows_a_page_as_django_has_it(stores, client):
    every_page()
    ClientGroup.objects.create(name="west")
    # The other roles see some pages as the superuser does, the rest as a viewer.
    roles = ("Viewer", "User administrator")
    users = [User.objects.create_superuser("root"), *(make_in_role(each, each) for each in roles)]

    addresses = list_addresses()
    for user in users:
        client.force_login(user)
        with refusals_left_out():
            answers = {address: client.get(address) for address in addresses}
        for address, answer in answers.items():
            name = addresses[address]
            assert answer.status_code in (200, 301, 302, 403, 404), address
            shown = list_templates(answer)
            assert answer.status_code != 200 or shown, address
            raw = RAW if name not in OF_PEOPLE else RAW - {"admin/object_history.html"}
            assert not shown & raw, address
            assert (
                "admin/change_form.html" not in shown
                or name in FORMS
                or name == "credentials_client"
            ), address


def test_histories_and_apps_lead_to_pages_of_this_site(viewer):
    every_page()
    group = ClientGroup.objects.create(name="west")
    page = f"/admin/migration/clientgroup/{group.pk}/"

    assert viewer.get(f"{page}history/").url == f"{page}change/"
    for app in ("credentials", "migration"):
        assert viewer.get(f"/admin/{app}/").url == "/admin/"
    assert viewer.get("/admin/auth/").url == "/admin/people/"


def test_a_nul_in_a_search_is_answered_with_a_page_in_development_too(admin_client, settings):
    for debug in (False, True):
        settings.DEBUG = debug
        for name in LISTS:
            answer = admin_client.get(reverse(f"admin:{name}_changelist"), {"q": "\0"})

            assert answer.status_code == 400, name
            assert "error.html" in {each.name for each in answer.templates}, name


def test_a_page_that_is_gone_is_told_by_the_site_in_development_too(admin_client, settings):
    settings.DEBUG = True

    answer = admin_client.get("/admin/migration/no-such-model/")

    assert answer.status_code == 404
    assert "error.html" in {each.name for each in answer.templates}


@pytest.mark.parametrize(
    "name",
    # The list of clients says it in its own page.
    sorted({*LISTS} - {"credentials_client", "credentials_columnmapping", "migration_auditevent"}),
)
def test_an_empty_list_says_so_and_what_to_do_next(admin_client, name):
    model_admin = next(
        each
        for model, each in admin.site._registry.items()
        if f"{model._meta.app_label}_{model._meta.model_name}" == name
    )
    page = admin_client.get(reverse(f"admin:{name}_changelist"), {"q": "no such thing"})
    assert page.status_code == 200
    if name in OF_PEOPLE:
        return

    assert model_admin.nothing_yet
    label, address = getattr(model_admin, "next_page", ("", ""))
    if address:
        assert label
        assert admin_client.get(str(address)).status_code == 200
        empty = admin_client.get(reverse(f"admin:{name}_changelist")).content.decode()
        assert f'href="{address}"' in empty


def test_who_changed_their_password_is_led_to_the_dashboard_and_told(client, stores):
    user = User.objects.create_user("somebody", password="a former pass phrase", is_staff=True)
    client.force_login(user)
    new = {"new_password1": "another pass phrase", "new_password2": "another pass phrase"}

    answer = client.post(
        "/admin/password_change/", {"old_password": "a former pass phrase", **new}, follow=True
    )

    assert answer.redirect_chain[-1][0] == "/admin/"
    assert [message.level_tag for message in answer.context["messages"]] == ["success"]
