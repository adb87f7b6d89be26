"""The machine: hypothesis picks who does what and what goes wrong meanwhile, and the law is held against every step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    rule,
)

from nova_credentials.phases import Phase
from tests.law.actions import (
    ACTS,
    STEPS,
    Act,
    Change,
    back,
    compare_and_forward,
    console_writes,
    nova_begins,
    nova_commits_what_it_opened,
    nova_disables_the_triggers,
    nova_writes,
    push,
    save,
)
from tests.law.campaign_acts import CAMPAIGN_ACTS, CAMPAIGN_STEPS, a_campaign_goes_further
from tests.law.environment import FIELDS, World
from tests.law.fault_injection import AWS_FAILS, Interruption, What
from tests.law.layout_acts import LAYOUT_STEPS, change_the_layout
from tests.law.leaving_acts import LEAVING_STEPS, the_client_leaves_and_comes_back
from tests.law.naming_acts import NAMING_ACTS, NAMING_STEPS, nova_renames, the_secrets_follow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OF_OTHERS = Change(("mail",))
CHANGES = st.builds(
    Change,
    st.sampled_from([*((field,) for field in FIELDS), tuple(FIELDS)]),
    st.sampled_from([False, False, True]),
)
# At which writing step, or call of AWS, at the latest; who comes in between comes at any step.
STEPS_OF_ALL = STEPS | CAMPAIGN_STEPS | LAYOUT_STEPS | LEAVING_STEPS | NAMING_STEPS
LATEST = {What.KILLED: 9} | dict.fromkeys(AWS_FAILS, 3)


@st.composite
def plays(draw, acts: Sequence[Act], kinds: Sequence[What], within: int) -> Play:
    """An act, what it changes, and, as often as not, an interruption of it, within so many steps."""
    act = draw(st.sampled_from(acts))
    interruption = None
    if act in STEPS_OF_ALL and kinds and draw(st.booleans()):
        what = draw(st.sampled_from(kinds))
        at = draw(st.integers(0, min(within, LATEST.get(what, STEPS_OF_ALL[act]))))
        interruption = Interruption(what, at)
    return Play(act, draw(CHANGES), interruption)


@dataclass(frozen=True)
class Play:
    """One step of the machine."""

    act: Act
    change: Change
    interruption: Interruption | None


def actors() -> dict[What, Callable[[World], None]]:
    """Who may come in between, each with a change of their own."""
    return {
        What.NOVA_WRITES: partial(nova_writes, change=OF_OTHERS),
        What.TRIGGERS_GO: partial(nova_disables_the_triggers, change=OF_OTHERS),
        What.NOVA_COMMITS: nova_commits_what_it_opened,
        What.NOVA_READS: World.check,
        What.COLLEAGUE_SAVES: partial(save, change=OF_OTHERS),
        What.COLLEAGUE_MOVES_ON: partial(compare_and_forward, change=OF_OTHERS),
        What.COLLEAGUE_MOVES_BACK: partial(back, _=OF_OTHERS),
        What.WORKER_PUSHES: partial(push, _=OF_OTHERS),
        What.CAMPAIGN_GOES_FURTHER: partial(a_campaign_goes_further, _=OF_OTHERS),
        What.COLLEAGUE_CHANGES_LAYOUT: partial(change_the_layout, _=OF_OTHERS),
        What.COLLEAGUE_OFFBOARDS: partial(the_client_leaves_and_comes_back, _=OF_OTHERS),
        What.NOVA_RENAMES: partial(nova_renames, _=OF_OTHERS),
        What.SECRETS_FOLLOW: partial(the_secrets_follow, _=OF_OTHERS),
        What.CONSOLE_WRITES: partial(console_writes, change=OF_OTHERS, confirmed=False),
    }


class LawMachine(RuleBasedStateMachine):
    """Subclassed by `machine`, which says in which world, and which steps."""

    world: ClassVar[World]

    def perform(self, play: Play) -> None:
        world, interruption = self.world, play.interruption
        world.life.append(play)
        opens = interruption is not None and interruption.what == What.NOVA_COMMITS
        world.opened = nova_begins(world, OF_OTHERS) if opens else {}
        with world.stage.play(interruption):
            play.act(world, play.change)
        nova_commits_what_it_opened(world)

    @invariant()
    def the_law_holds(self) -> None:
        self.world.check()
        self.world.campaigns.judge(self.world)

    def teardown(self) -> None:
        self.world.end()


def machine(
    world: World,
    *,
    starts: Sequence[Phase] = tuple(Phase),
    acts: Sequence[Act] = (
        *ACTS,
        *CAMPAIGN_ACTS,
        *LAYOUT_STEPS,
        *LEAVING_STEPS,
        *NAMING_ACTS,
    ),
    kinds: Sequence[What] = tuple(What),
    within: int = max(STEPS_OF_ALL.values()),
) -> type[LawMachine]:
    """The machine over these phases to begin in, these acts, and these interruptions of them."""

    class Machine(LawMachine):
        @initialize(start=st.sampled_from(starts))
        def begin(self, start: Phase) -> None:
            world.reset(start)

        @rule(play=plays(acts, kinds, within))
        def step(self, play: Play) -> None:
            self.perform(play)

    Machine.world = world
    return Machine


def relive(of: type[LawMachine]) -> None:
    """Takes the steps of the newest life once more, and raises where the law is broken."""
    world, life, lived = of.world, of.world.life, of()
    world.reset(world.start)
    lived.the_law_holds()
    for play in life:
        lived.perform(play)
        lived.the_law_holds()
    lived.teardown()


def run(
    of: type[LawMachine],
    *,
    examples: int,
    steps: int,
    with_seed: int | None = None,
    shrink: bool = True,
) -> None:
    """Raises what the machine finds, with the steps that lead there; a seed makes it the same each time."""
    phases = [HypothesisPhase.generate] + [HypothesisPhase.shrink] * shrink
    test = get_state_machine_test(
        of,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    (test if with_seed is None else seed(with_seed)(test))()
