"""Owns what ends a rotation for good, and what only hinders it."""

from __future__ import annotations

from credentials.models import RowsBusyError
from credentials.nova_columns import NovaSchemaError
from credentials.refusals import RefusedByDatabaseError
from migration import rotation_sentences
from migration.models.rotations import RotationOutcome
from migration.operations.pending_secrets import (
    ForeignPendingError,
    LoginGoneError,
    PendingOfOtherRoleError,
    SecretKeepsChangingError,
    SecretOfOthersError,
)
from migration.operations.role_passwords import RoleRefusedError, ValidPasswordUnknownError
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.messages import MessageError


class RotationRefusedError(MessageError):
    """The rotation can't be made; nothing is changed, or everything put back."""


class ClientNotReadyError(MessageError):
    """The client's rows can't be read, or AWS does not hold them yet; the next try may find them ready."""


class PasswordReplacedMeanwhileError(MessageError):
    """Somebody gave the login another password while it was rotated; the next try looks at it anew."""


class RotationStoppedError(MessageError):
    """It isn't known which password is valid or where the login leads: a person has to look."""


class LeadsElsewhereError(RotationStoppedError):
    """The login is gone, or leads to another server; AWS keeps the new password as version `version`."""

    def __init__(self, version: str) -> None:
        super().__init__(rotation_sentences.ROTATION_DESTINATION_CHANGED(version=version))


class NothingLogsInError(RotationStoppedError):
    """Neither the new password, which AWS keeps as the version, nor a former one is valid."""

    def __init__(self, version: str) -> None:
        super().__init__(rotation_sentences.ROTATION_NOTHING_LOGS_IN(version=version))


# What ends a rotation for good, and with which outcome.
ENDS: dict[type[MessageError], RotationOutcome] = {
    RotationRefusedError: RotationOutcome.REFUSED,
    RoleRefusedError: RotationOutcome.REFUSED,
    ForeignPendingError: RotationOutcome.REFUSED,
    PendingOfOtherRoleError: RotationOutcome.REFUSED,
    RotationStoppedError: RotationOutcome.STOPPED,
    LeadsElsewhereError: RotationOutcome.STOPPED,
    NothingLogsInError: RotationOutcome.STOPPED,
}
# What may pass by itself.
HINDRANCES = (
    *(SecretsManagerError, DocumentError, NovaSchemaError, RowsBusyError, RefusedByDatabaseError),
    *(ValidPasswordUnknownError, LoginGoneError, SecretKeepsChangingError),
    SecretOfOthersError,
    *(ClientNotReadyError, PasswordReplacedMeanwhileError),
)
