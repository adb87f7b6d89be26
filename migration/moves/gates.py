"""The gate before a move forward: every rule of the move that isn't met, and what is overridden.

Asks the database for many clients in one statement, and tries out what the AWS account may do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.models import User

from migration.core.clients import PhaseChange
from migration.core.snapshots import ClientSnapshot
from migration.moves.account import KmsAnswers, find_account_problem
from migration.moves.rules import (
    AFTER_FIRST_PUSH,
    EVIDENCE,
    GATE,
    KINDS_BY_KEY,
    AnyRule,
    Ask,
    Check,
    check_aws_writes,
    judge_gates,
)
from migration.runs.models import Run
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Move, Phase

OVERRIDE_PERMISSION = "migration.override_gate"
NEED_APPROVAL = (Move.CUTOVER, Move.PURGE)


def needs_approval(kind: Move) -> bool:
    """Say whether a second user has to approve the move; a move back never needs it."""
    return bool(settings.NOVA_REQUIRE_APPROVAL) and kind in NEED_APPROVAL


@dataclass(frozen=True)
class Override:
    """A user's wish to move a client although evidence is missing."""

    reason: str
    by: User | None  # whose permission counts; None: a command that names nobody
    kinds: frozenset[str] = frozenset()  # of evidence; none: any

    def covers(self, check: Check) -> bool:
        """Say whether the check fails for want of evidence that this override stands in for."""
        return check.may_be_overridden and check.evidence in (self.kinds or EVIDENCE)

    def narrow(self, kinds: frozenset[str]) -> Override | None:
        """Return the override of those of its kinds that are among these; None where none is left."""
        left = self.kinds & kinds
        return replace(self, kinds=left) if left else None


GATE_IS_SHUT = Sentence("gate_is_shut", "%(slug)s can't move to %(new)s yet: %(reasons)s")


class ShutGate(MessageError):  # noqa: N818  # the word of the design
    """The client may not make this move yet; `shut` holds the checks that failed."""

    def __init__(self, slug: str, new: Phase, shut: list[Check]) -> None:
        # Python itself keeps all three in `args`, by which pickle makes the error anew.
        self.slug, self.new, self.shut = slug, new, shut

    @property
    def reasons(self) -> list[Message]:
        return [check.text for check in self.shut]

    @property
    def codes(self) -> list[str]:
        return [check.code for check in self.shut]

    @property
    def error_class(self) -> str:
        """Return the class of a store's error among the reasons; "" where there is none."""
        return next(filter(None, (check.error_class for check in self.shut)), "")

    @property
    def message(self) -> Message:
        return GATE_IS_SHUT(slug=self.slug, new=self.new, reasons=tuple(self.reasons))


class FailedChecks(NamedTuple):
    """The failed checks of a gate."""

    shut: list[Check]
    overridden: list[Check]


# The gate

ACCOUNT_NOT_READY = Sentence("account_not_ready", "The AWS account is not ready: %(error)s")
ACCOUNT_READY = Sentence("account_ready", "The AWS account has the permissions for this.")


class AccountReady(AnyRule):
    """The AWS account may do what the phase needs. Only AWS can say it: lists don't ask."""

    code, moves_to = "account_not_ready", AFTER_FIRST_PUSH

    def say(self, snapshot: ClientSnapshot, answers: KmsAnswers | None, *, writes: bool) -> Check:
        names = snapshot.names.values()
        if error := find_account_problem(names, writes=writes, answers=answers):
            text = ACCOUNT_NOT_READY(error=error.message)
            return replace(self.unmet(text), error_class=error.error_class)
        return self.met(ACCOUNT_READY())


ACCOUNT = AccountReady()


def ask_account(
    snapshot: ClientSnapshot,
    new: Phase,
    answers: KmsAnswers | None = None,
    *,
    only_reads: bool = False,
) -> list[Check]:
    """Return the line of the gate to `new` that only AWS can tell; none before the move to dual write.

    `answers` are those that AWS gave for other clients of the same run. `only_reads`: whether the account may write is
    not tried, and nothing is said of it; whether it may read is.
    """
    if new not in ACCOUNT.moves_to:
        return []
    writes = new == Phase.AWS
    account = ACCOUNT.say(snapshot, answers, writes=writes and not only_reads)
    return [] if writes and only_reads and account.passed else [account]


def evaluate_gate(snapshot: ClientSnapshot, new: Phase) -> list[Check]:
    """Return the lines of the move to `new`, made now. The move to dual write has none, as it pushes and compares."""
    if new not in ACCOUNT.moves_to:
        return []
    # After AWS has answered, which may take long: the others are as of now.
    account = ask_account(snapshot, new)
    return [*judge_gates(Ask([snapshot.client_id]), new)[snapshot.client_id], *account]


def require_open(
    snapshot: ClientSnapshot, new: Phase, checks: list[Check], *, override: Override | None = None
) -> list[Check]:
    """Raise `ShutGate` with every failed check, if any failed that is not overridden; return those that are."""
    failed = split_by_override([each for each in checks if not each.passed], override)
    if failed.shut:
        raise ShutGate(snapshot.slug, new, failed.shut)
    return failed.overridden


MAY_NOT_OVERRIDE = Sentence("may_not_override", "%(who)s may not override missing evidence.")


def split_by_override(failed: list[Check], override: Override | None) -> FailedChecks:
    """Divide the failed checks into those that keep the gate shut and those that are overridden."""
    covered = [check for check in failed if override and override.covers(check)]
    if override and covered and override.by and not override.by.has_perm(OVERRIDE_PERMISSION):
        text = MAY_NOT_OVERRIDE(who=str(override.by))
        return FailedChecks([*failed, Check(text.key, False, text)], [])
    return FailedChecks([check for check in failed if check not in covered], covered)


SHUT_BY_THESE_FACTS = Sentence("shut_by_these_facts", "These checks can't be overridden: %(what)s")
EVIDENCE_MISSING_TOO = Sentence(
    "evidence_missing_too", "Not enough evidence either: %(what)s.", glue=", "
)
SHUT_BY_EVIDENCE = Sentence(
    "shut_by_evidence",
    "Not enough evidence yet: %(what)s.",
    glue=", ",
)


def explain_shut(checks: Iterable[Check]) -> Message | None:
    """Say in a sentence why the gate is shut; None where it is open."""
    shut = [check for check in checks if not check.passed]
    facts = [check for check in shut if not check.evidence]
    missing = tuple(EVIDENCE[check.evidence]() for check in shut if check.evidence)
    too = EVIDENCE_MISSING_TOO if facts else SHUT_BY_EVIDENCE
    what = tuple(check.text for check in facts)
    return in_a_row(
        SHUT_BY_THESE_FACTS(what=what) if facts else None,
        too(what=missing) if missing else None,
    )


def require_aws_writes_allowed(slug: str, new: Phase) -> None:
    """Raise `ShutGate` where this site may not write to AWS now."""
    if shut := [check for check in check_aws_writes() if not check.passed]:
        raise ShutGate(slug, new, shut)


# The evidence that clients lack before a run of moves, and what was overridden in one, by kind

# So many clients' rows are in memory at once.
CLIENTS_AT_ONCE = 1000


def count_missing_kinds(client_ids: Collection[int], new: Phase) -> Counter[str]:
    """Count the clients that lack each kind of evidence for the move to `new`, in a handful of queries a thousand."""
    ids = list(client_ids)
    counts: Counter[str] = Counter()
    evidence = [rule for rule in GATE if rule.evidence]
    for start in range(0, len(ids), CLIENTS_AT_ONCE):
        judged = judge_gates(Ask(ids[start : start + CLIENTS_AT_ONCE]), new, evidence)
        for checks in judged.values():
            counts.update(check.evidence for check in checks if check.may_be_overridden)
    return counts


def count_overrides(run: Run) -> Counter[str]:
    """Count by kind of evidence the clients that the run moved although it was missing."""
    counts: Counter[str] = Counter()
    for key, number in PhaseChange.objects.count_overridden(run).items():
        if kind := KINDS_BY_KEY.get(key):
            counts[kind] += number
    return counts


def label_evidence(counts: Mapping[str, int]) -> list[tuple[Message, int]]:
    """Return each kind of evidence in words, with its number."""
    return [(EVIDENCE[kind](), number) for kind, number in counts.items()]
