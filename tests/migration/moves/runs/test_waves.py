"""`move_clients PHASE --wave GROUP`: the clients of a group, as a run for each phase from which they can move."""

import json

import pytest
from django.core.management import CommandError, call_command

from migration.core.clients import all_clients
from migration.management.commands.move_clients import MOVES_ASKED_FOR
from migration.models import ClientGroup
from migration.moves.moves import READS_AWS
from migration.moves.rules import PUSH_PENDING
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase, phase_of, write_password
from tests.migration.moves.runs.moved import make_clients


@pytest.fixture
def command(capsys):
    """Runs the command in this process: (exit code, the object on standard output)."""

    def run(*arguments: str):
        code = 0
        try:
            call_command("move_clients", *arguments, "--inline", "--format", "json")
        except SystemExit as end:
            code = end.code
        return code, json.loads(capsys.readouterr().out)

    return run


def group(name: str, *pks: int) -> None:
    ClientGroup.objects.get_or_add(name).put_clients(all_clients().filter(pk__in=pks))


def test_the_clients_of_the_group_move_in_one_run_and_no_others_do(command):
    pks = make_clients(3, Phase.DUAL_READ)
    group("Wave 1", *pks[:2])

    code, printed = command("aws", "--group", "wave 1", "--reason", "INC-42")

    run = Run.objects.get()
    assert (code, printed["run"], printed["clients"], printed["moved"], printed["refused"]) == (
        0, run.pk, 2, 2, 0,
    )  # fmt: skip
    assert printed.keys() == {"run", "clients", "moved", "refused", "items"}
    assert [phase_of(pk) for pk in pks] == [Phase.AWS, Phase.AWS, Phase.DUAL_READ]
    assert (run.reason, run.moves.old) == ("INC-42", Phase.DUAL_READ)


def test_clients_in_a_phase_without_this_move_are_items_with_the_reason(command):
    pks = make_clients(2, Phase.DUAL_READ)
    new = make_full_client("new")
    write_password(pks[1], "example-new")
    group("Wave 1", *pks, new)

    code, printed = command("aws", "--group", "Wave 1")

    assert code == 1
    assert (printed["run"], printed["moved"], printed["refused"]) == (Run.objects.get().pk, 1, 2)
    assert [(item["slug"], item["phase"], item["codes"]) for item in printed["items"]] == [
        ("client-0", "aws", [READS_AWS.key]),
        ("client-1", "dual_read", [PUSH_PENDING.key]),
        ("new", "postgres", ["illegal_move"]),
    ]


def test_where_none_can_move_there_is_no_run(command):
    group("Wave 1", make_full_client("new"))

    code, printed = command("aws", "--group", "Wave 1")

    assert (code, printed["run"], printed["refused"]) == (1, None, 1)
    assert not Run.objects.exists()


def test_clients_that_come_from_two_phases_are_a_run_each(command):
    pks = [make_full_client("back"), make_full_client("forward")]
    enter_phase(pks[0], Phase.DUAL_READ)
    group("Wave 1", *pks)

    code, printed = command("dual_write", "--group", "Wave 1")

    assert (code, printed["moved"]) == (0, 2)
    assert sorted(printed["run"]) == sorted(Run.objects.values_list("pk", flat=True))
    assert [phase_of(pk) for pk in pks] == [Phase.DUAL_WRITE, Phase.DUAL_WRITE]


def test_a_group_without_clients_moves_nobody(command):
    group("Wave 1")

    assert command("aws", "--group", "Wave 1") == (
        0, {"run": None, "clients": 0, "moved": 0, "refused": 0, "items": []},
    )  # fmt: skip


@pytest.mark.usefixtures("maria")
def test_where_approval_is_needed_the_run_is_requested(command, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    pks = make_clients(1, Phase.DUAL_READ)
    group("Wave 1", *pks)
    code, printed = command("aws", "--group", "Wave 1", "--reason", "INC-42", "--by", "maria")

    run = Run.objects.get()
    assert (code, printed["run"], run.state, run.by_name) == (1, run.pk, "requested", "maria")
    assert printed["items"][0]["codes"] == [MOVES_ASKED_FOR.key]


def test_missing_evidence_is_overridden_as_with_all_in(settings, capsys):
    settings.NOVA_MIN_READS = 20
    group("Wave 1", *make_clients(2, Phase.DUAL_READ))

    call_command("move_clients", "aws", "--group", "Wave 1", "--inline", "--override", "Test")

    assert "for 2 of 2 clients." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--group", "Spain"], "unknown group: Spain"),
        (["--group", ""], "unknown group"),
        (["idom", "--group", "Wave 1"], "--group, --all-in and --all"),
        (["--group", "Wave 1", "--all-in", "dual_read"], "--group, --all-in and --all"),
        (["idom", "--all-in", "dual_read"], "--group, --all-in and --all"),
        ([], "--group, --all-in and --all"),
    ],
)
def test_exactly_one_choice_of_clients_is_made(db, arguments, why):
    make_full_client("idom"), group("Wave 1")

    with pytest.raises(CommandError, match=why) as refused:
        call_command("move_clients", "aws", *arguments)

    assert refused.value.returncode == 2
    assert not Run.objects.exists()
