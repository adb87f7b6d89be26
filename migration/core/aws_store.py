"""Gives the client of AWS Secrets Manager that counts its calls and keeps within the rates, and reads with it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypedDict

from django.conf import settings

from migration.core.aws_writes import READS
from migration.core.counters import ProcessCounter, get_counter
from migration.core.keys import VersionIdKeys, load_version_keys
from migration.core.rate_limiter import PriorityLimiter, rate_limiter
from migration.core.rates import KeptCounts
from migration.core.secrets import KnownSecret, PlannedVersion, Secret, find_layout
from migration.core.shared_facts import UNKNOWN, seen_account
from migration.core.snapshots import ClientSnapshot
from nova_credentials import document as documents
from nova_credentials.aws.attempts import OK, Attempt, observe_attempts
from nova_credentials.aws.client_secrets import ClientSecrets, read_client
from nova_credentials.aws.secrets_manager import SecretsManager, SecretValue
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document
from nova_credentials.messages import Message, Sentence

logger = logging.getLogger(__name__)
# True while permissions are tried, by calls that AWS is meant to refuse.
_is_trial = ContextVar("_is_trial", default=False)


@contextmanager
def trying_permissions() -> Iterator[None]:
    """Log the calls of the block at DEBUG alone, as none of them is a failure or a write: who tries says what came."""
    token = _is_trial.set(True)
    try:
        yield
    finally:
        _is_trial.reset(token)


def note_attempt(attempt: Attempt) -> None:
    """Count the attempt and log it: reads that went well at DEBUG, as there are so many."""
    calls = call_counter()
    calls.count({f"{attempt.operation} {attempt.outcome}": 1})
    if calls.is_due:
        calls.store()
    if attempt.outcome != OK:
        told = "AWS: %s failed (%s: %s), request %s"
        facts = (attempt.operation, attempt.outcome, attempt.code, attempt.request_id or "unknown")
        logger.log(logging.DEBUG if _is_trial.get() else logging.INFO, told, *facts)
        return
    is_quiet = attempt.operation in READS or _is_trial.get()
    level = logging.DEBUG if is_quiet else logging.INFO
    logger.log(level, "AWS: %s, request %s", attempt.operation, attempt.request_id or "unknown")


def store_calls(**_: object) -> None:
    """Store the AWS calls that were counted: at the end of a request, a task and a process."""
    call_counter().store()


def call_counter() -> ProcessCounter:
    """Return this process' counter of calls to AWS, by "<operation> <outcome>"."""
    return get_counter(KeptCounts.AWS_CALLS)


atexit.register(store_calls)


# What tells the versions that this database knows of from those that the site wrote after the backup it was restored
# from. The statements run on the limiter's own connection, so threads that write to AWS may call these too.


def record_planned_versions(version_ids: Collection[str]) -> None:
    """Note the ids of versions before they are written, so that a write whose answer is lost is known afterwards."""
    if version_ids:
        rate_limiter().run_statement(lambda own: PlannedVersion.objects.record(own, version_ids))


def find_own_unplanned_versions(
    values: Iterable[SecretValue], *, known: Mapping[str, KnownSecret], keys: VersionIdKeys
) -> set[str]:
    """Return the ids of the versions that this site wrote and that this database never planned to write.

    There are none, unless the tables were restored from a backup. A version from before the database noted its first
    plan can't be told and counts as known. `known` are the secrets by name.
    """
    in_doubt = {
        value.version_id: value
        for value in values
        if (row := known.get(value.name)) is None or row.version_id != value.version_id
        if keys.is_ours(value.name, value.version_id)
    }
    if not in_doubt:
        return set()
    planned, since = rate_limiter().run_statement(
        lambda own: PlannedVersion.objects.find_known(own, in_doubt)
    )
    return {
        version_id
        for version_id, value in in_doubt.items()
        if version_id not in planned
        and since is not None
        and (value.created_at is None or value.created_at > since)
    }


class _Limits(TypedDict, total=False):
    """Time-outs in seconds, and attempts of one call."""

    connect_timeout: float
    read_timeout: float
    max_attempts: int


# A user waits for the page and can try again; the schedule comes back to it too.
GIVE_UP_EARLY: _Limits = {"connect_timeout": 1, "read_timeout": 2, "max_attempts": 2}
# A connection beyond these is closed after its call. The batches of a run make nearly so many calls at once.
CONNECTIONS_KEPT = 100
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
        pool=CONNECTIONS_KEPT,
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


def list_versions_since_backup(found: AwsCopy) -> set[str]:
    """Return the ids of the versions that this site wrote after the backup from which the tables were restored."""
    known = Secret.objects.find(found.version_ids)
    return find_own_unplanned_versions(found.source_values, known=known, keys=load_version_keys())


AWS_IDENTITY = Sentence("aws_identity", "account %(account)s, key %(key)s")


def describe_aws_account_and_key() -> Message:
    """Return the newest secret's AWS account and the last characters of the access key in use, as far as known."""
    newest = Secret.objects.order_by("-seen_at").values_list("arn", flat=True).first() or ""
    account = f"{newest}::::".split(":")[4]  # arn:aws:secretsmanager:region:account:…
    key = secrets_manager(interactive=True).find_access_key_hint()
    return AWS_IDENTITY(account=account or UNKNOWN(), key=f"…{key}" if key else UNKNOWN())
