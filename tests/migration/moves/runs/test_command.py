"""`move_clients` over many: as a run, over a phase or over more clients than are moved at once."""

import json
import tracemalloc

import pytest
from django.core.management import CommandError, call_command

from migration.core.aws_writes import stop_aws_writes
from migration.core.clients import all_clients
from migration.management.commands import move_clients
from migration.management.commands.move_clients import MOVES_ASKED_FOR
from migration.moves.rules import PUSH_PENDING
from migration.runs.models import PlannedMoves, Run
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_many, make_user
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


def test_all_in_a_phase_are_a_run_that_is_printed_as_one_object(command):
    pks = make_clients(3, Phase.DUAL_READ)
    write_password(pks[1], "example-new")

    code, result = command("aws", "--all-in", "dual_read", "--reason", "INC-42")

    assert code == 1
    assert {name: result[name] for name in ("clients", "moved", "refused")} == {
        "clients": 3, "moved": 2, "refused": 1,
    }  # fmt: skip
    assert result.keys() == {"run", "clients", "moved", "refused", "items"}
    assert result["items"][1] == {
        "slug": "client-1",
        "moved": False,
        "phase": "dual_read",
        "reasons": [str(PUSH_PENDING())],
        "codes": ["push_pending"],
    }
    run = Run.objects.get(pk=result["run"])
    assert (run.reason, run.moves.old, run.moves.new) == ("INC-42", Phase.DUAL_READ, Phase.AWS)


def test_more_clients_than_are_moved_at_once_are_a_run_for_each_phase(command, monkeypatch):
    monkeypatch.setattr(move_clients, "MOST_AT_ONCE", 2)
    make_clients(2, Phase.DUAL_READ), make_full_client("new")

    code, results = command("aws", "new", "client-1", "client-0")

    assert code == 1
    assert [(each["slug"], each["moved"], each["phase"]) for each in results] == [
        ("client-0", True, "aws"), ("client-1", True, "aws"), ("new", False, "postgres"),
    ]  # fmt: skip
    assert results[2]["codes"] == ["illegal_move"]
    assert Run.objects.count() == 1


def test_very_many_are_printed_by_slug_though_few_are_in_memory(monkeypatch, capsys):
    monkeypatch.setattr(move_clients, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(move_clients, "ITEMS_AT_ONCE", 2)
    monkeypatch.setattr(move_clients, "MOST_IN_MEMORY", 1)
    make_clients(5, Phase.DUAL_READ), make_full_client("Zeta"), make_full_client("new")
    enter_phase(make_full_client("client-2b"), Phase.AWS)
    enter_phase(make_full_client("Client-9"), Phase.DUAL_READ)  # the run refuses it
    slugs = sorted(all_clients().values_list("slug", flat=True))

    with pytest.raises(SystemExit) as end:
        call_command("move_clients", "aws", *slugs, "--inline", "--format", "json")

    printed = capsys.readouterr().out
    results = json.loads(printed)
    assert [each["slug"] for each in results] == slugs
    assert [each["slug"] for each in results if each["moved"]] == [f"client-{n}" for n in range(5)]
    assert (printed, end.value.code) == (f"{json.dumps(results)}\n", 1)


def test_the_reports_of_a_run_are_read_some_at_a_time(db, monkeypatch):
    monkeypatch.setattr(move_clients, "ITEMS_AT_ONCE", 100)
    make_many(2000, phase="dual_read")
    runs = [
        Run.start(kind=Run.Kind.MOVE, chosen=chosen, moves=PlannedMoves(Phase.DUAL_READ, Phase.AWS))
        for chosen in (all_clients().filter(slug__startswith="many-10"), all_clients())
    ]

    def measure_peak(run: Run) -> int:
        tracemalloc.start()
        try:
            assert all(not each["moved"] for each in move_clients.iterate_move_reports(run))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    measure_peak(runs[0])  # imports and caches
    assert measure_peak(runs[1]) < 2 * measure_peak(runs[0])


def test_a_run_that_needs_an_approval_is_requested_and_moves_nobody(command, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    (pk,) = make_clients(1, Phase.DUAL_READ)
    make_user("maria", "migration.move_client")

    code, result = command(
        "aws", "--all-in", "dual_read", "--reason", "INC-42", "--by", "maria"
    )  # fmt: skip

    assert (code, result["moved"], phase_of(pk)) == (1, 0, Phase.DUAL_READ)
    assert result["items"][0]["codes"] == [MOVES_ASKED_FOR.key]
    assert Run.objects.get().state == Run.State.REQUESTED


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("aws",), 2),
        (("aws", "idom", "--all-in", "dual_read"), 2),
        (("aws", "--all-in", "postgres"), 2),
        (("aws", "--all-in", "nowhere"), 2),
    ],
)
def test_wrong_use_is_refused_with_2(arguments, code):
    make_full_client("idom")

    with pytest.raises(CommandError) as refusal:
        call_command("move_clients", *arguments)

    assert refusal.value.returncode == code


def test_a_request_wants_a_user_and_a_reason(settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    make_clients(1, Phase.DUAL_READ)

    with pytest.raises(CommandError, match="--by USER --reason TEXT"):
        call_command("move_clients", "aws", "--all-in", "dual_read")

    assert not Run.objects.exists()


def test_while_writes_are_stopped_the_run_stays_for_the_workers(command, capsys):
    make_clients(1, Phase.DUAL_READ)
    stop_aws_writes(reason="Somebody looks")

    code, result = command("aws", "--all-in", "dual_read")

    assert (code, result["moved"], Run.objects.get().finished_at) == (1, 0, None)


def test_what_a_run_overrode_is_printed_by_line_and_number(capsys, settings):
    settings.NOVA_MIN_READS = 20
    make_clients(2, Phase.DUAL_READ)

    call_command("move_clients", "aws", "--all-in", "dual_read", "--inline", "--override", "Test")

    said = capsys.readouterr().out
    assert "for 2 of 2 clients." in said
