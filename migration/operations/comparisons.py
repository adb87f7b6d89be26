"""Compare: reads both stores of a batch of clients and stores what differs, as fingerprints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from migration import sentences
from migration.models import Comparison, Run
from migration.operations.keys import fingerprint_key
from migration.operations.stores import (
    Rows,
    known_secrets,
    read_rows,
    secret_layout,
    secrets_manager,
)
from nova_credentials import document as documents
from nova_credentials.aws.client_secrets import join_answers
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError, SecretValue
from nova_credentials.comparison import Mismatch, compare_documents, unreadable_mismatch
from nova_credentials.document import Document, DocumentError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from nova_credentials.aws.answers import Answers
    from nova_credentials.aws.client_secrets import ClientSecrets
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

# A write that is on its way from one store to the other is no mismatch: what differs is looked at once more.
RECHECK_AFTER_SECONDS = 0.5

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
    found = read_secrets(candidates, sm=sm)
    return {
        rows.client_id: comparison_of(rows, found, run=run)
        for rows in candidates
        if _worth_it(rows, found)
    }


def read_secrets(batch: Collection[Rows], *, sm: SecretsManager) -> Answers:
    """Read the clients' secrets, and tell which are scheduled for deletion."""
    names = [name for rows in batch if not rows.problem for name in rows.names.values()]
    found = sm.batch_get(names)
    return sm.mark_deletions(found, lacking=_names_to_describe(batch, found))


def _names_to_describe(batch: Collection[Rows], found: Answers) -> set[str]:
    """Return the names without a value where there should be one: past `postgres`, or where a push wrote it."""
    missing = {
        rows.names[part]: rows
        for rows in batch
        for part in _wanted(rows)
        if not isinstance(found.get(rows.names[part]), SecretValue)
    }
    in_postgres = {name for name, rows in missing.items() if rows.phase == Phase.POSTGRES}
    pushed = known_secrets(in_postgres) if in_postgres else {}
    return (missing.keys() - in_postgres) | pushed.keys()


def _worth_it(rows: Rows, found: Answers) -> bool:
    """Not yet migrated, and with nothing to migrate: no comparison at all rather than an empty match."""
    if rows.phase != Phase.POSTGRES or (rows.active and rows.has_credentials):
        return True
    return any(isinstance(found.get(name), SecretValue) for name in rows.names.values())


def comparison_of(rows: Rows, found: Answers, *, run: Run | None) -> Comparison:
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


Judgement = tuple[Status, str, "Message | None", list[Mismatch]]


def _judge(rows: Rows, found: Answers) -> Judgement:
    """Status, error class, message and mismatches."""
    if rows.document is None:
        return Status.UNCHECKED, ErrorClass.DATA, rows.problem, []
    try:
        secrets = join_answers(_looked_at(rows, found), found, layout=secret_layout())
        actual = secrets.to_document()
    except SecretsManagerError as error:
        return _unread(rows, error)
    except DocumentError:
        return _unreadable(rows, secrets)
    return _judge_document(rows, rows.document, actual)


def _looked_at(rows: Rows, found: Answers) -> dict[str, str]:
    """The client's secret names by part, less those scheduled for deletion of which its rows need none."""
    wanted = _wanted(rows)

    def is_left_out(part: str, answer: SecretValue | SecretsManagerError) -> bool:
        gone = isinstance(answer, SecretsManagerError) and answer.scheduled_for_deletion
        return gone and part not in wanted

    return {part: name for part, name in rows.names.items() if not is_left_out(part, found[name])}


def _wanted(rows: Rows) -> Collection[str]:
    """The parts that the client's rows need in AWS."""
    if rows.document is None:
        return ()
    return documents.parts_to_store(rows.document, layout=secret_layout())


def _unread(rows: Rows, error: SecretsManagerError) -> Judgement:
    if error.scheduled_for_deletion:
        message = sentences.SCHEDULED_FOR_DELETION(name=error.name)
    elif error.not_found:
        message = sentences.MISSING_IN_AWS(names=tuple(rows.names.values()))
    else:
        return Status.UNCHECKED, error.error_class, error.message, []
    return Status.MISSING_IN_AWS, "", message, []


def _unreadable(rows: Rows, secrets: ClientSecrets) -> Judgement:
    """Name the secret that holds no document."""
    value = next(value for value in secrets.values.values() if not value.is_document)
    mismatch = unreadable_mismatch(value.text or "", key=fingerprint_key(rows.client_id))
    return Status.MISMATCH, "", sentences.NO_DOCUMENT(name=value.name), [mismatch]


def _judge_document(rows: Rows, expected: Document, actual: Document) -> Judgement:
    mismatches = compare_documents(expected, actual, key=fingerprint_key(rows.client_id))
    if not mismatches:
        return Status.MATCH, "", None, []
    if not rows.has_credentials:
        missing = sentences.MISSING_IN_POSTGRES()
        return Status.MISSING_IN_POSTGRES, "", missing, mismatches
    return Status.MISMATCH, "", None, mismatches
