"""The law, held against many random lives of a client; and the machine that does so, against planted defects."""

from collections.abc import Iterator

import pytest

from migration.moves.rules import keep_statement
from nova_credentials.phases import Phase
from tests.law.actions import (
    Change,
    a_reader_of_an_earlier_release_reads,
    an_hour_passes,
    back,
    compare,
    compare_and_forward,
    compare_and_forward_in_a_run,
    console_writes,
    forward,
    nova_rebuilds_a_table,
    nova_writes,
    push,
    restore_the_former_version,
    save,
)
from tests.law.campaign_acts import (
    a_campaign_goes_further,
    compare_and_a_campaign_goes_further,
    somebody_steers_a_campaign,
)
from tests.law.campaign_mutations import CAMPAIGN_FAULTS, CampaignFault
from tests.law.environment import a_world
from tests.law.fault_injection import Interruption, Stage, What
from tests.law.invariant import LawBroken
from tests.law.layout_acts import (
    change_the_layout,
    change_the_layout_in_a_run,
    the_old_secrets_go,
)
from tests.law.layout_mutations import (
    CHANGE,
    GO,
    KILLED_AT_EACH_STEP,
    LAYOUT_FAULTS,
    LayoutFault,
)
from tests.law.leaving_acts import the_client_comes_back, the_client_leaves_and_comes_back
from tests.law.leaving_mutations import LEAVING_FAULTS
from tests.law.mutations import FAULTS, Fault
from tests.law.naming_acts import (
    nova_renames,
    nova_renames_back,
    nova_swaps_slugs,
    the_secrets_follow,
)
from tests.law.naming_mutations import NAMING_FAULTS
from tests.law.setting_acts import the_key_and_the_regions_change
from tests.law.state_machine import Play, actors, machine, relive, run
from tests.long_tests import SOAK

# `make thorough` lives the same lives each time; `make soak` as many others as it is told to.
SEEDS = dict(zip(Phase, range(len(Phase)), strict=True))
# By night a life is interrupted at so many steps; by day at every second of these.
EVERY = 1 if SOAK else 2


@pytest.fixture
def world(stores, settings, monkeypatch):
    settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = "", None  # gone after the test
    with a_world(stores, settings, monkeypatch) as world:
        world.stage = Stage(world, actors())
        yield world
        world.stage.close()


@pytest.mark.parametrize("start", Phase)
def test_the_law_holds(world, start):
    lives = machine(world, starts=[start])
    if SOAK:
        run(lives, examples=SOAK, steps=50)
    else:
        # Few: the planted defects are found a hundred times as fast where it is known what to try, below.
        run(lives, examples=2, steps=20, with_seed=SEEDS[start], shrink=False)


# Lives that found a defect once, in the site or in the machine. Which step is between opening and saving may change.
MAIL = Change(("mail",))
LIVES = (
    {
        f"a save opened before a write that was not counted, at step {at}": (
            Phase.DUAL_READ,
            [Play(save, MAIL, Interruption(What.TRIGGERS_GO, at))],
        )
        for at in range(12)
    }
    | {
        "a move begun before a colleague's": (
            Phase.DUAL_READ,
            [Play(forward, MAIL, Interruption(What.COLLEAGUE_MOVES_ON, 0))],
        ),
        "a save opened before a colleague's that is in AWS alone and was not counted": (
            Phase.PURGED,
            [
                Play(nova_rebuilds_a_table, MAIL, None),
                Play(save, MAIL, None),
                Play(save, MAIL, Interruption(What.COLLEAGUE_SAVES, 4)),
            ],
        ),
        "a version of a purged client that holds another port than the tables": (
            Phase.PURGED,
            [
                Play(console_writes, Change(("password", "port", "mail")), None),
                Play(console_writes, MAIL, None),
                Play(restore_the_former_version, MAIL, None),
                Play(save, MAIL, None),
            ],
        ),
        "a campaign that stops for what was seen an hour ago": (
            Phase.DUAL_WRITE,
            [
                Play(console_writes, MAIL, None),
                Play(a_campaign_goes_further, MAIL, None),
                Play(compare, MAIL, None),
                Play(an_hour_passes, MAIL, None),
                Play(a_campaign_goes_further, MAIL, None),
            ],
        ),
        "a campaign gone on with, which then can't check what differed": (
            Phase.DUAL_WRITE,
            [
                Play(console_writes, MAIL, None),
                Play(a_campaign_goes_further, MAIL, None),
                Play(compare_and_a_campaign_goes_further, MAIL, None),
                Play(somebody_steers_a_campaign, MAIL, None),
                Play(compare, MAIL, Interruption(What.THROTTLED, 0)),
                Play(a_campaign_goes_further, MAIL, None),
            ],
        ),
    }
    | {
        f"a former version restored in {start}, {what} at step {at}": (
            start,
            [
                Play(save, MAIL, None),
                Play(restore_the_former_version, MAIL, Interruption(what, at)),
                Play(save, MAIL, None),
            ],
        )
        for start in (Phase.DUAL_READ, Phase.AWS, Phase.PURGED)
        for what, at in ((What.KILLED, 4), (What.NOVA_WRITES, 12), (What.COLLEAGUE_SAVES, 20))
    }
    | {
        "a campaign that begins a step although NOVA's reader met a difference lately": (
            Phase.DUAL_READ,
            [
                Play(console_writes, Change(("port",), again=True), None),
                Play(push, MAIL, None),
                Play(save, Change(("password", "port", "mail"), again=True), None),
                Play(compare, MAIL, Interruption(What.CAMPAIGN_GOES_FURTHER, 0)),
            ],
        )
    }
    | {
        f"a campaign begun twice at once, at step {at}": (
            Phase.PURGED,
            [
                Play(
                    compare_and_a_campaign_goes_further,
                    MAIL,
                    Interruption(What.CAMPAIGN_GOES_FURTHER, at),
                )
            ],
        )
        for at in range(12, 20, EVERY)
    }
)


LIVES |= {
    f"changes of layout killed at each step, in {start}": (
        start,
        [
            *KILLED_AT_EACH_STEP,
            CHANGE,
            Play(the_old_secrets_go, MAIL, Interruption(What.KILLED, 0)),
            GO,
            CHANGE,
        ],
    )
    for start in (Phase.AWS, Phase.PURGED)
}


# The database's secret comes first: what keeps the mail's from being written over is seen before, or AWS fails then.
ALL_THREE, PASSWORD = Change(("password", "port", "mail")), Change(("password",))
LIVES |= {
    f"a save of two secrets of which somebody wrote the second, in {start}": (
        start,
        [CHANGE, Play(console_writes, MAIL, None), Play(save, ALL_THREE, None)],
    )
    for start in (Phase.AWS, Phase.PURGED)
}
LIVES |= {
    f"a save of two secrets, {what} between them, in {start}": (
        start,
        [CHANGE, Play(save, ALL_THREE, Interruption(what, at)), Play(save, ALL_THREE, None)],
    )
    for start, at in ((Phase.AWS, 2), (Phase.PURGED, 3))
    for what in (What.DOWN, What.THROTTLED)
}
LIVES |= {
    "somebody in AWS who finds the other client's secret after a swap of slugs, which has no mail": (
        Phase.POSTGRES,
        [
            *[Play(save, PASSWORD, None)] * 2,
            Play(nova_swaps_slugs, Change(("password",), again=True), None),
            Play(save, PASSWORD, None),
            Play(save, PASSWORD, Interruption(What.CONSOLE_WRITES, 0)),
        ],
    )
}
LIVES |= {
    f"a killed run of a change of layout that is refused once it is taken up, in {start}": (
        start,
        [
            Play(change_the_layout_in_a_run, MAIL, Interruption(What.KILLED, 4)),
            Play(console_writes, MAIL, None),
            Play(compare_and_forward_in_a_run, MAIL, None),
        ],
    )
    for start in (Phase.AWS, Phase.PURGED)
}


BACK = Play(the_client_comes_back, MAIL, None)
LIVES |= {
    f"a client that leaves, killed at each step, in {start}": (
        start,
        [
            play
            for at in range(0, 24, 3 * EVERY)
            for play in (
                Play(the_client_leaves_and_comes_back, MAIL, Interruption(What.KILLED, at)),
                Play(nova_writes, MAIL, None),
                BACK,
                Play(save, MAIL, None),
            )
        ],
    )
    for start in (Phase.POSTGRES, Phase.AWS)
}
LIVES |= {
    f"a client that leaves, {what} meanwhile, in {start}": (
        start,
        [
            play
            for at in range(4, 100, 16 * EVERY)
            for play in (
                Play(the_client_leaves_and_comes_back, MAIL, Interruption(what, at)),
                BACK,
                Play(push, MAIL, None),
            )
        ],
    )
    for start in (Phase.DUAL_READ, Phase.AWS)
    for what in (What.NOVA_WRITES, What.COLLEAGUE_MOVES_BACK)
}


# Acts in between wait for the run, or the run for them; the run after it, and a move back, go well.
SET = Play(the_key_and_the_regions_change, MAIL, None)
LIVES |= {
    f"another key and other regions, {what}, in {start}": (
        start,
        [
            SET,
            *(
                play
                for at in steps
                for play in (
                    Play(the_key_and_the_regions_change, MAIL, Interruption(what, at)),
                    Play(save, MAIL, None),
                )
            ),
            SET,
            Play(back, MAIL, None),
            Play(push, MAIL, None),
        ],
    )
    for start, what, steps in (
        (Phase.AWS, What.KILLED, range(0, 14, 2)),
        (Phase.DUAL_READ, What.LOST, range(4)),
        (Phase.DUAL_READ, What.COLLEAGUE_MOVES_ON, (4, 16)),
        (Phase.DUAL_WRITE, What.COLLEAGUE_MOVES_BACK, (4, 16)),
        (Phase.PURGED, What.COLLEAGUE_CHANGES_LAYOUT, (4, 16)),
        (Phase.AWS, What.COLLEAGUE_OFFBOARDS, (4, 16)),
        (Phase.AWS, What.CONSOLE_WRITES, (8, 20)),
    )
}


# NOVA renames at any step of whatever goes on, and the schedule's move is killed at each.
NAME_ACTS = (nova_renames, the_secrets_follow, nova_renames_back, the_secrets_follow)
LIVES |= {
    f"a client that is renamed, its move killed at each step, in {start}": (
        start,
        [
            play
            for at in range(0, 7, EVERY)
            for play in (
                Play(nova_renames, MAIL, None),
                Play(the_secrets_follow, MAIL, Interruption(What.KILLED, at)),
                Play(save, MAIL, None),
                Play(the_secrets_follow, MAIL, None),
                GO,
            )
        ],
    )
    for start in (Phase.DUAL_READ, Phase.AWS, Phase.PURGED)
}
LIVES |= {
    f"a client renamed in the middle of {act.__name__} in {start}": (
        start,
        [
            play
            for at in range(1, 40, 6 * EVERY)
            for play in (
                Play(act, MAIL, Interruption(What.NOVA_RENAMES, at)),
                Play(save, MAIL, None),
                Play(the_secrets_follow, MAIL, None),
                GO,
            )
        ],
    )
    for start, act in (
        (Phase.DUAL_WRITE, push),
        (Phase.DUAL_READ, compare_and_forward),
        (Phase.AWS, compare_and_forward),
        (Phase.PURGED, back),
        (Phase.AWS, change_the_layout),
        (Phase.AWS, the_secrets_follow),
        (Phase.AWS, the_client_leaves_and_comes_back),
    )
}
LIVES |= {
    f"clients that swap their slugs, in {start}": (
        start,
        [
            play
            for again in (False, True)
            for play in (
                Play(nova_swaps_slugs, Change(("mail",), again=again), None),
                *(Play(act, MAIL, None) for act in NAME_ACTS),
                Play(save, MAIL, None),
                GO,
            )
        ],
    )
    for start in Phase
}
LIVES |= {
    f"a client that left in part, read by an earlier release, in {start}": (
        start,
        [
            Play(the_client_leaves_and_comes_back, MAIL, Interruption(What.LOST, 0)),
            Play(a_reader_of_an_earlier_release_reads, MAIL, None),
            Play(the_client_comes_back, MAIL, None),
            Play(a_reader_of_an_earlier_release_reads, MAIL, None),
        ],
    )
    for start in (Phase.DUAL_WRITE, Phase.AWS, Phase.PURGED)
}


def list_lives() -> Iterator[object]:
    """The lives, of which those of one kind are lived by day from their last phase on, by night from all."""
    lived = set()
    for name, (start, life) in reversed(LIVES.items()):
        kind = name.replace(f"in {start}", "")
        yield pytest.param(
            start, life, id=name, marks=[pytest.mark.nightly] if kind in lived else ()
        )
        lived.add(kind)


@pytest.mark.parametrize(("start", "life"), [*list_lives()])
def test_lives_that_found_a_defect_keep_the_law(world, start, life):
    world.start, world.life = start, life

    relive(machine(world))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=[pytest.mark.nightly] * fault.takes_long)
        for fault in FAULTS
    ],
)
def test_the_machine_finds_what_is_planted_and_nothing_else(world, fault: Fault):
    focused = machine(
        world, starts=[fault.start], acts=fault.acts, kinds=fault.kinds, within=fault.within
    )
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        keep_statement.cache_clear()
        with pytest.raises(LawBroken):
            run(focused, examples=60, steps=20, with_seed=fault.seed, shrink=False)

    keep_statement.cache_clear()
    relive(focused)


@pytest.mark.parametrize(
    "fault",
    [*CAMPAIGN_FAULTS, *LAYOUT_FAULTS, *LEAVING_FAULTS, *NAMING_FAULTS],
    ids=lambda fault: fault.plant.__name__,
)
def test_a_defect_planted_in_campaigns_layouts_or_leaving_is_found_in_its_life_and_nothing_else(
    world, fault: CampaignFault | LayoutFault
):
    lives = machine(world)
    world.start, world.life = fault.start, fault.life
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        keep_statement.cache_clear()
        with pytest.raises(LawBroken):
            relive(lives)

    keep_statement.cache_clear()
    world.start, world.life = fault.start, fault.life
    relive(lives)
