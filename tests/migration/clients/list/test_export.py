"""The CSV file of selected clients: what the list says of them, no secret value and no formula."""

import csv
import io
import re

import pytest
from django.contrib.auth.models import User

from migration.clients import list as client_list
from migration.clients.imports import store_import
from migration.core.clients import all_clients
from migration.models import ClientGroup, ClientOwner
from tests.factories import VIEW, make_client, make_database, make_full_client
from tests.migration.clients.imports.files import make_csv
from tests.migration.clients.list.conftest import put_in_phase
from tests.migration.pages import CLIENTS, login

FORMULA_SIGNS = tuple("=+-@＝＋－＠")
SECRETS = (
    "example-password-1",
    "example-app-password-2",
    "example/secret/access/key/that/is/no/key",
)


def download(browser, pks, **more) -> tuple[str, list[dict[str, str]]]:
    sent = {"action": "download", "index": "0", "_selected_action": pks, **more}
    response = browser.post(CLIENTS, sent)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/csv")
    body = b"".join(response.streaming_content).decode()
    return body, list(csv.DictReader(io.StringIO(body)))


def test_the_file_says_what_the_list_says(operator, monkeypatch):
    monkeypatch.setattr(client_list, "CHUNK", 2)
    first = make_full_client("first")
    evil = make_client("evil", name="=HYPERLINK(1)", is_active=None)
    make_database(evil, db_password_encrypted="=secret")
    behind = put_in_phase("behind", "dual_write", "mismatch")
    ClientOwner.objects.set_owner(all_clients(), User.objects.get(username="olga"))
    ClientGroup.objects.get_or_add("+Wave").put_clients(all_clients().filter(slug="first"))
    make_client("not-chosen")

    body, rows = download(operator, [first, evil, behind])

    assert [row["slug"] for row in rows] == ["behind", "evil", "first"]
    told = rows[2]
    assert (told["phase"], told["next_phase"], told["next_step"]) == (
        "postgres",
        "dual_write",
        "ready",
    )
    assert (told["secrets"], told["groups"], told["owner"]) == (
        "nova/clients/first",
        "'+Wave",
        "olga",
    )
    assert (rows[0]["next_step"], rows[0]["codes"]) == ("blocked", "newest_comparison")
    assert rows[0]["comparison"] == "mismatch"
    assert (rows[1]["name"], rows[1]["active"]) == ("'=HYPERLINK(1)", "no")
    assert not [secret for secret in (*SECRETS, "=secret") if secret in body]


@pytest.mark.parametrize(
    "name",
    [
        "x;=cmd|'/C calc'!A0;y",
        'x;"=1+1',
        "x\t@SUM(1)",
        "x\r\n-1",
        "x| ＋1",
        "\n=1",
        "\tx",
        " =1",
        "＝1",
        "＋1",
        "－1",
        "＠A1",
    ],
)
def test_no_cell_is_a_formula_whatever_separates_cells_for_who_reads_it(operator, name):
    evil = make_client("evil", name=name)

    body, (row,) = download(operator, [evil])

    assert row["name"].replace("'", "") == name.replace("'", "")
    for separator in ",;\t|":
        for cells in csv.reader(io.StringIO(body), delimiter=separator):
            assert not [cell for cell in cells if cell.lstrip(' "\n').startswith(FORMULA_SIGNS)]
    assert not row["name"].startswith(("\t", "\n", "\r"))
    # Also where the quotation marks are no help: the lines are read one by one.
    for cell in re.split(r"[;|\t\r\n]", row["name"]):
        assert not cell.lstrip(' "').startswith(FORMULA_SIGNS)


def test_every_cell_is_quoted(operator):
    body, _rows = download(operator, [make_client("plain", name="Plain")])
    for line in body.splitlines():
        assert line.count('"') == 2 * len(client_list.HEADINGS)


def test_a_name_comes_back_from_its_export_as_it_was(operator):
    make_full_client("evil", name="=HYPERLINK(1)")
    pk = all_clients().get(slug="evil").pk
    _body, (row,) = download(operator, [pk])

    file = make_csv({"slug": row["slug"], "name": row["name"]})
    result = store_import(data=file)

    assert (result.new, result.changed) == (0, 0)
    assert all_clients().get(pk=pk).name == "=HYPERLINK(1)"


def test_the_file_has_no_more_than_its_reader_may_see(transactional_db, client):
    pk = make_full_client("idom")
    ClientGroup.objects.get_or_add("Wave").put_clients(all_clients())
    login(client, "narrow", "credentials.view_client")

    _body, (row,) = download(client, [pk])

    assert (row["groups"], row["last_error"]) == ("", "")
    login(client, "viewer", *VIEW, "migration.view_clientgroup")
    assert download(client, [pk])[1][0]["groups"] == "Wave"
