"""Says whose a secret in AWS is: by what this database stored of it, and by the keys that prove versions.

Tags prove nothing: a copy of NOVA's tables has clients of the same slugs, and so would tag its secrets alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from credentials.shown_names import escape_name
from migration import sentences
from migration.operations.aws_store import find_known_secrets
from migration.operations.keys import VersionIdKeys, load_version_keys
from nova_credentials.aws.requests import list_tags
from nova_credentials.aws.secrets_manager import SecretVersion
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from migration.models.secrets import KnownSecret
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

# Others wrote the tags, so no more than this is shown of each.
MOST_CHARACTERS = 100


@dataclass(frozen=True)
class SecretOwners:
    """What this database knows of secrets of some names. Touches no database, so that threads may ask it."""

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
        refusal = sentences.NOT_OURS(name=there.name)
        return in_a_row(refusal, self.name_owner(there)) or refusal

    def name_owner(self, there: SecretDescription) -> Message:
        """Say whose the secret is, as far as rows or tags tell."""
        if row := self.find_row(there):
            if row.client_slug is not None:
                return sentences.OWNED_BY_CLIENT(slug=escape_name(row.client_slug))
            return sentences.OWNED_BY_DELETED_CLIENT(id=str(row.client_id))
        tags = tuple(
            f"{key}={escape_name(there.tags[key][:MOST_CHARACTERS])}"
            for key in list_tags("")
            if key in there.tags
        )
        return sentences.TAGGED_AS(tags=tags) if tags else sentences.NOT_TAGGED()


def load_owners(names: Collection[str]) -> SecretOwners:
    """Read what this database knows of the secrets of these names."""
    return SecretOwners(find_known_secrets(names), load_version_keys())
