"""Every act as every role, for one client and for two: who sees its page, and that opening it changes nothing."""

import pytest
from django.contrib.auth.models import Permission

from migration.core.clients import VIEW_CLIENTS
from migration.core.pages import get_act_url
from migration.people.roles import ROLES
from migration.runs.acts import ACTS, Menu
from tests.factories import make_full_client, make_in_role
from tests.migration.pages import CLIENTS
from tests.migration.people.test_roles import everything_stored

pytestmark = pytest.mark.usefixtures("stores")


@pytest.mark.parametrize("role", ROLES)
def test_its_page_is_for_who_may_do_it_and_changes_nothing(client, role):
    ids = [make_full_client(slug) for slug in ("acme", "idom")]
    user = make_in_role("somebody", role)
    client.force_login(user)
    client.get(CLIENTS)
    before = everything_stored()

    for code, act in ACTS.items():
        wanted = 200 if act.may(user) and user.has_perm(VIEW_CLIENTS) else 403
        for some in (ids[:1], ids) if act.takes_many else (ids[:1],):
            url = get_act_url(code, some)
            assert client.get(url).status_code == wanted, (code, len(some))
            # Without its button nothing is done, and with an empty form neither.
            named = {"clients": " ".join(map(str, some))}
            assert client.post(url, named).status_code == wanted, (code, len(some))

    assert everything_stored() == before


@pytest.mark.parametrize("role", ROLES)
def test_the_list_offers_what_the_role_may_do_to_several_each_in_its_menu(client, role):
    make_full_client("idom")
    user = make_in_role("somebody", role)
    client.force_login(user)

    page = client.get(CLIENTS)
    if page.status_code == 403:
        return
    choices = page.context["action_form"].fields["action"].choices
    grouped = {label: dict(names) for label, names in choices if isinstance(names, list)}
    offered = {name for names in grouped.values() for name in names}

    may = {code for code, act in ACTS.items() if act.takes_many and act.menu and act.may(user)}
    assert may <= offered
    assert not offered & (ACTS.keys() - may)
    for names in grouped.values():
        assert all(str(names[code]).endswith("…") for code in names if code in ACTS)
    assert len(grouped) <= len(Menu)


def test_the_menu_of_a_client_has_the_acts_that_its_page_lacks_and_the_user_may_do(client):
    pk = make_full_client("idom")
    user = make_in_role("operator", "Operator")
    client.force_login(user)

    page = client.get(f"{CLIENTS}{pk}/change/")

    wanted = [code for code, act in ACTS.items() if act.in_client_menu and act.may(user)]
    urls = [url for _label, url in page.context["menu"]]
    assert [url.partition("/act/")[2].partition("/")[0] for url in urls] == wanted
    assert all(client.get(url).status_code == 200 for url in urls)
    assert all(url in page.content.decode().replace("&amp;", "&") for url in urls)


def test_of_every_act_it_is_known_who_may_do_it():
    known = {
        f"{app}.{name}"
        for app, name in Permission.objects.values_list("content_type__app_label", "codename")
    }

    assert {act.permission for act in ACTS.values()} <= known
