"""The items of a run as commands print them: as data, and on a terminal as a table."""

from __future__ import annotations

from itertools import islice, starmap
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from credentials.shown_names import escape_invisible, escape_name
from migration.core.clients import all_clients
from migration.core.comparisons import Comparison
from migration.management.progress import make_console
from migration.models.login_tests import LoginStores, LoginTest
from migration.runs.items import LEFT_OUT_KEYS, Outcome
from migration.runs.models import Run

Item: TypeAlias = "Mapping[str, Any]"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import TextIO

    from migration.runs.items import RunItemQuerySet
    from nova_credentials.messages import Message

NOT_BEGUN, PENDING = "not begun", "pending"
# How many of a run's items are in memory at once.
ITEMS_AT_ONCE = 500
# The worse an outcome is, the nearer it is to the prompt.
SEVERITY: dict[str, int] = {
    Outcome.SKIPPED: 1,
    NOT_BEGUN: 2,
    PENDING: 1,
    Outcome.REFUSED: 3,
    **dict.fromkeys(Comparison.DIFFERS, 2),
    Outcome.FAILED: 3,
    Comparison.Status.UNCHECKED: 3,
}
# The colour of a row. It says nothing that the words don't.
COLOURS = {
    **dict.fromkeys(("failed", "unchecked", "refused"), "red"),
    **dict.fromkeys(("mismatch", "skipped", "not begun"), "yellow"),
}


class ItemRow(NamedTuple):
    """The columns of an item that a report shows; reading them alone is several times as fast as reading its row."""

    client_id: int
    slug: str
    outcome: str
    error_class: str
    message: Message | None
    comparison_status: str
    finished_at: datetime | None


def iterate_items(run: Run) -> Iterator[Item]:
    """Yield the run's items as commands print them, with some of them in memory at a time."""
    describe = DESCRIBERS.get(run.kind, _describe_items)
    rows = run.items.values_list(*ItemRow._fields).iterator(chunk_size=ITEMS_AT_ONCE)
    items = starmap(ItemRow, rows)
    while some := list(islice(items, ITEMS_AT_ONCE)):
        yield from describe(run, some)


def _describe_items(_run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    for item in items:
        yield {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **describe_message(item.message),
        }


def _describe_compared_items(run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    """Describe items of a comparison, with what differs."""
    differing = [i.client_id for i in items if i.comparison_status in Comparison.DIFFERS]
    compared = run.comparisons.filter(client_id__in=differing)
    mismatches = dict(compared.values_list("client_id", "mismatches"))
    pending = set(
        select_waiting_for_push(run)
        .filter(client_id__in=differing)
        .values_list("client_id", flat=True)
    )
    for item in items:
        message = describe_message(item.message)
        status = PENDING if item.client_id in pending else item.comparison_status
        yield {
            "slug": item.slug,
            "status": status or (NOT_BEGUN if message["code"] in LEFT_OUT_KEYS else item.outcome),
            "error_class": item.error_class,
            **message,
            "mismatches": mismatches.get(item.client_id, []),
        }


def select_waiting_for_push(run: Run) -> RunItemQuerySet:
    """Select the items whose stores differ while a push is pending, which the workers make within a minute."""
    differing: RunItemQuerySet = run.items.filter(comparison_status__in=Comparison.DIFFERS)
    return differing.filter(client_id__in=all_clients().push_due().order_by().values("pk"))


def _describe_tested_items(run: Run, items: Sequence[ItemRow]) -> Iterator[Item]:
    logins: dict[int, list[dict[str, object]]] = {}
    for test in LoginTest.objects.filter(
        client__in=[item.client_id for item in items],
        store__in=LoginStores(run.stores).named_stores,
        is_newest=True,
    ).order_by("pk"):
        logins.setdefault(test.client_id, []).append(
            {
                "type": test.kind,
                "id": test.credential_id,
                "label": test.label,
                "store": test.store,
                "outcome": test.outcome,
                "service": test.service,
            }
        )
    for item in items:
        yield {
            "slug": item.slug,
            "outcome": item.outcome,
            "error_class": item.error_class,
            **describe_message(item.message),
            "logins": logins.get(item.client_id, []) if item.finished_at else [],
        }


DESCRIBERS: dict[str, Callable[[Run, Sequence[ItemRow]], Iterator[Item]]] = {
    Run.Kind.COMPARE: _describe_compared_items,
    Run.Kind.TEST_LOGINS: _describe_tested_items,
}


def rank_item(item: Item) -> int:
    """Return how much it needs attention: 0 where it needs none."""
    return SEVERITY.get(_name_status(item), 0)


def _name_status(item: Item) -> str:
    return str(item["status"]) if "status" in item else name_outcome(item)


def name_outcome(item: Item) -> str:
    """Return the outcome for people: what was left out by a stop was not begun, though it is stored as skipped."""
    return NOT_BEGUN if item.get("code") in LEFT_OUT_KEYS else str(item["outcome"])


def describe_message(message: Message | None) -> dict[str, str]:
    """Return the message in English, and its key for programs."""
    return {"message": str(message or ""), "code": message.codes[0] if message else ""}


def describe_mismatch(mismatch: dict[str, str]) -> str:
    """Return how a field differs: kind, hint and, if they are known, the short codes of PostgreSQL and AWS."""
    hint = f" ({mismatch['hint']})" if mismatch["hint"] else ""
    codes = [
        f"{store} {mismatch[side]} ({mismatch[f'{side}_length']})"
        for store, side in (("PostgreSQL", "expected"), ("AWS", "actual"))
        if mismatch.get(side)
    ]
    return f"{escape_name(mismatch['path'])}: {mismatch['kind']}{hint}{', ' if codes else ''}{', '.join(codes)}"


def print_item_table(terminal: TextIO, items: Sequence[Item]) -> None:
    """Print the items as a table no wider than the terminal; those that need attention come last."""
    # It imports rich, which takes a tenth of a second: only where there is a terminal.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(map(_make_row, sorted(items, key=rank_item)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    headings = [name for name in rows[0] if any(row[name] for row in rows)]
    for heading in headings:
        # Single words, which are read at a glance.
        is_word = heading in ("Outcome", "Error") and heading != headings[-1]
        table.add_column(heading, overflow="fold", no_wrap=is_word)
    for row in rows:
        table.add_row(*(Text(row[name]) for name in headings), style=COLOURS.get(row["Outcome"]))
    make_console(terminal).print(table)


def _make_row(item: Item) -> dict[str, str]:
    """Return the cells by heading; what differs stands below the message."""
    differences = map(describe_mismatch, item.get("mismatches", []))
    return {
        "Client": escape_name(item["slug"]),
        "Outcome": _name_status(item),
        "Error": item["error_class"],
        "Message": "\n".join(
            escape_invisible(line) for line in (item["message"], *differences) if line
        ),
    }
