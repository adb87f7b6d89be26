"""Makes the lines by which the audit records a gate that let a move pass: every check, in the words it had then."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from migration import audit_sentences, evidence_sentences
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from collections.abc import Collection

    from migration.operations.gates import Check


class PassedLineState(StrEnum):
    """How a line of the gate let the move pass."""

    PASSED = "passed"
    OFF = "off"  # a setting switched it off
    OVERRIDDEN = "overridden"


def describe_gate_lines(checks: Collection[Check], overridden: Collection[Check]) -> list[Message]:
    """Return the text of each check; one that was overridden says so."""
    return [
        audit_sentences.LINE_OVERRIDDEN(line=check.text) if check in overridden else check.text
        for check in checks
    ]


def read_recorded_gate_line(line: Message) -> tuple[PassedLineState, Message]:
    """Return how a recorded line let the move pass, and the text of its check."""
    if line.key == audit_sentences.LINE_OVERRIDDEN.key:
        inner = line.values.get("line")
        return PassedLineState.OVERRIDDEN, inner if isinstance(inner, Message) else line
    is_off = line.key == evidence_sentences.SWITCHED_OFF.key
    return PassedLineState.OFF if is_off else PassedLineState.PASSED, line
