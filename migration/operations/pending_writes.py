"""Owns clients' documents on their way to AWS, and what became of each so far. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration.models.run_items import Outcome
from migration.models.secrets import Secret
from nova_credentials.aws.secrets_manager import SecretValue

if TYPE_CHECKING:
    from datetime import datetime

    from migration.operations.secret_writer import RefusedBySiteError
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.answers import Answers
    from nova_credentials.aws.secrets_manager import SecretsManagerError, SecretVersion
    from nova_credentials.document import Document

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

    @property
    def written_names(self) -> list[str]:
        """Return the names of the secrets that were written."""
        return list(self.outcomes)

    def list_surely_written_names(self) -> tuple[str, ...]:
        """Return the names of the secrets that AWS surely has taken."""
        written = self.written_names
        return tuple(secret.name for secret in self.secrets if secret.name in written)

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
