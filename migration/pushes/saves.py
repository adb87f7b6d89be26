"""Takes a save in the admin to AWS: right after it while PostgreSQL is the authority, within it once AWS is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db import transaction
from django.utils.translation import gettext_lazy

from credentials.copying import (
    RowNotInAwsError,
    build_document_with_secrets,
    pick_values_behind_pointers,
    read_purged_secrets,
)
from credentials.forms import ClientForm, CredentialForm
from credentials.models import Client, Credential
from credentials.pointers import make_pointer
from migration.core.audit import AuditEvent, EventKind
from migration.core.aws_store import read_aws, secret_names_by_type, secrets_manager
from migration.core.clients import ClientMigration, Offboarding
from migration.core.leases import LeaseKind, hold_until_commit
from migration.core.sentences import IS_OFFBOARDED
from migration.core.snapshots import reread_locked_client, reread_locked_snapshot
from migration.pushes.known_values import (
    note_new_values_in_aws,
    note_values_on_commit,
    see_rows_and_purged_values,
)
from migration.pushes.models import NewValueOrigin
from migration.pushes.pushes import push, write_document
from migration.pushes.secret_writer import PartlyWrittenError, RefusedBySiteError
from migration.runs.items import PUSHED, Outcome
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError, Extra
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

CLIENT_ADDED_EVENT = EventKind(
    "client_added", gettext_lazy("Client added"), icon="edit", in_history=True
)
CLIENT_SAVED_EVENT = EventKind(
    "client_saved", gettext_lazy("Client saved"), icon="edit", in_history=True
)


class SaveRefusedError(MessageError):
    """The save can't be made: AWS, the rows, an offboarding or work on the client forbid it; nothing is saved."""

    client_id: int | None = None


SAVE_UNDER_WAY = Sentence(
    "save_under_way",
    "Nothing was saved: a push or a move of this client is under way. Try again.",
)
NOTHING_SAVED = Sentence("nothing_saved", "Nothing was saved: %(error)s")
NOTHING_CONFIRMED = Sentence(
    "nothing_confirmed",
    "Nothing was saved: %(error)s If AWS stored it all the same, the next comparison shows a mismatch.",
)
SAVED_NOT_PUSHED = Sentence(
    "saved_not_pushed", "Saved; the push to AWS is pending and will be retried: %(reason)s"
)


class AdminSave:
    """One save of a client, begun once its rows are locked, so that the client is not moved meanwhile.

    Raises `SaveRefusedError`; the caller then rolls the transaction back.
    """

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        client_migration = ClientMigration.objects.filter(pk=client_id).first()
        self.phase = Phase(client_migration.phase) if client_migration else Phase.POSTGRES
        # Of a purged client: the values in AWS, and the typed values that go to AWS alone.
        self.secrets: dict[Credential, dict[str, str]] = {}
        self.extras: dict[Client | Credential, Extra] = {}
        self.typed: list[tuple[Credential, dict[str, str]]] = []
        if self.phase.aws_is_authority:
            self._lock_client()
        leaving = Offboarding.objects.leaving_or_left().filter(pk=client_id).first()
        if leaving:
            raise self.make_refusal(IS_OFFBOARDED(slug=leaving.slug))
        if self.phase == Phase.PURGED:
            self._read_aws()
        else:
            note_values_on_commit(client_id)

    def make_refusal(self, why: Message) -> SaveRefusedError:
        """Return the error that refuses the save of this client."""
        error = SaveRefusedError(why)
        error.client_id = self.client_id
        return error

    def _lock_client(self) -> None:
        """Take the client's lease, or raise: a push or move that has it may wait for this save's rows."""
        if not hold_until_commit(LeaseKind.CLIENT, self.client_id):
            raise self.make_refusal(SAVE_UNDER_WAY())

    def _read_aws(self) -> None:
        """Read the rows' values from AWS now: the save may change the fields by which they are matched."""
        snapshot = reread_locked_snapshot(self.client_id)
        self.names = secret_names_by_type(snapshot)
        try:
            found = read_aws(snapshot, sm=secrets_manager(interactive=True))
            client = reread_locked_client(self.client_id)
            self.secrets = read_purged_secrets(client, found.document)
            self.extras = pick_values_behind_pointers(client, found.document)
            self.before = see_rows_and_purged_values(client, self.secrets, found.source_values)
        except (SecretsManagerError, DocumentError, RowNotInAwsError) as error:
            raise self.make_refusal(_say_not_saved(error)) from None

    def keep_secrets_out_if_purged(
        self, credential_type: CredentialType, row: Credential, typed: dict[str, str]
    ) -> None:
        """Keep a purged client's typed secrets for AWS, and put pointers into its row instead. Saves nothing."""
        if self.phase == Phase.PURGED and typed:
            self.typed.append((row, typed))
            for name in typed:
                setattr(row, name, make_pointer(self.names[credential_type]))

    def write_or_push_to_aws(self, *, warn: Callable[[Message], None]) -> None:
        """Write or push the saved rows to AWS; `warn` is called with a message if the push fails."""
        if self.phase != Phase.PURGED:
            note_values_on_commit(self.client_id)
        if self.phase.aws_is_authority:
            self._write_aws()
        elif self.phase.writes_both:
            # Robust, as an error of the push must not undo the save.
            # A lambda, as Django logs a robust callback's error by its name, which a `partial` has not.
            transaction.on_commit(lambda: _push_saved(self.client_id, warn), robust=True)

    def _write_aws(self) -> None:
        snapshot = reread_locked_snapshot(self.client_id)
        changed = {
            (row.TYPE.value, row.pk): value
            for row, values in self.typed
            for name, value in values.items()
            if self.secrets.get(row, {}).get(name) != value
        }
        try:
            for row, values in self.typed:
                self.secrets[row] = self.secrets.get(row, {}) | values
            write_document(
                snapshot,
                document=build_document_with_secrets(
                    reread_locked_client(self.client_id), self.secrets, self.extras
                ),
            )
        except (SecretsManagerError, RefusedBySiteError, DocumentError) as error:
            raise self.make_refusal(_say_not_saved(error)) from None
        if changed:
            note_new_values_in_aws(
                self.client_id, changed, origin=NewValueOrigin.TYPED, before=self.before
            )


def _say_not_saved(error: MessageError) -> Message:
    if isinstance(error, PartlyWrittenError):
        return error.message
    if isinstance(error, SecretsManagerError) and error.error_class == ErrorClass.UNAVAILABLE:
        # An answer can be lost after the write was applied.
        return NOTHING_CONFIRMED(error=error.message)
    return NOTHING_SAVED(error=error.message)


def _push_saved(client_id: int, warn: Callable[[Message], None]) -> None:
    (result,) = push(client_ids=[client_id], include_postgres=False, interactive=True)
    if result.outcome not in (*PUSHED, Outcome.SKIPPED):
        warn(SAVED_NOT_PUSHED(reason=result.summary_message))


# What the audit says of a save

CLIENT_ADDED = Sentence("client_added", "Added a client: %(changes)s.", glue="; ")
CLIENT_SAVED = Sentence("client_saved", "Changed %(changes)s.", glue="; ")
FIELDS_OF_CLIENT = Sentence("fields_of_client", "client: %(fields)s")
SLUG_BEFORE = Sentence("slug_before", "its slug was %(slug)s before")
LOGIN_ADDED = Sentence("login_added", "%(row)s added: %(fields)s")
LOGIN_CHANGED = Sentence("login_changed", "%(row)s: %(fields)s")


def record_save(
    client: Client, forms: Iterable[ClientForm | CredentialForm], *, added: bool
) -> None:
    """Record in the audit which fields of the client and its credentials were saved, within the save's transaction."""
    changed = [form for form in forms if form.has_changed()]
    if not changed:
        return
    changes = [_describe_row(form) for form in changed]
    if not added:
        changes += [
            SLUG_BEFORE(slug=escape_name(form.initial["slug"]))
            for form in changed
            if "slug" in form.changed_data
        ]
    code = CLIENT_ADDED_EVENT if added else CLIENT_SAVED_EVENT
    sentence = CLIENT_ADDED if added else CLIENT_SAVED
    AuditEvent.objects.record(
        code, sentence(changes=tuple(changes)), client_id=client.pk, slug=client.slug
    )


def _describe_row(form: ClientForm | CredentialForm) -> Message:
    fields = ", ".join(form.changed_data)
    row = form.instance
    if isinstance(row, Client):
        return FIELDS_OF_CLIENT(fields=fields)
    # Only the form of a row that is to be added may be left empty.
    sentence = LOGIN_ADDED if form.empty_permitted else LOGIN_CHANGED
    return sentence(row=row.make_row_name_message(), fields=fields)
