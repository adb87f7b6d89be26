"""The gate before a move forward: the checks that a client has to pass.

Reads both stores. To test the permission to write, it sends AWS the current version again, which makes no new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from django.conf import settings
from django.utils import timezone

from credentials.models import CountingProof
from credentials.triggers import counted_tables, writes_are_counted
from migration import sentences
from migration.models import ClientMigration, Comparison, ReadCount, Run, RunItem
from migration.operations.aws_store import secrets_manager
from migration.operations.aws_writes import (
    WritesRefusedError,
    explain_stop,
    get_write_state,
    write_guard,
)
from migration.operations.nova_tables import read_nova_tables
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.snapshots import ClientSnapshot

# Twice the time between two sweeps, as one may be late.
FRESH = timedelta(minutes=30)
# No worker works on a run that has been open for longer.
RUN_IS_OPEN_FOR = timedelta(hours=1)


NEED_APPROVAL = (Move.CUTOVER, Move.PURGE)


def needs_approval(kind: Move) -> bool:
    """Say whether a second user has to approve the move; a move back never needs it."""
    return bool(settings.NOVA_REQUIRE_APPROVAL) and kind in NEED_APPROVAL


class CheckFix(StrEnum):
    """The action that can make a failed check pass."""

    PUSH = "push"
    COMPARE = "compare"
    COMPARISON = "comparison"  # look at the comparison `Check.about`
    RUN = "run"  # look at the run `Check.about`
    READS = "reads"
    NOVA_TABLES = "nova_tables"  # map columns, accept objects
    NONE = "none"  # the text says what to do outside this site


class Condition(StrEnum):
    """The code of a check, named after what is wrong where it fails."""

    PUSH_PENDING = "push_pending"
    NEVER_COMPARED = "never_compared"
    NEWEST_COMPARISON = "newest_comparison"
    COMPARISON_TOO_OLD = "comparison_too_old"
    CLEAN_STREAK = "clean_streak"
    IN_A_RUN = "in_a_run"
    WRITES_NOT_COUNTED = "writes_not_counted"
    PROOF_FAILED = "proof_failed"
    WERE_UNCOUNTED = "were_uncounted"
    READER_MET_MISMATCH = "reader_met_mismatch"
    ACCOUNT_NOT_READY = "account_not_ready"
    NAME_NOT_ALLOWED = "name_not_allowed"
    NO_DOCUMENT = "no_document"
    NO_LOGIN = "no_login"
    TOO_LARGE = "secret_too_large"
    DATABASE_IS_COPY = "database_is_copy"
    WRITES_STOPPED = "writes_stopped"


@dataclass(frozen=True)
class Check:
    """One condition of a gate: whether it is met now, in words, and what would help."""

    code: str  # a `Condition`, or the key of another refusal
    passed: bool
    text: Message
    fix: CheckFix = CheckFix.NONE
    about: int | None = None


class ShutGate(MessageError):  # noqa: N818  # the word of the design
    """The client may not make this move yet; `shut` holds the checks that failed."""

    def __init__(self, slug: str, new: Phase, shut: list[Check]) -> None:
        Exception.__init__(self, slug, new, shut)
        self.slug, self.new, self.shut = slug, new, shut

    @property
    def reasons(self) -> list[Message]:
        return [check.text for check in self.shut]

    @property
    def codes(self) -> list[str]:
        return [check.code for check in self.shut]

    @property
    def message(self) -> Message:
        return sentences.GATE_IS_SHUT(slug=self.slug, new=self.new, reasons=tuple(self.reasons))


def require_open(snapshot: ClientSnapshot, new: Phase) -> None:
    """Raise `ShutGate` with every failed check, if any failed."""
    if shut := [check for check in evaluate_gate(snapshot, new) if not check.passed]:
        raise ShutGate(snapshot.slug, new, shut)


def evaluate_gate(snapshot: ClientSnapshot, new: Phase) -> list[Check]:
    """Return the checks of the move to `new`, made now. The move to dual write has none, as it pushes and compares."""
    if new == Phase.DUAL_WRITE:
        return []
    return [
        *database_checks(snapshot, new),
        _check_account(snapshot, writes=new == Phase.AWS),
    ]


class Checkable(Protocol):
    """A client as the database checks need it: a `ClientSnapshot`, or a row of a page."""

    @property
    def client_id(self) -> int: ...

    @property
    def push_pending(self) -> bool: ...


def database_checks(snapshot: Checkable, new: Phase) -> Iterator[Check]:
    """Make the checks that need the database alone."""
    yield from check_aws_writes()
    if new == Phase.DUAL_WRITE:
        yield _check_no_run(snapshot)
        return
    yield _check_pushed(snapshot)
    yield from _check_compared(
        snapshot, streak=settings.NOVA_CLEAN_STREAK if new == Phase.AWS else 0
    )
    yield _check_no_run(snapshot)
    yield _check_counted()
    if new in (Phase.AWS, Phase.PURGED):
        for passed, text in read_nova_tables().list_findings():
            yield Check(text.key, passed, text, CheckFix.NOVA_TABLES)
    if new == Phase.AWS:
        yield _check_readers(snapshot)


def check_aws_writes() -> Iterator[Check]:
    """Check that this database is no copy and that AWS writes are not stopped, as of a second ago at most."""
    state = get_write_state()
    for code, refusal, passed in (
        (Condition.DATABASE_IS_COPY, write_guard().explain_copy(state), sentences.IS_NO_COPY()),
        (Condition.WRITES_STOPPED, explain_stop(state), sentences.WRITES_NOT_STOPPED()),
    ):
        yield Check(refusal.key if refusal else code, refusal is None, refusal or passed)


def require_aws_writes(slug: str, new: Phase) -> None:
    """Raise `ShutGate` where this site may not write to AWS now."""
    if shut := [check for check in check_aws_writes() if not check.passed]:
        raise ShutGate(slug, new, shut)


def _check_pushed(snapshot: Checkable) -> Check:
    if snapshot.push_pending:
        return Check(Condition.PUSH_PENDING, False, sentences.PUSH_PENDING(), CheckFix.PUSH)
    return Check(Condition.PUSH_PENDING, True, sentences.NO_PUSH_PENDING())


def _check_compared(snapshot: Checkable, *, streak: int) -> Iterator[Check]:
    client_migration = (
        ClientMigration.objects.select_related("comparison").filter(pk=snapshot.client_id).first()
    )
    newest = client_migration.comparison if client_migration else None
    if client_migration is None or newest is None:
        yield Check(Condition.NEVER_COMPARED, False, sentences.NEVER_COMPARED(), CheckFix.COMPARE)
        return
    matches = newest.status == Comparison.Status.MATCH
    yield Check(
        Condition.NEWEST_COMPARISON,
        matches,
        sentences.NEWEST_COMPARISON(result=newest.status_message, ago=newest.compared_at),
        CheckFix.COMPARISON,
        newest.pk,
    )
    if matches and timezone.now() - newest.compared_at > FRESH:
        text = sentences.COMPARISON_TOO_OLD(n=FRESH // timedelta(minutes=1))
        yield Check(Condition.COMPARISON_TOO_OLD, False, text, CheckFix.COMPARE)
    if streak:
        n = client_migration.clean_streak
        text = sentences.CLEAN_STREAK(n=n, wanted=streak)
        yield Check(Condition.CLEAN_STREAK, n >= streak, text, CheckFix.COMPARE)


def _check_no_run(snapshot: Checkable) -> Check:
    items = RunItem.objects.open().filter(
        client_id=snapshot.client_id,
        run__finished_at=None,
        run__created_at__gt=timezone.now() - RUN_IS_OPEN_FOR,
    )
    item = items.exclude(run__kind=Run.Kind.COMPARE).select_related("run").first()
    if item:
        text = sentences.IN_A_RUN(run=item.run.name_message)
        return Check(Condition.IN_A_RUN, False, text, CheckFix.RUN, item.run_id)
    return Check(Condition.IN_A_RUN, True, sentences.IN_NO_RUN())


def _check_counted() -> Check:
    if writes_are_counted():
        return Check(Condition.WRITES_NOT_COUNTED, True, sentences.WRITES_COUNTED())
    if not all(counted_tables().values()):
        return Check(Condition.WRITES_NOT_COUNTED, False, sentences.WRITES_NOT_COUNTED())
    if failed := CountingProof.objects.list_failed_tables():
        text = sentences.PROOF_FAILED(tables=", ".join(failed))
        return Check(Condition.PROOF_FAILED, False, text)
    return Check(Condition.WERE_UNCOUNTED, False, sentences.WERE_UNCOUNTED())


def _check_readers(snapshot: Checkable) -> Check:
    since = timezone.now() - FRESH
    seen = ReadCount.objects.filter(
        client_id=snapshot.client_id, last_mismatch_at__gt=since
    ).first()
    if seen and seen.last_mismatch_at:
        text = sentences.READER_MET_MISMATCH(ago=seen.last_mismatch_at)
        return Check(Condition.READER_MET_MISMATCH, False, text, CheckFix.READS)
    return Check(Condition.READER_MET_MISMATCH, True, sentences.READER_MET_NONE())


def _check_account(snapshot: ClientSnapshot, *, writes: bool) -> Check:
    """Try out, on the client's own secrets, whether the AWS account has the permissions that the next phase needs."""
    try:
        for name in snapshot.names.values():
            _try_access(secrets_manager(interactive=True), name, writes=writes)
    except WritesRefusedError:
        pass  # it has a check of its own
    except SecretsManagerError as error:
        text = sentences.ACCOUNT_NOT_READY(error=error.message)
        return Check(Condition.ACCOUNT_NOT_READY, False, text)
    return Check(Condition.ACCOUNT_NOT_READY, True, sentences.ACCOUNT_READY())


def _try_access(sm: SecretsManager, name: str, *, writes: bool) -> None:
    try:
        value = sm.get_value(name)
    except SecretsManagerError as error:
        if (
            error.not_found
        ):  # in the layout of one secret per service, a service without rows has none
            return
        raise
    if writes and value.text is not None:
        # The current version again: AWS checks the permission to write and makes no new version.
        sm.put_value(name, value.text, token=value.version_id)
