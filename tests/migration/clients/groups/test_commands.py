"""Groups by commands: `group`, and `--group` of the commands over clients."""

import json

import pytest
from django.core.management import CommandError, call_command

from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientGroup
from tests.factories import make_full_client, make_user


@pytest.fixture
def printed(capsys):
    """Runs a command in this process, and gives the object that it printed."""

    def printed(*arguments: str):
        call_command(*arguments, "--format", "json")
        return json.loads(capsys.readouterr().out)

    return printed


def refusal_of(*arguments: str) -> str:
    with pytest.raises(CommandError) as refusal:
        call_command(*arguments)
    assert refusal.value.returncode == 2
    return str(refusal.value)


def test_clients_are_put_into_a_group_and_taken_out(wave, printed):
    assert printed("group", "add", "WAVE 1", "idom", "acme") == {
        "group": "Wave 1",
        "clients": 2,
        "added": ["acme"],
        "removed": [],
    }
    assert printed("group", "remove", "wave 1", "idom") == {
        "group": "Wave 1",
        "clients": 1,
        "added": [],
        "removed": ["idom"],
    }


def test_a_group_is_made_of_another_in_the_name_of_a_user(wave, printed):
    make_user("maria", "migration.change_clientgroup")

    assert printed("group", "add", "Spain", "--group", "wave 1", "--by", "maria")["added"] == [
        "idom"
    ]
    newest = AuditEvent.objects.filter(code="client_group", slug="idom").latest("pk")
    assert newest.who == "maria"


def test_as_text_the_slugs_and_the_number_are_printed(wave, capsys):
    call_command("group", "add", "wave 1", "--all")

    assert capsys.readouterr().out.splitlines() == [
        "acme",
        "1 put into Wave 1, which has 2 clients now",
    ]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["group", "remove", "Spain", "idom"], "unknown group: Spain"),
        (["group", "add", "Spain", "nobody"], "unknown client: nobody"),
        (["group", "add", "Spain"], "name clients by slug"),
        (["group", "add", " ", "idom"], "give the group a name"),
        (["group", "add", "Spain", "idom", "--by", "nobody"], "unknown user"),
        (["migrate_clients", "--group", "Spain"], "unknown group: Spain"),
        (["compare_clients", "--group", ""], "unknown group"),
        (["compare_clients", "idom", "--group", "wave 1"], "--group, --all-in and --all"),
        (["compare_clients", "--all", "--all-in", "postgres"], "--group, --all-in and --all"),
    ],
)
def test_wrong_use_changes_nothing(wave, arguments, why):
    assert why in refusal_of(*arguments)
    assert [*ClientGroup.objects.values_list("name", flat=True)] == ["Wave 1"]


def test_a_wave_is_migrated_and_compared_and_nobody_else(stores, printed):
    make_full_client("idom"), make_full_client("acme")
    ClientGroup.objects.get_or_add("wave 1").put_clients(all_clients().filter(slug="idom"))

    done = printed("migrate_clients", "--group", "Wave 1", "--inline")
    compared = printed("compare_clients", "--group", "wave 1", "--inline")

    assert [item["slug"] for item in done["items"]] == ["idom"]
    assert [(item["slug"], item["status"]) for item in compared["items"]] == [("idom", "match")]
