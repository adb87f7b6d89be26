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
from migration.models import ClientMigration, Comparison, Outcome, Run, Secret, clients
from migration.operations.comparisons import comparison_of
from migration.operations.keys import VersionKeys, version_keys
from migration.operations.stores import (
    Rows,
    known_secrets,
    locked,
    read_rows,
    secret_layout,
    secrets_manager,
)
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
class Pushed:
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
    def why(self) -> Message:
        """Its message, else the outcome."""
        return self.message or sentences.OUTCOMES[self.outcome]()


@dataclass
class Plan:
    """One client's document on its way to AWS."""

    rows: Rows
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
                client_id=self.rows.client_id,
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
    someone_waits: bool = False,
    seconds: float | None = None,
) -> list[Pushed]:
    """Makes AWS hold each client's present rows and reads back that it does.

    `include_postgres`: also clients that stand in `postgres`.
    `overwrite`: also where AWS is the authority and holds what somebody else wrote. `someone_waits`: gives up early.
    `seconds`: begins to write no client after so long; those left over are `postponed`.

    Errors of one client are in its `Pushed` and keep no other client from being pushed; a `DatabaseError` ends it all,
    and the whole call can be made again. With `dry_run` nothing is written to either store.
    """
    wait_seconds = LOCK_WAIT_SECONDS_OF_A_PAGE if someone_waits else LOCK_WAIT_SECONDS
    with locked(client_ids, wait_seconds=wait_seconds) as held:
        read = read_rows(held)
        pushed = [_refused(rows, include_inactive, include_postgres) for rows in read.values()]
        results = [result for result in pushed if result]
        refused = {result.client_id for result in results}
        plans = [Plan(rows) for pk, rows in read.items() if pk not in refused]
        sm = secrets_manager(someone_waits=someone_waits)
        until = time.monotonic() + seconds if seconds else math.inf
        how = Manner(adopt=adopt, dry_run=dry_run, overwrite=overwrite, until=until)
        results += _carry_out(plans, sm, how, run=run)
        if not dry_run:
            ClientMigration.objects.record_refused(
                (result.client_id, read[result.client_id].revision if result.refused else None)
                for result in results
            )
    busy = clients().filter(pk__in=set(client_ids) - held).values_list("pk", "slug")
    late = sentences.PUSH_TAKES_TOO_LONG()
    return results + [
        Pushed(pk, slug, Outcome.FAILED, ErrorClass.CONFLICT, late, busy=True) for pk, slug in busy
    ]


def _refused(rows: Rows, include_inactive: bool, include_postgres: bool) -> Pushed | None:
    """Why these rows are not to be pushed, if they are not."""
    outcome, error_class = Outcome.SKIPPED, ""
    message: Message | None = None
    if rows.phase == Phase.PURGED:
        message = sentences.NOT_PUSHED_PURGED()
    elif rows.phase == Phase.POSTGRES and not include_postgres:
        message = sentences.NOT_PUSHED_BACK()
    elif not rows.active and not include_inactive:
        message = sentences.NOT_PUSHED_INACTIVE()
    elif not rows.has_credentials and rows.phase == Phase.POSTGRES:
        message = sentences.NOT_PUSHED_EMPTY()
    elif message := _problem(rows):
        outcome, error_class = Outcome.FAILED, ErrorClass.DATA
    if not message:
        return None
    refused = outcome == Outcome.FAILED
    return Pushed(rows.client_id, rows.slug, outcome, error_class, message, refused=refused)


def _problem(rows: Rows) -> Message | None:
    """Why AWS would not take the document, or there is none; None where it would."""
    if rows.problem or rows.document is None:
        return rows.problem
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    return documents.size_problem(rows.document, rows.slug, prefix=prefix, layout=layout)


def write_now(rows: Rows, *, document: Document) -> None:
    """Writes this document to AWS for a save that waits for it, in the save's own transaction.

    Raises `SecretsManagerError` or `RefusedError` where AWS doesn't hold it afterwards, or may not.
    """
    rows = replace(rows, document=document)
    if problem := _problem(rows):
        raise RefusedError(problem)
    plan = Plan(rows)
    _writer([plan], secrets_manager(someone_waits=True), Manner()).write(plan)
    if plan.error:
        raise plan.error
    Secret.objects.record(plan.secrets)


def keep_replaced(rows: Rows, *, stage: str) -> None:
    """Keeps the rows' document in AWS under a stage of its own, where nobody reads it by mistake."""
    sm = secrets_manager(someone_waits=True)
    whole = rows.kept or _document(rows)
    for part, document in documents.split_document(whole, layout=secret_layout()).items():
        sm.put_aside(rows.names[part], documents.encode_document(document), stage=stage)


def _document(rows: Rows) -> Document:
    if rows.document is None:
        raise ValueError(str(rows.problem))
    return rows.document


def _writer(plans: list[Plan], sm: SecretsManager, how: Manner) -> Writer:
    """Read what AWS holds of these clients, and tell which of their secrets are scheduled for deletion."""
    names = [name for plan in plans for name in plan.rows.names.values()]
    known = known_secrets(names)
    before = sm.mark_deletions(sm.batch_get(names), lacking=known)
    return Writer(sm, before, known, version_keys(), how)


def _carry_out(
    plans: list[Plan], sm: SecretsManager, how: Manner, *, run: Run | None
) -> list[Pushed]:
    if not plans:
        return []
    writer = _writer(plans, sm, how)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(writer.write, plans))
    if how.dry_run:
        return [_result(plan, None) for plan in plans]
    after = writer.before | sm.batch_get([name for plan in plans for name in plan.written])
    results = [
        _result(plan, comparison_of(plan.rows, after, run=run) if _is_comparable(plan) else None)
        for plan in plans
    ]
    _record(plans, results)
    return results


@dataclass(frozen=True)
class Manner:
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
    how: Manner

    def write(self, plan: Plan) -> None:
        """Writes what differs of one client; stops at its first error, which is then in the plan."""
        if time.monotonic() > self.how.until:
            plan.error = PostponedError(sentences.POSTPONED())
            return
        # A secret whose rows are gone is to say so.
        names, before = plan.rows.names, self.before
        there = [part for part, name in names.items() if isinstance(before[name], SecretValue)]
        parts = documents.parts_to_store(_document(plan.rows), layout=secret_layout(), keep=there)
        plan.documents = {names[part]: document for part, document in parts.items()}
        for name in plan.documents:
            try:
                self._write_secret(plan, name)
            except (SecretsManagerError, RefusedError) as error:
                plan.error = error
                return

    def _write_secret(self, plan: Plan, name: str) -> None:
        found = self.before[name]
        if isinstance(found, SecretsManagerError):
            there = self._create_or_restore(plan, name, found)
            if there is None:
                return
            found = there
        known = self.known.get(name)
        ours = known is not None and known.arn == found.arn
        self._require_ours(plan, name, ours=ours or self.sm.describe_secret(name).is_ours)
        if found.holds_document(plan.documents[name]):
            plan.outcomes.setdefault(name, Outcome.UNCHANGED)
            plan.remember(found)
            return
        # From the cutover on AWS is the authority: what somebody else wrote there is not to be overwritten unseen.
        if (
            plan.rows.phase.aws_is_authority
            and not self.how.overwrite
            and found.version_id != (known and known.version_id)
            and not self.keys.is_ours(name, found.version_id)
        ):
            raise ForeignVersionError(sentences.FOREIGN_VERSION(name=name))
        plan.outcomes.setdefault(name, Outcome.UPDATED)
        if not self.how.dry_run:
            text = documents.encode_document(plan.documents[name])
            token = self.keys.new_id(name, replaced=found.version_id, text=text)
            version_id = self.sm.put_value(name, text, token=token)
            plan.remember(SecretVersion(name, found.arn, version_id))

    def _create_or_restore(
        self, plan: Plan, name: str, error: SecretsManagerError
    ) -> SecretValue | None:
        """Create a secret that AWS doesn't have; return the value of one that is taken back from its deletion."""
        if error.scheduled_for_deletion:
            return self._restore(plan, self.sm.describe_secret(name))
        if not error.not_found:
            raise error
        plan.outcomes[name] = Outcome.CREATED
        if self.how.dry_run:
            return None
        text = documents.encode_document(plan.documents[name])
        token = self.keys.new_id(name, replaced="", text=text)
        try:
            made = self.sm.create_secret(name, text, token=token, slug=plan.rows.slug)
        except SecretsManagerError as refusal:
            if refusal.code != EXISTS_ALREADY:
                raise
            there = self.sm.describe_secret(name)
            if there.deleted_at:
                return self._restore(plan, there)
            # It has no value yet, as the console and Terraform leave it, so that no read found it.
            self._require_ours(plan, name, ours=there.is_ours)
            plan.outcomes[name] = Outcome.UPDATED
            made = SecretVersion(name, there.arn, self.sm.put_value(name, text, token=token))
        plan.remember(made)
        return None

    def _restore(self, plan: Plan, there: SecretDescription) -> SecretValue | None:
        """Take the secret back from its scheduled deletion and return its value; None in a rehearsal."""
        if not there.is_ours and not self.how.adopt:
            raise RefusedError(sentences.NOT_OURS(name=there.name))
        plan.outcomes[there.name] = Outcome.RESTORED
        if self.how.dry_run:
            return None
        self.sm.restore_secret(there.name)
        return self.sm.get_value(there.name)

    def _require_ours(self, plan: Plan, name: str, *, ours: bool) -> None:
        if ours:
            return
        if not self.how.adopt:
            raise RefusedError(sentences.NOT_OURS(name=name))
        if not self.how.dry_run:
            self.sm.tag_secret(name, slug=plan.rows.slug)


def _is_comparable(plan: Plan) -> bool:
    return plan.error is None or isinstance(plan.error, ForeignVersionError)


def _result(plan: Plan, comparison: Comparison | None) -> Pushed:
    rows = plan.rows
    if plan.error:
        postponed = isinstance(plan.error, PostponedError)
        return Pushed(
            rows.client_id,
            rows.slug,
            Outcome.FAILED,
            plan.error.error_class,
            plan.error.message,
            comparison,
            refused=not postponed
            and (isinstance(plan.error, RefusedError) or plan.error.error_class == ErrorClass.DATA),
            postponed=postponed,
        )
    if comparison and comparison.status != Comparison.Status.MATCH:
        error_class = comparison.error_class or ErrorClass.CONFLICT
        message = comparison.message or sentences.READ_BACK_DIFFERS()
        return Pushed(rows.client_id, rows.slug, Outcome.FAILED, error_class, message, comparison)
    warning = documents.name_warning(
        rows.slug, prefix=settings.NOVA_SECRET_PREFIX, layout=secret_layout()
    )
    return Pushed(rows.client_id, rows.slug, plan.outcome, "", warning, comparison)


def _record(plans: list[Plan], results: list[Pushed]) -> None:
    """Stores what AWS holds now; only what was read back equal counts as pushed."""
    matched = {result.client_id for result in results if result.outcome != Outcome.FAILED}
    with transaction.atomic():
        Comparison.objects.record(
            [result.comparison for result in results if result.comparison], read_back=True
        )
        Secret.objects.record([secret for plan in plans for secret in plan.secrets])
        ClientRevision.objects.record_pushed(
            (plan.rows.client_id, plan.rows.revision)
            for plan in plans
            if plan.rows.client_id in matched
        )
