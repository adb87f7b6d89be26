"""Commands of two words, and the names that they had in former releases."""

import io
import json

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from migration.core.audit import COMMANDS_OF_TWO_WORDS
from migration.management.commands.steer_campaign import put_word_first
from migration.management.names import CommandGroup, OldName
from migration.models import ClientGroup, WriteStop
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_client, make_full_client
from tests.migration.moves.clients import enter_phase

OWN = [name for name, app in get_commands().items() if app in ("migration", "credentials")]


def run(*arguments: str, **options) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err, **options)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["campaign_status"], ["campaign", "status"]),
        (["steer_campaign", "--format", "json", "7", "stop"], ["campaign", "stop", "7"]),
        (["accept_objects", "--format", "json"], ["nova_tables", "accept", "--format", "json"]),
        (["import_legacy_clients", "--dry-run"], ["import_clients", "--legacy", "--dry-run"]),
        (["group_clients", "a", "idom"], ["group", "add", "a", "idom"]),
        (["group_clients", "a", "idom", "--remove"], ["group", "remove", "a", "idom"]),
        (["verify_audit", "--head", "no head"], ["audit", "verify", "--head", "no head"]),
        (["resume_run", "99"], ["run", "resume", "99"]),
        (
            ["map_column", "clients.none", "ignore"],
            ["nova_tables", "map", "clients.none", "ignore"],
        ),
    ],
    ids=" ".join,
)
def test_a_former_name_does_the_same_and_says_the_new_name(stores, old, new):
    make_client("idom")
    ClientGroup.objects.get_or_add("a")

    def outcome(arguments):
        try:
            return run(*arguments)
        except CommandError as error:
            return error.returncode, str(error), ""

    was, said, told = outcome(old)
    is_now, says, _told = outcome(new)

    if old[0] != "group_clients":  # which changes what the second finds
        assert (was, said) == (is_now, says)
    assert was == is_now
    if was == 0:
        assert f"{old[0]} is now `manage.py {new[0]} " in told


def test_a_former_name_takes_what_is_passed_by_keyword(stores):
    code, out, err = run("stop_aws_writes", reason="INC-42", format="json")

    assert (code, json.loads(out)["stopped"]) == (0, True)
    assert "aws_writes stop" in err
    assert WriteStop.objects.get().reason == "INC-42"


def test_the_word_of_a_campaign_stands_first_now():
    typed = ["3", "go_on", "--without-refused", "--reason", "stop"]

    assert put_word_first(typed) == ["campaign", "go_on", "3", *typed[2:]]


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "begin"], ["run", "--format", "json", "list"], ["run", "show", "seven"]],
    ids=" ".join,
)
def test_a_word_that_is_wrong_or_missing_is_wrong_use(db, arguments):
    with pytest.raises(CommandError) as refused:
        call_command(*arguments)

    assert refused.value.returncode == 2


def test_every_former_name_leads_to_a_command():
    commands = {name: load_command_class(get_commands()[name], name) for name in OWN}

    for command in commands.values():
        if isinstance(command, OldName):
            assert command.new_name.split()[0] in commands
            command.create_parser("manage.py", "former")
    groups = {name for name, command in commands.items() if isinstance(command, CommandGroup)}
    assert groups == COMMANDS_OF_TWO_WORDS, "the audit names a process by both words of these"


def test_wave_is_group_now_and_says_so(stores):
    make_full_client("idom"), make_full_client("acme")
    run("group", "add", "wave 1", "idom")

    _code, out, err = run("compare_clients", "--wave", "wave 1", "--inline", "--format", "json")

    assert [item["slug"] for item in json.loads(out)["items"]] == ["idom"]
    assert "--group" in err


def test_clients_are_chosen_by_their_phase(stores):
    make_full_client("idom")
    enter_phase(make_full_client("acme"), Phase.DUAL_WRITE)

    _code, out, _err = run("test_logins", "--all-in", "dual_write", "--inline", "--format", "json")

    assert [item["slug"] for item in json.loads(out)["items"]] == ["acme"]
    assert Run.objects.get().kind == "test_logins"


def test_groups_and_what_is_in_nova_tables_are_listed(stores):
    make_client("idom")
    run("group", "add", "Spain", "idom")

    groups = json.loads(run("group", "list", "--format", "json")[1])
    tables = json.loads(run("nova_tables", "list", "--format", "json")[1])

    assert [(each["group"], each["clients"]) for each in groups] == [("Spain", 1)]
    assert groups[0]["phases"]["postgres"] == 1
    assert tables == {"columns": [], "objects": []}
    assert "Spain  1 clients: 1 in postgres" in run("group", "list")[1]


def test_the_state_of_aws_writes_says_why_they_are_refused(stores):
    before = json.loads(run("aws_writes", "status", "--format", "json")[1])
    run("aws_writes", "stop", "--reason", "INC-42")
    after = json.loads(run("aws_writes", "status", "--format", "json")[1])

    assert (before["stopped"], before["refusal"]) == (False, None)
    assert (after["stopped"], after["reason"]) == (True, "INC-42")
    assert after["refusal"]
