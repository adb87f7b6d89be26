"""Owns what a run of moves is told: which move it makes of each of its clients, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from nova_credentials.messages import Message

# The moves on the way to AWS: each has a gate, which is shut while this site may not write to AWS.
TOWARDS_AWS = (Move.FORWARD, Move.CUTOVER, Move.PURGE)


@dataclass(frozen=True)
class PlannedMoves:
    """The move that a run makes of each client that is in `old` when its turn comes.

    `reason` and `override_reason` are texts that a user typed; an empty one overrides nothing. `override_lines` are the
    kinds of evidence that may be missing then; none stands for all. `only_where_equal`: a rollback leaves a client
    whose stores differ, or of which AWS can't be read.
    """

    old: Phase
    new: Phase
    reason: str = ""
    override_reason: str = ""
    override_lines: tuple[str, ...] = ()
    schedule_deletion: bool = False
    needs_approval: bool = False
    only_where_equal: bool = False

    @property
    def kind(self) -> Move:
        return MOVES[self.old, self.new]

    @property
    def goes_towards_aws(self) -> bool:
        return self.kind in TOWARDS_AWS

    @property
    def columns(self) -> dict[str, str | bool | list[str]]:
        """Return column of `Run` -> value, to store these moves with a run."""
        return {
            "move_from": self.old.value,
            "move_to": self.new.value,
            "reason": self.reason,
            "override_reason": self.override_reason,
            "override_lines": list(self.override_lines),
            "schedule_deletion": self.schedule_deletion,
            "only_where_equal": self.only_where_equal,
        }

    @property
    def old_and_new_labels(self) -> dict[str, Message]:
        """Return both phases in words, as sentences take them."""
        return {"old": self.old.label, "new": self.new.label}
