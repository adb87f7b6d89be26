"""Offboards a client, and brings it back. Its values are only in AWS meanwhile, where their deletion is scheduled.

Whatever is done is done in this order, so that no value is lost and no reader gets a wrong one: AWS holds the rows'
values and was read back, then pointers replace them, then the deletions are scheduled. On the way back the secrets are
taken back from their deletion first. Killed anywhere, either can be done again, or the other one instead.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from credentials.models import Client, ClientRevision, save_columns
from credentials.nova_columns import NovaSchemaError
from credentials.pointers import replace_secrets_by_pointers
from migration import audit_sentences
from migration import offboarding_sentences as told
from migration.campaigns.models import Campaign, WaveClient
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.clients import ClientMigration
from migration.models.offboardings import Offboarding, OffboardingState
from migration.models.reasons import require_reason
from migration.models.rotation_schedules import RotationSchedule
from migration.models.run_items import PUSHED
from migration.models.secrets import Secret
from migration.operations.aws_store import read_aws, secret_names_by_type, secrets_manager
from migration.operations.aws_writes import find_write_refusal
from migration.operations.gates import ShutGate
from migration.operations.known_values import note_values_before_purge
from migration.operations.leaving_checks import list_objections, needs_purge
from migration.operations.locks import hold_client_locks, refuse_lost_client_locks
from migration.operations.move_attempts import fail_overtaken_requests
from migration.operations.moves import move
from migration.operations.pushes import push
from migration.operations.rows_from_aws import STORE_ERRORS, hold_rows
from migration.operations.secret_owners import load_owners
from migration.operations.snapshots import (
    read_snapshot,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.secrets.settings import name_removed_replicas, schedule_with_replicas
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.comparison import are_equal
from nova_credentials.messages import MessageError, in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from migration.operations.aws_store import AwsCopy
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

LOCK_WAIT_SECONDS = 5.0
LINE = tuple(Phase)


class OffboardingError(MessageError):
    """The client did not leave, or is not back: the message says why, and whether doing it again goes on."""


def offboard_client(
    *, client_id: int, reason: str, by: User | None = None, acknowledged: bool = False
) -> Message:
    """Purge the client's rows and schedule the deletion of its secrets; return what is to become of them.

    `acknowledged`: although NOVA read it lately. Raises `OffboardingError`, `ReasonError` and `Client.DoesNotExist`.
    """
    require_reason(reason)
    with _hold_client(client_id):
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving and leaving.is_finished:
            raise OffboardingError(told.ALREADY_OFFBOARDED(slug=leaving.slug))
        snapshot = _read(client_id)
        if objections := list_objections(snapshot, acknowledged=acknowledged):
            raise _refuse(snapshot, *objections)
        if leaving is None or leaving.state == OffboardingState.COMING_BACK:
            leaving = _begin(snapshot, leaving, reason=reason, by=by)
        return schedule_offboarding_deletions(leaving, by=by)


def schedule_offboarding_deletions(leaving: Offboarding, *, by: User | None) -> Message:
    """Schedule the deletions of a client that is being offboarded, whose lease is held; raises `OffboardingError`."""
    try:
        return _schedule_deletions(leaving, by=by)
    except SecretsManagerError as error:
        raise OffboardingError(told.OFFBOARDING_STOPPED(error=error.message)) from None


def bring_back_as_inactive(*, client_id: int, reason: str, by: User | None = None) -> Message:
    """Take the client's secrets back from their deletion, and the client to the phase it left from.

    It stays inactive. Raises `OffboardingError`, also where the values are gone, and `Client.DoesNotExist`.
    """
    require_reason(reason)
    with _hold_client(client_id):
        snapshot = _read(client_id)
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving is None:
            raise OffboardingError(told.NOT_OFFBOARDED(slug=snapshot.slug))
        if refusal := find_write_refusal():
            raise OffboardingError(told.BACK_REFUSED(slug=snapshot.slug, reasons=refusal))
        sm = secrets_manager(interactive=True)
        try:
            _take_secrets_back(snapshot, leaving, sm, by=by)
            _return_to_phase(leaving, reason=reason, by=by)
        except (SecretsManagerError, ShutGate) as error:
            raise OffboardingError(told.BACK_NOT_FINISHED(error=error.message)) from None
        with transaction.atomic():
            refuse_lost_client_locks()
            former = Phase(leaving.former_phase).label
            leaving.record(audit_sentences.BROUGHT_BACK(phase=former), by=by, reason=reason)
            leaving.delete()
        return told.CAME_BACK(slug=snapshot.slug, phase=former)


def set_activity(*, client_id: int, active: bool, by: User | None = None) -> None:
    """Have NOVA serve the client, or no longer, by NOVA's own column.

    Raises `OffboardingError`, also where a client that left is to be served again, and `Client.DoesNotExist`.
    """
    with _hold_client(client_id):
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving and active:
            raise OffboardingError(told.IS_OFFBOARDED(slug=leaving.slug))
        try:
            with hold_rows(client_id) as now:
                _store_activity(now, active=active, by=by)
        except STORE_ERRORS as error:
            raise OffboardingError(error.message) from None


@contextmanager
def _hold_client(client_id: int) -> Iterator[None]:
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise OffboardingError(told.OFFBOARDING_BUSY())
        yield


def _read(client_id: int) -> ClientSnapshot:
    try:
        return read_snapshot(client_id)
    except NovaSchemaError as error:
        raise OffboardingError(error.message) from None


def _refuse(snapshot: ClientSnapshot, *reasons: Message) -> OffboardingError:
    return OffboardingError(told.OFFBOARDING_REFUSED(slug=snapshot.slug, reasons=reasons))


# The way out


def _begin(
    snapshot: ClientSnapshot, before: Offboarding | None, *, reason: str, by: User | None
) -> Offboarding:
    """Take the client to `purged` and store that it leaves, in one transaction; raises `OffboardingError`.

    `before`: it left before, and is not wholly back in the phase that it had then.
    """
    client_id, found = snapshot.client_id, None
    if needs_purge(snapshot):
        (pushed,) = push(client_ids=[client_id], interactive=True)
        if pushed.outcome not in PUSHED:
            why = told.OFFBOARDING_NOT_PUSHED(reason=pushed.summary_message)
            raise _refuse(snapshot, why)
        snapshot = _read(client_id)
    leaving = before or Offboarding(
        client_id=client_id, slug=snapshot.slug, former_phase=snapshot.phase
    )
    leaving.reason, leaving.by, leaving.by_name = reason, by, ""
    leaving.begun_at = timezone.now()
    try:
        if needs_purge(snapshot):
            found = read_aws(snapshot, sm=secrets_manager(interactive=True))
        with hold_rows(client_id) as now:
            refuse_lost_client_locks()
            _require_still(snapshot, now, found)
            if found:
                _put_pointers(now)
                _walk(now, reason=reason, by=by)
            begun = audit_sentences.OFFBOARDING_BEGUN(phase=snapshot.phase.label)
            leaving.store_state(OffboardingState.OFFBOARDING, begun, by=by, reason=reason)
            _leave_plans(now, by=by)
    except STORE_ERRORS as error:
        raise _refuse(snapshot, error.message) from None
    return leaving


def _require_still(before: ClientSnapshot, now: ClientSnapshot, found: AwsCopy | None) -> None:
    """Raise `OffboardingError` where the rows are not those that AWS holds, or the client is active again."""
    if now.active:
        raise _refuse(now, told.OFFBOARDING_WOKEN())
    is_stale = now.phase != before.phase or not now.has_same_rows_as(before)
    if is_stale or (found and not are_equal(now.document, found.document)):
        raise _refuse(now, told.OFFBOARDING_DIFFERS())


def _put_pointers(now: ClientSnapshot) -> None:
    client = reread_locked_client(now.client_id)
    note_values_before_purge(client)
    replace_secrets_by_pointers(client, secret_names_by_type(now))
    revision = reread_locked_snapshot(now.client_id).revision
    ClientRevision.objects.record_pushed([(now.client_id, revision)])


def _walk(now: ClientSnapshot, *, reason: str, by: User | None) -> None:
    """Take the client to `purged` step by step, within the caller's transaction, as each step has its record."""
    note = told.MOVED_TO_LEAVE()
    for old, new in pairwise(LINE[LINE.index(now.phase) :]):
        ClientMigration.objects.change_phase(
            [now.client_id], old, new, by=by, reason=reason, note=note
        )
    fail_overtaken_requests([now.client_id], Phase.PURGED, by=by)


def _leave_plans(now: ClientSnapshot, *, by: User | None) -> None:
    """End the client's own schedule of rotations, and have campaigns go on without it."""
    client = Client.objects.get(pk=now.client_id)
    RotationSchedule.objects.set_days(None, client=client, by=by)
    taken = WaveClient.objects.not_left_out().filter(
        client_id=now.client_id, wave__campaign__state__in=Campaign.NOT_OVER
    )
    taken.update(left_out_at=timezone.now())


def _schedule_deletions(leaving: Offboarding, *, by: User | None) -> Message:
    """Schedule the deletion of every secret that the client has, then store that; raises `SecretsManagerError`.

    A try that was killed may have scheduled some of them.
    """
    sm, snapshot = secrets_manager(interactive=True), _read(leaving.client_id)
    names = _list_names(snapshot, leaving)
    owners = load_owners(names)
    found = [there for name in names if (there := _describe(sm, name))]
    ours = [there for there in found if owners.is_ours(there, leaving.client_id)]
    asked = {there.name for there in ours if there.deleted_at and leaving.has_asked_for(there.name)}
    for there in ours:
        if there.deleted_at and there.name not in asked:
            # Somebody else asked for it, or this site long ago: the window is to be a whole one.
            sm.restore_secret(there.name)
    _plan_deletions(leaving, [there.name for there in ours if there.name not in asked])
    deletions = {
        there.name: datetime.fromisoformat(leaving.deletions[there.name])
        if there.name in asked
        else _schedule_one(sm, there, leaving)
        for there in ours
    }
    results = [
        told.SECRET_GOES_ON(name=each.name, day=deletions[each.name].date())
        if each in ours
        else told.SECRET_KEPT_NOT_OURS(name=each.name)
        for each in found
    ]
    result = in_a_row(*results, *map(name_removed_replicas, ours)) or told.NO_SECRET_LEFT()
    with transaction.atomic():
        refuse_lost_client_locks()
        leaving.end(deletions, result, by=by)
    return result


def _list_names(snapshot: ClientSnapshot, leaving: Offboarding) -> list[str]:
    """Return the names of the secrets that it may have, with those that went before NOVA renamed it."""
    return list(dict.fromkeys([*snapshot.all_names, *leaving.deletions]))


def _plan_deletions(leaving: Offboarding, names: list[str]) -> None:
    """Store which secrets are about to go: killed after a call, it is known whose values may be gone one day.

    Those that were stored before stay, as they may be gone by now.
    """
    soonest = leaving.earliest_deletion.isoformat()
    with transaction.atomic():
        refuse_lost_client_locks()
        leaving.deletions |= dict.fromkeys(names, soonest)
        leaving.save(update_fields=["deletions"])


def _describe(sm: SecretsManager, name: str) -> SecretDescription | None:
    try:
        return sm.describe_secret(name)
    except SecretsManagerError as error:
        if not error.not_found:
            raise
        return None


def _schedule_one(sm: SecretsManager, there: SecretDescription, leaving: Offboarding) -> datetime:
    """Schedule the deletion of the secret and return its time, unless somebody made the client active meanwhile."""
    if Client.objects.filter(pk=leaving.client_id, is_active=True).exists():
        raise OffboardingError(told.OFFBOARDING_STOPPED(error=told.OFFBOARDING_WOKEN()))
    return schedule_with_replicas(sm, there)


# The way back


def _take_secrets_back(
    snapshot: ClientSnapshot, leaving: Offboarding, sm: SecretsManager, *, by: User | None
) -> None:
    """Take every secret back from its deletion, none where one is gone. Raises `SecretsManagerError`."""
    names = _list_names(snapshot, leaving)
    owners = load_owners(names)
    found = [there for name in names if (there := _describe(sm, name))]
    ours = {each.name: each for each in found if owners.is_ours(each, leaving.client_id)}
    # A secret that somebody else made under the name since holds none of the client's values.
    gone = [name for name in leaving.deletions if name not in ours]
    if gone:
        raise OffboardingError(told.VALUES_ARE_GONE(names=tuple(gone)))
    if leaving.state != OffboardingState.COMING_BACK:
        with transaction.atomic():
            refuse_lost_client_locks()
            leaving.store_state(OffboardingState.COMING_BACK, audit_sentences.COMING_BACK(), by=by)
    for name, secret in ours.items():
        if secret.deleted_at:
            Secret.objects.mark_for_describing([name])
            sm.restore_secret(name)


def _return_to_phase(leaving: Offboarding, *, reason: str, by: User | None) -> None:
    """Restore the client and move it back, a step at a time, to the phase it left from; raises `ShutGate`."""
    client_id, former = leaving.client_id, LINE.index(Phase(leaving.former_phase))
    while (there := LINE.index(_read(client_id).phase)) > former:
        note = told.MOVED_TO_COME_BACK()
        move(client_id=client_id, new=LINE[there - 1], by=by, reason=reason, note=note)


def _store_activity(now: ClientSnapshot, *, active: bool, by: User | None) -> None:
    client = Client.objects.get(pk=now.client_id)
    if bool(client.is_active) == active:
        return
    client.is_active = active
    save_columns(client, ["is_active"])
    if now.phase == Phase.PURGED and not now.push_pending:  # no value was written
        revision = reread_locked_snapshot(now.client_id).revision
        ClientRevision.objects.record_pushed([(now.client_id, revision)])
    done = audit_sentences.CLIENT_ACTIVATED if active else audit_sentences.CLIENT_DEACTIVATED
    AuditEvent.objects.record(
        AuditCode.CLIENT_SAVED, done(), by=by, client_id=now.client_id, slug=now.slug
    )
