"""Finds searches for copies whose process is gone: each holds a lease that ends with its process, however that ends.

Such a search has found out nothing. A worker begins it again, or it is marked as interrupted. Knows no queue.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from django.db import transaction
from django.utils import timezone

from migration.models.copies import CopySearch
from migration.models.leases import LeaseKind
from migration.operations.leases import hold_until_commit, try_lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

NO_SEARCH = 0  # the lease of storing one; no search has this id


class DeadSearches(NamedTuple):
    """The searches that were found without a process."""

    interrupted: list[CopySearch]  # marked now
    to_begin_again: list[CopySearch]  # or to queue once more, as their place in the queue was lost


@contextmanager
def hold_search(search_id: int) -> Iterator[bool]:
    """Hold the lease of a search until the block ends; gives False where another process holds it.

    The session holds it, so that it ends with the process.
    """
    with try_lease(LeaseKind.SEARCH, search_id, delete_row=True) as held:
        yield held


def request_background_search(by: User) -> CopySearch | None:
    """Store a search for a worker; None where another one is under way, also where two people ask at once.

    One whose process is gone is not begun again: this one takes its place. So does it of one that shows no progress
    though its lease is held: PostgreSQL learns late of a host that has lost its power.
    """
    settle_dead_searches(begin_again=False)
    with transaction.atomic():
        alone = hold_until_commit(LeaseKind.SEARCH, NO_SEARCH)
        if not alone or not all(search.is_silent for search in CopySearch.objects.open()):
            return None
        return CopySearch.objects.create(by=by, in_background=True)


def settle_dead_searches(*, begin_again: bool = True) -> DeadSearches:
    """Mark the searches whose process is gone as interrupted, but for those that a worker may begin again.

    Those wait once more, and are returned for the queue; without `begin_again` all are marked.
    """
    found = DeadSearches([], [])
    for seen in CopySearch.objects.open().order_by("pk"):
        if seen.is_presumably_queued:
            continue  # not even its lease is tried: the worker that takes it now would leave it alone
        with hold_search(seen.pk) as held:
            # Read under the lease: it may have finished meanwhile.
            search = CopySearch.objects.open().filter(pk=seen.pk).first() if held else None
            if search is None or search.is_presumably_queued:
                continue
            if begin_again and search.may_begin_again:
                search.started_at, search.seen_at = None, timezone.now()
                search.save(update_fields=["started_at", "seen_at"])
                found.to_begin_again.append(search)
            elif CopySearch.objects.mark_interrupted(search):
                found.interrupted.append(search)
    return found
