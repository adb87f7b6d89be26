"""Each limit counts what it says, since the wave is watched; and who stops a campaign, or has it go on."""

import json

import pytest
from django.db import connection

from migration.campaigns.models import StaleCampaignError
from migration.core.audit import RUN_EVENT
from migration.models import AuditEvent, Campaign, Comparison
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_comparison
from tests.migration.campaigns.taken import (
    CUTOVER,
    begin,
    begin_cutover,
    codes_of,
    differ,
    go,
    make_group,
    members,
    mend,
    minutes_later,
    only_wave,
    outcomes,
    phases,
    soak,
    stand,
    steps,
    take,
    work,
)
from tests.migration.moves.clients import phase_of, write_password

RUNNING, STOPPED = Campaign.State.RUNNING, Campaign.State.STOPPED
DIFFER, READS, REFUSED = (
    ["mismatches_reached"],
    ["failed_reads_reached"],
    ["refusals_reached"],
)


def counts(campaign: Campaign) -> tuple[int, int, int]:
    found = only_wave(campaign).count_against_rule()
    return found.mismatches, found.failed_reads, found.refused


def unread(_self, names):
    return {
        name: SecretsManagerError.from_code("ThrottlingException", "BatchGetSecretValue", name)
        for name in names
    }


# Mismatches


def test_it_stops_at_the_limit_of_clients_that_differ_and_begins_nothing_by_itself(monkeypatch):
    campaign, group = begin_cutover(3, most_mismatches=2)
    one, two, three = members(group)
    differ(one), compare(client_ids=[one])  # twice, and still one client
    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "batch_get", unread)
        found = compare(client_ids=members(group))
    assert {each.status for each in found.values()} == {Comparison.Status.UNCHECKED}
    # AWS can't be read now: who differed before still counts, and who matched doesn't begin to.
    take(campaign)
    assert (counts(campaign), stand(campaign)) == ((1, 0, 0), (RUNNING, []))
    mend(one), differ(two)  # who is equal again counts no more
    take(campaign)
    assert (counts(campaign), stand(campaign)) == ((1, 0, 0), (RUNNING, []))

    differ(three)
    take(campaign)

    assert stand(campaign) == (STOPPED, DIFFER)
    values = campaign.stopped_because.values
    assert (values["n"], values["limit"]) == (2, 2)
    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}").order_by("id")
    assert any("mismatches_reached" in row.facts for row in told)
    mend(two), mend(three)
    minutes_later(monkeypatch, 6000)
    assert [take(campaign) for _ in range(3)] == [None] * 3
    assert stand(campaign) == (STOPPED, DIFFER)
    assert (Run.objects.count(), phases(group)) == (1, [Phase.AWS] * 3)


def test_comparisons_of_before_of_others_and_of_clients_that_are_gone_do_not_count():
    group, other = make_group("north", 3, Phase.DUAL_READ), make_group("other", 1, Phase.AWS)
    before, gone, back = members(group)
    make_comparison(before, Comparison.Status.MISMATCH)
    campaign = begin(group, soak_minutes=60, most_refused=9)
    work(take(campaign))
    differ(members(other)[0]), differ(gone)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [gone])
    for phase in (Phase.DUAL_READ, Phase.DUAL_WRITE, Phase.POSTGRES):
        move(client_id=back, new=phase)
    make_comparison(back, Comparison.Status.MISMATCH)  # nobody reads AWS of it

    assert counts(campaign)[0] == 0
    take(campaign)
    assert stand(campaign)[0] == RUNNING


def test_a_store_that_lacks_the_client_counts():
    campaign, group = begin_cutover(2, most_mismatches=2)
    one, two = members(group)
    make_comparison(one, Comparison.Status.MISSING_IN_AWS)
    make_comparison(two, Comparison.Status.MISSING_IN_POSTGRES)

    take(campaign)

    assert stand(campaign) == (STOPPED, DIFFER)


def test_a_mismatch_that_novas_reader_met_counts_once_a_client():
    group = make_group("north", 2, Phase.DUAL_READ)
    count_reads(members(group)[0], reads=7, mismatches=5)  # before the wave
    campaign = begin(group, soak_minutes=60, most_mismatches=2)
    take(campaign)
    assert counts(campaign) == (0, 0, 0)
    count_reads(members(group)[0], reads=3, mismatches=3)
    assert counts(campaign) == (1, 0, 0)

    count_reads(members(group)[1], reads=1, mismatches=1)
    take(campaign)

    assert stand(campaign) == (STOPPED, DIFFER)


# Failed reads


def test_reads_that_failed_are_added_up_over_the_clients_since_the_wave_began():
    group = make_group("north", 2, Phase.DUAL_READ)
    one, two = members(group)
    count_reads(one, reads=9, aws_failures=9)
    campaign = begin(group, soak_minutes=60, most_failed_reads=5)
    take(campaign)
    count_reads(one, reads=2, aws_failures=2), count_reads(two, reads=8, aws_failures=2)
    take(campaign)
    assert (counts(campaign), stand(campaign)) == ((0, 4, 0), (RUNNING, []))

    count_reads(two, reads=1, aws_failures=1)
    take(campaign)

    assert stand(campaign) == (STOPPED, READS)
    assert campaign.stopped_because.values["n"] == 5


# Refused moves


def test_clients_whose_move_was_refused_or_failed_are_counted_each_once_over_all_steps(
    monkeypatch,
):
    group = make_group("north", 3, Phase.DUAL_WRITE)
    campaign = begin(group, most_refused=3, most_mismatches=9)
    run = take(campaign)
    write_password(members(group)[0], "example-new")  # the push is pending
    work(run)
    assert outcomes(run)["north-0"] == Outcome.REFUSED
    assert counts(campaign) == (0, 0, 1)
    run.reopen_failed(by=None)
    assert counts(campaign) == (0, 0, 0)
    work(run)
    assert counts(campaign) == (0, 0, 1)
    run.items.filter(slug="north-1").update(outcome=Outcome.FAILED)
    write_password(members(group)[1], "example-new")
    minutes_later(monkeypatch, 61)  # it waits for that push no longer
    go(campaign)

    assert counts(campaign)[2] == 2
    assert stand(campaign)[0] == Campaign.State.FINISHED
    assert ("north", *CUTOVER) in steps(campaign)


def test_a_gate_whose_evidence_is_missing_refuses_whatever_reasons_were_given(
    settings, maria, monkeypatch
):
    settings.NOVA_MIN_READS = 20
    group = make_group("north", 1, Phase.DUAL_READ)
    campaign = begin(group, by=maria, reason="Override everything: INC-42")
    maria.user_permissions.add(*permissions("override_gate"))
    assert take(campaign) is None  # it waits for reads
    minutes_later(monkeypatch, 61)

    run = work(take(campaign))

    assert outcomes(run) == {"north-0": Outcome.REFUSED}
    assert codes_of(run, "north-0") == ["too_few_reads", "no_reader_process"]
    assert phases(group) == [Phase.DUAL_READ]


def permissions(codename: str):
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(codename=codename)


# Since when


def test_once_somebody_has_it_go_on_only_what_comes_later_counts():
    campaign, group = begin_cutover(3, most_mismatches=1, most_failed_reads=2)
    one, two, _ = members(group)
    differ(one), count_reads(two, reads=2, mismatches=1, aws_failures=2)
    take(campaign)
    assert counts(campaign) == (2, 2, 0)

    campaign.go_on(by=None)
    take(campaign)
    assert (counts(campaign), stand(campaign)) == ((0, 0, 0), (RUNNING, []))

    compare(client_ids=[one])
    take(campaign)
    assert stand(campaign) == (STOPPED, DIFFER)


def test_a_run_of_before_that_somebody_goes_on_with_counts_from_then_on():
    group = make_group("north", 2, Phase.DUAL_WRITE)
    campaign = begin(group)
    run = take(campaign)
    write_password(members(group)[0], "example-new")
    work(run), take(campaign)
    assert stand(campaign) == (STOPPED, REFUSED)
    assert phases(group) == [Phase.DUAL_WRITE, Phase.DUAL_READ]
    campaign.go_on(by=None)
    assert counts(campaign) == (0, 0, 0)

    run.reopen_failed(by=None), work(run)

    assert counts(campaign) == (0, 0, 1)
    take(campaign)
    assert stand(campaign) == (STOPPED, REFUSED)


def test_a_wave_that_has_finished_counts_while_the_campaign_runs():
    first, second = make_group("north", 1, Phase.DUAL_READ), make_group("south", 1)
    campaign = begin(first, second, soak_minutes=60)
    work(take(campaign)), soak()
    work(take(campaign))
    assert campaign.waves.get(position=1).finished_at is not None

    differ(members(first)[0])
    take(campaign)

    assert stand(campaign) == (STOPPED, DIFFER)
    assert "north" in json.dumps(campaign.stopped_because.to_json())


# What people do


def test_a_person_stops_it_and_its_run_in_work_goes_on_to_its_end(maria):
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group, rolls_back=True)
    run = take(campaign)

    campaign.stop(by=maria)
    work(run)

    assert take(campaign) is None
    assert (stand(campaign), phases(group)) == ((STOPPED, ["stopped_by"]), [Phase.AWS] * 2)
    campaign.go_on(by=maria), go(campaign)
    assert stand(campaign) == (Campaign.State.FINISHED, [])
    differ(members(group)[0])  # what is over is watched no more
    assert take(campaign) is None
    assert stand(campaign) == (Campaign.State.FINISHED, [])
    assert phases(group) == [Phase.AWS] * 2


def test_a_cancelled_campaign_goes_no_further_and_its_clients_are_free():
    campaign, group = begin_cutover(1, goal=Phase.AWS, rolls_back=True)
    differ(members(group)[0])

    campaign.cancel(by=None)

    assert (take(campaign), phases(group)) == (None, [Phase.AWS])
    for act in (campaign.stop, campaign.go_on, campaign.cancel):
        with pytest.raises(StaleCampaignError):
            act(by=None)
    begin(group)


def test_a_paused_run_is_waited_for_and_a_stopped_one_stops_the_campaign_and_rolls_nobody_back(
    monkeypatch, maria
):
    monkeypatch.setattr(Run, "BATCH", 1)
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group, rolls_back=True)
    run = take(campaign)
    engine.process_batch_if_running(run.pk, 0)
    run.pause(by=maria)
    assert take(campaign) is None
    assert stand(campaign) == (RUNNING, [])

    run.stop(by=maria), take(campaign)

    assert stand(campaign) == (STOPPED, ["run_was_stopped"])
    run.refresh_from_db()
    assert run.finished_at is not None
    assert outcomes(run) == {"north-0": Outcome.MOVED, "north-1": Outcome.SKIPPED}
    assert take(campaign) is None
    assert phases(group) == [Phase.AWS, Phase.DUAL_READ]
    campaign.go_on(by=maria), go(campaign)
    assert phases(group) == [Phase.AWS, Phase.AWS]


def test_a_run_of_before_that_somebody_stops_after_they_went_on_stops_it_again(maria):
    group = make_group("north", 1, Phase.DUAL_READ)
    campaign = begin(group)
    run = take(campaign)
    campaign.stop(by=maria), campaign.go_on(by=maria)

    run.stop(by=maria), take(campaign)

    assert stand(campaign) == (STOPPED, ["run_was_stopped"])


@pytest.mark.parametrize("began", [False, True])
def test_a_deleted_group_stops_it_and_whoever_goes_on_goes_on_without_it(began):
    north, south = make_group("north", 2, Phase.DUAL_WRITE), make_group("south", 1)
    pks = members(north)
    campaign = begin(north, south, goal=Phase.DUAL_READ, rolls_back=True)
    if began:
        work(take(campaign))
    north.delete_group()

    go(campaign)
    assert stand(campaign) == (STOPPED, ["campaign_group_is_gone"])
    campaign.go_on(by=None), go(campaign)

    assert stand(campaign) == (Campaign.State.FINISHED, [])
    went = Phase.DUAL_READ if began else Phase.DUAL_WRITE
    assert [phase_of(pk) for pk in pks] == [went] * 2
    assert phases(south) == [Phase.DUAL_READ]


def test_a_group_deleted_between_two_of_its_parts_is_not_taken_for_the_end_of_it():
    north, south = make_group("north", 3), make_group("south", 1)
    campaign = begin(north, south, goal=Phase.DUAL_WRITE, wave_size=2)
    work(take(campaign))
    campaign.waves.begun().update(finished_at=campaign.created_at)
    north.delete_group()

    go(campaign)
    assert stand(campaign) == (STOPPED, ["campaign_group_is_gone"])
    campaign.go_on(by=None), go(campaign)

    assert (stand(campaign), phases(south)) == ((Campaign.State.FINISHED, []), [Phase.DUAL_WRITE])


def test_a_group_deleted_after_its_wave_has_finished_hinders_nothing():
    north, south = make_group("north", 1), make_group("south", 1)
    campaign = begin(north, south, goal=Phase.DUAL_WRITE)
    work(take(campaign)), work(take(campaign))
    assert phases(south) == [Phase.DUAL_WRITE]

    north.delete_group(), go(campaign)

    assert campaign.state == Campaign.State.FINISHED


def test_a_client_moved_by_hand_while_its_run_waits_is_refused_and_does_not_count():
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group)
    run = take(campaign)
    move(client_id=members(group)[0], new=Phase.DUAL_WRITE)

    work(run), take(campaign)

    assert codes_of(run, "north-0") == ["stale_phase"]
    assert (stand(campaign), phases(group)) == (
        (Campaign.State.FINISHED, []), [Phase.DUAL_WRITE, Phase.AWS],
    )  # fmt: skip


def test_refused_clients_of_an_approved_run_that_somebody_asks_for_again_are_asked_for_no_more(
    settings, maria, ana
):
    from migration.campaigns.steps import approve_campaign

    settings.NOVA_REQUIRE_APPROVAL = True
    group = make_group("north", 2, Phase.DUAL_READ)
    campaign = begin(group, by=maria, reason="T", rolls_back=True, most_refused=9)
    approve_campaign(campaign, by=ana)
    run = take(campaign)
    write_password(members(group)[0], "example-new")
    work(run)
    run.reopen_failed(by=maria)
    assert run.state == Run.State.REQUESTED

    differ(members(group)[1])
    rollback = take(campaign)

    run.refresh_from_db()
    assert (run.state, run.finished_at is None) == (Run.State.STOPPED, False)
    assert rollback.only_where_equal
    assert AuditEvent.objects.filter(code=RUN_EVENT, correlation=f"run {run.pk}").exists()
