"""Owns whether this site may write to AWS now: the switch, whose database this is, what each write asks before it."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import lru_cache

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction

from migration.core.audit import (
    WRITES_STARTED_EVENT,
    WRITES_STOPPED_EVENT,
    AuditEvent,
    require_reason,
)
from migration.core.clients import all_clients
from migration.core.database_identity import (
    CLAIM_EVENT,
    differs_from_noted,
    reached_databases,
    read_identity,
)
from migration.core.leases import refuse_lost_leases
from migration.core.notices import Notice
from migration.core.sentences import HOST_DIFFERS
from migration.core.shared_facts import (
    ACCOUNT,
    PLACE,
    describe_facts,
    explain_differences,
    find_differences,
    is_incomplete,
    list_own_facts,
    note_missing_facts,
    seen_account,
)
from migration.core.write_state import (
    AwsWriteState,
    DatabaseClaim,
    DatabaseIdentity,
    WriteStop,
    read_aws_write_state,
)
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import Phase

# A state that was read longer ago is read again before a write: a stop holds everywhere within a second.
KNOWN_FOR_SECONDS = 0.7
TEST_LOGIN = "TestLogin"  # no call of AWS's, but one that takes turns like them
# Every other call is taken for a write.
READS = frozenset(
    {
        "GetSecretValue",
        "BatchGetSecretValue",
        "DescribeSecret",
        "ListSecrets",
        "ListSecretVersionIds",
        TEST_LOGIN,
    }
)
STOPPED, COPY, DIFFERS = "WritesStopped", "DatabaseIsCopy", "HostDiffers"
WRITES_STOPPED = Sentence(
    "writes_stopped",
    "%(who)s stopped all AWS writes %(ago)s ago. Pending pushes continue once AWS writes are resumed.",
)
CODES = {WRITES_STOPPED.key: STOPPED, HOST_DIFFERS.key: DIFFERS}


class WritesRefusedError(SecretsManagerError):
    """Nothing was sent, as this site may not write to AWS now. The same write may pass later."""

    def __init__(self, error_class: ErrorClass, code: str, operation: str, name: str) -> None:
        super().__init__(error_class, code, operation, name)
        self.why: Message | None = None

    @classmethod
    def because(cls, why: Message, operation: str = "") -> WritesRefusedError:
        error = cls(ErrorClass.PERMISSION, CODES.get(why.key, COPY), operation, "")
        error.why = why
        return error

    @property
    def message(self) -> Message:
        return self.why or super().message


class ClaimRefused(MessageError):  # noqa: N818  # nothing went wrong: there is nothing to do
    """The claim would change nothing, or can't be made; the message says why."""


DATABASE_IS_COPY = Sentence(
    "database_is_copy",
    "This database is a duplicate, so nothing is written to AWS: it is reached as %(this)s and noted itself as"
    " %(noted)s. If it is the one that writes from now on, claim it.",
)
DATABASE_NOT_NOTED = Sentence(
    "database_not_noted",
    "This database has not noted what it is, so nothing is written to AWS. Run manage.py migrate, or claim it.",
)
DATABASE_UNKNOWN = Sentence(
    "database_unknown", "This database did not say which one it is, so nothing is written to AWS."
)
DATABASE_CHANGED = Sentence(
    "database_changed",
    "This process began with another database than %(this)s, so it writes nothing to AWS. Find out why, then"
    " restart it.",
)


class WriteGuard:
    """Keeps whether AWS writes are allowed, as this process read it last, and when that was. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: AwsWriteState | None = None
        self._read_at = self._noted_at = -math.inf
        # The database with which this process began, and since when: it may not change unseen.
        self._followed: tuple[DatabaseIdentity, datetime] | None = None

    def may_note_facts(self) -> bool:
        """Say whether this was not tried in the last KNOWN_FOR_SECONDS: there may be nothing to note yet."""
        with self._lock:
            last, self._noted_at = self._noted_at, time.monotonic()
            return self._noted_at - last > KNOWN_FOR_SECONDS

    def keep_state(self, state: AwsWriteState, *, asked_at: float) -> None:
        """Keep a state that was asked for at this time of the monotonic clock."""
        with self._lock:
            if asked_at >= self._read_at:
                self._state, self._read_at = state, asked_at

    def forget_state(self) -> None:
        """Read the state anew when it is next needed."""
        with self._lock:
            self._state = None

    @property
    def fresh_state(self) -> AwsWriteState | None:
        """Return the state if it was read in the last KNOWN_FOR_SECONDS."""
        with self._lock:
            fresh = time.monotonic() - self._read_at <= KNOWN_FOR_SECONDS
            return self._state if fresh else None

    def explain_refused_database(self, state: AwsWriteState) -> Message | None:
        """Say why this may not be the database that writes to AWS (a duplicate, unknown); None if it is."""
        noted = state.noted
        if noted is None:
            return DATABASE_NOT_NOTED()
        for reached in reached_databases().list_identities():
            if reached is None:
                return DATABASE_UNKNOWN()
            if differs_from_noted(reached, noted):
                return DATABASE_IS_COPY(this=reached.place, noted=noted.place)
        if not self._follow_database(state, noted):
            return DATABASE_CHANGED(this=noted.place)
        return None

    def explain_refusal(self, state: AwsWriteState) -> Message | None:
        """Say why this process may not write while nobody stopped the writes; None if it may."""
        return self.explain_refused_database(state) or explain_differences(state.facts)

    def _follow_database(self, state: AwsWriteState, noted: DatabaseIdentity) -> bool:
        """Say whether it is still the database with which this process began, or was claimed since then."""
        with self._lock:
            if self._followed is None or (
                state.claimed_at and state.claimed_at > self._followed[1]
            ):
                self._followed = noted, state.read_at
            known, _since = self._followed
        return noted.is_same_database(known)


def write_guard() -> WriteGuard:
    """Return this process' guard."""
    return _write_guard(os.getpid())


@lru_cache(maxsize=1)
def _write_guard(_pid: int) -> WriteGuard:
    return WriteGuard()


SOMEBODY_UNNAMED = Sentence("somebody_unnamed", "Someone")


def describe_who_stopped_writes(state: AwsWriteState) -> Message | None:
    """Say who stopped all AWS writes and when; None where they are not stopped."""
    stop = state.stop
    if stop is None:
        return None
    who = stop.username or SOMEBODY_UNNAMED()
    return WRITES_STOPPED(who=who, ago=stop.stopped_at)


def get_aws_write_state() -> AwsWriteState:
    """Return the state as it was at most KNOWN_FOR_SECONDS ago."""
    from migration.core.rate_limiter import rate_limiter  # noqa: PLC0415  # it asks this module

    guard = write_guard()
    state = guard.fresh_state
    if state is None:
        asked_at = time.monotonic()
        state = rate_limiter().run_statement(read_aws_write_state)
        guard.keep_state(state, asked_at=asked_at)
    return state


def find_write_refusal() -> Message | None:
    """Say why this process may not write to AWS now; None where it may."""
    state = get_aws_write_state()
    return describe_who_stopped_writes(state) or write_guard().explain_refusal(state)


def require_writes_allowed(operation: str = "", *, ask: bool = True) -> None:
    """Raise `WritesRefusedError` where this process may not write to AWS now. Without `ask`: as far as it knows.

    Raises `LeaseLostError` where the writing thread works under leases that are lost, and AWS's error where it does not
    tell which account this process reaches.
    """
    if operation in READS or not (ask or write_guard().fresh_state):
        return
    if why := find_write_refusal():
        raise WritesRefusedError.because(why, operation)
    if ask:
        if learn_facts() and (why := find_write_refusal()):
            raise WritesRefusedError.because(why, operation)
        refuse_lost_leases()


def learn_facts(*, pause: float = 0.0) -> bool:
    """Note what all hosts share where it isn't noted, and ask AWS for this process' account where it isn't known.

    Says whether there was anything to learn. Raises AWS's error; within `pause` seconds of one, AWS is not asked again.
    """
    from migration.core.rate_limiter import rate_limiter  # noqa: PLC0415  # it asks this module

    facts, guard = get_aws_write_state().facts, write_guard()
    has_noted = (
        is_incomplete(facts)
        and guard.may_note_facts()
        and rate_limiter().run_statement(lambda own: note_missing_facts(own, facts))
    )
    if has_noted:
        guard.forget_state()
    facts = get_aws_write_state().facts
    noted = facts.get(ACCOUNT, [""])[0]
    # With both stores embedded there is no other account, and somebody may have emptied one of them. A host that
    # differs anyway may not be allowed to ask.
    if (
        not noted
        or seen_account.account is not None
        or settings.EMBEDDED_STORES
        or find_differences(facts)
    ):
        return has_noted
    seen_account.find(noted, pause=pause)
    return True


def explain_differences_after_reading(in_facts: Collection[str]) -> Message | None:
    """Say in which of these facts this process differs from what all hosts share; None where it agrees in them.

    To be asked after AWS was read: in which account it is, a process that has just begun is told by what it reads.
    """
    with suppress(SecretsManagerError):
        learn_facts()
    differing = find_differences(get_aws_write_state().facts)
    found = {fact: pair for fact, pair in differing.items() if fact in in_facts}
    return HOST_DIFFERS(facts=describe_facts(found)) if found else None


STOPPED_WRITES = Sentence("stopped_writes", "Stopped all AWS writes.")


def stop_aws_writes(*, reason: str, by: User | None = None) -> WriteStop:
    """Stop every AWS write of all workers and pages within a second. Raises `ReasonError`."""
    require_reason(reason)
    with transaction.atomic():
        stop = WriteStop.objects.create(by=by, reason=reason)
        act = AuditEvent.objects.record(
            WRITES_STOPPED_EVENT, STOPPED_WRITES(), by=by, reason=reason
        )
        Notice.objects.record_act(act)
    write_guard().forget_state()
    return stop


STARTED_WRITES = Sentence("started_writes", "Resumed AWS writes.")


def start_aws_writes(*, by: User | None = None) -> int:
    """Let AWS writes go on; return how many stops were ended."""
    with transaction.atomic():
        ended = WriteStop.objects.end_all(by=by)
        if ended:
            act = AuditEvent.objects.record(WRITES_STARTED_EVENT, STARTED_WRITES(), by=by)
            Notice.objects.record_act(act)
    write_guard().forget_state()
    return ended


CLAIMED = Sentence(
    "claimed", "Claimed %(place)s as the database that writes to AWS; noted was %(noted)s."
)
NOTHING = Sentence("nothing", "nothing")
DATABASE_IS_THE_ONE = Sentence(
    "database_is_the_one", "This database is the one that writes to AWS: %(this)s."
)


def claim_database(*, reason: str, by: User | None = None, aws: str = "") -> DatabaseClaim:
    """Say that this database is the one that writes to AWS.

    Raises `ReasonError`, and `ClaimRefused` where it is no copy.
    """
    require_reason(reason)
    connection.ensure_connection()
    reached, noted = read_identity(connection), DatabaseClaim.objects.newest()
    if reached is None:
        raise ClaimRefused(DATABASE_UNKNOWN())
    if noted and not differs_from_noted(reached, noted.identity):
        raise ClaimRefused(DATABASE_IS_THE_ONE(this=reached.place))
    with transaction.atomic():
        claim = DatabaseClaim.objects.record(reached, by=by, reason=reason, aws=aws)
        facts = CLAIMED(place=reached.place, noted=noted.place if noted else NOTHING())
        AuditEvent.objects.record(CLAIM_EVENT, facts, by=by, reason=reason)
    write_guard().forget_state()
    return claim


FACTS_CLAIMED = Sentence(
    "facts_claimed", "Noted what all hosts share as this host has it: %(facts)s.", glue="; "
)
FACTS_AGREE = Sentence("facts_agree", "This host has the expected settings.")
CLIENTS_ARE_READ = Sentence(
    "clients_are_read",
    "NOVA reads %(n)s clients from AWS, whose secrets would not be found any more: %(facts)s. Move them back to"
    " dual_write first (docs/run.md).",
    glue="; ",
    one="NOVA reads %(n)s client from AWS, whose secrets would not be found any more: %(facts)s. Move it back to"
    " dual_write first (docs/run.md).",
)


def claim_facts(
    *, reason: str, by: User | None = None, aws: str = ""
) -> dict[str, tuple[str, str]]:
    """Say that what this process has is what all hosts share from now on; return fact -> (here, noted before).

    Raises `ReasonError`, and `ClaimRefused` where nothing changes, or clients are read from where they would not be
    looked for any more.
    """
    require_reason(reason)
    state = read_aws_write_state(connection)
    if why := write_guard().explain_refused_database(state):
        raise ClaimRefused(why)
    with suppress(SecretsManagerError):  # what AWS doesn't say stays as it is noted
        learn_facts()
    state = read_aws_write_state(connection)
    own = {fact: values[0] for fact, values in list_own_facts().items() if values}
    changed = {
        fact: (here, state.facts[fact][0])
        for fact, here in own.items()
        if state.facts.get(fact, [here])[0] != here
    }
    if not changed:
        raise ClaimRefused(FACTS_AGREE())
    with transaction.atomic():
        read = all_clients().in_phases(*(phase for phase in Phase if phase.reads_aws)).count()
        if read and (moved := {fact: changed[fact] for fact in PLACE if fact in changed}):
            raise ClaimRefused(CLIENTS_ARE_READ(n=read, facts=describe_facts(moved)))
        facts = dict(state.facts)
        for fact, (here, _noted) in changed.items():
            # Of a key the former ones are kept: `migrate` never goes back to one by itself.
            former = [] if fact in PLACE else [each for each in facts[fact] if each != here]
            facts[fact] = [here, *former]
        reached = read_identity(connection)
        if reached is None:
            raise ClaimRefused(DATABASE_UNKNOWN())
        DatabaseClaim.objects.record(reached, by=by, reason=reason, aws=aws, facts=facts)
        told = FACTS_CLAIMED(facts=describe_facts(changed))
        AuditEvent.objects.record(CLAIM_EVENT, told, by=by, reason=reason)
    write_guard().forget_state()
    return changed
