"""Makes this process' client of Secrets Manager, and reads one client's secrets with it. Writes nothing."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict

from django.conf import settings

from migration import sentences
from migration.models.layouts import find_layout
from migration.models.secrets import KnownSecret, Secret
from migration.operations.aws_calls import note_attempt
from migration.operations.keys import load_version_keys
from migration.operations.rate_limiter import PriorityLimiter, rate_limiter
from migration.operations.shared_facts import seen_account
from migration.operations.version_plans import find_own_unplanned_versions
from nova_credentials import document as documents
from nova_credentials.aws.attempts import observe_attempts
from nova_credentials.aws.client_secrets import read_client
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Collection

    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.aws.client_secrets import ClientSecrets
    from nova_credentials.aws.secrets_manager import SecretValue
    from nova_credentials.document import Document
    from nova_credentials.messages import Message


class _Limits(TypedDict, total=False):
    """Time-outs in seconds, and attempts of one call."""

    connect_timeout: float
    read_timeout: float
    max_attempts: int


# A user waits for the page and can try again; the schedule comes back to it too.
GIVE_UP_EARLY: _Limits = {"connect_timeout": 1, "read_timeout": 2, "max_attempts": 2}
# By it CloudTrail tells the site's calls from those of NOVA's reader (nova-reader).
CALLER = "nova-admin"
# Without it, threads that start together would each make one, with its own connection to PostgreSQL.
_making = threading.Lock()


def secrets_manager(*, interactive: bool = False) -> SecretsManager:
    """Return this process' client of Secrets Manager; an `interactive` one gives up early, as a page waits for it."""
    with _making:
        return _make_manager(
            os.getpid(),  # a forked child may not share its parent's connections
            interactive,
            settings.AWS_REGION,
            settings.AWS_ENDPOINT_URL,
        )


@lru_cache(maxsize=4)
def _make_manager(_pid: int, interactive: bool, region: str, endpoint: str) -> SecretsManager:
    made = SecretsManager(
        region,
        endpoint_url=endpoint or None,
        pacer=PriorityLimiter(rate_limiter()) if interactive else rate_limiter(),
        caller=CALLER,
        **(GIVE_UP_EARLY if interactive else _Limits()),
    )
    observe_attempts(made.sm, note_attempt)
    made.sm.meta.events.register("after-call.secrets-manager", seen_account.note_answer)
    return made


def secret_names(secret_slug: str, layout: str | None = None) -> dict[str, str]:
    """Return part -> name of secrets of this slug, given a client's stored layout; None: as the settings say.

    A client's secrets are named by its `secret_slug`, which is not always its slug.
    """
    prefix = settings.NOVA_SECRET_PREFIX
    return documents.secret_names(secret_slug, prefix=prefix, layout=find_layout(layout))


def client_secret_names(client: Any) -> dict[str, str]:
    """Return part -> name of the secrets of a client that was read by `with_layout`."""
    return secret_names(client.secret_slug, client.layout)


@dataclass(frozen=True)
class AwsCopy:
    """The document that AWS holds of one client, and the versions it was read from."""

    document: Document = field(repr=False)
    source_values: tuple[SecretValue, ...] = field(repr=False)

    @property
    def version_ids(self) -> dict[str, str]:
        """Return secret name -> id of its current version."""
        return {value.name: value.version_id for value in self.source_values}

    def make_secret_rows(self, client_id: int) -> list[Secret]:
        """Make the rows, not yet stored, that remember these versions as pushed."""
        return [
            Secret(name=value.name, arn=value.arn, version_id=value.version_id, client_id=client_id)
            for value in self.source_values
        ]


def read_aws(snapshot: ClientSnapshot, *, sm: SecretsManager) -> AwsCopy:
    """Read the client's document in AWS; raises `SecretsManagerError` or `DocumentError` as NOVA's reader would."""
    return make_aws_copy(snapshot, read_client(sm, snapshot.names, layout=snapshot.layout))


def make_aws_copy(snapshot: ClientSnapshot, secrets: ClientSecrets) -> AwsCopy:
    """Return the document in these secrets of the client; raises `DocumentError` as NOVA's reader would."""
    document = secrets.to_document()
    documents.parse_document(document, client_id=snapshot.client_id, client_slug=snapshot.slug)
    return AwsCopy(document, tuple(secrets.values.values()))


def secret_names_by_type(snapshot: ClientSnapshot) -> dict[CredentialType, str]:
    """Return the name of the secret that holds each type of credential."""
    return {t: snapshot.names.get(t) or snapshot.names["client"] for t in CredentialType}


def find_known_secrets(names: Collection[str]) -> dict[str, KnownSecret]:
    """Return name -> secret of those that a push has written or found equal."""
    return Secret.objects.find(names)


def list_versions_since_backup(found: AwsCopy) -> set[str]:
    """Return the ids of the versions that this site wrote after the backup from which the tables were restored."""
    known = find_known_secrets(found.version_ids)
    return find_own_unplanned_versions(found.source_values, known=known, keys=load_version_keys())


def describe_aws_account_and_key() -> Message:
    """Return the newest secret's AWS account and the last characters of the access key in use, as far as known."""
    newest = Secret.objects.order_by("-seen_at").values_list("arn", flat=True).first() or ""
    account = f"{newest}::::".split(":")[4]  # arn:aws:secretsmanager:region:account:…
    key = secrets_manager(interactive=True).find_access_key_hint()
    return sentences.AWS_IDENTITY(
        account=account or sentences.UNKNOWN(), key=f"…{key}" if key else sentences.UNKNOWN()
    )
