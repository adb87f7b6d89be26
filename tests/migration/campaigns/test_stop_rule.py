"""Each limit counts what it says, since the wave is watched; and who stops a campaign, or has it go on."""

from itertools import pairwise

import pytest
from django.db import connection, transaction
from django.utils import timezone

from migration.campaigns.models import StaleCampaignError
from migration.core.audit import RUN_EVENT
from migration.models import (
    AuditEvent,
    Campaign,
    ClientMigration,
    Comparison,
    RunItem,
    WaveClient,
)
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from nova_credentials.sentences import STALE_PHASE
from tests.factories import count_reads, make_comparison, make_full_client
from tests.migration.campaigns.taken import (
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
    put,
    stand,
    take,
    work,
)
from tests.migration.moves.clients import (
    change_in_aws,
    enter_phase_together,
    phase_of,
    write_password,
)

RUNNING, STOPPED = Campaign.State.RUNNING, Campaign.State.STOPPED
DIFFER, READS, REFUSED = (
    ["mismatches_reached"],
    ["failed_reads_reached"],
    ["refusals_reached"],
)


def counts(campaign: Campaign) -> tuple[int, int, int]:
    found = only_wave(campaign).count_against_rule()
    return found.mismatches, found.failed_reads, found.refused


def count_each(campaign: Campaign) -> dict[str, tuple[int, int, int]]:
    """Return what is counted against the rule by the wave's group, where it is not nothing."""
    names = dict(campaign.waves.values_list("pk", "group_name"))
    found = campaign.waves.begun().count_against_rule()
    each = {names[pk]: (n.mismatches, n.failed_reads, n.refused) for pk, n in found.items()}
    return {name: numbers for name, numbers in each.items() if any(numbers)}


def unread(_self, names):
    return {
        name: SecretsManagerError.from_code("ThrottlingException", "BatchGetSecretValue", name)
        for name in names
    }


def change_phases(pk: int, *line: Phase) -> None:
    for step in pairwise(line):
        assert ClientMigration.objects.change_phase([pk], *step) == {pk}


# Each client of the table has a wave of its own, but for those of these.
OF_ONE_WAVE = {"missing": 2, "reader": 2, "failed": 2, "refused": 4}


def test_each_wave_counts_what_its_own_clients_did_since_it_is_watched(monkeypatch):
    names = [
        "before",
        "again",
        "mended",
        "unread",
        "equal",
        "gone",
        "back",
        "left",
        "finished",
        "other",
    ]
    groups = {name: [f"{name}-0"] for name in names}
    groups |= {name: [f"{name}-{n}" for n in range(many)] for name, many in OF_ONE_WAVE.items()}
    pks = {slug: make_full_client(slug) for slugs in groups.values() for slug in slugs}
    (
        enter_phase_together(list(pks.values()), Phase.DUAL_READ),
        compare(client_ids=list(pks.values())),
    )
    make_comparison(pks["before-0"], "mismatch")
    count_reads(pks["before-0"], reads=9, mismatches=5, aws_failures=9)
    (
        count_reads(pks["reader-0"], reads=7, mismatches=5),
        count_reads(pks["failed-0"], aws_failures=9),
    )
    made = [put(name, *(pks[slug] for slug in slugs)) for name, slugs in groups.items()]
    limits = {"most_mismatches": 2, "most_failed_reads": 4, "most_refused": 2}
    campaign = begin(*made[:9], *made[10:], soak_minutes=60, **limits)
    for wave in campaign.waves.all():
        wave.campaign = campaign
        with transaction.atomic():
            wave.begin(now=timezone.now())
    assert count_each(campaign) == {}

    differing = ("again", "mended", "unread", "gone", "left", "finished", "other")
    for name in differing:
        change_in_aws(SecretsManager(), f"nova/clients/{name}-0", password="example-theirs")
    compare(client_ids=[pks[f"{name}-0"] for name in differing])
    compare(client_ids=[pks["again-0"]])  # twice, and still one client
    mend(pks["mended-0"])  # who is equal again counts no more
    with monkeypatch.context() as patch:
        # AWS can't be read now: who differed before still counts, and who matched doesn't begin to.
        patch.setattr(SecretsManager, "batch_get", unread)
        found = compare(client_ids=[pks["unread-0"], pks["equal-0"]])
    assert {each.status for each in found.values()} == {Comparison.Status.UNCHECKED}
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks["gone-0"]])
    change_phases(pks["back-0"], Phase.DUAL_READ, Phase.DUAL_WRITE, Phase.POSTGRES)
    make_comparison(pks["back-0"], "mismatch")  # nobody reads AWS of it
    WaveClient.objects.filter(client=pks["left-0"]).update(left_out_at=timezone.now())
    campaign.waves.filter(group_name="finished").update(finished_at=timezone.now())
    for n, status in enumerate(
        (Comparison.Status.MISSING_IN_AWS, Comparison.Status.MISSING_IN_POSTGRES)
    ):
        make_comparison(pks[f"missing-{n}"], status)
        # A mismatch that NOVA's reader met counts once a client, a failed read each time.
        count_reads(pks[f"reader-{n}"], reads=3, mismatches=3 - n)
        count_reads(pks[f"failed-{n}"], reads=2, aws_failures=2)
    wave = campaign.waves.get(group_name="refused")
    for ends in (
        ("refused", "failed", "moved", "refused"),
        ("refused", "moved", "moved", "moved"),
    ):
        run = Run.objects.create(wave=wave, kind="move", move_from="dual_read", move_to="aws")
        items = [
            RunItem(run=run, client_id=pks[f"refused-{n}"], slug=f"refused-{n}", batch=0,
                    outcome=outcome, finished_at=timezone.now())
            for n, outcome in enumerate(ends)
        ]  # fmt: skip
        # Moved by hand: that says nothing against the client.
        items[3].message = STALE_PHASE(slug="refused-3", seen="dual_read", now="aws")
        RunItem.objects.bulk_create(items), run.finish_if_done()

    assert count_each(campaign) == {
        "again": (1, 0, 0), "unread": (1, 0, 0), "finished": (1, 0, 0), "missing": (2, 0, 0),
        "reader": (2, 0, 0), "failed": (0, 4, 0), "refused": (0, 0, 2),
    }  # fmt: skip
    take(campaign)
    assert stand(campaign) == (STOPPED, [*DIFFER * 2, *READS, *REFUSED])

    # Once somebody has it go on only what comes later counts.
    campaign.go_on(by=None)
    assert count_each(campaign) == {}
    compare(
        client_ids=[
            pks[f"{name}-0"] for name in ("again", "finished", "mended", "missing", "other")
        ]
    )
    assert count_each(campaign) == {"again": (1, 0, 0), "finished": (1, 0, 0)}


def test_it_stops_at_the_limit_of_clients_that_differ_and_begins_nothing_by_itself(monkeypatch):
    campaign, group = begin_cutover(2, most_mismatches=2)
    one, two = members(group)
    differ(one)
    take(campaign)
    assert (counts(campaign), stand(campaign)) == ((1, 0, 0), (RUNNING, []))

    differ(two)
    take(campaign)

    assert stand(campaign) == (STOPPED, DIFFER)
    values = campaign.stopped_because.values
    assert (values["n"], values["limit"]) == (2, 2)
    told = AuditEvent.objects.filter(correlation=f"campaign {campaign.pk}").order_by("id")
    assert any("mismatches_reached" in row.facts for row in told)
    mend(one), mend(two)
    minutes_later(monkeypatch, 6000)
    assert [take(campaign) for _ in range(2)] == [None] * 2
    assert stand(campaign) == (STOPPED, DIFFER)
    assert (Run.objects.count(), phases(group)) == (1, [Phase.AWS] * 2)


# Refused moves


def test_a_client_that_is_tried_again_counts_when_it_is_refused_again_also_after_somebody_went_on():
    group = make_group("north", 2, Phase.DUAL_WRITE)
    campaign = begin(group, most_mismatches=9)
    run = take(campaign)
    write_password(members(group)[0], "example-new")  # the push is pending
    work(run)
    assert outcomes(run) == {"north-0": Outcome.REFUSED, "north-1": Outcome.MOVED}
    assert counts(campaign) == (0, 0, 1)
    run.reopen_failed(by=None)
    assert counts(campaign) == (0, 0, 0)
    work(run)
    assert counts(campaign) == (0, 0, 1)
    take(campaign)
    assert stand(campaign) == (STOPPED, REFUSED)
    campaign.go_on(by=None)
    assert counts(campaign) == (0, 0, 0)

    run.reopen_failed(by=None), work(run)

    assert counts(campaign) == (0, 0, 1)
    take(campaign)
    assert stand(campaign) == (STOPPED, REFUSED)


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
    campaign.stop(by=maria), campaign.go_on(by=maria)  # its run is one of before then

    run.stop(by=maria), take(campaign)

    assert stand(campaign) == (STOPPED, ["run_was_stopped"])
    run.refresh_from_db()
    assert run.finished_at is not None
    assert outcomes(run) == {"north-0": Outcome.MOVED, "north-1": Outcome.SKIPPED}
    assert take(campaign) is None
    assert phases(group) == [Phase.AWS, Phase.DUAL_READ]
    campaign.go_on(by=maria), go(campaign)
    assert phases(group) == [Phase.AWS, Phase.AWS]


def test_a_group_deleted_before_its_end_stops_it_and_whoever_goes_on_goes_on_without_it():
    done, began, parts, before, _south = groups = [
        make_group(name, number)
        for name, number in {"done": 1, "began": 2, "parts": 3, "before": 1, "south": 1}.items()
    ]
    pks = {group: members(group) for group in groups}
    campaign = begin(*groups, goal=Phase.DUAL_WRITE, wave_size=2, rolls_back=True)

    work(take(campaign))
    run = take(campaign)
    # The group of a finished wave hinders nothing.
    done.delete_group(), began.delete_group(), work(run)
    assert take(campaign) is None
    assert stand(campaign) == (STOPPED, ["campaign_group_is_gone"])
    assert campaign.stopped_because.values["wave"].values["group"] == "began"
    campaign.go_on(by=None)
    work(take(campaign)), campaign.waves.begun().update(finished_at=timezone.now())

    # That between two of its parts is not taken for the end of it; that before its wave.
    for group in (parts, before):
        group.delete_group(), go(campaign)
        assert stand(campaign) == (STOPPED, ["campaign_group_is_gone"]), group
        campaign.go_on(by=None)
    go(campaign)

    assert stand(campaign) == (Campaign.State.FINISHED, [])
    write, stays = Phase.DUAL_WRITE, Phase.POSTGRES
    assert {group.name: [phase_of(pk) for pk in pks[group]] for group in groups} == {
        "done": [write], "began": [write] * 2, "parts": [write, write, stays], "before": [stays], "south": [write],
    }  # fmt: skip


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
