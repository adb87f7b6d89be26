"""Keeps a database login's new password in AWS, as AWSPENDING, until it is current. Knows no database and no row.

The secret's document is the current one with the new password in it, so that promoting it changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from migration.core.aws_store import record_planned_versions
from migration.core.keys import carried, load_version_keys
from migration.core.secrets import Secret
from migration.logins.attempts import DatabaseLogin
from migration.pushes.secret_writer import load_owners
from nova_credentials import document as documents
from nova_credentials.aws.answers import NOT_CURRENT
from nova_credentials.aws.secrets_manager import (
    STAGE_IS_ELSEWHERE,
    SecretsManager,
    SecretsManagerError,
    SecretValue,
)
from nova_credentials.aws.versions import CURRENT, PENDING
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document
from nova_credentials.messages import MessageError, Sentence

PREVIOUS = "AWSPREVIOUS"
# Of the version with the new password of a rotation that stopped: AWS deletes versions without a stage.
STOPPED = "NOVA_STOPPED_ROTATION"
# Somebody who edits the secret this often in a row is asked for a minute.
PROMOTE_TRIES = 5


class ForeignPendingError(MessageError):
    """Somebody else has put AWSPENDING on a version of the secret."""


class SecretOfOthersError(MessageError):
    """The secret is not the client's here: no password is kept in it."""


class PendingOfOtherRoleError(MessageError):
    """AWSPENDING that an earlier rotation left may hold the only valid password of another login."""


class LoginGoneError(MessageError):
    """The secret has no login of the role any more: the new password would be kept nowhere."""


class SecretKeepsChangingError(MessageError):
    """Each time the version was to be made current, somebody had written the secret anew."""


@dataclass(frozen=True)
class LoginsOfRole:
    """The logins in a secret's document that one rotation changes: the wanted one, and those of the same role."""

    login: DatabaseLogin
    entries: list[Document] = field(repr=False)

    @property
    def passwords(self) -> set[str]:
        """Return the passwords of the role's logins in the secret, all the same unless somebody forgot one."""
        return {_read_login(entry).password for entry in self.entries}


def find_primary_or_labelled(document: Document, label: str | None) -> DatabaseLogin | None:
    """Find the primary login (no label) or the one of the label as NOVA's reader does; None where there is none."""
    if label is None:
        primary = document.get(CredentialType.DATABASE)
        return _read_login(primary) if isinstance(primary, dict) else None
    entries = _list_entries(document)
    return next((_read_login(entry) for entry in entries if entry.get("label") == label), None)


def find_logins(document: Document, role: DatabaseLogin) -> LoginsOfRole | None:
    """Find the logins of this login's role, whatever their labels are now; None where there is none."""
    entries = [e for e in _list_entries(document) if is_same_role(_read_login(e), role)]
    if not entries:
        return None
    read = [_read_login(entry) for entry in entries]
    return LoginsOfRole(role if role in read else read[0], entries)


def read_logins(document: Document) -> list[DatabaseLogin]:
    """Return the document's database logins, the primary one first."""
    return [_read_login(entry) for entry in _list_entries(document)]


def _list_entries(document: Document) -> list[Document]:
    primary = document.get(CredentialType.DATABASE)
    others = document.get(CredentialType.DATABASE.others_key)
    entries = [primary, *(others if isinstance(others, list) else [])]
    return [entry for entry in entries if isinstance(entry, dict)]


def _read_login(entry: Document) -> DatabaseLogin:
    host, port, name = entry.get("host"), entry.get("port"), entry.get("name")
    user, password = entry.get("user"), entry.get("password")
    return DatabaseLogin(
        str(host or ""),
        port if isinstance(port, int) else 0,
        str(name or ""),
        str(user or ""),
        str(password or ""),
    )


def make_passwordless_login(host: str, port: int, user: str) -> DatabaseLogin:
    """Make a login that stands for its role, with no database and no password."""
    return DatabaseLogin(host, port, "", user, "")


def is_same_role(one: DatabaseLogin, other: DatabaseLogin) -> bool:
    """Say whether two logins are of one role: a server has its roles for all of its databases."""
    return (one.host.lower(), one.port, one.user) == (other.host.lower(), other.port, other.user)


ROTATION_ELSEWHERE = Sentence(
    "rotation_elsewhere",
    "Somebody else rotates %(name)s: its version %(version)s has AWSPENDING, and this site did not write it."
    " Let that end, or take AWSPENDING off.",
)
ROTATION_LEFT_PENDING = Sentence(
    "rotation_left_pending",
    "%(name)s has AWSPENDING on version %(version)s, left by an earlier rotation of another login. Check which "
    "password works, then remove AWSPENDING on the page of versions.",
)
ROTATION_LOGIN_GONE = Sentence(
    "rotation_login_gone",
    "Somebody changed where this login leads meanwhile: %(name)s has it no more, so no new password was kept there."
    " Try again.",
)
ROTATION_SECRET_KEEPS_CHANGING = Sentence(
    "rotation_secret_keeps_changing",
    "Somebody writes %(name)s again and again, so the new password could not be made current.",
)


@dataclass(frozen=True)
class PendingSecret:
    """One secret, in which the new password of a login is kept beside the current one."""

    sm: SecretsManager
    name: str
    client_id: int

    def read_current(self) -> SecretValue:
        """Read the current version."""
        return self.sm.get_value(self.name)

    def find_new_password(self, version_id: str) -> SecretValue | None:
        """Read the version that this site keeps the new password in: `version_id`, or the one with AWSPENDING.

        None where there is none; also where AWSPENDING is on the current version and this site did not write that.
        Raises `ForeignPendingError` where AWSPENDING is on another version that this site did not write.
        """
        if version_id and (kept := self.sm.get_version(self.name, version_id)):
            return kept
        labelled = self.sm.get_stage(self.name, PENDING)
        if labelled and self._is_ours(labelled.version_id):
            return labelled
        if labelled and labelled.version_id != self.read_current().version_id:
            raise ForeignPendingError(
                ROTATION_ELSEWHERE(name=self.name, version=labelled.version_id)
            )
        return None

    def list_other_passwords(self, login: DatabaseLogin, *, with_left: bool) -> Iterator[str]:
        """Yield the passwords that may be valid for the role beside the login's own, the likeliest first.

        First that of the version before the current one; then, `with_left`, those that earlier rotations left.
        """
        tried = {"", login.password}
        previous = self.sm.get_stage(self.name, PREVIOUS)
        for password in _list_passwords(previous, login) - tried:
            tried.add(password)
            yield password
        if with_left:
            yield from self.list_left_passwords(login) - tried

    def list_left_passwords(self, login: DatabaseLogin) -> set[str]:
        """Return the role's passwords in what earlier rotations left: AWSPENDING, and that of the last that stopped.

        Raises `ForeignPendingError`.
        """
        stopped = self.sm.get_stage(self.name, STOPPED)
        if stopped and not self._is_ours(stopped.version_id):
            stopped = None
        return _list_passwords(self.find_new_password(""), login) | _list_passwords(stopped, login)

    def read_current_of(self, login: DatabaseLogin) -> SecretValue:
        """Read the current version; raises `LoginGoneError` where somebody changed meanwhile where the login leads."""
        current = self.read_current()
        if find_logins(current.to_document(), login) is None:
            raise LoginGoneError(ROTATION_LOGIN_GONE(name=self.name))
        return current

    def require_no_other_roles_pending(self, login: DatabaseLogin) -> None:
        """Raise `PendingOfOtherRoleError` where AWSPENDING, of an earlier rotation, has another role's new password.

        It can be on one version only, so that one would lose it. Raises `ForeignPendingError`, too.
        """
        left = self.find_new_password("")
        if left is None:
            return
        present = read_logins(self.read_current().to_document())
        for each in read_logins(left.to_document()):
            known = {other.password for other in present if is_same_role(other, each)}
            if not is_same_role(each, login) and known and each.password not in known:
                raise PendingOfOtherRoleError(
                    ROTATION_LEFT_PENDING(name=self.name, version=left.version_id)
                )

    def keep_password(
        self,
        current: SecretValue,
        login: DatabaseLogin,
        password: str,
        *,
        tell: Callable[[str], object],
    ) -> SecretValue:
        """Write the current document with this password as AWSPENDING; `tell` is called with its id before.

        Raises `SecretOfOthersError`.
        """
        if refusal := load_owners([self.name]).find_refusal(current, self.client_id, sm=self.sm):
            raise SecretOfOthersError(refusal)
        text = documents.encode_document(_replace_password(current, login, password))
        version_id = load_version_keys().new_id(
            # What somebody else wrote stays somebody else's: a push must not take it for a version of ours.
            self.name if self._is_known(current) else carried(self.name),
            # Not the id that a push of the same text would choose, which AWS would then ignore.
            replaced=f"{current.version_id} {PENDING}",
            text=text,
        )
        record_planned_versions([version_id])
        tell(version_id)
        try:
            self.sm.put_aside(self.name, text, stage=PENDING, token=version_id)
        except SecretsManagerError as error:
            if error.code != NOT_CURRENT:
                raise
            # AWS has the very version, of a rotation that stopped.
            self._put_on(PENDING, version_id)
        return type(current)(current.name, current.arn, version_id, text)

    def promote(
        self,
        pending: SecretValue,
        login: DatabaseLogin,
        password: str,
        *,
        check: Callable[[SecretValue], object],
        tell: Callable[[str], object],
    ) -> SecretValue:
        """Make the kept version current and return it, unless the current one has the password already.

        An edit made meanwhile survives: then the version is written anew upon it. `check` is called with the current
        version each time, and may raise.
        """
        for _ in range(PROMOTE_TRIES):
            current = self.read_current()
            check(current)
            there = find_logins(current.to_document(), login)
            if there is None or there.passwords == {password}:
                return current
            if not pending.holds_document(_replace_password(current, login, password)):
                pending = self.keep_password(current, login, password, tell=tell)
            try:
                self.sm.move_stage(
                    self.name, CURRENT, away_from=current.version_id, to=pending.version_id
                )
            except SecretsManagerError as error:
                if error.code != STAGE_IS_ELSEWHERE:
                    raise
            else:
                return pending
        raise SecretKeepsChangingError(ROTATION_SECRET_KEEPS_CHANGING(name=self.name))

    def mark_as_stopped(self, version_id: str) -> None:
        """Give the version a stage of its own, as that of a rotation that stopped: it may have the valid password."""
        if self.sm.get_version(self.name, version_id) is not None:
            self._put_on(STOPPED, version_id)

    def _put_on(self, stage: str, version_id: str) -> None:
        former = self.sm.get_stage(self.name, stage)
        if former is None or former.version_id != version_id:
            away_from = former.version_id if former else ""
            self.sm.move_stage(self.name, stage, away_from=away_from, to=version_id)

    def take_off(self) -> None:
        """Take AWSPENDING off the version that has it, if that is one of ours."""
        labelled = self.sm.get_stage(self.name, PENDING)
        if labelled and self._is_ours(labelled.version_id):
            take_pending_off(self.sm, self.name, labelled.version_id)

    def record_secret_version_if_ours(self, current: SecretValue) -> None:
        """Store the version as pushed, unless it carries what somebody else wrote."""
        if load_version_keys().is_ours(self.name, current.version_id):
            made = Secret(
                name=self.name,
                arn=current.arn,
                version_id=current.version_id,
                client_id=self.client_id,
            )
            Secret.objects.record([made])

    def _is_known(self, value: SecretValue) -> bool:
        """Say whether this site wrote the version, or a push found it equal to the rows."""
        known = Secret.objects.find([self.name]).get(self.name)
        return load_version_keys().is_ours(self.name, value.version_id) or (
            known is not None and known.version_id == value.version_id
        )

    def _is_ours(self, version_id: str) -> bool:
        return is_made_by_site(self.name, version_id)


def take_pending_off(sm: SecretsManager, name: str, version_id: str) -> bool:
    """Take AWSPENDING off this version; False where it doesn't have it any more: it is somebody else's then."""
    try:
        sm.move_stage(name, PENDING, away_from=version_id)
    except SecretsManagerError as error:
        if error.code == STAGE_IS_ELSEWHERE or error.not_found:
            return False
        raise
    return True


def is_made_by_site(name: str, version_id: str) -> bool:
    """Say whether this site made the version, also one that carries an edit of somebody else."""
    return load_version_keys().is_made_by_site(name, version_id)


def _list_passwords(value: SecretValue | None, login: DatabaseLogin) -> set[str]:
    """Return the passwords that a version has for the login's role; none of one that is no document."""
    found = find_logins(value.to_document(), login) if value and value.is_document else None
    return found.passwords if found else set()


def _replace_password(current: SecretValue, login: DatabaseLogin, password: str) -> Document:
    """Return the version's document with the new password in each login of the role."""
    document = current.to_document()
    found = find_logins(document, login)
    for entry in found.entries if found else []:
        entry["password"] = password
    return document
