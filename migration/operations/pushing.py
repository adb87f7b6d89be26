"""Push: writes clients' documents to AWS from the rows as they are now, under each client's lock."""

from __future__ import annotations

import json
import math
import time
from collections import ChainMap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from credentials.models import ClientRevision
from migration.models import ClientMigration, Comparison, Outcome, Run, Secret, clients
from migration.operations.comparing import SCHEDULED_FOR_DELETION, comparison_of
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
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import say
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nova_credentials.aws.secrets_manager import SecretsManager

# Long enough for another batch's pushes of the same clients; the schedule comes back for the rest.
LOCK_WAIT_SECONDS = 30.0
LOCK_WAIT_SECONDS_OF_A_PAGE = 1.0
# As many as botocore keeps connections open for.
WRITERS = 10

# AWS's code for creating what is there.
BUSY = say("A push or a move of this client takes too long.")
EXISTS_ALREADY = "ResourceExistsException"

# Where one client's secrets fare differently, the item tells the first of these.
NOT_OURS = say(
    "%(name)s is there already and is not ours (no tag ManagedBy=nova-admin). Adopt it, or rename the client."
)

FOREIGN_VERSION = say(
    "%(name)s holds what somebody else wrote, and AWS is the authority. Compare, then copy one way."
)
POSTPONED = say("Its turn did not come in time; the run takes it again.")
LOUDEST_FIRST = (Outcome.RESTORED, Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED)


class RefusedError(Exception):
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
    message: str = ""
    comparison: Comparison | None = None
    # Pushing the same rows again would fail again: somebody has to change something.
    refused: bool = False
    # Another push or move had the client.
    busy: bool = False
    # The time was over before its turn: nothing was tried.
    postponed: bool = False


@dataclass
class Plan:
    """One client's document on its way to AWS."""

    rows: Rows
    texts: dict[str, str] = field(repr=False)  # by secret name
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
        plans = [_plan(rows) for pk, rows in read.items() if pk not in refused]
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
    return results + [
        Pushed(pk, slug, Outcome.FAILED, ErrorClass.CONFLICT, BUSY, busy=True) for pk, slug in busy
    ]


def _refused(rows: Rows, include_inactive: bool, include_postgres: bool) -> Pushed | None:
    """Why these rows are not to be pushed, if they are not."""
    outcome, error_class, message = Outcome.SKIPPED, "", ""
    if rows.phase == Phase.PURGED:
        message = say("Purged: the tables hold pointers, AWS holds the values.")
    elif rows.phase == Phase.POSTGRES and not include_postgres:
        message = say("It went back to PostgreSQL meanwhile.")
    elif not rows.active and not include_inactive:
        message = say("Inactive.")
    elif not rows.has_credentials and rows.phase == Phase.POSTGRES:
        message = say("No credentials.")
    elif message := _problem(rows):
        outcome, error_class = Outcome.FAILED, ErrorClass.DATA
    if not message:
        return None
    refused = outcome == Outcome.FAILED
    return Pushed(rows.client_id, rows.slug, outcome, error_class, message, refused=refused)


def _problem(rows: Rows) -> str:
    """Why AWS would not take the document, or there is none; empty where it would."""
    if rows.problem or rows.document is None:
        return rows.problem
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    return documents.size_problem(rows.document, rows.slug, prefix=prefix, layout=layout) or ""


def _plan(rows: Rows) -> Plan:
    return Plan(rows, _texts(rows))


def _texts(rows: Rows, keep: Collection[str] = ()) -> dict[str, str]:
    """What each secret is to hold, by name; a part that has no row only where it is in `keep`."""
    if rows.document is None:
        raise ValueError(rows.problem)
    parts = documents.split(rows.document, layout=secret_layout(), keep=keep)
    return {rows.names[part]: documents.encode(of_part) for part, of_part in parts.items()}


def write_now(rows: Rows, *, document: Document) -> None:
    """Writes this document to AWS for a save that waits for it, in the save's own transaction.

    Raises `SecretsManagerError` or `RefusedError` where AWS doesn't hold it afterwards, or may not.
    """
    rows = replace(rows, document=document)
    if problem := _problem(rows):
        raise RefusedError(problem)
    plan = _plan(rows)
    names = list(rows.names.values())
    sm = secrets_manager(someone_waits=True)
    Writer(sm, sm.batch_get(names), known_secrets(names), version_keys(), Manner()).write(plan)
    if plan.error:
        raise plan.error
    Secret.objects.record(plan.secrets)


def keep_replaced(rows: Rows, *, stage: str) -> None:
    """Keeps the rows' document in AWS under a stage of its own, where nobody reads it by mistake."""
    sm = secrets_manager(someone_waits=True)
    for name, text in _texts(rows).items():
        sm.put_aside(name, text, stage=stage)


def _carry_out(
    plans: list[Plan], sm: SecretsManager, how: Manner, *, run: Run | None
) -> list[Pushed]:
    if not plans:
        return []
    names = [name for plan in plans for name in plan.rows.names.values()]
    before = sm.batch_get(names)
    writer = Writer(sm, before, known_secrets(names), version_keys(), how)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(writer.write, plans))
    if how.dry_run:
        return [_result(plan, None) for plan in plans]
    after = ChainMap(sm.batch_get([name for plan in plans for name in plan.written]), before)
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
    before: dict[str, SecretValue | SecretsManagerError]
    known: Mapping[str, Secret]
    keys: VersionKeys
    how: Manner

    def write(self, plan: Plan) -> None:
        """Writes what differs of one client; stops at its first error, which is then in the plan."""
        if time.monotonic() > self.how.until:
            plan.error = PostponedError(POSTPONED)
            return
        for part, name in plan.rows.names.items():
            if name not in plan.texts:
                # Its rows are gone: the secret, where there is one, is to say so.
                if isinstance(self.before[name], SecretsManagerError):
                    continue
                plan.texts[name] = _texts(plan.rows, keep=[part])[name]
            try:
                self._write_secret(plan, name)
            except (SecretsManagerError, RefusedError) as error:
                plan.error = error
                return

    def _write_secret(self, plan: Plan, name: str) -> None:
        found = self.before[name]
        if isinstance(found, SecretsManagerError):
            if found.not_found:
                self._create(plan, name)
                return
            if found.code != SCHEDULED_FOR_DELETION:
                raise found
            revived = self._revive(plan, name, found)
            if revived is None:
                return
            found = revived
        known = self.known.get(name)
        ours = known is not None and known.arn == found.arn
        self._require_ours(plan, name, ours=ours or self.sm.describe(name).is_ours)
        if _same(found.text, plan.texts[name]):
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
            raise ForeignVersionError(FOREIGN_VERSION % {"name": name})
        plan.outcomes.setdefault(name, Outcome.UPDATED)
        if not self.how.dry_run:
            text = plan.texts[name]
            token = self.keys.new_id(name, replaced=found.version_id, text=text)
            version_id = self.sm.put(name, text, token=token)
            plan.remember(SecretVersion(name, found.arn, version_id))

    def _create(self, plan: Plan, name: str) -> None:
        plan.outcomes[name] = Outcome.CREATED
        if self.how.dry_run:
            return
        text = plan.texts[name]
        token = self.keys.new_id(name, replaced="", text=text)
        try:
            made = self.sm.create(name, text, token=token, slug=plan.rows.slug)
        except SecretsManagerError as error:
            if error.code != EXISTS_ALREADY:
                raise
            # It has no value yet, as the console and Terraform leave it, so that no read found it.
            there = self.sm.describe(name)
            self._require_ours(plan, name, ours=there.is_ours)
            plan.outcomes[name] = Outcome.UPDATED
            made = SecretVersion(name, there.arn, self.sm.put(name, text, token=token))
        plan.remember(made)

    def _revive(self, plan: Plan, name: str, error: SecretsManagerError) -> SecretValue | None:
        """The secret, taken back from its scheduled deletion; None in a rehearsal."""
        description = self.sm.describe(name)
        if description.deleted_at is None:
            raise error
        if not description.is_ours and not self.how.adopt:
            raise RefusedError(NOT_OURS % {"name": name})
        plan.outcomes[name] = Outcome.RESTORED
        if self.how.dry_run:
            return None
        self.sm.restore(name)
        return self.sm.get(name)

    def _require_ours(self, plan: Plan, name: str, *, ours: bool) -> None:
        if ours:
            return
        if not self.how.adopt:
            raise RefusedError(NOT_OURS % {"name": name})
        if not self.how.dry_run:
            self.sm.tag(name, slug=plan.rows.slug)


def _same(present: str | None, text: str) -> bool:
    """Whether AWS holds this document, however its JSON is laid out."""
    try:
        return _canonical(present or "") == _canonical(text)
    except DocumentError:
        return False


def _canonical(text: str) -> str:
    return json.dumps(documents.decode(text), sort_keys=True)


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
            str(plan.error),
            comparison,
            refused=not postponed
            and (isinstance(plan.error, RefusedError) or plan.error.error_class == ErrorClass.DATA),
            postponed=postponed,
        )
    if comparison and comparison.status != Comparison.Status.MATCH:
        error_class = comparison.error_class or ErrorClass.CONFLICT
        message = comparison.message or say("Read back, the secret differs from what was written.")
        return Pushed(rows.client_id, rows.slug, Outcome.FAILED, error_class, message, comparison)
    warning = documents.name_warning(
        rows.slug, prefix=settings.NOVA_SECRET_PREFIX, layout=secret_layout()
    )
    return Pushed(rows.client_id, rows.slug, plan.outcome, "", warning or "", comparison)


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
