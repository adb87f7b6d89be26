"""The page of the list: its columns, menus and scripts, and what a row weighs."""

import re

import pytest

from migration.core.clients import all_clients
from migration.models import ClientGroup
from migration.runs.acts import ACTS
from tests.factories import VIEW, make_client, make_full_client, make_many
from tests.migration.pages import CLIENTS, login, text


def list_columns(page) -> list[str]:
    return [head.name for head in page.context["headers"]]


ALWAYS = ["name_shown", "phase_shown", "next_step_shown", "both_stores", "read_when"]


def test_owner_groups_and_time_are_columns_that_the_address_adds(operator):
    make_client("idom")
    ClientGroup.objects.get_or_add("Wave 1").put_clients(all_clients())

    assert list_columns(operator.get(CLIENTS)) == ALWAYS
    page = operator.get(f"{CLIENTS}?columns=groups&columns=since&columns=nonsense&phase=postgres")

    assert list_columns(page) == [
        "name_shown", "phase_shown", "time_in_phase", *ALWAYS[2:], "groups_shown",
    ]  # fmt: skip
    assert "Wave 1" in text(page)
    # Whatever else is chosen then keeps them.
    for chip in page.context["chips"]:
        assert "columns=groups&columns=since" in chip.url
    assert 'name="columns" value="since"' in page.content.decode()
    assert page.context["cl"].result_count == 1


def test_who_may_see_no_group_has_no_column_of_groups(transactional_db, client):
    login(client, "viewer", *VIEW)
    make_client("idom")

    page = client.get(f"{CLIENTS}?columns=groups&columns=owner")

    assert list_columns(page) == [*ALWAYS, "owner_shown"]
    assert [value for value, *_ in page.context["more_columns"]] == ["owner", "since"]


def test_the_menus_have_the_acts_that_the_user_may_do_and_a_row_the_purge_too(operator):
    make_client("idom")

    page = operator.get(CLIENTS)

    offered = {item.name for menu in page.context["menus"] for item in menu.items}
    assert offered - {"download", "start_campaign"} == {
        act.code
        for act in ACTS.values()
        if act.takes_many and act.menu and act.may(page.wsgi_request.user)
    }
    assert [menu.code for menu in page.context["menus"]] == ["move", "logins", "more"]
    moves = {item.name: item.phase for item in page.context["menus"][0].items}
    assert (moves["cutover"], moves["push"]) == ("dual_read", "")
    assert page.context["may_compare"]
    user = page.wsgi_request.user
    assert [item.name for item in page.context["for_one"]] == ["purge"] * ACTS["purge"].may(user)


def test_a_viewer_is_offered_nothing_but_the_file(transactional_db, client):
    login(client, "viewer", *VIEW)
    make_client("idom")

    page = client.get(CLIENTS)

    assert [item.name for menu in page.context["menus"] for item in menu.items] == ["download"]
    assert (page.context["may_compare"], page.context["for_one"]) == (False, [])
    assert "compare_selected" not in page.content.decode()


def test_a_row_weighs_no_more_than_3_kb(operator):
    make_full_client("first")
    make_many(49, phase="dual_read", status="mismatch")

    rows = operator.get(f"{CLIENTS}?columns=owner&columns=since").context["rows"]

    assert len(rows) == 50
    assert max(len(row.encode()) for row in rows) <= 3000


def test_the_page_loads_no_script_that_it_does_not_use(operator):
    make_client("idom")

    loaded = set(
        re.findall(r'<script src="[^"]*?([^/"]+)"', operator.get(CLIENTS).content.decode())
    )

    assert (
        loaded & {"chart.js", "actions.js", "jquery.js", "core.js", "jsi18n", "urlify.js"} == set()
    )
    assert {"client_list.js", "keep_selection.js"} <= loaded


@pytest.mark.parametrize(
    ("query", "words"), [("", "No clients yet."), ("?phase=aws", "No client matches.")]
)
def test_an_empty_list_says_what_to_do_next(operator, query, words):
    assert words in text(operator.get(f"{CLIENTS}{query}"))


def test_all_on_one_page_are_compared_by_one_choice(operator):
    make_client("a"), make_client("b")
    form = dict(
        re.findall(r'name="(shown_\w+)" value="([^"]*)"', operator.get(CLIENTS).content.decode())
    )
    chosen = {"action": "compare_selected", "_selected_action": ["1"], "select_across": "1"}

    operator.post(CLIENTS, form | chosen | {"index": "0"})

    from migration.runs.models import Run

    assert Run.objects.get().items.count() == 2
