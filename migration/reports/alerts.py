"""What needs a person's attention: how many, the list of them, and what to do about it beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.models import Comparison, MoveRequest, Outcome, Run, RunItem, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from migration.reports.client_counts import Clients, Comparisons

VIEW_CLIENTS = "credentials.view_client"
VIEW_COMPARISONS = "migration.view_comparison"
VIEW_RUNS = "migration.view_run"
VIEW_REQUESTS = "migration.view_moverequest"
START_RUNS = "migration.add_run"

Status = Comparison.Status


@dataclass(frozen=True)
class Remedy:
    """What to do: a link, or a button that posts."""

    label: str
    url: str
    permission: str
    posts: bool = False


@dataclass(frozen=True)
class Attention:
    """Something for a person to do: how many, what, and the list of them."""

    sentence: str
    url: str
    permission: str
    count: int | None = None
    since: datetime | None = None
    command: str = ""
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What was read already."""

    clients: Clients
    comparisons: Comparisons
    # When any worker was seen last; None: never.
    worker_seen_at: datetime | None


def attention(facts: Facts) -> list[Attention]:
    """What there is any of, the most pressing first: two queries."""
    return [item for source in SOURCES for item in source(facts)]


def _worker(facts: Facts) -> Iterator[Attention]:
    seen = facts.worker_seen_at
    if seen is None or timezone.now() - seen > Worker.GONE_AFTER:
        yield Attention(
            _("No worker is running: nothing is pushed or compared. Start one:"),
            reverse("admin:migration_run_changelist") + "?state=running",
            VIEW_RUNS,
            since=seen,
            command="python manage.py qcluster",
        )


def _in_doubt(facts: Facts) -> Iterator[Attention]:
    report = reverse("admin:migration_comparison_report")
    for status in (*Comparison.DIFFERS, Status.UNCHECKED):
        taken_note_of = facts.comparisons.acknowledged[status]
        if number := facts.comparisons.by_status[status] - taken_note_of:
            query = f"?status={status}&state=open"
            check = reverse("admin:migration_comparison_check") + query
            yield Attention(
                _doubt(status, number),
                report + query,
                VIEW_COMPARISONS,
                count=number,
                remedies=(
                    *_towards(status),
                    Remedy(_("Check again"), check, START_RUNS, posts=True),
                ),
            )


def _towards(status: Status) -> Iterator[Remedy]:
    """What ends it, where that is one thing."""
    if status == Status.MISSING_IN_AWS:
        yield Remedy(_("See the clients"), f"{_clients()}?comparison={status}", VIEW_CLIENTS)


def _doubt(status: str, number: int) -> str:
    return {
        Status.MISMATCH: ngettext(
            "client differs between PostgreSQL and AWS",
            "clients differ between PostgreSQL and AWS",
            number,
        ),
        Status.MISSING_IN_AWS: ngettext(
            "client is missing in AWS", "clients are missing in AWS", number
        ),
        Status.MISSING_IN_POSTGRES: ngettext(
            "client is missing in PostgreSQL", "clients are missing in PostgreSQL", number
        ),
        Status.UNCHECKED: ngettext(
            "client could not be checked", "clients could not be checked", number
        ),
    }[Status(status)]


def _failed(_facts: Facts) -> Iterator[Attention]:
    migration = Run.objects.filter(kind=Run.Kind.MIGRATE).order_by("-pk").values("pk")[:1]
    failed = RunItem.objects.filter(run__in=migration, outcome=Outcome.FAILED)
    for run_id, number in failed.order_by().values_list("run").annotate(n=Count("pk")):
        url = f"{reverse('admin:migration_run_change', args=[run_id])}?items=failed"
        sentence = ngettext(
            "client failed in the latest migration",
            "clients failed in the latest migration",
            number,
        )
        remedy = Remedy(_("See the failures"), url, VIEW_RUNS)
        yield Attention(sentence, url, VIEW_RUNS, count=number, remedies=(remedy,))


def _pushes(facts: Facts) -> Iterator[Attention]:
    if number := facts.clients.push_refused:
        sentence = ngettext(
            "client can't be pushed: correct its data or its secret",
            "clients can't be pushed: correct their data or their secrets",
            number,
        )
        yield _push("refused", number, sentence, _("See the clients"))
    if number := facts.clients.push_late:
        sentence = ngettext(
            "client has been waiting for a push for more than two minutes",
            "clients have been waiting for a push for more than two minutes",
            number,
        )
        yield _push("late", number, sentence, _("Push this client now"))


def _push(which: str, number: int, sentence: str, label: str) -> Attention:
    url = f"{_clients()}?push={which}"
    remedies = (Remedy(label, url, VIEW_CLIENTS),)
    return Attention(sentence, url, VIEW_CLIENTS, count=number, remedies=remedies)


def _clients() -> str:
    return reverse("admin:credentials_client_changelist")


def _requests(_facts: Facts) -> Iterator[Attention]:
    """Shut gates that somebody asked for, and what a second person has to decide."""
    counted = MoveRequest.objects.open().order_by().values_list("state")
    for state, number in counted.annotate(n=Count("pk")):
        waits = state == MoveRequest.State.WAITING
        sentence = (
            ngettext(
                "requested move does not pass all checks",
                "requested moves do not pass all checks",
                number,
            )
            if waits
            else ngettext(
                "requested move is waiting for approval",
                "requested moves are waiting for approval",
                number,
            )
        )
        url = f"{reverse('admin:migration_moverequest_changelist')}?state__exact={state}"
        label = _("See the checks that fail") if waits else _("Approve or refuse")
        remedy = Remedy(label, url, VIEW_REQUESTS)
        yield Attention(sentence, url, VIEW_REQUESTS, count=number, remedies=(remedy,))


# The most pressing first. What else can need attention is one more function here.
SOURCES: tuple[Callable[[Facts], Iterator[Attention]], ...] = (
    _worker, _in_doubt, _failed, _pushes, _requests
)  # fmt: skip
