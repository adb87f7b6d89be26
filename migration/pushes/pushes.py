"""Pushes clients' present rows to AWS, under their leases, many at a time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from credentials.models import Client, ClientRevision
from credentials.prices import SECRETS_A_CALL
from migration.core.audit import PUSH_EVENT, AuditEvent, require_storable_reason
from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import WritesRefusedError
from migration.core.clients import ClientMigration, all_clients, store_lost_secret_slugs
from migration.core.comparisons import Comparison
from migration.core.leases import (
    find_thread_session,
    hold_client_locks,
    work_in_thread_under_session,
)
from migration.core.secrets import Secret
from migration.core.sentences import CLIENT_NOT_THERE, NOT_PUSHED_INACTIVE, PUSH_TAKES_TOO_LONG
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.pushes.comparisons import compare, make_unsaved_comparison, make_unsaved_match
from migration.pushes.secret_writer import (
    BatchTimeOverError,
    DifferingPolicy,
    ForeignVersionError,
    MismatchNotOverwrittenError,
    MissingInAwsError,
    PartlyWrittenError,
    PendingWrite,
    PushOptions,
    RefusedBySiteError,
    ReplacedVersion,
    SecretWriter,
    prepare_writer,
)
from migration.runs.acts import read_overridden_of_run
from migration.runs.engine import ItemsToRetry, works_on
from migration.runs.items import PUSHED, TRANSIENT, Outcome, RunItem
from migration.runs.models import Run
from nova_credentials import document as documents
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretValue
from nova_credentials.document import Document
from nova_credentials.messages import Message, Sentence, in_a_row
from nova_credentials.phases import Phase

# Long enough for another batch's pushes of the same clients; the schedule comes back for the rest.
LOCK_WAIT_SECONDS = 30.0
LOCK_WAIT_SECONDS_OF_A_PAGE = 1.0
# A batch that waits longer for the rate limiter is left; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# Fewer than the connections to AWS that are kept open.
WRITERS = 10
# One batch of a run writes at a time in each process. All at once would share AWS's quota and end together, after
# many seconds in which nobody sees progress; so they end one after the other, while the next ones read.
TURN_TO_WRITE = threading.Lock()
# By so many digits of its id the audit, and people, tell a version from the others.
SHOWN_DIGITS = 8

OUTCOMES = {
    "created": Sentence("outcome_created", "Created"),
    "updated": Sentence("outcome_updated", "Updated"),
    "unchanged": Sentence("outcome_unchanged", "Unchanged"),
    "restored": Sentence("outcome_restored", "Restored"),
    "compared": Sentence("outcome_compared", "Compared"),
    "skipped": Sentence("outcome_skipped", "Skipped"),
    "failed": Sentence("outcome_failed", "Failed"),
    "moved": Sentence("outcome_moved", "Moved"),
    "refused": Sentence("outcome_refused", "Refused"),
    "tested": Sentence("outcome_tested", "Logins work"),
}


@dataclass(frozen=True)
class PushResult:
    """The result of pushing one client: its outcome, error and comparison, and the versions that it replaced."""

    client_id: int
    slug: str
    outcome: Outcome
    error_class: str = ""
    message: Message | None = None
    comparison: Comparison | None = None
    # Pushing the same rows again would fail again: a user has to change something.
    refused: bool = False
    # In which its rows were read; None where they were not.
    phase: Phase | None = None
    # Another push or move held the client.
    busy: bool = False
    # Nothing was tried: the time was over before its turn, or this site may not write to AWS now.
    postponed: bool = False
    # The versions in AWS that it replaced, or would replace.
    replaced: tuple[ReplacedVersion, ...] = ()
    # Secret name -> id of the version that AWS held before.
    versions: dict[str, str] = field(default_factory=dict)
    # Secret name -> outcome, of those that it wrote, or would write.
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def summary_message(self) -> Message:
        """Return its message, or else the outcome as part of a sentence."""
        return self.message or OUTCOMES[self.outcome]()


def push(
    *,
    client_ids: Collection[int],
    run: Run | None = None,
    after_adoption: bool = False,
    include_inactive: bool = True,
    include_postgres: bool = True,
    dry_run: bool = False,
    overwrite: bool = False,
    differing: DifferingPolicy = DifferingPolicy.WRITTEN_IF_PENDING,
    left_alone: Collection[int] = (),
    shown_versions: Mapping[int, Collection[str]] | None = None,
    interactive: bool = False,
    seconds: float | None = None,
) -> list[PushResult]:
    """Make AWS hold each client's present rows, and read back that it does.

    `include_postgres`: also clients in phase `postgres`. `after_adoption`: rehearse it as if somebody had adopted what
    is not ours.
    `overwrite`: also where AWS is the authority and holds what somebody else wrote. `differing`: what to do where it
    is not, and the newest comparison differs. `left_alone`: the clients that are left alone there whatever it says.
    `shown_versions`: of somebody else's versions only these are overwritten, by client (`digest_facts` of name and id).
    `interactive`: give up early.
    `seconds`: begin to write no client after this time; the clients that are left are `postponed`.

    An error of one client is in its `PushResult` and keeps no other client from being pushed. A `DatabaseError` (also
    that the clients' leases are lost) ends the push, and the whole call can be repeated. With `dry_run` nothing is
    written to either store, and no client is waited for.
    """
    wait_seconds = LOCK_WAIT_SECONDS_OF_A_PAGE if interactive else LOCK_WAIT_SECONDS
    with (
        nullcontext(set(client_ids))
        if dry_run
        else hold_client_locks(client_ids, wait_seconds=wait_seconds)
    ) as held:
        snapshots = read_snapshots(held)
        options = PushOptions(
            after_adoption=after_adoption and dry_run,
            dry_run=dry_run,
            overwrite=overwrite,
            differing=differing,
            until=time.monotonic() + seconds if seconds else math.inf,
        )
        sm = secrets_manager(interactive=interactive)
        refusals = {
            pk: _refuse_unpushable(
                snapshot, include_inactive=include_inactive, include_postgres=include_postgres
            )
            for pk, snapshot in snapshots.items()
        }
        spared = _list_spared(snapshots, options) | {
            pk for pk in left_alone if pk in snapshots and snapshots[pk].phase != Phase.POSTGRES
        }
        writes = [
            PendingWrite(
                snapshot,
                is_spared=pk in spared,
                shown_versions=None if shown_versions is None else shown_versions.get(pk, ()),
            )
            for pk, snapshot in snapshots.items()
            if not refusals[pk]
        ]
        results = [refusal for refusal in refusals.values() if refusal]
        results += _write_and_verify(writes, sm, options, run=run)
        if not dry_run:
            ClientMigration.objects.record_refused(_list_new_refusals(results, snapshots))
    busy = all_clients().filter(pk__in=set(client_ids) - held).values_list("pk", "slug")
    message = PUSH_TAKES_TOO_LONG()
    return results + [
        PushResult(pk, slug, Outcome.FAILED, ErrorClass.CONFLICT, message, busy=True)
        for pk, slug in busy
    ]


def _list_spared(snapshots: dict[int, ClientSnapshot], options: PushOptions) -> set[int]:
    """Return the clients that are known to differ, and in which nothing that somebody else wrote is overwritten.

    Nobody reads the secret of a client in `postgres`: what is left there is simply written.
    """
    if options.overwrite or options.differing == DifferingPolicy.WRITTEN:
        return set()
    in_question = [pk for pk, found in snapshots.items() if found.phase != Phase.POSTGRES]
    if options.differing == DifferingPolicy.WRITTEN_IF_PENDING:
        # From the cutover on AWS decides, whatever is pending: the writer refuses it.
        in_question = [
            pk
            for pk in in_question
            if not snapshots[pk].push_pending and not snapshots[pk].phase.aws_is_authority
        ]
    return Comparison.objects.list_differing(in_question) if in_question else set()


NOT_PUSHED_PURGED = Sentence(
    "not_pushed_purged", "Purged: the tables hold pointers, AWS holds the values."
)
NOT_PUSHED_BACK = Sentence("not_pushed_back", "The client was moved back to PostgreSQL meanwhile.")
NOT_PUSHED_EMPTY = Sentence("not_pushed_empty", "No credentials.")


def _refuse_unpushable(
    snapshot: ClientSnapshot, *, include_inactive: bool, include_postgres: bool
) -> PushResult | None:
    """Return the result of a client whose rows are not pushed; None where they are."""
    outcome, error_class = Outcome.SKIPPED, ""
    message: Message | None = None
    if snapshot.phase == Phase.PURGED:
        message = NOT_PUSHED_PURGED()
    elif snapshot.phase == Phase.POSTGRES and not include_postgres:
        message = NOT_PUSHED_BACK()
    elif not snapshot.active and not include_inactive:
        message = NOT_PUSHED_INACTIVE()
    elif not snapshot.has_credentials and snapshot.phase == Phase.POSTGRES:
        message = NOT_PUSHED_EMPTY()
    elif message := find_problem(snapshot):
        outcome, error_class = Outcome.FAILED, snapshot.problem_class
    if not message:
        return None
    # A change of NOVA's tables can be undone without a write to the rows: such a client is tried again.
    refused = error_class == ErrorClass.DATA
    return PushResult(
        snapshot.client_id, snapshot.slug, outcome, error_class, message, refused=refused
    )


def find_problem(snapshot: ClientSnapshot) -> Message | None:
    """Say why the rows make no document, or none that fits into a secret; None if nothing is wrong."""
    if snapshot.document is None:
        return snapshot.problem
    prefix, document = settings.NOVA_SECRET_PREFIX, snapshot.document
    problems = (
        documents.size_problem(document, snapshot.secret_slug, prefix=prefix, layout=layout)
        for layout, _names in snapshot.names_to_write
    )
    return next(filter(None, problems), None)


def _write_and_verify(
    writes: list[PendingWrite], sm: SecretsManager, options: PushOptions, *, run: Run | None
) -> list[PushResult]:
    """Write what differs, read back what was written, compare, and store all of it."""
    if not writes:
        return []
    writer = prepare_writer(writes, sm, options)
    _write_clients(writes, writer, run=run)
    if options.dry_run:
        return [_make_result(pending, None, writer) for pending in writes]
    written = [name for pending in writes for name in pending.outcomes]
    after = writer.before | sm.batch_get(written)
    results = [
        _make_result(pending, _compare_written(pending, after, run), writer, after)
        for pending in writes
    ]
    # With what AWS held before: which fields of somebody else's version were overwritten.
    overwritten = []
    for pending in writes:
        if pending.foreign_replaced_versions:
            comparison = make_unsaved_comparison(pending.snapshot, writer.before, run=run)
            comparison.message = _name_overwritten(pending)
            overwritten.append(comparison)
    _record_results(writes, results, overwritten)
    return results


def _write_clients(writes: list[PendingWrite], writer: SecretWriter, *, run: Run | None) -> None:
    """Write the clients, some at once; a run's batch waits for its turn."""
    waiting = []
    for pending in writes:
        if pending.held:  # handing it to a thread would take longer than what there is to do
            writer.write_client(pending)
        else:
            waiting.append(pending)
    if not waiting:
        return
    turn = _take_turn_to_write(writer.options.until) if run else nullcontext()
    with (
        turn,
        ContextThreads(
            WRITERS, initializer=work_in_thread_under_session, initargs=(find_thread_session(),)
        ) as pool,
    ):
        list(pool.map(writer.write_client, waiting))


@contextmanager
def _take_turn_to_write(until: float) -> Iterator[None]:
    """Wait for the turn, no longer than until this time: after it the writer begins no client."""
    taken = TURN_TO_WRITE.acquire(timeout=min(max(until - time.monotonic(), 0), BATCH_SECONDS))
    try:
        yield
    finally:
        if taken:
            TURN_TO_WRITE.release()


def _compare_written(pending: PendingWrite, after: Answers, run: Run | None) -> Comparison | None:
    """Compare what AWS holds now; None where an error left that unknown."""
    if pending.error is not None and not isinstance(
        pending.error, ForeignVersionError | MismatchNotOverwrittenError | MissingInAwsError
    ):
        return None
    if pending.held:  # nothing was to be written: they were compared before
        return make_unsaved_match(pending.snapshot, run=run)
    return make_unsaved_comparison(pending.snapshot, after, run=run)


READ_BACK_DIFFERS = Sentence(
    "read_back_differs", "The secret was read back and differs from what was written."
)


def _make_result(
    pending: PendingWrite,
    comparison: Comparison | None,
    writer: SecretWriter,
    after: Answers | None = None,
) -> PushResult:
    """Make the result of one client. `after` is what AWS was then read to hold; None in a rehearsal."""
    snapshot, error = pending.snapshot, pending.error
    outcome, error_class, message = Outcome.FAILED, "", None
    refused = postponed = False
    if isinstance(error, MismatchNotOverwrittenError):
        outcome, message = Outcome.SKIPPED, error.message
    elif error:
        error_class, message = error.error_class, error.message
        postponed = isinstance(error, BatchTimeOverError | WritesRefusedError)
        is_final = isinstance(error, RefusedBySiteError) or error_class == ErrorClass.DATA
        # Somebody may take a missing secret back, without a write to the rows.
        refused = is_final and not postponed and not isinstance(error, MissingInAwsError)
    elif comparison and comparison.status != Comparison.Status.MATCH:
        error_class = comparison.error_class or ErrorClass.CONFLICT
        message = comparison.message or READ_BACK_DIFFERS()
    elif after is not None and not pending.kept_secrets_match(after):
        error_class, message = ErrorClass.CONFLICT, READ_BACK_DIFFERS()
    else:
        outcome = pending.client_outcome
        message = documents.warn_of_arn_like_name(
            snapshot.secret_slug, prefix=settings.NOVA_SECRET_PREFIX, layout=snapshot.layout
        )
    before = (writer.before[name] for name in snapshot.names.values())
    return PushResult(
        snapshot.client_id,
        snapshot.slug,
        outcome,
        error_class,
        in_a_row(_name_overwritten(pending, dry_run=writer.options.dry_run), message),
        comparison,
        phase=snapshot.phase,
        refused=refused,
        postponed=postponed,
        replaced=tuple(pending.replaced),
        outcomes=pending.outcomes,
        versions={
            value.name: value.version_id for value in before if isinstance(value, SecretValue)
        },
    )


OVERWROTE = Sentence(
    "overwrote",
    "Overwrote %(name)s: version %(version)s by somebody else, kept as previous.",
)
WOULD_OVERWRITE = Sentence(
    "would_overwrite", "Overwrites %(name)s: version %(version)s by somebody else."
)


def _name_overwritten(pending: PendingWrite, *, dry_run: bool = False) -> Message | None:
    """Name the versions of somebody else that were overwritten, or would be; None where there are none."""
    sentence = WOULD_OVERWRITE if dry_run else OVERWROTE
    return in_a_row(
        *(sentence(name=v.name, version=v.version_id) for v in pending.foreign_replaced_versions)
    )


def _record_results(
    writes: list[PendingWrite], results: list[PushResult], overwritten: list[Comparison]
) -> None:
    """Store what AWS holds now, and what was overwritten; only a client that was read back equal counts as pushed."""
    matched = {result.client_id for result in results if result.outcome in PUSHED}
    with transaction.atomic():
        Secret.objects.record([secret for pending in writes for secret in pending.secrets])
        made = [p.snapshot.client_id for p in writes if Outcome.CREATED in p.outcomes.values()]
        if made:  # NOVA may have given them another slug meanwhile: no trigger notes that of a client without secrets
            store_lost_secret_slugs(made)
        _record_writes(writes)
        ClientRevision.objects.record_pushed(
            (pending.snapshot.client_id, pending.snapshot.revision)
            for pending in writes
            if pending.snapshot.client_id in matched
        )
        _count_writes_in_aws(writes)
        # Last: concurrent batches wait for each other on the rows of the day, until the end of the transaction.
        compared = [result.comparison for result in results if result.comparison]
        Comparison.objects.record_in_turn(overwritten, compared, read_back=True)


def _count_writes_in_aws(writes: Collection[PendingWrite]) -> None:
    """Count what AWS got, also by a try that was killed, of the clients of whom NOVA reads AWS alone.

    After `record_pushed`: the rows are as they were.
    """
    ClientRevision.objects.count_writes_in_aws(
        pending.snapshot.client_id
        for pending in writes
        if pending.snapshot.phase.aws_is_authority and pending.secrets
    )


WRITTEN_VERSION = Sentence("written_version", "%(name)s (version %(version)s)")
SECRETS_PUSHED = Sentence("pushed", "Wrote to AWS: %(secrets)s.", glue=", ")
PUSHED_IN_PART = Sentence(
    "pushed_in_part", "Wrote to AWS: %(secrets)s. Then it failed: %(error)s", glue=", "
)


def _record_writes(writes: Collection[PendingWrite]) -> None:
    """Record in the audit what AWS has taken of each client; a push that changed nothing there is no entry."""
    events = []
    for pending in writes:
        names = pending.list_surely_written_names()
        if not names:
            continue
        versions = tuple(
            WRITTEN_VERSION(name=s.name, version=s.version_id[:SHOWN_DIGITS])
            for s in pending.secrets
            if s.name in names
        )
        facts = SECRETS_PUSHED(secrets=versions)
        if pending.error:
            facts = PUSHED_IN_PART(secrets=versions, error=pending.error.message)
        facts = in_a_row(facts, _name_overwritten(pending)) or facts
        snapshot = pending.snapshot
        events.append(
            AuditEvent.make_signed(
                PUSH_EVENT, facts, client_id=snapshot.client_id, slug=snapshot.slug
            )
        )
    AuditEvent.objects.insert_already_signed(events)


def _list_new_refusals(
    results: list[PushResult], snapshots: dict[int, ClientSnapshot]
) -> list[tuple[int, int | None]]:
    """Return which revision of each client was refused, as (client id, revision); only where that is not known yet."""
    refusals = []
    for result in results:
        snapshot = snapshots[result.client_id]
        refused = snapshot.revision if result.refused else None
        if refused != snapshot.refused_revision:
            refusals.append((result.client_id, refused))
    return refusals


SAVED_IN_PART = Sentence(
    "saved_in_part",
    "AWS already has a part of it, in %(names)s, and NOVA reads that. Nothing else was saved: %(error)s Save it "
    "again.",
    glue=", ",
)


def write_document(
    snapshot: ClientSnapshot, *, document: Document, overwrite: bool = False
) -> None:
    """Write this document of these rows to AWS for a save that waits for it, in the save's own transaction.

    `overwrite`: also over what somebody else wrote there.

    Raises `SecretsManagerError` or `RefusedBySiteError` where AWS doesn't hold it afterwards, or may not.
    """
    snapshot = replace(snapshot, document=document)
    if problem := find_problem(snapshot):
        raise RefusedBySiteError(problem)
    pending = PendingWrite(snapshot)
    options = PushOptions(overwrite=overwrite)
    prepare_writer([pending], secrets_manager(interactive=True), options).write_client(pending)
    _record_writes([pending])
    if pending.error and (names := pending.list_surely_written_names()):
        raise PartlyWrittenError(SAVED_IN_PART(names=names, error=pending.error.message))
    if pending.error:
        raise pending.error
    Secret.objects.record(pending.secrets)
    ClientRevision.objects.record_pushed([(snapshot.client_id, snapshot.revision)])
    _count_writes_in_aws([pending])


def push_and_enter_dual_write(
    *,
    client_id: int,
    by: User | None,
    overwrite: bool = False,
    shown_versions: Mapping[int, Collection[str]] | None = None,
    reason: str = "",
) -> tuple[PushResult, bool]:
    """Push one client while its user waits, as a migration does; return its result, and whether it entered dual write.

    `overwrite`: also what somebody else wrote, as `push` with these `shown_versions` does.

    Raises `Client.DoesNotExist`, and `ReasonError` where the reason can't be stored.
    """
    require_storable_reason(reason)
    results = push(
        client_ids=[client_id],
        differing=DifferingPolicy.WRITTEN if overwrite else DifferingPolicy.LEFT_ALONE,
        shown_versions=shown_versions if overwrite else None,
        interactive=True,
    )
    if not results:
        raise Client.DoesNotExist
    return results[0], bool(_enter_dual_write(results, by=by, reason=reason))


def _enter_dual_write(
    results: Collection[PushResult],
    *,
    by: User | None,
    note: Message | None = None,
    run: Run | None = None,
    reason: str = "",
) -> set[int]:
    """Take those that were pushed from `postgres` to `dual_write`; return their ids."""
    pushed = [
        result.client_id
        for result in results
        if result.outcome in PUSHED and result.phase == Phase.POSTGRES
    ]
    return ClientMigration.objects.change_phase(
        pushed, Phase.POSTGRES, Phase.DUAL_WRITE, by=by, reason=reason, note=note, run=run
    )


# The items of runs that push or compare


MOVED_BY_RUN = Sentence("moved_by_run", "Part of %(run)s.")


# At AWS's quota a whole batch takes two seconds of its turn; in parts PostgreSQL would be asked more often.
@works_on(Run.Kind.MIGRATE, Run.Kind.PUSH, together=Run.BATCH)
def push_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Push the client of each item, and return those to be tried again. A migration takes clients to dual write."""
    migrates = run.kind == Run.Kind.MIGRATE
    # The schedule pushes clients that are known to differ where a write is pending.
    differing = DifferingPolicy.WRITTEN_IF_PENDING
    if migrates:
        differing = DifferingPolicy.WRITTEN if run.overwrite else DifferingPolicy.LEFT_ALONE
    # Nobody was shown what somebody has written to AWS since: it isn't overwritten. A command has shown no versions.
    shown = read_overridden_of_run(run, list(items)) if run.overwrite else None
    since = Comparison.objects.list_differing_otherwise_since
    results = push(
        client_ids=list(items),
        run=run,
        differing=differing,
        left_alone=since(list(items), run.created_at) if run.overwrite else (),
        shown_versions=shown,
        # A client that writes both stores is kept equal in them, active or not.
        include_inactive=run.include_inactive or not migrates,
        seconds=BATCH_SECONDS,
        include_postgres=migrates,
    )
    again = []
    for result in results:
        item = items[result.client_id]
        item.outcome, item.message = result.outcome, result.message
        item.error_class = result.error_class
        item.comparison_status = result.comparison.status if result.comparison else ""
        if result.postponed:
            item.set_next_try_now()
        elif result.outcome == Outcome.FAILED and (result.busy or result.error_class in TRANSIENT):
            again.append(item)
    for pk in items.keys() - {result.client_id for result in results}:
        items[pk].outcome, items[pk].message = Outcome.SKIPPED, CLIENT_NOT_THERE()
    if migrates:
        _enter_dual_write(results, by=run.by, note=MOVED_BY_RUN(run=run.name_message), run=run)
    return again


NOTHING_TO_COMPARE = Sentence("nothing_to_compare", "Nothing to compare: it isn't in both stores.")


@works_on(Run.Kind.COMPARE, together=SECRETS_A_CALL)
def compare_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Compare both stores of the client of each item; return those that may be read at another try."""
    again = []
    results = compare(client_ids=list(items), run=run)
    for pk, item in items.items():
        comparison = results.get(pk)
        if comparison is None:
            item.outcome, item.message = Outcome.SKIPPED, NOTHING_TO_COMPARE()
            continue
        item.comparison_status = comparison.status
        item.error_class, item.message = comparison.error_class, comparison.message
        item.outcome = Outcome.COMPARED
        if comparison.status == Comparison.Status.UNCHECKED:
            item.outcome = Outcome.FAILED
            if comparison.error_class in TRANSIENT:
                again.append(item)
    return again
