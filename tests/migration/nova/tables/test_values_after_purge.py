"""Purged clients with a value in a column that was mapped as secret only afterwards are named, and can be mended."""

import json

import pytest
from django.core.management import call_command
from django.urls import reverse

from credentials.models import ColumnUse
from migration.clients.offboarding import (
    OffboardingError,
    RowContent,
    find_leftovers,
    offboard_client,
)
from migration.core.problems import Look
from migration.nova import table_pages
from migration.nova.tables import find_purged_with_values, map_column
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user, update
from tests.migration.moves.clients import advance, compare_apart, enter_phase
from tests.migration.nova.tables.test_extras import CLIENTS, POINTER, in_aws, read, write
from tests.migration.nova.tables.test_mapping import advance_back

PAGE = reverse("admin:credentials_columnmapping_changelist")


@pytest.fixture
def purged(add_column, idom):
    """Two purged clients, one with a value in a new column that nobody has mapped; gives that column."""
    acme = make_full_client("acme")
    for pk in (idom, acme):
        enter_phase(pk, Phase.PURGED)
    column = add_column()
    write(column, "example-token", idom)
    return column


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def test_mapping_command_doctor_and_page_name_them_and_nobody_where_the_value_may_stay(
    purged, idom, client, monkeypatch, capsys
):
    for use in (ColumnUse.PLAIN, ColumnUse.IGNORE):
        mapped = map_column(name=purged, use=use)
        assert (mapped.purged_with_values, mapped.message.key) == ([], "mapped")

    mapped = map_column(name=purged, use=ColumnUse.SECRET)
    assert mapped.purged_with_values == [(idom, "idom")]
    assert [message.key for message in mapped.message.parts] == ["mapped", "purged_keep_values"]
    assert "A purged client still has a value in" in str(mapped.message)
    assert "idom. Restore it, then purge it again" in str(mapped.message)

    call_command("nova_tables", "map", purged, "secret", "--format", "json")
    found = json.loads(capsys.readouterr().out)
    call_command("nova_tables", "map", purged, "secret")
    lines = capsys.readouterr().out.splitlines()
    assert (found["purged_with_values"], found["purged_clients"]) == (1, ["idom"])
    assert lines[1:] == ["    idom"]

    states = [(str(f.state), f.message.key) for f in find_purged_with_values(Look())]
    assert states == [("failed", "purged_keep_values")]

    address = reverse("admin:credentials_client_change", args=[idom])
    for permissions, linked in (((), False), (("credentials.view_client",), True)):
        client.force_login(
            make_user(f"user{linked}", "credentials.view_columnmapping", *permissions)
        )
        shown = text_of(client.get(PAGE))
        assert "1 purged client still has a value in it." in shown
        assert (address in shown, "idom" in shown, "acme" in shown) == (linked, True, False)
        assert "example-token" not in shown
    write(purged, "example-token", make_purged("beta"))
    monkeypatch.setattr(table_pages, "MOST_CLIENTS", 1)
    shown = text_of(client.get(PAGE))
    assert "2 purged clients still have a value in it." in shown
    assert "and 1 more." in shown


def make_purged(slug: str) -> int:
    pk = make_full_client(slug)
    enter_phase(pk, Phase.PURGED)
    return pk


def test_restored_pushed_and_purged_again_they_have_a_pointer_and_aws_the_value(
    add_column, idom, sm
):
    enter_phase(idom, Phase.PURGED)
    columns = [add_column(), add_column(table=CLIENTS)]
    for column in columns:
        write(column, "example-token", idom)
        map_column(name=column, use=ColumnUse.SECRET)

    advance_back(idom)
    assert [read(column, idom) for column in columns] == [["example-token"]] * 2
    push(client_ids=[idom])
    compare_apart(idom)
    advance(idom, Phase.PURGED)

    assert [read(column, idom) for column in columns] == [[POINTER]] * 2
    document = in_aws(sm)
    for holder in (document, document["database"]):
        assert holder["extra"] == {"refresh_token": "example-token"}
    assert [f.message.key for f in find_purged_with_values(Look())] == ["none_purged_with_values"]


def test_a_client_that_is_about_to_leave_is_told_of_them_and_stays(purged, idom):
    update("clients", idom, is_active=False)
    assert {row.holds for row in find_leftovers(client_id=idom).rows} == {RowContent.POINTERS}
    map_column(name=purged, use=ColumnUse.SECRET)

    left = find_leftovers(client_id=idom)

    assert [row.holds for row in left.rows].count(RowContent.VALUES) == 1
    with pytest.raises(OffboardingError, match="after the purge"):
        offboard_client(client_id=idom, reason="CHG-7")
