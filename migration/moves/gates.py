"""The gate before a move forward: facts, which nobody can override, and evidence, with the remedy of each.

Reads both stores, and has tried out what the AWS account may do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from migration.core.aws_writes import (
    describe_who_stopped_writes,
    get_aws_write_state,
    write_guard,
)
from migration.core.clients import ClientMigration, PhaseChange, ReadCount
from migration.core.comparisons import Comparison
from migration.core.snapshots import ClientSnapshot
from migration.logins.models import LoginTest
from migration.moves.account import KmsAnswers, find_account_problem
from migration.moves.evidence import (
    EVIDENCE,
    KINDS_BY_KEY,
    WANT_EVIDENCE,
    Evidence,
    GateFacts,
    list_evidence,
    make_phase_entry,
)
from migration.moves.models import FRESH
from migration.runs.items import RunItem
from migration.runs.models import Run
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Move, Phase

# The checks, and what makes a failed one pass: pages lead there


class CheckCode(StrEnum):
    """The code of a check, named after what is wrong where it fails."""

    PUSH_PENDING = "push_pending"
    NEVER_COMPARED = "never_compared"
    NEWEST_COMPARISON = "newest_comparison"
    COMPARISON_TOO_OLD = "comparison_too_old"
    IN_A_RUN = "in_a_run"
    WRITES_NOT_COUNTED = "writes_not_counted"
    PROOF_FAILED = "proof_failed"
    WERE_UNCOUNTED = "were_uncounted"
    READER_MET_MISMATCH = "reader_met_mismatch"
    READER_FAILED_AT_AWS = "reader_failed_at_aws"
    LOGIN_REFUSED = "aws_login_refused"
    ACCOUNT_NOT_READY = "account_not_ready"
    NAME_NOT_ALLOWED = "name_not_allowed"
    NO_DOCUMENT = "no_document"
    NO_LOGIN = "no_login"
    TOO_LARGE = "secret_too_large"
    DATABASE_IS_COPY = "database_is_copy"
    HOST_DIFFERS = "host_differs"
    WRITES_STOPPED = "writes_stopped"


class CheckFix(StrEnum):
    """The action that can make a failed check pass."""

    PUSH = "push"
    COMPARE = "compare"
    COMPARISON = "comparison"  # look at the comparison `Check.about`
    RUN = "run"  # look at the run `Check.about`
    READS = "reads"
    NOVA_TABLES = "nova_tables"  # map columns, accept objects
    READERS = "readers"
    COPIES = "copies"
    SLUG = "slug"  # change it
    LOGINS = "logins"  # add or change one
    LOGIN_TESTS = "login_tests"  # correct the login, and test it again
    ADOPT = "adopt"  # take over a secret that this site did not make
    AWS_WRITES = "aws_writes"  # claim the database, let writes go on
    CHECK_NOVA = "check_nova"  # it says what to run or to grant
    NONE = "none"  # the text says what to do outside this site


FIXES: dict[str, CheckFix] = {
    Evidence.STREAK: CheckFix.COMPARE,
    Evidence.READS: CheckFix.READS,
    Evidence.PROCESSES: CheckFix.READERS,
    Evidence.FAILURES: CheckFix.READS,
    Evidence.COPIES: CheckFix.COPIES,
    Evidence.COPIES_FOUND: CheckFix.COPIES,
}

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
    kinds: frozenset[str] = frozenset()  # of evidence; none: any

    def covers(self, check: Check) -> bool:
        """Say whether the check fails for want of evidence that this override stands in for."""
        return check.may_be_overridden and check.evidence in (self.kinds or Evidence)

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


def require_open(
    snapshot: ClientSnapshot,
    new: Phase,
    *,
    override: Override | None = None,
    answers: KmsAnswers | None = None,
    facts: GateFacts | None = None,
) -> tuple[list[Check], list[Check]]:
    """Raise `ShutGate` with every failed check, if any failed that is not overridden.

    Returns all checks, and those of them that are overridden.
    """
    checks = evaluate_gate(snapshot, new, answers=answers, facts=facts)
    failed = split_by_override([each for each in checks if not each.passed], override)
    if failed.shut:
        raise ShutGate(snapshot.slug, new, failed.shut)
    return checks, failed.overridden


MAY_NOT_OVERRIDE = Sentence(
    "may_not_override", "%(who)s has no permission to override missing evidence."
)


def split_by_override(failed: list[Check], override: Override | None) -> FailedChecks:
    """Divide the failed checks into those that keep the gate shut and those that are overridden."""
    covered = [check for check in failed if override and override.covers(check)]
    if override and covered and override.by and not override.by.has_perm(OVERRIDE_PERMISSION):
        text = MAY_NOT_OVERRIDE(who=str(override.by))
        return FailedChecks([*failed, Check(text.key, False, text)], [])
    return FailedChecks([check for check in failed if check not in covered], covered)


SHUT_BY_THESE_FACTS = Sentence(
    "shut_by_these_facts", "The gate is shut, and nobody can override this: %(what)s"
)
EVIDENCE_MISSING_TOO = Sentence(
    "evidence_missing_too", "Evidence is missing too: %(what)s.", glue=", "
)
SHUT_BY_EVIDENCE = Sentence(
    "shut_by_evidence",
    "The gate is shut because nothing proves yet that NOVA can work from AWS alone; missing: %(what)s.",
    glue=", ",
)


def explain_shut(checks: Iterable[Check]) -> Message | None:
    """Say in a sentence why the gate is shut; None where it is open."""
    shut = [check for check in checks if not check.passed]
    facts = [check for check in shut if check.evidence is None]
    missing = tuple(EVIDENCE[check.evidence]() for check in shut if check.evidence)
    too = EVIDENCE_MISSING_TOO if facts else SHUT_BY_EVIDENCE
    what = tuple(check.text for check in facts)
    return in_a_row(
        SHUT_BY_THESE_FACTS(what=what) if facts else None,
        too(what=missing) if missing else None,
    )


def evaluate_gate(
    snapshot: ClientSnapshot,
    new: Phase,
    *,
    answers: KmsAnswers | None = None,
    facts: GateFacts | None = None,
    only_reads: bool = False,
) -> list[Check]:
    """Return the checks of the move to `new`, made now. The move to dual write has none, as it pushes and compares.

    `answers` are those that AWS gave for other clients of the same run, `facts` those of all clients of a page.
    `only_reads`: whether the account may write is not tried, and nothing is said of it; whether it may read is.
    """
    if new == Phase.DUAL_WRITE:
        return []
    writes = new == Phase.AWS
    account = _check_account(snapshot, answers, writes=writes and not only_reads)
    untold = writes and only_reads and account.passed
    return [*database_checks(snapshot, new, facts), *([] if untold else [account])]


class Checkable(Protocol):
    """A client as the database checks need it: a `ClientSnapshot`, or a row of a page."""

    @property
    def client_id(self) -> int: ...

    @property
    def push_pending(self) -> bool: ...


@dataclass(frozen=True)
class ClientToCheck:
    """What the database checks need to know of a client beforehand."""

    client_id: int
    push_pending: bool


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


WRITES_NOT_STOPPED = Sentence("writes_not_stopped", "AWS writes are not stopped.")
IS_NO_COPY = Sentence("is_no_copy", "This database is the one that writes to AWS.")


def check_aws_writes() -> Iterator[Check]:
    """Yield the checks that this host may write on this database, and that writes are not stopped, a second ago."""
    state = get_aws_write_state()
    copy, stopped = write_guard().explain_refusal(state), describe_who_stopped_writes(state)
    for code, refusal, passed in (
        (CheckCode.DATABASE_IS_COPY, copy, IS_NO_COPY()),
        (CheckCode.WRITES_STOPPED, stopped, WRITES_NOT_STOPPED()),
    ):
        found = refusal.key if refusal else code
        yield Check(found, refusal is None, refusal or passed, CheckFix.AWS_WRITES)


def require_aws_writes_allowed(slug: str, new: Phase) -> None:
    """Raise `ShutGate` where this site may not write to AWS now."""
    if shut := [check for check in check_aws_writes() if not check.passed]:
        raise ShutGate(slug, new, shut)


PUSH_PENDING = Sentence(
    "push_pending", "A push is pending: the client's newest values are not in AWS yet."
)
NO_PUSH_PENDING = Sentence("no_push_pending", "No push is pending.")


def _check_pushed(snapshot: Checkable) -> Check:
    if snapshot.push_pending:
        return Check(CheckCode.PUSH_PENDING, False, PUSH_PENDING(), CheckFix.PUSH)
    return Check(CheckCode.PUSH_PENDING, True, NO_PUSH_PENDING())


NEVER_COMPARED = Sentence("never_compared", "It was never compared: compare it first.")
NEWEST_COMPARISON = Sentence("newest_comparison", "Newest comparison: %(result)s, %(ago)s ago.")
COMPARISON_TOO_OLD = Sentence(
    "comparison_too_old", "The newest comparison is older than %(n)s minutes: compare again."
)


def _check_compared(client_migration: ClientMigration | None) -> Iterator[Check]:
    newest = client_migration.comparison if client_migration else None
    if newest is None:
        yield Check(CheckCode.NEVER_COMPARED, False, NEVER_COMPARED(), CheckFix.COMPARE)
        return
    matches = newest.status == Comparison.Status.MATCH
    yield Check(
        CheckCode.NEWEST_COMPARISON,
        matches,
        NEWEST_COMPARISON(result=newest.status_message, ago=newest.compared_at),
        CheckFix.COMPARISON,
        newest.pk,
    )
    # Also where its time is ahead, from a clock that was wrong: it would be fresh until then.
    if matches and abs(timezone.now() - newest.compared_at) > FRESH:
        text = COMPARISON_TOO_OLD(n=FRESH // timedelta(minutes=1))
        yield Check(CheckCode.COMPARISON_TOO_OLD, False, text, CheckFix.COMPARE)


IN_A_RUN = Sentence("in_a_run", "This client is still waiting in %(run)s.")
IN_NO_RUN = Sentence("in_no_run", "No run is working on this client.")


def _check_no_run(item: RunItem | None) -> Check:
    if item:
        text = IN_A_RUN(run=item.run.name_message)
        return Check(CheckCode.IN_A_RUN, False, text, CheckFix.RUN, item.run_id)
    return Check(CheckCode.IN_A_RUN, True, IN_NO_RUN())


WRITES_COUNTED = Sentence("writes_counted", "Every write to this client's rows is counted.")


def _check_counted(facts: GateFacts) -> Check:
    if problem := facts.counting_problem:
        return Check(problem.key, False, problem, CheckFix.CHECK_NOVA)
    return Check(CheckCode.WRITES_NOT_COUNTED, True, WRITES_COUNTED())


READER_MET_MISMATCH = Sentence(
    # The 30 minutes are FRESH; a test fails where they differ.
    "reader_met_mismatch",
    "NOVA's reader found a mismatch %(ago)s ago; this passes 30 minutes after the last one.",
)
READER_MET_NONE = Sentence("reader_met_none", "NOVA's reader found no mismatch recently.")


def _check_reads(counts: ReadCount | None) -> Iterator[Check]:
    """Yield whether NOVA's reader found a mismatch lately; nothing where it did not read, as that says nothing."""
    since = timezone.now() - FRESH
    if counts is None or not counts.has_read_after(since):
        return
    at = counts.last_mismatch_at
    mismatch = at if at and at > since else None
    text = READER_MET_MISMATCH(ago=mismatch) if mismatch else READER_MET_NONE()
    yield Check(CheckCode.READER_MET_MISMATCH, not mismatch, text, CheckFix.READS)


AWS_LOGIN_REFUSED = Sentence(
    "aws_login_refused",
    "A login with AWS's values was refused %(ago)s ago: %(logins)s. Correct it and test it again.",
    glue=", ",
)
AWS_LOGIN_NOT_REFUSED = Sentence(
    "aws_login_not_refused", "No login with AWS's values was refused in its newest test."
)


def _check_login_tests(tests: list[LoginTest]) -> Iterator[Check]:
    """Yield whether the newest test refused a login of AWS's copy; nothing where none was ever tested."""
    if not tests:
        return
    refused = [test for test in tests if test.is_proven_wrong]
    text = AWS_LOGIN_NOT_REFUSED()
    if refused:
        names = tuple(test.login_name_message for test in refused)
        text = AWS_LOGIN_REFUSED(ago=refused[0].tested_at, logins=names)
    yield Check(CheckCode.LOGIN_REFUSED, not refused, text, CheckFix.LOGIN_TESTS)


ACCOUNT_NOT_READY = Sentence("account_not_ready", "The AWS account is not ready: %(error)s")
ACCOUNT_READY = Sentence("account_ready", "The AWS account has the permissions for this.")


def _check_account(snapshot: ClientSnapshot, answers: KmsAnswers | None, *, writes: bool) -> Check:
    names = snapshot.names.values()
    if error := find_account_problem(names, writes=writes, answers=answers):
        text = ACCOUNT_NOT_READY(error=error.message)
        return Check(CheckCode.ACCOUNT_NOT_READY, False, text, error_class=error.error_class)
    return Check(CheckCode.ACCOUNT_NOT_READY, True, ACCOUNT_READY())


# The evidence that clients lack before a run of moves, and what was overridden in one, by kind

# So many clients' rows are in memory at once.
CLIENTS_AT_ONCE = 1000


def count_missing_kinds(client_ids: Collection[int], new: Phase) -> Counter[Evidence]:
    """Count the clients that lack each kind of evidence for the move to `new`, in a handful of queries a thousand."""
    ids = list(client_ids)
    counts: Counter[Evidence] = Counter()
    for start in range(0, len(ids), CLIENTS_AT_ONCE):
        some = ids[start : start + CLIENTS_AT_ONCE]
        facts = GateFacts(some)
        for pk in some:
            entry = make_phase_entry(pk, facts.client_migrations.get(pk), facts.read_counts.get(pk))
            lines = list_evidence(entry, new, facts)
            counts.update(line.kind for line in lines if not line.is_met)
    return counts


def count_overrides(run: Run) -> Counter[Evidence]:
    """Count by kind of evidence the clients that the run moved although it was missing."""
    counts: Counter[Evidence] = Counter()
    for key, number in PhaseChange.objects.count_overridden(run).items():
        if kind := KINDS_BY_KEY.get(key):
            counts[kind] += number
    return counts


def label_evidence(counts: Mapping[Evidence, int]) -> list[tuple[Message, int]]:
    """Return each kind of evidence in words, with its number."""
    return [(EVIDENCE[kind](), number) for kind, number in counts.items()]
