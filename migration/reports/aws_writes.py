"""Loads everything that the page about AWS writes shows: the state, both identities, and who changed it when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from migration.core.aws_writes import describe_who_stopped_writes, write_guard
from migration.core.database_identity import differs_from_noted, read_identity
from migration.core.shared_facts import FACTS, explain_differences, find_differences, list_own_facts
from migration.core.write_state import (
    DatabaseClaim,
    DatabaseIdentity,
    WriteStop,
    read_aws_write_state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nova_credentials.messages import Message

SHOWN = 20


@dataclass(frozen=True)
class SharedFact:
    """What all hosts must share of one kind, as it is noted and as it is here; of a key its code. Empty: not known."""

    name: str
    noted: str
    here: str
    differs: bool


@dataclass(frozen=True)
class AwsWrites:
    """Whether this site may write to AWS, and why not."""

    stop: Message | None
    stop_reason: str  # as typed
    copy: Message | None
    reached: DatabaseIdentity | None
    noted: DatabaseIdentity | None
    differs: Message | None
    facts: list[SharedFact]
    stops: list[WriteStop]
    claims: list[DatabaseClaim]

    @property
    def is_copy(self) -> bool:
        """Say whether another database, or none, is recorded as AWS's writer; False if this one is unknown."""
        if self.reached is None:
            return False
        return self.noted is None or differs_from_noted(self.reached, self.noted)


def load_aws_writes() -> AwsWrites:
    """Load the state of AWS writes, this and the noted database's identity, and the newest stops and claims."""
    state = read_aws_write_state(connection)
    return AwsWrites(
        stop=describe_who_stopped_writes(state),
        stop_reason=state.stop.reason if state.stop else "",
        copy=write_guard().explain_refused_database(state),
        reached=read_identity(connection),
        noted=state.noted,
        differs=explain_differences(state.facts),
        facts=_list_facts(state.facts),
        stops=list(WriteStop.objects.all()[:SHOWN]),
        claims=list(DatabaseClaim.objects.all()[:SHOWN]),
    )


def _list_facts(noted: Mapping[str, list[str]]) -> list[SharedFact]:
    own, differing = list_own_facts(), find_differences(noted)
    return [
        SharedFact(
            fact, noted.get(fact, [""])[0], own[fact][0] if own[fact] else "", fact in differing
        )
        for fact in FACTS
    ]
