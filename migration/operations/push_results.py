"""Tells what became of a push of one client, with what it overwrote. Knows no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings

from migration import plan_sentences, sentences
from migration.models.comparisons import Comparison
from migration.models.run_items import Outcome
from migration.operations.aws_writes import WritesRefusedError
from migration.operations.comparisons import make_unsaved_comparison
from migration.operations.secret_writer import (
    BatchTimeOverError,
    MismatchNotOverwrittenError,
    MissingInAwsError,
    RefusedBySiteError,
)
from nova_credentials import document as documents
from nova_credentials.aws.secrets_manager import ErrorClass, SecretValue
from nova_credentials.messages import in_a_row

if TYPE_CHECKING:
    from migration.models.runs import Run
    from migration.operations.pending_writes import PendingWrite, ReplacedVersion
    from migration.operations.secret_writer import SecretWriter
    from nova_credentials.aws.answers import Answers
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


@dataclass(frozen=True)
class PushResult:
    """The result of pushing one client: its outcome, error and comparison, and the versions that it replaced."""

    client_id: int
    slug: str
    outcome: Outcome
    error_class: str = ""
    message: Message | None = None
    comparison: Comparison | None = None
    # Pushing the same rows again would fail again: a user has to change something.
    refused: bool = False
    # In which its rows were read; None where they were not.
    phase: Phase | None = None
    # Another push or move held the client.
    busy: bool = False
    # Nothing was tried: the time was over before its turn, or this site may not write to AWS now.
    postponed: bool = False
    # The versions in AWS that it replaced, or would replace.
    replaced: tuple[ReplacedVersion, ...] = ()
    # Secret name -> id of the version that AWS held before.
    versions: dict[str, str] = field(default_factory=dict)
    # Secret name -> outcome, of those that it wrote, or would write.
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def summary_message(self) -> Message:
        """Return its message, or else the outcome as part of a sentence."""
        return self.message or sentences.OUTCOMES[self.outcome]()


def make_overwrite_comparison(
    pending: PendingWrite, writer: SecretWriter, run: Run | None
) -> Comparison:
    """Return the comparison with what AWS held before: which fields of somebody else's version were overwritten."""
    comparison = make_unsaved_comparison(pending.snapshot, writer.before, run=run)
    comparison.message = name_overwritten(pending)
    return comparison


def name_overwritten(pending: PendingWrite, *, dry_run: bool = False) -> Message | None:
    """Name the versions of somebody else that were overwritten, or would be; None where there are none."""
    sentence = plan_sentences.WOULD_OVERWRITE if dry_run else plan_sentences.OVERWROTE
    return in_a_row(
        *(sentence(name=v.name, version=v.version_id) for v in pending.foreign_replaced_versions)
    )


def make_result(
    pending: PendingWrite,
    comparison: Comparison | None,
    writer: SecretWriter,
    after: Answers | None = None,
) -> PushResult:
    """Make the result of one client. `after` is what AWS was then read to hold; None in a rehearsal."""
    snapshot, error = pending.snapshot, pending.error
    outcome, error_class, message = Outcome.FAILED, "", None
    refused = postponed = False
    if isinstance(error, MismatchNotOverwrittenError):
        outcome, message = Outcome.SKIPPED, error.message
    elif error:
        error_class, message = error.error_class, error.message
        postponed = isinstance(error, BatchTimeOverError | WritesRefusedError)
        is_final = isinstance(error, RefusedBySiteError) or error_class == ErrorClass.DATA
        # Somebody may take a missing secret back, without a write to the rows.
        refused = is_final and not postponed and not isinstance(error, MissingInAwsError)
    elif comparison and comparison.status != Comparison.Status.MATCH:
        error_class = comparison.error_class or ErrorClass.CONFLICT
        message = comparison.message or sentences.READ_BACK_DIFFERS()
    elif after is not None and not pending.kept_secrets_match(after):
        error_class, message = ErrorClass.CONFLICT, sentences.READ_BACK_DIFFERS()
    else:
        outcome = pending.client_outcome
        message = documents.warn_of_arn_like_name(
            snapshot.secret_slug, prefix=settings.NOVA_SECRET_PREFIX, layout=snapshot.layout
        )
    before = (writer.before[name] for name in snapshot.names.values())
    return PushResult(
        snapshot.client_id,
        snapshot.slug,
        outcome,
        error_class,
        in_a_row(name_overwritten(pending, dry_run=writer.options.dry_run), message),
        comparison,
        phase=snapshot.phase,
        refused=refused,
        postponed=postponed,
        replaced=tuple(pending.replaced),
        outcomes=pending.outcomes,
        versions={
            value.name: value.version_id for value in before if isinstance(value, SecretValue)
        },
    )
