"""Compare: reads both stores of a batch of clients and stores what differs, as fingerprints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from migration.models import Comparison, Run
from migration.operations.keys import fingerprint_key
from migration.operations.stores import Rows, read_rows, secret_layout, secrets_manager
from nova_credentials import document as documents
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError, SecretValue
from nova_credentials.comparison import Mismatch, unreadable
from nova_credentials.comparison import compare as compare_documents
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import say
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nova_credentials.aws.secrets_manager import SecretsManager

    Found = Mapping[str, SecretValue | SecretsManagerError]

# A write that is on its way from one store to the other is no mismatch: what differs is looked at once more.
RECHECK_AFTER_SECONDS = 0.5

# AWS's code for reading such a secret.
SCHEDULED_FOR_DELETION = "InvalidRequestException"

# For a comparison of which only the outcome counts.
NO_CODES_KEPT = b"any"

Status = Comparison.Status


def compare(
    *, client_ids: Collection[int], run: Run | None = None, someone_waits: bool = False
) -> dict[int, Comparison]:
    """Compares both stores and stores the result of each client; one that has nothing in either store is left out."""
    sm = secrets_manager(someone_waits=someone_waits)
    results = _compare_once(client_ids, run, sm)
    in_doubt = [pk for pk, result in results.items() if result.status in Comparison.DIFFERS]
    if in_doubt:
        time.sleep(RECHECK_AFTER_SECONDS)
        again = _compare_once(in_doubt, run, sm)
        results = {pk: again.get(pk, result) for pk, result in results.items()}
    Comparison.objects.record(results.values())
    return results


def _compare_once(
    client_ids: Collection[int], run: Run | None, sm: SecretsManager
) -> dict[int, Comparison]:
    read = read_rows(client_ids)
    # The tables of a purged client hold pointers: there is nothing to compare.
    candidates = [rows for rows in read.values() if rows.phase != Phase.PURGED]
    legal = [name for rows in candidates if not rows.problem for name in rows.names.values()]
    found = sm.batch_get(legal)
    return {
        rows.client_id: comparison_of(rows, found, run=run)
        for rows in candidates
        if _worth_it(rows, found)
    }


def _worth_it(rows: Rows, found: Found) -> bool:
    """Not yet migrated, and with nothing to migrate: no comparison at all rather than an empty match."""
    if rows.phase != Phase.POSTGRES or (rows.active and rows.has_credentials):
        return True
    return any(isinstance(found.get(name), SecretValue) for name in rows.names.values())


def comparison_of(rows: Rows, found: Found, *, run: Run | None) -> Comparison:
    """The comparison, not yet stored, of one client's rows with what was found under its secret names."""
    status, error_class, message, mismatches = _judge(rows, found)
    return Comparison(
        client_id=rows.client_id,
        slug=rows.slug,
        run=run,
        revision=rows.revision,
        status=status,
        error_class=error_class,
        message=message,
        mismatches=[mismatch.to_json() for mismatch in mismatches],
    )


Judgement = tuple[Status, str, str, list[Mismatch]]


def _judge(rows: Rows, found: Found) -> Judgement:
    """Status, error class, message and mismatches."""
    if rows.document is None:
        return Status.UNCHECKED, ErrorClass.DATA, rows.problem, []
    parts: dict[str, Document] = {}
    wanted = documents.split(rows.document, layout=secret_layout())
    for part, name in rows.names.items():
        value = found[name]
        if isinstance(value, SecretValue):
            try:
                parts[part] = value.document()
            except DocumentError:
                mismatch = unreadable(value.text or "", key=fingerprint_key(rows.client_id))
                return (
                    Status.MISMATCH,
                    "",
                    say("%(name)s holds no document.", name=name),
                    [mismatch],
                )
        elif not value.not_found and not (
            part not in wanted and value.code == SCHEDULED_FOR_DELETION
        ):
            return _unread(value)
    if parts:
        return _judge_parts(rows, rows.document, parts)
    if wanted:
        names = " or ".join(rows.names.values())
        return Status.MISSING_IN_AWS, "", say("AWS has no value under %(names)s.", names=names), []
    # With a secret a service: no credentials, and none of the secrets.
    return Status.MATCH, "", "", []


def same(expected: Document | None, actual: Document) -> bool:
    """Whether the tables' document, where they make one, is AWS's, types included."""
    return expected is not None and not compare_documents(expected, actual, key=NO_CODES_KEPT)


def _unread(error: SecretsManagerError) -> Judgement:
    if error.code == SCHEDULED_FOR_DELETION:
        return (
            Status.MISSING_IN_AWS,
            "",
            say("%(name)s is scheduled for deletion.", name=error.name),
            [],
        )
    return Status.UNCHECKED, error.error_class, str(error), []


def _judge_parts(rows: Rows, expected: Document, parts: Mapping[str, Document]) -> Judgement:
    actual = documents.join(parts, layout=secret_layout())
    mismatches = compare_documents(expected, actual, key=fingerprint_key(rows.client_id))
    if not mismatches:
        return Status.MATCH, "", "", []
    if not rows.has_credentials:
        message = say("The tables hold no credential of this client.")
        return Status.MISSING_IN_POSTGRES, "", message, mismatches
    return Status.MISMATCH, "", "", mismatches
