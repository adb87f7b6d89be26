"""Writes clients' documents to their secrets: asks whose a secret is, creates, updates, takes back from deletion.

Reading back what was written, and storing it, is for `pushes`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from django.conf import settings

from migration.core.aws_store import (
    find_own_unplanned_versions,
    record_planned_versions,
)
from migration.core.aws_writes import WritesRefusedError, get_aws_write_state
from migration.core.keys import VersionIdKeys, load_version_keys
from migration.core.secrets import KnownSecret, Secret
from migration.core.sentences import (
    CLIENT_LEFT_ALONE,
    FOREIGN_VERSION,
    LEFT_TO_AWS,
    NOT_OURS,
    WRITTEN_SINCE_BACKUP,
)
from migration.core.shared_facts import ACCOUNT, explain_differences, seen_account
from migration.core.snapshots import ClientSnapshot
from migration.runs.acts import digest_facts
from migration.runs.items import Outcome
from nova_credentials import document as documents
from nova_credentials.aws.answers import Answers, SecretDescription
from nova_credentials.aws.requests import list_tags
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
    SecretValue,
    SecretVersion,
)
from nova_credentials.document import Document
from nova_credentials.messages import Message, MessageError, Sentence, in_a_row
from nova_credentials.shown_names import escape_name

# Whose a secret is

# Others wrote the tags, so no more than this is shown of each.
MOST_CHARACTERS = 100

# Behind NOT_OURS: whose it is, as far as that is known.
OWNED_BY_CLIENT = Sentence("owned_by_client", "It is the secret of the client %(slug)s.")
OWNED_BY_DELETED_CLIENT = Sentence(
    "owned_by_deleted_client",
    "It is the secret of a client that NOVA has deleted since (its id was %(id)s).",
)
TAGGED_AS = Sentence("tagged_as", "Its tags say: %(tags)s.", glue=", ")
NOT_TAGGED = Sentence("not_tagged", "No tag says whose it is.")


@dataclass(frozen=True)
class SecretOwners:
    """What this database knows of secrets of some names. Touches no database, so that threads may ask it.

    Whose a secret is tell what was stored of it and the keys that prove versions. Tags prove nothing: a copy of NOVA's
    tables has clients of the same slugs, and so would tag its secrets alike.
    """

    known: Mapping[str, KnownSecret] = field(repr=False)
    keys: VersionIdKeys

    def find_row(self, there: SecretVersion | SecretDescription) -> KnownSecret | None:
        """Return the row of the very secret: one that was made anew under the name has another ARN."""
        row = self.known.get(there.name)
        return row if row is not None and row.arn == there.arn else None

    def is_known(self, there: SecretVersion | SecretDescription, client_id: int) -> bool:
        """Say whether a push of this client has met the secret, or somebody adopted it for the client."""
        row = self.find_row(there)
        return row is not None and row.client_id == client_id

    def is_ours(self, there: SecretVersion | SecretDescription, client_id: int) -> bool:
        """Say whether the secret is this client's here: known as such, or nobody's yet and with a version of ours.

        A description has all versions with a stage, also while a deletion is scheduled.
        """
        if row := self.find_row(there):
            return row.client_id == client_id
        versions = [there.version_id] if isinstance(there, SecretVersion) else there.versions
        return any(self.keys.is_made_by_site(there.name, each) for each in versions)

    def find_refusal(
        self, found: SecretVersion, client_id: int, *, sm: SecretsManager
    ) -> Message | None:
        """Say whose the secret is if it is not the client's; asks AWS where the version that was read doesn't tell."""
        if self.is_ours(found, client_id):
            return None
        there = sm.describe_secret(found.name)
        return None if self.is_ours(there, client_id) else self.explain_refusal(there)

    def is_foreign_version(self, found: SecretVersion) -> bool:
        """Say whether somebody else wrote the version, and no push found it equal to the rows."""
        known = self.known.get(found.name)
        return found.version_id != (known and known.version_id) and not self.keys.is_ours(
            found.name, found.version_id
        )

    def explain_refusal(self, there: SecretDescription) -> Message:
        """Say that the secret is somebody else's, and whose."""
        refusal = NOT_OURS(name=there.name)
        return in_a_row(refusal, self.name_owner(there)) or refusal

    def name_owner(self, there: SecretDescription) -> Message:
        """Say whose the secret is, as far as rows or tags tell."""
        if row := self.find_row(there):
            if row.client_slug is not None:
                return OWNED_BY_CLIENT(slug=escape_name(row.client_slug))
            return OWNED_BY_DELETED_CLIENT(id=str(row.client_id))
        tags = tuple(
            f"{key}={escape_name(there.tags[key][:MOST_CHARACTERS])}"
            for key in list_tags("")
            if key in there.tags
        )
        return TAGGED_AS(tags=tags) if tags else NOT_TAGGED()


def load_owners(names: Collection[str]) -> SecretOwners:
    """Read what this database knows of the secrets of these names."""
    return SecretOwners(Secret.objects.find(names), load_version_keys())


# Documents on their way to AWS

# A client with several secrets has the first of these outcomes that one of its secrets has.
OUTCOMES_BY_WEIGHT = (Outcome.RESTORED, Outcome.CREATED, Outcome.UPDATED)


@dataclass(frozen=True)
class ReplacedVersion:
    """A version in AWS that a push replaced, or would replace, and whether this site wrote it."""

    name: str
    version_id: str
    created_at: datetime | None
    is_ours: bool


@dataclass
class PendingWrite:
    """One client's document on its way to AWS, and what became of it so far."""

    snapshot: ClientSnapshot
    # It is known to differ: what somebody else wrote in AWS is not overwritten.
    is_spared: bool = False
    # Of somebody else's versions only these are overwritten; None: any.
    shown_versions: Collection[str] | None = None
    # What AWS holds, where that is all of its documents, in secrets that a push has met: nothing is to be written.
    held: list[SecretValue] = field(default_factory=list, repr=False)
    documents: dict[str, Document] = field(default_factory=dict, repr=False)  # by secret name
    # By secret name, of those that are written.
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    replaced: list[ReplacedVersion] = field(default_factory=list)
    error: SecretsManagerError | RefusedBySiteError | None = None

    def add_secret(self, version: SecretVersion) -> None:
        """Keep the version that AWS holds now, to be stored as pushed."""
        self.secrets.append(
            Secret(
                name=version.name,
                arn=version.arn,
                version_id=version.version_id,
                client_id=self.snapshot.client_id,
            )
        )

    def list_surely_written_names(self) -> tuple[str, ...]:
        """Return the names of the secrets that AWS surely has taken."""
        return tuple(secret.name for secret in self.secrets if secret.name in self.outcomes)

    def kept_secrets_match(self, answers: Answers) -> bool:
        """Say whether AWS holds the documents of the secrets that are kept beside the client's own."""
        own = self.snapshot.names.values()
        return all(
            isinstance(value := answers[name], SecretValue) and value.holds_document(document)
            for name, document in self.documents.items()
            if name not in own
        )

    @property
    def foreign_replaced_versions(self) -> list[ReplacedVersion]:
        """Return the replaced versions that somebody else wrote."""
        return [version for version in self.replaced if not version.is_ours]

    @property
    def client_outcome(self) -> Outcome:
        """Return the outcome of the client: the weightiest of its secrets."""
        outcomes = self.outcomes.values()
        return next((o for o in OUTCOMES_BY_WEIGHT if o in outcomes), Outcome.UNCHANGED)


# The writer, and what it may not write

# AWS's code where a secret to be created exists already.
EXISTS_ALREADY = "ResourceExistsException"
# The stage under which AWS keeps a document that was replaced.
REPLACED_STAGE = "NOVA_REPLACED"


class RefusedBySiteError(MessageError):
    """A write that AWS would accept and that this site may not make."""

    error_class = ErrorClass.CONFLICT


class ForeignVersionError(RefusedBySiteError):
    """AWS is the authority and holds a version that this site did not write: a mismatch for a user to resolve."""


class WrittenSinceBackupError(ForeignVersionError):
    """AWS has a version of ours from after the backup that the tables were restored from: a user has to look first."""


class MissingInAwsError(RefusedBySiteError):
    """AWS is the authority and lacks a secret of the client: a mismatch for a user, who may take it back there."""


class MismatchNotOverwrittenError(RefusedBySiteError):
    """Both stores are known to differ, and somebody else wrote AWS's version: a user has to look first."""


class PartlyWrittenError(RefusedBySiteError):
    """AWS took some of the client's secrets before it, or this site, refused the next one."""


class BatchTimeOverError(RefusedBySiteError):
    """The time of the batch was over before this client's turn."""

    error_class = ErrorClass.UNAVAILABLE


class DifferingPolicy(StrEnum):
    """What to do with a client that is known to differ, where somebody else wrote the current version in AWS."""

    LEFT_ALONE = "left_alone"
    # PostgreSQL decides up to the cutover, and a newer write to the rows has to reach AWS.
    WRITTEN_IF_PENDING = "written_if_pending"
    WRITTEN = "written"


@dataclass(frozen=True)
class PushOptions:
    """The rules of a push: what it may write, and until when."""

    overwrite: bool
    dry_run: bool = False
    # Of a rehearsal: as if somebody had adopted what is not ours.
    after_adoption: bool = False
    # Also where AWS is the authority: of what copies there what AWS holds, not what the rows do.
    creates_everywhere: bool = False
    differing: DifferingPolicy = DifferingPolicy.WRITTEN_IF_PENDING
    until: float = math.inf  # on the monotonic clock; no client is begun after it


def prepare_writer(
    writes: list[PendingWrite], sm: SecretsManager, options: PushOptions
) -> SecretWriter:
    """Read these clients' secrets from AWS, store the ids of versions to write, return the writer."""
    names = [
        name
        for pending in writes
        for _layout, of_layout in pending.snapshot.names_to_write
        for name in of_layout.values()
    ]
    owners = load_owners(names)
    before = sm.detect_deletions(sm.batch_get(names), lacking=owners.known)
    doubt_account_if_all_is_gone(before, owners)
    # Asked after the read, which tells the account. What another place holds says nothing, even where it is the same.
    differs = explain_differences(get_aws_write_state().facts)
    writer = SecretWriter(sm, before, owners, options, None if options.dry_run else differs)
    for pending in writes:
        writer.set_documents(pending)
    writer.note_planned_versions(writes)
    return writer


def doubt_account_if_all_is_gone(before: Answers, owners: SecretOwners) -> None:
    """Ask for other known secrets where AWS has none of those that it should have: the account may have changed.

    Credentials that a process reads anew can be another account's, in which a push would make every secret again.
    """
    if not all(
        isinstance(answer, SecretsManagerError)
        and answer.not_found
        and not answer.scheduled_for_deletion
        for answer in before.values()
    ):
        return
    of_clients = {row.client_id: name for name, row in owners.known.items()}
    noted = get_aws_write_state().facts.get(ACCOUNT, [""])[0]
    if of_clients and noted and not settings.EMBEDDED_STORES:
        # That AWS doesn't answer says nothing about the account.
        with suppress(SecretsManagerError):
            seen_account.doubt(noted, missing=of_clients.values())


NOT_CREATED = Sentence(
    "not_created",
    "AWS no longer has the secret %(name)s, and a push can't create it in this phase. Restore it in AWS, or roll "
    "the client back to dual read.",
)
POSTPONED = Sentence("postponed", "It waited too long for the rate limit. The run retries it.")


@dataclass(frozen=True)
class SecretWriter:
    """Writes clients' secrets where they differ. Its methods may run in threads and touch no database."""

    sm: SecretsManager
    before: Answers
    owners: SecretOwners
    options: PushOptions
    # In what this host differs from the others: then no client is written, nor taken for one that AWS holds.
    differs: Message | None = None
    # The versions that this site wrote after the backup from which the tables were restored.
    newer: set[str] = field(default_factory=set)

    def set_documents(self, pending: PendingWrite) -> None:
        """Give the client its document for each secret, and find out whether AWS holds them all.

        For those that are kept beside its own, too: a reader may not know yet which are its own.
        """
        snapshot, before = pending.snapshot, self.before
        for layout, names in snapshot.names_to_write:
            # A secret whose credentials were all deleted is written too, without them.
            there = [part for part, name in names.items() if isinstance(before[name], SecretValue)]
            parts = documents.parts_to_store(snapshot.require_document(), layout=layout, keep=there)
            pending.documents |= {names[part]: document for part, document in parts.items()}
        found = [
            value for name in pending.documents if isinstance(value := before[name], SecretValue)
        ]
        held = [
            v
            for v in found
            if self.owners.is_known(v, snapshot.client_id)
            and not self._is_adopted(pending, v.name)
            and v.holds_document(pending.documents[v.name])
        ]
        holds_all = len(held) == len(pending.documents) and not self.differs
        pending.held = held if holds_all else []

    def note_planned_versions(self, writes: list[PendingWrite]) -> None:
        """Find the versions that a database restored from a backup doesn't know, and note those about to be written."""
        self._note_newer(*(v for v in self.before.values() if isinstance(v, SecretValue)))
        if not self.options.dry_run:
            record_planned_versions(
                [
                    token
                    for pending in writes
                    if not pending.held
                    for name, document in pending.documents.items()
                    if (token := self._make_token(name, document, self.before[name]))
                ]
            )

    def _note_newer(self, *values: SecretValue) -> None:
        known, keys = self.owners.known, self.owners.keys
        self.newer.update(find_own_unplanned_versions(values, known=known, keys=keys))

    def _make_token(
        self, name: str, document: Document, found: SecretValue | SecretsManagerError
    ) -> str:
        """Return the id of the version that would be written over what was found; nothing where none would be."""
        if isinstance(found, SecretValue):
            if found.holds_document(document):
                return ""
            replaced = found.version_id
        elif found.not_found:
            replaced = ""
        else:
            return ""
        text = documents.encode_document(document)
        return self.owners.keys.new_id(name, replaced=replaced, text=text)

    def write_client(self, pending: PendingWrite) -> None:
        """Write the client's secrets that differ, up to the first error, which is stored in `pending`."""
        if pending.held:
            for found in pending.held:
                # Nearly always the very version is stored as pushed already.
                if self.owners.known[found.name].version_id != found.version_id:
                    pending.add_secret(found)
            return
        if time.monotonic() > self.options.until:
            pending.error = BatchTimeOverError(POSTPONED())
            return
        try:
            # All are looked at before the first is written: a client is left alone as a whole.
            for name in pending.documents:
                self._require_writable(pending, name)
            for name in pending.documents:
                self._write_secret(pending, name)
        except (SecretsManagerError, RefusedBySiteError) as error:
            pending.error = error

    def _require_writable(self, pending: PendingWrite, name: str) -> None:
        """Raise where the secret is not the client's here, or may not be made, or not be written over."""
        if self.differs:
            raise WritesRefusedError.because(self.differs)
        found = self.before[name]
        if isinstance(found, SecretValue):
            self._require_ours(pending, found)
            self._require_replaceable(pending, found)
        elif found.scheduled_for_deletion:
            self._require_proof(pending, self.sm.describe_secret(name))
        elif found.not_found:
            self._require_creatable(pending, name)

    def _require_creatable(self, pending: PendingWrite, name: str) -> None:
        """Raise `MissingInAwsError` where AWS is the authority and should have the secret.

        A part that the client never had is made beside the others of its document.
        """
        snapshot = pending.snapshot
        if not snapshot.phase.aws_is_authority or self.options.creates_everywhere:
            return
        row = self.owners.known.get(name)
        was_there = row is not None and row.client_id == snapshot.client_id
        others = (self.before[each] for each in snapshot.names.values())
        if was_there or not any(isinstance(other, SecretValue) for other in others):
            raise MissingInAwsError(NOT_CREATED(name=name))

    def _write_secret(self, pending: PendingWrite, name: str) -> None:
        found = self.before[name]
        if isinstance(found, SecretsManagerError):
            there = self._create_or_restore(pending, name, found)
            if there is None:
                return
            found = there
            self._require_replaceable(pending, found)
        self._tag_if_adopted(pending, name)
        if found.holds_document(pending.documents[name]):
            pending.add_secret(found)
            return
        pending.outcomes.setdefault(name, Outcome.UPDATED)
        is_ours = not self.owners.is_foreign_version(found)
        replaced = ReplacedVersion(name, found.version_id, found.created_at, is_ours)
        if self.options.dry_run:
            pending.replaced.append(replaced)
        else:
            if found.version_id in self.newer and found.text is not None:
                self.sm.put_aside(name, found.text, stage=REPLACED_STAGE)
            text = documents.encode_document(pending.documents[name])
            token = self.owners.keys.new_id(name, replaced=found.version_id, text=text)
            version_id = self.sm.put_value(name, text, token=token)
            pending.replaced.append(replaced)
            pending.add_secret(SecretVersion(name, found.arn, version_id))

    def _require_replaceable(self, pending: PendingWrite, found: SecretValue) -> None:
        """Raise `RefusedBySiteError` where a version is found that may not be written over."""
        name, by_authority = found.name, pending.snapshot.phase.aws_is_authority
        if found.holds_document(pending.documents[name]):
            return
        if self.owners.is_foreign_version(found) and not self._is_adopted(pending, name):
            is_shown = (
                pending.shown_versions is None
                or digest_facts([name, found.version_id]) in pending.shown_versions
            )
            if pending.is_spared or not is_shown:
                sentence = LEFT_TO_AWS if by_authority else CLIENT_LEFT_ALONE
                raise MismatchNotOverwrittenError(sentence(name=name, version=found.version_id))
            if by_authority and not self.options.overwrite:
                raise ForeignVersionError(FOREIGN_VERSION(name=name))
        if found.version_id in self.newer and not self.options.overwrite:
            raise WrittenSinceBackupError(WRITTEN_SINCE_BACKUP(name=name))

    def _is_adopted(self, pending: PendingWrite, name: str) -> bool:
        """Say whether somebody adopted the secret, having seen what it held, and no push has written it since."""
        row = self.owners.known.get(name)
        if row is None or row.client_id != pending.snapshot.client_id:
            return self.options.after_adoption
        return not row.version_id

    def _tag_if_adopted(self, pending: PendingWrite, name: str) -> None:
        """Tag an adopted secret before the first write to it: AWS may refuse others' (`iam_policy`)."""
        if self._is_adopted(pending, name) and not self.options.dry_run:
            self.sm.tag_secret(name, slug=pending.snapshot.secret_slug)

    def _require_ours(self, pending: PendingWrite, found: SecretValue) -> None:
        """Raise `RefusedBySiteError` where the secret is somebody else's."""
        client_id = pending.snapshot.client_id
        if self.options.after_adoption:
            return
        if refusal := self.owners.find_refusal(found, client_id, sm=self.sm):
            raise RefusedBySiteError(refusal)

    def _require_proof(self, pending: PendingWrite, there: SecretDescription) -> None:
        is_ours = self.owners.is_ours(there, pending.snapshot.client_id)
        if not is_ours and not self.options.after_adoption:
            raise RefusedBySiteError(self.owners.explain_refusal(there))

    def _create_or_restore(
        self, pending: PendingWrite, name: str, error: SecretsManagerError
    ) -> SecretValue | None:
        """Create a secret that AWS doesn't have; return the value of one that is taken back from its deletion."""
        if error.scheduled_for_deletion:
            return self._restore_secret(pending, name)
        if not error.not_found:
            raise error
        pending.outcomes[name] = Outcome.CREATED
        if self.options.dry_run:
            return None
        text = documents.encode_document(pending.documents[name])
        token = self.owners.keys.new_id(name, replaced="", text=text)
        try:
            made = self.sm.create_secret(
                name,
                text,
                token=token,
                slug=pending.snapshot.secret_slug,
                kms_key=settings.NOVA_KMS_KEY_ID,
                replicas=settings.NOVA_REPLICA_REGIONS,
            )
        except SecretsManagerError as refusal:
            if refusal.code != EXISTS_ALREADY:
                raise
            there = self.sm.describe_secret(name)
            self._require_proof(pending, there)
            if there.deleted_at:
                return self._restore_secret(pending, name)
            # It has no value yet, as the console and Terraform leave it, so that no read found it.
            self._tag_if_adopted(pending, name)
            pending.outcomes[name] = Outcome.UPDATED
            made = SecretVersion(name, there.arn, self.sm.put_value(name, text, token=token))
        pending.add_secret(made)
        return None

    def _restore_secret(self, pending: PendingWrite, name: str) -> SecretValue | None:
        """Take our secret back from its scheduled deletion and return its value; None in a rehearsal."""
        pending.outcomes[name] = Outcome.RESTORED
        if self.options.dry_run:
            return None
        self.sm.restore_secret(name)
        found = self.sm.get_value(name)
        self._note_newer(found)
        if token := self._make_token(name, pending.documents[name], found):
            record_planned_versions([token])
        return found
