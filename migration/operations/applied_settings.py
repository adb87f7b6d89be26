"""Gives a client's secrets the tags, description, KMS key and replicas of the settings. Changes no value, no version.

Each secret is described, changed where it differs, and described again. Killed anywhere, it can be done again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from credentials.nova_columns import NovaSchemaError
from migration import setting_sentences as told
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.run_items import Outcome
from migration.models.secrets import Secret
from migration.operations.aws_store import secrets_manager
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.secret_owners import load_owners
from migration.operations.secret_settings import (
    Changes,
    describe_settings,
)
from migration.operations.single_items import ItemFailedError
from migration.operations.snapshots import read_snapshot, read_snapshots_for_page
from migration.operations.stored_looks import (
    begin_change,
    compare_secret,
    end_change,
    find_interrupted_change,
    store_look,
)
from nova_credentials.aws.secret_settings import add_replicas, remove_replicas, update_secret
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.aws.versions import CURRENT
from nova_credentials.document import name_problem
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from django.contrib.auth.models import User

    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

LOCK_WAIT_SECONDS = 5.0
# Each secret is looked at once a day: a call each, and a cent a month for 70 of them.
LOOKED_AT_EVERY = timedelta(days=1)
# Of secrets that AWS doesn't describe, before the rest waits for the next time, when these come last.
MOST_ERRORS = 10

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SecretLook:
    """One secret as AWS describes it now, and what has to be changed of it; or why that is not known."""

    name: str
    changes: Changes = field(default_factory=Changes)
    problem: Message | None = None


def apply_settings(
    *,
    client_id: int,
    wanted: dict[str, Any],
    by: User | None = None,
    interactive: bool = True,
) -> tuple[Outcome, Message | None]:
    """Apply the settings to one client's secrets; return the outcome as an item of a run, and what is said of it.

    `wanted`: the settings as they were planned. Raises `ItemFailedError`, `Client.DoesNotExist` and `LeaseLostError`.
    """
    if wanted != describe_settings():
        raise ItemFailedError(told.SETTINGS_OF_ANOTHER_START())
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise ItemFailedError(told.SETTINGS_UNDER_WAY(), ErrorClass.UNAVAILABLE)
        try:
            snapshot = read_snapshot(client_id)
        except NovaSchemaError as error:
            raise ItemFailedError(error.message, ErrorClass.SCHEMA) from None
        if problem := _find_name_problem(snapshot):
            return Outcome.SKIPPED, problem
        sm = secrets_manager(interactive=interactive)
        applied: list[tuple[Outcome, Message | None]] = []
        problems: list[ItemFailedError] = []
        for name in snapshot.all_names:
            try:
                applied += _apply_to_secret(snapshot, sm, name, by=by)
            except ItemFailedError as refusal:
                problems.append(refusal)
    return _sum_up(applied, problems)


def _sum_up(
    applied: list[tuple[Outcome, Message | None]], problems: list[ItemFailedError]
) -> tuple[Outcome, Message | None]:
    """Return the outcome of all secrets of a client; raises `ItemFailedError` where there was a problem."""
    if problems:
        passing = next((p for p in problems if p.error_class != ErrorClass.CONFLICT), problems[0])
        why = in_a_row(*(each.message for each in problems)) or passing.message
        raise ItemFailedError(why, passing.error_class)
    if not applied:
        return Outcome.SKIPPED, told.NO_SECRET_TO_SET()
    is_changed = any(outcome == Outcome.UPDATED for outcome, _ in applied)
    message = in_a_row(*(message for _, message in applied))
    return (Outcome.UPDATED if is_changed else Outcome.UNCHANGED), message


def _apply_to_secret(
    snapshot: ClientSnapshot, sm: SecretsManager, name: str, *, by: User | None
) -> Iterator[tuple[Outcome, Message | None]]:
    """Yield the outcome of a secret and what was otherwise; nothing where there is none. Raises `ItemFailedError`."""
    try:
        there = sm.describe_secret(name)
        store_look(name, there)
        if begun := find_interrupted_change(there):
            _record_change(snapshot, name, begun, by=by)
        if there.deleted_at:
            return
        if not (owners := load_owners([name])).is_ours(there, snapshot.client_id):
            raise ItemFailedError(owners.explain_refusal(there))
        changes = compare_secret(there, slug=snapshot.secret_slug)
        after = _change(snapshot, sm, there, changes, by=by) if changes else there
    except SecretsManagerError as error:
        if error.not_found and error.operation == "DescribeSecret":
            store_look(name, None)
            return
        message = told.SETTINGS_NOT_APPLIED(name=name, error=error.message)
        raise ItemFailedError(message, error.error_class) from None
    left = compare_secret(after, slug=snapshot.secret_slug)
    if left.differs:
        message = told.SETTINGS_STILL_DIFFER(name=name, differences=left.messages)
        # AWS answers what was before for a moment, and takes its time to remove a replica.
        error_class = ErrorClass.UNAVAILABLE if left.may_pass_by_itself else ErrorClass.CONFLICT
        raise ItemFailedError(message, error_class)
    _require_readable(sm, after)
    if changes:
        yield Outcome.UPDATED, _name_changes(there, changes)
    else:
        yield Outcome.UNCHANGED, None


def _name_changes(there: SecretDescription, changes: Changes) -> Message:
    return told.SETTINGS_APPLIED(name=there.name, differences=changes.messages)


def _change(
    snapshot: ClientSnapshot,
    sm: SecretsManager,
    there: SecretDescription,
    changes: Changes,
    *,
    by: User | None,
) -> SecretDescription:
    """Change what differs, and describe the secret again. By its ARN: another one may get this name meanwhile.

    The audit has it as soon as AWS has taken the first change, whatever becomes of the others. Of a change of which
    nobody learned whether AWS took it, the next try learns it.
    """
    begin_change(there, _name_changes(there, changes))
    steps = _apply_changes(snapshot, sm, there, changes)
    try:
        next(steps)
    except SecretsManagerError as error:
        if error.error_class != ErrorClass.UNAVAILABLE:
            end_change(there.name)  # AWS took nothing
        raise
    _record_change(snapshot, there.name, _name_changes(there, changes), by=by)
    for _step in steps:
        pass
    after = sm.describe_secret(there.arn)
    store_look(there.name, after, key_as=changes.kms_key)
    return after


def _record_change(snapshot: ClientSnapshot, name: str, what: Message, *, by: User | None) -> None:
    with transaction.atomic():
        refuse_lost_client_locks()
        AuditEvent.objects.record(
            AuditCode.SECRET_SETTINGS,
            what,
            by=by,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
        end_change(name)


def _apply_changes(
    snapshot: ClientSnapshot, sm: SecretsManager, there: SecretDescription, changes: Changes
) -> Iterator[None]:
    """Make the changes that are wanted, of which there is one at least; yields after each."""
    if changes.tags:
        sm.tag_secret(there.arn, slug=snapshot.secret_slug)
        yield
    if changes.description or changes.kms_key:
        values = {"description": changes.description, "kms_key": changes.kms_key}
        update_secret(sm, there.arn, **values)
        yield
    left: set[str] = set()
    if changes.removed:
        left = remove_replicas(sm, there.arn, changes.removed)
        yield
    # One that isn't gone yet would have AWS refuse the others, too.
    if added := {region: key for region, key in changes.added.items() if region not in left}:
        add_replicas(sm, there.arn, added)
        yield


def _require_readable(sm: SecretsManager, there: SecretDescription) -> None:
    """Raise `ItemFailedError` where the site can't read a secret that has a value, with the key of the settings."""
    has_value = any(CURRENT in stages for stages in there.versions.values())
    if not settings.NOVA_KMS_KEY_ID or not has_value:
        return
    try:
        sm.get_value(there.arn)
    except SecretsManagerError as error:
        message = told.KEY_READS_NOT(name=there.name, error=error.message)
        raise ItemFailedError(message, error.error_class) from None


def _find_name_problem(snapshot: ClientSnapshot) -> Message | None:
    """Say why no secret can be named after the slug: one with a slash could name another client's."""
    prefix = settings.NOVA_SECRET_PREFIX
    return name_problem(snapshot.secret_slug, prefix=prefix, layout=snapshot.layout)


def look_at_secrets(*, client_id: int) -> list[SecretLook]:
    """Ask AWS about the client's secrets, store its answers, compare with the settings. Raises `NovaSchemaError`.

    A client that NOVA has deleted has none, nor has one with a slug that no secret can be named after.
    """
    snapshot, sm = read_snapshots_for_page([client_id]).get(client_id), secrets_manager()
    looks: list[SecretLook] = []
    if snapshot is None or _find_name_problem(snapshot):
        return looks
    owners = load_owners(snapshot.all_names)
    for name in snapshot.all_names:
        try:
            there = sm.describe_secret(name)
        except SecretsManagerError as error:
            if error.not_found:
                store_look(name, None)
            else:
                looks.append(SecretLook(name, problem=error.message))
            continue
        store_look(name, there)
        if owners.is_ours(there, client_id):
            looks.append(SecretLook(name, compare_secret(there, slug=snapshot.secret_slug)))
        else:
            looks.append(SecretLook(name, problem=owners.explain_refusal(there)))
    return looks


def store_due_secret_states(*, seconds: float) -> None:
    """Store what AWS says of secrets not looked at for a day, oldest first, for at most `seconds`."""
    until, sm, errors = time.monotonic() + seconds, secrets_manager(), 0
    for name in Secret.objects.due_for_describing(LOOKED_AT_EVERY):
        if time.monotonic() > until or errors > MOST_ERRORS:
            break
        try:
            store_look(name, sm.describe_secret(name))
        except SecretsManagerError as error:
            if error.not_found:
                _forget_or_store_gone(name)
                continue
            logger.warning("A secret is looked at later: %s", error)
            Secret.objects.filter(name=name).update(tried_at=timezone.now())
            errors += 1
            if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.THROTTLED):
                break


def _forget_or_store_gone(name: str) -> None:
    """Store that AWS has no such secret; forget one that was left to its deletion and is none of its client's own."""
    left = Secret.objects.filter(name=name, facts__deleted=True).first()
    if left and name not in read_snapshots_for_page([left.client_id])[left.client_id].all_names:
        left.delete()
    else:
        store_look(name, None)
