"""Takes a client out and brings it back: what keeps it, what it leaves behind, in which order it goes, and its page."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.legacy import LegacyTableError, count_legacy_rows
from credentials.localization import localize
from credentials.models import Client, ClientRevision, Credential, save_columns
from credentials.nova_columns import NovaSchemaError
from credentials.pointers import list_all_rows, list_rows_in_clear, replace_secrets_by_pointers
from migration.campaigns.members import count_in_campaigns
from migration.campaigns.models import Campaign, WaveClient
from migration.core.audit import AuditEvent, ReasonError, require_reason
from migration.core.audit_export import MOVED_TO_LEAVE
from migration.core.aws_store import (
    AwsCopy,
    read_aws,
    secret_names,
    secret_names_by_type,
    secrets_manager,
)
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    RECOVERY_DAYS,
    SEARCH_PERMISSION,
    ClientMigration,
    Offboarding,
    OffboardingState,
    ReadCount,
)
from migration.core.groups import ClientGroup
from migration.core.leases import hold_client_locks, refuse_lost_client_locks
from migration.core.pages import ClientView, get_signed_in_user, get_typed_reason
from migration.core.secrets import OtherSecretsState, Secret
from migration.core.sentences import IS_OFFBOARDED
from migration.core.snapshots import (
    ClientSnapshot,
    read_client_with_rows,
    read_snapshot,
    read_snapshots_for_page,
    reread_locked_client,
    reread_locked_snapshot,
)
from migration.logins.models import Rotation, RotationSchedule
from migration.moves.gates import ShutGate
from migration.moves.moves import MOVED_MEANWHILE, move
from migration.moves.rules import SiteFacts
from migration.pushes.known_values import note_values_before_purge
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import STORE_ERRORS, hold_rows
from migration.pushes.saves import CLIENT_SAVED_EVENT
from migration.pushes.secret_writer import SecretOwners, load_owners
from migration.runs.items import PUSHED, RunItem
from migration.runs.models import Run
from migration.secrets.deletions import name_removed_replicas, schedule_with_replicas
from migration.secrets.models import FoundCopy, SearchedClient
from nova_credentials.aws.answers import SecretDescription
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.comparison import are_equal
from nova_credentials.document import Layout
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Phase

# What keeps a client from being offboarded now. Asks the database alone.

# A client that NOVA read since then may still be needed.
RECENT_DAYS = 7

OFFBOARDING_ACTIVE = Sentence(
    "offboarding_active",
    "The client is active, so NOVA may read it. Deactivate it first.",
)


def list_objections(snapshot: ClientSnapshot, *, acknowledged: bool = False) -> list[Message]:
    """Return why the client may not leave now. `acknowledged`: recent reads are known, and are no objection."""
    return [
        *([OFFBOARDING_ACTIVE()] if snapshot.active else []),
        *filter(None, [find_write_refusal()]),
        *_find_users(snapshot, acknowledged=acknowledged),
        *_find_values(snapshot),
    ]


def leave_out_activity(objections: Iterable[Message]) -> list[Message]:
    """Return what else keeps a client than that it is active."""
    return [each for each in objections if each.key != OFFBOARDING_ACTIVE.key]


def needs_purge(snapshot: ClientSnapshot) -> bool:
    """Say whether the rows have to be purged first: of a client without any login and secret there is nothing to."""
    if snapshot.phase == Phase.PURGED:
        return False
    return snapshot.has_credentials or snapshot.phase != Phase.POSTGRES


OFFBOARDING_READ = Sentence(
    "offboarding_read",
    "NOVA's reader still read this client in the last %(n)s days, the last time %(ago)s ago. Acknowledge it if you know"
    " that nothing needs it any more.",
)
OFFBOARDING_IN_RUN = Sentence("offboarding_in_run", "Queued in %(run)s.")
OFFBOARDING_ROTATES = Sentence(
    "offboarding_rotates",
    "A rotation of this client is not finished. Wait for it: workers retry every minute.",
)
OFFBOARDING_LAYOUT = Sentence(
    "offboarding_layout",
    "A change of this client's layout was interrupted. Do it again, or wait until it is cleaned up.",
)


def _find_users(snapshot: ClientSnapshot, *, acknowledged: bool) -> Iterator[Message]:
    """Yield a message for each use: NOVA's recent reads, a run, a rotation, a change of layout."""
    if not acknowledged and (last := find_recent_counted_read(snapshot.client_id)):
        yield OFFBOARDING_READ(n=RECENT_DAYS, ago=last)
    if run := find_unfinished_write_run(snapshot.client_id):
        yield OFFBOARDING_IN_RUN(run=run.name_message)
    if Rotation.objects.find_unfinished(snapshot.client_id):
        yield OFFBOARDING_ROTATES()
    if snapshot.other_secrets == OtherSecretsState.BEGUN:
        yield OFFBOARDING_LAYOUT()


def find_recent_counted_read(client_id: int) -> datetime | None:
    """Return when NOVA's reader last read the client in a phase that reads AWS, if within the last RECENT_DAYS."""
    since = timezone.now() - timedelta(days=RECENT_DAYS)
    read = ReadCount.objects.filter(pk=client_id, last_read_at__gt=since).first()
    return read.last_read_at if read else None


def find_unfinished_write_run(client_id: int) -> Run | None:
    """Return a run that is not finished, writes, and still has the client to do."""
    items = RunItem.objects.open_of([client_id]).filter(run__finished_at=None)
    begun = items.exclude(run__state=Run.State.REQUESTED)
    item = begun.exclude(run__kind__in=Run.READS_ONLY).select_related("run").first()
    return item.run if item else None


OFFBOARDING_ROWS = Sentence(
    "offboarding_rows",
    "These rows hold values that were written after the purge, and AWS may lack them: %(rows)s. Restore the client, and"
    " purge it again.",
    glue=", ",
)
OFFBOARDING_APPROVAL = Sentence(
    "offboarding_approval",
    "Its rows hold values, and a purge needs somebody else's approval here. Purge the client first, then offboard it.",
)


def _name_row(row: Client | Credential) -> Message:
    if isinstance(row, Credential):
        return row.make_login_name_message()
    return row.make_row_name_message()


def _find_values(snapshot: ClientSnapshot) -> Iterator[Message]:
    """Yield what keeps the rows from holding pointers alone.

    A purge can't do without an approval where one is wanted, a document, and writes that are counted.
    """
    if snapshot.phase == Phase.PURGED:
        plain = list_rows_in_clear(read_client_with_rows(snapshot.client_id))
        if plain:
            yield OFFBOARDING_ROWS(rows=tuple(map(_name_row, plain)))
    elif needs_purge(snapshot):
        if settings.NOVA_REQUIRE_APPROVAL:
            yield OFFBOARDING_APPROVAL()
        if snapshot.problem:
            yield snapshot.problem
        facts = SiteFacts()
        if facts.counting_problem:
            yield facts.counting_problem
        yield from (each.text for each in facts.nova_tables.list_gate_verdicts() if not each.passed)


# What is left of a client, and where: rows, secrets, copies, the legacy table, and who still counts on it. Asks AWS and
# reads the legacy table; holds no value. What it can't find out it names, and never calls nothing.


class RowContent(StrEnum):
    """Says whether the secret columns of a row hold values or pointers."""

    VALUES = "values"
    POINTERS = "pointers"


@dataclass(frozen=True)
class RowLeft:
    """A row of the client that is left, and whether it holds secret values or pointers."""

    name: Message
    holds: RowContent


@dataclass(frozen=True)
class SecretLeft:
    """One secret that the client can have. `problem`: AWS did not say."""

    name: str
    is_there: bool = False
    is_ours: bool = True
    is_deleted: bool = False
    deletes_at: datetime | None = None
    problem: Message | None = None


@dataclass(frozen=True)
class CopiesLeft:
    """What the newest search for copies found; `searched_at` None: there was none."""

    searched_at: datetime | None = None
    search_id: int | None = None
    found: tuple[FoundCopy, ...] = ()
    not_looked_at: int = 0


@dataclass(frozen=True)
class Leftovers:
    """Everything that is known to be left of one client."""

    slug: str
    phase: Phase
    active: bool
    leaving: Offboarding | None
    rows: tuple[RowLeft, ...]
    secrets: tuple[SecretLeft, ...]
    copies: CopiesLeft
    has_legacy_table: bool  # be it one that can't be read
    legacy_rows: int | None  # None: `legacy_problem` says why it isn't known
    legacy_problem: Message | None
    last_read_at: datetime | None
    recent_read_at: datetime | None
    groups: tuple[ClientGroup, ...]
    campaigns: tuple[Campaign, ...]
    schedules: tuple[RotationSchedule, ...]
    # Why it can't be offboarded now, were recent reads acknowledged.
    objections: tuple[Message, ...]

    @property
    def has_secrets_lost_since_leaving(self) -> bool:
        """Say whether AWS no longer holds a secret whose deletion was scheduled."""
        return any(self.secrets_lost_since_leaving)

    @property
    def secrets_lost_since_leaving(self) -> list[str]:
        """Return which secrets, to be deleted when the client left, are not there any more, or not as ours."""
        known = self.leaving.deletions if self.leaving else {}
        there = {s.name for s in self.secrets if s.problem or (s.is_there and s.is_ours)}
        return [name for name in known if name not in there]


def find_leftovers(*, client_id: int) -> Leftovers:
    """Find what is left of a client. Raises `NovaSchemaError`; `KeyError` if there is no client."""
    snapshot = read_snapshots_for_page([client_id])[client_id]
    leaving = Offboarding.objects.filter(pk=client_id).first()
    client = read_client_with_rows(client_id)
    in_clear = list_rows_in_clear(client)
    # The client itself has secret values only in columns of NOVA's that are mapped.
    rows = [r for r in list_all_rows(client) if isinstance(r, Credential) or r in in_clear]
    legacy_rows: int | None = None
    legacy_problem: Message | None = None
    try:
        legacy_rows = count_legacy_rows(snapshot.slug)
    except LegacyTableError as error:
        legacy_problem = error.message
    read = ReadCount.objects.filter(pk=client_id).first()
    return Leftovers(
        slug=snapshot.slug,
        phase=snapshot.phase,
        active=snapshot.active,
        leaving=leaving,
        rows=tuple(
            RowLeft(
                _name_row(row),
                RowContent.VALUES if row in in_clear else RowContent.POINTERS,
            )
            for row in rows
        ),
        secrets=tuple(_list_secrets(snapshot, leaving)),
        copies=_find_copies(client_id),
        has_legacy_table=legacy_rows is not None or legacy_problem is not None,
        legacy_rows=None if legacy_problem else legacy_rows or 0,
        legacy_problem=legacy_problem,
        last_read_at=read.last_read_at if read else None,
        recent_read_at=find_recent_counted_read(client_id),
        groups=tuple(ClientGroup.objects.filter(members__client=client_id)),
        campaigns=tuple(each.campaign for each in count_in_campaigns([client_id])),
        schedules=tuple(
            RotationSchedule.objects.of_client_or_its_groups(client_id).select_related("group")
        ),
        objections=tuple(list_objections(snapshot, acknowledged=True)),
    )


def _list_secrets(snapshot: ClientSnapshot, leaving: Offboarding | None) -> list[SecretLeft]:
    """Describe every secret that the client can have, in either layout, and those that went under an earlier slug."""
    deletions = leaving.deletions if leaving else {}
    slugs = dict.fromkeys([snapshot.secret_slug, snapshot.other_slug or snapshot.secret_slug])
    names = [n for slug in slugs for layout in Layout for n in secret_names(slug, layout).values()]
    names = list(dict.fromkeys([*names, *deletions]))
    owners = load_owners(names)
    return [_describe_secret(n, deletions.get(n), owners, snapshot.client_id) for n in names]


def _describe_secret(
    name: str, deletes_at: str | None, owners: SecretOwners, client_id: int
) -> SecretLeft:
    try:
        there = secrets_manager(interactive=True).describe_secret(name)
    except SecretsManagerError as error:
        return SecretLeft(name, problem=None if error.not_found else error.message)
    known = datetime.fromisoformat(deletes_at) if deletes_at and there.deleted_at else None
    is_ours = owners.is_ours(there, client_id)
    return SecretLeft(name, True, is_ours, there.deleted_at is not None, known)


def _find_copies(client_id: int) -> CopiesLeft:
    newest = SearchedClient.objects.newest_of([client_id]).get(client_id)
    if newest is None:
        return CopiesLeft()
    found = FoundCopy.objects.filter(search_id=newest.search_id, client_id=client_id)
    return CopiesLeft(newest.searched_at, newest.search_id, tuple(found), newest.not_looked_at)


# The way out, and the way back. Its values are only in AWS meanwhile, where their deletion is scheduled. Whatever is
# done is done in this order, so that no value is lost and no reader gets a wrong one: AWS holds the rows' values and
# was read back, then pointers replace them, then the deletions are scheduled. On the way back the secrets are taken
# back from their deletion first. Killed anywhere, either can be done again, or the other one instead.

LOCK_WAIT_SECONDS = 5.0
LINE = tuple(Phase)


class OffboardingError(MessageError):
    """The client did not leave, or is not back: the message says why, and whether doing it again goes on."""


ALREADY_OFFBOARDED = Sentence("already_offboarded", "%(slug)s is already offboarded.")


def offboard_client(
    *,
    client_id: int,
    reason: str,
    by: User | None = None,
    acknowledged: bool = False,
    deactivates: bool = False,
) -> Message:
    """Purge the client's rows and schedule the deletion of its secrets; return what is to become of them.

    `acknowledged`: although NOVA read it lately. `deactivates`: an active client is made inactive first, once nothing
    else keeps it, and stays so if it is not offboarded after all. Raises `OffboardingError`, `ReasonError` and
    `Client.DoesNotExist`.
    """
    require_reason(reason)
    with _hold_client(client_id):
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving and leaving.is_finished:
            raise OffboardingError(ALREADY_OFFBOARDED(slug=leaving.slug))
        snapshot = _read(client_id)
        objections = list_objections(snapshot, acknowledged=acknowledged)
        if deactivates:
            objections = leave_out_activity(objections)
        if objections:
            raise _refuse(snapshot, *objections)
        if snapshot.active:
            _set_activity(client_id, active=False, by=by)
            snapshot = _read(client_id)
        if leaving is None or leaving.state == OffboardingState.COMING_BACK:
            leaving = _begin(snapshot, leaving, reason=reason, by=by)
        return schedule_offboarding_deletions(leaving, by=by)


OFFBOARDING_STOPPED = Sentence(
    "offboarding_stopped",
    "The client is not offboarded yet: %(error)s Nothing is lost. Offboard it again to go on, or bring it back.",
)


def schedule_offboarding_deletions(leaving: Offboarding, *, by: User | None) -> Message:
    """Schedule the deletions of a client that is being offboarded, whose lease is held; raises `OffboardingError`."""
    try:
        return _schedule_deletions(leaving, by=by)
    except SecretsManagerError as error:
        raise OffboardingError(OFFBOARDING_STOPPED(error=error.message)) from None


BROUGHT_BACK = Sentence("brought_back", "The client is back in %(phase)s, inactive as before.")
NOT_OFFBOARDED = Sentence("not_offboarded", "%(slug)s is not offboarded.")
BACK_REFUSED = Sentence("back_refused", "%(slug)s was not brought back: %(reasons)s")
BACK_NOT_FINISHED = Sentence(
    "back_not_finished",
    "The client is not back yet: %(error)s Nothing is lost. Bring it back again to go on.",
)
CAME_BACK = Sentence(
    "came_back",
    "%(slug)s is back in %(phase)s, inactive. NOVA reads it once it is activated.",
)


def bring_back_as_inactive(*, client_id: int, reason: str, by: User | None = None) -> Message:
    """Take the client's secrets back from their deletion, and the client to the phase it left from.

    It stays inactive. Raises `OffboardingError`, also where the values are gone, and `Client.DoesNotExist`.
    """
    require_reason(reason)
    with _hold_client(client_id):
        snapshot = _read(client_id)
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving is None:
            raise OffboardingError(NOT_OFFBOARDED(slug=snapshot.slug))
        if refusal := find_write_refusal():
            raise OffboardingError(BACK_REFUSED(slug=snapshot.slug, reasons=refusal))
        sm = secrets_manager(interactive=True)
        try:
            _take_secrets_back(snapshot, leaving, sm, by=by)
            _return_to_phase(leaving, reason=reason, by=by)
        except (SecretsManagerError, ShutGate) as error:
            raise OffboardingError(BACK_NOT_FINISHED(error=error.message)) from None
        with transaction.atomic():
            refuse_lost_client_locks()
            former = Phase(leaving.former_phase).label
            leaving.record(BROUGHT_BACK(phase=former), by=by, reason=reason)
            leaving.delete()
        return CAME_BACK(slug=snapshot.slug, phase=former)


def set_activity(*, client_id: int, active: bool, by: User | None = None) -> None:
    """Have NOVA serve the client, or no longer, by NOVA's own column.

    Raises `OffboardingError`, also where a client that left is to be served again, and `Client.DoesNotExist`.
    """
    with _hold_client(client_id):
        leaving = Offboarding.objects.filter(pk=client_id).first()
        if leaving and active:
            raise OffboardingError(IS_OFFBOARDED(slug=leaving.slug))
        _set_activity(client_id, active=active, by=by)


def _set_activity(client_id: int, *, active: bool, by: User | None) -> None:
    try:
        with hold_rows(client_id) as now:
            _store_activity(now, active=active, by=by)
    except STORE_ERRORS as error:
        raise OffboardingError(error.message) from None


OFFBOARDING_BUSY = Sentence(
    "offboarding_busy", "A push, move or save of this client is in progress. Try again."
)


@contextmanager
def _hold_client(client_id: int) -> Iterator[None]:
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise OffboardingError(OFFBOARDING_BUSY())
        yield


def _read(client_id: int) -> ClientSnapshot:
    try:
        return read_snapshot(client_id)
    except NovaSchemaError as error:
        raise OffboardingError(error.message) from None


OFFBOARDING_REFUSED = Sentence("offboarding_refused", "%(slug)s was not offboarded: %(reasons)s")


def _refuse(snapshot: ClientSnapshot, *reasons: Message) -> OffboardingError:
    return OffboardingError(OFFBOARDING_REFUSED(slug=snapshot.slug, reasons=reasons))


# Steps of the way out

OFFBOARDING_BEGUN = Sentence(
    "offboarding_begun", "Started to offboard the client, which was in %(phase)s."
)
OFFBOARDING_NOT_PUSHED = Sentence(
    "offboarding_not_pushed", "Its rows could not be pushed, so they keep their values: %(reason)s"
)


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
            why = OFFBOARDING_NOT_PUSHED(reason=pushed.summary_message)
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
            begun = OFFBOARDING_BEGUN(phase=snapshot.phase.label)
            leaving.store_state(OffboardingState.OFFBOARDING, begun, by=by, reason=reason)
            _leave_plans(now, by=by)
    except STORE_ERRORS as error:
        raise _refuse(snapshot, error.message) from None
    return leaving


OFFBOARDING_DIFFERS = Sentence(
    "offboarding_differs",
    "The rows keep their values: both stores differ, or NOVA has just written them. Compare the client, or try "
    "again.",
)
OFFBOARDING_WOKEN = Sentence(
    "offboarding_woken", "Somebody made the client active meanwhile: deactivate it first."
)


def _require_still(before: ClientSnapshot, now: ClientSnapshot, found: AwsCopy | None) -> None:
    """Raise `OffboardingError` where the rows are not those that AWS holds, or the client is active again."""
    if now.active:
        raise _refuse(now, OFFBOARDING_WOKEN())
    is_stale = now.phase != before.phase or not now.has_same_rows_as(before)
    if is_stale or (found and not are_equal(now.document, found.document)):
        raise _refuse(now, OFFBOARDING_DIFFERS())


def _put_pointers(now: ClientSnapshot) -> None:
    client = reread_locked_client(now.client_id)
    note_values_before_purge(client)
    replace_secrets_by_pointers(client, secret_names_by_type(now))
    revision = reread_locked_snapshot(now.client_id).revision
    ClientRevision.objects.record_pushed([(now.client_id, revision)])


def _walk(now: ClientSnapshot, *, reason: str, by: User | None) -> None:
    """Take the client to `purged` step by step, within the caller's transaction, as each step has its record."""
    note = MOVED_TO_LEAVE()
    for old, new in pairwise(LINE[LINE.index(now.phase) :]):
        ClientMigration.objects.change_phase(
            [now.client_id], old, new, by=by, reason=reason, note=note
        )
    Run.objects.close_requests([now.client_id], MOVED_MEANWHILE(phase=Phase.PURGED.label), by=by)


GOES_ON_WITHOUT_OFFBOARDED = Sentence(
    "goes_on_without_offboarded", "%(campaign)s continues without %(slug)s, which is offboarded."
)


def _leave_plans(now: ClientSnapshot, *, by: User | None) -> None:
    """End the client's own schedule of rotations, and have campaigns go on without it."""
    client = Client.objects.get(pk=now.client_id)
    RotationSchedule.objects.set_days(None, client=client, by=by)
    for each in count_in_campaigns([client.pk]):
        campaign = each.campaign
        facts = GOES_ON_WITHOUT_OFFBOARDED(campaign=campaign.name_message, slug=client.slug)
        campaign.record_act(facts, by=by)
    taken = WaveClient.objects.not_left_out().filter(
        client_id=now.client_id, wave__campaign__state__in=Campaign.NOT_OVER
    )
    taken.update(left_out_at=timezone.now())


# What became of the secrets
SECRET_KEPT_NOT_OURS = Sentence(
    "secret_kept_not_ours", "%(name)s stays: this site did not create it."
)
SECRET_GOES_ON = Sentence(
    "secret_goes_on", "%(name)s will be deleted on %(day)s. Until then it can be brought back."
)
NO_SECRET_LEFT = Sentence("no_secret_left", "AWS holds no secret of the client.")


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
        SECRET_GOES_ON(name=each.name, day=deletions[each.name].date())
        if each in ours
        else SECRET_KEPT_NOT_OURS(name=each.name)
        for each in found
    ]
    result = in_a_row(*results, *map(name_removed_replicas, ours)) or NO_SECRET_LEFT()
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
        raise OffboardingError(OFFBOARDING_STOPPED(error=OFFBOARDING_WOKEN()))
    return schedule_with_replicas(sm, there)


# Steps of the way back

COMING_BACK = Sentence("coming_back", "Started to bring the client back.")
VALUES_ARE_GONE = Sentence(
    "values_are_gone",
    "AWS has deleted %(names)s, and the values are gone. The rows keep pointers. Enter the logins again, as for "
    "a new client.",
    glue=", ",
)


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
        raise OffboardingError(VALUES_ARE_GONE(names=tuple(gone)))
    if leaving.state != OffboardingState.COMING_BACK:
        with transaction.atomic():
            refuse_lost_client_locks()
            leaving.store_state(OffboardingState.COMING_BACK, COMING_BACK(), by=by)
    for name, secret in ours.items():
        if secret.deleted_at:
            Secret.objects.mark_for_describing([name])
            sm.restore_secret(name)


MOVED_TO_COME_BACK = Sentence("moved_to_come_back", "Brought back after its offboarding.")


def _return_to_phase(leaving: Offboarding, *, reason: str, by: User | None) -> None:
    """Restore the client and move it back, a step at a time, to the phase it left from; raises `ShutGate`."""
    client_id, former = leaving.client_id, LINE.index(Phase(leaving.former_phase))
    while (there := LINE.index(_read(client_id).phase)) > former:
        note = MOVED_TO_COME_BACK()
        move(client_id=client_id, new=LINE[there - 1], by=by, reason=reason, note=note)


CLIENT_ACTIVATED = Sentence("client_activated", "Activated the client.")
CLIENT_DEACTIVATED = Sentence("client_deactivated", "Deactivated the client.")


def _store_activity(now: ClientSnapshot, *, active: bool, by: User | None) -> None:
    client = Client.objects.get(pk=now.client_id)
    if bool(client.is_active) == active:
        return
    client.is_active = active
    save_columns(client, ["is_active"])
    if now.phase == Phase.PURGED and not now.push_pending:  # no value was written
        revision = reread_locked_snapshot(now.client_id).revision
        ClientRevision.objects.record_pushed([(now.client_id, revision)])
    done = CLIENT_ACTIVATED if active else CLIENT_DEACTIVATED
    AuditEvent.objects.record(
        CLIENT_SAVED_EVENT, done(), by=by, client_id=now.client_id, slug=now.slug
    )


# What workers do: they finish offboardings whose process was killed or hindered, as their rows hold pointers, and
# secrets may be left. A client that comes back is left to people: they may also offboard it again.

logger = logging.getLogger(__name__)


def go_on_with_offboardings(*, seconds: float) -> None:
    """Finish begun offboardings within `seconds`; a hindered one waits for the next time, on the dashboard."""
    until = time.monotonic() + seconds
    begun = Offboarding.objects.unfinished().filter(state=OffboardingState.OFFBOARDING)
    for client_id in list(begun.order_by("begun_at").values_list("pk", flat=True)):
        if time.monotonic() >= until:
            break
        try:
            resume_offboarding(client_id=client_id)
        except OffboardingError:
            continue
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # One client must not keep the others waiting. An error's text can hold a value.
            kind = type(error).__name__
            logger.error("The offboarding of client %s was not gone on with: %s", client_id, kind)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()


def resume_offboarding(*, client_id: int) -> Message | None:
    """Finish the client's offboarding, and say what was done; None where none is unfinished, or somebody works on it.

    Raises `OffboardingError`, `NovaSchemaError` and `Client.DoesNotExist`.
    """
    with hold_client_locks([client_id], wait_seconds=0) as held:
        unfinished = Offboarding.objects.filter(state=OffboardingState.OFFBOARDING)
        leaving = unfinished.filter(pk=client_id).first() if held else None
        if leaving is None:
            return None
        # Who began it has acknowledged the reads before; of an inactive client there are none since.
        reasons = list_objections(read_snapshot(client_id), acknowledged=True)
        if reasons:
            refused = OFFBOARDING_REFUSED(slug=leaving.slug, reasons=tuple(reasons))
            raise OffboardingError(refused)
        return schedule_offboarding_deletions(leaving, by=leaving.by)


# The page that asks whether a client is offboarded, or comes back, beside what is left of it

# Who may say in the form that a client is inactive; and who may take the values out of the rows.
ACTIVITY_PERMISSION = "credentials.change_client"
OFFBOARD_PERMISSION = "migration.purge_client"
LEAVING_PERMISSIONS = (ACTIVITY_PERMISSION, OFFBOARD_PERMISSION)
NEEDED = {
    **dict.fromkeys(("deactivate", "activate"), ACTIVITY_PERMISSION),
    **dict.fromkeys(("offboard", "back"), OFFBOARD_PERMISSION),
}


class LeavingView(ClientView):
    """Asks one question, and shows everybody who may see the client what is left of it where."""

    template_name = "admin/migration/leaving.html"

    @property
    def title(self) -> str:
        text = {
            "offboard": _("Offboard %(client)s?"),
            "back": _("Bring %(client)s back?"),
            "": _("What is left of %(client)s"),
        }[self.question]
        return text % {"client": self.client.name}

    @cached_property
    def left(self) -> Leftovers:
        return find_leftovers(client_id=self.client.pk)

    @cached_property
    def question(self) -> str:
        """Return what may be done with the client now, by its name in the form; "" where there is nothing to ask."""
        leaving = self.left.leaving
        if not self.request.user.has_perm(OFFBOARD_PERMISSION):
            return ""
        if self.left.has_secrets_lost_since_leaving:
            return ""
        if leaving is None:
            return "offboard"
        if leaving.is_finished:
            return "back"
        # It was interrupted: on, or the other way.
        asked = self.request.GET.get("question")
        goes_on = "back" if leaving.state == OffboardingState.COMING_BACK else "offboard"
        return asked if asked in ("offboard", "back") else goes_on

    def get_permission_denied_message(self) -> str:
        return NEEDED.get(self.request.POST.get("act", ""), OFFBOARD_PERMISSION)

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        may = request.user.has_perm
        left, may_set_activity = self.left, may(ACTIVITY_PERMISSION)
        objections = list(left.objections) if self.question == "offboard" else []
        if may_set_activity:
            objections = leave_out_activity(objections)
        first = left.leaving.first_deletion if left.leaving else None
        context = self.get_context_data(
            left=left,
            question=self.question,
            objections=objections,
            has_secrets=any(each.is_there or each.problem for each in left.secrets),
            first_deletion=first,
            is_over=first is not None and first <= timezone.now(),
            recent_days=RECENT_DAYS,
            recovery_days=RECOVERY_DAYS,
            # To offboard an active client deactivates it. One that left stays inactive.
            may_set_activity=may_set_activity
            and (left.active if left.leaving else not (left.active and self.question)),
            may_view_copies=may("migration.view_copysearch"),
            may_search=may(SEARCH_PERMISSION) and left.leaving is None,
            may_view_campaigns=may("migration.view_campaign"),
            input_classes=" ".join(BASE_INPUT_CLASSES),
        )
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        act = request.POST.get("act", "")
        if act not in NEEDED:
            # Whoever may do neither learns nothing of which acts there are.
            if not any(map(request.user.has_perm, NEEDED.values())):
                raise PermissionDenied(OFFBOARD_PERMISSION)
            raise BadRequest("The form names no act")
        if not request.user.has_perm(NEEDED[act]):
            raise PermissionDenied(NEEDED[act])
        try:
            self._perform(act, get_signed_in_user(request))
        except (OffboardingError, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            now_inactive = Client.objects.filter(pk=self.client.pk, is_active=False).exists()
            if act == "offboard" and self.client.is_active and now_inactive:
                messages.warning(request, _("The client is inactive now."))
        return HttpResponseRedirect(request.get_full_path())

    def _perform(self, act: str, user: User) -> None:
        request, client_id = self.request, self.client.pk
        if act in ("activate", "deactivate"):
            set_activity(client_id=client_id, active=act == "activate", by=user)
            done = (
                _("The client is active: NOVA reads it.")
                if act == "activate"
                else _("The client is inactive: NOVA no longer reads it.")
            )
            messages.success(request, done)
            return
        reason = get_typed_reason(request)
        if request.POST.get("slug") != self.client.slug or not reason:
            text = _("Nothing was done: type the slug, %(slug)s, and give a reason or a ticket.")
            messages.error(request, text % {"slug": self.client.slug})
            return
        if act == "back":
            done = localize(bring_back_as_inactive(client_id=client_id, reason=reason, by=user))
        else:
            acknowledged = request.POST.get("acknowledged") == "1"
            result = offboard_client(
                client_id=client_id,
                reason=reason,
                by=user,
                acknowledged=acknowledged,
                # One that a colleague made active since the page was opened is told instead.
                deactivates="deactivates" in request.POST
                and request.user.has_perm(ACTIVITY_PERMISSION),
            )
            done = _("The client is offboarded. %(result)s") % {"result": localize(result)}
        messages.success(request, done)
