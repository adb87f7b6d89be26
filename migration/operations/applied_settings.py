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
from migration import sentences
from migration import setting_sentences as told
from migration.models import AuditCode, AuditEvent, Outcome, Secret
from migration.operations.aws_store import secrets_manager
from migration.operations.locks import hold_client_locks, require_client_locks
from migration.operations.secret_settings import (
    Changes,
    describe_settings,
    find_changes,
    store_facts,
)
from migration.operations.single_items import ItemRefusedError
from migration.operations.snapshots import look_at_clients, read_snapshot
from nova_credentials.aws.secret_settings import add_replicas, remove_replicas, update_secret
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
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
# Of secrets that AWS doesn't describe, one after the other, before the rest waits too.
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

    `wanted`: the settings as they were planned. Raises `ItemRefusedError`, `Client.DoesNotExist` and `LeaseLostError`.
    """
    if wanted != describe_settings():
        raise ItemRefusedError(told.SETTINGS_OF_ANOTHER_START())
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise ItemRefusedError(told.SETTINGS_UNDER_WAY(), ErrorClass.UNAVAILABLE)
        try:
            snapshot = read_snapshot(client_id)
        except NovaSchemaError as error:
            raise ItemRefusedError(error.message, ErrorClass.SCHEMA) from None
        sm = secrets_manager(interactive=interactive)
        applied: list[tuple[Outcome, Message | None]] = []
        problems: list[ItemRefusedError] = []
        for name in snapshot.all_names:
            try:
                applied += _apply_to_secret(snapshot, sm, name, by=by)
            except ItemRefusedError as refusal:
                problems.append(refusal)
    if problems:
        passing = next((p for p in problems if p.error_class != ErrorClass.CONFLICT), problems[0])
        why = in_a_row(*(each.message for each in problems)) or passing.message
        raise ItemRefusedError(why, passing.error_class)
    if not applied:
        return Outcome.SKIPPED, told.NO_SECRET_TO_SET()
    is_changed = any(outcome == Outcome.UPDATED for outcome, _ in applied)
    message = in_a_row(*(message for _, message in applied))
    return (Outcome.UPDATED if is_changed else Outcome.UNCHANGED), message


def _apply_to_secret(
    snapshot: ClientSnapshot, sm: SecretsManager, name: str, *, by: User | None
) -> Iterator[tuple[Outcome, Message | None]]:
    """Yield the outcome of a secret and what was otherwise; nothing where there is none. Raises `ItemRefusedError`."""
    try:
        there = sm.describe_secret(name)
        if there.deleted_at:
            return
        if not there.is_ours:
            raise ItemRefusedError(sentences.NOT_OURS(name=name))
        changes = find_changes(there, slug=snapshot.slug)
        after = _change(snapshot, sm, there, changes, by=by) if changes else there
    except SecretsManagerError as error:
        if error.not_found and error.operation == "DescribeSecret":
            return
        message = told.SETTINGS_NOT_APPLIED(name=name, error=error.message)
        raise ItemRefusedError(message, error.error_class) from None
    _store_look(name, after)
    left = find_changes(after, slug=snapshot.slug)
    if left.differs:
        message = told.SETTINGS_STILL_DIFFER(name=name, differences=left.messages)
        raise ItemRefusedError(message)
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

    The audit has it as soon as AWS has taken the first change, whatever becomes of the others.
    """
    steps = _list_steps(snapshot, sm, there, changes)
    next(steps)
    with transaction.atomic():
        require_client_locks()
        AuditEvent.objects.record(
            AuditCode.SECRET_SETTINGS,
            _name_changes(there, changes),
            by=by,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
        )
    for _step in steps:
        pass
    return sm.describe_secret(there.arn)


def _list_steps(
    snapshot: ClientSnapshot, sm: SecretsManager, there: SecretDescription, changes: Changes
) -> Iterator[None]:
    """Make the changes that are wanted, of which there is one at least; yields after each."""
    if changes.tags:
        sm.tag_secret(there.arn, slug=snapshot.slug)
        yield
    if changes.description or changes.kms_key:
        values = {"description": changes.description, "kms_key": changes.kms_key}
        update_secret(sm, there.arn, **values)
        yield
    if changes.removed:
        remove_replicas(sm, there.arn, changes.removed)
        yield
    if changes.added:
        add_replicas(sm, there.arn, changes.added)
        yield


def _require_readable(sm: SecretsManager, there: SecretDescription) -> None:
    """Raise `ItemRefusedError` where the site can't read a secret that has a value, with the key of the settings."""
    if not settings.NOVA_KMS_KEY_ID or not there.versions:
        return
    try:
        sm.get_value(there.arn)
    except SecretsManagerError as error:
        message = told.KEY_READS_NOT(name=there.name, error=error.message)
        raise ItemRefusedError(message, error.error_class) from None


def look_at_secrets(*, client_id: int) -> list[SecretLook]:
    """Describe the client's secrets now, and compare them with the settings. Raises `NovaSchemaError`, `KeyError`."""
    snapshot, sm = look_at_clients([client_id])[client_id], secrets_manager()
    looks = []
    for name in snapshot.all_names:
        try:
            there = sm.describe_secret(name)
        except SecretsManagerError as error:
            if not error.not_found:
                looks.append(SecretLook(name, problem=error.message))
            continue
        _store_look(name, there)
        foreign = None if there.is_ours else sentences.NOT_OURS(name=name)
        looks.append(SecretLook(name, find_changes(there, slug=snapshot.slug), foreign))
    return looks


def describe_due_secrets(*, seconds: float) -> None:
    """Describe the secrets that were not looked at for a day, the oldest look first, for at most so many seconds."""
    until, sm, errors = time.monotonic() + seconds, secrets_manager(), 0
    for name in list(Secret.objects.due_for_look(LOOKED_AT_EVERY).values_list("name", flat=True)):
        if time.monotonic() > until or errors > MOST_ERRORS:
            break
        try:
            _store_look(name, sm.describe_secret(name))
        except SecretsManagerError as error:
            if error.not_found:
                _store_look(name, None)
                continue
            logger.warning("A secret is looked at later: %s", error)
            errors += 1
            if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.THROTTLED):
                break


def _store_look(name: str, there: SecretDescription | None) -> None:
    facts = store_facts(there) if there else {}
    Secret.objects.filter(name=name).update(facts=facts, described_at=timezone.now())
