"""Takes the four steps of a database password's rotation, each of which can be done twice: keep, set, prove, store.

The new password is in AWS, as AWSPENDING, before the database gets it, and stays there until the stores have it. So a
process that is killed loses nothing: the next try finds out what was done and finishes it, or undoes it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from credentials.models import ClientRevision, DatabaseCredential, write_changed_values
from credentials.refusals import RefusedByDatabaseError
from migration import rotation_sentences
from migration.core.aws_store import read_aws, secret_names_by_type, secrets_manager
from migration.core.aws_writes import require_writes_allowed
from migration.core.leases import refuse_lost_client_locks, refuse_lost_leases
from migration.core.outgoing import LoginFailedError
from migration.core.secrets import OtherSecretsState, Secret
from migration.core.snapshots import read_client_with_rows, read_snapshot, reread_locked_client
from migration.models.rotations import RotationOutcome, RotationStep
from migration.operations.pending_secrets import (
    LoginsOfRole,
    PendingSecret,
    find_logins,
    find_primary_or_labelled,
    make_passwordless_login,
)
from migration.operations.reachable_logins import describe_missing_login
from migration.operations.role_passwords import (
    RoleRefusedError,
    ValidPasswordUnknownError,
    change_password,
    logs_in,
    make_password,
    make_unclear,
    require_changeable,
    require_wrong_password,
)
from migration.operations.rotated_logins import (
    list_rows_of_role,
    read_row_passwords,
    require_own_role,
)
from migration.operations.rotation_ends import (
    ENDS,
    HINDRANCES,
    ClientNotReadyError,
    LeadsElsewhereError,
    NothingLogsInError,
    PasswordReplacedMeanwhileError,
    RotationRefusedError,
    RotationStoppedError,
)
from migration.pushes.known_values import note_new_password_in_aws, noting_rows
from migration.pushes.pushes import push
from migration.pushes.rows_from_aws import hold_rows, record_as_pushed_if_equal
from migration.runs.items import PUSHED
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import parse_document
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.models.rotations import Rotation
    from migration.operations.login_tests.database import DatabaseLogin
    from migration.operations.role_passwords import OpenLogin
    from nova_credentials.aws.secrets_manager import SecretValue
    from nova_credentials.document import Document
    from nova_credentials.messages import Message, Sentence

DATABASE = CredentialType.DATABASE


@dataclass
class DatabaseRotation:
    """One try of a rotation, under the client's lease."""

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

    def _take_pending_off(self) -> None:
        """Take AWSPENDING off what this rotation kept; what an earlier one left stays until the new one is kept."""
        if self.rotation.step != RotationStep.BEGUN:
            self.secret.take_off()
            self._kept_in.take_off()
        elif self.rotation.version_id:
            self._kept_in.remove_pending_stage(self.rotation.version_id)

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
            raise ClientNotReadyError(now.problem or rotation_sentences.ROTATION_CLIENT_BUSY())
        return now.document

    # Step 1: keep the new password in AWS

    def _keep(self, document: Document) -> str:
        self.found = self._find_wanted(document)
        if self.snapshot.other_secrets == OtherSecretsState.KEPT:
            # Who reads these finds no AWSPENDING in them.
            names = tuple(self.snapshot.other_names.values())
            raise RotationRefusedError(rotation_sentences.FORMER_SECRETS_READ(names=names))
        client = read_client_with_rows(self.rotation.client_id)
        require_own_role(client, document, self._login)
        working = self._find_working()
        if is_other := working.password != self._login.password:
            require_own_role(client, document, working)
        if not self.snapshot.phase.aws_is_authority:
            # Also a client in `postgres`: nobody reads its secret, but the new password must not be lost.
            self._push(rotation_sentences.ROTATION_NOT_IN_AWS_YET)
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
        raise RotationStoppedError(rotation_sentences.ROTATION_CURRENT_REFUSED())

    def _list_candidates(self, *, with_left: bool = False) -> Iterator[DatabaseLogin]:
        """Yield the logins that may be valid: the current one, the one before it, what earlier rotations left."""
        yield self._login
        for password in self.secret.list_other_passwords(self._login, with_left=with_left):
            yield replace(self._login, password=password)

    def _find_kept(self, document: Document) -> str:
        """Find the login, whatever its label is now, and the password that was kept for it."""
        kept = self._kept_in.find_new_password(self.rotation.version_id)
        if kept is None:
            raise NothingLogsInError(self.rotation.version_id)
        role = make_passwordless_login(*self.rotation.role)  # type: ignore[misc]  # stored before the step
        there = find_logins(kept.to_document(), role)
        if there is None:
            raise NothingLogsInError(self.rotation.version_id)
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
        raise LeadsElsewhereError(self.rotation.version_id)

    def _keep_under_new_name(self, password: str) -> None:
        """Keep the new password where NOVA looks for it since the client has another slug; its former place stays."""
        if not self.snapshot.phase.aws_is_authority:
            self._push(rotation_sentences.ROTATION_NOT_IN_AWS_YET)
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
            raise NothingLogsInError(self.rotation.version_id)

    # Step 4: store it where NOVA reads

    def _store(self, password: str) -> None:
        phase = self.snapshot.phase
        if phase != Phase.PURGED:
            self._write_rows(password)
        if phase.aws_is_authority:
            self._promote(password)
        else:
            self._push(rotation_sentences.ROTATION_NOT_PUSHED)
            known = Secret.objects.find([self.secret.name]).get(self.secret.name)
            version_id = known.version_id if known else self.rotation.version_id
            self.rotation.note_step(RotationStep.STORED, version_id=version_id)

    def _write_rows(self, password: str) -> None:
        """Write the rows of this role: before AWS's current version, so that a push of them brings the password too."""
        try:
            with hold_rows(self.rotation.client_id):
                refuse_lost_client_locks()
                rows = self._list_rows()
                if not rows and not self.snapshot.phase.aws_is_authority:
                    raise LeadsElsewhereError(self.rotation.version_id)
                with noting_rows(self.rotation.client_id):
                    for row in rows:
                        if row.db_password not in (self.rows_before.get(row.pk), password):
                            raise PasswordReplacedMeanwhileError(
                                rotation_sentences.ROTATION_WRITTEN_MEANWHILE()
                            )
                        write_changed_values(row, {"db_password": password})
        except RefusedByDatabaseError as error:
            self._put_back(password)
            why = rotation_sentences.ROTATION_ROW_REFUSED(error=error.message)
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
            raise LeadsElsewhereError(self.rotation.version_id)
        if there.passwords - self.found.passwords - {password}:
            raise PasswordReplacedMeanwhileError(rotation_sentences.ROTATION_WRITTEN_MEANWHILE())
