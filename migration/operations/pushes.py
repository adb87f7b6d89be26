"""Push: writes clients' documents to AWS from the rows as they are now, under each client's lock."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from credentials.models import ClientRevision
from migration import sentences
from migration.models import ClientMigration, Comparison, Outcome, Run, Secret, select_clients
from migration.operations.aws_store import find_known_secrets, secret_layout, secrets_manager
from migration.operations.comparisons import make_comparison
from migration.operations.keys import VersionKeys, version_keys
from migration.operations.locks import hold_client_locks
from migration.operations.snapshots import ClientSnapshot, read_snapshots
from nova_credentials import document as documents
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManagerError,
    SecretValue,
    SecretVersion,
)
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nova_credentials.aws.answers import Answers, SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.document import Document

# Long enough for another batch's pushes of the same clients; the schedule comes back for the rest.
LOCK_WAIT_SECONDS = 30.0
LOCK_WAIT_SECONDS_OF_A_PAGE = 1.0
# As many as botocore keeps connections open for.
WRITERS = 10

# AWS's code for creating what is there.
EXISTS_ALREADY = "ResourceExistsException"

# Where one client's secrets fare differently, the item tells the first of these.
LOUDEST_FIRST = (Outcome.RESTORED, Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED)


class RefusedError(MessageError):
    """A write that AWS would take and that this site may not make."""

    error_class = ErrorClass.CONFLICT


class ForeignVersionError(RefusedError):
    """AWS is the authority and holds what this site did not write: a mismatch for somebody to resolve."""


class PostponedError(RefusedError):
    """The batch took so long that this client's turn did not come."""

    error_class = ErrorClass.UNAVAILABLE


@dataclass(frozen=True)
class PushResult:
    """What became of one client."""

    client_id: int
    slug: str
    outcome: Outcome
    error_class: str = ""
    message: Message | None = None
    comparison: Comparison | None = None
    # Pushing the same rows again would fail again: somebody has to change something.
    refused: bool = False
    # Another push or move had the client.
    busy: bool = False
    # The time was over before its turn: nothing was tried.
    postponed: bool = False

    @property
    def summary(self) -> Message:
        """Its message, else the outcome."""
        return self.message or sentences.OUTCOMES[self.outcome]()


@dataclass
class PendingWrite:
    """One client's document on its way to AWS."""

    snapshot: ClientSnapshot
    documents: dict[str, Document] = field(default_factory=dict, repr=False)  # by secret name
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    error: SecretsManagerError | RefusedError | None = None

    def remember(self, version: SecretVersion) -> None:
        self.secrets.append(
            Secret(
                name=version.name,
                arn=version.arn,
                version_id=version.version_id,
                client_id=self.snapshot.client_id,
            )
        )

    @property
    def written(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome != Outcome.UNCHANGED]

    @property
    def outcome(self) -> Outcome:
        return next(
            (outcome for outcome in LOUDEST_FIRST if outcome in self.outcomes.values()),
            Outcome.UNCHANGED,
        )


def push(
    *,
    client_ids: Collection[int],
    run: Run | None = None,
    adopt: bool = False,
    include_inactive: bool = True,
    include_postgres: bool = True,
    dry_run: bool = False,
    overwrite: bool = False,
    interactive: bool = False,
    seconds: float | None = None,
) -> list[PushResult]:
    """Makes AWS hold each client's present rows and reads back that it does.

    `include_postgres`: also clients that stand in `postgres`.
    `overwrite`: also where AWS is the authority and holds what somebody else wrote. `interactive`: gives up early.
    `seconds`: begins to write no client after so long; those left over are `postponed`.

    An error of one client is in its `PushResult` and keeps no other client from being pushed; a `DatabaseError` ends
    it all, and the whole call can be made again. With `dry_run` nothing is written to either store.
    """
    wait_seconds = LOCK_WAIT_SECONDS_OF_A_PAGE if interactive else LOCK_WAIT_SECONDS
    with hold_client_locks(client_ids, wait_seconds=wait_seconds) as held:
        read = read_snapshots(held)
        pushed = [
            _refuse_unpushable(snapshot, include_inactive, include_postgres)
            for snapshot in read.values()
        ]
        results = [result for result in pushed if result]
        refused = {result.client_id for result in results}
        writes = [PendingWrite(snapshot) for pk, snapshot in read.items() if pk not in refused]
        sm = secrets_manager(interactive=interactive)
        until = time.monotonic() + seconds if seconds else math.inf
        options = PushOptions(adopt=adopt, dry_run=dry_run, overwrite=overwrite, until=until)
        results += _write_and_verify(writes, sm, options, run=run)
        if not dry_run:
            ClientMigration.objects.record_refused(
                (result.client_id, read[result.client_id].revision if result.refused else None)
                for result in results
            )
    busy = select_clients().filter(pk__in=set(client_ids) - held).values_list("pk", "slug")
    late = sentences.PUSH_TAKES_TOO_LONG()
    return results + [
        PushResult(pk, slug, Outcome.FAILED, ErrorClass.CONFLICT, late, busy=True)
        for pk, slug in busy
    ]


def _refuse_unpushable(
    snapshot: ClientSnapshot, include_inactive: bool, include_postgres: bool
) -> PushResult | None:
    """Say why these rows are not pushed, or None."""
    outcome, error_class = Outcome.SKIPPED, ""
    message: Message | None = None
    if snapshot.phase == Phase.PURGED:
        message = sentences.NOT_PUSHED_PURGED()
    elif snapshot.phase == Phase.POSTGRES and not include_postgres:
        message = sentences.NOT_PUSHED_BACK()
    elif not snapshot.active and not include_inactive:
        message = sentences.NOT_PUSHED_INACTIVE()
    elif not snapshot.has_credentials and snapshot.phase == Phase.POSTGRES:
        message = sentences.NOT_PUSHED_EMPTY()
    elif message := _find_problem(snapshot):
        outcome, error_class = Outcome.FAILED, ErrorClass.DATA
    if not message:
        return None
    refused = outcome == Outcome.FAILED
    return PushResult(
        snapshot.client_id, snapshot.slug, outcome, error_class, message, refused=refused
    )


def _find_problem(snapshot: ClientSnapshot) -> Message | None:
    """Why AWS would not take the document, or there is none; None where it would."""
    if snapshot.problem or snapshot.document is None:
        return snapshot.problem
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    return documents.size_problem(snapshot.document, snapshot.slug, prefix=prefix, layout=layout)


def write_document(snapshot: ClientSnapshot, *, document: Document) -> None:
    """Writes this document to AWS for a save that waits for it, in the save's own transaction.

    Raises `SecretsManagerError` or `RefusedError` where AWS doesn't hold it afterwards, or may not.
    """
    snapshot = replace(snapshot, document=document)
    if problem := _find_problem(snapshot):
        raise RefusedError(problem)
    pending = PendingWrite(snapshot)
    _make_writer([pending], secrets_manager(interactive=True), PushOptions()).write(pending)
    if pending.error:
        raise pending.error
    Secret.objects.record(pending.secrets)


def keep_replaced_document(snapshot: ClientSnapshot, *, stage: str) -> None:
    """Keep the rows' document in AWS under a stage of its own, where nobody reads it by mistake."""
    sm = secrets_manager(interactive=True)
    whole = snapshot.kept or _require_document(snapshot)
    for part, document in documents.split_document(whole, layout=secret_layout()).items():
        sm.put_aside(snapshot.names[part], documents.encode_document(document), stage=stage)


def _require_document(snapshot: ClientSnapshot) -> Document:
    if snapshot.document is None:
        raise ValueError(str(snapshot.problem))
    return snapshot.document


def _make_writer(writes: list[PendingWrite], sm: SecretsManager, options: PushOptions) -> Writer:
    """Read what AWS holds of these clients, and tell which of their secrets are scheduled for deletion."""
    names = [name for pending in writes for name in pending.snapshot.names.values()]
    known = find_known_secrets(names)
    before = sm.mark_deletions(sm.batch_get(names), lacking=known)
    return Writer(sm, before, known, version_keys(), options)


def _write_and_verify(
    writes: list[PendingWrite], sm: SecretsManager, options: PushOptions, *, run: Run | None
) -> list[PushResult]:
    if not writes:
        return []
    writer = _make_writer(writes, sm, options)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(writer.write, writes))
    if options.dry_run:
        return [_make_result(pending, None) for pending in writes]
    after = writer.before | sm.batch_get([name for pending in writes for name in pending.written])
    results = [
        _make_result(
            pending,
            make_comparison(pending.snapshot, after, run=run) if _is_comparable(pending) else None,
        )
        for pending in writes
    ]
    _record_results(writes, results)
    return results


@dataclass(frozen=True)
class PushOptions:
    """What a push may do."""

    adopt: bool = False
    dry_run: bool = False
    overwrite: bool = False
    until: float = math.inf  # on the monotonic clock


@dataclass(frozen=True)
class Writer:
    """Writes clients' secrets where they differ. Its methods run in threads and touch no database."""

    sm: SecretsManager
    before: Answers
    known: Mapping[str, Secret]
    keys: VersionKeys
    options: PushOptions

    def write(self, pending: PendingWrite) -> None:
        """Writes what differs of one client; stops at its first error, which is then in `pending`."""
        if time.monotonic() > self.options.until:
            pending.error = PostponedError(sentences.POSTPONED())
            return
        # A secret whose rows are gone has to say so.
        names, before = pending.snapshot.names, self.before
        there = [part for part, name in names.items() if isinstance(before[name], SecretValue)]
        parts = documents.parts_to_store(
            _require_document(pending.snapshot), layout=secret_layout(), keep=there
        )
        pending.documents = {names[part]: document for part, document in parts.items()}
        for name in pending.documents:
            try:
                self._write_secret(pending, name)
            except (SecretsManagerError, RefusedError) as error:
                pending.error = error
                return

    def _write_secret(self, pending: PendingWrite, name: str) -> None:
        found = self.before[name]
        if isinstance(found, SecretsManagerError):
            there = self._create_or_restore(pending, name, found)
            if there is None:
                return
            found = there
        known = self.known.get(name)
        ours = known is not None and known.arn == found.arn
        self._require_ours(pending, name, ours=ours or self.sm.describe_secret(name).is_ours)
        if found.holds_document(pending.documents[name]):
            pending.outcomes.setdefault(name, Outcome.UNCHANGED)
            pending.remember(found)
            return
        # From the cutover on AWS is the authority: what somebody else wrote there is not to be overwritten unseen.
        if (
            pending.snapshot.phase.aws_is_authority
            and not self.options.overwrite
            and found.version_id != (known and known.version_id)
            and not self.keys.is_ours(name, found.version_id)
        ):
            raise ForeignVersionError(sentences.FOREIGN_VERSION(name=name))
        pending.outcomes.setdefault(name, Outcome.UPDATED)
        if not self.options.dry_run:
            text = documents.encode_document(pending.documents[name])
            token = self.keys.new_id(name, replaced=found.version_id, text=text)
            version_id = self.sm.put_value(name, text, token=token)
            pending.remember(SecretVersion(name, found.arn, version_id))

    def _create_or_restore(
        self, pending: PendingWrite, name: str, error: SecretsManagerError
    ) -> SecretValue | None:
        """Create a secret that AWS doesn't have; return the value of one that is taken back from its deletion."""
        if error.scheduled_for_deletion:
            return self._restore(pending, self.sm.describe_secret(name))
        if not error.not_found:
            raise error
        pending.outcomes[name] = Outcome.CREATED
        if self.options.dry_run:
            return None
        text = documents.encode_document(pending.documents[name])
        token = self.keys.new_id(name, replaced="", text=text)
        try:
            made = self.sm.create_secret(name, text, token=token, slug=pending.snapshot.slug)
        except SecretsManagerError as refusal:
            if refusal.code != EXISTS_ALREADY:
                raise
            there = self.sm.describe_secret(name)
            if there.deleted_at:
                return self._restore(pending, there)
            # It has no value yet, as the console and Terraform leave it, so that no read found it.
            self._require_ours(pending, name, ours=there.is_ours)
            pending.outcomes[name] = Outcome.UPDATED
            made = SecretVersion(name, there.arn, self.sm.put_value(name, text, token=token))
        pending.remember(made)
        return None

    def _restore(self, pending: PendingWrite, there: SecretDescription) -> SecretValue | None:
        """Take the secret back from its scheduled deletion and return its value; None in a rehearsal."""
        if not there.is_ours and not self.options.adopt:
            raise RefusedError(sentences.NOT_OURS(name=there.name))
        pending.outcomes[there.name] = Outcome.RESTORED
        if self.options.dry_run:
            return None
        self.sm.restore_secret(there.name)
        return self.sm.get_value(there.name)

    def _require_ours(self, pending: PendingWrite, name: str, *, ours: bool) -> None:
        if ours:
            return
        if not self.options.adopt:
            raise RefusedError(sentences.NOT_OURS(name=name))
        if not self.options.dry_run:
            self.sm.tag_secret(name, slug=pending.snapshot.slug)


def _is_comparable(pending: PendingWrite) -> bool:
    return pending.error is None or isinstance(pending.error, ForeignVersionError)


def _make_result(pending: PendingWrite, comparison: Comparison | None) -> PushResult:
    snapshot = pending.snapshot
    if pending.error:
        postponed = isinstance(pending.error, PostponedError)
        return PushResult(
            snapshot.client_id,
            snapshot.slug,
            Outcome.FAILED,
            pending.error.error_class,
            pending.error.message,
            comparison,
            refused=not postponed
            and (
                isinstance(pending.error, RefusedError)
                or pending.error.error_class == ErrorClass.DATA
            ),
            postponed=postponed,
        )
    if comparison and comparison.status != Comparison.Status.MATCH:
        error_class = comparison.error_class or ErrorClass.CONFLICT
        message = comparison.message or sentences.READ_BACK_DIFFERS()
        return PushResult(
            snapshot.client_id, snapshot.slug, Outcome.FAILED, error_class, message, comparison
        )
    warning = documents.name_warning(
        snapshot.slug, prefix=settings.NOVA_SECRET_PREFIX, layout=secret_layout()
    )
    return PushResult(snapshot.client_id, snapshot.slug, pending.outcome, "", warning, comparison)


def _record_results(writes: list[PendingWrite], results: list[PushResult]) -> None:
    """Stores what AWS holds now; only what was read back equal counts as pushed."""
    matched = {result.client_id for result in results if result.outcome != Outcome.FAILED}
    with transaction.atomic():
        Comparison.objects.record(
            [result.comparison for result in results if result.comparison], read_back=True
        )
        Secret.objects.record([secret for pending in writes for secret in pending.secrets])
        ClientRevision.objects.record_pushed(
            (pending.snapshot.client_id, pending.snapshot.revision)
            for pending in writes
            if pending.snapshot.client_id in matched
        )
