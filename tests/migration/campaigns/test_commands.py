"""`campaign start`, `status`, `stop` and `go_on`: three waves to AWS by commands alone."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from credentials.models import DatabaseCredential
from migration.campaigns.steps import advance_campaign, approve_campaign
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.management.commands import campaign as command_module
from migration.models import Campaign, ClientGroup
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.moves.clients import change_in_aws, phase_of

WAVES = ("wave 1", "wave 2", "wave 3")


@pytest.fixture(autouse=True)
def stores_of_each(stores, settings) -> None:
    """Both stores, and gates that ask for facts alone: evidence takes days."""
    settings.NOVA_CLEAN_STREAK = 0


@pytest.fixture
def command(capsys):
    """Runs a command in this process: (exit code, the object on standard output)."""

    def run(*arguments: str):
        code = 0
        try:
            call_command(*arguments, "--format", "json")
        except SystemExit as end:
            code = end.code
        return code, json.loads(capsys.readouterr().out)

    return run


def make_groups(each: int = 2) -> dict[str, list[int]]:
    """Three groups of clients, as `group add` makes them."""
    made: dict[str, list[int]] = {}
    for name in WAVES:
        slugs = [f"{name.replace(' ', '-')}-{n}" for n in range(each)]
        made[name] = [make_full_client(slug) for slug in slugs]
        call_command("group", "add", name, *slugs, stdout=StringIO())
    return made


def test_three_waves_go_to_aws_and_one_that_differs_is_rolled_back_mended_and_gone_on_with(
    command, monkeypatch
):
    clients = make_groups()
    broken = clients["wave 2"][0]
    in_aws = all_clients().in_phases(Phase.AWS)

    def break_one_and_take_further(campaign_id: int):
        # Once the second wave is cut over somebody changes a secret of it, and a sweep finds that.
        if in_aws.count() == 4 and not broken_already:
            broken_already.append(broken)
            change_in_aws(secrets_manager(), "nova/clients/wave-2-0", password="example-changed")
            compare(client_ids=[broken])
        return advance_campaign(campaign_id)

    broken_already: list[int] = []
    monkeypatch.setattr(command_module, "advance_campaign", break_one_and_take_further)
    code, done = command(
        "campaign", "start", *WAVES, "--roll-back", "--inline", "--reason", "INC-42"
    )

    assert (code, done["state"]) == (1, Campaign.State.STOPPED)
    assert done["stopped_because"]["codes"] == [
        "mismatches_reached", "rolls_back",
    ]  # fmt: skip
    first, second, third = done["waves"]
    assert (first["phases"]["aws"], first["state"]) == (2, "finished")
    # The one that differs stays where AWS decides, and is named; the other one is read as before.
    assert (second["phases"]["aws"], second["phases"]["dual_read"]) == (1, 1)
    assert second["state"] == "rolled_back"
    assert [left["clients"][0]["slug"] for left in done["left"]] == ["wave-2-0"]
    assert third["state"] == "not_begun"

    change_in_aws(secrets_manager(), "nova/clients/wave-2-0", password=stored_password(broken))
    compare(client_ids=clients["wave 2"])
    code, done = command("campaign", "go_on", str(done["campaign"]), "--inline")

    assert (code, done["state"]) == (0, Campaign.State.FINISHED)
    assert set(all_clients().with_phase().values_list("phase", flat=True)) == {Phase.AWS}
    assert [wave["state"] for wave in done["waves"]] == ["finished"] * 3


def stored_password(pk: int) -> str:
    return DatabaseCredential.objects.get(client_id=pk).db_password


def test_a_stopped_campaign_does_nothing_until_somebody_has_it_go_on(command):
    clients = make_groups(1)
    _code, started = command("campaign", "start", "wave 1", "--goal", "dual_write")
    number = str(started["campaign"])

    _code, stopped = command("campaign", "stop", number)

    assert stopped["stopped_because"]["codes"] == ["stopped_by_command"]
    with pytest.raises(CommandError, match="is stopped"):
        call_command("campaign", "stop", number)
    code, status = command("campaign", "status")
    assert (code, [each["campaign"] for each in status]) == (0, [started["campaign"]])
    code, done = command("campaign", "go_on", number, "--inline")
    assert (code, done["state"]) == (0, Campaign.State.FINISHED)
    assert phase_of(clients["wave 1"][0]) == Phase.DUAL_WRITE
    assert command("campaign", "status")[1] == []


def test_a_cancelled_campaign_gives_its_groups_free(command):
    make_groups(1)
    _code, started = command("campaign", "start", *WAVES, "--goal", "dual_write")
    with pytest.raises(CommandError, match="which is not over, takes wave 2") as refusal:
        call_command("campaign", "start", "wave 2")
    assert refusal.value.returncode == 2

    command("campaign", "cancel", str(started["campaign"]))

    code, other = command("campaign", "start", "wave 2", "--goal", "dual_write")
    assert (code, other["state"]) == (0, Campaign.State.RUNNING)


def test_wrong_use_exits_with_2_and_starts_nothing():
    make_groups(1)
    for arguments, says in (
        (["nowhere"], "unknown group: nowhere"),
        (["wave 1", "wave 1"], "listed more than once"),
        (["wave 1", "--goal", "purged"], "invalid choice"),
        (["wave 1", "--stop-at-refused", "0"], "1 or more"),
        (["wave 1", "--size", "-1"], "0 or more"),
        (["wave 1", "--size", str(2**31)], "more than can be stored"),
        (["wave 1", "--hours", "9-17"], "two times of the day"),
        (["wave 1", "--soak-hours", "a day"], "a number of hours"),
        (["wave 1", "--soak-hours", "nan"], "a number of hours"),
        (["wave 1", "--soak-hours", "1e9"], "more than can be stored"),
        (["wave 1", "--soak-hours", "1e999999"], "a number of hours"),
        (["wave 1", "--soak-hours", "-1"], "0 or more"),
        (["wave 1", "--hours", "09:00+02:00-17:00"], "two times of the day"),
        (["wave 1", "--hours", "09:00-02:00-17:00"], "two times of the day"),
        (["wave 1", "--reason", "x" * 501], "501 characters"),
        (["wave 1", "--by", "nobody"], "unknown user"),
    ):
        with pytest.raises(CommandError, match=says) as refusal:
            call_command("campaign", "start", *arguments)
        assert refusal.value.returncode == 2, arguments
        assert not Campaign.objects.exists(), arguments


def test_a_soak_time_in_which_no_gate_can_open_is_refused(settings):
    settings.NOVA_DUAL_READ_HOURS = 24.0
    make_groups(1)

    with pytest.raises(
        CommandError,
        match=r"24 hours in dual read.* after 23 hours 54 minutes",
    ):
        call_command("campaign", "start", "wave 1", "--soak-hours", "23.9")

    settings.NOVA_DUAL_READ_HOURS = 0.02
    call_command("campaign", "start", "wave 2", "--soak-hours", "0.02")
    assert Campaign.objects.get().soak_minutes == 2
    call_command("campaign", "cancel", str(Campaign.objects.get().pk))
    Campaign.objects.all().delete()
    settings.NOVA_DUAL_READ_HOURS = 24.0
    call_command("campaign", "start", "wave 1", "--soak-hours", "24")
    assert Campaign.objects.get().soak_minutes == 24 * 60


def test_with_approval_it_waits_for_another_user(settings, command):
    settings.NOVA_REQUIRE_APPROVAL = True
    make_groups(1)
    make_user("maria", "migration.add_campaign", "migration.move_client")
    peter = make_user("peter", "migration.approve_move")
    with pytest.raises(CommandError, match="--by USER --reason TEXT"):
        call_command("campaign", "start", *WAVES)

    _code, asked = command("campaign", "start", *WAVES, "--by", "maria", "--reason", "INC-42")
    number = str(asked["campaign"])
    assert asked["state"] == Campaign.State.REQUESTED

    # A command does not know who runs it: approving is possible on the page only.
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("campaign", "approve", number, "--by", "peter")
    approve_campaign(Campaign.objects.get(), by=peter)
    (done,) = command("campaign", "status", number)[1]
    assert (done["state"], done["approved_by"]) == (Campaign.State.RUNNING, "peter")


def test_groups_keep_their_names_in_the_text(capsys):
    make_groups(1)
    ClientGroup.objects.get(key="wave 1").rename("Spain, first")

    call_command("campaign", "start", "spain, first", "--goal", "dual_write", "--inline")

    out = capsys.readouterr().out
    assert ": finished." in out
    assert "wave 1: finished, 1 clients: 1 in dual_write, 0 refused" in out
