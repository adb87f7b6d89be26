"""The gate before a move forward: facts, which nobody can override, and evidence (`operations/evidence.py`).

Reads both stores; `operations/account.py` tries out what the AWS account may do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

from django.conf import settings
from django.utils import timezone

from migration import evidence_sentences, login_sentences, sentences
from migration.models.comparisons import Comparison
from migration.models.readiness import FRESH
from migration.operations.account import find_account_problem
from migration.operations.aws_writes import (
    describe_who_stopped_writes,
    get_aws_write_state,
    write_guard,
)
from migration.operations.evidence import WANT_EVIDENCE, Evidence, list_evidence, make_phase_entry
from migration.operations.gate_facts import GateFacts
from migration.operations.gate_fixes import FIXES, CheckCode, CheckFix
from nova_credentials.messages import Message, MessageError, in_a_row
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.auth.models import User

    from migration.models.clients import ClientMigration
    from migration.models.login_tests import LoginTest
    from migration.models.reads import ReadCount
    from migration.models.run_items import RunItem
    from migration.operations.account import KmsAnswers
    from migration.operations.snapshots import ClientSnapshot

OVERRIDE_PERMISSION = "migration.override_gate"
NEED_APPROVAL = (Move.CUTOVER, Move.PURGE)


def needs_approval(kind: Move) -> bool:
    """Say whether a second user has to approve the move; a move back never needs it."""
    return bool(settings.NOVA_REQUIRE_APPROVAL) and kind in NEED_APPROVAL


@dataclass(frozen=True)
class Check:
    """One condition of a gate: whether it is met now, in words, and what would help."""

    code: str  # a `CheckCode`, or the key of the text
    passed: bool
    text: Message
    fix: CheckFix = CheckFix.NONE
    about: int | None = None
    evidence: Evidence | None = None  # None: a fact, which nobody can override
    is_off: bool = False  # a setting switches it off
    error_class: str = ""  # of the store that did not answer

    @property
    def may_be_overridden(self) -> bool:
        return self.evidence is not None and not self.passed


@dataclass(frozen=True)
class Override:
    """A user's wish to move a client although evidence is missing."""

    reason: str
    by: User | None  # whose permission counts; None: a command that names nobody
    only: frozenset[str] | None = None  # the codes that may be overridden; None: any evidence
    kinds: frozenset[str] = frozenset()  # and the kinds of evidence; none: any

    def covers(self, check: Check) -> bool:
        """Say whether the check fails for want of evidence that this override stands in for."""
        of_kind = check.may_be_overridden and check.evidence in (self.kinds or Evidence)
        return of_kind and (self.only is None or check.code in self.only)

    @property
    def is_permitted(self) -> bool:
        return self.by is None or self.by.has_perm(OVERRIDE_PERMISSION)


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
        return sentences.GATE_IS_SHUT(slug=self.slug, new=self.new, reasons=tuple(self.reasons))


class OpenGate(NamedTuple):
    """The checks of a gate that let the move pass."""

    checks: list[Check]  # all, the overridden ones too
    overridden: list[Check]


class FailedChecks(NamedTuple):
    """The failed checks of a gate."""

    shut: list[Check]
    overridden: list[Check]


def require_open(
    snapshot: ClientSnapshot,
    new: Phase,
    *,
    override: Override | None = None,
    answers: KmsAnswers | None = None,
    facts: GateFacts | None = None,
) -> OpenGate:
    """Raise `ShutGate` with every failed check, if any failed that is not overridden."""
    checks = evaluate_gate(snapshot, new, answers=answers, facts=facts)
    failed = split_by_override([each for each in checks if not each.passed], override)
    if failed.shut:
        raise ShutGate(snapshot.slug, new, failed.shut)
    return OpenGate(checks, failed.overridden)


def split_by_override(failed: list[Check], override: Override | None) -> FailedChecks:
    """Divide the failed checks into those that keep the gate shut and those that are overridden."""
    covered = [check for check in failed if override and override.covers(check)]
    if override and covered and not override.is_permitted:
        text = evidence_sentences.MAY_NOT_OVERRIDE(who=str(override.by))
        return FailedChecks([*failed, Check(text.key, False, text)], [])
    return FailedChecks([check for check in failed if check not in covered], covered)


def explain_shut(checks: Iterable[Check]) -> Message | None:
    """Say in a sentence why the gate is shut; None where it is open."""
    shut = [check for check in checks if not check.passed]
    facts = [check for check in shut if check.evidence is None]
    missing = tuple(
        evidence_sentences.EVIDENCE[check.evidence]() for check in shut if check.evidence
    )
    too = evidence_sentences.EVIDENCE_MISSING_TOO if facts else evidence_sentences.SHUT_BY_EVIDENCE
    what = tuple(check.text for check in facts)
    return in_a_row(
        evidence_sentences.SHUT_BY_THESE_FACTS(what=what) if facts else None,
        too(what=missing) if missing else None,
    )


def evaluate_gate(
    snapshot: ClientSnapshot,
    new: Phase,
    *,
    answers: KmsAnswers | None = None,
    facts: GateFacts | None = None,
) -> list[Check]:
    """Return the checks of the move to `new`, made now. The move to dual write has none, as it pushes and compares.

    `answers` are those that AWS gave for other clients of the same run, `facts` those of all clients of a page.
    """
    if new == Phase.DUAL_WRITE:
        return []
    return [
        *database_checks(snapshot, new, facts),
        _check_account(snapshot, answers, writes=new == Phase.AWS),
    ]


class Checkable(Protocol):
    """A client as the database checks need it: a `ClientSnapshot`, or a row of a page."""

    @property
    def client_id(self) -> int: ...

    @property
    def push_pending(self) -> bool: ...


def database_checks(
    snapshot: Checkable, new: Phase, facts: GateFacts | None = None
) -> Iterator[Check]:
    """Make the checks that need the database alone: the facts, then the evidence."""
    facts = facts or GateFacts([snapshot.client_id])
    yield from check_aws_writes()
    open_item = facts.open_write_items.get(snapshot.client_id)
    if new == Phase.DUAL_WRITE:
        yield _check_no_run(open_item)
        return
    client_migration = facts.client_migrations.get(snapshot.client_id)
    yield _check_pushed(snapshot)
    yield from _check_compared(client_migration)
    yield _check_no_run(open_item)
    yield _check_counted(facts)
    if new not in WANT_EVIDENCE:
        return
    for verdict in facts.nova_tables.list_gate_verdicts():
        yield Check(verdict.text.key, verdict.passed, verdict.text, CheckFix.NOVA_TABLES)
    counts = facts.read_counts.get(snapshot.client_id)
    yield from _check_reads(counts)
    yield from _check_login_tests(facts.aws_login_tests.get(snapshot.client_id, []))
    for line in list_evidence(
        make_phase_entry(snapshot.client_id, client_migration, counts), new, facts
    ):
        fix = FIXES.get(line.kind, CheckFix.NONE)
        yield Check(
            line.text.key,
            line.is_met,
            line.text,
            fix,
            evidence=line.kind,
            is_off=line.is_off,
        )


def check_aws_writes() -> Iterator[Check]:
    """Yield the checks that this host may write on this database, and that writes are not stopped, a second ago."""
    state = get_aws_write_state()
    for code, refusal, passed in (
        (
            CheckCode.DATABASE_IS_COPY,
            write_guard().explain_refusal(state),
            sentences.IS_NO_COPY(),
        ),
        (
            CheckCode.WRITES_STOPPED,
            describe_who_stopped_writes(state),
            sentences.WRITES_NOT_STOPPED(),
        ),
    ):
        found = refusal.key if refusal else code
        yield Check(found, refusal is None, refusal or passed, CheckFix.AWS_WRITES)


def require_aws_writes_allowed(slug: str, new: Phase) -> None:
    """Raise `ShutGate` where this site may not write to AWS now."""
    if shut := [check for check in check_aws_writes() if not check.passed]:
        raise ShutGate(slug, new, shut)


def _check_pushed(snapshot: Checkable) -> Check:
    if snapshot.push_pending:
        return Check(CheckCode.PUSH_PENDING, False, sentences.PUSH_PENDING(), CheckFix.PUSH)
    return Check(CheckCode.PUSH_PENDING, True, sentences.NO_PUSH_PENDING())


def _check_compared(client_migration: ClientMigration | None) -> Iterator[Check]:
    newest = client_migration.comparison if client_migration else None
    if newest is None:
        yield Check(CheckCode.NEVER_COMPARED, False, sentences.NEVER_COMPARED(), CheckFix.COMPARE)
        return
    matches = newest.status == Comparison.Status.MATCH
    yield Check(
        CheckCode.NEWEST_COMPARISON,
        matches,
        sentences.NEWEST_COMPARISON(result=newest.status_message, ago=newest.compared_at),
        CheckFix.COMPARISON,
        newest.pk,
    )
    # Also where its time is ahead, from a clock that was wrong: it would be fresh until then.
    if matches and abs(timezone.now() - newest.compared_at) > FRESH:
        text = sentences.COMPARISON_TOO_OLD(n=FRESH // timedelta(minutes=1))
        yield Check(CheckCode.COMPARISON_TOO_OLD, False, text, CheckFix.COMPARE)


def _check_no_run(item: RunItem | None) -> Check:
    if item:
        text = sentences.IN_A_RUN(run=item.run.name_message)
        return Check(CheckCode.IN_A_RUN, False, text, CheckFix.RUN, item.run_id)
    return Check(CheckCode.IN_A_RUN, True, sentences.IN_NO_RUN())


def _check_counted(facts: GateFacts) -> Check:
    if problem := facts.counting_problem:
        return Check(problem.key, False, problem, CheckFix.CHECK_NOVA)
    return Check(CheckCode.WRITES_NOT_COUNTED, True, sentences.WRITES_COUNTED())


def _check_reads(counts: ReadCount | None) -> Iterator[Check]:
    """Yield whether NOVA's reader found a mismatch lately; nothing where it did not read, as that says nothing."""
    since = timezone.now() - FRESH
    if counts is None or not counts.has_read_after(since):
        return
    at = counts.last_mismatch_at
    mismatch = at if at and at > since else None
    text = (
        evidence_sentences.READER_MET_MISMATCH(ago=mismatch)
        if mismatch
        else evidence_sentences.READER_MET_NONE()
    )
    yield Check(CheckCode.READER_MET_MISMATCH, not mismatch, text, CheckFix.READS)


def _check_login_tests(tests: list[LoginTest]) -> Iterator[Check]:
    """Yield whether the newest test refused a login of AWS's copy; nothing where none was ever tested."""
    if not tests:
        return
    refused = [test for test in tests if test.is_proven_wrong]
    text = login_sentences.AWS_LOGIN_NOT_REFUSED()
    if refused:
        names = tuple(test.login_name_message for test in refused)
        text = login_sentences.AWS_LOGIN_REFUSED(ago=refused[0].tested_at, logins=names)
    yield Check(CheckCode.LOGIN_REFUSED, not refused, text, CheckFix.LOGIN_TESTS)


def _check_account(snapshot: ClientSnapshot, answers: KmsAnswers | None, *, writes: bool) -> Check:
    names = snapshot.names.values()
    if error := find_account_problem(names, writes=writes, answers=answers):
        text = sentences.ACCOUNT_NOT_READY(error=error.message)
        return Check(CheckCode.ACCOUNT_NOT_READY, False, text, error_class=error.error_class)
    return Check(CheckCode.ACCOUNT_NOT_READY, True, sentences.ACCOUNT_READY())
