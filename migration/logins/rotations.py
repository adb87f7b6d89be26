"""Rotates passwords: of a database step by step, so that a killed rotation goes on; of the rest, what somebody enters.

A new database password is in AWS, as AWSPENDING, before the database gets it, and stays there until the stores have it.
So a process that is killed loses nothing: the next try finds out what was done and finishes it, or undoes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import product

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import capfirst

from credentials.models import (
    Client,
    ClientRevision,
    Credential,
    DatabaseCredential,
    RowsBusyError,
    save_columns,
    write_changed_values,
)
from credentials.nova_columns import NovaSchemaError
from credentials.refusals import RefusedByDatabaseError, convert_refusals
from credentials.values import warn_of_outer_blanks
from migration.core.aws_store import read_aws, secret_names_by_type, secrets_manager
from migration.core.aws_writes import require_writes_allowed
from migration.core.clients import Offboarding
from migration.core.leases import hold_client_locks, refuse_lost_client_locks, refuse_lost_leases
from migration.core.outgoing import LoginFailedError, LoginOutcome, LoginResult
from migration.core.secrets import OtherSecretsState, Secret
from migration.core.sentences import CLIENT_NOT_THERE, IS_OFFBOARDED, LOGIN_OUTCOMES
from migration.core.snapshots import read_client_with_rows, read_snapshot, reread_locked_client
from migration.logins.attempts import DatabaseLogin, try_login
from migration.logins.models import (
    LoginStore,
    LoginTest,
    Rotation,
    RotationOpenError,
    RotationOutcome,
    RotationSchedule,
    RotationStep,
)
from migration.logins.pending import (
    ForeignPendingError,
    LoginGoneError,
    LoginsOfRole,
    PendingOfOtherRoleError,
    PendingSecret,
    SecretKeepsChangingError,
    SecretOfOthersError,
    find_logins,
    find_primary_or_labelled,
    is_same_role,
    make_passwordless_login,
    take_pending_off,
)
from migration.logins.role_passwords import (
    OpenLogin,
    RoleRefusedError,
    RotationRefusedError,
    ValidPasswordUnknownError,
    change_password,
    describe_missing_login,
    find_row,
    list_rows,
    list_rows_of_role,
    logs_in,
    make_login,
    make_password,
    make_unclear,
    open_login,
    read_row_passwords,
    require_changeable,
    require_own_role,
    require_wrong_password,
)
from migration.pushes.known_values import note_new_password_in_aws, noting_rows
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import hold_rows, record_as_pushed_if_equal
from migration.pushes.saves import AdminSave, SaveRefusedError
from migration.runs.engine import ItemsToRetry, works_on
from migration.runs.items import PUSHED, Outcome, RunItem
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError, SecretValue
from nova_credentials.credential_types import ROW_CLASSES, CredentialType, map_to_json_keys
from nova_credentials.document import Document, DocumentError, parse_document
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.phases import Phase

DATABASE = CredentialType.DATABASE
LOCK_WAIT_SECONDS = 5.0
# No client is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# What is entered anew: an AWS key has another id with another secret.
ENTERED_COLUMNS: dict[CredentialType, tuple[str, ...]] = {
    CredentialType.EMAIL: ("email_password",),
    CredentialType.AWS: ("access_key_id", "secret_access_key"),
}

logger = logging.getLogger(__name__)


class NotRotated(MessageError):  # noqa: N818  # nothing went wrong: it may not be done now
    """Nothing was begun; the message says why."""


ROTATION_CLIENT_BUSY = Sentence(
    "rotation_client_busy",
    "A push, move or rotation of this client is in progress. Try again.",
)


def rotate_database(
    *,
    client_id: int,
    label: str | None = None,
    by: User | None = None,
    reason: str = "",
    interactive: bool = False,
    open_login: OpenLogin = open_login,
) -> Rotation:
    """Give the client's database login a new password; without a label, the primary one.

    The rotation's outcome and message say what became of it; without an outcome the workers go on with it. One of the
    same login that was interrupted is gone on with. Raises `NotRotated` and `RotationOpenError` where none was begun,
    and `Client.DoesNotExist`.
    """
    with hold_client_locks([client_id], wait_seconds=LOCK_WAIT_SECONDS) as held:
        if not held:
            raise NotRotated(ROTATION_CLIENT_BUSY())
        client = Client.objects.get(pk=client_id)
        if Offboarding.objects.leaving_or_left().filter(pk=client_id).exists():
            raise NotRotated(IS_OFFBOARDED(slug=client.slug))
        rotation = Rotation.objects.find_unfinished(client_id)
        wanted = DATABASE.value, label
        if rotation is None or (rotation.credential_type, rotation.label) != wanted:
            rotation = Rotation.objects.begin(client, DATABASE, label, by=by, reason=reason)
        DatabaseRotation(rotation, open_login, interactive).finish_steps()
    return rotation


def go_on_with_rotations(*, seconds: float) -> None:
    """Finish or undo the rotations whose process was killed or hindered; the others are first the next time."""
    until = time.monotonic() + seconds
    for client_id in Rotation.objects.list_unfinished_client_ids():
        if time.monotonic() >= until:
            break
        try:
            go_on_with_rotation(client_id=client_id)
        except Exception as error:  # noqa: BLE001 (any defect of ours)
            # One client must not keep the others waiting. An error's text can hold a value.
            kind = type(error).__name__
            logger.error("The rotation of client %s was not gone on with: %s", client_id, kind)  # noqa: TRY400
            connection.close_if_unusable_or_obsolete()


def go_on_with_rotation(
    *, client_id: int, interactive: bool = False, open_login: OpenLogin = open_login
) -> Rotation | None:
    """Finish or undo the client's interrupted rotation; None where there is none, or somebody works on the client."""
    with hold_client_locks([client_id], wait_seconds=0) as held:
        rotation = Rotation.objects.find_unfinished(client_id) if held else None
        if rotation and not Client.objects.filter(pk=client_id).exists():
            _end_without_client(rotation)
        elif rotation:
            DatabaseRotation(rotation, open_login, interactive).finish_steps()
    return rotation


ROTATION_CLIENT_GONE = Sentence(
    "rotation_client_gone",
    "NOVA has deleted the client meanwhile. At its server the password may be the new one, which AWS keeps as version"
    " %(version)s.",
)


def _end_without_client(rotation: Rotation) -> None:
    """Store that nobody needs the new secret any more; it stays in AWS, under the stage of those that stopped."""
    secret = PendingSecret(secrets_manager(), rotation.secret_name, rotation.client_id)
    try:
        if rotation.secret_name:
            secret.mark_as_stopped(rotation.version_id)
            secret.take_off()
    except SecretsManagerError as error:
        if not error.is_gone:
            rotation.note_hindrance(error.message)
            return
    rotation.end(RotationOutcome.STOPPED, ROTATION_CLIENT_GONE(version=rotation.version_id))


class ClientNotReadyError(MessageError):
    """The client's rows can't be read, or AWS does not hold them yet; the next try may find them ready."""


class PasswordReplacedMeanwhileError(MessageError):
    """Somebody gave the login another password while it was rotated; the next try looks at it anew."""


class RotationStoppedError(MessageError):
    """It isn't known which password is valid or where the login leads: a person has to look."""


# What ends a rotation for good, and with which outcome.
ENDS: dict[type[MessageError], RotationOutcome] = {
    RotationRefusedError: RotationOutcome.REFUSED,
    RoleRefusedError: RotationOutcome.REFUSED,
    ForeignPendingError: RotationOutcome.REFUSED,
    PendingOfOtherRoleError: RotationOutcome.REFUSED,
    RotationStoppedError: RotationOutcome.STOPPED,
}
# What may pass by itself.
HINDRANCES = (
    *(SecretsManagerError, DocumentError, NovaSchemaError, RowsBusyError, RefusedByDatabaseError),
    *(ValidPasswordUnknownError, LoginGoneError, SecretKeepsChangingError),
    SecretOfOthersError,
    *(ClientNotReadyError, PasswordReplacedMeanwhileError),
)


FORMER_SECRETS_READ = Sentence(
    "former_secrets_read",
    "Its layout was changed lately, and NOVA may still read its former secrets (%(names)s):"
    " rotate it once they are gone.",
    glue=", ",
)
ROTATION_NOT_IN_AWS_YET = Sentence(
    "rotation_not_in_aws_yet",
    "The new password has to be kept in AWS before the database gets it, and AWS does not hold this client: %(why)s",
)
ROTATION_NOT_PUSHED = Sentence(
    "rotation_not_pushed",
    "NOVA's row has the new password, which already logs in. It is not in AWS yet: %(why)s",
)
ROTATION_CURRENT_REFUSED = Sentence(
    "rotation_current_refused",
    "The stored password does not log in: it was changed at the server, or it has expired (VALID UNTIL)."
    " Nothing was changed. Enter the password that is valid, then rotate again.",
)
ROTATION_WRITTEN_MEANWHILE = Sentence(
    "rotation_written_meanwhile",
    "Somebody gave the login another password in the meantime, which was not overwritten.",
)
ROTATION_ROW_REFUSED = Sentence(
    "rotation_row_refused",
    "NOVA's table refused the new password, so the former one was put back: %(error)s",
)
ROTATION_DESTINATION_CHANGED = Sentence(
    "rotation_destination_changed",
    "Somebody changed where this login leads meanwhile, so the rotation stopped and stored nothing."
    " At the former server the password may be the new one, which AWS keeps as version %(version)s.",
)
ROTATION_NOTHING_LOGS_IN = Sentence(
    "rotation_nothing_logs_in",
    "Neither the stored nor the new password works: it was changed at the server, or has expired (VALID UNTIL). "
    "Enter the valid password, then rotate again. AWS keeps the new one as version %(version)s.",
)


@dataclass
class DatabaseRotation:
    """One try of a rotation, under the client's lease: four steps, each of which can be done twice."""

    rotation: Rotation
    open_login: OpenLogin
    interactive: bool
    # Made in this try; a password that an earlier one kept may have stood somewhere since.
    made: str = field(default="", repr=False)

    def finish_steps(self) -> None:
        """Take the steps that are left; store the outcome, or what keeps it from having one."""
        self.sm = secrets_manager(interactive=self.interactive)
        try:
            # First: what is written from now on is seen to be newer.
            self.rows_before = read_row_passwords(self.rotation.client_id)
            self.snapshot = read_snapshot(self.rotation.client_id)
            self.secret = self._make_secret(secret_names_by_type(self.snapshot)[DATABASE])
            self._take_steps()
            self._take_pending_off()
        except tuple(ENDS) as error:
            self._end_early(ENDS[type(error)], error.message)
        except HINDRANCES as error:
            if self.rotation.step == RotationStep.BEGUN:  # the database is as it was
                self._end_early(RotationOutcome.REFUSED, error.message)
                self.rotation.is_worth_another_try = True
            else:
                self.rotation.note_hindrance(error.message)
        else:
            self.rotation.end(RotationOutcome.ROTATED)

    def _end_early(self, outcome: RotationOutcome, why: Message) -> None:
        """Take AWSPENDING off and store the outcome; where AWS doesn't let it be taken off, the next try does."""
        try:
            if outcome == RotationOutcome.STOPPED and self.rotation.version_id:
                self._kept_in.mark_as_stopped(self.rotation.version_id)
            self._take_pending_off()
        except SecretsManagerError as error:
            self.rotation.note_hindrance(error.message)
        else:
            self.rotation.end(outcome, why)

    def _make_stopped_error(self, sentence: Sentence) -> RotationStoppedError:
        """Return the error that says so, and as which version AWS keeps the new password."""
        return RotationStoppedError(sentence(version=self.rotation.version_id))

    def _take_pending_off(self) -> None:
        """Take AWSPENDING off what this rotation kept; what an earlier one left stays until the new one is kept."""
        if self.rotation.step != RotationStep.BEGUN:
            self.secret.take_off()
            self._kept_in.take_off()
        elif self.rotation.version_id:
            take_pending_off(self.sm, self.rotation.secret_name, self.rotation.version_id)

    @property
    def _kept_in(self) -> PendingSecret:
        """The secret in which the new password was first kept: another one, if the client got another slug since."""
        return self._make_secret(self.rotation.secret_name)

    def _make_secret(self, name: str) -> PendingSecret:
        return PendingSecret(self.sm, name, self.rotation.client_id)

    def _take_steps(self) -> None:
        if self.rotation.step == RotationStep.STORED:
            return
        document = self._read_document()
        is_new = self.rotation.step == RotationStep.BEGUN
        password = self._keep(document) if is_new else self._find_kept(document)
        self._set(password, is_new=is_new)
        self._store(password)

    @property
    def _login(self) -> DatabaseLogin:
        return self.found.login

    def _read_document(self) -> Document:
        """Read the store that decides; raises `DocumentError` where AWS holds what no login can be."""
        now = self.snapshot
        if now.phase.aws_is_authority:
            document = self.secret.read_current().to_document()
            parse_document(document, client_id=now.client_id, client_slug=now.slug)
            return document
        if now.document is None:
            raise ClientNotReadyError(now.problem or ROTATION_CLIENT_BUSY())
        return now.document

    # Step 1: keep the new password in AWS

    def _keep(self, document: Document) -> str:
        self.found = self._find_wanted(document)
        if self.snapshot.other_secrets == OtherSecretsState.KEPT:
            # Who reads these finds no AWSPENDING in them.
            names = tuple(self.snapshot.other_names.values())
            raise RotationRefusedError(FORMER_SECRETS_READ(names=names))
        client = read_client_with_rows(self.rotation.client_id)
        require_own_role(client, document, self._login)
        working = self._find_working()
        if is_other := working.password != self._login.password:
            require_own_role(client, document, working)
        if not self.snapshot.phase.aws_is_authority:
            # Also a client in `postgres`: nobody reads its secret, but the new password must not be lost.
            self._push(ROTATION_NOT_IN_AWS_YET)
        self.secret.require_no_other_roles_pending(self._login)
        role = [self._login.host, self._login.port, self._login.user]
        self.rotation.record_attempt(secret_name=self.secret.name, role=role)
        current = self.secret.read_current_of(self._login)
        if is_other and working.password in self.secret.list_left_passwords(self._login):
            # Of a rotation whose record is gone: from now on AWSPENDING is this one's, as the role has its password.
            password = working.password
            self.rotation.note_step(RotationStep.KEPT)
        else:
            password = self.made = make_password()
        self.secret.keep_password(current, self._login, password, tell=self._note_version)
        self.rotation.note_step(RotationStep.KEPT)
        return password

    def _find_wanted(self, document: Document) -> LoginsOfRole:
        """Find the login by its label."""
        login = find_primary_or_labelled(document, self.rotation.label)
        found = find_logins(document, login) if login else None
        if found is None:
            missing = describe_missing_login(self.rotation.slug, DATABASE, self.rotation.label)
            raise RotationRefusedError(missing)
        return found

    def _note_version(self, version_id: str) -> None:
        self.rotation.record_attempt(version_id=version_id)

    def _find_working(self) -> DatabaseLogin:
        """Return the login with the password that is valid now, whose role can change it."""
        for login in self._list_candidates(with_left=True):
            try:
                require_changeable(login, self.open_login)
            except LoginFailedError as error:
                require_wrong_password(error)
            else:
                return login
        raise RotationStoppedError(ROTATION_CURRENT_REFUSED())

    def _list_candidates(self, *, with_left: bool = False) -> Iterator[DatabaseLogin]:
        """Yield the logins that may be valid: the current one, the one before it, what earlier rotations left."""
        yield self._login
        for password in self.secret.list_other_passwords(self._login, with_left=with_left):
            yield replace(self._login, password=password)

    def _find_kept(self, document: Document) -> str:
        """Find the login, whatever its label is now, and the password that was kept for it."""
        kept = self._kept_in.find_new_password(self.rotation.version_id)
        if kept is None:
            raise self._make_stopped_error(ROTATION_NOTHING_LOGS_IN)
        role = make_passwordless_login(*self.rotation.role)  # type: ignore[misc]  # stored before the step
        there = find_logins(kept.to_document(), role)
        if there is None:
            raise self._make_stopped_error(ROTATION_NOTHING_LOGS_IN)
        password = there.login.password
        self.found = find_logins(document, role) or self._find_under_other_name(document, password)
        if self._kept_in.name != self.secret.name:
            self._keep_under_new_name(password)
        return password

    def _find_under_other_name(self, document: Document, password: str) -> LoginsOfRole:
        """Find the login by its label where only its host has another name: the kept password logs in there, too."""
        login = find_primary_or_labelled(document, self.rotation.label)
        found = find_logins(document, login) if login else None
        with suppress(ValidPasswordUnknownError):
            if found and logs_in(replace(found.login, password=password), self.open_login):
                return found
        raise self._make_stopped_error(ROTATION_DESTINATION_CHANGED)

    def _keep_under_new_name(self, password: str) -> None:
        """Keep the new password where NOVA looks for it since the client has another slug; its former place stays."""
        if not self.snapshot.phase.aws_is_authority:
            self._push(ROTATION_NOT_IN_AWS_YET)
        current = self.secret.read_current_of(self._login)
        self.secret.keep_password(current, self._login, password, tell=lambda _version_id: None)

    # Steps 2 and 3: change the role's password, and prove it by a login

    def _set(self, password: str, *, is_new: bool) -> None:
        new = replace(self._login, password=password)
        if is_new or not logs_in(new, self.open_login):
            self._change_password(password)
        self.rotation.note_step(RotationStep.SET)

    def _change_password(self, password: str) -> None:
        for login in self._list_candidates():
            try:
                change_password(login, password, self.open_login, before=require_writes_allowed)
            except LoginFailedError as error:
                require_wrong_password(error)
            else:
                return
        if not logs_in(replace(self._login, password=password), self.open_login):
            raise self._make_stopped_error(ROTATION_NOTHING_LOGS_IN)

    # Step 4: store it where NOVA reads

    def _store(self, password: str) -> None:
        phase = self.snapshot.phase
        if phase != Phase.PURGED:
            self._write_rows(password)
        if phase.aws_is_authority:
            self._promote(password)
        else:
            self._push(ROTATION_NOT_PUSHED)
            known = Secret.objects.find([self.secret.name]).get(self.secret.name)
            version_id = known.version_id if known else self.rotation.version_id
            self.rotation.note_step(RotationStep.STORED, version_id=version_id)
        stores = [LoginStore.AWS] if phase == Phase.PURGED else list(LoginStore)
        client = read_client_with_rows(self.rotation.client_id)
        note_login_works(list_rows_of_role(client, self._login), stores, by=self.rotation.by)

    def _write_rows(self, password: str) -> None:
        """Write the rows of this role: before AWS's current version, so that a push of them brings the password too."""
        try:
            with hold_rows(self.rotation.client_id):
                refuse_lost_client_locks()
                rows = self._list_rows()
                if not rows and not self.snapshot.phase.aws_is_authority:
                    raise self._make_stopped_error(ROTATION_DESTINATION_CHANGED)
                with noting_rows(self.rotation.client_id):
                    for row in rows:
                        if row.db_password not in (self.rows_before.get(row.pk), password):
                            raise PasswordReplacedMeanwhileError(ROTATION_WRITTEN_MEANWHILE())
                        write_changed_values(row, {"db_password": password})
        except RefusedByDatabaseError as error:
            self._put_back(password)
            why = ROTATION_ROW_REFUSED(error=error.message)
            raise RotationRefusedError(why) from None

    def _put_back(self, password: str) -> None:
        """Give the role its former password again."""
        new = replace(self._login, password=password)
        try:
            change_password(new, self._login.password, self.open_login, before=refuse_lost_leases)
        except LoginFailedError as error:
            raise make_unclear(error) from None
        except RoleRefusedError as error:  # not the end: the role has the new password
            raise ValidPasswordUnknownError(error.message) from None

    def _list_rows(self) -> list[DatabaseCredential]:
        return list_rows_of_role(reread_locked_client(self.rotation.client_id), self._login)

    def _push(self, sentence: Sentence) -> None:
        """Push the rows; raise where AWS doesn't hold them afterwards."""
        (result,) = push(client_ids=[self.rotation.client_id], interactive=self.interactive)
        if result.outcome not in PUSHED:
            raise ClientNotReadyError(sentence(why=result.summary_message))

    def _promote(self, password: str) -> None:
        """Make the kept version current."""
        kept = self.secret.find_new_password(self.rotation.version_id) or self.secret.read_current()
        current = self.secret.promote(
            kept,
            self._login,
            password,
            check=partial(self._check_current, password),
            tell=self._note_version,
        )
        if self.snapshot.phase == Phase.PURGED:
            with hold_rows(self.rotation.client_id):
                self.secret.record_secret_version_if_ours(current)
                ClientRevision.objects.count_writes_in_aws([self.rotation.client_id])
                is_random = password == self.made
                note_new_password_in_aws(self._list_rows(), password, is_random=is_random)
        else:
            found = read_aws(self.snapshot, sm=self.secret.sm)
            with hold_rows(self.rotation.client_id):
                record_as_pushed_if_equal(self.rotation.client_id, found)
        self.rotation.note_step(RotationStep.STORED, version_id=current.version_id)

    def _check_current(self, password: str, current: SecretValue) -> None:
        """Raise where the login leads elsewhere now, or got another password since this try looked at it."""
        there = find_logins(current.to_document(), self._login)
        if there is None:
            raise self._make_stopped_error(ROTATION_DESTINATION_CHANGED)
        if there.passwords - self.found.passwords - {password}:
            raise PasswordReplacedMeanwhileError(ROTATION_WRITTEN_MEANWHILE())


@works_on(Run.Kind.ROTATE, together=1)
def process_rotation_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Give each item its outcome; return those that may succeed at another try.

    After BATCH_SECONDS no client is begun: the rest stays open, to be claimed again.
    """
    until, again = time.monotonic() + BATCH_SECONDS, []
    for item in items.values():
        if time.monotonic() > until:
            item.next_try_at = timezone.now()
        elif _rotate_client(run, item, until=until):
            again.append(item)
    return again


ROTATION_NO_DATABASE_LOGIN = Sentence(
    "rotation_no_database_login", "It has no database login that NOVA uses."
)


def _rotate_client(run: Run, item: RunItem, *, until: float) -> bool:
    """Rotate the client's database logins and give its item an outcome; say whether another try may succeed.

    What this run has rotated before (a batch may be done twice) is left alone. Without an outcome, time was up.
    """
    if not Client.objects.filter(pk=item.client_id).exists():
        item.outcome, item.message = Outcome.SKIPPED, CLIENT_NOT_THERE()
        return False
    labels = list(_list_labels(item.client_id))
    if not labels:
        item.outcome, item.message = Outcome.SKIPPED, ROTATION_NO_DATABASE_LOGIN()
        return False
    problems: list[Message] = []
    may_pass, all_told = False, True
    fresh = Rotation.objects.rotated().filter(
        client_id=item.client_id,
        credential_type=DATABASE,
        begun_at__gte=_find_fresh_since(run, item.client_id),
    )
    for label in labels:
        if fresh.filter(label=label).exists():
            continue
        if time.monotonic() > until:
            item.next_try_at = timezone.now()
            return False
        problem, passes, is_told = _rotate_login(run, item.client_id, label)
        problems += [problem] if problem else []
        may_pass, all_told = may_pass or passes, all_told and is_told
    item.outcome = Outcome.FAILED if problems else Outcome.UPDATED
    item.message = in_a_row(*problems)
    item.error_class, item.is_told = "", all_told
    if problems:
        item.error_class = ErrorClass.UNAVAILABLE if may_pass else ErrorClass.CONFLICT
    return may_pass


def _rotate_login(run: Run, client_id: int, label: str | None) -> tuple[Message | None, bool, bool]:
    """Rotate one login.

    Return what kept it from being rotated, whether another try may succeed, and whether an event of the rotation tells
    how it ended.
    """
    try:
        rotation = rotate_database(client_id=client_id, label=label, by=run.by)
    except (NotRotated, RotationOpenError) as refusal:
        return refusal.message, True, False
    if rotation.outcome == RotationOutcome.ROTATED:
        return None, False, True
    may_pass = not rotation.is_finished or rotation.is_worth_another_try
    return rotation.message, may_pass, rotation.is_finished


def _list_labels(client_id: int) -> Iterator[str | None]:
    """Yield None for the primary login, and the label of each other one that NOVA can ask for; each role once."""
    client = read_client_with_rows(client_id)
    rows = list_rows(client)
    primary = find_row(client, DATABASE, None)
    seen = []
    if isinstance(primary, DatabaseCredential):
        seen.append(make_login(primary))
        yield None
    others = [row for row in rows if row.label and not row.is_primary]
    for row in sorted(others, key=lambda row: row.label or ""):
        login = make_login(row)
        if not any(is_same_role(login, other) for other in seen):
            seen.append(login)
            yield row.label


def _find_fresh_since(run: Run, client_id: int) -> datetime:
    """Return since when a login that was rotated is left alone: since the run began; in a schedule's, for its days."""
    by_schedule = run.was_begun_by_schedule
    fresh = RotationSchedule.objects.find_rotation_fresh_since(client_id) if by_schedule else None
    return min(fresh, run.created_at) if fresh else run.created_at


# A new secret that somebody entered for a mailbox or an AWS key is stored once it was proven by a login.


ROTATION_NEW_SECRET_REFUSED = Sentence(
    "rotation_new_secret_refused",
    "The new secret does not log in: %(outcome)s. Nothing was stored.",
)
ROTATION_LOGIN_CHANGED_MEANWHILE = Sentence(
    "rotation_login_changed_meanwhile",
    "Somebody changed where this login leads while the new secret was tested, so nothing was stored: look, try again.",
)
ROTATION_SAME_SECRET = Sentence(
    "rotation_same_secret",
    "What you entered is the present secret, so nothing was rotated: enter the new one.",
)


ENTERED_VALUE_REFUSED = Sentence("entered_value_refused", "%(field)s: %(problem)s")


def store_entered_secret(
    *,
    client_id: int,
    credential_type: CredentialType,
    label: str | None,
    entered: Mapping[str, str],
    by: User | None = None,
    reason: str = "",
    warn: Callable[[Message], None] = lambda _message: None,
    try_login: Callable[..., LoginResult] = try_login,
) -> Rotation:
    """Log in with what was entered (by column), then save it as the client's form does: AWS first where it decides.

    The rotation's outcome says whether it was stored. `warn` is called with what else is to be said: AWS has the saved
    row later, or the secret has outer blanks. Raises `NotRotated` and `RotationOpenError`, where nothing is stored, and
    `Client.DoesNotExist`.
    """
    client = read_client_with_rows(client_id)
    row = find_row(client, credential_type, label)
    if row is None:
        raise NotRotated(describe_missing_login(client.slug, credential_type, label))
    if all(getattr(row, name) == value for name, value in entered.items()):
        raise NotRotated(ROTATION_SAME_SECRET())
    secrets: dict[str, object] = {}
    for name, value in entered.items():
        field = next(each for each in row._meta.concrete_fields if each.name == name)
        if name in row.SECRET_FIELDS:
            secrets[capfirst(str(field.verbose_name))] = value
        try:
            field.run_validators(value)
        except ValidationError as error:
            problem = " ".join(error.messages)
            refused = ENTERED_VALUE_REFUSED(field=str(field.verbose_name), problem=problem)
            raise NotRotated(refused) from None
    tested = {name: getattr(row, name) for name in row.DESTINATION_FIELDS}
    keys = map_to_json_keys(ROW_CLASSES[row.TYPE])
    values = {key: entered.get(name, getattr(row, name)) for name, key in keys.items()}
    result = try_login(credential_type, values)
    if not result.works:
        refused = ROTATION_NEW_SECRET_REFUSED(outcome=LOGIN_OUTCOMES[result.outcome]())
        with transaction.atomic():
            rotation = Rotation.objects.begin(client, credential_type, label, by=by, reason=reason)
            rotation.end(RotationOutcome.REFUSED, refused)
        return rotation
    try:
        with convert_refusals(), transaction.atomic():
            Client.objects.lock_rows(client_id)
            found = find_row(reread_locked_client(client_id), credential_type, label)
            if found is None or any(getattr(found, name) != tested[name] for name in tested):
                raise NotRotated(ROTATION_LOGIN_CHANGED_MEANWHILE())
            rotation = _save(found, entered, by=by, reason=reason, warn=warn)
    except (SaveRefusedError, RowsBusyError, RefusedByDatabaseError) as error:
        raise NotRotated(error.message) from None
    secret = secret_names_by_type(read_snapshot(client_id))[credential_type]
    known = Secret.objects.find([secret]).get(secret)
    rotation.version_id = known.version_id if known else ""
    for warning in warn_of_outer_blanks(secrets):
        warn(warning)
    return rotation


def _save(
    row: Credential,
    entered: Mapping[str, str],
    *,
    by: User | None,
    reason: str,
    warn: Callable[[Message], None],
) -> Rotation:
    """Save the row, and AWS where it decides; in the caller's transaction, which has locked the rows."""
    client = Client.objects.get(pk=row.client_id)
    save = AdminSave(client.pk)
    # The row of a purged client has a pointer; its value was read from AWS just now.
    stored = {name: getattr(row, name) for name in entered} | save.secrets.get(row, {})
    if all(stored[name] == value for name, value in entered.items()):
        raise NotRotated(ROTATION_SAME_SECRET())
    for name, value in entered.items():
        setattr(row, name, value)
    secrets = {name: value for name, value in entered.items() if name in row.SECRET_FIELDS}
    save.keep_secrets_out_if_purged(row.TYPE, row, secrets)
    save_columns(row, entered)
    rotation = Rotation.objects.begin(client, row.TYPE, row.label, by=by, reason=reason)
    rotation.step = RotationStep.STORED
    rotation.save(update_fields=["step"])
    rotation.end(RotationOutcome.ROTATED)
    save.write_or_push_to_aws(warn=warn)
    # Before the cutover a push takes the row to AWS, later: there the login isn't proven yet.
    stores = list(LoginStore) if save.phase.aws_is_authority else [LoginStore.POSTGRES]
    if save.phase == Phase.PURGED:
        stores = [LoginStore.AWS]
    transaction.on_commit(partial(note_login_works, [row], stores, by=by))
    return rotation


def note_login_works(
    rows: Iterable[Credential], stores: Iterable[LoginStore], *, by: User | None
) -> None:
    """Store that the login works with what these stores hold now: a rotation has just logged in with it."""
    for row, store in product(rows, stores):
        test = LoginTest(
            client_id=row.client_id,
            kind=row.TYPE.value,
            credential_id=row.pk,
            store=store.value,
            outcome=LoginOutcome.WORKS.value,
            by=by,
        )
        LoginTest.objects.record([test], client_id=row.client_id, store=store)
