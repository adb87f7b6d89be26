"""Says what each kind of run does to its clients, and does it to one after the other. Knows no act."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from credentials.models import Client
from migration import sentences
from migration.models.run_items import TRANSIENT, Outcome
from migration.models.runs import Run
from migration.operations.aws_writes import find_write_refusal
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from migration.models.run_items import RunItem
    from nova_credentials.messages import Message

# Items that failed and may succeed at another try.
ItemsToRetry = list["RunItem"]
# Gives each item of a batch, by its client's id, an outcome, or leaves it open; a batch may be done twice.
Work: TypeAlias = "Callable[[Run, dict[int, RunItem]], ItemsToRetry]"
# What each kind of run does.
WORK: dict[str, Work] = {}

# No client is begun later in a batch; the rest of it is claimed again.
BATCH_SECONDS = 60.0


def works_on(*kinds: Run.Kind) -> Callable[[Work], Work]:
    """Make the function what runs of these kinds do."""

    def register(work: Work) -> Work:
        WORK.update(dict.fromkeys(kinds, work))
        return work

    return register


class ItemFailedError(MessageError):
    """The client stays as it is, wholly or in part: the message says why."""

    def __init__(self, message: Message, error_class: str = ErrorClass.CONFLICT) -> None:
        super().__init__(message)
        self.error_class = error_class


def process_one_by_one(
    run: Run,
    items: dict[int, RunItem],
    work: Callable[[int], tuple[Outcome, Message | None]],
) -> ItemsToRetry:
    """Give each item the outcome of `work`; leave it open if the run or AWS writes stop, or BATCH_SECONDS are over.

    Returns the items that may succeed at another try.

    `work` is called with the client's id, and may raise `ItemFailedError` and `Client.DoesNotExist`.
    """
    until = time.monotonic() + BATCH_SECONDS
    for pk, item in items.items():
        if (
            time.monotonic() > until
            or not Run.objects.is_running(run.pk)
            or find_write_refusal() is not None
        ):
            item.set_next_try_now()
            continue
        try:
            item.outcome, item.message = work(pk)
        except ItemFailedError as refusal:
            item.outcome, item.error_class = Outcome.FAILED, refusal.error_class
            item.message = refusal.message
        except Client.DoesNotExist:
            item.outcome, item.message = Outcome.SKIPPED, sentences.CLIENT_NOT_THERE()
    return [
        item
        for item in items.values()
        if item.outcome == Outcome.FAILED and item.error_class in TRANSIENT
    ]
