"""The machine: hypothesis picks who does what and what goes wrong meanwhile, and the law is held against every step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, Phase as HypothesisPhase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    rule,
)

from migration.phases import Phase
from tests.migration.acts import (
    ACTS,
    Change,
    console_writes,
    nova_begins,
    nova_commits,
    nova_writes,
    push,
    save,
)
from tests.migration.interruptions import AWS_FAILS, Interruption, Stage, What
from tests.migration.world import FIELDS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CHANGES = st.builds(
    Change,
    st.sampled_from([*((field,) for field in FIELDS), tuple(FIELDS)]),
    st.sampled_from([False, False, True]),
)
# So many steps an act may have: writes, calls of AWS, statements and calls.
LATEST = {What.KILLED: 12} | dict.fromkeys(AWS_FAILS, 5)
LATEST_OF_OTHERS = 40


def interruptions(*kinds: What) -> st.SearchStrategy[Interruption | None]:
    """Nothing, as often as not; else one of these, somewhere."""
    if not kinds:
        return st.none()
    happens = st.sampled_from(kinds).flatmap(
        lambda what: st.builds(
            Interruption, st.just(what), st.integers(0, LATEST.get(what, LATEST_OF_OTHERS))
        )
    )
    return st.none() | happens


def actors() -> dict[What, Callable[[World], None]]:
    """Who may come in between, each with another field than an act writes by itself."""
    other = Change(("mail",))
    return {
        What.NOVA_WRITES: partial(nova_writes, change=other),
        What.NOVA_COMMITS: lambda world: nova_commits(world, world.opened),
        What.NOVA_READS: World.check,
        What.COLLEAGUE_SAVES: partial(save, change=other),
        What.WORKER_PUSHES: lambda world: push(world, other),
        What.CONSOLE_WRITES: partial(console_writes, change=other, confirmed=False),
    }


class LawMachine(RuleBasedStateMachine):
    """Subclassed by `machine`, which says in which world, and which steps."""

    world: ClassVar[World]

    def perform(
        self, act: Callable[[World, Change], None], change: Change, interruption: Interruption | None
    ) -> None:
        world = self.world
        opens = interruption is not None and interruption.what == What.NOVA_COMMITS
        world.opened = nova_begins(world, Change(("mail",))) if opens else {}
        with world.stage.play(interruption):
            act(world, change)
        if world.opened:
            nova_commits(world, world.opened)

    @invariant()
    def the_law_holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.end()


def machine(
    world: World,
    *,
    starts: Sequence[Phase] = tuple(Phase),
    acts: Sequence[Callable[[World, Change], None]] = ACTS,
    kinds: Sequence[What] = tuple(What),
) -> type[LawMachine]:
    """The machine over these phases to begin in, these acts, and these interruptions of them."""
    world.stage = Stage(world, actors())
    names = {act.__name__: act for act in acts}

    class Machine(LawMachine):
        @initialize(start=st.sampled_from(starts))
        def begin(self, start: Phase) -> None:
            world.reset(start)

        @rule(
            act=st.sampled_from(sorted(names)), change=CHANGES, interruption=interruptions(*kinds)
        )
        def step(self, act: str, change: Change, interruption: Interruption | None) -> None:
            self.perform(names[act], change, interruption)

    Machine.world = world
    return Machine


def run(
    of: type[LawMachine], *, examples: int, steps: int, with_seed: int | None, shrink: bool = True
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
