"""Owns the phases of a client and the moves between them. Knows no database and no Django."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from nova_credentials import sentences
from nova_credentials.messages import Message, MessageError


class Phase(StrEnum):
    """The phase of a client; the members are in the order in which it is moved."""

    POSTGRES = "postgres"
    DUAL_WRITE = "dual_write"
    DUAL_READ = "dual_read"
    AWS = "aws"
    PURGED = "purged"

    @property
    def label(self) -> Message:
        """Return the phase in words."""
        return sentences.PHASES[self]()

    @property
    def reads_postgres(self) -> bool:
        """Say whether NOVA reads PostgreSQL, alone or beside AWS."""
        return self in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ)

    @property
    def reads_aws(self) -> bool:
        """Say whether NOVA reads AWS, alone or beside PostgreSQL."""
        return self in (Phase.DUAL_READ, Phase.AWS, Phase.PURGED)

    @property
    def aws_is_authority(self) -> bool:
        """Say whether AWS decides: a save that it refuses is saved nowhere, and NOVA reads it alone."""
        return self in (Phase.AWS, Phase.PURGED)

    @property
    def writes_both(self) -> bool:
        """Say whether a write goes to both stores."""
        return self in (Phase.DUAL_WRITE, Phase.DUAL_READ, Phase.AWS)


class Move(StrEnum):
    """The name of a move from one phase to another."""

    FORWARD = "forward"
    BACK = "back"
    CUTOVER = "cutover"
    ROLLBACK = "rollback"
    PURGE = "purge"
    RESTORE = "restore"


MOVES: Mapping[tuple[Phase, Phase], Move] = MappingProxyType(
    {
        (Phase.POSTGRES, Phase.DUAL_WRITE): Move.FORWARD,
        (Phase.DUAL_WRITE, Phase.DUAL_READ): Move.FORWARD,
        (Phase.DUAL_READ, Phase.AWS): Move.CUTOVER,
        (Phase.AWS, Phase.PURGED): Move.PURGE,
        (Phase.PURGED, Phase.AWS): Move.RESTORE,
        (Phase.AWS, Phase.DUAL_READ): Move.ROLLBACK,
        (Phase.DUAL_READ, Phase.DUAL_WRITE): Move.BACK,
        (Phase.DUAL_WRITE, Phase.POSTGRES): Move.BACK,
    }
)


class IllegalMove(MessageError):  # noqa: N818 - the word of the design
    """The client cannot move there from its present phase."""

    def __init__(self, slug: str, old: Phase, new: Phase) -> None:
        # Python itself keeps all three in `args`, by which pickle makes the error anew.
        self.slug, self.old, self.new = slug, old, new

    @property
    def message(self) -> Message:
        """Return the sentence that there is no such move, and to which phases the client can move."""
        allowed = tuple(new.label for old, new in MOVES if old == self.old)
        return sentences.ILLEGAL_MOVE(
            slug=self.slug, old=self.old.label, allowed=allowed, new=self.new.label
        )


class StalePhase(MessageError):  # noqa: N818 - the word of the design
    """Somebody else moved the client first."""

    def __init__(self, slug: str, seen: Phase, now: Phase) -> None:
        # All three stay in `args`, by which pickle makes the error anew.
        self.slug, self.seen, self.now = slug, seen, now

    @property
    def message(self) -> Message:
        """Say in which phase it is now."""
        return sentences.STALE_PHASE(slug=self.slug, seen=self.seen.label, now=self.now.label)


def check_move(slug: str, old: Phase, new: Phase) -> Move:
    """Return the name of the move; raises IllegalMove where the table has none."""
    if (old, new) not in MOVES:
        raise IllegalMove(slug, old, new)
    return MOVES[old, new]
