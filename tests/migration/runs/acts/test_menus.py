"""Where acts are offered: in the list's menus and in that of a client's page, each to who may do them."""

import pytest

from migration.people.roles import ROLES
from migration.runs.acts import ACTS, Menu
from tests.factories import make_full_client, make_in_role
from tests.migration.pages import CLIENTS

# Beside what they are about, on the client's page itself.
ELSEWHERE = {
    *("dual_read", "cutover", "rollback", "back_to_dual_write", "back_to_postgres"),
    *("restore", "purge", "copy_to_aws", "copy_to_postgres", "acknowledge"),
    *("layout_client", "layout_service", "adopt", "set_owner"),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.usefixtures("stores")
def test_the_list_offers_what_the_role_may_do_to_several_each_in_its_menu(client, role):
    make_full_client("idom")
    user = make_in_role("somebody", role)
    client.force_login(user)

    page = client.get(CLIENTS)
    if page.status_code == 403:
        return
    grouped = {
        menu.code: {item.name: item.label for item in menu.items} for menu in page.context["menus"]
    }
    offered = {name for names in grouped.values() for name in names}

    may = {code for code, act in ACTS.items() if act.takes_many and act.menu and act.may(user)}
    assert may <= offered
    assert not offered & (ACTS.keys() - may)
    for names in grouped.values():
        assert all(str(names[code]).endswith("…") for code in names if code in ACTS)
    assert len(grouped) <= len(Menu)


@pytest.mark.usefixtures("stores")
def test_the_menu_of_a_client_has_the_acts_that_its_page_lacks_and_the_user_may_do(client):
    pk = make_full_client("idom")
    user = make_in_role("operator", "Operator")
    client.force_login(user)

    page = client.get(f"{CLIENTS}{pk}/change/")

    wanted = [code for code, act in ACTS.items() if act.in_client_menu and act.may(user)]
    urls = [url for _label, url in page.context["menu"]]
    # After the acts stands the way out, which has a page of its own.
    assert urls.pop().endswith("/leaving/")
    codes = [url.partition("/act/")[2].partition("/")[0] for url in urls]
    assert codes == wanted
    assert not ELSEWHERE & {*codes}
    assert all(client.get(url).status_code == 200 for url in urls)
    assert all(url in page.content.decode().replace("&amp;", "&") for url in urls)
