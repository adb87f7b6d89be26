"""What a save in the admin does to AWS: right after it while PostgreSQL is the authority, within it once AWS is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection, transaction

from credentials.copying import (
    RowNotInAwsError,
    build_document_with_secrets,
    read_purged_secrets,
)
from credentials.models import ClientRevision
from credentials.pointers import make_pointer
from migration import sentences
from migration.models import PUSHED, ClientMigration, Outcome
from migration.operations.aws_store import read_aws, secret_names_by_type, secrets_manager
from migration.operations.locks import CLIENT_LOCK
from migration.operations.pushes import RefusedError, push, write_document
from migration.operations.snapshots import read_locked_client, read_locked_snapshot
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from credentials.models import Credential
    from nova_credentials.credential_types import CredentialType


class SaveRefusedError(MessageError):
    """AWS is the authority and did not take the save: it is saved nowhere."""


class AdminSave:
    """One save of a client, begun once its rows are locked: no move of it can come between.

    Raises `SaveRefusedError`, on which the transaction has to be rolled back.
    """

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        client_migration = ClientMigration.objects.filter(pk=client_id).first()
        self.phase = Phase(client_migration.phase) if client_migration else Phase.POSTGRES
        # What is in AWS alone, and what is to go there alone.
        self.secrets: dict[Credential, dict[str, str]] = {}
        self.typed: list[tuple[Credential, dict[str, str]]] = []
        if self.phase.aws_is_authority:
            self._lock()
        if self.phase == Phase.PURGED:
            self._read_aws()

    def _lock(self) -> None:
        """A push or a move would wait for the rows that this save holds, so this does not wait for them."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_xact_lock(%s, %s)", [CLIENT_LOCK, self.client_id]
            )
            (locked,) = cursor.fetchone()
        if not locked:
            raise SaveRefusedError(sentences.SAVE_UNDER_WAY())

    def _read_aws(self) -> None:
        """Which value in AWS belongs to which row, before the save changes what tells them apart."""
        snapshot = read_locked_snapshot(self.client_id)
        self.names = secret_names_by_type(snapshot)
        try:
            found = read_aws(snapshot, sm=secrets_manager(interactive=True))
            self.secrets = read_purged_secrets(read_locked_client(self.client_id), found.document)
        except (SecretsManagerError, DocumentError, RowNotInAwsError) as error:
            raise SaveRefusedError(_say_not_saved(error)) from None

    def hold_back(
        self, credential_type: CredentialType, row: Credential, typed: dict[str, str]
    ) -> None:
        """Before a row is saved: keeps the secret values of a purged client out of the tables."""
        if self.phase == Phase.PURGED and typed:
            self.typed.append((row, typed))
            for name in typed:
                setattr(row, name, make_pointer(self.names[credential_type]))

    def finish(self, *, warn: Callable[[Message], None]) -> None:
        """Once the rows are saved; `warn` tells of a push that is pending."""
        if self.phase.aws_is_authority:
            self._write_aws()
        elif self.phase.writes_both:
            # Robust: the save stands, whatever becomes of the push.
            # Django logs what a robust one raises under its name, which a `partial` has not.
            transaction.on_commit(lambda: _push_saved(self.client_id, warn), robust=True)

    def _write_aws(self) -> None:
        snapshot = read_locked_snapshot(self.client_id)
        try:
            for row, values in self.typed:
                self.secrets[row] = self.secrets.get(row, {}) | values
            write_document(
                snapshot,
                document=build_document_with_secrets(
                    read_locked_client(self.client_id), self.secrets
                ),
            )
        except (SecretsManagerError, RefusedError, DocumentError) as error:
            raise SaveRefusedError(_say_not_saved(error)) from None
        ClientRevision.objects.record_pushed([(self.client_id, snapshot.revision)])


def _say_not_saved(error: MessageError) -> Message:
    if isinstance(error, SecretsManagerError) and error.error_class == ErrorClass.UNAVAILABLE:
        # An answer can be lost after the write was applied.
        return sentences.NOTHING_CONFIRMED(error=error.message)
    return sentences.NOTHING_SAVED(error=error.message)


def _push_saved(client_id: int, warn: Callable[[Message], None]) -> None:
    (result,) = push(client_ids=[client_id], include_postgres=False, interactive=True)
    if result.outcome not in (*PUSHED, Outcome.SKIPPED):
        warn(sentences.SAVED_NOT_PUSHED(reason=result.summary))
