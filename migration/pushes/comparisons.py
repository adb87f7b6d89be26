"""Compares both stores for a batch of clients and stores what differs, as fingerprints."""

from __future__ import annotations

import time
from collections.abc import Collection

from migration.core.aws_store import secrets_manager
from migration.core.aws_writes import get_aws_write_state
from migration.core.comparisons import Comparison, OpenMismatch
from migration.core.keys import fingerprint_key
from migration.core.secrets import Secret
from migration.core.shared_facts import explain_differences
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.runs.models import Run
from nova_credentials import document as documents
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.client_secrets import join_answers
from nova_credentials.aws.secrets_manager import (
    ErrorClass,
    SecretsManager,
    SecretsManagerError,
    SecretValue,
)
from nova_credentials.comparison import Mismatch, compare_documents, unreadable_mismatch
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# Status, error class, message and mismatches.
Judgement = tuple[Comparison.Status, str, Message | None, list[Mismatch]]
_MATCH: Judgement = Comparison.Status.MATCH, "", None, []

# A write on its way from one store to the other is no mismatch: clients that differ are compared again after this.
RECHECK_AFTER_SECONDS = 0.5


def compare(
    *, client_ids: Collection[int], run: Run | None = None, interactive: bool = False
) -> dict[int, Comparison]:
    """Compare both stores and store each client's result; a client that has nothing to compare is left out.

    So is one that was never pushed: that AWS lacks it is no mismatch.
    A host that differs from what all share may have read other secrets: its results say so, and none is stored.
    """
    sm = secrets_manager(interactive=interactive)
    results = _compare_once(client_ids, run, sm)
    if differs := explain_differences(get_aws_write_state().facts):
        for each in results.values():
            each.status, each.mismatches = Comparison.Status.UNCHECKED, []
            each.error_class, each.message = ErrorClass.PERMISSION, differs
        return results
    in_doubt = [pk for pk, result in results.items() if result.status in Comparison.DIFFERS]
    if in_doubt:
        time.sleep(RECHECK_AFTER_SECONDS)
        again = _compare_once(in_doubt, run, sm)
        results = {pk: again.get(pk, result) for pk, result in results.items()}
    Comparison.objects.record(results.values())
    if left_out := set(client_ids) - results.keys():
        OpenMismatch.objects.close_of_never_pushed(left_out)
    return results


def _compare_once(
    client_ids: Collection[int], run: Run | None, sm: SecretsManager
) -> dict[int, Comparison]:
    read = read_snapshots(client_ids)
    # The tables of a purged client hold pointers: there is nothing to compare.
    candidates = [snapshot for snapshot in read.values() if snapshot.phase != Phase.PURGED]
    found = read_secrets(candidates, sm=sm)
    never_pushed = _find_never_pushed(candidates, found)
    return {
        snapshot.client_id: make_unsaved_comparison(snapshot, found, run=run)
        for snapshot in candidates
        if snapshot.client_id not in never_pushed and _is_worth_comparing(snapshot, found)
    }


def _find_never_pushed(batch: Collection[ClientSnapshot], found: Answers) -> set[int]:
    """Return the clients in `postgres` that have no secret in AWS, and never had one: nothing is missing there."""
    absent = {
        snapshot.client_id: set(snapshot.names.values())
        for snapshot in batch
        if snapshot.phase == Phase.POSTGRES
        and all(_is_not_found(found.get(name)) for name in snapshot.names.values())
    }
    pushed = Secret.objects.find(set().union(*absent.values())) if absent else {}
    return {pk for pk, names in absent.items() if names.isdisjoint(pushed)}


def _is_not_found(answer: SecretValue | SecretsManagerError | None) -> bool:
    return isinstance(answer, SecretsManagerError) and answer.not_found


def read_secrets(batch: Collection[ClientSnapshot], *, sm: SecretsManager) -> Answers:
    """Read the clients' secrets, and tell which are scheduled for deletion."""
    names = [name for snapshot in batch if not snapshot.problem for name in snapshot.names.values()]
    found = sm.batch_get(names)
    # AWS is asked about names without a value where there should be one: past `postgres`, or where a push wrote it.
    lacking = {name for name, answer in found.items() if not isinstance(answer, SecretValue)}
    missing = {
        snapshot.names[part]: snapshot
        for snapshot in batch
        if not lacking.isdisjoint(snapshot.names.values())
        for part in _list_parts_with_rows(snapshot)
        if snapshot.names[part] in lacking
    }
    in_postgres = {name for name, snapshot in missing.items() if snapshot.phase == Phase.POSTGRES}
    pushed = Secret.objects.find(in_postgres) if in_postgres else {}
    return sm.detect_deletions(found, lacking=(missing.keys() - in_postgres) | pushed.keys())


def _is_worth_comparing(snapshot: ClientSnapshot, found: Answers) -> bool:
    """Say whether either store has something of the client; otherwise the comparison would be an empty match."""
    if snapshot.phase != Phase.POSTGRES or (snapshot.active and snapshot.has_credentials):
        return True
    return any(isinstance(found.get(name), SecretValue) for name in snapshot.names.values())


def make_unsaved_comparison(
    snapshot: ClientSnapshot, found: Answers, *, run: Run | None
) -> Comparison:
    """Compare one client's rows with what AWS holds; return the comparison unsaved."""
    return _make_unsaved(snapshot, run, _judge_client(snapshot, found))


def compare_with_document(snapshot: ClientSnapshot, document: Document) -> Comparison:
    """Compare one client's rows with a document that AWS holds of it; return the comparison unsaved."""
    if snapshot.document is None:
        unchecked = Comparison.Status.UNCHECKED
        judged: Judgement = unchecked, snapshot.problem_class, snapshot.problem, []
    else:
        judged = _judge_document(snapshot, snapshot.document, document)
    return _make_unsaved(snapshot, None, judged)


def make_unsaved_match(snapshot: ClientSnapshot, *, run: Run | None) -> Comparison:
    """Return the comparison, unsaved, of a client of which AWS was just found to hold every document."""
    return _make_unsaved(snapshot, run, _MATCH)


def _make_unsaved(snapshot: ClientSnapshot, run: Run | None, judgement: Judgement) -> Comparison:
    status, error_class, message, mismatches = judgement
    return Comparison(
        client_id=snapshot.client_id,
        slug=snapshot.slug,
        run=run,
        revision=snapshot.revision,
        status=status,
        error_class=error_class,
        message=message,
        mismatches=[mismatch.to_json() for mismatch in mismatches],
    )


MISSING_IN_AWS = Sentence("missing_in_aws", "AWS has no value under %(names)s.", glue=" or ")
SCHEDULED_FOR_DELETION = Sentence("scheduled_for_deletion", "%(name)s is scheduled for deletion.")
NO_DOCUMENT = Sentence("no_document", "%(name)s is not a valid document.")
MISSING_IN_POSTGRES = Sentence(
    "missing_in_postgres", "The tables hold no credential of this client."
)


def _judge_client(snapshot: ClientSnapshot, found: Answers) -> Judgement:
    if snapshot.document is None:
        return Comparison.Status.UNCHECKED, snapshot.problem_class, snapshot.problem, []
    try:
        secrets = join_answers(_names_to_compare(snapshot, found), found, layout=snapshot.layout)
        if secrets.hold_texts_of(snapshot.document):  # as nearly always
            return _MATCH
        actual = secrets.to_document()
    except SecretsManagerError as error:
        return _judge_unread(snapshot, error)
    except DocumentError:
        value = next(value for value in secrets.values.values() if not value.is_document)
        mismatch = unreadable_mismatch(value.text or "", key=fingerprint_key(snapshot.client_id))
        return Comparison.Status.MISMATCH, "", NO_DOCUMENT(name=value.name), [mismatch]
    return _judge_document(snapshot, snapshot.document, actual)


def _names_to_compare(snapshot: ClientSnapshot, found: Answers) -> dict[str, str]:
    """Return part -> secret to compare. Secrets scheduled for deletion are left out if the rows need none."""
    gone = {
        part
        for part, name in snapshot.names.items()
        if isinstance(answer := found[name], SecretsManagerError) and answer.scheduled_for_deletion
    }
    left_out = gone.difference(_list_parts_with_rows(snapshot)) if gone else gone
    return {part: name for part, name in snapshot.names.items() if part not in left_out}


def _list_parts_with_rows(snapshot: ClientSnapshot) -> Collection[str]:
    """Return the parts of the document, each a secret in AWS, that the client's rows fill."""
    if snapshot.document is None:
        return ()
    return documents.parts_to_store(snapshot.document, layout=snapshot.layout)


def _judge_unread(snapshot: ClientSnapshot, error: SecretsManagerError) -> Judgement:
    if error.scheduled_for_deletion:
        message = SCHEDULED_FOR_DELETION(name=error.name)
    elif error.not_found:
        message = MISSING_IN_AWS(names=tuple(snapshot.names.values()))
    else:
        return Comparison.Status.UNCHECKED, error.error_class, error.message, []
    return Comparison.Status.MISSING_IN_AWS, "", message, []


def _judge_document(snapshot: ClientSnapshot, expected: Document, actual: Document) -> Judgement:
    mismatches = compare_documents(expected, actual, key=fingerprint_key(snapshot.client_id))
    if not mismatches:
        return _MATCH
    if not snapshot.has_credentials:
        missing = MISSING_IN_POSTGRES()
        return Comparison.Status.MISSING_IN_POSTGRES, "", missing, mismatches
    return Comparison.Status.MISMATCH, "", None, mismatches
